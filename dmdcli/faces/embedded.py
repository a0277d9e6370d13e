"""The kit that needs no download: dlib (package dlib-bin) with the networks of face_recognition_models.

dlib is imported when a kit is made, never when this module is; torch and torchvision are not needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dmdcli import weights
from dmdcli.faces.face import Landmarks
from dmdcli.faces.identity import Curve
from dmdcli.faces.kit import Detection, Trust
from dmdcli.faces.recognition import CHIP, NUMBERS, RecognitionNetwork
from dmdcli.memory import give_back
from dmdcli.shapes import CROP, Box, Embedding, Matrix, Pixels, check_shape

HOG_FACE = 80
"""Side in pixels of the smallest face the HOG detector sees: its window."""
SMALLEST_FACE = 32
"""Side in photo pixels of the smallest face that is looked for: the photo is never enlarged more than HOG_FACE /
SMALLEST_FACE times. A smaller face has no eyes to restore."""
SEARCH_SIDES = (1200, 2400)
"""Longer sides in pixels of the copies searched. 1200 sees faces from a fifteenth of the photo, in 0.13 s; 2400 sees
those of large groups (29 of 29 in a photo of the Solvay conference, where 1200 sees none), in 0.5 s. Each copy sees
some faces that the other misses: the detector's steps of scale are coarse."""
CROWD_SIDE = 4800
"""Longer side of a third copy (1.5 s), searched only where the photo really has the pixels and nothing but small faces
was seen."""
HOG_THRESHOLD = 0.0
"""Least score of the HOG detector: its authors' own. On 72 test photographs the real faces score 0.16 to 3.4 and
nothing else is found; elsewhere badges and ornaments reach 0.15, and are rejected by their landmarks."""
CNN_SIDE = 1200
"""Longer side of the copy the CNN detector searches: memory grows with it (1 GB per megapixel)."""
CNN_THRESHOLD = 0.6
"""Least confidence of the CNN detector: below it, hands and patterned cloth begin to appear."""

STANDARD_BOX = (99.0, 161.0, 404.0, 465.0)
"""Where the HOG detector puts its box in an aligned crop (mean over 204 crops), in crop pixels: the 68-point predictor
starts from it."""
NUDGES = (
    (0.0, 0.0, 0.0),
    (-0.04, 0.0, 0.0),
    (0.04, 0.0, 0.0),
    (0.0, -0.04, 0.0),
    (0.0, 0.04, 0.0),
    (0.0, 0.0, -0.06),
    (0.0, 0.0, 0.06),
)
"""The predictor is started from the standard box moved right, moved down and grown by these parts of its side, and the
mean taken: that brings the mean error down from 1.6 to 1.3 pixels, and the scatter tells a face (below 3 pixels) from
none (5 and more)."""
SMOOTHING = 1.5
"""Standard deviation in crop pixels of the blur the predictor sees the crop through. It compares single pixels, so
grain and halftone screens lead it astray: with noise of 30 grey levels the error falls from 2.6 to 1.5 pixels, without
noise it rises by 0.1."""
SCATTER_SCALE = 4.0
"""Scatter in crop pixels at which a point's score has fallen to 1/e."""

CHIP_PADDING = 0.25
"""Its surroundings, as a part of the face: as the network was trained."""
CHIP_SCALES = (0.94, 1.06)
"""Sizes of the chip the embeddings are averaged over, with its mirror image: on the test photographs the nearest wrong
person is then 1.3 times as far as the farthest right one, with one plain chip 1.17 times."""
MIDDLE_DISTANCE = 0.42
"""Distance of similarity 0.5, set by hand so that strangers in old photographs are nobody: between old portraits of
enrolled people (0.29 to 0.38 to the nearest reference) and the nearest strangers to them (0.45, in a group; portraits
from 0.49). Of 1,326 pairs of two people in old portraits one is nearer (0.39), of 46,813 in modern photos none (from
0.46). A fit to modern portraits (benchmarks/calibrate_similarity.py) gives 0.53; in old photographs (grey, bearded,
engraved) strangers come nearer, and a wrong name does more harm than none."""
DISTANCE_SLOPE = 18.0
"""Steepness of the logistic curve from distance to similarity, per unit of distance: flatter than the 47 fitted to
modern portraits, because pairs of one person reach 0.51 where decades lie between."""
TRUST = Trust(weak=0.45, lost=0.28, turned=0.5, calibrated=True)
"""Weak: the predictor gives other points when started a little elsewhere. Lost: noise, patterns and badges get 0.02 to
0.26, the worst engraving 0.32."""
SIMILARITY = Curve(MIDDLE_DISTANCE, DISTANCE_SLOPE, source="set by hand on old photographs", measured=True)
"""Not a probability: the curve is set so that strangers in old photographs stay below 0.5."""
NAME = "embedded-dlib-resnet-2"
"""Names the kit and its weights in caches."""


class EmbeddedKit:
    """dlib's HOG detector, 68-point predictor and recognition network, as a `FaceKit`.

    thorough: also use the CNN detector, which sees turned and half-hidden faces, at many seconds per photo.
    similarity: a curve fitted to other photographs, instead of the kit's own.
    Raises WeightsMissingError or WeightsCorruptError.
    """

    name = NAME
    trust = TRUST

    def __init__(self, thorough: bool = False, similarity: Curve = SIMILARITY) -> None:
        import dlib

        self.similarity = similarity
        self.settings = {"thorough": thorough}
        self._dlib: Any = dlib
        self._hog: Any = dlib.get_frontal_face_detector()
        self._predictor: Any = dlib.shape_predictor(_path(weights.LANDMARKS_68))
        self._recognition = RecognitionNetwork(Path(_path(weights.RECOGNITION)))
        self._cnn: Any = dlib.cnn_face_detection_model_v1(_path(weights.DETECTOR_CNN)) if thorough else None

    def detect(self, photos: Sequence[Pixels]) -> list[list[Detection]]:
        """The upright faces of each photo (H, W, 3) uint8 RGB, searched for in copies of several sizes; one face may
        come several times.
        """
        return [self._detect(pixels) for pixels in photos]

    def landmarks(self, crops: Pixels) -> list[Landmarks]:
        """The 68 points of the face in each crop (N, 512, 512, 3) uint8 RGB, with a score per point that says how
        firmly it stands.
        """
        check_shape("crops", crops, (None, CROP, CROP, 3), np.uint8)
        return [self._landmarks(crop) for crop in crops]

    def embed(self, crops: Pixels, landmarks: Sequence[Landmarks]) -> npt.NDArray[np.float32]:
        """(N, 128) float32, rows not of unit length; Euclidean distances between them say how alike two faces are."""
        check_shape("crops", crops, (None, CROP, CROP, 3), np.uint8)
        rows = [self._embed(crop, points) for crop, points in zip(crops, landmarks, strict=True)]
        return np.stack(rows) if rows else np.zeros((0, NUMBERS), dtype=np.float32)

    def outlines(self, crops: Pixels) -> None:
        """None: this kit has no network that sees hair, hats or hands."""

    def _detect(self, pixels: Pixels) -> list[Detection]:
        check_shape("pixels", pixels, (None, None, 3), np.uint8)
        longer = max(pixels.shape[:2])
        largest = longer * HOG_FACE / SMALLEST_FACE
        found: list[Detection] = []
        for side in sorted({min(side, largest) for side in SEARCH_SIDES}):
            found += self._search(pixels, side / longer)
        if longer > SEARCH_SIDES[-1] and all(_side(detection.box) < longer / 15 for detection in found):
            found += self._search(pixels, CROWD_SIDE / longer)
            # The detector keeps what it made of its last picture: 70 MB.
            self._hog.run(np.zeros((HOG_FACE, HOG_FACE, 3), dtype=np.uint8), 0, HOG_THRESHOLD)
            give_back()
        if self._cnn is not None:
            found += self._search_thoroughly(pixels, min(1.0, CNN_SIDE / longer))
        return found

    def _landmarks(self, crop: Pixels) -> Landmarks:
        smooth = cv2.GaussianBlur(crop, (0, 0), SMOOTHING).astype(np.uint8, copy=False)
        guesses = np.stack([self._predict(smooth, nudge) for nudge in NUDGES])
        points = guesses.mean(axis=0)
        scatter = np.linalg.norm(guesses - points, axis=2).mean(axis=0)
        return Landmarks(points.astype(np.float32), np.exp(-scatter / SCATTER_SCALE).astype(np.float32))

    def _embed(self, crop: Pixels, landmarks: Landmarks) -> Embedding:
        parts = [self._dlib.point(round(float(x)), round(float(y))) for x, y in landmarks.points]
        shape = self._dlib.full_object_detection(self._dlib.rectangle(0, 0, CROP - 1, CROP - 1), parts)
        place = self._dlib.get_face_chip_details(shape, CHIP, CHIP_PADDING)
        places = [self._scaled(place, scale) for scale in CHIP_SCALES]
        chips = [np.array(chip) for chip in self._dlib.extract_image_chips(np.ascontiguousarray(crop), places)]
        chips += [chip[:, ::-1] for chip in chips]  # the mirrored face is the same person
        embedding: Embedding = self._recognition.embed(np.stack(chips)).mean(axis=0)
        return embedding

    def _scaled(self, place: Any, scale: float) -> Any:
        """The same place in a crop, larger or smaller around its centre."""
        x, y = (place.rect.left() + place.rect.right()) / 2, (place.rect.top() + place.rect.bottom()) / 2
        across, down = place.rect.width() * scale / 2, place.rect.height() * scale / 2
        rectangle = self._dlib.drectangle(x - across, y - down, x + across, y + down)
        return self._dlib.chip_details(rectangle, self._dlib.chip_dims(CHIP, CHIP), place.angle)

    def _search(self, pixels: Pixels, scale: float) -> list[Detection]:
        boxes, scores, _ = self._hog.run(_resized(pixels, scale), 0, HOG_THRESHOLD)
        return [_detection(box, score, scale) for box, score in zip(boxes, scores, strict=True)]

    def _search_thoroughly(self, pixels: Pixels, scale: float) -> list[Detection]:
        seen = self._cnn(_resized(pixels, scale), 0)
        return [_detection(face.rect, face.confidence, scale) for face in seen if face.confidence >= CNN_THRESHOLD]

    def _predict(self, crop: Pixels, nudge: tuple[float, float, float]) -> npt.NDArray[np.float64]:
        x0, y0, x1, y1 = STANDARD_BOX
        right, down, grow = (part * (x1 - x0) for part in nudge)
        corners = (x0 + right - grow / 2, y0 + down - grow / 2, x1 + right + grow / 2, y1 + down + grow / 2)
        shape = self._predictor(crop, self._dlib.rectangle(*(round(corner) for corner in corners)))
        return np.array([(part.x, part.y) for part in shape.parts()], dtype=np.float64)


def _path(file: weights.NetworkFile) -> str:
    return str(weights.verify(weights.locate(file), file))


def _side(box: Box) -> float:
    return max(box[2] - box[0], box[3] - box[1])


def _resized(pixels: Pixels, scale: float) -> Pixels:
    height, width = pixels.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return np.ascontiguousarray(resized, dtype=np.uint8)


def _detection(rectangle: Any, score: float, scale: float) -> Detection:
    """A dlib rectangle (last pixel included) found at `scale`, as a detection in the photo's pixels."""
    edges = (rectangle.left(), rectangle.top(), rectangle.right() + 1, rectangle.bottom() + 1)
    x0, y0, x1, y1 = (float(edge) / scale for edge in edges)
    return Detection((x0, y0, x1, y1), float(score), rough_matrix((x0, y0, x1, y1)))


def rough_matrix(box: Box) -> Matrix:
    """(2, 3) float32, photo -> crop, that brings the centre and size of a detector's box to those of STANDARD_BOX."""
    x0, y0, x1, y1 = STANDARD_BOX
    scale = math.sqrt((x1 - x0) * (y1 - y0) / max((box[2] - box[0]) * (box[3] - box[1]), 1e-6))
    right = (x0 + x1) / 2 - scale * (box[0] + box[2]) / 2
    down = (y0 + y1) / 2 - scale * (box[1] + box[3]) / 2
    return np.array([[scale, 0, right], [0, scale, down]], dtype=np.float32)
