"""The 68 points of a face in a box that somebody drew around it, where no detector had seen one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dmdcli.faces.align import crop_face, crop_matrix, five_points, invert, transform
from dmdcli.faces.confidence import fitted
from dmdcli.faces.face import Landmarks, implausible
from dmdcli.faces.kit import FaceKit
from dmdcli.shapes import Box, Matrix, Pixels, Points, overlap

STANDARD_BOX: Box = (92.0, 150.0, 420.0, 478.0)
"""Where a box around brows, ears and chin lies in an aligned crop, in crop pixels."""
STARTS = ((0.8, 0.06), (1.0, 0.0))
MORE_STARTS = ((0.65, 0.1), (1.2, 0.0), (1.0, 0.12), (1.0, -0.12))
"""Sides of the face as parts of those of the box, and how far its middle is below the box's: boxes are drawn with and
without hair and neck."""
TURNS = (25, -25, 50, -50, 90, -90, 180)
"""Degrees, clockwise as seen, by which a head may be turned where the points of an upright one are doubtful."""
ROUNDS = 2
"""Times the points are found again in the exact crop that those before gave."""
LEAST_SHARED = 0.15
"""Overlap of the points' surroundings with the box from which they are those of the face that was meant. A box around
the whole head has 0.22 to 0.31 with them."""
LEAST_SPREAD = 20.0
"""Extent in rough crop pixels of the five points below which they coincide and align nothing (faces: 110 and more)."""


@dataclass(frozen=True)
class Fitting:
    """Points found in a drawn box. points: (68, 2) float32 in photo pixels. scores: as those of `Landmarks`."""

    points: Points
    scores: npt.NDArray[np.float32] | None

    @property
    def score(self) -> float:
        """The mean of the scores, in [0, 1]."""
        return 1.0 if self.scores is None else float(self.scores.mean())


def fit_points(kit: FaceKit, pixels: Pixels, box: Box) -> Fitting | None:
    """The likeliest points of the face in a box of a photo (H, W, 3) uint8 RGB; None where none could be a face's.

    They are looked for from several sizes and places of the face in the box, then in turned copies, until they are not
    doubtful, and found again in the exact crops. A turned head has to be seen clearly.
    """
    weak, best = kit.trust.weak, None
    for starts in (STARTS, MORE_STARTS):
        best = _better(best, _best(kit, pixels, box, [start_matrix(box, *start) for start in starts]))
        if best is not None and best.score >= weak:
            return best
    turned = _best(kit, pixels, box, [start_matrix(box, *one, degrees) for degrees in TURNS for one in STARTS])
    return turned if turned is not None and turned.score >= weak else best


def average_points(box: Box) -> Points:
    """The points (68, 2) float32, in photo pixels, of an average face seen upright that fills a box."""
    mean = fitted().shape.mean
    low, high = mean.min(axis=0), mean.max(axis=0)
    size = np.array([box[2] - box[0], box[3] - box[1]])
    scale = float(min(size / (high - low)))
    middle = np.array([box[0] + box[2], box[1] + box[3]]) / 2
    points: Points = ((mean - (low + high) / 2) * scale + middle).astype(np.float32)
    return points


def aligning(points: Points, box: Box) -> Matrix | None:
    """The matrix (2, 3) photo -> crop by points (68, 2) of a face in a box, all in photo pixels; None where they give
    none.
    """
    return matrix_by(five_points(points), start_matrix(box)) if np.isfinite(points).all() else None


def matrix_by(five: Points, rough: Matrix) -> Matrix | None:
    """The matrix (2, 3) photo -> crop by five points (5, 2) in photo pixels; None where they give none.

    rough: photo -> a rough crop of the face.
    """
    if float(np.ptp(transform(five, rough), axis=0).max()) < LEAST_SPREAD:
        return None
    return crop_matrix(five)


def surroundings(points: Points) -> Box:
    """The smallest box around points, in their pixels."""
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)


def _best(kit: FaceKit, pixels: Pixels, box: Box, starts: Sequence[Matrix]) -> Fitting | None:
    """The best of the plausible points that are found from matrices photo -> rough crop."""
    matrices, found = _look(kit, pixels, starts)
    for _ in range(ROUNDS):
        exact = [aligning(transform(one.points, invert(at)), box) for one, at in zip(found, matrices, strict=True)]
        matrices, found = _look(kit, pixels, [matrix for matrix in exact if matrix is not None])
    fittings = []
    for landmarks, matrix in zip(found, matrices, strict=True):
        points = transform(landmarks.points, invert(matrix))
        if implausible(landmarks, kit.trust.lost) is None and overlap(surroundings(points), box) >= LEAST_SHARED:
            fittings.append(Fitting(points, landmarks.scores))
    return max(fittings, key=lambda one: one.score, default=None)


def _better(one: Fitting | None, other: Fitting | None) -> Fitting | None:
    """The one of two with the higher score."""
    return max((each for each in (one, other) if each is not None), key=lambda each: each.score, default=None)


def _look(kit: FaceKit, pixels: Pixels, matrices: Iterable[Matrix]) -> tuple[list[Matrix], list[Landmarks]]:
    """Matrices photo -> crop, and the landmarks in their crops."""
    tried = list(matrices)
    return tried, kit.landmarks(np.stack([crop_face(pixels, one) for one in tried])) if tried else []


def start_matrix(box: Box, part: float = 1.0, down: float = 0.0, degrees: float = 0.0) -> Matrix:
    """(2, 3) float32, photo -> rough crop: a face with `part` of the box's sides, its middle lower by `down` of them.

    degrees: by which the face is turned clockwise in the photo, as seen.
    """
    x0, y0, x1, y1 = STANDARD_BOX
    side = math.sqrt(max((box[2] - box[0]) * (box[3] - box[1]), 1e-6))
    scale = (x1 - x0) / (side * part)
    angle = math.radians(degrees)
    turn = scale * np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    below = side * down * np.array([-math.sin(angle), math.cos(angle)])
    middle = np.array([box[0] + box[2], box[1] + box[3]]) / 2 + below - 0.5  # points are in pixel centres
    target = np.array([x0 + x1, y0 + y1]) / 2
    matrix: Matrix = np.hstack([turn, (target - turn @ middle)[:, None]]).astype(np.float32)
    return matrix
