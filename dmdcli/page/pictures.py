"""Pictures for the page: parts of photos, small faces, and the few decoded photos that are kept at hand."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from pathlib import Path

import cv2
import numpy as np

from dmdcli.errors import PhotoError, UsageError
from dmdcli.journal import Stamp, stamp_of
from dmdcli.photos import read_photo
from dmdcli.shapes import Box, Pixels

THUMBNAIL = 96
"""Side in pixels of a face in the list."""
WIDEST = 4096
"""Pixels that a view has at most from left to right."""
QUALITY = 88
"""JPEG quality of views and thumbnails."""
AT_HAND = 3
"""Decoded photos that are kept: one of 12 megapixels takes 36 MB."""


class Shelf:
    """The photos that were looked at last, decoded; for several threads. cure: what to do where one is gone."""

    def __init__(self, cure: str) -> None:
        self._cure = cure
        self._photos: OrderedDict[tuple[Path, str], tuple[Stamp, Pixels]] = OrderedDict()
        self._lock = threading.Lock()

    def pixels(self, path: Path, digest: str) -> Pixels:
        """The upright pixels (H, W, 3) uint8 sRGB of the photo whose bytes have this SHA-256.

        One that was renamed meanwhile is served as long as it is at hand. UsageError where it is gone, or is another by
        now.
        """
        with self._lock:
            known = self._photos.get((path, digest))
            if known is not None:
                self._photos.move_to_end((path, digest))
        try:
            stamp = stamp_of(path)
        except OSError as error:
            if known is not None:
                return known[1]
            raise UsageError(f"{path} is not there any more ({error.strerror}). {self._cure}") from error
        if known is not None and known[0] == stamp:
            return known[1]
        try:
            photo = read_photo(path)
        except PhotoError as error:
            raise UsageError(f"{error}. {self._cure}") from error
        if hashlib.sha256(photo.source).hexdigest() != digest:
            raise UsageError(f"{path} is not what it was when its faces were found; start the command again.")
        with self._lock:
            self._photos[path, digest] = (stamp, photo.pixels)
            while len(self._photos) > AT_HAND:
                self._photos.popitem(last=False)
        return photo.pixels


def jpeg(pixels: Pixels) -> bytes:
    """A picture (H, W, 3) uint8 RGB as JPEG."""
    _, encoded = cv2.imencode(".jpg", pixels[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
    return encoded.tobytes()


def thumbnail(crop: Pixels) -> bytes:
    """A square picture as a JPEG of THUMBNAIL x THUMBNAIL pixels."""
    return jpeg(np.asarray(cv2.resize(crop, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA), dtype=np.uint8))


def middle_square(pixels: Pixels) -> Pixels:
    """The largest square in the middle of a picture."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]


def view_of(pixels: Pixels, region: Box | None, width: int) -> bytes:
    """A JPEG of a part of a picture, at most `width` pixels wide; UsageError for a part that is not in it."""
    height_all, width_all = pixels.shape[:2]
    if region is not None:
        x0, y0 = max(int(region[0]), 0), max(int(region[1]), 0)
        x1, y1 = min(int(np.ceil(region[2])), width_all), min(int(np.ceil(region[3])), height_all)
        if x0 >= x1 or y0 >= y1:
            raise UsageError("That part lies outside of the picture.")
        pixels = pixels[y0:y1, x0:x1]
    scale = max(1, min(width, WIDEST)) / pixels.shape[1]
    if scale < 1:
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return jpeg(pixels)
