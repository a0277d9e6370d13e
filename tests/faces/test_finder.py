"""Finding faces: merging, rejecting, turning; first with a kit that is told what to say, then with the real one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from dmdcli.faces.align import crop_matrix, five_points, scale_of, transform
from dmdcli.faces.embedded import EmbeddedKit, rough_matrix
from dmdcli.faces.face import Landmarks, verdict
from dmdcli.faces.finder import TURNS, FaceFinder, turn_matrix
from dmdcli.faces.kit import Detection, Trust
from dmdcli.shapes import Box, Pixels
from tests.faces.conftest import FakeKit, drawn_points

PHOTO = np.full((400, 600, 3), 90, dtype=np.uint8)


def detection(box: Box, score: float = 1.0) -> Detection:
    return Detection(box, score, rough_matrix(box))


def read(path: Path) -> Pixels:
    return np.ascontiguousarray(cv2.imread(str(path))[:, :, ::-1])


def test_overlapping_detections_are_one_face_with_the_best_score() -> None:
    kit = FakeKit(
        [detection((100, 100, 200, 200), 0.4), detection((110, 95, 205, 205), 1.7), detection((400, 90, 500, 190))]
    )
    faces = FaceFinder(kit).find(PHOTO)
    assert sorted(face.score for face in faces) == [1.0, 1.7]
    assert all(face.rejected is None for face in faces)


def test_a_face_inside_a_face_is_reported_and_not_used() -> None:
    kit = FakeKit([detection((100, 50, 400, 350)), detection((130, 250, 190, 310), 2.0)])
    large, small = FaceFinder(kit).find(PHOTO)
    assert large.rejected is None
    assert small.rejected == "it lies inside another face"
    assert verdict(small)[0] == "unusable"


def test_a_face_too_small_is_reported_and_not_used() -> None:
    faces = FaceFinder(FakeKit([detection((100, 100, 140, 140)), detection((300, 100, 350, 150))]), min_face=45).find(
        PHOTO
    )
    assert [face.rejected is None for face in faces] == [True, False]
    assert "40 pixels wide" in str(faces[1].rejected)


def test_landmarks_that_are_no_face_are_reported_and_not_used() -> None:
    upside_down = drawn_points()
    upside_down[:, 1] = 512 - upside_down[:, 1]
    for kit in (
        FakeKit([detection((100, 100, 200, 200))], upside_down),
        FakeKit([detection((100, 100, 200, 200))], score=0.05),
    ):
        (face,) = FaceFinder(kit).find(PHOTO)
        assert face.rejected is not None


def test_landmarks_that_coincide_reject_the_face_and_end_nothing() -> None:
    points = np.full((68, 2), 7, dtype=np.float32)
    (face,) = FaceFinder(FakeKit([detection((100, 100, 200, 200))], points)).find(PHOTO)
    assert face.rejected == "the landmarks coincide, so no face can be aligned by them"


def test_several_photos_give_what_each_gives_alone() -> None:
    class ByHeight(FakeKit):
        def detect(self, photos: Sequence[Pixels]) -> list[list[Detection]]:
            super().detect(photos)
            return [[detection((50, 50, 250, 250))] if pixels.shape[0] == 600 else [] for pixels in photos]

    portrait, empty = np.ascontiguousarray(np.rot90(PHOTO)), np.zeros((100, 100, 3), dtype=np.uint8)
    kit = ByHeight([])
    found = FaceFinder(kit).find_all([PHOTO, portrait, empty])
    assert [len(faces) for faces in found] == [1, 1, 0]
    assert len(kit.shapes_seen) == 3 + 2 + 1 + 1, "only photos without a usable face are turned"
    for photo, faces in zip((PHOTO, portrait), found[:2], strict=True):
        (alone,) = FaceFinder(kit).find(photo)
        assert alone.box == faces[0].box
        np.testing.assert_array_equal(alone.matrix, faces[0].matrix)
    assert FaceFinder(kit).find_all([]) == []


class Counting(FakeKit):
    """Counts the crops it is shown."""

    def __init__(self, detections: list[Detection], **given: Any) -> None:
        super().__init__(detections, **given)
        self.looked_at: list[int] = []
        self.embedded: list[int] = []

    def landmarks(self, crops: Pixels) -> list[Landmarks]:
        self.looked_at.append(len(crops))
        return super().landmarks(crops)

    def embed(self, crops: Pixels, landmarks: Sequence[Landmarks]) -> npt.NDArray[np.float32]:
        self.embedded.append(len(crops))
        return super().embed(crops, landmarks)


def test_a_face_aligned_by_its_detector_is_looked_at_once() -> None:
    rough = detection((100, 100, 250, 250))
    aligned = Detection(rough.box, 1.0, rough.matrix, aligned=True)
    settled = transform(drawn_points(), crop_matrix(five_points(drawn_points())))
    for found, moved, passes in ((aligned, 0, [1]), (aligned, 3, [1]), (aligned, 6, [1, 1]), (rough, 0, [1, 1])):
        kit = Counting([found], points=settled + np.array([moved, 0], dtype=np.float32))
        (face,) = FaceFinder(kit).find(PHOTO)
        assert face.rejected is None
        assert kit.looked_at == passes
        assert (face.matrix == found.matrix).all() == (passes == [1])


def test_no_network_runs_for_what_is_rejected_anyway() -> None:
    small, large = detection((10, 10, 40, 40)), detection((100, 50, 300, 250))
    kit = Counting([small, large])
    faces = FaceFinder(kit, min_face=64).find(PHOTO)
    assert [face.rejected is None for face in faces] == [True, False]
    assert (kit.looked_at, kit.embedded) == ([2, 1], [1])
    assert (faces[0].embedding.shape, faces[1].embedding.shape) == ((2,), (0,))
    FaceFinder(lost := Counting([large], score=0.05)).find(PHOTO)
    assert lost.embedded == []


def test_each_kit_says_how_its_scores_are_read() -> None:
    class Strict(FakeKit):
        trust = Trust(weak=0.9, lost=0.6, turned=2.0)

    face = detection((100, 100, 250, 250), 1.0)
    assert FaceFinder(Strict([face], score=0.95)).find(PHOTO)[0].doubts == ()
    assert FaceFinder(Strict([face], score=0.8)).find(PHOTO)[0].doubts == ("the landmarks are unsure",)
    assert FaceFinder(Strict([face], score=0.5)).find(PHOTO)[0].rejected is not None

    class OnItsSide(Strict):
        def detect(self, photos: Sequence[Pixels]) -> list[list[Detection]]:
            return [[] if pixels.shape == PHOTO.shape else [face] for pixels in photos]

    assert FaceFinder(OnItsSide([])).find(PHOTO) == []


def test_boxes_stay_inside_the_photo() -> None:
    (face,) = FaceFinder(FakeKit([detection((-20, 330, 80, 430))])).find(PHOTO)
    assert face.box == (0, 330, 80, 400)


def test_an_empty_picture_is_searched_in_all_four_turns() -> None:
    kit = FakeKit([])
    assert FaceFinder(kit).find(PHOTO) == []
    assert [shape[:2] for shape in kit.shapes_seen] == [(400, 600), (600, 400), (600, 400), (400, 600)]


@pytest.mark.parametrize(("turns", "height", "width"), [(1, 3000, 4801), (2, 4801, 3000), (3, 2399, 5001)])
def test_a_large_picture_is_turned_in_a_smaller_copy(turns: int, height: int, width: int) -> None:
    photo = np.zeros((height, width, 3), dtype=np.uint8)
    photo[1000:1600, 1400:1900] = 255  # the face, where it lies in the photo

    class WhiteThing(FakeKit):
        """Sees the white thing in one of the turns."""

        def detect(self, photos: Sequence[Pixels]) -> list[list[Detection]]:
            super().detect(photos)
            if not photos or len(self.shapes_seen) != 1 + TURNS.index(turns):
                return [[] for _ in photos]
            rows, columns = np.nonzero(photos[0].max(axis=2) > 127)
            return [[detection((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))]]

    kit = WhiteThing([])
    (face,) = FaceFinder(kit).find(photo)
    assert kit.shapes_seen[0][:2] == (height, width)
    assert all(max(shape) == 2400 for shape in kit.shapes_seen[1:])
    np.testing.assert_allclose(face.box, (1400, 1000, 1900, 1600), atol=2)
    down = {1: (-50, 0), 2: (0, -50), 3: (50, 0)}[turns]
    middle, chin = transform(np.array([(1649.5, 1299.5), np.add((1649.5, 1299.5), down)], np.float32), face.matrix)
    assert chin[1] - middle[1] > 5 * abs(chin[0] - middle[0]), "it is not turned upright"


def test_a_badge_in_a_picture_on_its_side_does_not_hide_the_face() -> None:
    class Sideways(FakeKit):
        def detect(self, photos: Sequence[Pixels]) -> list[list[Detection]]:
            super().detect(photos)
            badge, face = detection((30, 30, 50, 50)), detection((60, 50, 260, 250))
            return [[badge if pixels.shape == PHOTO.shape else face] for pixels in photos]

    kit = Sideways([])
    (face,) = FaceFinder(kit).find(PHOTO)
    assert face.rejected is None
    assert len(kit.shapes_seen) == 2
    (badge,) = FaceFinder(kit, min_face=300).find(PHOTO)
    assert badge.box == (30, 30, 50, 50), "where no turn shows a face, the picture as given is reported"


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_turn_matrix_says_where_rot90_puts_each_pixel(turns: int) -> None:
    picture = np.arange(5 * 7).reshape(5, 7)
    turned = np.rot90(picture, turns)
    y, x = np.mgrid[:5, :7]
    places = transform(np.stack([x, y], axis=-1).reshape(-1, 2).astype(np.float32), turn_matrix(turns, (7, 5))).astype(
        int
    )
    np.testing.assert_array_equal(turned[places[:, 1], places[:, 0]], picture.ravel())


def test_a_real_face_is_found_and_aligned(embedded_kit: EmbeddedKit, astronaut: Pixels) -> None:
    (face,) = FaceFinder(embedded_kit).find(astronaut)
    assert verdict(face) == ("good", ())
    np.testing.assert_allclose(face.landmarks.points[36:42].mean(axis=0), [193, 240], atol=8)
    np.testing.assert_allclose(face.landmarks.points[42:48].mean(axis=0), [319, 240], atol=8)
    assert face.embedding.shape == (128,)
    assert face.embedding.dtype == np.float32


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_picture_on_its_side_gives_the_same_face(embedded_kit: EmbeddedKit, astronaut: Pixels, turns: int) -> None:
    finder = FaceFinder(embedded_kit)
    (upright,) = finder.find(astronaut[:300, 80:380])
    photo = np.ascontiguousarray(np.rot90(astronaut[:300, 80:380], turns))
    (face,) = finder.find(photo)
    assert np.abs(face.pixels.astype(int) - upright.pixels.astype(int)).mean() < 6
    assert float(np.linalg.norm(face.embedding - upright.embedding)) < 0.2
    assert scale_of(face.matrix) == pytest.approx(scale_of(upright.matrix), rel=0.05)
    centre = transform(
        np.array([[256, 300]], dtype=np.float32), np.linalg.inv(np.vstack([face.matrix, [0, 0, 1]]))[:2]
    )[0]
    assert face.box[0] < centre[0] < face.box[2]
    assert face.box[1] < centre[1] < face.box[3]


def test_landmarks_do_not_move_with_the_photos_size(embedded_kit: EmbeddedKit, astronaut: Pixels) -> None:
    (face,) = FaceFinder(embedded_kit).find(astronaut)
    large = cv2.resize(astronaut, None, fx=2.3, fy=2.3, interpolation=cv2.INTER_CUBIC)
    (larger,) = [found for found in FaceFinder(embedded_kit).find(large) if found.rejected is None]
    assert np.linalg.norm(face.landmarks.points - larger.landmarks.points, axis=1).mean() < 4


def test_describe_agrees_with_find(embedded_kit: EmbeddedKit, astronaut: Pixels) -> None:
    finder = FaceFinder(embedded_kit)
    (face,) = finder.find(astronaut)
    landmarks, embedding = finder.describe(face.pixels)
    np.testing.assert_array_equal(landmarks.points, face.landmarks.points)
    np.testing.assert_array_equal(embedding, face.embedding)
    np.testing.assert_array_equal(finder.embed(face.pixels[None], [landmarks])[0], face.embedding)


def test_nothing_is_found_where_there_is_no_face(embedded_kit: EmbeddedKit) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    assert FaceFinder(embedded_kit).find(noise) == []
    assert FaceFinder(embedded_kit).find(np.zeros((1, 1, 3), dtype=np.uint8)) == []


@pytest.mark.slow
def test_the_kit_works_where_torch_and_torchvision_do_not() -> None:
    script = (
        "import sys; sys.modules['torch'] = None; sys.modules['torchvision'] = None\n"
        "import numpy, skimage.data\n"
        "from dmdcli.faces.embedded import EmbeddedKit\n"
        "from dmdcli.faces.finder import FaceFinder\n"
        "print(len(FaceFinder(EmbeddedKit()).find(numpy.ascontiguousarray(skimage.data.astronaut()))))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "1", done.stderr


def test_landmarks_agree_with_those_of_the_same_predictor(embedded_kit: EmbeddedKit, test_data: Path) -> None:
    import json

    known = json.loads((test_data / "faces" / "landmarks.json").read_text())
    errors = []
    for name in sorted(known)[::100]:
        crop = read(test_data / "faces" / "aligned_crops" / f"{name}.jpg")
        points = embedded_kit.landmarks(crop[None])[0].points
        errors.append(np.linalg.norm(points - np.array(known[name]), axis=1).mean())
    assert np.mean(errors) < 2.0
    assert max(errors) < 4.0


@pytest.mark.parametrize(("name", "faces"), [("people/lisa/lisa2.jpg", 1), ("old/dwight_eisenhower.jpg", 1)])
def test_portraits_have_one_good_face(embedded_kit: EmbeddedKit, test_data: Path, name: str, faces: int) -> None:
    found = FaceFinder(embedded_kit).find(read(test_data / "faces" / "photos" / name))
    assert [verdict(face)[0] for face in found] == ["good"] * faces


@pytest.mark.slow
def test_all_six_of_a_group(embedded_kit: EmbeddedKit, test_data: Path) -> None:
    found = FaceFinder(embedded_kit).find(read(test_data / "faces" / "photos" / "groups" / "einstein_and_others.jpg"))
    assert [verdict(face)[0] for face in found] == ["good"] * 6


@pytest.mark.slow
def test_all_twenty_nine_of_a_large_group(embedded_kit: EmbeddedKit, test_data: Path) -> None:
    found = FaceFinder(embedded_kit).find(read(test_data / "faces" / "photos" / "groups" / "solvay_1927.jpg"))
    assert [face.rejected for face in found] == [None] * 29
    assert sum(verdict(face)[0] == "good" for face in found) >= 20, "beards and moustaches leave the others unsure"


@pytest.mark.slow
def test_most_of_a_group_seen_from_the_side(embedded_kit: EmbeddedKit, test_data: Path) -> None:
    found = FaceFinder(embedded_kit).find(read(test_data / "faces" / "photos" / "groups" / "situation_room.jpg"))
    assert 9 <= sum(face.rejected is None for face in found) <= 13
