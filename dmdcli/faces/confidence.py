"""How far the 68 points of a face can be trusted: what the kit finds in altered copies of the crop, its own scores, how
usual the shape of the points is, and how much detail there is to see.

The copies are the crop mirrored, turned and shifted a little, and made sharper. Where a face can be seen clearly, its
points stay where they are; where it cannot, they follow the alteration. What is measured is turned into the probability
that the points are right by a logistic fit on damaged crops of the training split; `benchmarks/landmark_confidence.py`
makes the fit, and measures it on other people (docs/landmarks.md).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from dmdcli.faces.align import blend_mask
from dmdcli.faces.face import Confidence, Landmarks, component_boxes, eye_distance
from dmdcli.faces.surface import fine_detail
from dmdcli.shapes import COMPONENTS, CROP, Matrix, Pixels, Points, as_floats, check_shape

if TYPE_CHECKING:
    from dmdcli.faces.kit import FaceKit

TURN = 5.0
"""Degrees that a copy is turned around the middle of the crop."""
SHIFT = (9.0, 6.0)
"""Crop pixels, right and down, that the same copy is shifted."""
SHARPER_RADIUS, SHARPER_AMOUNT = 4.0, 1.5
"""Standard deviation in crop pixels, and strength, of the unsharp mask that lightly undoes blur."""
MOST = 1.0
"""Deviations from the middle beyond which a good sign counts no more: much of one must not make up for all
others. The fit's logarithmic loss stays what it is without (0.191 on training crops)."""
COPIES = 3
"""Turned and shifted, mirrored, sharper."""
SMALLEST = 1e-4
"""Least of what a logarithm is taken of."""
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
    """A logistic fit: probability = 1 / (1 + exp(-(offset + sum of weights x (measured - middle) / scale))), each term
    up to MOST times its weight.
    """

    offset: float
    weights: npt.NDArray[np.float64]
    middle: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]

    def probability(self, measured: npt.NDArray[np.float64]) -> float:
        """What numbers as of `measure` mean."""
        terms = self.weights * (measured - self.middle) / self.scale
        along = self.offset + float(np.minimum(terms, MOST * np.abs(self.weights)).sum())
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


CERTAIN = Confidence(1.0, (1.0,) * len(COMPONENTS), source="corrected")
"""That of points put right by hand."""


def confidences(kit: FaceKit, crops: Pixels, landmarks: Sequence[Landmarks]) -> list[Confidence | None]:
    """How far the points found in aligned crops (N, 512, 512, 3) uint8 RGB can be trusted.

    Points that were put right by hand are certain. Those of a calibrated kit are measured: it looks at all altered
    copies in one batch, and at the crop itself where the points came without scores. Those of another kit are trusted
    as far as its scores go; None where it gives none.
    """
    found: dict[int, Confidence | None] = {}
    for index, one in enumerate(landmarks):
        if one.source == "corrected":
            found[index] = CERTAIN
        elif not kit.trust.calibrated:
            found[index] = _by_scores(one, kit.trust.weak)
    left = [index for index in range(len(landmarks)) if index not in found]
    if left:
        opinions = second_opinions(kit, crops[left])
        for index, others in zip(left, opinions, strict=True):
            one = landmarks[index]
            scored = one if one.scores is not None else replace(one, scores=kit.landmarks(crops[index][None])[0].scores)
            found[index] = _measured(crops[index], scored, others)
    return [found[index] for index in range(len(landmarks))]


def _measured(crop: Pixels, landmarks: Landmarks, others: npt.NDArray[np.float32]) -> Confidence:
    """By second opinions (COPIES, 68, 2) and all else that is seen."""
    known = fitted()
    face, *components = measure(known.shape, landmarks, others, detail_of(crop, landmarks.points))
    return Confidence(known.face.probability(face), tuple(known.component.probability(one) for one in components))


def _by_scores(landmarks: Landmarks, weak: float) -> Confidence | None:
    """By the kit's own scores, which are good from `weak` on."""
    scores = landmarks.scores
    if scores is None:
        return None
    parts = tuple(float(scores[part].mean()) for part in COMPONENT_POINTS)
    return Confidence(float(scores.mean()), parts, weak, "scores")


def second_opinions(kit: FaceKit, crops: Pixels) -> npt.NDArray[np.float32]:
    """(N, COPIES, 68, 2) float32: the points the kit finds in altered copies of crops (N, 512, 512, 3) uint8, where
    they are in the crop itself.
    """
    check_shape("crops", crops, (None, CROP, CROP, 3), np.uint8)
    copies = [copy for crop in crops for copy in _copies(crop)]
    if not copies:
        return np.zeros((0, COPIES, 68, 2), dtype=np.float32)
    found = np.stack([one.points for one in kit.landmarks(np.stack(copies))]).reshape(len(crops), COPIES, 68, 2)
    moved, mirrored, sharper = (found[:, copy] for copy in range(COPIES))
    back = cv2.invertAffineTransform(_move())
    moved = moved @ back[:, :2].T + back[:, 2]
    mirrored = mirrored[:, MIRRORED] * (-1, 1) + (CROP - 1, 0)
    return np.stack([moved, mirrored, sharper], axis=1).astype(np.float32)


def detail_of(crop: Pixels, points: Points) -> tuple[float, float]:
    """The fine and the coarse detail of eyes and mouth of a crop (512, 512, 3) uint8, as `surface.fine_detail`."""
    return fine_detail(as_floats(crop), blend_mask(points), component_boxes(points))


def measure(
    shape: FaceShape, landmarks: Landmarks, others: npt.NDArray[np.float32], detail: tuple[float, float]
) -> npt.NDArray[np.float64]:
    """(4, 8): a row for the face, and one for the points of each component.

    The logarithms of the distances of second opinions (COPIES, 68, 2) from the points, over that of the eye centres, of
    how unusual the shape is, and of the detail; and the mean score.
    """
    points, scores = landmarks.points, landmarks.scores
    assert scores is not None, "calibrated kits give scores"
    distances = np.linalg.norm(others.astype(np.float64) - points, axis=2) / max(eye_distance(points), 1.0)
    whole = (*shape.distance(points), *detail)
    parts = (slice(None), *COMPONENT_POINTS)
    lengths = np.array([[*distances[:, part].mean(axis=1), *whole] for part in parts], dtype=np.float64)
    means = [float(scores[part].mean()) for part in parts]
    return np.column_stack([np.log(np.maximum(lengths, SMALLEST)), means])


def aligned_to(target: npt.NDArray[np.floating], points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """(N, 2) points centred, turned and scaled to fit a centred target best (least squares)."""
    centred = points.astype(np.float64) - points.mean(axis=0)
    here, there = centred @ (1, 1j), target @ np.array((1, 1j))
    moved = here * (np.conj(here) @ there) / max(float((np.abs(here) ** 2).sum()), 1e-12)
    return np.stack([moved.real, moved.imag], axis=1)


def _move() -> Matrix:
    """Crop -> turned and shifted copy, (2, 3)."""
    middle = ((CROP - 1) / 2, (CROP - 1) / 2)
    matrix = np.asarray(cv2.getRotationMatrix2D(middle, TURN, 1.0), dtype=np.float32)
    matrix[:, 2] += SHIFT
    return matrix


def _copies(crop: Pixels) -> tuple[Pixels, Pixels, Pixels]:
    """Turned and shifted, mirrored, sharper."""
    moved = cv2.warpAffine(crop, _move(), (CROP, CROP), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    sharper = crop.astype(np.float32)
    sharper += SHARPER_AMOUNT * (sharper - cv2.GaussianBlur(sharper, (0, 0), SHARPER_RADIUS))
    return (
        np.asarray(moved, dtype=np.uint8),
        np.ascontiguousarray(crop[:, ::-1]),
        np.clip(np.rint(sharper), 0, 255).astype(np.uint8),
    )
