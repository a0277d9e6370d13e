"""WebP: lossless files stay lossless, others are written at high quality; EXIF, XMP and ICC are kept."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image
from PIL.WebPImagePlugin import WebPImageFile

from dmdcli.formats.changed import Changed
from dmdcli.formats.location import strip_location
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
from dmdcli.formats.thumbnails import renew_exif, shown

LOSSY_QUALITY = 95
"""A lossy file does not say how it was made, so what is written again is written with next to no further loss."""

CODING = ("VP8 ", "VP8L", "ALPH")
PREFIX = b"Exif\0\0"
ALPHA_FLAG, XMP_FLAG = 0x10, 0x04


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
    return Metadata(exif and exif.removeprefix(PREFIX), chunks.get("XMP "), chunks.get("ICCP"))


def rewrite(source: bytes, changed: Changed, quality: int | None = None) -> bytes:
    """The file with changed samples: lossless stays lossless, else `quality` 1..100 or LOSSY_QUALITY.

    All chunks that do not code the picture stay byte for byte, but for the thumbnail in EXIF, which is drawn again.
    """
    chunks = _chunks(source)
    stored = changed.samples
    coded = _encode(stored, Metadata(), "VP8L" in chunks, quality)
    if "VP8X" not in chunks:
        return coded
    picture = [(name, body) for name, body in _all_chunks(coded) if name in CODING]
    has_alpha = "ALPH" in dict(picture) or (stored.ndim == 3 and stored.shape[2] in (2, 4))
    flags = chunks["VP8X"][0] & ~ALPHA_FLAG | (ALPHA_FLAG if has_alpha else 0)
    parts: list[tuple[str, bytes]] = [("VP8X", bytes([flags]) + chunks["VP8X"][1:])]
    for name, body in _all_chunks(source):
        if name in ("VP8 ", "VP8L"):
            parts += picture
        elif name == "EXIF" and changed.differs:
            start = len(PREFIX) if body.startswith(PREFIX) else 0
            parts.append((name, body[:start] + renew_exif(body[start:], shown(changed))))
        elif name not in (*CODING, "VP8X"):
            parts.append((name, body))
    return _assemble(parts)


def without_location(source: bytes) -> bytes:
    """The file without GPS in its EXIF and XMP."""
    return strip_location(source)


def with_xmp(source: bytes, packet: bytes) -> bytes:
    """The file with an XMP packet in place of its own or behind all else; a plain file gets the header this takes."""
    end = 8 + int.from_bytes(source[4:8], "little")
    chunks = _all_chunks(source[:end])
    found = dict(reversed(chunks))
    header = found.get("VP8X") or _header(found)
    parts = [("VP8X", bytes([header[0] | XMP_FLAG]) + header[1:])]
    parts += [(name, packet if name == "XMP " else body) for name, body in chunks if name != "VP8X"]
    if "XMP " not in found:
        parts.append(("XMP ", packet))
    return _assemble(parts) + source[end:]


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


def _header(chunks: dict[str, bytes]) -> bytes:
    """The header that a file with more than a picture begins with: flags, and width and height less one."""
    has_alpha = "VP8L" in chunks and bool(chunks["VP8L"][4] & 0x10)
    width, height = (side - 1 for side in _size(chunks))
    return bytes([ALPHA_FLAG if has_alpha else 0, 0, 0, 0]) + width.to_bytes(3, "little") + height.to_bytes(3, "little")


def _assemble(chunks: list[tuple[str, bytes]]) -> bytes:
    content = b"".join(
        name.encode("latin-1") + struct.pack("<I", len(body)) + body + bytes(len(body) % 2) for name, body in chunks
    )
    return b"RIFF" + struct.pack("<I", len(content) + 4) + b"WEBP" + content


def _chunks(source: bytes) -> dict[str, bytes]:
    """The first chunk of every name."""
    found: dict[str, bytes] = {}
    for name, body in _all_chunks(source):
        found.setdefault(name, body)
    return found


def _all_chunks(source: bytes) -> list[tuple[str, bytes]]:
    """Every chunk in order: its name and its body."""
    found = []
    position = 12
    while position + 8 <= len(source):
        name, length = struct.unpack_from("<4sI", source, position)
        if position + 8 + length > len(source):
            raise Unreadable(TRUNCATED_REASON)
        found.append((name.decode("latin-1"), source[position + 8 : position + 8 + length]))
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
