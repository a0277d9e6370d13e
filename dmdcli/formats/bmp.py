"""BMP: where the samples stand uncompressed in the file they are changed in place; other kinds are written anew."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile

from dmdcli.formats.changed import Changed
from dmdcli.formats.location import strip_location
from dmdcli.formats.picture import (
    BROKEN,
    METRES_PER_INCH,
    TRUNCATED_REASON,
    Metadata,
    Picture,
    Samples,
    Unreadable,
    check_size,
    eight_bit,
    samples_of,
    without_alpha,
)

HEADER_BYTES = 54
"""The least before the samples; less only in damaged files."""
UNCOMPRESSED, BIT_FIELDS = 0, 3
WHOLE_BYTES = {0xFF: 0, 0xFF00: 1, 0xFF0000: 2, 0xFF000000: 3}
"""Colour mask -> which byte of the pixel it is."""


@dataclass(frozen=True)
class Header:
    """offset: first byte of the samples; upside_down: the last row comes first, as in nearly all files."""

    offset: int
    width: int
    height: int
    upside_down: bool
    bits: int
    compression: int
    density: tuple[float, float] | None
    masks: tuple[int, ...]


def read_header(source: bytes) -> Header:
    """The header of any BMP since Windows 3; older OS/2 headers have only a size."""
    try:
        offset, size = struct.unpack_from("<II", source, 10)
        if size < 40:
            width, height, bits = struct.unpack_from("<HH2xH", source, 18)
            check_size(width, height)
            return Header(offset, width, height, True, bits, UNCOMPRESSED, None, ())
        width, height, bits, compression, across, down = struct.unpack_from("<ii2xHI4xii", source, 18)
        check_size(width, abs(height))
        masks = struct.unpack_from("<4I" if size >= 56 else "<3I", source, 54) if compression == BIT_FIELDS else ()
    except struct.error as error:
        raise Unreadable(TRUNCATED_REASON) from error
    density = (across * METRES_PER_INCH, down * METRES_PER_INCH) if across > 0 and down > 0 else None
    return Header(offset, width, abs(height), height > 0, bits, compression, density, tuple(m for m in masks if m))


def read(source: bytes) -> Picture:
    """Grey or RGB with or without alpha, uint8."""
    read_header(source)
    try:
        return Picture(samples_of(BmpImageFile(io.BytesIO(source))))
    except BROKEN as error:
        reason = TRUNCATED_REASON if "truncated" in str(error) else "is a damaged BMP file"
        raise Unreadable(reason) from error


def metadata(source: bytes) -> Metadata:
    """The density: BMP holds nothing else that other formats know."""
    return Metadata(density=read_header(source).density)


def rewrite(source: bytes, changed: Changed, _quality: int | None = None) -> bytes:
    """The file with changed samples, in place if they stand there as whole bytes, else as a new BMP."""
    header = read_header(source)
    order = _byte_order(header) if header.offset >= HEADER_BYTES else None
    stored = changed.samples
    channels = 1 if stored.ndim == 2 else stored.shape[2]
    if order is None or len(order) != channels or (header.bits == 8 and not _is_grey_ramp(source, header)):
        return write(stored, metadata(source))
    content = bytearray(source)
    places = _places(np.frombuffer(content, np.uint8), header)
    samples = eight_bit(stored).reshape(header.height, header.width, channels)
    for channel, byte in enumerate(order):
        places[..., byte] = samples[..., channel]
    return bytes(content)


def without_location(source: bytes) -> bytes:
    """The file without GPS in its EXIF and XMP."""
    return strip_location(source)


def write(stored: Samples, metadata: Metadata, _quality: int | None = None) -> bytes:
    """A new BMP of 8 or 24 bits per pixel. It has no place for EXIF, XMP or ICC."""
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(eight_bit(without_alpha(stored, "BMP"))))
    image.save(buffer, "BMP", dpi=metadata.density or (96, 96))
    return buffer.getvalue()


def _byte_order(header: Header) -> tuple[int, ...] | None:
    """Which byte of a pixel holds each channel, or None where samples are not whole, uncompressed bytes."""
    if header.bits == 32 and header.compression == BIT_FIELDS and set(header.masks) <= set(WHOLE_BYTES):
        return tuple(WHOLE_BYTES[mask] for mask in header.masks)
    if header.compression != UNCOMPRESSED:
        return None
    return {8: (0,), 24: (2, 1, 0), 32: (2, 1, 0)}.get(header.bits)


def _is_grey_ramp(source: bytes, header: Header) -> bool:
    """Whether the palette of an 8-bit file gives every index its own grey, so that indices are samples."""
    palette = np.frombuffer(source[header.offset - 1024 : header.offset], np.uint8)
    return len(palette) == 1024 and bool((palette.reshape(256, 4)[:, :3] == np.arange(256)[:, np.newaxis]).all())


def _places(content: npt.NDArray[np.uint8], header: Header) -> npt.NDArray[np.uint8]:
    """(H, W, bytes per pixel) view of the samples inside the file, top row first."""
    size = header.bits // 8
    stride = (header.width * size + 3) // 4 * 4
    rows = content[header.offset : header.offset + stride * header.height].reshape(header.height, stride)
    view = rows[:, : header.width * size].reshape(header.height, header.width, size)
    if not np.shares_memory(view, content):
        raise AssertionError("the rows of a BMP must be changed in place")
    return view[::-1] if header.upside_down else view
