"""What merging tells of shards: which are missing, were stopped, or were given other photos or options."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dmdcli.errors import CannotGoOnError
from dmdcli.journal import open_journal
from dmdcli.journal_merging import merge_journals
from dmdcli.pipeline.blend import RestoreOptions
from dmdcli.pipeline.restore import restore
from dmdcli.places import PhotoFile
from dmdcli.shards import Shard
from tests.pipeline.album import WHO, Album
from tests.pipeline.test_shards import THREE, merge, run_shard


def test_missing_shards_are_named_once_they_are_missing(album: Album) -> None:
    one, two, three = THREE
    run_shard(album, one)
    run_shard(album, three)
    assert merge(album.out) == (two,)
    run_shard(album, two)
    assert merge(album.out) == (), "the others were here"
    assert merge(album.out) == (), "nothing was left"


def test_a_shard_that_was_stopped_is_not_done_however_often_it_is_merged(album: Album) -> None:
    for shard in THREE:
        run_shard(album, shard)
    assert merge(album.out) == ()
    pairs = [(file, album.out / file.relative) for file in album.files]
    stopped = next(shard for shard in THREE if shard.holds("bob.png"))
    with open_journal(album.out, stopped) as journal:
        own = (pair for pair in pairs if journal.share.holds(journal.place(pair[1])))
        run = restore(own, album.finder, album.restorer, album.people, journal, RestoreOptions(overwrite=True))
        next(run)
        run.close()
    for _ in range(2):
        with merge_journals(album.out) as merged:
            assert (merged.division.stopped, merged.division.missing) == ([stopped], [])
    run_shard(album, stopped)
    assert merge(album.out) == ()
    with pytest.raises(CannotGoOnError, match="the disk is full"), open_journal(album.out, stopped) as journal:
        for _ in restore(broken(pairs), album.finder, album.restorer, album.people, journal, RestoreOptions()):
            pass
    assert merge(album.out) == (stopped,)


def broken(pairs: Sequence[tuple[PhotoFile, Path]]) -> Iterator[tuple[PhotoFile, Path]]:
    yield pairs[0]
    raise CannotGoOnError("the disk is full")


def test_a_shard_whose_photos_failed_came_to_its_end(album: Album) -> None:
    (album.folder / "bob.png").write_bytes(b"no picture")
    for shard in THREE:
        run_shard(album, shard)
    with merge_journals(album.out) as merged:
        assert merged.division.stopped == []
        assert merged.results["failed"] == 1


def test_a_second_round_is_judged_by_the_photos_there_are(album: Album) -> None:
    one, two, three = THREE
    album.who = ("alice", "bob", "stranger")
    for shard in THREE:
        run_shard(album, shard)
    assert merge(album.out) == ()
    run_shard(album, two)
    assert merge(album.out) == (), "nothing came or went"
    album.who = (*WHO,)
    run_shard(album, one)
    assert merge(album.out) == (two, three)
    assert merge(album.out) == (two, three), "and that is not forgotten"
    run_shard(album, two)
    assert merge(album.out) == (three,)
    run_shard(album, three)
    assert merge(album.out) == ()


def test_another_division_takes_the_place_of_an_earlier_one(album: Album) -> None:
    run_shard(album, THREE[0])
    assert merge(album.out) == (THREE[1], THREE[2])
    run_shard(album, Shard(2, 1))
    assert merge(album.out) == (Shard(2, 2),)
    assert merge(album.out) == (Shard(2, 2),)


def test_a_run_of_all_does_what_shards_left_undone_and_one_of_fewer_photos_does_not(album: Album) -> None:
    run_shard(album, THREE[0])
    assert merge(album.out) == (THREE[1], THREE[2])
    for who, missing in ((("alice",), (THREE[1], THREE[2])), ((*WHO,), ())):
        pairs = [(file, album.out / file.relative) for file in replace(album, who=who).files]
        with open_journal(album.out) as journal:
            given = (pair for pair in pairs if journal.share.holds(journal.place(pair[1])))
            for _ in restore(given, album.finder, album.restorer, album.people, journal, RestoreOptions()):
                pass
        assert merge(album.out) == missing


def test_what_shards_were_asked_for_is_compared(album: Album) -> None:
    one, two, three = THREE
    for shard, strength in zip(THREE, (1.0, 0.5, 1.0), strict=True):
        run_shard(album, shard, strength=strength, overwrite=strength == 0.5)
    for _ in range(2):
        with merge_journals(album.out) as merged:
            assert sorted(merged.division.asked.values()) == [[one, three], [two]]
            strengths = [merged.journal.settings(asked.settings)["strength"] for asked in merged.division.asked]
            assert sorted(strengths) == [0.5, 1.0]
    run_shard(album, two)
    with merge_journals(album.out) as merged:
        assert [*merged.division.asked.values()] == [THREE]
