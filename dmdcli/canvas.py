"""A photo's samples, as they are stored, seen and changed upright and in sRGB."""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np

from dmdcli.colour import AsStored, Colours
from dmdcli.errors import ShapeError
from dmdcli.formats.changed import Box, Changed
from dmdcli.formats.picture import Samples
from dmdcli.shapes import FloatPixels

LEAST_CHANGE = 0.25 / 65535
"""In sRGB from 0 to 1; less is rounding of floating point."""
Turned = TypeVar("Turned", Samples, FloatPixels)
BAND = 32
"""Rows that are written at a time, so that what is computed for them stays in the processor's cache."""


class Canvas:
    """A photo that regions are written into, in upright coordinates; what is not written to is not copied.

    changed: its samples, (H, W[, C]) as Photo.original; what is written to the file.
    """

    def __init__(self, original: Samples, orientation: int, colours: Colours, channels: int) -> None:
        """Start with a photo as it is.

        orientation: EXIF, 1..8. channels: of the samples, the first ones that are no transparency.
        """
        self.changed = Changed(original)
        self.orientation = orientation
        self.colours = colours
        self.channels = channels

    @property
    def stored(self) -> Samples:
        """All samples as they are now, (H, W[, C]) as Photo.original; put together each time."""
        return self.changed.samples

    def region(self, x0: int, y0: int, x1: int, y1: int) -> FloatPixels:
        """As Photo.region, of the changed photo."""
        part = self.changed.part(self._box(x0, y0, x1, y1))
        return self.colours.to_srgb(upright(colours_in(part, self.channels), self.orientation)).clip(0, 1)

    def put(self, x0: int, y0: int, region: FloatPixels) -> None:
        """Write (h, w, 3) float sRGB in [0, 1] (clipped) with its first pixel at x0, y0.

        Samples that look as wanted already stay the numbers they are. The others are converted to the photo's colour
        space, rounded to its depth, and turned to luminance where it is grey; transparency is left alone.
        ShapeError if the region does not lie inside or is not finite.
        """
        if region.ndim != 3 or region.shape[2] != 3 or not np.isfinite(region).all():
            raise ShapeError(f"a region must be (h, w, 3) and finite, got {region.shape} {region.dtype}")
        left, top, right, bottom = self._box(x0, y0, x0 + region.shape[1], y0 + region.shape[0])
        turned = as_stored(region, self.orientation)
        for first in range(top, bottom, BAND):
            box = (left, first, right, min(first + BAND, bottom))
            part = self.changed.part(box)
            seen = colours_in(part, self.channels)
            before = self.colours.to_srgb(seen)
            wanted = turned[box[1] - top : box[3] - top].clip(0, 1)
            self._change(seen, before, wanted - before.clip(0, 1))
            self.changed.write(box, part)

    def add(self, x0: int, y0: int, change: FloatPixels) -> None:
        """Add (h, w, 3) float32 sRGB in [-1, 1] to what is seen, with its first pixel at x0, y0; otherwise as `put`."""
        if change.ndim != 3 or change.shape[2] != 3 or not np.isfinite(change.sum()):
            raise ShapeError(f"a change must be (h, w, 3) and finite, got {change.shape} {change.dtype}")
        box = self._box(x0, y0, x0 + change.shape[1], y0 + change.shape[0])
        turned = as_stored(change, self.orientation)
        part = self.changed.part(box)
        seen = colours_in(part, self.channels)
        if isinstance(self.colours, AsStored) and seen.ndim == 3 and seen.dtype == np.uint8:  # in one pass
            both = np.ascontiguousarray(seen), np.ascontiguousarray(turned)
            seen[:] = cv2.addWeighted(both[0], 1, both[1], 255, 0, dtype=cv2.CV_8U)
        else:
            before = self.colours.to_srgb(seen)
            shown = before.clip(0, 1)
            wanted = shown + turned
            np.clip(wanted, 0, 1, out=wanted)
            wanted -= shown
            self._change(seen, before, wanted)
        self.changed.write(box, part)

    def _change(self, part: Samples, before: FloatPixels, change: FloatPixels) -> None:
        """Change samples that are seen as `before` where the change (h, w, 3) float32 can be seen; it is used up."""
        far = np.abs(change) > LEAST_CHANGE
        moved = far[..., 0] | far[..., 1] | far[..., 2]
        change += before
        where = moved if part.ndim == 2 else moved[..., np.newaxis]
        np.copyto(part, self.colours.from_srgb(change, part), where=where)

    def _box(self, x0: int, y0: int, x1: int, y1: int) -> Box:
        """A box of the upright photo where it is stored; ShapeError if it reaches outside."""
        return stored_box(self.changed.original, self.orientation, (x0, y0, x1, y1))


def upright(samples: Samples, orientation: int) -> Samples:
    """A view of stored samples (H, W[, C]) turned the way EXIF orientation 1..8 says they are to be seen."""
    samples = _mirrored(samples, orientation)
    return samples.swapaxes(0, 1) if orientation >= 5 else samples


def as_stored(seen: FloatPixels, orientation: int) -> FloatPixels:
    """A view of an upright picture (h, w, 3) turned the way it is stored: the inverse of `upright`."""
    return _mirrored(seen.swapaxes(0, 1) if orientation >= 5 else seen, orientation)


def colours_in(samples: Samples, channels: int) -> Samples:
    """A view of samples without their transparency: (h, w), or (h, w, channels)."""
    if samples.ndim == 2 or samples.shape[2] == channels:
        return samples
    return samples[..., 0] if channels == 1 else samples[..., :channels]


def stored_box(stored: Samples, orientation: int, box: Box) -> Box:
    """A box of the upright photo where it is stored; ShapeError if it reaches outside."""
    height, width = stored.shape[:2]
    x0, y0, x1, y1 = box
    across, down = (height, width) if orientation >= 5 else (width, height)
    if not (0 <= x0 <= x1 <= across and 0 <= y0 <= y1 <= down):
        raise ShapeError(f"the box {box} is not inside the photo of {across} x {down} pixels")
    if orientation >= 5:
        x0, y0, x1, y1 = y0, x0, y1, x1
    if orientation in (3, 4, 6, 7):
        y0, y1 = height - y1, height - y0
    if orientation in (2, 3, 7, 8):
        x0, x1 = width - x1, width - x0
    return x0, y0, x1, y1


def _mirrored(samples: Turned, orientation: int) -> Turned:
    if orientation in (3, 4, 6, 7):
        samples = samples[::-1]
    return samples[:, ::-1] if orientation in (2, 3, 7, 8) else samples
