"""Whether an edge shows where a restored face meets its photo.

Looked at is the step of tone across the outline of the blend mask: along lines parallel to the outline, in parts of
the way round, the mean of the strip inside against that of the strip outside. A photograph's own contents make such
steps too, and hide others beside them. So the step that blending added is taken relative to those the original has at
the same place (`added_edges`), and held against how much neighbouring steps of unrestored photographs differ, relative
to each other in the same way (`own_edges`).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from dmdcli.shapes import FloatPixels

VISIBLE = 1.3
"""Added step, over the steps around it, from which there is an edge. Around 102 faces in unrestored photographs 90 % of
all steps differ from their neighbours by less than 1.34 (`benchmarks/seams.py`)."""
STRIP = 6.0
"""Width of a strip in crop pixels; a sharpened contour that happens to run along the outline stays within two."""
LEAST_STRIP = 1.5
"""Width of a strip in photo pixels, at least."""
STRIPS = 4
"""Strips on each side of the outline: the mask's feather is 44 crop pixels wide."""
SECTORS = 16
"""Parts of the way round the outline."""
FEWEST_PIXELS = 6
"""Photo pixels that a part of a strip must have to have a say."""
SEEN = 1.0 / 255
"""Root mean square over the channels of a step that nobody sees anywhere."""

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Outline:
    """The strips along a mask's outline, as `outline_of` lays them.

    cell: (H, W) int64, the part of a strip that each photo pixel belongs to, -1 for none. enough: (2 * STRIPS, SECTORS)
    bool, which of them have FEWEST_PIXELS.
    """

    cell: npt.NDArray[np.int64]
    enough: npt.NDArray[np.bool_]


def outline_of(weight: npt.NDArray[np.float32], scale: float) -> Outline | None:
    """The strips along the line where a mask is a half, or None where there is no such line.

    weight: (H, W) float32 in [0, 1], the mask in photo pixels (`align.photo_mask`). scale: crop pixels to a photo
    pixel.
    """
    inside = weight > 0.5
    if inside.all() or not inside.any():
        return None
    distance = _distance(inside) - _distance(~inside)
    strip = np.floor(distance / max(STRIP / scale, LEAST_STRIP)).astype(np.int64) + STRIPS
    rows, columns = np.nonzero(inside)
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]]
    turn = np.arctan2(y - rows.mean(), x - columns.mean()) / (2 * np.pi) + 0.5
    sector = np.minimum(np.floor(turn * SECTORS).astype(np.int64), SECTORS - 1)
    cell = np.where((strip >= 0) & (strip < 2 * STRIPS), strip * SECTORS + sector, -1)
    count = np.bincount(cell[cell >= 0], minlength=2 * STRIPS * SECTORS)
    return Outline(cell, count.reshape(2 * STRIPS, SECTORS) >= FEWEST_PIXELS)


def added_edges(before: FloatPixels, after: FloatPixels, outline: Outline) -> Values:
    """The steps that blending added, over those of the original around each, (N,); from VISIBLE on one is seen.

    before, after: (H, W, 3) float32 in [0, 1], the part of the photo that `outline` lies in.
    """
    own = _steps(before, outline)
    added = _size((_steps(after, outline) - own)[1:-1])
    around = np.sqrt(np.mean([np.square(_size(steps)) for steps in (own[:-2], own[1:-1], own[2:])], axis=0))
    return np.asarray((added / (SEEN + around))[_triples(outline)])


def own_edges(before: FloatPixels, outline: Outline) -> Values:
    """By how much the steps of an unrestored photo depart from those beside them, over the size of these, (N,)."""
    own = _steps(before, outline)
    departure = _size(own[1:-1] - (own[:-2] + own[2:]) / 2)
    around = np.sqrt((np.square(_size(own[:-2])) + np.square(_size(own[2:]))) / 2)
    return np.asarray((departure / (SEEN + around))[_triples(outline)])


def rim_change(before: FloatPixels, after: FloatPixels, outline: Outline) -> float:
    """By how much, of 1, the mean colour around the outline changed where it did most, all strips of a part together.

    A sharpened contour changes strips of their own, but not the mean over all of them.
    """
    change = np.where(outline.enough[..., None], _means(after, outline) - _means(before, outline), 0).sum(axis=0)
    return float(_size(change / np.maximum(outline.enough.sum(axis=0), 1)[:, None]).max())


def _distance(inside: npt.NDArray[np.bool_]) -> Values:
    """Distance of the pixels inside to the border, which runs between pixels; 0 outside."""
    distance = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.where(inside, distance.astype(np.float64) - 0.5, 0)


def _means(pixels: FloatPixels, outline: Outline) -> Values:
    """The mean colour of each part of each strip: (2 * STRIPS, SECTORS, 3)."""
    seen = outline.cell >= 0
    cell, length = outline.cell[seen], outline.enough.size
    count = np.maximum(np.bincount(cell, minlength=length), 1)
    sums = [np.bincount(cell, weights=pixels[..., channel][seen], minlength=length) for channel in range(3)]
    return np.stack([one / count for one in sums], axis=1).reshape(*outline.enough.shape, 3)


def _steps(pixels: FloatPixels, outline: Outline) -> Values:
    """The step from each strip to the next one, inwards: (2 * STRIPS - 1, SECTORS, 3)."""
    return np.diff(_means(pixels, outline), axis=0)


def _size(steps: Values) -> Values:
    return np.asarray(np.sqrt(np.square(steps).mean(axis=-1)))


def _triples(outline: Outline) -> npt.NDArray[np.bool_]:
    """Which steps, but the first and the last, have pixels enough in all strips that they and their neighbours need."""
    enough = outline.enough
    return np.asarray(enough[:-3] & enough[1:-2] & enough[2:-1] & enough[3:])
