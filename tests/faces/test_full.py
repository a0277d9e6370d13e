"""The full kit with generated weights: its answers are those of the packages that publish the networks.

Random networks see nothing, so faces are planted where one is needed.
"""

from __future__ import annotations

import ast
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import face_alignment
import numpy as np
import numpy.typing as npt
import pytest
import torch
from facexlib.detection import align_trans, init_detection_model
from facexlib.detection.retinaface_utils import PriorBox
from facexlib.parsing import init_parsing_model
from facexlib.recognition.arcface_arch import Backbone
from facexlib.utils import img2tensor
from skimage.transform import SimilarityTransform
from torch import Tensor, nn
from torchvision.transforms.functional import normalize

from dmdcli import weights
from dmdcli.errors import ShapeError, WeightsCorruptError, WeightsMissingError
from dmdcli.faces import full, full_networks
from dmdcli.faces.align import TEMPLATE, crop_face, crop_matrix, five_points, transform
from dmdcli.faces.face import Landmarks
from dmdcli.faces.full import FullKit
from dmdcli.faces.kit import Detection
from dmdcli.shapes import Box, Pixels, Points
from tests.faces.conftest import drawn_points
from tests.faces.generated_weights import EVERYTHING, planted_face, use_generated, write_full_kit

pytestmark = [
    # facexlib's own initialiser asks torchvision in an old way.
    pytest.mark.filterwarnings("ignore:The parameter 'pretrained' is deprecated"),
    pytest.mark.filterwarnings("ignore:Arguments other than a weight enum"),
]

RETINAFACE = {
    "retinaface-resnet50": ("retinaface_resnet50", "detection_Resnet50_Final.pth"),
    "retinaface-mobilenet": ("retinaface_mobile0.25", "detection_mobilenet0.25_Final.pth"),
}
"""Our name -> facexlib's, and the file."""


@pytest.fixture(autouse=True, scope="module")
def no_network() -> Iterator[None]:
    """Whatever connects or looks a name up fails the test."""

    def refuse(*arguments: Any, **named: Any) -> None:
        pytest.fail(f"something connects: {arguments}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "create_connection", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The weights folder with every file of the full kit, generated; the table of weights knows their SHA-256."""
    folder = tmp_path_factory.mktemp("weights")
    digests = write_full_kit(folder, names=EVERYTHING)
    with pytest.MonkeyPatch.context() as patch:
        use_generated(patch, digests, folder)
        yield folder


@pytest.fixture(scope="module")
def kit(folder: Path) -> FullKit:
    return FullKit(folder)


@pytest.fixture(scope="module")
def small_kit(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> FullKit:
    """With the MobileNet detector and BiSeNet, and without the files that would be taken before them."""
    return FullKit(
        linked(folder, tmp_path_factory.mktemp("small"), "retinaface-mobilenet", "fan", "arcface", "bisenet")
    )


@pytest.fixture(scope="module")
def photo(astronaut: Pixels) -> Pixels:
    """A real photograph, 300 x 448, with one face of about 105 pixels around (225, 120)."""
    return np.ascontiguousarray(astronaut[:300, :448])


@pytest.fixture(scope="module")
def points5() -> Points:
    """Eyes, nose tip and mouth corners of the face in `photo`, in its pixel centres, by eye."""
    return np.array([[205, 114], [246, 108], [231, 136], [211, 153], [250, 148]], dtype=np.float32)


@pytest.fixture(scope="module")
def crops(photo: Pixels, points5: Points) -> Pixels:
    """Three aligned crops of the face: as it is, mirrored and darker."""
    crop = crop_face(photo, crop_matrix(points5))
    return np.stack([crop, crop[:, ::-1], crop // 2])


def linked(folder: Path, other: Path, *names: str) -> Path:
    for name in names:
        (file,) = weights.named(name)
        os.link(folder / file.file, other / file.file)
    return other


def found_points(count: int) -> list[Landmarks]:
    """The drawn face's points, a little different for each crop."""
    return [Landmarks(drawn_points() + np.float32(2 * number)) for number in range(count)]


def assert_same(one: list[Detection], other: list[Detection]) -> None:
    assert len(one) == len(other)
    for ours, theirs in zip(one, other, strict=True):
        np.testing.assert_allclose(ours.box, theirs.box, atol=0.01)
        np.testing.assert_allclose(ours.score, theirs.score, atol=1e-5)
        np.testing.assert_allclose(ours.matrix, theirs.matrix, rtol=1e-3, atol=0.05)


# Finding faces


@pytest.mark.parametrize("size", [(1, 1), (10, 500), (427, 640), (641, 333)])
def test_anchors_are_those_of_facexlib(size: tuple[int, int]) -> None:
    config = {"min_sizes": [[16, 32], [64, 128], [256, 512]], "steps": [8, 16, 32], "clip": False}
    np.testing.assert_array_equal(full.anchor_boxes(*size), PriorBox(config, image_size=size).forward().numpy())


@pytest.mark.parametrize("name", RETINAFACE)
def test_detections_are_those_of_facexlib(
    name: str,
    kit: FullKit,
    small_kit: FullKit,
    folder: Path,
    photo: Pixels,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs = init_detection_model(RETINAFACE[name][0], half=False, device="cpu", model_rootpath=str(folder))
    ours = kit if name == "retinaface-resnet50" else small_kit
    read = []
    ours._detector.net.register_forward_pre_hook(lambda net, inputs: read.append(inputs[0].clone()))
    boxes, confidences, points = ours._detector(photo[None, :, :, ::-1])
    bgr = cv2.cvtColor(photo, cv2.COLOR_RGB2BGR)
    wanted = theirs.transform(bgr, use_origin_size=True)[0] - theirs.mean_tensor
    assert torch.equal(read[0], wanted)
    with torch.no_grad():
        answer = theirs(wanted)
    for got, want in zip((boxes, confidences, points), (answer[0], answer[1][:, :, 1], answer[2]), strict=True):
        np.testing.assert_allclose(got, want.numpy(), atol=1e-5)

    # Generated networks see no face; with this threshold, they see some.
    threshold = float(np.sort(confidences[0])[-300])
    monkeypatch.setattr(full, "CONFIDENCE", threshold)
    (found,) = ours.detect([photo])
    with torch.no_grad():
        rows = theirs.detect_faces(bgr, conf_threshold=threshold, nms_threshold=full.NMS_IOU)
    assert len(found) == len(rows) > 10
    np.testing.assert_allclose([one.box for one in found], rows[:, :4], atol=1e-3)
    np.testing.assert_allclose([one.score for one in found], rows[:, 4], atol=1e-6)
    for one, row in zip(found, rows, strict=True):
        five = row[5:].reshape(5, 2) - np.float32(0.5)
        want = full._trusted_matrix(five, TEMPLATE, full.rough_matrix(one.box))
        np.testing.assert_allclose(one.matrix, want, rtol=1e-3, atol=0.05)


def test_photos_are_reduced_as_facexlib_would_but_antialiased_and_never_enlarged(
    kit: FullKit, folder: Path, astronaut: Pixels
) -> None:
    large = cv2.resize(astronaut, (1601, 1300), interpolation=cv2.INTER_CUBIC)
    reduced = kit._reduced(large)
    assert reduced.shape == (640, 788, 3)
    theirs = init_detection_model("retinaface_mobile0.25", device="cpu", model_rootpath=str(folder))
    theirs.target_size, theirs.max_size = 640, 1920
    tensor, scale = theirs.transform(large[:, :, ::-1], use_origin_size=False)
    assert tensor.shape[2:] == reduced.shape[:2]
    assert scale == pytest.approx(reduced.shape[0] / large.shape[0])
    # The same picture at the same place: shifted by one pixel either way, it agrees less.
    picture = tensor[0].permute(1, 2, 0).numpy()[:, :, ::-1]
    away = {
        (right, down): np.abs(np.roll(reduced, (down, right), (0, 1))[5:-5, 5:-5] - picture[5:-5, 5:-5]).mean()
        for right in (-1, 0, 1)
        for down in (-1, 0, 1)
    }
    assert min(away, key=lambda shift: float(away[shift])) == (0, 0)
    stripes = np.zeros((1600, 1600, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    assert np.ptp(kit._reduced(stripes)) < 60
    assert kit._reduced(astronaut) is astronaut
    assert kit._reduced(np.zeros((100, 8000, 3), dtype=np.uint8)).shape == (24, 1920, 3)


@pytest.mark.parametrize("size", [(320, 448), (1280, 1792), (1920, 2049)])
def test_what_lies_in_the_photo_is_found_where_it_lies(
    size: tuple[int, int], small_kit: FullKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The detector is replaced by one that measures where the coloured things in its picture are."""
    box = (120.0, 48.0, 216.0, 204.0)
    spots = np.array([[138, 102], [198, 102], [162, 132], [144, 162], [186, 162]])
    picture = np.zeros((*size, 3), dtype=np.uint8)
    picture[48:204, 120:216] = (0, 0, 255)
    for number, (x, y) in enumerate(spots):
        picture[y - 6 : y + 6, x - 6 : x + 6] = (50 + 40 * number, 0, 255)

    def measure(net: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
        pixels = (images[0] + torch.tensor(full.DETECTOR_MEAN).reshape(3, 1, 1)).numpy()
        blue, _, red = pixels  # the detector's order of channels
        height, width = blue.shape

        def extent(of: npt.NDArray[np.bool_]) -> list[float]:
            rows, columns = np.flatnonzero(of.any(axis=1)), np.flatnonzero(of.any(axis=0))
            return [columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height]

        x0, y0, x1, y1 = extent(blue == 255)
        edges = [extent(red == 50 + 40 * number) for number in range(5)]
        places = np.array([[(left + right) / 2, (top + bottom) / 2] for left, top, right, bottom in edges])
        anchors = full.anchor_boxes(height, width)
        middle, sides = anchors[0, :2], anchors[0, 2:]
        boxes, points = torch.zeros(1, len(anchors), 4), torch.zeros(1, len(anchors), 10)
        scores = torch.zeros(1, len(anchors))
        boxes[0, 0, :2] = torch.tensor((np.array([x0 + x1, y0 + y1]) / 2 - middle) / (0.1 * sides))
        boxes[0, 0, 2:] = torch.tensor(np.log(np.array([x1 - x0, y1 - y0]) / sides) / 0.2)
        points[0, 0] = torch.tensor(((places - middle) / (0.1 * sides)).reshape(-1))
        scores[0, 0] = 0.9
        return boxes, scores, points

    monkeypatch.setattr(small_kit._detector, "_answer", measure)
    ((seen,),) = small_kit.detect([picture])
    np.testing.assert_allclose(seen.box, box, atol=0.01)
    assert seen.score == pytest.approx(0.9)
    # The middle of pixels 132 to 143 is 137.5 where pixel 0 has its centre at 0.
    centres = (spots - 0.5).astype(np.float32)
    np.testing.assert_allclose(transform(centres, seen.matrix), transform(centres, crop_matrix(centres)), atol=0.05)


def test_a_planted_face_comes_out_where_it_was_planted(kit: FullKit, photo: Pixels, points5: Points) -> None:
    box: Box = (180, 60, 275, 182)
    assert kit.detect([photo]) == [[]]
    with planted_face(kit, box, points5, (photo.shape[1], photo.shape[0])):
        ((seen,),) = kit.detect([photo])
    assert isinstance(seen.score, float)
    assert seen.score == pytest.approx(0.99)
    np.testing.assert_allclose(seen.box, box, atol=1e-3)
    np.testing.assert_allclose(seen.matrix, crop_matrix(points5), atol=1e-3)
    assert seen.matrix.dtype == np.float32
    got, want = crop_face(photo, seen.matrix), crop_face(photo, crop_matrix(points5))
    assert np.abs(got.astype(int) - want).max() <= 1


@pytest.mark.parametrize(
    "points",
    [
        np.full((5, 2), 230),
        np.full((5, 2), 230) + np.arange(10).reshape(5, 2) * 1e-3,
        np.array([[100, 400], [300, 400], [200, 120], [110, 0], [290, 0]]),
        np.full((5, 2), np.finfo(np.float32).max / 1e4),
    ],
    ids=["one point", "nearly one point", "upside down", "far away"],
)
def test_points_that_are_no_face_give_way_to_the_box(
    points: npt.NDArray[np.float64], kit: FullKit, photo: Pixels
) -> None:
    box: Box = (180, 60, 275, 182)
    with planted_face(kit, box, points.astype(np.float32), (photo.shape[1], photo.shape[0])):
        ((seen,),) = kit.detect([photo])
    np.testing.assert_allclose(seen.matrix, full.rough_matrix(seen.box))
    corners = np.array([[180, 60], [275, 182]], dtype=np.float32) - np.float32(0.5)
    x0, y0, x1, y1 = full.RETINAFACE_BOX
    placed = transform(corners, seen.matrix) + 0.5
    np.testing.assert_allclose(placed.mean(axis=0), [(x0 + x1) / 2, (y0 + y1) / 2], atol=0.01)
    assert np.prod(placed[1] - placed[0]) == pytest.approx((x1 - x0) * (y1 - y0), rel=1e-3)


def test_photos_of_any_size_can_be_searched(small_kit: FullKit, kit: FullKit) -> None:
    odd = [(1, 1), (10, 500), (0, 20), (20, 0), (33, 7), (40, 6000)]
    photos = [np.full((*size, 3), 128, dtype=np.uint8) for size in odd]
    assert small_kit.detect(photos) == [[]] * len(odd)
    assert kit.detect(photos[:2]) == [[], []]
    assert kit.detect([]) == []
    with pytest.raises(ShapeError):
        kit.detect([np.zeros((4, 4), dtype=np.uint8)])


def test_photos_of_one_size_go_together_and_come_out_alike(
    small_kit: FullKit, photo: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = [photo, photo[::-1].copy(), photo[:200].copy(), photo[:, ::-1].copy()]
    monkeypatch.setattr(small_kit._detector, "_batch_size", 4)
    highest = [small_kit._detector(one[None, :, :, ::-1])[1].max() for one in photos]
    monkeypatch.setattr(full, "CONFIDENCE", min(float(one) for one in highest) * 0.8)
    shown = []
    handle = small_kit._detector.net.register_forward_pre_hook(lambda net, inputs: shown.append(len(inputs[0])))
    together = small_kit.detect(photos)
    assert sorted(shown) == [1, 3]
    handle.remove()
    for one, seen in zip(photos, together, strict=True):
        assert len(seen) >= 1
        assert_same(seen, small_kit.detect([one])[0])


# Landmarks


@pytest.fixture(scope="module")
def their_fan(folder: Path) -> Iterator[Any]:
    """face-alignment's own object, with its own loading, and no detector that would be downloaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(face_alignment.api, "load_file_from_url", lambda url: str(folder / url.rpartition("/")[2]))
        # numba would compile these for seconds; in plain Python they are the same functions.
        for name in ("_get_preds_fromhm", "transform_np"):
            patch.setattr(face_alignment.utils, name, getattr(face_alignment.utils, name).py_func)
        yield face_alignment.FaceAlignment(
            face_alignment.LandmarksType.TWO_D, device="cpu", compile=False, face_detector="folder", flip_input=True
        )


@pytest.fixture(scope="module")
def alone(kit: FullKit, crops: Pixels) -> tuple[Landmarks, list[Tensor]]:
    """The landmarks of the first crop, and what the network was shown."""
    shown: list[Tensor] = []
    with kit._fan.net.register_forward_pre_hook(lambda net, inputs: shown.append(inputs[0].clone())):
        (found,) = kit.landmarks(crops[:1])
    return found, shown


def test_landmarks_are_those_of_face_alignment(
    alone: tuple[Landmarks, list[Tensor]], their_fan: Any, crops: Pixels
) -> None:
    found, ours = alone
    theirs: list[Tensor] = []
    with their_fan.face_alignment_net.register_forward_pre_hook(lambda net, inputs: theirs.append(inputs[0].clone())):
        points, scores, _ = their_fan.get_landmarks_from_image(
            crops[0], detected_faces=[np.array(full.RETINAFACE_BOX)], return_landmark_score=True
        )
    # Both see the picture and its mirror image, in either order, and the very same numbers.
    assert len(ours) == len(theirs) == 2
    assert torch.equal(ours[1], theirs[0])
    assert torch.equal(ours[0], theirs[1])
    assert found.points.dtype == np.float32
    np.testing.assert_array_equal(np.trunc(found.points + 0.5), points[0])
    assert len(np.unique(points[0], axis=0)) > 20
    assert found.scores is not None
    assert found.scores.dtype == np.float32
    np.testing.assert_allclose(found.scores, scores[0] / 2, atol=1e-5)
    assert found.scores.min() > 0
    assert found.scores.max() < 1
    assert found.source == "detected"


def test_peaks_are_decoded_as_face_alignment_does(
    kit: FullKit, their_fan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Peaks in every row and column of the heatmap, borders too, with slopes of either sign, and plateaus."""
    generator = np.random.default_rng(3)
    heat = generator.random((4, 68, 64, 64), dtype=np.float32) * np.float32(0.4)
    flat = heat.reshape(-1, 64, 64)
    columns, rows = np.arange(len(flat)) % 64, (np.arange(len(flat)) * 27 // 4) % 64
    flat[np.arange(len(flat)), rows, columns] = np.linspace(0.5, 1.1, len(flat), dtype=np.float32)
    flat[::17, 20:24, 30:33] = 1.5  # plateaus: the first of equal ones, without a slope across
    assert set(rows) == set(columns) == set(range(64))
    answers = iter([torch.zeros(heat.shape), torch.from_numpy(heat * 2)])
    places, heights = full._heatmap_peaks(lambda images: [next(answers)], torch.zeros(4, 3, 8, 8))  # type: ignore[arg-type]
    centre, scale = full.landmark_picture(full.RETINAFACE_BOX)
    in_heatmap, in_crop, scores = face_alignment.utils.get_preds_fromhm(heat.copy(), centre, scale)
    np.testing.assert_array_equal(places.numpy(), in_heatmap)
    np.testing.assert_array_equal(heights.numpy(), scores)
    monkeypatch.setattr(kit._fan, "_answer", lambda net, images: (places, heights))
    found = kit.landmarks(np.zeros((4, 512, 512, 3), dtype=np.uint8))
    np.testing.assert_array_equal(np.trunc([one.points + 0.5 for one in found]), in_crop)
    assert max(one.scores.max() for one in found if one.scores is not None) == 1


def test_points_change_places_in_the_mirror_as_in_face_alignment() -> None:
    labels = torch.arange(68.0).reshape(1, 68, 1, 1)
    assert face_alignment.utils.shuffle_lr(labels).flatten().tolist() == list(full.MIRRORED)


@pytest.mark.slow
def test_crops_in_one_batch_have_the_landmarks_they_have_alone(
    kit: FullKit, crops: Pixels, alone: tuple[Landmarks, list[Tensor]]
) -> None:
    _, found = kit.landmarks(np.stack([crops[1], crops[0]]))
    assert found.scores is not None
    np.testing.assert_allclose(found.scores, alone[0].scores, atol=1e-5)
    # Of two peaks as high to within rounding, either may be taken.
    assert (np.abs(found.points - alone[0].points).max(axis=1) < 1e-3).mean() > 0.95


def test_crops_in_one_batch_have_the_embeddings_they_have_alone(
    kit: FullKit, crops: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    landmarks = found_points(3)
    monkeypatch.setattr(kit._recognition, "_batch_size", 2)
    rows = kit.embed(crops, landmarks)
    for crop, one, row in zip(crops, landmarks, rows, strict=True):
        np.testing.assert_allclose(row, kit.embed(crop[None], [one])[0], atol=1e-5)


# Recognising


def test_the_picture_for_recognition_is_that_of_insightface(crops: Pixels) -> None:
    points = drawn_points()
    five = five_points(points)
    matrix = full.recognition_matrix(points)
    reference = align_trans.get_reference_facial_points(default_square=True)
    np.testing.assert_allclose(full.RECOGNITION_TEMPLATE, reference, atol=1e-3)
    fitted = SimilarityTransform.from_estimate(five, full.RECOGNITION_TEMPLATE)
    np.testing.assert_allclose(matrix, fitted.params[:2], atol=1e-4)
    ours = crop_face(crops[0], matrix, full.RECOGNITION_SIDE)
    # facexlib's own warp is not antialiased, so it is shown a picture that needs it little.
    smooth = cv2.GaussianBlur(crops[0], (0, 0), 4)
    theirs = align_trans.warp_and_crop_face(
        smooth, [list(point) for point in five], reference, crop_size=(112, 112), align_type="similarity"
    )
    smoothed = crop_face(smooth, matrix, full.RECOGNITION_SIDE)
    assert np.abs(smoothed.astype(int)[4:-4, 4:-4] - theirs[4:-4, 4:-4]).mean() < 2.5
    assert ours.shape == (112, 112, 3)


@pytest.mark.parametrize("value", [256.0, np.nan, np.inf])
def test_useless_points_are_replaced_by_where_a_crop_has_them(value: float) -> None:
    matrix = full.recognition_matrix(np.full((68, 2), value, dtype=np.float32))
    np.testing.assert_allclose(transform(TEMPLATE.astype(np.float32), matrix), full.RECOGNITION_TEMPLATE, atol=2.5)


def test_embeddings_are_those_of_facexlib(kit: FullKit, folder: Path, crops: Pixels) -> None:
    with torch.device("meta"):  # facexlib's initialiser wants CUDA; this is what it does, without
        theirs = Backbone(num_layers=50, drop_ratio=0.6, mode="ir_se").eval()
    theirs.load_state_dict(torch.load(folder / "recognition_arcface_ir_se50.pth"), strict=True, assign=True)
    found = found_points(2)
    rows = kit.embed(crops[:2], found)
    assert rows.shape == (2, full.NUMBERS)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    for crop, landmarks, row in zip(crops, found, rows, strict=False):
        face = crop_face(crop, full.recognition_matrix(landmarks.points), 112)
        images = []
        for pixels in (face, np.ascontiguousarray(face[:, ::-1])):
            bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
            tensor = img2tensor(bgr / np.float32(255), bgr2rgb=False)
            images.append(normalize(tensor, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))
        with torch.no_grad():
            both = theirs(torch.stack(images)).numpy()
        want = both.sum(axis=0) / np.linalg.norm(both.sum(axis=0))
        np.testing.assert_allclose(row, want, atol=1e-5)
    other = kit.embed(np.ascontiguousarray(crops[:1, :, :, ::-1]), found[:1])
    assert np.linalg.norm(other - rows[:1]) > 0.01
    with pytest.raises(ShapeError, match="2 crops, 1 landmarks"):
        kit.embed(crops[:2], found[:1])


def test_a_face_and_its_mirror_image_are_one_person(
    kit: FullKit, crops: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    standard = full.recognition_matrix(drawn_points())
    monkeypatch.setattr(full, "recognition_matrix", lambda points: standard)
    monkeypatch.setattr(full, "crop_face", lambda pixels, matrix, side: pixels[200:312, 200:312])
    pair = np.stack([crops[0], crops[0]])
    pair[1, 200:312, 200:312] = pair[0, 200:312, 200:312][:, ::-1]
    rows = kit.embed(pair, found_points(2))
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-5)


def test_strangers_are_nobody_and_the_curve_says_where_it_is_from(kit: FullKit) -> None:
    at_right_angles, published, near = kit.similarity(np.array([2**0.5, 1.13, 0.8]))
    assert at_right_angles == pytest.approx(0.03, abs=0.005)
    assert published == pytest.approx(0.5)
    assert near > 0.95
    assert not kit.similarity.measured
    assert "deepface" in kit.similarity.source


# Outlining


@pytest.mark.parametrize(
    ("name", "side"), [("parsenet", 128), ("bisenet", 512), pytest.param("parsenet", 512, marks=pytest.mark.slow)]
)
def test_outlines_are_those_of_facexlib(
    name: str, side: int, kit: FullKit, small_kit: FullKit, folder: Path, crops: Pixels
) -> None:
    """ParseNet takes eight seconds for a crop: here it sees a part of it, as its layers do not mind."""
    ours, mean, deviation, labels = {
        "parsenet": (kit, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), full.PARSENET_FACE),
        "bisenet": (small_kit, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), full.BISENET_FACE),
    }[name]
    assert ours._parser is not None
    theirs = init_parsing_model(name, device="cpu", model_rootpath=str(folder))
    # As facexlib's helper and examples prepare a picture, which they hold as BGR.
    bgr = cv2.cvtColor(crops[0, :side, :side], cv2.COLOR_RGB2BGR)
    tensor = img2tensor(bgr.astype("float32") / 255.0, bgr2rgb=True, float32=True)
    normalize(tensor, mean, deviation, inplace=True)
    shown: list[Tensor] = []
    with ours._parser.net.register_forward_pre_hook(lambda net, inputs: shown.append(inputs[0].clone())):
        if side == 512:
            outlines = ours.outlines(crops[:1])
        else:
            (outlines,) = ours._parser(crops[:1, :side, :side])
    np.testing.assert_allclose(shown[0].numpy(), tensor[None].numpy(), atol=1e-5)
    with torch.no_grad():
        likely = theirs(shown[0])[0].softmax(dim=1)[0]
    assert outlines is not None
    assert outlines.shape == (1, side, side)
    assert outlines.dtype == np.float32
    np.testing.assert_allclose(outlines[0], likely[list(labels)].sum(dim=0).numpy(), atol=1e-5)
    assert outlines.min() >= 0
    assert outlines.max() <= 1 + (1e-6 if side < 512 else 0)
    assert outlines.std() > 0.05


PARSENET_LABELS = (
    "background skin nose glasses left-eye right-eye left-brow right-brow left-ear right-ear mouth upper-lip lower-lip "
    "hair hat earring necklace neck clothes"
)
BISENET_LABELS = (
    "background skin left-brow right-brow left-eye right-eye glasses left-ear right-ear earring nose mouth upper-lip "
    "lower-lip neck necklace clothes hair hat"
)


@pytest.mark.parametrize(
    ("labels", "answer"), [(PARSENET_LABELS, full._parsenet_face), (BISENET_LABELS, full._bisenet_face)]
)
def test_hair_hats_neck_and_clothes_are_no_face(labels: str, answer: Any) -> None:
    """Labels in the order in which facexlib's examples list them."""
    names = labels.split()
    scores = torch.full((len(names), 19, 1, 1), -50.0)
    scores[range(19), range(19)] = 50.0
    (face,) = answer(lambda images: (scores, None), torch.zeros(19, 3, 1, 1))
    outside = {name for name, part in zip(names, face.flatten().tolist(), strict=True) if part < 0.5}
    assert outside == {"background", "hair", "hat", "earring", "necklace", "neck", "clothes"}


def test_without_a_parsing_network_there_are_no_outlines_and_thorough_looks_at_more_pixels(
    folder: Path, tmp_path: Path, crops: Pixels
) -> None:
    kit = FullKit(linked(folder, tmp_path, "retinaface-mobilenet", "fan", "arcface"), thorough=True)
    assert kit.outlines(crops) is None
    assert kit._reduced(np.zeros((3000, 4000, 3), dtype=np.uint8)).shape == (1280, 1707, 3)


# The kit as a whole


def test_no_crops_give_nothing(kit: FullKit) -> None:
    none = np.zeros((0, 512, 512, 3), dtype=np.uint8)
    assert kit.landmarks(none) == []
    assert kit.embed(none, []).shape == (0, 512)
    outlines = kit.outlines(none)
    assert outlines is not None
    assert outlines.shape == (0, 512, 512)


def test_the_name_says_kit_and_recogniser(kit: FullKit, folder: Path) -> None:
    digest = weights.sha256_of(folder / weights.ARCFACE.file, weights.ARCFACE)
    assert kit.name == full.kit_name() == f"full-arcface-irse50-{digest[:8]}"


@pytest.mark.parametrize("name", ["retinaface-resnet50", "fan", "arcface"])
def test_a_missing_file_is_not_looked_for_elsewhere(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "torch" / "hub" / "checkpoints"
    elsewhere.mkdir(parents=True)
    linked(folder, elsewhere, *EVERYTHING)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    given = tmp_path / "given"
    given.mkdir()
    before = {"retinaface-resnet50": (), "fan": ("retinaface-mobilenet",), "arcface": ("retinaface-mobilenet", "fan")}
    linked(folder, given, *before[name])
    with pytest.raises(WeightsMissingError, match=f"dmd models fetch {name}"):
        FullKit(given)


def test_a_flipped_byte_is_found_before_anything_is_read(folder: Path, tmp_path: Path) -> None:
    content = bytearray((folder / weights.RETINAFACE_MOBILENET.file).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / weights.RETINAFACE_MOBILENET.file).write_bytes(content)
    with pytest.raises(WeightsCorruptError, match="dmd models fetch retinaface-mobilenet"):
        FullKit(tmp_path)


def test_generated_files_are_like_the_published_ones(folder: Path) -> None:
    """Sizes of the published files, and parameters as counted in the networks."""
    published = {
        "retinaface-resnet50": 109_497_761,
        "retinaface-mobilenet": 1_789_735,
        "fan": 95_600_000,
        "arcface": 175_367_323,
        "parsenet": 85_331_193,
        "bisenet": 53_289_463,
    }
    for name, size in published.items():
        (file,) = weights.named(name)
        assert (folder / file.file).stat().st_size == pytest.approx(size, rel=0.006), name


@pytest.mark.parametrize("module", [full, full_networks])
def test_the_packages_are_imported_when_a_kit_is_made_and_not_before(module: ModuleType) -> None:
    assert module.__file__ is not None
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    above = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    above |= {str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert "torch" in above
    assert not {name.partition(".")[0] for name in above} & {"torchvision", "facexlib", "face_alignment"}


# Half precision


def corners(found: list[Detection]) -> npt.NDArray[np.float64]:
    return np.array([one.box for one in found])


def test_half_precision_agrees(
    small_kit: FullKit,
    photo: Pixels,
    crops: Pixels,
    alone: tuple[Landmarks, list[Tensor]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What CUDA does, on the CPU, where it can be tried anywhere."""
    confidences = np.sort(small_kit._detector(photo[None, :, :, ::-1])[1][0])
    monkeypatch.setattr(full, "CONFIDENCE", float(confidences[-200]))

    def see() -> tuple[list[Detection], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        outlines = small_kit.outlines(crops[:1])
        assert outlines is not None
        return small_kit.detect([photo])[0], small_kit.embed(crops[:1], found_points(1)), outlines

    landmarks = alone[0]
    found, row, outline = see()
    monkeypatch.setattr(full_networks, "HALF_ON", {"cpu": full_networks.HALF_ON["cuda"]})
    half_found, half_row, half_outline = see()
    (half_landmarks,) = small_kit.landmarks(crops[:1])
    away = np.abs(landmarks.points - half_landmarks.points).max(axis=1)
    assert landmarks.scores is not None
    assert half_landmarks.scores is not None
    # Boxes: nearly all are found again, to within a tenth of a pixel.
    nearest = np.abs(corners(found)[:, None] - corners(half_found)[None]).max(axis=2).min(axis=1)
    assert len(found) > 10
    assert (nearest < 0.1).mean() > 0.9
    assert half_row.dtype == half_outline.dtype == half_landmarks.scores.dtype == np.float32
    assert np.linalg.norm(half_row) == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(row - half_row) < 0.005
    assert np.abs(outline - half_outline).mean() < 0.001
    assert np.abs(landmarks.scores - half_landmarks.scores).max() < 0.001
    # Random heatmaps are all but flat: their highest places may change, those of trained networks stand out.
    assert (away < 5).mean() > 0.8
