"""A collection restored in shards: the same files and the same journal as from one run, whatever happens on the way."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dmdcli import journal_copying, journal_merging
from dmdcli.errors import CannotGoOnError, JournalFormatError, UsageError
from dmdcli.journal import copy_journal, digest_of, has_journal, open_journal, read_journal
from dmdcli.journal_copying import copy_rows
from dmdcli.journal_division import copy_shard, keep_divisions
from dmdcli.journal_file import connect, held, is_of_today, journal_path, shards_left
from dmdcli.journal_forgetting import opened_to_forget
from dmdcli.journal_merging import merge_journals
from dmdcli.pipeline.blend import RestoreOptions
from dmdcli.pipeline.outcome import RestoredPhoto
from dmdcli.pipeline.restore import restore
from dmdcli.shards import Shard, ranges, read_shard, told
from tests.pipeline.album import WHO, Album, change_pixels
from tests.pipeline.made_up import people_of
from tests.pipeline.test_kill_steps import Killer

THREE = [Shard(3, number) for number in (1, 2, 3)]


def run_shard(album: Album, shard: Shard, **options: Any) -> dict[str, RestoredPhoto]:
    """What a shard does, of the photos that fall to it."""
    pairs = [(file, album.out / file.relative) for file in album.files]
    with open_journal(album.out, shard) as journal:
        own = (pair for pair in pairs if journal.share.holds(journal.place(pair[1])))
        found = restore(own, album.finder, album.restorer, album.people, journal, RestoreOptions(**options))
        return {one.photo.stem: one for one in found}


def merge(out: Path) -> tuple[Shard, ...]:
    """Merge the shards; return those that did not end with the others' photos."""
    with merge_journals(out) as merged:
        assert sum(merged.results.values()) == len(list(merged.journal.places()))
        division = merged.division
        return tuple(sorted({*division.missing, *division.stopped, *(row.shard for row in division.outdated)}))


def state(album: Album) -> tuple[dict[str, bytes], list[tuple[Any, ...]]]:
    return album.results(), album.rows()


def test_which_photo_falls_to_which_shard_never_changes() -> None:
    places = ["a.jpg", "below/größer.tif", "below/a.jpg", "\udcff.png"]
    assert [next(n for n in range(1, 9) if Shard(8, n).holds(place)) for place in places] == [3, 2, 6, 6]


def test_every_photo_falls_to_one_shard_and_about_as_many_to_each() -> None:
    shards = [Shard(8, number) for number in range(1, 9)]
    falls = Counter(shard for number in range(2000) for shard in shards if shard.holds(f"album/{number}.jpg"))
    assert falls.total() == 2000
    assert set(falls) == {*shards}
    assert all(200 <= count <= 300 for count in falls.values())


@pytest.mark.parametrize("text", ["0/8", "9/8", "a/b", "3", "3/", "/8", "-1/8", "1/0", "3/8/9", "3.0/8", "", "٣/٨"])
def test_what_is_no_shard_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="--shard"):
        read_shard(text)
    assert read_shard("3/8") == Shard(8, 3)


def test_shards_are_told_as_ranges() -> None:
    assert ranges([*range(1, 40), *range(41, 100)]) == "1-39, 41-99"
    assert ranges([7, 3, 2, 5], ",") == "2-3,5,7"
    assert told([Shard(3, 2)]) == "Shard 2/3"
    assert told([Shard(9, 1), Shard(9, 2), Shard(9, 5)]) == "Shards 1-2, 5 of 9"


def test_shards_and_one_run_leave_the_same_files_and_the_same_journal(album: Album) -> None:
    (album.folder / "broken.png").write_bytes(b"no picture")
    album.who = (*WHO, "broken")
    whole = replace(album, out=album.out.with_name("whole"))
    whole.run()
    done = [run_shard(album, shard) for shard in THREE]
    assert sorted(name for part in done for name in part) == sorted(album.who)
    assert sum(bool(part) for part in done) > 1, "the photos are divided"
    assert merge(album.out) == ()
    assert state(album) == state(whole)
    assert not list((album.out / ".dmd").glob("journal-*"))
    assert [*album.done()] == ["broken"]


def test_shards_begin_with_what_is_known_and_end_as_one_run_would(album: Album) -> None:
    whole = replace(album, out=album.out.with_name("whole"))
    album.run()
    whole.run()
    change_pixels(album.folder / "bob.png")
    people = people_of(alice=(0.2, 0.1), bob=(5.0, 5.1))
    album, whole = replace(album, people=people), replace(whole, people=people)
    expected = whole.done()
    assert set(expected) == {"bob", "alice"}
    done = {
        who: one.reason for shard in THREE for who, one in run_shard(album, shard).items() if one.status != "skipped"
    }
    assert done == expected
    merge(album.out)
    assert state(album) == state(whole)


def test_a_dry_run_of_a_shard_knows_what_a_run_would_and_leaves_nothing(album: Album) -> None:
    album.run()
    before = {path: path.stat().st_mtime_ns for path in album.out.rglob("*")}
    with copy_journal(album.out, THREE[0]) as journal:
        assert {*journal.places()} == {f"{who}.png" for who in WHO}
    assert {path: path.stat().st_mtime_ns for path in album.out.rglob("*")} == before


def test_nobody_counts_as_looked_for_who_was_not(album: Album) -> None:
    """Two shards saw other people, and number those of both otherwise."""
    shards = next(
        [Shard(count, number) for number in range(1, count + 1)]
        for count in range(2, 9)
        if not any(
            Shard(count, n).holds("stranger.png") and Shard(count, n).holds("rather alice.png") for n in range(9)
        )
    )
    for shard in shards:
        people = {"bob": (5.0, 5.1)} if shard.holds("stranger.png") else {"alice": (0.0, 0.1), "bob": (5.0, 5.1)}
        run_shard(replace(album, people=people_of(**people)), shard)
    merge(album.out)
    found = album.run()
    assert found["stranger"].reason == "somebody was enrolled since"
    assert (found["rather alice"].standing, found["rather alice"].reason) == ("current", None)


def made_journal(people: Sequence[str], known: Mapping[str, int | None]) -> sqlite3.Connection:
    database = connect(None)
    database.executemany("INSERT INTO people (id) VALUES (?)", [(one,) for one in people])
    for place, number in known.items():
        database.execute(
            "INSERT INTO photos (place, photo, result, known) VALUES (?, 'photo', 'untouched', ?)", (place, number)
        )
    return database


@pytest.mark.parametrize(
    ("here", "there", "known", "numbers", "translated"),
    [
        ("abc", "", {"x": 2, "y": None, "z": 0}, "abc", {"x": 2, "y": None, "z": 0}),
        ("ab", "cab", {"x": 2}, "cab", {"x": 0}),
        ("ba", "ab", {"x": 1, "y": 2}, "ab", {"x": 0, "y": 2}),
        ("cab", "abd", {"x": 3, "y": 2}, "abdc", {"x": 2, "y": 1}),
        ("ab", "abc", {"x": 2}, "abc", {"x": 2}),
    ],
)
def test_numbers_of_people_are_translated(
    here: str, there: str, known: dict[str, int | None], numbers: str, translated: dict[str, int | None]
) -> None:
    with closing(made_journal(here, known)) as source, closing(made_journal(there, {"old": 1})) as target:
        for _ in range(2):  # twice is as good as once
            copy_rows(source, target, lambda place: place != "old")
            assert [one for (one,) in target.execute("SELECT id FROM people ORDER BY number")] == [*numbers]
            found = dict(target.execute("SELECT place, known FROM photos").fetchall())
            assert found == {**translated, "old": 1}


def test_a_number_of_somebody_forgotten_is_not_given_again(album: Album) -> None:
    """A shard's journal begins with those who are known now; who comes then was not looked for before."""
    with open_journal(album.out) as journal:
        journal.number_people(["a", "b", "c"])
    with opened_to_forget(album.out) as forgetful:
        forgetful.forget(["b", "c"], "Carol")
        forgetful.database.execute(
            "INSERT INTO photos (place, photo, result, known) VALUES (?, 'photo', 'untouched', 3)", ("stranger.png",)
        )
    shard = next(one for one in THREE if one.holds("stranger.png"))
    with open_journal(album.out, shard) as journal:
        row = journal.row("stranger.png")
        assert row is not None
        assert row.known < journal.number_people(["a", "d"])


def test_shards_run_side_by_side_and_beside_nothing_else(album: Album) -> None:
    one, two, three = THREE
    with open_journal(album.out, one), open_journal(album.out, two):
        with pytest.raises(CannotGoOnError, match="Shard 1/3 is being restored into"), open_journal(album.out, one):
            pytest.fail("the same shard ran twice")
        with pytest.raises(CannotGoOnError, match="Shard 1/3 is being restored into"), merge_journals(album.out):
            pytest.fail("merged beside a run")
    assert shards_left(album.out) == [one, two], "each of them may still be run"
    for shard in (None, Shard(4, 1)):
        for opening in (open_journal, copy_journal):
            with pytest.raises(UsageError, match=r"not put together yet \(1/3, 2/3\).*`dmd merge"):
                opening(album.out, shard).__enter__()
    for refused in (read_journal, opened_to_forget):
        with pytest.raises(UsageError, match="`dmd merge"):
            refused(album.out).__enter__()
    assert has_journal(album.out)
    run_shard(album, three)
    assert merge(album.out) == (one, two), "they ran, and did nothing"


def test_a_run_of_all_keeps_shards_out(album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dmdcli.journal_file.BEGIN_SECONDS", 0.1)
    with (
        open_journal(album.out),
        pytest.raises(CannotGoOnError, match="Another dmd is at work in"),
        open_journal(album.out, THREE[0]),
    ):
        pytest.fail("a shard began")
    assert shards_left(album.out) == []


def test_the_folder_is_not_held_while_a_shard_reads_its_journal(album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    """With many shards beginning at once each would wait for all others, a minute at most."""
    album.run()
    free = []

    def opening(path: Path, create: bool = True, *, all_through: bool = True) -> sqlite3.Connection:
        with held(album.out):
            free.append(path)
        return connect(path, create, all_through=all_through)

    monkeypatch.setattr(journal_copying, "connect", opening)
    with open_journal(album.out, THREE[0]) as journal:
        assert {*journal.places()} == {f"{who}.png" for who in WHO if THREE[0].holds(f"{who}.png")}
    assert free == [journal_path(album.out)]


def test_shards_begin_from_an_earlier_or_a_damaged_journal(album: Album) -> None:
    album.run()
    path = journal_path(album.out)
    with closing(sqlite3.connect(path)) as database:
        for table, column in (("photos", "said"), ("faces", "usable"), ("faces", "strength"), ("faces", "after")):
            database.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        database.execute("ALTER TABLE faces DROP COLUMN account")
        database.execute("PRAGMA user_version = 1")
        database.commit()
    assert not is_of_today(path)
    with open_journal(album.out, THREE[0]) as journal:
        assert journal.notes == ()
    assert is_of_today(path)
    path.write_bytes(b"no journal at all" * 100)
    said = []
    for shard in THREE[1:]:
        with open_journal(album.out, shard) as journal:
            said += [*journal.notes]
            assert not list(journal.places())
    assert len(said) == 1, "one puts it aside"


def test_what_a_killed_shard_left_half_written_stays_until_no_other_can_be_writing(album: Album) -> None:
    shard = next(one for one in THREE if one.holds("bob.png"))
    run_shard(album, shard)
    half = album.out / ".dmd-0123456789ab.part"
    half.write_bytes(b"another shard's")
    with closing(sqlite3.connect(journal_path(album.out, shard))) as database:
        database.execute("UPDATE photos SET finished = NULL")
        database.commit()
    run_shard(album, shard)
    assert half.exists()
    merge(album.out)
    assert not half.exists()


def test_a_damaged_journal_of_a_shard_is_told_and_costs_no_other(album: Album) -> None:
    for shard in THREE:
        run_shard(album, shard)
    shard = next(one for one in THREE if one.holds("bob.png"))
    journal_path(album.out, shard).write_bytes(b"no journal at all" * 100)
    with pytest.raises(JournalFormatError, match=f"command of shard {shard} again"):
        merge(album.out)
    assert shards_left(album.out) == THREE
    assert run_shard(album, shard)["bob"].standing == "foreign"
    assert (album.out / ".dmd" / f"journal-{shard.number}-of-3-damaged-1.sqlite").is_file()
    merge(album.out)
    assert {who for who, one in album.run().items() if one.standing == "foreign"} == {
        who for who in WHO if shard.holds(f"{who}.png")
    }


def test_copies_of_the_folder_made_elsewhere_are_put_together_before_merging(album: Album) -> None:
    whole = replace(album, out=album.out.with_name("whole"))
    whole.run()
    for shard in THREE:
        elsewhere = replace(album, out=album.out.with_name(f"computer {shard.number}"))
        run_shard(elsewhere, shard)
        shutil.copytree(elsewhere.out, album.out, dirs_exist_ok=True, copy_function=shutil.copy2)
    merge(album.out)
    assert state(album) == state(whole)
    assert album.done() == {}


def merge_and_kill(out: Path, steps: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Merge in a process that is killed before a step; whether it was."""
    child = os.fork()
    if not child:
        try:
            killer = Killer(steps)
            monkeypatch.setattr(journal_copying, "_insert", killer.before(journal_copying._insert))
            for call in (copy_rows, copy_shard, keep_divisions):
                monkeypatch.setattr(journal_merging, call.__name__, killer.before(call))
            monkeypatch.setattr(Path, "unlink", killer.before(Path.unlink))
            merge(out)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.slow
def test_a_merge_that_is_killed_is_made_good_by_the_next(album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    album.who = ("alice", "stranger")
    whole, parts = (replace(album, out=album.out.with_name(name)) for name in ("whole", "parts"))
    whole.run()
    for shard in THREE:
        run_shard(parts, shard)
    expected, kills = state(whole), 0
    for steps in range(100):
        shutil.rmtree(album.out, ignore_errors=True)
        shutil.copytree(parts.out, album.out, copy_function=shutil.copy2)
        killed = merge_and_kill(album.out, steps, monkeypatch)
        kills += killed
        if killed and shards_left(album.out):
            with pytest.raises(UsageError, match="`dmd merge"):
                album.run()
        assert merge(album.out) == (), f"step {steps}: each was here"
        assert state(album) == expected, f"step {steps}"
        if not killed:
            break
    assert kills >= 15, "at each row and each file"


def test_the_merged_journal_is_written_to_the_disk_before_anything_is_removed(
    album: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_shard(album, THREE[0])
    before = digest_of(journal_path(album.out, THREE[0]))

    def modes(source: sqlite3.Connection, target: sqlite3.Connection, is_wanted: Any) -> None:
        assert target.execute("PRAGMA synchronous").fetchone()[0] == 2, "FULL"
        assert digest_of(journal_path(album.out, THREE[0])) == before
        copy_rows(source, target, is_wanted)

    monkeypatch.setattr(journal_merging, "copy_rows", modes)
    assert merge(album.out) == (THREE[1], THREE[2])
