"""Small copies of the picture inside its metadata, drawn again from the changed picture so that they show it too.

Every one is written over the old one, at its size and in no more bytes, so that nothing else in the metadata moves.
"""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageFilter

from dmdcli.formats.changed import Changed
from dmdcli.formats.picture import BROKEN, Samples, Unreadable, eight_bit, mode_of
from dmdcli.formats.tiff_directory import Directory, read_directory
from dmdcli.formats.tiff_strips import encode, read_layout

QUALITIES = (90, 80, 70, 60, 50, 40, 30, 20, 10)
LARGEST = 1 << 20
"""Pixels; more is no thumbnail."""
JPEG_OFFSET, JPEG_LENGTH = 513, 514
END_OF_JPEG = b"\xff\xd9"
BROKEN_BLOCK = (Unreadable, *BROKEN)
RESOURCE, THUMBNAIL_RESOURCE, RESOURCE_HEADER = b"8BIM", 1036, 28


Drawn: TypeAlias = Callable[[], Image.Image]
"""Gives the picture that thumbnails show: few photos have any, and drawing it takes as much memory as the photo."""


def shown(changed: Changed, inks: bool = False) -> Drawn:
    """What draws a changed picture once it is asked for, and only once."""
    return functools.cache(lambda: drawn(changed.samples, inks))


def drawn(stored: Samples, inks: bool = False) -> Image.Image:
    """Grey or RGB at 8 bits, without transparency, in stored orientation, for drawing thumbnails."""
    samples = np.ascontiguousarray(eight_bit(stored))
    if inks:
        return Image.frombytes("CMYK", samples.shape[1::-1], samples.tobytes()).convert("RGB")
    mode = mode_of(samples)
    if mode.endswith("A"):
        samples = np.ascontiguousarray(samples[..., 0] if mode == "LA" else samples[..., :3])
    return Image.fromarray(samples)


def renew_exif(exif: bytes, picture: Drawn) -> bytes:
    """An EXIF block of the same length with its thumbnail drawn again; as it was where it has none that can be read."""
    try:
        following = read_directory(exif).following
        if not following:
            return exif
        content = bytearray(exif)
        renew_page(content, read_directory(exif, following), picture)
    except BROKEN_BLOCK:
        return exif
    return bytes(content)


def renew_page(content: bytearray, page: Directory, picture: Drawn) -> None:
    """Draw a small page of a TIFF structure again, in place; left alone where it does not fit or is of an odd kind."""
    source = bytes(content)
    start, room = page.value(source, JPEG_OFFSET, 0), page.value(source, JPEG_LENGTH, 0)
    if start and room:
        old = source[start : start + room]
        old = old[: old.rfind(END_OF_JPEG) + len(END_OF_JPEG)]
        drawn = _redraw(old, picture)
        if drawn is not None:
            content[start : start + len(old)] = drawn.ljust(len(old), b"\0")
        return
    layout = read_layout(source, page)
    if layout is None or layout.width * layout.height > LARGEST:
        return
    small = _fitted(picture().convert("L" if layout.channels < 3 else "RGB"), (layout.width, layout.height))
    samples = np.asarray(small).astype(layout.dtype.newbyteorder("=")) * (257 if layout.depth == 2 else 1)
    if layout.channels not in (1, 3):
        return
    coded = [encode(place.cut(samples), layout) for place in layout.places()]
    inside = all(offset + length <= len(source) for offset, length in zip(layout.offsets, layout.lengths, strict=True))
    if inside and all(len(part) <= length for part, length in zip(coded, layout.lengths, strict=True)):
        for part, offset, length in zip(coded, layout.offsets, layout.lengths, strict=True):
            content[offset : offset + length] = part.ljust(length, b"\0")


def renew_photoshop(blocks: bytes, picture: Drawn) -> bytes:
    """Photoshop's image resource blocks, of the same length, with their thumbnail drawn again."""
    content, position = bytearray(blocks), 0
    while blocks[position : position + 4] == RESOURCE and position + 12 <= len(blocks):
        (number, name_length) = struct.unpack_from(">HB", blocks, position + 4)
        start = position + 6 + (name_length + 2) // 2 * 2 + 4
        (size,) = struct.unpack_from(">I", blocks.ljust(start, b"\0"), start - 4)
        if number == THUMBNAIL_RESOURCE and RESOURCE_HEADER < size <= len(blocks) - start:
            first = start + RESOURCE_HEADER
            drawn = _redraw(blocks[first : start + size], picture)
            if drawn is not None:
                content[first : start + size] = drawn.ljust(size - RESOURCE_HEADER, b"\0")
                struct.pack_into(">I", content, start + 20, len(drawn))
        position = start + size + size % 2
    return bytes(content)


def renew_jfif(payload: bytes, picture: Drawn) -> bytes:
    """A JFIF or JFXX segment's payload, of the same length, with its thumbnail drawn again."""
    kind = payload[5:6]
    if payload.startswith(b"JFXX\0") and kind == b"\x10":
        drawn = _redraw(payload[6:], picture)
        return payload if drawn is None else payload[:6] + drawn.ljust(len(payload) - 6, b"\0")
    place = {b"JFIF\0": 12, b"JFXX\0": 6}.get(payload[:5])
    if place is None or (payload.startswith(b"JFXX\0") and kind != b"\x13") or len(payload) < place + 2:
        return payload
    width, height = payload[place], payload[place + 1]
    end = place + 2 + 3 * width * height
    if not width or not height or end > len(payload):
        return payload
    return payload[: place + 2] + _fitted(picture().convert("RGB"), (width, height)).tobytes() + payload[end:]


def _redraw(old: bytes, picture: Drawn) -> bytes | None:
    """The picture as a JPEG of the size of `old`, in no more bytes; None if `old` is no JPEG of a thumbnail."""
    try:
        with Image.open(io.BytesIO(old), formats=("JPEG",)) as thumbnail:
            size = thumbnail.size
    except BROKEN:
        return None
    if size[0] * size[1] > LARGEST:
        return None
    small = _fitted(picture().convert("RGB"), size)
    for image, quality in [
        *((small, quality) for quality in QUALITIES),
        (small.filter(ImageFilter.GaussianBlur(3)), 5),
    ]:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= len(old):
            return buffer.getvalue()
    return None


def _fitted(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The whole picture at `size`, with black bars where shapes differ, as cameras make thumbnails."""
    scale = min(size[0] / picture.width, size[1] / picture.height)
    inner = (round(picture.width * scale), round(picture.height * scale))
    if max(size[0] - inner[0], size[1] - inner[1]) <= 1:
        inner = size
    fitted = Image.new(picture.mode, size)
    small = picture.resize((max(inner[0], 1), max(inner[1], 1)), Image.Resampling.BOX)
    fitted.paste(small, ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
    return fitted
