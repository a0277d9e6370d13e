"""Finding every face of a photo: detect, align, landmarks, embedding; and saying which must not be used, and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from dmdcli.errors import UsageError
from dmdcli.faces.align import TEMPLATE, compose, crop_face, five_points, invert, scale_of, transform
from dmdcli.faces.confidence import CERTAIN, confidences
from dmdcli.faces.face import Confidence, Face, Landmarks, Source, implausible, problems
from dmdcli.faces.fitting import aligning, average_points, fit_points, matrix_by, start_matrix
from dmdcli.faces.kit import Detection, FaceKit
from dmdcli.shapes import SAME_FACE, Box, Embedding, Matrix, Pixels, Points, check_shape, overlap

LEAST_FACE = 32.0
"""Default of the least side of a face box, in photo pixels: below it an eye is four pixels wide."""
NESTED = 0.6
"""Part of a box inside another face's box from which it is nested in it: a mouth or a pattern taken for a face."""
SAME_CENTRE = 0.25
"""Distance of two faces' centres, as a part of the smaller face, below which they are one, whatever their boxes say."""
TURNS = (0, 1, 3, 2)
"""Quarter turns of the picture in which faces are looked for until some are found; upside down is the rarest."""
TURNED_SIDE = 2400
"""Longer side in pixels up to which turned copies of a photo are looked at: most photos without a face lie as they
should, and searching them for crowds in three more directions would take longer than all else done to them."""

SETTLED = 4.0
"""Crop pixels by which the five points of an aligned crop may still move before it is cut anew: RetinaFace's points and
the means of the 68 differ by as much."""
LEAST_DRAWN = 8
"""Least side in photo pixels of a box that a face can be fitted in: an eye is then one pixel wide."""
NOT_FITTED = "no face could be made out in the box, so put the points where they belong"
"""The doubt of an average face in a box that somebody drew."""
NO_ALIGNMENT = "the landmarks coincide, so no face can be aligned by them"


class FaceFinder:
    """Finds the faces of photos with the networks of a kit.

    min_face: least side of a face box in photo pixels; smaller faces are reported, and rejected.
    """

    def __init__(self, kit: FaceKit, min_face: float = LEAST_FACE) -> None:
        self._kit = kit
        self._min_face = min_face

    @property
    def kit(self) -> FaceKit:
        """The networks used."""
        return self._kit

    @property
    def min_face(self) -> float:
        """Least side of a face box in photo pixels."""
        return self._min_face

    @property
    def kit_name(self) -> str:
        """Names the networks embeddings come from; embeddings under different names must not be compared."""
        return self._kit.name

    @property
    def settings(self) -> dict[str, object]:
        """Everything that may change what is found in a photo, but the kit's name; in what JSON can say."""
        return {"min-face": self._min_face, **self._kit.settings}

    def find(self, pixels: Pixels) -> list[Face]:
        """All faces of a photo (H, W, 3) uint8 RGB, the largest first; those that must not be used say why in
        `rejected`.

        Where no usable face is found, the photo's other three turns are looked at; boxes and matrices are those of the
        photo as given all the same. Rejected faces are reported of the turn that is returned: the first with a usable
        face, else the photo as given.
        """
        return self.find_all([pixels])[0]

    def find_all(self, photos: Sequence[Pixels]) -> list[list[Face]]:
        """The faces of several photos, each as `find` gives them, detected in batches."""
        for pixels in photos:
            check_shape("pixels", pixels, (None, None, 3), np.uint8)
        found: dict[int, list[Face]] = {}
        as_given: list[list[Face]] = []
        for quarter_turns in TURNS:
            left = [index for index in range(len(photos)) if index not in found]
            if not left:
                break
            faces = self._find_turned([photos[index] for index in left], quarter_turns)
            if quarter_turns == 0:
                as_given = faces
            found.update(
                (index, seen)
                for index, seen in zip(left, faces, strict=True)
                if any(face.rejected is None for face in seen)
            )
        return [found.get(index, as_given[index]) for index in range(len(photos))]

    def describe(self, crop: Pixels) -> tuple[Landmarks, Embedding]:
        """Landmarks and embedding of the face in an aligned crop (512, 512, 3) uint8 RGB."""
        (landmarks,) = self._kit.landmarks(crop[None])
        return landmarks, self._kit.embed(crop[None], [landmarks])[0]

    def measured(self, face: Face) -> Face:
        """A face that was found before, with what makes its landmarks doubtful or unusable; its pixels are needed."""
        rejected = implausible(face.landmarks, self._kit.trust.lost)
        confidence = self._confidences([face.pixels], [face.landmarks], [0] if rejected is None else []).get(0)
        doubts = problems(face.landmarks, scale_of(face.matrix), self._kit.trust.weak, confidence)
        return dataclasses.replace(face, rejected=rejected, doubts=doubts, confidence=confidence)

    def embed(self, crops: Pixels, landmarks: Sequence[Landmarks]) -> npt.NDArray[np.float32]:
        """The embeddings (N, D) of aligned crops (N, 512, 512, 3) uint8 RGB whose landmarks are known."""
        return self._kit.embed(crops, landmarks)

    def describe_points(self, pixels: Pixels, box: Box, points: Points, source: Source = "corrected") -> Face:
        """The face whose points somebody put right: aligned by them, embedded, and believed.

        pixels: (H, W, 3) uint8 RGB. box: around the face. points: (68, 2) float32, both in photo pixels. How small the
        face is does not matter; it is rejected only where the points are those of no face. source: "detected" for
        points that `fit` gave, which are not believed but measured.
        """
        return self._described(pixels, box, points, None, source)

    def fit(self, pixels: Pixels, box: Box) -> Face:
        """The face in a box that somebody drew in a photo (H, W, 3) uint8 RGB; box: in photo pixels.

        Where nothing in the box looks like a face to the kit, the points are those of an average one that fills it, to
        be put right by hand, and `doubts` has NOT_FITTED. Raises UsageError for a box without a picture in it.
        """
        check_shape("pixels", pixels, (None, None, 3), np.uint8)
        box = _inside(box, pixels)
        if min(box[2] - box[0], box[3] - box[1]) < LEAST_DRAWN:
            raise UsageError(f"Draw the box inside the picture, {LEAST_DRAWN} pixels wide and high at least.")
        fitting = fit_points(self._kit, pixels, box)
        if fitting is None:
            face = self._described(pixels, box, average_points(box), None, "detected")
            return dataclasses.replace(face, doubts=(NOT_FITTED, *face.doubts))
        return self._described(pixels, box, fitting.points, fitting.scores, "detected")

    def _described(
        self,
        pixels: Pixels,
        box: Box,
        points: Points,
        scores: npt.NDArray[np.float32] | None,
        source: Source,
    ) -> Face:
        """The face with points (68, 2) float32 in photo pixels, whoever found them."""
        check_shape("pixels", pixels, (None, None, 3), np.uint8)
        check_shape("points", points, (68, 2), np.float32)
        matrix = aligning(points, box)
        aligned = start_matrix(box) if matrix is None else matrix
        crop = crop_face(pixels, aligned)
        landmarks = Landmarks(transform(points, aligned), scores, source)
        rejected = NO_ALIGNMENT if matrix is None else implausible(landmarks, self._kit.trust.lost)
        usable = [0] if rejected is None else []
        (embedding,) = self._embed_usable([crop], [landmarks], usable)
        confidence = CERTAIN if usable else None
        doubts: tuple[str, ...] = ()
        if source == "detected":
            confidence = self._confidences([crop], [landmarks], usable).get(0)
            doubts = problems(landmarks, scale_of(aligned), self._kit.trust.weak, confidence)
        return Face(
            box=_inside(box, pixels),
            score=1.0,
            matrix=aligned,
            pixels=crop,
            landmarks=landmarks,
            embedding=embedding,
            rejected=rejected,
            doubts=doubts,
            confidence=confidence,
        )

    def _find_turned(self, photos: Sequence[Pixels], quarter_turns: int) -> list[list[Face]]:
        shown = [_at_most(pixels, TURNED_SIDE) for pixels in photos] if quarter_turns else list(photos)
        turned = [np.ascontiguousarray(np.rot90(pixels, quarter_turns)) for pixels in shown]
        least_score = self._kit.trust.turned if quarter_turns else -np.inf
        faces = []
        for pixels, reduced, detections in zip(photos, shown, self._kit.detect(turned), strict=True):
            size = (reduced.shape[1], reduced.shape[0])
            to_turned = compose(_resizing(pixels, reduced), turn_matrix(quarter_turns, size))
            upright = [_turn_back(one, to_turned) for one in detections if one.score >= least_score]
            described = self._describe(pixels, merge_detections(upright))
            faces.append(sorted(reject_repeated(described), key=lambda face: -area(face.box)))
        return faces

    def _describe(self, pixels: Pixels, detections: Sequence[Detection]) -> list[Face]:
        """The faces at `detections` of one photo, aligned and measured in batches.

        Points found in the rough crop give the matrix; points found again in the exact crop are the landmarks. Crops
        that were exact already, and faces too small to be used, are looked at once; rejected faces are not embedded.
        """
        if not detections:
            return []
        crops = [crop_face(pixels, detection.matrix) for detection in detections]
        landmarks = self._kit.landmarks(np.stack(crops))
        matrices = [detection.matrix for detection in detections]
        rejected = [self._too_small(detection.box) for detection in detections]
        again = []
        for index, detection in enumerate(detections):
            five = transform(five_points(landmarks[index].points), invert(detection.matrix))
            exact = matrix_by(five, detection.matrix)
            if exact is None:
                rejected[index] = rejected[index] or NO_ALIGNMENT
            elif rejected[index] is None and not (detection.aligned and _agree(exact, detection.matrix)):
                matrices[index], crops[index] = exact, crop_face(pixels, exact)
                again.append(index)
        if again:
            found = self._kit.landmarks(np.stack([crops[index] for index in again]))
            for index, points in zip(again, found, strict=True):
                landmarks[index] = points
        trust = self._kit.trust
        rejected = [why or implausible(one, trust.lost) for why, one in zip(rejected, landmarks, strict=True)]
        usable = [index for index, why in enumerate(rejected) if why is None]
        embeddings = self._embed_usable(crops, landmarks, usable)
        sure = self._confidences(crops, landmarks, usable)
        return [
            Face(
                box=_inside(detection.box, pixels),
                score=detection.score,
                matrix=matrices[index],
                pixels=crops[index],
                landmarks=landmarks[index],
                embedding=embeddings[index],
                rejected=rejected[index],
                doubts=problems(landmarks[index], scale_of(matrices[index]), trust.weak, sure.get(index)),
                confidence=sure.get(index),
            )
            for index, detection in enumerate(detections)
        ]

    def _embed_usable(
        self, crops: Sequence[Pixels], landmarks: Sequence[Landmarks], usable: Sequence[int]
    ) -> list[Embedding]:
        """One embedding per crop, empty for those that are not usable."""
        embeddings: list[Embedding] = [np.zeros(0, dtype=np.float32)] * len(crops)
        if usable:
            rows = self._kit.embed(np.stack([crops[index] for index in usable]), [landmarks[index] for index in usable])
            for index, row in zip(usable, rows, strict=True):
                embeddings[index] = row
        return embeddings

    def _confidences(
        self, crops: Sequence[Pixels], landmarks: Sequence[Landmarks], usable: Sequence[int]
    ) -> dict[int, Confidence | None]:
        """How far the landmarks of the usable crops can be trusted, by their index."""
        if not usable:
            return {}
        chosen = np.stack([crops[index] for index in usable])
        return dict(zip(usable, confidences(self._kit, chosen, [landmarks[index] for index in usable]), strict=True))

    def _too_small(self, box: Box) -> str | None:
        side = max(box[2] - box[0], box[3] - box[1])
        if side < self._min_face:
            return f"the face is {side:.0f} pixels wide, and faces under {self._min_face:.0f} are not used"
        return None


def _agree(exact: Matrix, rough: Matrix) -> bool:
    """Whether two matrices photo -> crop put a face at the same place, to within SETTLED."""
    there = transform(transform(TEMPLATE.astype(np.float32), invert(rough)), exact)
    return bool(np.linalg.norm(there - TEMPLATE, axis=1).max() < SETTLED)


def merge_detections(detections: list[Detection]) -> list[Detection]:
    """One detection per face: of those that overlap by SAME_FACE, the one with the highest score."""
    kept: list[Detection] = []
    for detection in sorted(detections, key=lambda one: -one.score):
        if all(overlap(detection.box, other.box) < SAME_FACE for other in kept):
            kept.append(detection)
    return kept


def reject_repeated(faces: list[Face]) -> list[Face]:
    """The faces with those dropped that turned out to be another one once aligned, and those rejected that are nested
    in another.

    A rejected face neither hides nor encloses another.
    """
    kept: list[Face] = []
    for face in sorted(faces, key=lambda one: (one.rejected is not None, -one.score)):
        usable = [other for other in kept if other.rejected is None]
        if any(same_centre(face, other) for other in usable):
            continue
        kept.append(face)
    return [_rejected_if_nested(face, kept) for face in kept]


def _rejected_if_nested(face: Face, faces: list[Face]) -> Face:
    larger = [other for other in faces if other.rejected is None and area(other.box) > area(face.box)]
    if face.rejected is None and any(_part_inside(face.box, other.box) > NESTED for other in larger):
        return dataclasses.replace(face, rejected="it lies inside another face")
    return face


def turn_matrix(quarter_turns: int, size: tuple[int, int]) -> Matrix:
    """(2, 3) float32: pixels of a picture of `size` (width, height) -> pixels of it after np.rot90(picture,
    quarter_turns).
    """
    width, height = size
    turns = {
        0: [[1, 0, 0], [0, 1, 0]],
        1: [[0, 1, 0], [-1, 0, width - 1]],
        2: [[-1, 0, width - 1], [0, -1, height - 1]],
        3: [[0, -1, height - 1], [1, 0, 0]],
    }
    return np.array(turns[quarter_turns % 4], dtype=np.float32)


def _at_most(pixels: Pixels, side: int) -> Pixels:
    """The picture itself, or a copy whose longer side has `side` pixels."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width, side)
    if scale == 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _resizing(pixels: Pixels, resized: Pixels) -> Matrix:
    """(2, 3) float32: pixels of a picture -> pixels of a copy of another size, centres as cv2.resize has them."""
    down, across = (after / max(before, 1) for before, after in zip(pixels.shape[:2], resized.shape[:2], strict=True))
    return np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2]], dtype=np.float32)


def _turn_back(detection: Detection, to_turned: Matrix) -> Detection:
    """A detection in the turned copy as one in the photo; its matrix goes on turning the face upright."""
    x0, y0, x1, y1 = detection.box
    # Boxes are in pixel edges, points in pixel centres: half a pixel apart.
    corners: Points = np.array([[x0, y0], [x1, y1]], dtype=np.float32) - np.float32(0.5)
    back = transform(corners, invert(to_turned)) + np.float32(0.5)
    low, high = back.min(axis=0), back.max(axis=0)
    box = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
    return dataclasses.replace(detection, box=box, matrix=compose(to_turned, detection.matrix))


def _inside(box: Box, pixels: Pixels) -> Box:
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = box
    return max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))


def area(box: Box) -> float:
    """The pixels in a box."""
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def _part_inside(one: Box, other: Box) -> float:
    shared = area((max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])))
    return shared / max(area(one), 1e-6)


def same_centre(one: Face, other: Face) -> bool:
    """Whether two faces were aligned to the same place, judged by where the middle of their crops lies in the photo."""
    middle = np.array([[256, 300]], dtype=np.float32)
    centres = [transform(middle, invert(face.matrix))[0] for face in (one, other)]
    # Faces at one place but of very different size are nested, not the same.
    scales = sorted(scale_of(face.matrix) for face in (one, other))
    size = min(np.sqrt(area(face.box)) for face in (one, other))
    near = float(np.linalg.norm(centres[0] - centres[1])) < SAME_CENTRE * float(size)
    return near and scales[1] < 2 * scales[0]
