"""The same command again, after stops and changes: what is done again, what is kept, and what a kill leaves."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dmdcli.files
from dmdcli import journal_file
from dmdcli.errors import CannotGoOnError
from dmdcli.faces.face import Face
from dmdcli.faces.identity import Match
from dmdcli.journal import Journal, copy_journal, digest_of, open_journal
from dmdcli.photos import Canvas, Photo
from dmdcli.pipeline import restore as pipeline
from dmdcli.pipeline import standing
from dmdcli.pipeline.blend import RestoreOptions, expected
from dmdcli.pipeline.estimate import estimate
from dmdcli.pipeline.judge import Judgement, Plan
from dmdcli.pipeline.outcome import RestoredPhoto
from dmdcli.pipeline.people import People
from dmdcli.pipeline.restore import restore
from dmdcli.places import PhotoFile
from dmdcli.report.write import write_report
from dmdcli.shapes import Pixels
from tests.pipeline.made_up import Brightener, MadeUpFinder, face_at, people_of

ALICE, BOB, STRANGER, RATHER_ALICE = (0.0, 0.0), (5.0, 5.0), (0.0, 9.0), (0.0, 0.7)
"""Embeddings; alice's and bob's references are (0.0, 0.1) and (5.0, 5.1), and the last is alice by 0.4."""
WHO = {"alice": 200, "bob": 201, "stranger": 202, "rather alice": 203, "nobody": 204}
"""The photos, and how wide they are."""
FACES = {200: ALICE, 201: BOB, 202: STRANGER, 203: RATHER_ALICE}
FACE = face_at(np.zeros((190, 200, 3), np.uint8), 20, 20, 150, STRANGER)


class ByWidth(MadeUpFinder):
    """Finds in each photo of WHO its face."""

    def find(self, pixels: Pixels) -> list[Face]:
        self.calls += 1
        embedding = FACES.get(pixels.shape[1])
        return [] if embedding is None else [replace(FACE, embedding=np.array(embedding, np.float32))]


@dataclass
class Album:
    """A folder with the photos of WHO, restored by `run` into another."""

    folder: Path
    out: Path
    finder: ByWidth = field(default_factory=ByWidth)
    people: People[float] = field(default_factory=lambda: people_of(alice=(0.0, 0.1), bob=(5.0, 5.1)))
    restorer: Brightener = field(default_factory=Brightener)
    who: Sequence[str] = tuple(WHO)

    @property
    def files(self) -> list[PhotoFile]:
        return [PhotoFile(self.folder / f"{who}.png", PurePath(f"{who}.png")) for who in self.who]

    def run(self, **options: Any) -> dict[str, RestoredPhoto]:
        files = self.files
        outputs = [self.out / file.relative for file in files]
        chosen = RestoreOptions(**options)
        with (copy_journal if chosen.dry_run else open_journal)(self.out) as journal:
            results = restore(files, outputs, self.finder, self.restorer, self.people, journal, chosen)
            return {one.photo.stem: one for one in results}

    def done(self, **options: Any) -> dict[str, str | None]:
        """Which photos a run does, and why."""
        return {who: one.reason for who, one in self.run(**options).items() if one.status != "skipped"}

    def place(self, who: str) -> Path:
        return self.out / f"{who}.png"

    def results(self) -> dict[str, bytes]:
        return {path.relative_to(self.out).as_posix(): path.read_bytes() for path in self.out.rglob("[!.]*.png")}

    def rows(self) -> list[tuple[Any, ...]]:
        """What the journal says, apart from times and numbers."""
        with closing(sqlite3.connect(self.out / ".dmd" / "journal.sqlite")) as database:
            what = "place, input_digest, output_digest, replaced_digest, settings, weights, kit, known, result, reason"
            photos = database.execute(f"SELECT {what}, finished IS NULL FROM photos ORDER BY place").fetchall()
            faces = database.execute(
                "SELECT place, faces.* FROM faces JOIN photos ON photos.number = faces.photo ORDER BY place"
            ).fetchall()
            near = database.execute(
                "SELECT place, person, version, similarity FROM likenesses AS near "
                "JOIN photos ON photos.number = near.photo ORDER BY place"
            ).fetchall()
        return [*photos, *((place, *rest) for place, _, *rest in faces), *near]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for the disk, since a killed process loses nothing that it has written; not for the blending of faces."""

    def brighten(
        photo: Photo, chosen: Sequence[tuple[Face, Match | None, Plan]], *others: Any
    ) -> tuple[Canvas, list[Judgement]]:  # by whom it was restored from, and how much
        canvas, options = photo.canvas(), others[-2]
        canvas.put(60, 60, np.full((9, 9, 3), options.strength * (0.5 if chosen[0][1] is None else 1.0), np.float32))
        return canvas, [expected(plan, match, options) for _, match, plan in chosen]

    monkeypatch.setattr(journal_file, "SETTINGS", (*journal_file.SETTINGS, "synchronous = OFF"))
    monkeypatch.setattr(dmdcli.files.os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(pipeline, "restore_faces", brighten)


@pytest.fixture
def album(tmp_path: Path) -> Album:
    folder = tmp_path / "in"
    folder.mkdir()
    for who, width in WHO.items():
        noise = np.random.default_rng(width).integers(60, 160, (190, width, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{who}.png", compress_level=1)
    return Album(folder, tmp_path / "out")


def change_pixels(path: Path) -> None:
    with Image.open(path) as picture:
        Image.fromarray(255 - np.asarray(picture)).save(path)


def test_the_same_command_again_does_nothing_and_reads_nothing(album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(album.done()) == list(WHO)
    before, calls = album.results(), album.finder.calls
    monkeypatch.setattr(standing, "digest_of", lambda path: pytest.fail(f"{path} was read"))
    again = album.run()
    assert {(one.status, one.standing, one.reason) for one in again.values()} == {("skipped", "current", None)}
    assert {one.output for one in again.values()} == {album.place(who) for who in WHO}
    assert (album.results(), album.finder.calls) == (before, calls)


Change = Callable[[Album], object]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda album: change_pixels(album.folder / "bob.png"), "the photo changed"),
        (lambda album: album.place("bob").unlink(), "its result is missing"),
    ],
    ids=["input", "output gone"],
)
def test_what_changed_is_done_again_and_nothing_else(album: Album, change: Change, why: str) -> None:
    album.run()
    change(album)
    assert album.done() == {"bob": why}
    fresh = replace(album, out=album.out.with_name("fresh"))
    fresh.run()
    assert (album.results(), album.rows()) == (fresh.results(), fresh.rows())
    assert album.done() == {}


def test_photos_that_were_only_touched_or_moved_are_up_to_date(album: Album) -> None:
    album.run()
    for who in WHO:
        os.utime(album.folder / f"{who}.png")
        os.utime(album.place(who), ns=(1, 1))
    assert album.done() == {}
    album.folder = album.folder.rename(album.folder.with_name("moved"))
    assert album.done() == {}
    with open_journal(album.out) as journal:
        row = journal.row("bob.png")
    assert row is not None
    assert row.photo == album.folder / "bob.png"
    assert row.output_stamp is not None
    assert row.output_stamp.modified == 1


@pytest.mark.parametrize(
    ("options", "why"),
    [({"strength": 0.5}, "other settings: --strength"), ({"threshold": 0.9, "quality": 3}, "--quality, --threshold")],
)
def test_other_settings_do_everything_again_and_are_named(album: Album, options: dict[str, Any], why: str) -> None:
    album.run()
    again = album.done(**options)
    assert set(again) == set(WHO)
    assert all(reason is not None and reason.endswith(why) for reason in again.values())
    assert album.done(**options) == {}


def test_other_networks_do_again_what_they_made(album: Album) -> None:
    album.run()
    album.restorer.weights_id = "others"
    assert album.done() == {who: "another network" for who in WHO if who != "nobody"}
    album.finder.kit_name = "another kit"
    assert set(album.done()) == set(WHO), "another kit may find a face where none was"


def test_other_references_do_again_only_photos_of_that_person(album: Album) -> None:
    album.run()
    before = {who: album.place(who).stat().st_ino for who in WHO}
    album.people = people_of(alice=(0.0, 0.05), bob=(5.0, 5.1))
    assert album.done() == {"alice": "other references of alice"}
    assert {who for who in WHO if album.place(who).stat().st_ino != before[who]} == {"alice"}
    album.people = people_of(alice=(0.0, 0.4), bob=(5.0, 5.1))  # by which the one who resembled alice is alice
    again = album.run()
    assert {who for who, one in again.items() if one.status == "restored"} == {"alice", "rather alice"}
    assert again["rather alice"].reason == "other references of alice, whom a stranger resembles"
    assert [face.person for face in again["rather alice"].faces] == ["alice"]
    assert album.done() == {}


def test_who_is_newly_enrolled_is_looked_for_among_strangers_only(album: Album) -> None:
    album.people = people_of(alice=(0.0, 0.1))
    album.run()
    calls, before = album.finder.calls, album.place("stranger").stat()
    album.people = people_of(alice=(0.0, 0.1), bob=(5.0, 5.1))
    again = album.run()
    assert album.finder.calls - calls == 3, "bob's photo, the stranger's and the one of somebody like alice"
    assert {who for who, one in again.items() if one.status == "restored"} == {"bob"}
    assert again["bob"].reason == "somebody was enrolled since"
    assert again["stranger"].standing == "current"
    assert album.place("stranger").stat() == before
    assert album.done() == {}


def test_who_was_forgotten_becomes_a_stranger(album: Album) -> None:
    album.run()
    album.people = people_of(bob=(5.0, 5.1))
    again = album.run()
    assert {who: one.reason for who, one in again.items() if one.status == "restored"} == {
        "alice": "somebody it shows was forgotten"
    }
    assert [(face.person, face.used) for face in again["alice"].faces] == [(None, "generic")]
    with closing(sqlite3.connect(album.out / ".dmd" / "journal.sqlite")) as database:
        for table in ("faces", "likenesses"):
            (left,) = database.execute(f"SELECT count(*) FROM {table} WHERE person = 'alice''s id'").fetchone()
            assert left == 0


def test_files_that_are_not_ours_stay_until_overwritten(album: Album) -> None:
    album.out.mkdir()
    album.place("alice").write_bytes(b"somebody's")
    album.run()
    album.place("bob").write_bytes(b"touched up")
    for options in ({}, {"strength": 0.5}):
        found = album.run(**options)
        assert [(found[who].status, found[who].standing) for who in ("alice", "bob")] == [("skipped", "foreign")] * 2
    assert found["alice"].reason == "it was not made by dmd"
    assert found["bob"].reason == "it was changed since it was made"
    assert (album.place("alice").read_bytes(), album.place("bob").read_bytes()) == (b"somebody's", b"touched up")
    assert set(album.done(overwrite=True)) == set(WHO)
    assert album.done() == {}


def test_the_result_of_another_photo_is_not_replaced(album: Album) -> None:
    album.run()
    before = album.results()
    other = replace(album, folder=album.folder.with_name("another"))
    shutil.copytree(album.folder, other.folder)
    change_pixels(other.folder / "bob.png")
    found = other.run()
    assert (found["bob"].standing, found["alice"].standing) == ("taken", "current")
    assert other.run(overwrite=True)["bob"].standing == "taken"
    assert str(album.folder / "bob.png") in (found["bob"].reason or "")
    assert album.results() == before


def test_what_was_left_out_comes_when_it_is_wanted(album: Album) -> None:
    album.run(only_restored=True)
    assert not album.place("nobody").exists()
    assert album.done(only_restored=True) == {}
    assert album.done() == {"nobody": "it was left out last time"}


def test_failures_are_tried_again_and_do_not_disown_what_is_there(album: Album) -> None:
    album.run()
    whole = (album.folder / "bob.png").read_bytes()
    (album.folder / "bob.png").write_bytes(whole[:200])
    assert album.run()["bob"].status == "failed"
    (album.folder / "bob.png").write_bytes(whole)
    assert album.done() == {"bob": "it failed last time"}
    assert album.done() == {}


@pytest.mark.parametrize("what", ["changed", "gone"])
def test_a_photo_that_changes_while_it_is_worked_on_fails_alone(album: Album, what: str) -> None:
    class Slow(ByWidth):
        def find(self, pixels: Pixels) -> list[Face]:
            if pixels.shape[1] == WHO["bob"]:
                photo = album.folder / "bob.png"
                change_pixels(photo) if what == "changed" else photo.unlink()
            return super().find(pixels)

    album.finder = Slow()
    found = album.run()
    assert [who for who, one in found.items() if one.status == "failed"] == ["bob"]
    assert ("was changed while" if what == "changed" else "No such file") in (found["bob"].error or "")
    assert not album.place("bob").exists()


def test_a_photo_or_result_that_may_not_be_read_fails_alone(album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    album.run()
    os.utime(album.place("bob"))
    os.utime(album.folder / "alice.png")

    def denied(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(standing, "digest_of", denied)
    found = album.run()
    assert {who for who, one in found.items() if one.status == "failed"} == {"alice", "bob"}
    assert str(album.place("bob")) in (found["bob"].error or "")
    monkeypatch.setattr(standing, "digest_of", digest_of)
    assert set(album.done()) == {"alice", "bob"}


def test_a_full_disk_ends_the_run_and_the_next_goes_on(album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []

    def full(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) == 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(dmdcli.files.os, "fsync", full)
    with pytest.raises(CannotGoOnError, match="disk is full"):
        album.run()
    monkeypatch.setattr(dmdcli.files.os, "fsync", lambda descriptor: None)
    assert len(album.results()) == 2
    assert list(album.done()) == ["stranger", "rather alice", "nobody"]


def test_side_files_come_along_wherever_a_run_is_stopped(album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    (album.folder / "bob.xmp").write_text("<x/>")

    def stop(*arguments: Any, **options: Any) -> tuple[str, ...]:
        raise KeyboardInterrupt

    album.who = ("bob",)
    with monkeypatch.context() as stopping:
        stopping.setattr(pipeline, "copy_side_files", stop)
        with pytest.raises(KeyboardInterrupt):
            album.run()
    album.run()
    assert (album.out / "bob.xmp").read_text() == "<x/>"


def test_a_dry_run_changes_nothing_and_says_what_it_would_take(album: Album) -> None:
    assert estimate(list(album.run(dry_run=True).values())).sampled == pipeline.SAMPLE
    assert not album.out.exists()
    album.run()
    album.place("bob").unlink()
    rows, journal = album.rows(), (album.out / ".dmd" / "journal.sqlite").read_bytes()
    assert album.done(dry_run=True) == {"bob": "its result is missing"}
    assert (album.rows(), (album.out / ".dmd" / "journal.sqlite").read_bytes()) == (rows, journal)
    size = len(album.results()["alice.png"])
    everything = estimate(list(album.run(dry_run=True, overwrite=True).values()))
    assert everything.space == pytest.approx(5 * size, rel=0.1)
    assert everything.seconds > 0


class Killer:
    """Kills its own process at the n-th step of those it is told of."""

    def __init__(self, step: int) -> None:
        self.left = step

    def before(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*arguments: Any, **options: Any) -> Any:
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self.left -= 1
            return call(*arguments, **options)

        return stepping


def run_and_kill(album: Album, step: int, monkeypatch: pytest.MonkeyPatch, **options: Any) -> bool:
    """Restore in a process that is killed before its n-th step towards the disk; False if it came to its end.

    A step is opening a file, flushing, dating or renaming it, or a change of the journal.
    """
    child = os.fork()
    if child == 0:
        killer = Killer(step)
        for place, name in ((Path, "replace"), (Path, "open"), (Journal, "write"), (Journal, "finish")):
            monkeypatch.setattr(place, name, killer.before(getattr(place, name)))
        for name in ("fsync", "utime"):
            monkeypatch.setattr(dmdcli.files.os, name, killer.before(getattr(os, name)))
        try:
            album.run(**options)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize(
    "who", [("nobody", "bob"), pytest.param(tuple(WHO), marks=pytest.mark.slow)], ids=["two photos", "all"]
)
@pytest.mark.parametrize("earlier", [False, True], ids=["first run", "photos changed since"])
def test_a_kill_before_any_step_is_made_good_by_the_next_run(
    album: Album, earlier: bool, who: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    album.who = who
    before, whole = (replace(album, out=album.out.with_name(name)) for name in ("before", "whole"))
    if earlier:
        before.run()
        for one in who:
            change_pixels(album.folder / f"{one}.png")
    whole.run()
    expected, rows, old = whole.results(), whole.rows(), before.results()
    for step in range(100):
        shutil.rmtree(album.out, ignore_errors=True)
        if earlier:
            shutil.copytree(before.out, album.out, copy_function=shutil.copy2)
        killed = run_and_kill(album, step, monkeypatch)
        for name, content in album.results().items():
            assert content in (expected[name], old.get(name)), f"step {step}: {name} is neither old nor new"
        if killed:
            assert "foreign" not in {one.standing for one in album.run().values()}, f"step {step}"
        assert (album.results(), album.rows()) == (expected, rows), f"step {step}"
        assert not list(album.out.rglob("*.part")), f"step {step}"
        if not killed:
            break
    assert step >= 6 * len(who), "the run was killed at every step of every photo"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_kill_while_pictures_or_report_are_written_is_made_good_by_the_next_run(
    album: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    def report_of(album: Album) -> set[str]:
        with open_journal(album.out) as journal:
            write_report(journal)
        return {path.relative_to(album.out).as_posix() for path in album.out.rglob("*") if path.is_file()}

    class Reported(Album):
        def run(self, **options: Any) -> dict[str, RestoredPhoto]:
            results = super().run(evidence=True, **options)
            report_of(self)
            return results

    album = Reported(album.folder, album.out, who=("nobody", "bob"))
    whole = replace(album, out=album.out.with_name("whole"))
    whole.run()
    expected, rows = report_of(whole), whole.rows()
    assert sum(name.startswith("report_files/") for name in expected) == 5, "bob's face and photo"
    for step in range(100):
        shutil.rmtree(album.out, ignore_errors=True)
        killed = run_and_kill(album, step, monkeypatch)
        if killed:
            album.run()
        assert (report_of(album), album.rows()) == (expected, rows), f"step {step}"
        if not killed:
            break
    assert step >= 35, "the run was killed at every step of pictures and report too"
