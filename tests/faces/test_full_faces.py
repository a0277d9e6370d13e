"""The full kit with generated weights: landmarks, embeddings and outlines are those of the packages themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import face_alignment
import numpy as np
import pytest
import torch
from facexlib.detection import align_trans
from facexlib.parsing import init_parsing_model
from facexlib.recognition.arcface_arch import Backbone
from facexlib.utils import img2tensor
from skimage.transform import SimilarityTransform
from torch import Tensor
from torchvision.transforms.functional import normalize

from dmdcli.errors import ShapeError
from dmdcli.faces import full
from dmdcli.faces.align import TEMPLATE, crop_face, five_points, transform
from dmdcli.faces.face import Landmarks
from dmdcli.faces.full import FullKit
from dmdcli.shapes import Pixels
from tests.faces.conftest import drawn_points
from tests.faces.generated_weights import linked


def found_points(count: int) -> list[Landmarks]:
    """The drawn face's points, a little different for each crop."""
    return [Landmarks(drawn_points() + np.float32(2 * number)) for number in range(count)]


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


@pytest.fixture(scope="module")
def slow_parser_kit(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> FullKit:
    """With ParseNet, which is taken where BiSeNet is not there."""
    names = ("retinaface-mobilenet", "fan", "arcface", "parsenet")
    return FullKit(linked(folder, tmp_path_factory.mktemp("parsenet"), *names))


@pytest.mark.parametrize(
    ("name", "side"), [("parsenet", 128), ("bisenet", 512), pytest.param("parsenet", 512, marks=pytest.mark.slow)]
)
def test_outlines_are_those_of_facexlib(
    name: str, side: int, slow_parser_kit: FullKit, kit: FullKit, folder: Path, crops: Pixels
) -> None:
    """ParseNet takes eight seconds for a crop: here it sees a part of it, as its layers do not mind."""
    ours, mean, deviation, labels = {
        "parsenet": (slow_parser_kit, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), full.PARSENET_FACE),
        "bisenet": (kit, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), full.BISENET_FACE),
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
