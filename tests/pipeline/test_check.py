"""Checking photos: one answer per photo, pictures where they belong, bad files reported, photos untouched."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dmdcli.corrections import Corrections
from dmdcli.decisions import Decision
from dmdcli.errors import CannotGoOnError, KitError
from dmdcli.faces.draw import contact_sheet
from dmdcli.faces.embedded import rough_matrix
from dmdcli.faces.face import Confidence, Face
from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.kit import Detection
from dmdcli.journal import digest_of
from dmdcli.pipeline import check as pipeline
from dmdcli.places import find_photos
from dmdcli.shapes import Pixels
from tests.faces.conftest import FakeKit, drawn_points

BOX = (60.0, 50.0, 200.0, 190.0)


@pytest.fixture
def finder() -> FaceFinder:
    return FaceFinder(FakeKit([Detection(BOX, 1.0, rough_matrix(BOX))]))


@pytest.fixture
def album(tmp_path: Path) -> Path:
    folder = tmp_path / "album"
    (folder / "1920").mkdir(parents=True)
    for name in ("b.png", "1920/a.png"):
        Image.new("RGB", (300, 260), (120, 110, 100)).save(folder / name)
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def test_each_photo_gets_an_answer(album: Path, finder: FaceFinder) -> None:
    before = {path: path.read_bytes() for path in album.rglob("*.png")}
    answers = {answer.photo.name: answer for answer in pipeline.check(find_photos([album]), finder)}
    assert set(answers) == {"a.png", "b.png", "broken.png"}
    assert answers["broken.png"].error
    assert not answers["broken.png"].is_sure
    (face,) = answers["a.png"].faces
    assert answers["a.png"].is_sure
    assert face.verdict == "good"
    assert face.box == BOX
    assert face.components.shape == (3, 4)
    assert face.overlay is None
    assert {path: path.read_bytes() for path in album.rglob("*") if path.is_file()} == before


def test_landmarks_are_in_photo_pixels(album: Path, finder: FaceFinder) -> None:
    answer = next(one for one in pipeline.check(find_photos([album]), finder) if one.faces)
    points = answer.faces[0].landmarks
    assert points.shape == (68, 2)
    assert (points >= 0).all()
    assert (points < 300).all()
    # The fake's points lie on the template, so the eyes of photo and template are one similarity apart.
    drawn = drawn_points()
    ratio = np.linalg.norm(points[45] - points[36]) / np.linalg.norm(drawn[45] - drawn[36])
    assert np.linalg.norm(points[8] - points[27]) / np.linalg.norm(drawn[8] - drawn[27]) == pytest.approx(
        ratio, rel=1e-3
    )


def test_pictures_mirror_the_tree(album: Path, finder: FaceFinder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    answers = list(pipeline.check(find_photos([album]), finder, out))
    written = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert written == ["1920/a.png.face1.png", "b.png.face1.png", "contact-sheet-1.png"]
    assert {answer.faces[0].overlay for answer in answers if answer.faces} == {out / name for name in written[:2]}
    with Image.open(out / "b.png.face1.png") as picture:
        assert picture.size[0] == 512


def test_faces_over_one_sheet_go_to_the_next(
    album: Path, finder: FaceFinder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "SHEET_FACES", 1)
    list(pipeline.check(find_photos([album]), finder, tmp_path / "out"))
    assert (tmp_path / "out" / "contact-sheet-2.png").is_file()
    assert not (tmp_path / "out" / "contact-sheet-3.png").exists()


def test_the_sheets_begin_with_the_worst(
    album: Path, finder: FaceFinder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (album / "broken.png").unlink()
    Image.new("RGB", (300, 260), (10, 20, 30)).save(album / "c.png")
    found, told = iter(finder.find(np.zeros((260, 300, 3), np.uint8)) * 3), iter((0.9, 0.2, 0.5))

    def find(pixels: Pixels) -> list[Face]:
        sure = Confidence(one := next(told), (one,) * 3)
        return [replace(next(found), confidence=sure, doubts=() if sure.is_good else ("a doubt",))]

    sheets = []
    monkeypatch.setattr(finder, "find", find)
    monkeypatch.setattr(pipeline, "contact_sheet", lambda *parts: sheets.append(parts) or contact_sheet(*parts))
    answers = list(pipeline.check(find_photos([album]), finder, tmp_path / "out"))
    ((_, labels, verdicts),) = sheets
    order = [answer.photo.relative_to(album).as_posix() for answer in answers]
    assert labels == [f"20%, {order[1]} 1", f"50%, {order[2]} 1", f"90%, {order[0]} 1"]
    assert verdicts == ["doubtful", "doubtful", "good"]
    assert [answer.is_sure for answer in answers] == [True, False, False]


def test_a_full_disk_ends_the_run(
    album: Path, finder: FaceFinder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("dmdcli.files.os.fsync", full)
    with pytest.raises(CannotGoOnError, match="the disk is full"):
        list(pipeline.check(find_photos([album]), finder, tmp_path / "out"))
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_a_photo_whose_pictures_have_no_place_is_reported_alone(
    album: Path, finder: FaceFinder, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1920").write_text("not a folder")
    answers = {answer.photo.name: answer for answer in pipeline.check(find_photos([album]), finder, tmp_path / "out")}
    assert "cannot be written" in str(answers["a.png"].error)
    assert answers["b.png"].is_sure


@pytest.mark.parametrize(
    "error",
    [MemoryError(), cv2.error("odd"), RuntimeError("odd"), KitError("odd")],
    ids=lambda error: type(error).__name__,
)
def test_what_a_library_says_of_one_photo_does_not_stop_the_rest(
    album: Path, finder: FaceFinder, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    Image.new("RGB", (90, 90)).save(album / "odd.png")
    find = finder.find

    def fail_on_odd(pixels: Pixels) -> list[Face]:
        if pixels.shape[0] == 90:
            raise error
        return find(pixels)

    monkeypatch.setattr(finder, "find", fail_on_odd)
    answers = {answer.photo.name: answer for answer in pipeline.check(find_photos([album]), finder)}
    assert answers["odd.png"].error
    expected = ("does not fit into memory", "cannot be worked on; a library says: odd", "cannot be worked on. odd")
    assert answers["odd.png"].error.startswith(expected)
    assert answers["b.png"].is_sure


def test_what_is_no_face_as_decided_leaves_nothing_to_doubt(
    album: Path, finder: FaceFinder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "dmdcli.faces.finder.confidences", lambda _, crops, __: [Confidence(0.1, (0.1,) * 3)] * len(crops)
    )
    photo, corrections, out = album / "b.png", Corrections(tmp_path / "home"), tmp_path / "checked"
    (doubtful,) = pipeline.check(find_photos([photo]), finder)
    assert not doubtful.is_sure
    corrections.keep(digest_of(photo), [Decision(box=BOX, not_a_face=True)])
    (decided,) = pipeline.check(find_photos([photo]), finder, out, corrections)
    assert decided.faces[0].is_none
    assert decided.is_sure
    assert not list(out.glob("contact-sheet*")), "it wants no looking at"
