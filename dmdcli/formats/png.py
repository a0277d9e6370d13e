"""PNG: 8 and 16 bits per channel, all ancillary chunks carried over byte for byte.

Written by hand, because Pillow keeps no 16-bit colour and neither Pillow nor OpenCV keeps foreign chunks.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from dmdcli.formats.changed import Changed
from dmdcli.formats.location import strip_exif, strip_xmp
from dmdcli.formats.picture import (
    BROKEN,
    METRES_PER_INCH,
    TRUNCATED_REASON,
    Metadata,
    Picture,
    Samples,
    Unreadable,
    check_size,
    orientation_of,
    samples_of,
)
from dmdcli.formats.thumbnails import renew_exif, shown

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
COLOURS = {1: GREY, 2: GREY_ALPHA, 3: RGB, 4: RGB_ALPHA}
CHANNELS = {colour: channels for channels, colour in COLOURS.items()}
XMP_NAME = b"XML:com.adobe.xmp\0"
XMP_KEYWORD = XMP_NAME + b"\0\0\0\0"
PACKED_METADATA = re.compile(rb"XML:com\.adobe\.xmp\x00\x01|Raw profile type (?:exif|app1|xmp)\x00", re.IGNORECASE)
"""How texts with compressed XMP begin, and those in which older programs keep EXIF as hexadecimal digits."""
LONGEST_XMP = 1 << 24
"""Bytes to which compressed XMP may unfold."""
COMPRESSION = 6
BAND = 256
"""Rows filtered at once."""

CODING = frozenset({b"IHDR", b"IDAT", b"IEND"})
KNOWN = frozenset(
    {
        b"cHRM",
        b"gAMA",
        b"iCCP",
        b"sRGB",
        b"cICP",
        b"mDCV",
        b"cLLI",
        b"pHYs",
        b"tIME",
        b"iTXt",
        b"tEXt",
        b"zTXt",
        b"eXIf",
    }
)
"""Chunks that stay true whatever the samples become; unknown ones stay if their name says so (fourth letter small)."""
OF_THE_LAYOUT = frozenset({b"PLTE", b"tRNS", b"sBIT", b"bKGD", b"hIST", b"sPLT"})
"""Chunks that stay only while colour type and depth do."""


@dataclass(frozen=True)
class Chunk:
    """name: four letters; body without length and check sum."""

    name: bytes
    body: bytes

    @property
    def bytes(self) -> bytes:
        """The chunk as it stands in a file."""
        crc = zlib.crc32(self.name + self.body)
        return struct.pack(">I", len(self.body)) + self.name + self.body + struct.pack(">I", crc)


@dataclass(frozen=True)
class Header:
    """width, height in pixels; depth: bits per channel; colour: PNG's colour type."""

    width: int
    height: int
    depth: int
    colour: int


def split(source: bytes) -> list[Chunk]:
    """All chunks in order. Unreadable if the end is missing or a chunk the picture depends on is damaged."""
    chunks: list[Chunk] = []
    position = len(SIGNATURE)
    while position + 12 <= len(source):
        length, name = struct.unpack_from(">I4s", source, position)
        end = position + 12 + length
        if end > len(source):
            break
        chunk = Chunk(name, source[position + 8 : end - 4])
        if name[:1].isupper() and zlib.crc32(name + chunk.body) != struct.unpack_from(">I", source, end - 4)[0]:
            raise Unreadable("is a damaged PNG file (a check sum is wrong)")
        chunks.append(chunk)
        if name == b"IEND":
            return chunks
        position = end
    raise Unreadable(TRUNCATED_REASON)


def read_header(source: bytes) -> Header:
    """Size, depth and colour type from the first chunk alone."""
    try:
        name, width, height, depth, colour = struct.unpack_from(">4x4sIIBB", source, len(SIGNATURE))
    except struct.error as error:
        raise Unreadable(TRUNCATED_REASON) from error
    if name != b"IHDR":
        raise Unreadable("is a damaged PNG file")
    check_size(width, height)
    return Header(width, height, depth, colour)


def read(source: bytes) -> Picture:
    """Grey or RGB with or without alpha, uint8 or uint16.

    Palettes and 1, 2 and 4 bits become 8 bits; a transparent colour becomes alpha.
    """
    header = read_header(source)
    chunks = split(source)
    if any(chunk.name == b"acTL" for chunk in chunks):
        raise Unreadable("is an animation, not a photo")
    exif = next((chunk.body for chunk in chunks if chunk.name == b"eXIf"), None)
    try:
        samples = _decode_16(header, chunks) if header.depth == 16 else _decode_8(chunks)
    except (*BROKEN, cv2.error) as error:
        raise Unreadable("is a damaged PNG file") from error
    return Picture(samples, orientation_of(exif))


def metadata(source: bytes) -> Metadata:
    """EXIF, XMP, ICC and density of a PNG that could be read."""
    exif = xmp = icc = density = None
    for chunk in split(source):
        if chunk.name == b"eXIf":
            exif = chunk.body
        elif chunk.name == b"iTXt" and chunk.body.startswith(XMP_NAME):
            xmp = _packet(chunk.body)
        elif chunk.name == b"iCCP":
            try:
                icc = zlib.decompress(chunk.body.partition(b"\0")[2][1:])
            except zlib.error:
                continue
        elif chunk.name == b"pHYs" and len(chunk.body) == 9 and chunk.body[8] == 1:
            across, down = struct.unpack_from(">II", chunk.body)
            density = (across * METRES_PER_INCH, down * METRES_PER_INCH)
    return Metadata(exif, xmp, icc, None, density)


def rewrite(source: bytes, changed: Changed, _quality: int | None = None) -> bytes:
    """The file with changed samples and its own chunks; interlacing is not kept."""
    header, chunks = read_header(source), split(source)
    if changed.differs:
        chunks = [Chunk(c.name, renew_exif(c.body, shown(changed))) if c.name == b"eXIf" else c for c in chunks]
    stored = changed.samples
    channels = 1 if stored.ndim == 2 else stored.shape[2]
    same = (header.depth, header.colour) == (8 * stored.dtype.itemsize, COLOURS[channels])
    kept = [chunk for chunk in chunks if chunk.name not in CODING and _may_stay(chunk, same)]
    first = [chunk.name for chunk in chunks].index(b"IDAT")
    before = [chunk for chunk in chunks[:first] if chunk in kept]
    after = [chunk for chunk in chunks[first:] if chunk in kept]
    return _assemble(stored, before, after)


def without_location(source: bytes) -> bytes:
    """The file without GPS in its EXIF and XMP; EXIF and XMP that are packed into other texts are left out."""
    chunks = []
    for chunk in split(source):
        if chunk.name == b"eXIf":
            chunks.append(Chunk(chunk.name, strip_exif(chunk.body)))
        elif chunk.name == b"iTXt" and chunk.body.startswith(XMP_KEYWORD):
            chunks.append(Chunk(chunk.name, strip_xmp(chunk.body)))
        elif not PACKED_METADATA.match(chunk.body) or chunk.name not in (b"iTXt", b"tEXt", b"zTXt"):
            chunks.append(chunk)
    return SIGNATURE + b"".join(chunk.bytes for chunk in chunks)


def with_xmp(source: bytes, packet: bytes) -> bytes:
    """The file with an XMP packet in place of its own or, without one, before the picture; never compressed."""
    added = Chunk(b"iTXt", XMP_KEYWORD + packet).bytes
    position = place = len(SIGNATURE)
    for chunk in split(source):
        end = position + 12 + len(chunk.body)
        if chunk.name == b"iTXt" and chunk.body.startswith(XMP_NAME):
            return source[:position] + added + source[end:]
        if chunk.name == b"IDAT" and place == len(SIGNATURE):
            place = position
        position = end
    return source[:place] + added + source[place:]


def write(stored: Samples, metadata: Metadata, _quality: int | None = None) -> bytes:
    """A new PNG at the depth of the samples, with EXIF, XMP, ICC and density."""
    before: list[Chunk] = []
    if metadata.icc:
        before.append(Chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    if metadata.density:
        across, down = (round(value / METRES_PER_INCH) for value in metadata.density)
        before.append(Chunk(b"pHYs", struct.pack(">IIB", across, down, 1)))
    if metadata.exif:
        before.append(Chunk(b"eXIf", metadata.exif))
    if metadata.xmp:
        before.append(Chunk(b"iTXt", XMP_KEYWORD + metadata.xmp))
    return _assemble(stored, before, [])


def _packet(body: bytes) -> bytes | None:
    """The XMP in a text, compressed or not, behind its language and its translated keyword; None for a damaged one."""
    flag, rest = body[len(XMP_NAME) : len(XMP_NAME) + 1], body[len(XMP_NAME) + 2 :].split(b"\0", 2)
    try:
        return zlib.decompressobj().decompress(rest[2], LONGEST_XMP) if flag == b"\1" else rest[2]
    except (zlib.error, IndexError):
        return None


def _may_stay(chunk: Chunk, same_layout: bool) -> bool:
    if chunk.name in OF_THE_LAYOUT:
        return same_layout
    return chunk.name in KNOWN or chunk.name[3:4].islower()


def _decode_8(chunks: list[Chunk]) -> Samples:
    bare = [chunk for chunk in chunks if chunk.name in CODING or chunk.name in (b"PLTE", b"tRNS")]
    return samples_of(PngImageFile(io.BytesIO(SIGNATURE + b"".join(chunk.bytes for chunk in bare))))


def _decode_16(header: Header, chunks: list[Chunk]) -> Samples:
    """(H, W[, C]) uint16."""
    if header.colour not in CHANNELS:
        raise Unreadable("is a damaged PNG file")
    coding = [chunk for chunk in chunks if chunk.name in CODING]
    size = struct.pack(">II", header.width, header.height)
    if header.colour == GREY_ALPHA:
        # OpenCV spreads grey and alpha at 16 bits to four channels or to eight bits, by version. Filters work on bytes,
        # so the file reads as 8-bit RGB + alpha just as well: two bytes for grey, two for alpha.
        coding[0] = Chunk(b"IHDR", size + bytes([8, RGB_ALPHA]) + coding[0].body[10:])
        with Image.open(io.BytesIO(SIGNATURE + b"".join(chunk.bytes for chunk in coding)), formats=("PNG",)) as image:
            halves = np.array(image)
        return halves.view(">u2").astype(np.uint16)
    flat = np.frombuffer(SIGNATURE + b"".join(chunk.bytes for chunk in coding), np.uint8)
    decoded = cv2.imdecode(flat, cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16 or decoded.shape[:2] != (header.height, header.width):
        raise Unreadable("is a damaged PNG file")
    samples: npt.NDArray[np.uint16] = decoded
    if header.colour == RGB:
        samples = np.ascontiguousarray(decoded[..., ::-1])
    elif header.colour == RGB_ALPHA:
        samples = np.ascontiguousarray(decoded[..., [2, 1, 0, 3]])
    key = next((chunk.body for chunk in chunks if chunk.name == b"tRNS"), None)
    if key is None or header.colour == RGB_ALPHA:
        return samples
    channels = samples.reshape(header.height, header.width, -1)
    see_through = (channels == np.frombuffer(key, ">u2", channels.shape[2])).all(axis=2, keepdims=True)
    return np.concatenate([channels, np.where(see_through, 0, 65535).astype(np.uint16)], axis=2)


def _assemble(stored: Samples, before: list[Chunk], after: list[Chunk]) -> bytes:
    height, width = stored.shape[:2]
    channels = 1 if stored.ndim == 2 else stored.shape[2]
    depth = 8 * stored.dtype.itemsize
    header = Chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, COLOURS[channels], 0, 0, 0))
    big_endian = np.ascontiguousarray(stored.astype(stored.dtype.newbyteorder(">"), copy=False))
    rows = big_endian.reshape(height, -1).view(np.uint8)
    coded = Chunk(b"IDAT", _compress(rows, channels * stored.dtype.itemsize))
    parts = [header, *before, coded, *after, Chunk(b"IEND", b"")]
    return SIGNATURE + b"".join(chunk.bytes for chunk in parts)


def _compress(rows: npt.NDArray[np.uint8], step: int) -> bytes:
    """Filter (H, bytes) rows and deflate them. Per row the filter with the smallest sum of absolute differences is
    taken, the heuristic the PNG specification recommends (12.7). step: bytes per pixel.
    """
    deflate = zlib.compressobj(COMPRESSION)
    parts: list[bytes] = []
    above = np.zeros_like(rows[:1])
    for top in range(0, len(rows), BAND):
        band = rows[top : top + BAND]
        up = np.concatenate([above, band[:-1]])
        above = band[-1:]
        left, corner = np.zeros_like(band), np.zeros_like(band)
        left[:, step:], corner[:, step:] = band[:, :-step], up[:, :-step]
        candidates = np.stack(
            [band, band - left, band - up, band - _average(left, up), band - _paeth(left, up, corner)]
        )
        cost = np.minimum(candidates, 0 - candidates).sum(axis=2, dtype=np.uint32)
        best = cost.argmin(axis=0)
        chosen = candidates[best, np.arange(len(band))]
        parts.append(deflate.compress(np.column_stack([best.astype(np.uint8), chosen]).tobytes()))
    return b"".join([*parts, deflate.flush()])


def _average(left: npt.NDArray[np.uint8], up: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return (left & up) + ((left ^ up) >> 1)


def _paeth(
    left: npt.NDArray[np.uint8], up: npt.NDArray[np.uint8], corner: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    a, b, c = (part.astype(np.int16) for part in (left, up, corner))
    to_left, to_up, to_corner = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    nearest_up = np.where(to_up <= to_corner, up, corner)
    return np.where((to_left <= to_up) & (to_left <= to_corner), left, nearest_up)
