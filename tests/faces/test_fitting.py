"""A face in a box that somebody drew, and points that somebody put right."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from dmdcli.errors import UsageError
from dmdcli.faces.align import crop_face, crop_matrix, five_points, invert, scale_of, transform
from dmdcli.faces.confidence import CERTAIN
from dmdcli.faces.embedded import EmbeddedKit
from dmdcli.faces.face import Landmarks, landmark_distance, verdict
from dmdcli.faces.finder import NO_ALIGNMENT, NOT_FITTED, FaceFinder
from dmdcli.faces.fitting import average_points, start_matrix, surroundings
from dmdcli.shapes import Pixels, Points
from tests.faces.conftest import FakeKit, drawn_points

PHOTO = np.random.default_rng(0).integers(60, 180, (400, 600, 3), dtype=np.uint8)
BOX = (200.0, 100.0, 300.0, 200.0)


class SeeingKit(FakeKit):
    """Sees a face at one place of PHOTO: points follow the crop, as far as it is near where the face would be."""

    def __init__(self, truth: Points) -> None:
        super().__init__([])
        self.truth = truth
        self.places: dict[bytes, np.ndarray] = {}
        self.looks = 0

    def landmarks(self, crops: Pixels) -> list[Landmarks]:
        self.looks += len(crops)
        return [self._seen(crop) for crop in crops]

    def _seen(self, crop: Pixels) -> Landmarks:
        matrix = self.places.get(crop.tobytes())
        if matrix is None:
            return Landmarks(drawn_points(), np.full(68, 0.3, np.float32))
        points = transform(self.truth, matrix)
        off = float(np.linalg.norm(points - drawn_points(), axis=1).mean())
        if off > 120:
            return Landmarks(drawn_points(), np.full(68, 0.2, np.float32))
        return Landmarks(points + np.float32(off / 10), np.full(68, 1 - off / 200, np.float32))


@pytest.fixture
def seeing(monkeypatch: pytest.MonkeyPatch) -> SeeingKit:
    kit = SeeingKit(transform(drawn_points(), invert(start_matrix(BOX, 0.9, 0.03, 10))))

    def crop(pixels: Pixels, matrix: np.ndarray) -> Pixels:
        cut = crop_face(pixels, matrix)
        kit.places[cut.tobytes()] = matrix
        return cut

    monkeypatch.setattr("dmdcli.faces.fitting.crop_face", crop)
    monkeypatch.setattr("dmdcli.faces.finder.crop_face", crop)
    return kit


def found(face) -> Points:
    return transform(face.landmarks.points, invert(face.matrix))


def test_points_are_refined_until_they_are_exact(seeing: SeeingKit) -> None:
    face = FaceFinder(seeing).fit(PHOTO, BOX)
    assert landmark_distance(found(face), seeing.truth) < 0.01, "one look is wrong by a twentieth"
    assert (face.rejected, face.landmarks.source, face.box) == (None, "detected", BOX)
    assert len(face.embedding) > 0
    assert NOT_FITTED not in face.doubts


@pytest.mark.parametrize("degrees", [90, -50])
def test_a_head_that_is_turned_is_found_by_turning(seeing: SeeingKit, degrees: float) -> None:
    seeing.truth = transform(drawn_points(), invert(start_matrix(BOX, 0.9, 0.03, degrees)))
    face = FaceFinder(seeing).fit(PHOTO, BOX)
    assert landmark_distance(found(face), seeing.truth) < 0.01


def test_where_no_face_is_seen_an_average_one_waits_for_the_hand() -> None:
    face = FaceFinder(FakeKit([], score=0.1)).fit(PHOTO, BOX)
    assert face.doubts[0] == NOT_FITTED
    assert verdict(face)[0] == "doubtful"
    x0, y0, x1, y1 = surroundings(found(face))
    assert np.allclose([(x0 + x1) / 2, (y0 + y1) / 2], [250, 150], atol=0.1), "in the middle of the box"
    assert max(x1 - x0, y1 - y0) == pytest.approx(100, abs=0.1)
    assert np.allclose(average_points(BOX)[45, 1], average_points(BOX)[36, 1], atol=3), "upright"


@pytest.mark.parametrize("box", [(700.0, 10.0, 800.0, 90.0), (10.0, 10.0, 15.0, 90.0), (-90.0, 0.0, 4.0, 90.0)])
def test_a_box_without_a_picture_in_it_is_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(UsageError, match="inside the picture"):
        FaceFinder(FakeKit([])).fit(PHOTO, box)


def test_points_that_were_put_right_are_taken_as_they_are() -> None:
    kit = FakeKit([], score=0.0)
    points = transform(drawn_points(), invert(start_matrix((200.0, 100.0, 212.0, 112.0))))
    points[36:42] += (0, -1)
    face = FaceFinder(kit, min_face=100).describe_points(PHOTO, (200.0, 100.0, 212.0, 112.0), points)
    assert (face.rejected, face.doubts, face.confidence) == (None, (), CERTAIN), "however small"
    assert (face.landmarks.source, face.landmarks.scores) == ("corrected", None)
    assert np.allclose(face.matrix, crop_matrix(five_points(points)))
    assert np.allclose(found(face), points, atol=0.01)
    assert np.array_equal(face.pixels, crop_face(PHOTO, face.matrix))
    assert scale_of(face.matrix) > 20
    assert len(face.embedding) > 0


def test_points_of_no_face_are_rejected_all_the_same() -> None:
    finder = FaceFinder(FakeKit([]))
    heap = finder.describe_points(PHOTO, BOX, np.full((68, 2), 150, np.float32))
    assert (heap.rejected, len(heap.embedding)) == (NO_ALIGNMENT, 0)
    upturned = transform(drawn_points(), invert(start_matrix(BOX)))
    upturned[36:48, 1] += 70
    upturned[48:68, 1] -= 70
    assert verdict(finder.describe_points(PHOTO, BOX, upturned))[0] == "unusable"


def perturbed(box: Sequence[float]) -> list[tuple[float, float, float, float]]:
    x0, y0, x1, y1 = box
    side = x1 - x0
    return [
        (x0 - 0.25 * side, y0 - 0.6 * side, x1 + 0.25 * side, y1 + 0.2 * side),
        (x0 + 0.1 * side, y0 + 0.1 * side, x1 - 0.1 * side, y1),
        (x0 + 0.2 * side, y0 - 0.15 * side, x1 + 0.15 * side, y1 - 0.1 * side),
    ]


def test_a_real_face_is_fitted_in_a_box_around_the_whole_head(embedded_kit: EmbeddedKit, astronaut: Pixels) -> None:
    finder = FaceFinder(embedded_kit)
    (face,) = finder.find(astronaut)
    assert landmark_distance(found(finder.fit(astronaut, perturbed(face.box)[0])), found(face)) < 0.03


@pytest.mark.slow
def test_a_real_face_is_fitted_in_other_boxes_and_turned(embedded_kit: EmbeddedKit, astronaut: Pixels) -> None:
    finder = FaceFinder(embedded_kit)
    (face,) = finder.find(astronaut)
    for box in perturbed(face.box)[1:]:
        assert landmark_distance(found(finder.fit(astronaut, box)), found(face)) < 0.03
    turned = np.ascontiguousarray(cv2.rotate(astronaut, cv2.ROTATE_90_CLOCKWISE))
    x0, y0, x1, y1 = face.box
    again = finder.fit(turned, (512 - y1, x0, 512 - y0, x1))
    there = np.stack([511 - found(face)[:, 1], found(face)[:, 0]], axis=1)
    assert landmark_distance(found(again), there.astype(np.float32)) < 0.03
