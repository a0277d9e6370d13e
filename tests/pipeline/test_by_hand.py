"""Faces put right by hand: moved, drawn, said to be none; whatever was found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dmdcli.decisions import Decision, FacePoints
from dmdcli.faces.align import crop_matrix, five_points
from dmdcli.faces.face import component_boxes
from dmdcli.pipeline.by_hand import NOT_A_FACE, find_faces, put_right
from dmdcli.shapes import CROP, Box
from tests.pipeline.made_up import ALICE, POINTS, STRANGER, MadeUpFinder, face_at

PHOTO = np.random.default_rng(0).integers(60, 180, (400, 600, 3), dtype=np.uint8)
LEFT, RIGHT = (20, 40, 200), (320, 60, 240)


def box_of(x: float, y: float, size: float) -> Box:
    return x, y, x + size, y + size


def points_at(x: float, y: float, size: float) -> FacePoints:
    return tuple((float(px), float(py)) for px, py in POINTS * size / CROP + (x, y))


def drawn(place: tuple[float, float, float], **more: object) -> Decision:
    return Decision(box=box_of(*place), landmarks=points_at(*place), **more)


@pytest.fixture
def finder() -> MadeUpFinder:
    return MadeUpFinder((*LEFT, ALICE, None), (*RIGHT, STRANGER, None))


def test_without_decisions_it_is_what_was_found(finder: MadeUpFinder) -> None:
    assert [face.box for face in find_faces(finder, PHOTO, [])] == [box_of(*LEFT), box_of(*RIGHT)]
    assert all(face.landmarks.source == "detected" for face in find_faces(finder, PHOTO, [drawn((5, 5, 9))])[:2])


def test_points_put_right_replace_the_face_that_was_found(finder: MadeUpFinder) -> None:
    decision = drawn((30, 50, 190))
    eyes = [(x, y + 20) if 36 <= number < 42 else (x, y) for number, (x, y) in enumerate(decision.landmarks)]
    right, left = find_faces(finder, PHOTO, [replace(decision, landmarks=tuple(eyes))])
    assert (right.landmarks.source, right.box) == ("detected", box_of(*RIGHT)), "untouched"
    assert (left.landmarks.source, left.box, left.rejected) == ("corrected", box_of(30, 50, 190), None)
    assert np.allclose(left.matrix, crop_matrix(five_points(np.array(eyes, np.float32))))
    there = component_boxes(left.landmarks.points)
    assert not np.array_equal(there, component_boxes(face_at(PHOTO, *LEFT, ALICE).landmarks.points))


def test_what_was_rejected_is_a_face_once_its_points_are_right() -> None:
    finder = MadeUpFinder((*LEFT, ALICE, "the mouth is not below the eyes"))
    (face,) = find_faces(finder, PHOTO, [drawn(LEFT)])
    assert face.rejected is None
    assert len(face.embedding) > 0


def test_a_face_that_was_missed_is_drawn(finder: MadeUpFinder) -> None:
    missed = drawn((240, 300, 60))
    faces = find_faces(finder, PHOTO, [missed])
    assert [face.box for face in faces] == [box_of(*RIGHT), box_of(*LEFT), missed.box], "the largest first"
    assert faces[2].landmarks.source == "corrected"


def test_a_box_drawn_far_larger_is_the_same_face_still(finder: MadeUpFinder) -> None:
    whole_head = replace(drawn(LEFT), box=(0.0, 0.0, 400.0, 400.0))
    faces = find_faces(finder, PHOTO, [whole_head])
    assert len(faces) == 2, "not two faces at one place"
    assert faces[0].box == (0.0, 0.0, 400.0, 400.0)


def test_what_is_no_face_is_rejected_whoever_found_it(finder: MadeUpFinder) -> None:
    decisions = [Decision(box=box_of(*LEFT), not_a_face=True), Decision(number=1, not_a_face=True)]
    assert [face.rejected for face in find_faces(finder, PHOTO, decisions[:1])] == [NOT_A_FACE, None]
    assert [face.rejected for face in find_faces(finder, PHOTO, decisions[1:])] == [NOT_A_FACE, None]
    assert finder.find(PHOTO)[0].rejected is None
    nobody = Decision(box=box_of(*LEFT), person="bob", leave_alone=False)
    assert all(face.rejected is None for face in find_faces(finder, PHOTO, [nobody]))


def test_points_of_no_face_do_not_hide_what_was_found(finder: MadeUpFinder) -> None:
    heap = Decision(box=(0.0, 0.0, 40.0, 40.0), landmarks=((110.0, 130.0),) * 68)
    faces = put_right(finder, PHOTO, finder.find(PHOTO), [heap])
    assert [face.rejected is None for face in faces] == [True, True, False]
