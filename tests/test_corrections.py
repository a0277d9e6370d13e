"""Corrections in the library: kept for a photo's content, private, never lost silently, carried from one to another."""

from __future__ import annotations

import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dmdcli.corrections import Corrections, Merged
from dmdcli.decisions import Decision, Decisions, FacePoints, PhotoDecisions, read_decisions
from dmdcli.errors import CannotGoOnError, LibraryFormatError, LibraryLockedError, UsageError
from dmdcli.library import Library

DIGEST, OTHER = "ab" * 32, "cd" * 32
BOX, RIGHT = (10.0, 20.0, 110.0, 120.5), (200.0, 20.0, 300.0, 120.0)
POINTS: FacePoints = tuple((10.25 + number, 20.5 + number) for number in range(68))
DRAWN = Decision(box=BOX, landmarks=POINTS, person="Zoë")


@pytest.fixture
def corrections(tmp_path: Path) -> Corrections:
    return Corrections(tmp_path / "home")


def file_of(tmp_path: Path, digest: str = DIGEST) -> Path:
    return tmp_path / "home" / "corrections" / f"{digest}.toml"


def test_what_is_kept_is_read_back_whoever_asks(corrections: Corrections, tmp_path: Path) -> None:
    assert corrections.about(DIGEST) is None
    assert not (tmp_path / "home").exists(), "reading makes nothing"
    corrections.keep(DIGEST, [DRAWN, Decision(box=RIGHT)], "album/a.jpg")
    for one in (corrections, Corrections(tmp_path / "home")):
        assert one.about(DIGEST) == PhotoDecisions(DIGEST, "album/a.jpg", (DRAWN,)), "what says nothing is left out"
    assert corrections.faces(OTHER) == ()
    rounded = replace(DRAWN, landmarks=tuple((x + 0.001, y) for x, y in POINTS))
    corrections.keep(DIGEST, [rounded])
    assert corrections.about(DIGEST) == PhotoDecisions(DIGEST, "album/a.jpg", (DRAWN,)), "in place of what was there"
    assert [photo.sha256 for photo in corrections] == [DIGEST]
    corrections.keep(DIGEST, [])
    assert not file_of(tmp_path).exists()
    assert list(corrections) == []


def test_what_is_kept_is_changed_under_the_lock_of_the_library(corrections: Corrections, tmp_path: Path) -> None:
    """Two that read before either wrote would lose what one of them keeps."""
    right = Decision(box=RIGHT, stranger=True)

    def changed(kept: tuple[Decision, ...]) -> list[Decision]:
        other = Library(tmp_path / "home", lock_seconds=0.05)
        with pytest.raises(LibraryLockedError), other.writing():
            pass
        return [*kept, right]

    corrections.keep(DIGEST, [DRAWN])
    corrections.change(DIGEST, "a.jpg", changed)
    assert corrections.about(DIGEST) == PhotoDecisions(DIGEST, "a.jpg", (DRAWN, right))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")
def test_nobody_else_may_read_them(corrections: Corrections, tmp_path: Path) -> None:
    corrections.keep(DIGEST, [DRAWN])
    path = file_of(tmp_path)
    assert [stat.S_IMODE(one.stat().st_mode) for one in (path, path.parent)] == [0o600, 0o700]
    (path.parent / ".left.1234").write_bytes(b"half a file")
    corrections.keep(OTHER, [DRAWN])
    assert sorted(one.name for one in path.parent.iterdir()) == [path.name, f"{OTHER}.toml"]


def test_a_place_that_is_no_text_and_what_no_file_may_hold(corrections: Corrections) -> None:
    corrections.keep(DIGEST, [DRAWN], "a\udcff.jpg")
    assert corrections.about(DIGEST).place == "a?.jpg"
    for wrong in (Decision(number=1, stranger=True), replace(DRAWN, stranger=True)):
        with pytest.raises(UsageError):
            corrections.keep(DIGEST, [wrong])
    assert corrections.faces(DIGEST) == (DRAWN,), "nothing was lost"


def test_while_another_writes_nothing_is_kept(corrections: Corrections, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("dmdcli.library.LOCK_SECONDS", 0.05)
    monkeypatch.setattr(Library.__init__, "__kwdefaults__", {"lock_seconds": 0.05})
    with Library(tmp_path / "home").writing(), pytest.raises(LibraryLockedError):
        corrections.keep(DIGEST, [DRAWN])
    assert corrections.about(DIGEST) is None


@pytest.mark.parametrize(
    "text",
    [
        "format = 1\n[[photo]\n",
        "format = 1\n",
        f"format = 1\n[[photo]]\nsha256 = '{OTHER}'\n",
        f"format = 1\n[[photo]]\nsha256 = '{DIGEST}'\n[[photo.face]]\nnumber = 1\nstranger = true\n",
    ],
)
def test_a_damaged_file_is_named_and_stays(corrections: Corrections, tmp_path: Path, text: str) -> None:
    corrections.keep(DIGEST, [DRAWN], "a.jpg")
    path = file_of(tmp_path)
    path.write_text(text)
    for ask in (
        lambda: corrections.about(DIGEST),
        lambda: list(corrections),
        lambda: corrections.keep(DIGEST, [DRAWN]),
    ):
        with pytest.raises(LibraryFormatError, match=path.name):
            ask()
    assert path.read_text() == text
    corrections.keep(OTHER, [DRAWN])
    assert corrections.faces(OTHER), "the others are there still"


def test_everything_goes_into_one_file_and_into_another_library(corrections: Corrections, tmp_path: Path) -> None:
    corrections.keep(OTHER, [Decision(box=BOX, not_a_face=True)], "b.jpg")
    corrections.keep(DIGEST, [DRAWN, Decision(box=RIGHT, accepted=True)], "a.jpg")
    path = tmp_path / "all.toml"
    assert corrections.export(path) == 2
    assert [photo.place for photo in read_decisions(path).photos] == ["a.jpg", "b.jpg"]
    with pytest.raises(UsageError, match="--overwrite"):
        corrections.export(path)
    corrections.export(path, overwrite=True)
    with pytest.raises(CannotGoOnError):
        corrections.export(tmp_path / "none" / "all.toml")
    there = Corrections(tmp_path / "there")
    assert there.merge(read_decisions(path), dry_run=True) == Merged(added=3)
    assert list(there) == []
    assert there.merge(read_decisions(path)) == Merged(added=3)
    assert list(there) == list(corrections)
    assert there.merge(read_decisions(path)) == Merged(same=3), "again"


def test_merging_adds_what_is_new_and_overwrites_only_when_asked(corrections: Corrections) -> None:
    corrections.keep(DIGEST, [DRAWN, Decision(box=RIGHT, stranger=True)])
    moved = replace(DRAWN, landmarks=tuple((x + 1, y) for x, y in POINTS), person=None)
    theirs = Decisions((PhotoDecisions(DIGEST, "a.jpg", (moved, Decision(box=RIGHT, strength=0.5))),))
    assert corrections.merge(theirs) == Merged(changed=1, differing=1)
    assert corrections.faces(DIGEST) == (DRAWN, Decision(box=RIGHT, stranger=True, strength=0.5))
    assert corrections.merge(theirs, overwrite=True) == Merged(changed=1, same=1)
    assert corrections.faces(DIGEST)[0] == replace(moved, person="Zoë")


def test_a_face_and_a_photo_named_twice_have_one_entry(corrections: Corrections) -> None:
    near = (BOX[0] + 2, *BOX[1:])
    theirs = Decisions(
        (
            PhotoDecisions(DIGEST, "a.jpg", (DRAWN, Decision(box=near, person="Anna", strength=0.5))),
            PhotoDecisions(OTHER, "b.jpg", (DRAWN,)),
            PhotoDecisions(DIGEST, None, (Decision(box=BOX, accepted=True), Decision(box=RIGHT, stranger=True))),
        )
    )
    assert corrections.merge(theirs, dry_run=True) == Merged(added=3)
    assert corrections.merge(theirs) == Merged(added=3)
    whole = replace(DRAWN, person="Anna", strength=0.5, accepted=True)
    assert corrections.about(DIGEST) == PhotoDecisions(DIGEST, "a.jpg", (whole, Decision(box=RIGHT, stranger=True)))
    assert corrections.merge(theirs) == Merged(same=3)


def test_faces_in_a_crowd_stay_two(corrections: Corrections) -> None:
    near = (BOX[0] + 30, BOX[1], BOX[2] + 30, BOX[3])
    faces = (replace(DRAWN, box=near), DRAWN, Decision(box=(BOX[0] - 30, *BOX[1:]), not_a_face=True))
    theirs = Decisions((PhotoDecisions(DIGEST, None, faces),))
    assert corrections.merge(theirs) == Merged(added=3)
    assert corrections.faces(DIGEST) == faces
    assert corrections.merge(theirs) == Merged(same=3)


def test_where_one_photo_cannot_be_merged_none_is(corrections: Corrections, tmp_path: Path) -> None:
    corrections.keep(OTHER, [DRAWN])
    file_of(tmp_path, OTHER).write_text("damaged")
    theirs = Decisions((PhotoDecisions(DIGEST, None, (DRAWN,)), PhotoDecisions(OTHER, None, (DRAWN,))))
    with pytest.raises(LibraryFormatError):
        corrections.merge(theirs)
    assert not file_of(tmp_path).exists()


@pytest.mark.parametrize(
    ("lines", "line", "word"),
    [
        (f"[[photo]]\nsha256 = '{DIGEST}'\n[[photo.face]]\nnumber = 1\nstranger = true", 6, "the box of its face"),
        ("[[photo]]\nplace = 'a.jpg'\n[[photo.face]]\nbox = [1, 2, 3, 4]\nstranger = true", 4, "the sha256"),
    ],
)
def test_a_file_with_something_else_is_refused_whole(
    corrections: Corrections, tmp_path: Path, lines: str, line: int, word: str
) -> None:
    path = tmp_path / "d.toml"
    right = f"[[photo]]\nsha256 = '{OTHER}'\n"
    path.write_text(f"format = 1\n{right}{lines}")
    with pytest.raises(UsageError, match=f"line {line}.*{word}"):
        corrections.merge(read_decisions(path))
    assert list(corrections) == []
