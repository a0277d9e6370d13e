"""One picture of a face compared with the true one: pixels, structure, sharpness, identity, landmarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np
import numpy.typing as npt

from dmdcli.errors import ShapeError
from dmdcli.faces.face import Landmarks, landmark_distance
from dmdcli.faces.kit import FaceKit
from dmdcli.shapes import ComponentBoxes, FloatPixels, Pixels, Points, check_shape

HIGHEST_PSNR = 100.0
"""What equal pictures get, in dB, so that means and differences stay numbers."""
LUMA = np.array([0.299, 0.587, 0.114])
WINDOW_SIDE, WINDOW_SIGMA = 11, 1.5
"""Gaussian window of SSIM, in pixels (Wang et al. 2004)."""
GRADIENT_CONSTANT = 170.0
"""The constant of GMSD for grey levels up to 255 (Xue et al. 2014)."""

Inside = npt.NDArray[np.bool_]
"""(H, W) bool: the pixels that count."""


@dataclass(frozen=True)
class Quality:
    """One picture compared with the true one.

    psnr, component_psnr: dB. ssim, component_ssim: at most 1. gmsd, component_gmsd: 0 for equal pictures, more is
    worse. Those with `component` look at the true boxes of eyes and mouth alone, the others at the whole crop.
    sharpness: energy of the gradients in those boxes over that of the true face; above 1: too much detail, or noise.
    similarity, distance: of the identity to the true face's, as the kit measures them; None without a kit.
    reference_similarity: of the identity to the nearest of the person's other crops; None without them or a kit.
    landmark_distance: mean distance of the 68 points found to those found on the true face, over the distance of the
    true outer eye corners; None without a kit.
    """

    psnr: float
    component_psnr: float
    ssim: float
    component_ssim: float
    gmsd: float
    component_gmsd: float
    sharpness: float
    similarity: float | None = None
    reference_similarity: float | None = None
    distance: float | None = None
    landmark_distance: float | None = None


METRICS = tuple(metric.name for metric in fields(Quality))
LESS_IS_BETTER = frozenset({"gmsd", "component_gmsd", "distance", "landmark_distance"})


@dataclass(frozen=True)
class Truth:
    """What is known of a true face, computed once.

    pixels: (512, 512, 3) uint8 RGB, what a perfect restoration would be. boxes: of its components. points: the 68
    points a kit finds on the crop that was degraded. embedding: (D,) float32 of the same kit. references: (N, D)
    embeddings of the person's other crops. The last three are None without a kit.
    """

    pixels: Pixels
    boxes: ComponentBoxes
    points: Points | None = None
    embedding: npt.NDArray[np.float32] | None = None
    references: npt.NDArray[np.float32] | None = None


def describe(crops: Pixels, kit: FaceKit) -> tuple[list[Landmarks], npt.NDArray[np.float32]]:
    """Landmarks and embeddings (N, D) of crops (N, 512, 512, 3) uint8 RGB."""
    landmarks = kit.landmarks(crops)
    return landmarks, kit.embed(crops, landmarks)


def measure(pictures: Sequence[Pixels], truth: Truth, kit: FaceKit | None = None) -> list[Quality]:
    """Compare pictures with the true face, all (512, 512, 3) uint8 RGB; with a kit, identity and landmarks too."""
    if kit is None or truth.points is None or truth.embedding is None or not pictures:
        return [_measure_pixels(picture, truth) for picture in pictures]
    landmarks, embeddings = describe(np.stack(pictures), kit)
    qualities = []
    for picture, found, embedding in zip(pictures, landmarks, embeddings.astype(np.float64), strict=True):
        quality = _measure_pixels(picture, truth)
        distance = float(np.linalg.norm(embedding - truth.embedding))
        nearest = None
        if truth.references is not None and len(truth.references):
            nearest = _similarity(float(np.linalg.norm(truth.references - embedding, axis=1).min()), kit)
        identity = {
            "similarity": _similarity(distance, kit),
            "reference_similarity": nearest,
            "distance": distance,
            "landmark_distance": landmark_distance(found.points, truth.points),
        }
        qualities.append(Quality(**{**vars(quality), **identity}))
    return qualities


def _measure_pixels(picture: Pixels, truth: Truth) -> Quality:
    pixels = truth.pixels
    inside = inside_boxes(truth.boxes, pixels.shape[:2])
    structure = ssim_map(picture, pixels)
    gradients = gradient_similarity(picture, pixels)
    edge = WINDOW_SIDE // 2
    return Quality(
        psnr=psnr(picture, pixels),
        component_psnr=psnr(picture[inside], pixels[inside]),
        ssim=float(structure.mean()),
        component_ssim=float(structure[inside[edge:-edge, edge:-edge]].mean()),
        gmsd=float(gradients.std()),
        component_gmsd=float(gradients[inside[::2, ::2][: len(gradients), : gradients.shape[1]]].std()),
        sharpness=_gradient_energy(picture, inside) / max(_gradient_energy(pixels, inside), 1e-6),
    )


def psnr(picture: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB of two uint8 arrays of one shape, over all their numbers; 100 where equal."""
    check_shape("picture", picture, truth.shape, np.uint8)
    check_shape("truth", truth, truth.shape, np.uint8)
    error = float(np.mean((picture.astype(np.float64) - truth) ** 2))
    return HIGHEST_PSNR if error == 0 else min(HIGHEST_PSNR, float(10 * np.log10(255**2 / error)))


def ssim(picture: Pixels, truth: Pixels) -> float:
    """Structural similarity of two (H, W, 3) uint8 pictures, at least 11 x 11: the mean over places and channels."""
    return float(ssim_map(picture, truth).mean())


def ssim_map(picture: Pixels, truth: Pixels) -> npt.NDArray[np.float64]:
    """Structural similarity (H - 10, W - 10, 3) around each pixel of two (H, W, 3) uint8 pictures, at least 11 x 11.

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
    return np.asarray(similar, dtype=np.float64)


def gmsd(picture: Pixels, truth: Pixels) -> float:
    """Gradient magnitude similarity deviation of two (H, W, 3) uint8 pictures: 0 where equal, more is worse."""
    return float(gradient_similarity(picture, truth).std())


def gradient_similarity(picture: Pixels, truth: Pixels) -> npt.NDArray[np.float64]:
    """Similarity (H // 2, W // 2) of the gradients' magnitudes of two (H, W, 3) uint8 pictures, at most 1.

    Xue, Zhang, Mou, Bovik (2014): luminance, halved by averaging two by two pixels, Prewitt gradients, constant 170.
    """
    check_shape("picture", picture, truth.shape, np.uint8)
    check_shape("truth", truth, (None, None, 3), np.uint8)
    one, other = _gradient_magnitude(picture), _gradient_magnitude(truth)
    return np.asarray((2 * one * other + GRADIENT_CONSTANT) / (one**2 + other**2 + GRADIENT_CONSTANT), dtype=np.float64)


def to_uint8(pixels: FloatPixels) -> Pixels:
    """(H, W, 3) float32 in [0, 1] to uint8, rounded."""
    return np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)


def inside_boxes(boxes: ComponentBoxes, size: tuple[int, ...]) -> Inside:
    """Which pixels of a picture of `size` (H, W) lie in any of the boxes (3, 4): (H, W) bool."""
    inside = np.zeros(size[:2], dtype=np.bool_)
    for x1, y1, x2, y2 in boxes:
        inside[y1:y2, x1:x2] = True
    return inside


def _window_mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    blurred = cv2.GaussianBlur(values, (WINDOW_SIDE, WINDOW_SIDE), WINDOW_SIGMA)
    edge = WINDOW_SIDE // 2
    return np.asarray(blurred[edge:-edge, edge:-edge], dtype=np.float64)


def _gradient_magnitude(pixels: Pixels) -> npt.NDArray[np.float64]:
    luma = pixels @ LUMA
    height, width = (side // 2 * 2 for side in luma.shape)
    half = luma[:height, :width].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
    slope, flat = np.array([1.0, 0.0, -1.0]) / 3, np.ones(3)
    # As the authors' own filter does, the outside of the picture counts as black.
    across = cv2.sepFilter2D(half, cv2.CV_64F, slope, flat, borderType=cv2.BORDER_CONSTANT)
    down = cv2.sepFilter2D(half, cv2.CV_64F, flat, slope, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(np.hypot(across, down), dtype=np.float64)


def _gradient_energy(pixels: Pixels, inside: Inside) -> float:
    luma = pixels @ LUMA
    across, down = np.diff(luma, axis=1)[:-1], np.diff(luma, axis=0)[:, :-1]
    return float((across**2 + down**2)[inside[:-1, :-1]].mean())


def _similarity(distance: float, kit: FaceKit) -> float:
    return float(kit.similarity(np.array([distance]))[0])
