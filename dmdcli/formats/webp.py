"""WebP: lossless files stay lossless, others are written at high quality; EXIF, XMP and ICC are kept."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image
from PIL.WebPImagePlugin import WebPImageFile

from dmdcli.formats.picture import (
    BROKEN,
    TRUNCATED_REASON,
    Metadata,
    Picture,
    Samples,
    Unreadable,
    check_size,
    eight_bit,
    orientation_of,
    samples_of,
)

LOSSY_QUALITY = 95
"""A lossy file does not say how it was made, so what is written again is written with next to no further loss."""


def read(source: bytes) -> Picture:
    """RGB with or without alpha, uint8, in stored orientation."""
    chunks = _chunks(source)
    check_size(*_size(chunks))
    if "ANIM" in chunks:
        raise Unreadable("is an animation, not a photo")
    try:
        samples = samples_of(WebPImageFile(io.BytesIO(source)))
    except BROKEN as error:
        raise Unreadable("is a damaged WebP file") from error
    return Picture(samples, orientation_of(metadata(source).exif))


def metadata(source: bytes) -> Metadata:
    """EXIF, XMP and ICC of a WebP that could be read."""
    chunks = _chunks(source)
    exif = chunks.get("EXIF")
    return Metadata(exif and exif.removeprefix(b"Exif\0\0"), chunks.get("XMP "), chunks.get("ICCP"))


def rewrite(source: bytes, _original: Samples, stored: Samples, quality: int | None = None) -> bytes:
    """The file with changed samples: lossless stays lossless, else `quality` 1..100 or LOSSY_QUALITY."""
    return _encode(stored, metadata(source), "VP8L" in _chunks(source), quality)


def write(stored: Samples, metadata: Metadata, quality: int | None = None) -> bytes:
    """A new WebP: lossless unless a quality is asked for. WebP has 8 bits and no grey."""
    return _encode(stored, metadata, quality is None, quality)


def _encode(stored: Samples, metadata: Metadata, lossless: bool, quality: int | None) -> bytes:
    samples = eight_bit(stored)
    if samples.ndim == 2:
        samples = np.repeat(samples[..., np.newaxis], 3, axis=2)
    elif samples.shape[2] == 2:
        samples = np.ascontiguousarray(samples[..., [0, 0, 0, 1]])
    profile = metadata.icc or b""
    buffer = io.BytesIO()
    Image.fromarray(samples).save(
        buffer,
        "WEBP",
        lossless=lossless,
        exact=True,
        quality=75 if lossless else quality or LOSSY_QUALITY,
        alpha_quality=100,
        icc_profile=b"" if profile[16:20] == b"GRAY" else profile,
        exif=metadata.exif or b"",
        xmp=metadata.xmp or b"",
    )
    return buffer.getvalue()


def _chunks(source: bytes) -> dict[str, bytes]:
    """The first chunk of every name."""
    found: dict[str, bytes] = {}
    position = 12
    while position + 8 <= len(source):
        name, length = struct.unpack_from("<4sI", source, position)
        if position + 8 + length > len(source):
            raise Unreadable(TRUNCATED_REASON)
        found.setdefault(name.decode("latin-1"), source[position + 8 : position + 8 + length])
        position += 8 + length + length % 2
    return found


def _size(chunks: dict[str, bytes]) -> tuple[int, int]:
    try:
        if "VP8X" in chunks:
            low_across, high_across, low_down, high_down = struct.unpack_from("<4xHBHB", chunks["VP8X"])
            return low_across + (high_across << 16) + 1, low_down + (high_down << 16) + 1
        if "VP8L" in chunks:
            (bits,) = struct.unpack_from("<xI", chunks["VP8L"])
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        if "VP8 " in chunks:
            across, down = struct.unpack_from("<6xHH", chunks["VP8 "])
            return across & 0x3FFF, down & 0x3FFF
    except struct.error as error:
        raise Unreadable(TRUNCATED_REASON) from error
    raise Unreadable("is a damaged WebP file")
