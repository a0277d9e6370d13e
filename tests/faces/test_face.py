"""Component boxes, as published and repaired; what makes landmarks doubtful or unusable."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dmdcli.errors import ShapeError
from dmdcli.faces.face import (
    Face,
    Landmarks,
    component_boxes,
    doubtful_components,
    implausible,
    problems,
    sharpness,
    turn_of_head,
    verdict,
)
from tests.faces.conftest import drawn_points


def scored(points: np.ndarray, score: float = 0.8) -> Landmarks:
    return Landmarks(points, np.full(68, score, dtype=np.float32))


def test_boxes_equal_the_published_ones_in_all_cases(test_data: Path) -> None:
    cases = json.loads((test_data / "parity" / "component_boxes.json").read_text())["cases"]
    assert len(cases) == 60
    different = 0
    for case in cases:
        published = np.array(case["boxes"])[[0, 1, 3]]
        boxes = component_boxes(np.array(case["landmarks"], dtype=np.float32))
        usable = (published >= 0).all() and (published <= 512).all()
        usable = usable and ((published[:, 2:] // 8 - published[:, :2] // 8) >= 2).all()
        different += not usable
        if usable:
            np.testing.assert_array_equal(boxes, published)
    assert different == 0, "every published case is a usable one, so that all 60 were compared"


def test_boxes_of_a_drawn_face() -> None:
    # Left eye: centre (193, 240), brow 35 above: A = 45.5, B = 23.947, h = 34.724. Mouth: half width 56 * 1.1 = 61.6.
    boxes = component_boxes(drawn_points())
    assert boxes.dtype == np.int64
    assert boxes.tolist() == [[159, 195, 227, 263], [285, 195, 353, 263], [196, 310, 318, 432]]
    assert doubtful_components(drawn_points()) == ()


def test_points_are_left_as_they_were() -> None:
    points = drawn_points()
    points[0] = (-40, 700)
    before = points.copy()
    component_boxes(points)
    np.testing.assert_array_equal(points, before)


@pytest.mark.parametrize("corner", [(0.0, 0.0), (511.0, 0.0), (0.0, 511.0), (511.0, 511.0), (9.0, 9.0), (300.0, 20.0)])
@pytest.mark.parametrize("size", [0.0, 0.05, 0.3, 1.0])
def test_repaired_boxes_lie_inside_and_span_two_cells(corner: tuple[float, float], size: float) -> None:
    points = ((drawn_points() - 256) * size + np.array(corner)).astype(np.float32)
    boxes = component_boxes(points)
    assert (boxes >= 0).all()
    assert (boxes <= 512).all()
    assert (boxes[:, 2:] // 8 - boxes[:, :2] // 8 >= 2).all()


def test_only_the_repaired_component_is_named_and_moved() -> None:
    points = drawn_points()
    points[36:42, 1] = points[17:22, 1] = 100  # brow and eye on one line: no height
    assert doubtful_components(points) == ("left_eye",)
    boxes = component_boxes(points)
    np.testing.assert_array_equal(boxes[1:], component_boxes(drawn_points())[1:])
    assert boxes[0, 2] - boxes[0, 0] == 16


def test_boxes_refuse_what_is_no_68_points() -> None:
    with pytest.raises(ShapeError):
        component_boxes(np.zeros((5, 2), dtype=np.float32))
    with pytest.raises(ShapeError):
        component_boxes(np.full((68, 2), np.nan, dtype=np.float32))


def test_turn_of_head_has_the_sign_of_the_nearer_side() -> None:
    points = drawn_points()
    assert abs(turn_of_head(points)) < 0.01
    points[27:36, 0] -= 60
    assert 0.3 < turn_of_head(points) < 0.6
    mirrored = points.copy()
    mirrored[:, 0] = 512 - points[:, 0]
    mirrored[0], mirrored[16] = mirrored[16].copy(), mirrored[0].copy()
    mirrored[36:42], mirrored[42:48] = mirrored[42:48].copy(), mirrored[36:42].copy()
    assert turn_of_head(mirrored) == pytest.approx(-turn_of_head(points), abs=1e-3)


def test_a_plain_face_is_good() -> None:
    assert implausible(scored(drawn_points()), 0.28) is None
    assert problems(scored(drawn_points()), enlargement=2.0, weak_score=0.45) == ()


def upside_down(points: np.ndarray) -> None:
    points[:, 1] = 512 - points[:, 1]


def far_outside(points: np.ndarray) -> None:
    points[:, 0] += 250


def eyes_together(points: np.ndarray) -> None:
    points[36:42, 0] += 80


def not_a_number(points: np.ndarray) -> None:
    points[3] = np.nan


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [(upside_down, "mouth"), (far_outside, "outside"), (eyes_together, "eyes"), (not_a_number, "not numbers")],
)
def test_impossible_points_are_implausible(spoil, reason: str) -> None:
    points = drawn_points()
    spoil(points)
    assert reason in (implausible(scored(points), 0.28) or "")


def test_points_without_support_are_implausible() -> None:
    assert "recognisable" in (implausible(scored(drawn_points(), score=0.1), 0.28) or "")
    assert implausible(Landmarks(drawn_points()), 0.28) is None


def test_problems_are_told_in_words() -> None:
    turned = drawn_points()
    turned[27:36, 0] -= 85
    assert any("turned" in reason for reason in problems(scored(turned), 1.0, 0.45))
    assert any("unsure" in reason for reason in problems(scored(drawn_points(), score=0.3), 1.0, 0.45))
    assert any("12 times" in reason for reason in problems(scored(drawn_points()), 12.0, 0.45))
    flat = drawn_points()
    flat[36:42, 1] = flat[17:22, 1] = 240
    assert any("left eye" in reason for reason in problems(scored(flat), 1.0, 0.45))


def test_verdict_comes_from_what_is_wrong_with_the_face() -> None:
    def face(rejected: str | None, doubts: tuple[str, ...]) -> Face:
        empty = np.zeros(1, dtype=np.float32)
        crop = np.zeros((512, 512, 3), dtype=np.uint8)
        return Face(
            (0, 0, 9, 9), 1.0, np.eye(2, 3, dtype=np.float32), crop, scored(drawn_points()), empty, rejected, doubts
        )

    assert verdict(face(None, ())) == ("good", ())
    assert verdict(face(None, ("turned",))) == ("doubtful", ("turned",))
    assert verdict(face("too small", ("turned",))) == ("unusable", ("too small", "turned"))


def test_sharpness_falls_with_blur_and_not_with_contrast() -> None:
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(0)
    octaves = [cv2.resize(rng.normal(0, 20, (512 >> k, 512 >> k)), (512, 512), interpolation=3) for k in range(6)]
    picture = np.clip(128 + sum(octaves)[..., None].repeat(3, axis=2), 0, 255)
    sharp = picture.astype(np.uint8)
    dull = ((picture - 128) * 0.4 + 128).astype(np.uint8)
    blurred = cv2.GaussianBlur(sharp, (0, 0), 4)
    assert sharpness(blurred) < 0.5 * sharpness(sharp)
    assert sharpness(dull) == pytest.approx(sharpness(sharp), rel=0.05)
