"""Variations of one aligned crop: mirrored, recoloured, moved a little; its landmarks move along."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from dmdcli.shapes import CROP, Pixels, Points

ColourMatrix = npt.NDArray[np.float32]
"""(3, 4) float32: new RGB = matrix[:, :3] @ RGB + matrix[:, 3], grey levels of 255."""


def _mirrored_points() -> npt.NDArray[np.int64]:
    order = np.arange(68)
    order[0:17] = np.arange(16, -1, -1)  # jaw
    order[17:27] = np.arange(26, 16, -1)  # brows
    order[31:36] = np.arange(35, 30, -1)  # base of the nose
    order[36:48] = (45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40)  # eyes
    order[48:60] = (54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55)  # outer lips
    order[60:68] = (64, 63, 62, 61, 60, 67, 66, 65)  # inner lips
    return order


MIRRORED = _mirrored_points()
"""(68,) int64: the mirror image's point i is the picture's point MIRRORED[i] (iBUG order)."""

JITTERED_PARTS = (
    np.r_[17:22, 36:42],
    np.r_[22:27, 42:48],
    np.r_[48:68],
)
"""The points that place the box of each component, in the order of COMPONENTS: brow and eye, brow and eye, mouth."""

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_SEPIA = np.array([1.12, 1.0, 0.78], dtype=np.float32)
"""Gains of red, green and blue in a strongly toned print, before they are brought back to the luma they had."""


@dataclass(frozen=True)
class Variation:
    """The largest change of each kind, drawn uniformly up to it in both directions.

    colour: share by which brightness, contrast and saturation change. grey: share of pictures made grey, half of them
    toned like an old print. rotation: degrees. scale: share. shift: share of the crop's side. blur: sigma in pixels.
    mirror: share of pictures mirrored.
    """

    colour: float = 0.0
    grey: float = 0.0
    rotation: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    blur: float = 0.0
    mirror: float = 0.0


def mirror(pixels: Pixels, points: Points) -> tuple[Pixels, Points]:
    """The mirror image of a crop, and its points numbered as iBUG numbers them there (left and right change places).

    pixels: (H, W, 3) uint8. points: (68, 2) float32 in its pixels. Done twice it gives back what it was given.
    """
    mirrored = points[MIRRORED].copy()
    mirrored[:, 0] = pixels.shape[1] - 1 - mirrored[:, 0]
    return cv2.flip(pixels, 1).astype(np.uint8, copy=False), mirrored


def draw_colour(variation: Variation, generator: np.random.Generator) -> tuple[ColourMatrix, bool]:
    """Draw a change of colours; returns it as a matrix, and whether it makes the picture grey (toned or not)."""
    brightness, contrast, saturation = generator.uniform(-variation.colour, variation.colour, 3)
    toned, tone = generator.random(), generator.uniform(0.2, 1.0)
    grey = bool(generator.random() < variation.grey)
    matrix = np.eye(3, dtype=np.float32)
    if grey:
        tint = 1 + (_SEPIA - 1) * np.float32(tone if toned < 0.5 else 0)
        matrix = np.outer(tint / (tint @ _LUMA), _LUMA).astype(np.float32)
    else:
        matrix = (1 + saturation) * matrix - saturation * np.tile(_LUMA, (3, 1))
    offset = 128 * (brightness - contrast)
    return np.column_stack([(1 + contrast) * matrix, np.full(3, offset)]).astype(np.float32), grey


def recolour(pixels: Pixels, matrix: ColourMatrix) -> Pixels:
    """Apply a change of colours: (H, W, 3) uint8 RGB in and out, cut at 0 and 255."""
    return np.asarray(cv2.transform(pixels, matrix), dtype=np.uint8)


def vary(pixels: Pixels, points: Points, variation: Variation, generator: np.random.Generator) -> tuple[Pixels, Points]:
    """One variation of a crop: mirrored or not, moved, blurred and recoloured; gaps at the edge reflect the picture.

    pixels: (512, 512, 3) uint8 RGB. points: (68, 2) float32 crop pixels. Returns the same kinds.
    """
    if generator.random() < variation.mirror:
        pixels, points = mirror(pixels, points)
    angle = generator.uniform(-variation.rotation, variation.rotation)
    scale = 1 + generator.uniform(-variation.scale, variation.scale)
    shift = generator.uniform(-variation.shift, variation.shift, 2) * CROP
    sigma = generator.uniform(0, variation.blur)
    colours, _ = draw_colour(variation, generator)
    if variation.rotation or variation.scale or variation.shift:
        centre = (CROP - 1) / 2
        matrix = cv2.getRotationMatrix2D((centre, centre), float(angle), float(scale))
        matrix[:, 2] += shift
        moved = cv2.warpAffine(pixels, matrix, (CROP, CROP), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
        pixels = np.asarray(moved, dtype=np.uint8)
        points = (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    if sigma > 0.3:
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), float(sigma)), dtype=np.uint8)
    return recolour(pixels, colours), points


def jitter_points(points: Points, generator: np.random.Generator) -> Points:
    """Landmarks as a predictor gives them on a bad picture: each component shifted and scaled on its own.

    The shift is normal with a standard deviation of 2 to 4 pixels, the scale uniform within 8 %.
    points: (68, 2) float32 crop pixels; returns a new array of the same kind.
    """
    moved = points.astype(np.float32)
    for part in JITTERED_PARTS:
        shift = generator.normal(0, generator.uniform(2, 4), 2)
        scale = generator.uniform(0.92, 1.08)
        centre = moved[part].mean(axis=0)
        moved[part] = (moved[part] - centre) * np.float32(scale) + centre + shift.astype(np.float32)
    return moved
