"""The full kit with generated weights: finding faces, and the kit as a whole.

Random networks see nothing, so faces are planted where one is needed.
"""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

import cv2
import face_alignment
import numpy as np
import numpy.typing as npt
import pytest
import torch
from facexlib.detection import init_detection_model
from facexlib.detection.retinaface_utils import PriorBox
from torch import Tensor, nn

from dmdcli import weights
from dmdcli.errors import ShapeError, WeightsCorruptError, WeightsMissingError
from dmdcli.faces import full, full_networks
from dmdcli.faces.align import TEMPLATE, crop_face, crop_matrix, transform
from dmdcli.faces.face import Landmarks
from dmdcli.faces.full import FullKit
from dmdcli.faces.kit import Detection
from dmdcli.shapes import Box, Pixels, Points
from tests.faces.conftest import drawn_points
from tests.faces.generated_weights import EVERYTHING, linked, planted_face

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


@pytest.mark.slow
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
    assert kit.name == full.kit_name() == f"full-arcface-irse50-1-{digest[:8]}"


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


def test_without_a_parsing_network_there_are_no_outlines_and_thorough_looks_at_more_pixels(
    folder: Path, tmp_path: Path, crops: Pixels
) -> None:
    kit = FullKit(linked(folder, tmp_path, "retinaface-mobilenet", "fan", "arcface"), thorough=True)
    assert kit.outlines(crops) is None
    assert kit._reduced(np.zeros((3000, 4000, 3), dtype=np.uint8)).shape == (1280, 1707, 3)


# Half precision


def corners(found: list[Detection]) -> npt.NDArray[np.float64]:
    return np.array([one.box for one in found])


@pytest.mark.slow
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
        return small_kit.detect([photo])[0], small_kit.embed(crops[:1], [Landmarks(drawn_points())]), outlines

    landmarks = alone[0]
    found, row, outline = see()
    monkeypatch.setattr(full_networks, "HALF_ON", {"cpu": full_networks.HALF_ON["cuda"]})
    half_found, half_row, half_outline = see()
    (half_landmarks,) = small_kit.landmarks(crops[:1])
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
    # Random heatmaps are all but flat, so another place may win: then one that is as high in full precision.
    with torch.inference_mode():
        mirrored, straight = (small_kit._fan.net(images)[-1] for images in alone[1])
    heat = ((straight + face_alignment.utils.flip(mirrored, is_label=True)) / 2)[0].numpy()
    centre, scale = full.landmark_picture(full.RETINAFACE_BOX)
    side = 200 * scale
    columns, rows = np.floor((half_landmarks.points + 0.5 - centre + side / 2) * 64 / side).astype(int).T
    np.testing.assert_allclose(heat[np.arange(68), rows, columns], landmarks.scores, atol=0.001)
