"""The real program and a real browser: points put right on the page by dragging, a missed face drawn, both restored."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from dmdcli.cli.main import app
from dmdcli.corrections import Corrections
from dmdcli.decisions import Decision
from dmdcli.faces.align import invert, transform
from dmdcli.faces.embedded import EmbeddedKit
from dmdcli.faces.face import Face
from dmdcli.faces.finder import FaceFinder
from dmdcli.library import Library
from dmdcli.shapes import Pixels, Points
from tests.browser import shoot
from tests.page.bench import READ_POINTS

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

EYES = (slice(36, 42), slice(42, 48))
ALONE = ("--already-good", "restore", "--no-judge", "--no-mark", "--json")
"""Flags under which a face comes out of its points, whatever they do to it."""


def portrait(test_data: Path, name: str, height: int = 640) -> Pixels:
    """A portrait, out of focus."""
    stored = cv2.imread(str(test_data / "faces" / "photos" / "old" / f"{name}.jpg"))
    assert stored is not None
    size = (round(stored.shape[1] * height / stored.shape[0]), height)
    blurred = cv2.GaussianBlur(cv2.resize(stored, size, interpolation=cv2.INTER_AREA), (0, 0), 2.0)
    seen: Pixels = cv2.cvtColor(blurred, cv2.COLOR_BGR2RGB)
    return seen


def in_photo(face: Face) -> Points:
    return transform(face.landmarks.points, invert(face.matrix))


def read(path: Path) -> Pixels:
    stored = cv2.imread(str(path))
    assert stored is not None
    seen: Pixels = cv2.cvtColor(stored, cv2.COLOR_BGR2RGB)
    return seen


def write(pixels: Pixels, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels[..., ::-1])
    return path


def dmd(*words: object) -> list[dict[str, Any]]:
    """What the program says in JSON. It runs in this process, in which its packages are loaded once."""
    told = CliRunner().invoke(app, [*map(str, words)], prog_name="dmd")
    assert told.exit_code == 0, told.output
    return [json.loads(line) for line in told.stdout.splitlines() if line.startswith("{")]


@contextmanager
def page_of(page: Page, *photos: Path) -> Iterator[None]:
    """The page of `dmd check --edit`, opened from the address that the terminal shows, ended by its Finish button."""
    program = subprocess.Popen(
        [sys.executable, "-m", "dmdcli", "check", "--edit", *map(str, photos), "--no-open"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    try:
        assert program.stdout is not None
        address = next(found[0] for line in program.stdout if (found := re.search(r"http://127\.0\.0\.1:\S+", line)))
        page.set_default_timeout(30_000)
        page.goto(address)
        yield
        page.get_by_role("button", name="Finish").click()
        assert program.wait(timeout=30) == 0, program.stdout.read()
    finally:
        program.kill()
        program.communicate()


def drag(page: Page, start: Sequence[float], end: Sequence[float]) -> None:
    page.mouse.move(*map(float, start))
    page.mouse.down()
    page.mouse.move(*map(float, end), steps=4)
    page.mouse.up()


def open_face(page: Page, name: str) -> None:
    """Choose a face of the list by its photo and number, and wait until its picture is there."""
    page.select_option("#filter", "all")
    page.locator("#list").get_by_role("option", name=re.compile(name)).first.click()
    page.locator("#face").wait_for()
    page.wait_for_function(
        "() => { const one = document.querySelector('#stage > img'); return one.complete && one.src }"
    )
    page.wait_for_timeout(200)


def save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_function("() => document.getElementById('saved').textContent.startsWith('Saved')")


def region(face: Face, size: Sequence[int]) -> tuple[slice, slice]:
    """Where in a photo a face may be changed."""
    x0, y0, x1, y1 = face.box
    margin = 0.9 * (x1 - x0)
    top, left = max(0, int(y0 - margin)), max(0, int(x0 - margin))
    return slice(top, min(size[0], int(y1 + margin))), slice(left, min(size[1], int(x1 + margin)))


def test_eyes_dragged_into_their_place_are_what_restore_uses(
    test_data: Path, tmp_path: Path, page: Page, own_home: Path
) -> None:
    one, other = portrait(test_data, "woodrow_wilson"), portrait(test_data, "william_taft")
    photo = write(np.hstack([one, other]), tmp_path / "photos" / "two.png")
    faces = FaceFinder(EmbeddedKit()).find(read(photo))
    wrong = min(faces, key=lambda face: face.box[0])
    number = faces.index(wrong) + 1
    right = in_photo(wrong)
    shift = np.array([-0.03, 0.12], dtype=np.float32) * (wrong.box[2] - wrong.box[0])
    misplaced = right.copy()
    for eye in EYES:
        misplaced[eye] += shift
    digest = hashlib.sha256(photo.read_bytes()).hexdigest()
    corrections = Corrections(Library(Path(os.environ["DMD_HOME"])).home)
    points = tuple((float(x), float(y)) for x, y in misplaced)
    corrections.keep(digest, [Decision(box=wrong.box, landmarks=points)], "two.png")
    out = tmp_path / "out"
    (before,) = dmd("restore", photo, "--out", out, *ALONE)
    assert [face["used"] for face in before["faces"]] == ["generic", "generic"]
    misled = read(out / "two.png")

    with page_of(page, photo):
        open_face(page, f"two.png.*face {number}")
        shoot(page, "wrong-eyes-1600")
        seen = np.array(page.evaluate(READ_POINTS))
        zoomed = np.ptp(seen[:17, 0]) / np.ptp(misplaced[:17, 0])
        for eye in EYES:
            middle = np.array(page.evaluate(READ_POINTS))[eye].mean(axis=0)
            drag(page, middle, middle - shift * zoomed)
        page.get_by_text("Restored from the generic dictionary").wait_for()
        shoot(page, "eyes-put-right-1600")
        save(page)
        page.set_viewport_size({"width": 390, "height": 844})
        shoot(page, "eyes-put-right-390")
    kept = next(one for one in corrections.faces(digest) if one.landmarks)
    assert np.abs(np.array(kept.landmarks) - right).max() < 1.5, (
        "each point within 1.5 photo pixels of where it was found"
    )

    (after,) = dmd("restore", photo, "--out", out, *ALONE)
    assert after["status"] == "restored", "what was decided makes the photo stale"
    mended = read(out / "two.png")
    difference = np.abs(mended.astype(int) - misled).max(axis=2)
    rows, columns = region(wrong, mended.shape)
    assert difference[rows, columns].max() > 20
    difference[rows, columns] = 0
    assert difference.max() == 0, "nothing but that face came out differently"

    renamed = photo.rename(photo.with_name("grandfather and uncle.png"))
    dmd("restore", renamed, "--out", tmp_path / "renamed", *ALONE)
    assert np.array_equal(read(tmp_path / "renamed" / renamed.name), mended)


def test_a_missed_face_is_drawn_and_restored(test_data: Path, tmp_path: Path, page: Page) -> None:
    upright = portrait(test_data, "theodore_roosevelt")
    (face,) = FaceFinder(EmbeddedKit()).find(upright)
    height, width = upright.shape[:2]
    tilt = cv2.getRotationMatrix2D((width / 2, height / 2), 42, 0.8)
    photo = write(
        cv2.warpAffine(upright, tilt, (width, height), borderMode=cv2.BORDER_REPLICATE), tmp_path / "tilted.png"
    )
    (before,) = dmd("restore", photo, "--out", tmp_path / "out", *ALONE)
    assert before["status"] == "untouched", "a face so far tilted is not found"
    truth = in_photo(face) @ tilt[:, :2].T + tilt[:, 2]
    low, high = truth.min(axis=0), truth.max(axis=0)

    with page_of(page, photo):
        page.locator("#list").get_by_role("option").first.click()
        page.locator("#draw-tools").wait_for()
        page.wait_for_function(
            "() => { const one = document.querySelector('#stage > img'); return one.complete && one.src }"
        )
        page.wait_for_timeout(200)
        shown = page.locator("#stage > img").bounding_box()
        assert shown is not None
        corner, scale = np.array([shown["x"], shown["y"]]), shown["width"] / width
        drag(page, corner + low * scale, corner + high * scale)
        page.locator("#draw-done").click()
        page.get_by_text("Restored from the generic dictionary").wait_for()
        shoot(page, "missed-face-drawn-1600")
        save(page)

    (after,) = dmd("restore", photo, "--out", tmp_path / "out", *ALONE)
    assert after["status"] == "restored"
    changed = np.abs(read(tmp_path / "out" / photo.name).astype(int) - read(photo)).max(axis=2) > 8
    inside = np.zeros_like(changed)
    x0, y0, x1, y1 = (int(edge) for edge in (*low, *high))
    inside[y0:y1, x0:x1] = True
    assert changed[inside].mean() > 0.05
    assert changed[~inside].mean() < 0.02
