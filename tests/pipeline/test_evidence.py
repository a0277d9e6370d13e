"""What is kept of each photo for the report, with a made-up kit and network."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from dmdcli.errors import CannotGoOnError
from dmdcli.faces.identity import Gallery
from dmdcli.journal import PhotoRow, open_journal
from dmdcli.pipeline import evidence
from dmdcli.pipeline.blend import RestoreOptions
from dmdcli.pipeline.outcome import RestoredPhoto
from dmdcli.pipeline.people import People
from dmdcli.pipeline.restore import restore
from dmdcli.places import PICTURES, PhotoFile
from dmdcli.shapes import Pixels
from tests.pipeline.made_up import ALICE, STRANGER, Brightener, MadeUpFinder, MadeUpKit, people_of

FINDER = MadeUpFinder((10, 20, 200, ALICE, None), (240, 30, 150, STRANGER, None), (420, 10, 40, STRANGER, "too small"))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "in.bmp"
    noise = np.random.default_rng(0).integers(60, 160, (90, 160, 3), dtype=np.uint8)
    Image.fromarray(cv2.resize(noise, (1440, 810))).save(path)
    return path


@pytest.fixture
def people(tmp_path: Path) -> People[float]:
    """Alice has two references, and the second is the nearer one."""
    known = people_of(alice=(0.0, 0.1))
    gallery = Gallery({"alice": np.array([(0.0, 0.3), (0.0, 0.1)], np.float32)}, MadeUpKit().similarity)
    crops = []
    for name, shade in (("aa", 20), ("bb", 230)):
        crops.append(tmp_path / f"{name}.png")
        Image.fromarray(np.full((512, 512, 3), shade, np.uint8)).save(crops[-1])
    return replace(known, gallery=gallery, crops=lambda _: crops)


def run(photo: Path, people: People[float], **options: Any) -> tuple[RestoredPhoto, PhotoRow]:
    out = photo.parent / "out"
    chosen = RestoreOptions(already_good="restore", mark=False, **options)
    with open_journal(out) as journal:
        files = [PhotoFile(photo, PurePath("in.bmp"))]
        (result,) = restore([(files[0], out / "in.bmp")], FINDER, Brightener(), people, journal, chosen)
        row = journal.row("in.bmp")
    assert row is not None
    return result, row


def picture(photo: Path, name: str) -> Pixels:
    path = photo.parent / "out" / PICTURES / name
    with Image.open(path) as opened:
        return np.asarray(opened)


def test_every_face_has_its_pictures_and_numbers(photo: Path, people: People[float]) -> None:
    _, row = run(photo, people, evidence=True)
    alice, stranger, small = (face.account for face in row.faces)
    assert [face.result for face in row.faces] == ["specific", "generic", "none"]
    assert alice["photo"]["size"] == [1440, 810]
    assert picture(photo, alice["photo"]["small"]).shape == (81, 144, 3)
    before, after = (picture(photo, alice["photo"][name]).astype(float) for name in ("before", "after"))
    assert before.shape == after.shape == (562, 1000, 3)
    scale = 1000 / 1440
    face, outside = np.s_[int(80 * scale) : int(130 * scale), int(80 * scale) : int(130 * scale)], np.s_[300:, 400:]
    assert (after - before)[face].mean() == pytest.approx(0.2 * 255, abs=4)
    assert np.abs(after - before)[outside].max() <= 3
    assert set(alice["pictures"]) == {"original", "specific", "generic", "published"}
    assert set(stranger["pictures"]) == {"original", "generic", "published"}
    assert set(small["pictures"]) == {"original"}
    shades = {name: picture(photo, alice["pictures"][name])[80:110, 80:110].mean() for name in alice["pictures"]}
    assert shades["specific"] - shades["original"] == pytest.approx(51, abs=5)
    assert shades["generic"] - shades["original"] == pytest.approx(25.5, abs=5)
    assert shades["published"] - shades["original"] == pytest.approx(51, abs=5)
    assert alice["reference"]["id"] == "bb"
    assert picture(photo, alice["reference"]["picture"]).mean() == pytest.approx(230, abs=2)
    assert alice["answers"]["specific"] == alice["published"] | {"refused": None}
    assert set(alice["published"]) == {"similarity", "moved", "detail"}
    assert np.array(alice["components"]).shape == (3, 4)
    assert (stranger.get("reference"), "components" in small, "photo" in stranger) == (None, False, False)


def test_what_was_refused_is_kept_with_its_reason(photo: Path, people: People[float], monkeypatch: Any) -> None:
    monkeypatch.setattr("dmdcli.pipeline.judge.MOST_MOVED", -1.0)
    _, row = run(photo, people, evidence=True)
    account = row.faces[1].account
    assert row.faces[1].result == "none"
    assert set(account["pictures"]) == {"original", "generic"}
    assert account["answers"]["generic"]["refused"].startswith("eyes, nose or mouth would move")
    assert account["why"] == [account["answers"]["generic"]["refused"]]
    assert "published" not in account


def test_unjudged_faces_have_the_one_answer_there_was(photo: Path, people: People[float], monkeypatch: Any) -> None:
    monkeypatch.setattr(Brightener.restore, "__kwdefaults__", {"both": True})
    judged = Brightener.restore
    monkeypatch.setattr(Brightener, "restore", lambda self, *given, both: judged(self, *given))
    _, row = run(photo, people, evidence=True, judge=False)
    assert set(row.faces[0].account["pictures"]) == {"original", "specific", "published"}
    assert "answers" not in row.faces[0].account


def test_without_a_report_the_numbers_are_kept_and_no_picture(photo: Path, people: People[float]) -> None:
    _, row = run(photo, people)
    assert not (photo.parent / "out" / PICTURES).exists()
    assert row.faces[0].account["published"]["similarity"] > 0.5
    assert "pictures" not in row.faces[0].account
    json.dumps([face.account for face in row.faces])


@pytest.mark.slow
def test_pictures_made_again_are_the_same_files(photo: Path, people: People[float]) -> None:
    _, row = run(photo, people, evidence=True)
    before = {path: path.stat().st_mtime_ns for path in (photo.parent / "out" / PICTURES).rglob("*.jpg")}
    _, again = run(photo, people, evidence=True, overwrite=True)
    assert again.faces == row.faces
    assert before == {path: path.stat().st_mtime_ns for path in (photo.parent / "out" / PICTURES).rglob("*.jpg")}


def test_pictures_that_cannot_be_kept_fail_no_photo(photo: Path, people: People[float], monkeypatch: Any) -> None:
    def full(*_: object, **__: object) -> None:
        raise CannotGoOnError("the disk is full")

    monkeypatch.setattr(evidence, "write_file", full)
    result, row = run(photo, people, evidence=True)
    assert (result.status, row.finished is not None) == ("restored", True)
    assert result.notes == ("the report has no pictures of it: the disk is full",)


def test_reference_crops_that_are_gone_fail_no_photo(photo: Path, people: People[float]) -> None:
    with closing((photo.parent / "bb.png").open("wb")):
        pass
    result, row = run(photo, people, evidence=True)
    assert result.status == "restored"
    assert "bb.png is damaged" in result.notes[0]
    assert "pictures" in row.faces[0].account
