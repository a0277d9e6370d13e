"""How good restored faces are, measured against the true ones.

Each crop of a data folder is degraded, restored from the generic dictionary and, where the person has other crops, from
their own; the three pictures are compared with the crop that was degraded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from dmdcli.errors import ShapeError
from dmdcli.faces.face import component_boxes
from dmdcli.faces.kit import FaceKit
from dmdcli.shapes import ComponentBoxes, Embedding, FloatPixels, Pixels, check_shape
from dmdcli.training.data import FaceData
from dmdcli.training.degrade import Degradation, Ranges, Severity, apply, draw, generator_for

if TYPE_CHECKING:
    from dmdcli.model.restorer import Restorer

AT_ONCE = 16
"""Crops degraded and restored together; only memory depends on it."""
RESAMPLINGS = 2000
"""Bootstrap resamplings an interval is read from."""

HIGHEST_PSNR = 100.0
"""What equal pictures get, in dB, so that means and differences stay numbers."""
LUMA = np.array([0.299, 0.587, 0.114])
WINDOW_SIDE, WINDOW_SIGMA = 11, 1.5
"""Gaussian window of SSIM, in pixels (Wang et al. 2004)."""

Row: TypeAlias = Literal["input", "generic", "specific"]


@dataclass(frozen=True)
class Quality:
    """One picture compared with the true one.

    psnr, component_psnr: dB, over the whole crop and over the true boxes of eyes and mouth. ssim: at most 1.
    sharpness: energy of the gradients in those boxes over that of the true face; above 1: too much detail, or noise.
    similarity, distance: of the identity to the true face's, as the kit measures them; None without a kit.
    """

    psnr: float
    component_psnr: float
    ssim: float
    sharpness: float
    similarity: float | None = None
    distance: float | None = None


METRICS = tuple(metric.name for metric in fields(Quality))


@dataclass(frozen=True)
class Evaluated:
    """One crop: what was done to it, and the quality of each row. specific is there if the person has `references`."""

    crop: str
    identity: str
    degradation: Degradation
    references: int
    rows: Mapping[Row, Quality]


@dataclass(frozen=True)
class Gain:
    """Mean of paired differences, and the ends of its 95 % interval (people resampled with replacement)."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Summary:
    """Means over all crops that have the row, and gains over the input on the same crops, by metric."""

    counts: Mapping[Row, int]
    means: Mapping[Row, Mapping[str, float]]
    gains: Mapping[Row, Mapping[str, Gain]]


def evaluate(
    faces: FaceData,
    restorer: Restorer,
    severity: Severity | Ranges,
    seed: int,
    *,
    kit: FaceKit | None = None,
    detect: bool = False,
) -> Iterator[Evaluated]:
    """Degrade, restore and measure each crop, in the order of the index; yield one result per crop.

    The degradation of a crop depends on `seed` and its name alone. References are the person's other crops as they are,
    never the crop itself. kit: measures identities; None leaves them out. detect: the boxes come from landmarks the kit
    finds on the degraded crop, as they would on a photo, instead of the true ones. Raises ShapeError for detect without
    a kit.
    """
    if detect and kit is None:
        raise ShapeError("landmarks can only be detected with a kit")
    boxes = np.stack([component_boxes(sample.points) for sample in faces.samples])
    for start in range(0, len(faces.samples), AT_ONCE):
        positions = range(start, min(start + AT_ONCE, len(faces.samples)))
        degradations = [draw(severity, generator_for(seed, faces.samples[position].crop)) for position in positions]
        degraded = np.stack(
            [apply(faces.pixels[position], one) for position, one in zip(positions, degradations, strict=True)]
        )
        found = boxes[positions.start : positions.stop]
        if detect and kit is not None:
            found = np.stack([component_boxes(seen.points) for seen in kit.landmarks(degraded)])
        people = []
        for position in positions:
            others = list(faces.others(position))
            people.append(restorer.memorize(faces.pixels[others], boxes[others]) if others else None)
        restored = restorer.restore(degraded, found, people)
        for position, degradation, before, after in zip(positions, degradations, degraded, restored, strict=True):
            pictures: dict[Row, Pixels] = {"input": before}
            if after.generic is not None:
                pictures["generic"] = to_uint8(after.generic)
            if after.specific is not None:
                pictures["specific"] = to_uint8(after.specific)
            truth, sample = faces.pixels[position], faces.samples[position]
            identity = _embed(truth, kit)
            yield Evaluated(
                crop=sample.crop,
                identity=sample.identity,
                degradation=degradation,
                references=len(faces.others(position)),
                rows={
                    row: measure(picture, truth, boxes[position], kit, identity) for row, picture in pictures.items()
                },
            )


def measure(
    picture: Pixels, truth: Pixels, boxes: ComponentBoxes, kit: FaceKit | None = None, identity: Embedding | None = None
) -> Quality:
    """Compare a picture with the true one, both (512, 512, 3) uint8 RGB; `boxes` and `identity` are the true face's."""
    distance = similarity = None
    embedding = _embed(picture, kit)
    if kit is not None and embedding is not None and identity is not None:
        distance = float(np.linalg.norm(embedding.astype(np.float64) - identity))
        similarity = float(kit.similarity(np.array([distance]))[0])
    inside = _inside(boxes, truth.shape[:2])
    return Quality(
        psnr=psnr(picture, truth),
        component_psnr=psnr(picture[inside], truth[inside]),
        ssim=ssim(picture, truth),
        sharpness=_gradient_energy(picture, inside) / max(_gradient_energy(truth, inside), 1e-6),
        similarity=similarity,
        distance=distance,
    )


def psnr(picture: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB of two uint8 arrays of one shape, over all their numbers; 100 where equal."""
    check_shape("picture", picture, truth.shape, np.uint8)
    check_shape("truth", truth, truth.shape, np.uint8)
    error = float(np.mean((picture.astype(np.float64) - truth) ** 2))
    return HIGHEST_PSNR if error == 0 else min(HIGHEST_PSNR, float(10 * np.log10(255**2 / error)))


def ssim(picture: Pixels, truth: Pixels) -> float:
    """Structural similarity of two (H, W, 3) uint8 pictures, at least 11 x 11: the mean over places and channels.

    Wang, Bovik, Sheikh, Simoncelli (2004): Gaussian window of 11 pixels with sigma 1.5, K1 = 0.01, K2 = 0.03, only
    windows that lie wholly inside.
    """
    check_shape("picture", picture, truth.shape, np.uint8)
    check_shape("truth", truth, (None, None, 3), np.uint8)
    if min(truth.shape[:2]) < WINDOW_SIDE:
        raise ShapeError(f"SSIM wants pictures of at least {WINDOW_SIDE} x {WINDOW_SIDE}, got {truth.shape[:2]}")
    x, y = picture.astype(np.float64), truth.astype(np.float64)
    mean_x, mean_y = _window_mean(x), _window_mean(y)
    variance_x = _window_mean(x * x) - mean_x**2
    variance_y = _window_mean(y * y) - mean_y**2
    covariance = _window_mean(x * y) - mean_x * mean_y
    one, two = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similar = ((2 * mean_x * mean_y + one) * (2 * covariance + two)) / (
        (mean_x**2 + mean_y**2 + one) * (variance_x + variance_y + two)
    )
    return float(similar.mean())


def to_uint8(pixels: FloatPixels) -> Pixels:
    """(H, W, 3) float32 in [0, 1] to uint8, rounded."""
    return np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)


def summarize(results: Sequence[Evaluated], seed: int = 0) -> Summary:
    """Means, and paired gains over the input with their intervals; metrics that were not measured are left out."""
    rows: tuple[Row, ...] = ("input", "generic", "specific")
    having = {row: [result for result in results if row in result.rows] for row in rows}
    means: dict[Row, dict[str, float]] = {}
    gains: dict[Row, dict[str, Gain]] = {}
    for row, there in having.items():
        if not there:
            continue
        values = {metric: [getattr(result.rows[row], metric) for result in there] for metric in METRICS}
        means[row] = {metric: float(np.mean(listed)) for metric, listed in values.items() if None not in listed}
        if row == "input":
            continue
        people = [result.identity for result in there]
        gains[row] = {
            metric: _gain(
                np.array(values[metric]) - [getattr(result.rows["input"], metric) for result in there], people, seed
            )
            for metric in means[row]
        }
    return Summary({row: len(there) for row, there in having.items()}, means, gains)


def _gain(differences: npt.NDArray[np.float64], people: Sequence[str], seed: int) -> Gain:
    """Bootstrap over people, because the crops of one person are not independent."""
    _, person = np.unique(people, return_inverse=True)
    sums, counts = np.bincount(person, differences), np.bincount(person)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(RESAMPLINGS, len(sums)))
    low, high = np.percentile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [2.5, 97.5])
    return Gain(float(differences.mean()), float(low), float(high))


def _window_mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    blurred = cv2.GaussianBlur(values, (WINDOW_SIDE, WINDOW_SIDE), WINDOW_SIGMA)
    edge = WINDOW_SIDE // 2
    return np.asarray(blurred[edge:-edge, edge:-edge], dtype=np.float64)


def _inside(boxes: ComponentBoxes, size: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    inside = np.zeros(size[:2], dtype=np.bool_)
    for x1, y1, x2, y2 in boxes:
        inside[y1:y2, x1:x2] = True
    return inside


def _gradient_energy(pixels: Pixels, inside: npt.NDArray[np.bool_]) -> float:
    luma = pixels @ LUMA
    across, down = np.diff(luma, axis=1)[:-1], np.diff(luma, axis=0)[:, :-1]
    return float((across**2 + down**2)[inside[:-1, :-1]].mean())


def _embed(crop: Pixels, kit: FaceKit | None) -> Embedding | None:
    return None if kit is None else kit.embed(crop[None], kit.landmarks(crop[None]))[0]
