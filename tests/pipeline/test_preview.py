"""What the preview of a face says besides showing it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from dmdcli.decisions import Decision
from dmdcli.faces.face import Face, Landmarks, component_boxes
from dmdcli.pipeline.preview import hints
from dmdcli.shapes import Pixels
from tests.pipeline.made_up import POINTS, STRANGER, MadeUpFinder, face_at

FINDER = MadeUpFinder()
SOFT = np.full((512, 512, 3), 120, np.uint8)
ALREADY_SHARP = ("`dmd restore` would leave this face alone: already sharp",)


def sharp() -> Pixels:
    """Fine detail in eyes and mouth, and none elsewhere."""
    fine = cv2.GaussianBlur(np.random.default_rng(3).normal(0, 1, (512, 512)), (0, 0), 1.0)
    grey = np.full((512, 512), 120.0)
    for x0, y0, x1, y1 in component_boxes(POINTS):
        grey[y0:y1, x0:x1] += 20 * fine[y0:y1, x0:x1] / fine.std()
    return np.rint(np.repeat(grey[..., None], 3, axis=2)).clip(0, 255).astype(np.uint8)


def lines() -> Pixels:
    rows, columns = np.mgrid[0:512, 0:512]
    grey = np.where(np.sin(2 * np.pi * (columns + 0.3 * rows) / 6) < 0, 220, 25)
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


def face_in(pixels: Pixels, points: np.ndarray = POINTS, source: str = "corrected") -> Face:
    face = face_at(pixels, 0, 0, 512, STRANGER)
    return replace(face, landmarks=Landmarks(points.astype(np.float32), source=source))


def test_a_face_that_restore_leaves_alone_is_said_to_be_one_until_a_strength_is_decided() -> None:
    face = face_in(sharp())
    assert hints(face, Decision(), FINDER) == ALREADY_SHARP
    assert hints(face, Decision(person="alice"), FINDER) == ALREADY_SHARP
    assert hints(face, Decision(strength=1.0), FINDER) == ()
    assert hints(face_in(SOFT), Decision(), FINDER) == ()
    assert hints(replace(face, rejected="the mouth is not below the eyes"), Decision(), FINDER) == (), "said already"


def test_an_engraving_is_left_alone_whatever_was_decided() -> None:
    for decision in (Decision(), Decision(strength=1.0)):
        (told,) = hints(face_in(lines()), decision, FINDER)
        assert told.startswith("`dmd restore` would leave this face alone: it is made of lines")


def test_odd_shapes_of_points_put_by_hand_are_told() -> None:
    odd = POINTS.copy()
    odd[36:42, 1] += 120
    reason = "the box of the left eye is too large or too small"
    assert hints(face_in(SOFT, odd), Decision(), FINDER) == (reason,)
    assert hints(face_in(SOFT, odd, "detected"), Decision(), FINDER) == (), "its doubts say so already"
