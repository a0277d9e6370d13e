"""The measure of edges where a restored face meets its photo: it sees those that show, and only those."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from dmdcli.evaluation.seams import VISIBLE, Outline, added_edges, outline_of, own_edges, rim_change
from dmdcli.faces.align import blend_mask, photo_mask
from tests.pipeline.made_up import POINTS

SIZE = (430, 420)
SCALE = 1.25
MATRIX = np.array([[SCALE, 0, 0], [0, SCALE, 0]], dtype=np.float32)


def a_photo(contrast: float) -> np.ndarray:
    """(H, W, 3) float32: soft shapes with grain."""
    generator = np.random.default_rng(2)
    shapes = cv2.GaussianBlur(generator.standard_normal((SIZE[1], SIZE[0])).astype(np.float32), (0, 0), 12)
    grain = generator.normal(0, 1.5 / 255, shapes.shape)
    return np.repeat((0.5 + contrast * shapes / shapes.std() + grain)[..., None], 3, axis=2).astype(np.float32)


@pytest.fixture(scope="module")
def weight() -> np.ndarray:
    return photo_mask(blend_mask(POINTS), MATRIX, (0, 0), SIZE)


@pytest.fixture(scope="module")
def outline(weight: np.ndarray) -> Outline:
    found = outline_of(weight, SCALE)
    assert found is not None
    return found


def hard(weight: np.ndarray) -> np.ndarray:
    return (weight > 0.5).astype(np.float32)


def test_what_was_not_changed_has_no_edge(outline: Outline) -> None:
    photo = a_photo(0.02)
    assert added_edges(photo, photo, outline).max() == 0
    assert rim_change(photo, photo, outline) == 0


@pytest.mark.parametrize("change", [[4, 4, 4], [-4, -4, -4], [6, 0, -6]], ids=["light", "dark", "colour"])
def test_a_hard_edge_is_seen_and_the_same_change_behind_the_feather_is_not(
    change: list[float], weight: np.ndarray, outline: Outline
) -> None:
    photo, shift = a_photo(0.01), np.array(change, np.float32) / 255
    edged = photo + hard(weight)[..., None] * shift
    blended = photo + weight[..., None] * shift
    assert added_edges(photo, edged, outline).max() > 1.5 * VISIBLE
    assert added_edges(photo, blended, outline).max() < VISIBLE
    half = np.sqrt(np.square(shift).mean()) / 2
    assert rim_change(photo, edged, outline) == pytest.approx(half, rel=0.2), "in half of the strips"


def test_an_edge_is_seen_wherever_the_mask_ends(weight: np.ndarray) -> None:
    """Not only on the outline that the mask should have."""
    photo = a_photo(0.01)
    outline = outline_of(weight, SCALE)
    moved = np.roll(hard(weight), 5, axis=1)
    assert outline is not None
    assert added_edges(photo, photo + moved[..., None] * np.float32(8 / 255), outline).max() > VISIBLE


def test_the_photos_own_edges_hide_others(weight: np.ndarray, outline: Outline) -> None:
    step = hard(weight)[..., None] * np.float32(6 / 255)
    calm, lively = a_photo(0.01), a_photo(0.15)
    assert np.median(added_edges(calm, calm + step, outline)) > 2 * np.median(
        added_edges(lively, lively + step, outline)
    )


def test_sharpening_is_no_edge(weight: np.ndarray, outline: Outline) -> None:
    photo = a_photo(0.05)
    soft = cv2.GaussianBlur(photo, (0, 0), 2)
    assert added_edges(photo, photo + weight[..., None] * (photo - soft), outline).max() < VISIBLE / 2


def test_own_edges_do_not_depend_on_contrast(outline: Outline) -> None:
    one, other = (np.median(own_edges(a_photo(contrast), outline)) for contrast in (0.06, 0.12))
    assert one == pytest.approx(other, rel=0.25)


def test_a_mask_without_an_outline_has_no_edge() -> None:
    assert outline_of(np.zeros((50, 60), np.float32), 1.0) is None
    assert outline_of(np.ones((50, 60), np.float32), 1.0) is None


@pytest.mark.slow
def test_no_edge_shows_on_any_face(test_data: Path) -> None:
    photos = test_data / "faces" / "photos"
    script = Path(__file__).parents[1] / "benchmarks" / "seams.py"
    done = subprocess.run(
        [sys.executable, str(script), str(photos / "old"), str(photos / "groups"), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    faces = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(faces) >= 70
    assert [face for face in faces if face["edge"] >= VISIBLE] == []
