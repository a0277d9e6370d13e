"""The numbers and array shapes that several parts must agree on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from dmdcli.errors import ShapeError

CROP = 512
"""Side of an aligned face crop, in pixels (FFHQ-512 convention)."""

COMPONENTS = ("left_eye", "right_eye", "mouth")
"""Order of the component boxes everywhere; left and right as seen in the picture."""

Pixels: TypeAlias = npt.NDArray[np.uint8]
"""(H, W, 3) uint8 RGB, upright."""
FloatPixels: TypeAlias = npt.NDArray[np.float32]
"""(H, W, 3) float32 RGB in [0, 1]."""
Points: TypeAlias = npt.NDArray[np.float32]
"""(N, 2) float32 x, y; the centre of the first pixel is (0, 0)."""
Matrix: TypeAlias = npt.NDArray[np.float32]
"""(2, 3) float32 similarity transform from photo pixels to crop pixels."""
Box: TypeAlias = tuple[float, float, float, float]
"""x0, y0, x1, y1 in photo pixels, end excluded."""
ComponentBoxes: TypeAlias = npt.NDArray[np.int64]
"""(3, 4) int64 x1, y1, x2, y2 in crop pixels, rows in the order of COMPONENTS."""
Embedding: TypeAlias = npt.NDArray[np.float32]
"""(N,) float32 as the kit gives it; only embeddings of the same kit may be compared."""

SAME_FACE = 0.3
"""Overlap from which two boxes mean one face. Boxes of different finders around one face overlap by more, and those of
neighbouring faces, side by side, by less."""


def rounded(box: Box) -> Box:
    """A box to hundredths of a pixel, as it is kept, so that it is the same one whichever way it comes."""
    x0, y0, x1, y1 = (round(float(edge), 2) for edge in box)
    return x0, y0, x1, y1


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes in any one unit, in [0, 1]."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    sizes = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return both / (sum(sizes) - both)


def pair(ones: Sequence[Box], others: Sequence[Box]) -> dict[int, int]:
    """Places in `ones` -> places in `others` of the boxes around the same faces.

    Those that overlap most come first, and no box is taken twice; of two that overlap one box alike, the later has it.
    """
    found: dict[int, int] = {}
    overlaps = (
        (overlap(one, other), first, second) for first, one in enumerate(ones) for second, other in enumerate(others)
    )
    for shared, first, second in sorted(overlaps, reverse=True):
        if shared >= SAME_FACE and first not in found and second not in found.values():
            found[first] = second
    return found


def turn_box(box: Box, orientation: int, size: tuple[float, float]) -> Box:
    """A box of a picture as it is stored, `size` its width and height in the unit of the box, in the picture as seen.

    orientation: EXIF, 1..8, as stored samples are turned to be seen.
    """
    width, height = size
    x0, y0, x1, y1 = box
    if orientation in (3, 4, 6, 7):
        y0, y1 = height - y1, height - y0
    if orientation in (2, 3, 7, 8):
        x0, x1 = width - x1, width - x0
    return (y0, x0, y1, x1) if orientation >= 5 else (x0, y0, x1, y1)


def as_floats(pixels: Pixels) -> FloatPixels:
    """Return uint8 pixels as float32 in [0, 1]."""
    floats: FloatPixels = pixels / np.float32(255)
    return floats


def check_shape(name: str, array: npt.NDArray[np.generic], shape: tuple[int | None, ...], dtype: npt.DTypeLike) -> None:
    """Raise ShapeError unless `array` has `shape` (None matches any length) and `dtype`."""
    right = array.ndim == len(shape) and all(
        want is None or want == got for want, got in zip(shape, array.shape, strict=True)
    )
    if not right or array.dtype != np.dtype(dtype):
        raise ShapeError(f"{name}: wanted {shape} {np.dtype(dtype)}, got {array.shape} {array.dtype}")
