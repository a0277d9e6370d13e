"""How far the 68 points of a face can be trusted: what the kit finds in altered copies of the crop, and how usual the
shape of the points is.

The copies are the crop mirrored, turned, shifted, made sharper and made smoother. Where a face can be seen clearly, its
points stay where they are; where it cannot, they follow the alteration. What is measured is turned into the probability
that the points are right by a logistic fit on damaged crops of the training split; `benchmarks/landmark_confidence.py`
makes the fit, and measures it on other people.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from dmdcli.faces.face import Confidence, Landmarks
from dmdcli.shapes import COMPONENTS, CROP, Matrix, Pixels, Points, check_shape

if TYPE_CHECKING:
    from dmdcli.faces.kit import FaceKit

TURN = 5.0
"""Degrees that a copy is turned, both ways, around the middle of the crop."""
SHIFT = (9.0, 6.0)
"""Crop pixels, right and down, that a copy is shifted, both ways."""
SHARPER_RADIUS, SHARPER_AMOUNT = 4.0, 1.5
"""Standard deviation in crop pixels, and strength, of the unsharp mask that lightly undoes blur."""
SMOOTHER_RADIUS = 3.0
"""Standard deviation in crop pixels of the blur of the smoother copy."""
LEAST_SPREAD = 1e-4
"""Spread, over the distance of the eye centres, below which there is nothing to tell apart."""
AXES = 20
"""Axes of variation of the shape; they hold 97 % of its variance."""
MIRRORED = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), 45, 44, 43, 42, 47, 46, 39, 38, 37, 36,
     41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65]
)  # fmt: skip
"""Index, in the mirrored face, of the point that each of the 68 becomes."""
COMPONENT_POINTS = (slice(36, 42), slice(42, 48), slice(48, 68))
"""The points of each component, in the order of COMPONENTS."""
FITTED = "confidence.json"
"""Beside this file: the shape and the fits."""


@dataclass(frozen=True, eq=False)
class FaceShape:
    """A statistical shape of faces (Cootes et al. 1995): mean, and axes of variation.

    mean: (68, 2), centred, of eye distance 1. axes: (AXES, 136), orthonormal. deviations: (AXES,) along them.
    """

    mean: npt.NDArray[np.float64]
    axes: npt.NDArray[np.float64]
    deviations: npt.NDArray[np.float64]

    @classmethod
    def fit(cls, shapes: npt.NDArray[np.floating]) -> FaceShape:
        """The shape of many faces (N, 68, 2), whatever their place, size and turn."""
        mean = shapes[0] - shapes[0].mean(axis=0)
        for _ in range(4):
            aligned = np.stack([aligned_to(mean, points) for points in shapes])
            mean = aligned.mean(axis=0)
            mean = mean / eye_distance(mean)
        changes = np.stack([aligned_to(mean, points) - mean for points in shapes]).reshape(len(shapes), -1)
        _, strengths, axes = np.linalg.svd(changes, full_matrices=False)
        return cls(mean, axes[:AXES], strengths[:AXES] / np.sqrt(len(shapes)))

    def distance(self, points: npt.NDArray[np.floating]) -> tuple[float, float]:
        """How unusual (68, 2) points are: along the axes, in standard deviations, and beside them, in eye distances;
        root mean squares over axes and points.
        """
        change = (aligned_to(self.mean, points) - self.mean).ravel()
        along = self.axes @ change
        beside = max(float(change @ change - along @ along), 0.0)
        return float(np.sqrt(np.square(along / self.deviations).mean())), float(np.sqrt(beside / len(points)))


@dataclass(frozen=True, eq=False)
class Fit:
    """A logistic fit: probability = 1 / (1 + exp(-(offset + weights . (measured - middle) / scale)))."""

    offset: float
    weights: npt.NDArray[np.float64]
    middle: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]

    def probability(self, measured: npt.NDArray[np.float64]) -> float:
        """What numbers as of `measure` mean."""
        along = self.offset + float(self.weights @ ((measured - self.middle) / self.scale))
        return float(1 / (1 + np.exp(-np.clip(along, -50, 50))))


@dataclass(frozen=True, eq=False)
class Fitted:
    """What was fitted on the training split: the shape, the fit of whole faces, that of components."""

    shape: FaceShape
    face: Fit
    component: Fit


@cache
def fitted() -> Fitted:
    """Read what comes with the package."""
    content = json.loads((resources.files("dmdcli.faces") / FITTED).read_text())

    def arrays(part: dict[str, list[float]]) -> dict[str, npt.NDArray[np.float64]]:
        return {name: np.array(numbers, dtype=np.float64) for name, numbers in part.items()}

    def fit(part: dict[str, list[float]]) -> Fit:
        found = arrays(part)
        return Fit(float(found["offset"]), found["weights"], found["middle"], found["scale"])

    return Fitted(FaceShape(**arrays(content["shape"])), fit(content["face"]), fit(content["component"]))


def confidences(kit: FaceKit, crops: Pixels, landmarks: Sequence[Landmarks]) -> list[Confidence]:
    """How far the points found in aligned crops (N, 512, 512, 3) uint8 RGB can be trusted.

    The kit looks at all altered copies in one batch. Points that were put right by hand are certain.
    """
    known = fitted()
    found = []
    for one, others in zip(landmarks, second_opinions(kit, crops), strict=True):
        if one.source == "corrected":
            found.append(Confidence(1.0, (1.0,) * len(COMPONENTS)))
            continue
        every = spreads(one.points, others)
        parts = [measure(known.shape, one.points, every[:, part]) for part in COMPONENT_POINTS]
        found.append(
            Confidence(
                known.face.probability(measure(known.shape, one.points, every)),
                tuple(known.component.probability(measured) for measured in parts),
            )
        )
    return found


def second_opinions(kit: FaceKit, crops: Pixels) -> npt.NDArray[np.float32]:
    """(N, K, 68, 2) float32: the points the kit finds in each of K altered copies of each crop, where they are in the
    crop itself. Order: turned twice, shifted twice, mirrored, sharper, smoother.
    """
    check_shape("crops", crops, (None, CROP, CROP, 3), np.uint8)
    moves = _moves()
    copies = [copy for crop in crops for copy in _copies(crop, moves)]
    if not copies:
        return np.zeros((0, len(moves) + 3, 68, 2), dtype=np.float32)
    found = np.stack([one.points for one in kit.landmarks(np.stack(copies))]).reshape(len(crops), -1, 68, 2)
    for index, matrix in enumerate(moves):
        back = cv2.invertAffineTransform(matrix)
        found[:, index] = found[:, index] @ back[:, :2].T + back[:, 2]
    mirror = len(moves)
    found[:, mirror] = found[:, mirror][:, MIRRORED] * (-1, 1) + (CROP - 1, 0)
    return np.asarray(found, dtype=np.float32)


def spreads(points: Points, others: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """(K, 68): how far the points of K second opinions (K, 68, 2) are from (68, 2) points, over the eye distance."""
    distance = np.linalg.norm(others.astype(np.float64) - points, axis=2)
    return np.asarray(distance / max(eye_distance(points), 1.0), dtype=np.float64)


def measure(shape: FaceShape, points: Points, every: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(6,) logarithms: the spread of the copies moved, mirrored, sharper and smoother, and the two of the shape.

    every: (K, n), the spreads of the points that count, in the order of `second_opinions`.
    """
    moved = len(_moves())
    parts = [every[:moved].mean(), *every[moved:].mean(axis=1), *shape.distance(points)]
    return np.log(np.maximum(np.array(parts, dtype=np.float64), LEAST_SPREAD))


def eye_distance(points: npt.NDArray[np.floating]) -> float:
    """The distance of the eye centres of (68, 2) points, the unit of all errors here."""
    return float(np.linalg.norm(points[36:42].mean(axis=0) - points[42:48].mean(axis=0)))


def aligned_to(target: npt.NDArray[np.floating], points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """(N, 2) points centred, turned and scaled to fit a centred target best (least squares)."""
    centred = points.astype(np.float64) - points.mean(axis=0)
    here, there = centred @ (1, 1j), target @ np.array((1, 1j))
    moved = here * (np.conj(here) @ there) / max(float((np.abs(here) ** 2).sum()), 1e-12)
    return np.stack([moved.real, moved.imag], axis=1)


def _moves() -> list[Matrix]:
    """Crop -> copy, (2, 3) each: turned both ways, shifted both ways."""
    middle = ((CROP - 1) / 2, (CROP - 1) / 2)
    turned = [np.asarray(cv2.getRotationMatrix2D(middle, angle, 1.0), dtype=np.float32) for angle in (TURN, -TURN)]
    right, down = SHIFT
    return [*turned, *(np.array([[1, 0, by * right], [0, 1, by * down]], dtype=np.float32) for by in (1, -1))]


def _copies(crop: Pixels, moves: Sequence[Matrix]) -> list[Pixels]:
    moved = [
        cv2.warpAffine(crop, matrix, (CROP, CROP), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for matrix in moves
    ]
    sharper = crop.astype(np.float32)
    sharper += SHARPER_AMOUNT * (sharper - cv2.GaussianBlur(sharper, (0, 0), SHARPER_RADIUS))
    altered = [crop[:, ::-1], np.clip(np.rint(sharper), 0, 255), cv2.GaussianBlur(crop, (0, 0), SMOOTHER_RADIUS)]
    return [np.ascontiguousarray(copy, dtype=np.uint8) for copy in (*moved, *altered)]
