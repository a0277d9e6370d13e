"""The same command again, after stops and changes: what is done again, and what is kept."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import dmdcli.files
from dmdcli.errors import CannotGoOnError
from dmdcli.faces.face import Face
from dmdcli.journal import digest_of, open_journal
from dmdcli.pipeline import standing, steps
from dmdcli.pipeline.estimate import Estimate, Estimator
from dmdcli.pipeline.outcome import RestoredPhoto
from dmdcli.shapes import Pixels
from tests.pipeline.album import WHO, Album, ByWidth, change_pixels
from tests.pipeline.made_up import people_of


def estimated(photos: Iterable[RestoredPhoto]) -> Estimate:
    estimator = Estimator()
    for photo in photos:
        estimator.see(photo)
    return estimator.estimate()


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
        stopping.setattr(steps, "copy_side_files", stop)
        with pytest.raises(KeyboardInterrupt):
            album.run()
    album.run()
    assert (album.out / "bob.xmp").read_text() == "<x/>"


def test_a_dry_run_changes_nothing_and_says_what_it_would_take(album: Album) -> None:
    assert estimated(album.run(dry_run=True).values()).sampled == steps.SAMPLE
    assert not album.out.exists()
    album.run()
    album.place("bob").unlink()
    rows, journal = album.rows(), (album.out / ".dmd" / "journal.sqlite").read_bytes()
    assert album.done(dry_run=True) == {"bob": "its result is missing"}
    assert (album.rows(), (album.out / ".dmd" / "journal.sqlite").read_bytes()) == (rows, journal)
    size = len(album.results()["alice.png"])
    everything = estimated(album.run(dry_run=True, overwrite=True).values())
    assert everything.space == pytest.approx(5 * size, rel=0.1)
    assert everything.seconds > 0
