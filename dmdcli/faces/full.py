"""The kit of the field's networks: RetinaFace, 2DFAN-4, ArcFace, and BiSeNet or ParseNet where its file is there.

Their files are read from the weights folder and from nowhere else (`full_networks.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmdcli import weights
from dmdcli.errors import ShapeError
from dmdcli.faces.align import TEMPLATE, crop_face, crop_matrix, five_points, scale_of
from dmdcli.faces.face import Landmarks
from dmdcli.faces.full_networks import Answer, Channels, Network, import_packages, load
from dmdcli.faces.identity import Curve
from dmdcli.faces.kit import Detection, Trust
from dmdcli.shapes import CROP, Box, Matrix, Pixels, Points, check_shape

SHORT_SIDE = 640
"""Shorter side in pixels a photo is reduced to before it is searched; it is never enlarged. The detector sees faces
from about 10 pixels, so those from a sixtieth of the shorter side."""
THOROUGH_SHORT_SIDE = 1280
"""The same with --thorough: four times the time and memory."""
LONGEST = 3
"""Longer side as a multiple of the shorter side's bound: a panorama is reduced further than to the bound of its shorter
side, so that memory is bounded too."""
CONFIDENCE = 0.8
"""Least confidence of the detector: facexlib's own default. Restoration tools ask 0.97 and lose the small and blurred
faces that are looked for here; what is no face is rejected later by its landmarks."""
NMS_IOU = 0.4
"""Intersection over union from which the less confident of two boxes is dropped: facexlib's own."""
DETECTOR_MEAN: Channels = (104.0, 117.0, 123.0)
"""Grey levels of blue, green and red taken off before the detector looks."""
ANCHORS = ((8, (16, 32)), (16, (64, 128)), (32, (256, 512)))
"""Pixels from one anchor to the next, and sides of the anchors there in pixels of the reduced photo."""
VARIANCES = (0.1, 0.2)
"""Units in which the detector gives places (in anchor sides) and sizes (as a logarithm)."""
LARGEST = 5.0
"""Bound of that logarithm: nothing is 148 times as large as its anchor, and nothing overflows."""
TRUSTED_SCALE = 3.0
"""Factor by which the scales of a face's five points and of its box may differ; beyond it the points are not used."""

RETINAFACE_BOX: Box = (119.0, 95.0, 391.0, 470.0)
"""Where the detector's box, hairline to chin, lies in an aligned crop, in crop pixels (edges). Derived, not measured:
the outlines of jaws in aligned crops run from 113 to 396 and down to 474 on average, boxes lie a little inside."""

HEATMAP_SIDE = 64
"""Side of the heatmaps FAN answers with."""
LIFT = 0.12
"""Part of a face box's height by which the middle of FAN's picture lies above that of the box."""
BOX_REFERENCE = 195.0
"""Width plus height of the box, in pixels, at which FAN's picture is PICTURE_REFERENCE pixels wide."""
PICTURE_REFERENCE = 200.0
MIRRORED = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *range(27, 31),
    *range(35, 30, -1),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65),
)
"""Which of the 68 points each one is in a mirror image."""

RECOGNITION_SIDE = 112
"""Side in pixels of the picture ArcFace reads."""
RECOGNITION_TEMPLATE: npt.NDArray[np.float64] = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Where its five points lie there, as InsightFace publishes them, in the order of `align.TEMPLATE`."""
NUMBERS = 512
"""Numbers in an embedding."""
TRUST = Trust(weak=0.35, lost=0.15, turned=0.97)
"""Not yet measured with these files. FAN's peaks are 0.6 to 0.96 on clear faces and a third of that or less where there
is nothing; blur and hands lower them, and the mean with the mirror image too. Turned: the confidence restoration tools
ask of an upright face."""
SIMILARITY = Curve(
    middle=1.13,
    slope=12.0,
    source="the distance that deepface publishes for ArcFace",
    measured=False,
)
"""1.13 is stricter than the 1.22 (the root of 1.5) at which InsightFace_Pytorch verifies faces of LFW with these
weights: naming somebody needs more than telling whether two photos agree. With the slope, faces that have nothing in
common (at right angles, 1.414) come out at 0.03."""

PARSENET_FACE = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
"""Its labels of skin, nose, glasses, eyes, brows, ears, mouth and lips; 0 is background, 13 to 18 are hair, hat,
earring, necklace, neck and clothes."""
BISENET_FACE = (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13)
"""Likewise; 9 is earring, 14 to 18 are neck, necklace, clothes, hair and hat."""


class FullKit:
    """RetinaFace, 2DFAN-4, ArcFace IR-SE50 and a parsing network, as a `FaceKit`.

    folder: where the files lie; see `weights.full_kit_files` for which are taken; without a parsing network there
    are no outlines. device: as torch names it. thorough: search larger copies of the photos.
    batch_size: crops at a time, and a quarter as many photos or outlines; by default 32 on CUDA, 4 elsewhere.
    similarity: a curve fitted to photographs, instead of the published one.
    Raises PackageError, WeightsMissingError, WeightsCorruptError or WeightsMismatchError.
    """

    def __init__(
        self,
        folder: Path,
        device: str = "cpu",
        thorough: bool = False,
        batch_size: int | None = None,
        similarity: Curve = SIMILARITY,
    ) -> None:
        import_packages()
        self.name = kit_name()
        self.similarity = similarity
        self.trust = TRUST
        self._short_side = THOROUGH_SHORT_SIDE if thorough else SHORT_SIDE
        place = torch.device(device)
        crops = batch_size or (32 if place.type == "cuda" else 4)
        large = max(1, crops // 4)

        def network(
            file: weights.NetworkFile, answer: Answer, batch: int, mean: Channels, deviation: Channels
        ) -> Network:
            return Network(load(file, folder), file.title, answer, place, batch, mean, deviation)

        files = weights.full_kit_files(lambda file: weights.is_there(weights.place(file, folder)))
        self.title = ", ".join(file.title for file in files)
        self.settings = {"thorough": thorough, "networks": [file.sha256 for file in files]}
        detector, fan, recognition, *parsers = files
        half = (127.5, 127.5, 127.5)
        self._detector = network(detector, _boxes_and_points, large, DETECTOR_MEAN, (1.0, 1.0, 1.0))
        self._fan = network(fan, _heatmap_peaks, crops, (0.0, 0.0, 0.0), (255.0, 255.0, 255.0))
        self._recognition = network(recognition, _unit_vectors, crops, half, half)
        self._parser: Network | None = None
        if parsers == [weights.PARSENET]:
            self._parser = network(weights.PARSENET, _parsenet_face, large, half, half)
        elif parsers:
            # Mean and deviation of ImageNet's red, green and blue.
            mean, deviation = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
            self._parser = network(weights.BISENET, _bisenet_face, large, mean, deviation)

    def detect(self, photos: Sequence[Pixels]) -> list[list[Detection]]:
        """The faces of each photo (H, W, 3) uint8 RGB, the most confident first; photos of one size go together."""
        reduced = [self._reduced(pixels) for pixels in photos]
        of_size: dict[tuple[int, ...], list[int]] = {}
        for index, pixels in enumerate(reduced):
            if pixels.size:
                of_size.setdefault(pixels.shape, []).append(index)
        found: list[list[Detection]] = [[] for _ in photos]
        for (height, width, _), indices in of_size.items():
            answers = self._detector(np.stack([reduced[index][:, :, ::-1] for index in indices]))
            anchors = anchor_boxes(height, width)
            for index, boxes, confidences, points in zip(indices, *answers, strict=True):
                found[index] = _detections(photos[index].shape, anchors, boxes, confidences, points)
        return found

    def landmarks(self, crops: Pixels) -> list[Landmarks]:
        """The 68 points of the face in each crop (N, 512, 512, 3) uint8 RGB, mean of the crop and its mirror image.

        Scores are the heights of the heatmaps' peaks. face-alignment gives whole pixels, cut off from coordinates in
        which 0 is the picture's edge; these points are the coordinates before that, half a pixel less, so that
        trunc(points + 0.5) is what it gives.
        """
        check_shape("crops", crops, (None, CROP, CROP, 3), np.uint8)
        if not len(crops):
            return []
        from face_alignment.utils import crop as cut

        centre, scale = landmark_picture(RETINAFACE_BOX)
        places, peaks = self._fan(np.stack([cut(pixels, centre, scale) for pixels in crops]))
        side = PICTURE_REFERENCE * scale
        points = places.astype(np.float64) * (side / HEATMAP_SIDE) + (centre - side / 2) - 0.5
        scores = np.clip(peaks, 0, 1)
        return [Landmarks(*found) for found in zip(points.astype(np.float32), scores, strict=True)]

    def embed(self, crops: Pixels, landmarks: Sequence[Landmarks]) -> npt.NDArray[np.float32]:
        """(N, 512) float32, rows of unit length: the mean direction of each crop (N, 512, 512, 3) uint8 RGB and its
        mirror image.

        The Euclidean distance of two rows is the root of 2 - 2 cos. The network wants BGR: the faces it was trained
        with were stored with their channels swapped.
        """
        check_shape("crops", crops, (None, CROP, CROP, 3), np.uint8)
        if len(crops) != len(landmarks):
            raise ShapeError(f"{len(crops)} crops, {len(landmarks)} landmarks")
        if not len(crops):
            return np.zeros((0, NUMBERS), dtype=np.float32)
        faces = [
            crop_face(pixels, recognition_matrix(found.points), RECOGNITION_SIDE)
            for pixels, found in zip(crops, landmarks, strict=True)
        ]
        (embeddings,) = self._recognition(np.stack(faces)[:, :, :, ::-1])
        return embeddings

    def outlines(self, crops: Pixels) -> npt.NDArray[np.float32] | None:
        """How surely each pixel of the crops (N, 512, 512, 3) uint8 RGB is face, (N, 512, 512) float32 in [0, 1].

        Skin, brows, eyes, glasses, ears, nose, mouth and lips are face; hair, hats, jewels, neck and clothes are not.
        None without the file of a parsing network.
        """
        check_shape("crops", crops, (None, CROP, CROP, 3), np.uint8)
        if self._parser is None:
            return None
        if not len(crops):
            return np.zeros((0, CROP, CROP), dtype=np.float32)
        (faces,) = self._parser(crops)
        return np.clip(faces, 0, 1)

    def _reduced(self, pixels: Pixels) -> Pixels:
        check_shape("photos", pixels, (None, None, 3), np.uint8)
        height, width = pixels.shape[:2]
        scale = min(self._short_side / max(min(height, width), 1), LONGEST * self._short_side / max(height, width, 1))
        if scale >= 1:
            return pixels
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def kit_name() -> str:
    """Names the kit, how it prepares a face (the number) and the weights its embeddings come from."""
    return f"full-arcface-irse50-1-{weights.ARCFACE.sha256[:8]}"


def anchor_boxes(height: int, width: int) -> npt.NDArray[np.float32]:
    """The boxes the detector's answers start from, (A, 4) float32: middle x, y, width and height, as parts of the
    picture's width and height.
    """
    levels = []
    for step, sides in ANCHORS:
        rows, columns = math.ceil(height / step), math.ceil(width / step)
        level = np.empty((rows, columns, len(sides), 4))
        level[..., 0] = ((np.arange(columns) + 0.5) * step / width)[None, :, None]
        level[..., 1] = ((np.arange(rows) + 0.5) * step / height)[:, None, None]
        level[..., 2] = np.array(sides) / width
        level[..., 3] = np.array(sides) / height
        levels.append(level.reshape(-1, 4))
    return np.concatenate(levels).astype(np.float32)


def landmark_picture(box: Box) -> tuple[npt.NDArray[np.float64], float]:
    """Middle (2,) and scale of the square FAN reads for a face box, in the box's pixels; its side is 200 x scale."""
    x0, y0, x1, y1 = box
    centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2 - LIFT * (y1 - y0)])
    return centre, (x1 - x0 + y1 - y0) / BOX_REFERENCE


def recognition_matrix(points: Points) -> Matrix:
    """(2, 3) float32, crop -> the picture ArcFace reads, from 68 points (68, 2) float32 in crop pixels.

    Where the points are of no use, from where an aligned crop has them.
    """
    standard = crop_matrix(TEMPLATE.astype(np.float32), RECOGNITION_TEMPLATE)
    return _trusted_matrix(five_points(points), RECOGNITION_TEMPLATE, standard)


def _trusted_matrix(points5: Points, template: npt.NDArray[np.float64], otherwise: Matrix) -> Matrix:
    """The matrix that brings five points to `template`, or `otherwise` where it can be none or differs too much."""
    if not np.isfinite(points5).all():
        return otherwise
    try:
        matrix = crop_matrix(points5, template)
    except ShapeError:
        return otherwise
    ratio = scale_of(matrix) / scale_of(otherwise)
    return matrix if 1 / TRUSTED_SCALE < ratio < TRUSTED_SCALE else otherwise


def _detections(
    shape: tuple[int, ...],
    anchors: npt.NDArray[np.float32],
    boxes: npt.NDArray[np.float32],
    confidences: npt.NDArray[np.float32],
    points: npt.NDArray[np.float32],
) -> list[Detection]:
    """The faces in a photo of `shape`, from what the detector says of each anchor: (A, 4), (A,) and (A, 10).

    The detector's coordinates are taken as running from edge to edge of the picture (0 to its width), points and boxes
    alike: in training, a mirrored x became width - x. Points lie half a pixel less in pixel centres.
    """
    from torchvision.ops import nms  # type: ignore[import-untyped]

    likely = np.flatnonzero(confidences > CONFIDENCE)
    anchors, boxes, points = anchors[likely], boxes[likely], points[likely].reshape(-1, 5, 2)
    size = np.array([shape[1], shape[0]], dtype=np.float32)
    middles = (anchors[:, :2] + boxes[:, :2] * VARIANCES[0] * anchors[:, 2:]) * size
    sides = anchors[:, 2:] * np.exp(np.minimum(boxes[:, 2:] * VARIANCES[1], LARGEST)) * size
    places = (anchors[:, None, :2] + points * VARIANCES[0] * anchors[:, None, 2:]) * size - np.float32(0.5)
    corners = np.concatenate([middles - sides / 2, middles + sides / 2], axis=1).astype(np.float32)
    sane = np.flatnonzero((sides >= 1).all(axis=1))
    # On the CPU: torchvision has no such operation for MPS.
    order = nms(torch.from_numpy(corners[sane]), torch.from_numpy(confidences[likely][sane]), NMS_IOU).numpy()
    found = []
    for index in sane[order]:
        x0, y0, x1, y1 = (float(edge) for edge in corners[index])
        box = (x0, y0, x1, y1)
        rough = rough_matrix(box)
        matrix = _trusted_matrix(places[index].astype(np.float32), TEMPLATE, rough)
        found.append(Detection(box, float(confidences[likely[index]]), matrix, aligned=matrix is not rough))
    return found


def rough_matrix(box: Box) -> Matrix:
    """(2, 3) float32, photo -> crop, that brings the middle and size of a detector's box to those of RETINAFACE_BOX."""
    x0, y0, x1, y1 = RETINAFACE_BOX
    scale = math.sqrt((x1 - x0) * (y1 - y0) / ((box[2] - box[0]) * (box[3] - box[1])))
    # Boxes are in pixel edges, matrices in pixel centres: half a pixel apart.
    right = (x0 + x1 - 1) / 2 - scale * (box[0] + box[2] - 1) / 2
    down = (y0 + y1 - 1) / 2 - scale * (box[1] + box[3] - 1) / 2
    return np.array([[scale, 0, right], [0, scale, down]], dtype=np.float32)


def _boxes_and_points(net: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
    boxes, confidences, points = net(images)
    return boxes, confidences[:, :, 1], points


def _heatmap_peaks(net: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
    """(N, 68, 2) places of the heatmaps' peaks, x and y in heatmap pixels from its edge, and (N, 68) their heights.

    The peak lies a quarter pixel from the middle of the highest pixel, towards the higher of its neighbours.
    """
    mirrored = net(images.flip(3))[-1].float().flip(3)[:, list(MIRRORED)]
    heat = (net(images)[-1].float() + mirrored) / 2
    index = heat.flatten(2).argmax(dim=2)
    peaks = heat.flatten(2).gather(2, index[:, :, None])[:, :, 0]
    x, y = index % HEATMAP_SIDE, index // HEATMAP_SIDE
    inside = (x > 0) & (x < HEATMAP_SIDE - 1) & (y > 0) & (y < HEATMAP_SIDE - 1)
    flat = F.pad(heat, (1, 1, 1, 1)).flatten(2)
    row = HEATMAP_SIDE + 2
    here = (y + 1) * row + x + 1

    def beside(offset: int) -> Tensor:
        return flat.gather(2, (here + offset)[:, :, None])[:, :, 0]

    slope = torch.stack([beside(1) - beside(-1), beside(row) - beside(-row)], dim=2)
    shift = 0.25 * slope.sign() * inside[:, :, None]
    return torch.stack([x, y], dim=2) + 0.5 + shift, peaks


def _unit_vectors(net: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
    return (F.normalize(net(images).float() + net(images.flip(3)).float()),)


def _parsenet_face(net: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
    return (net(images)[0].float().softmax(dim=1)[:, list(PARSENET_FACE)].sum(dim=1),)


def _bisenet_face(net: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
    return (net(images)[0].float().softmax(dim=1)[:, list(BISENET_FACE)].sum(dim=1),)
