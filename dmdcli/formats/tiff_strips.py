"""Strips and tiles of a TIFF page: where they lie in the picture and in the file, decoded and coded one at a time."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from dmdcli.formats import tiff_directory as tags
from dmdcli.formats.picture import BROKEN, TRUNCATED_REASON, Samples, Unreadable, check_size
from dmdcli.formats.tiff_directory import Directory

UNCOMPRESSED, LZW, DEFLATE, OLD_DEFLATE, PACKBITS = 1, 5, 8, 32946, 32773
PILLOW_NAMES = {LZW: "tiff_lzw", PACKBITS: "packbits"}
NO_PREDICTOR, DIFFERENCES = 1, 2
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK = 0, 1, 2, 5
CHANNELS = {WHITE_IS_ZERO: (1, 2), BLACK_IS_ZERO: (1, 2), RGB: (3, 4), CMYK: (4,)}
INTERLEAVED, SEPARATE = 1, 2


@dataclass(frozen=True)
class Place:
    """One strip or tile: the rows and columns it covers, padded to `shape` (rows, columns), and its channels."""

    top: int
    left: int
    shape: tuple[int, int]
    channels: slice

    def cut(self, samples: Samples) -> Samples:
        """(rows, columns, channels) of this place; columns and rows beyond the picture repeat its edge."""
        rows, columns = self.shape
        spread = samples.reshape(samples.shape[0], samples.shape[1], -1)
        part = spread[self.top : self.top + rows, self.left : self.left + columns, self.channels]
        missing = ((0, rows - part.shape[0]), (0, columns - part.shape[1]), (0, 0))
        return np.pad(part, missing, mode="edge") if any(after for _, after in missing) else part


@dataclass(frozen=True)
class Layout:
    """How the samples of a page are coded. depth: bytes per sample. block: rows and columns of a strip or tile."""

    width: int
    height: int
    channels: int
    depth: int
    order: str
    compression: int
    predictor: int
    inverted: bool
    separate: bool
    tiled: bool
    block: tuple[int, int]
    offsets: tuple[int, ...]
    lengths: tuple[int, ...]

    @property
    def offset_tag(self) -> int:
        """Tag that says where the strips or tiles lie."""
        return tags.TILE_OFFSETS if self.tiled else tags.STRIP_OFFSETS

    @property
    def length_tag(self) -> int:
        """Tag that says how long they are."""
        return tags.TILE_LENGTHS if self.tiled else tags.STRIP_LENGTHS

    @property
    def dtype(self) -> np.dtype[np.uint8 | np.uint16]:
        """Of the samples in the file."""
        return np.dtype("u1") if self.depth == 1 else np.dtype(self.order + "u2")

    def places(self) -> Iterator[Place]:
        """In the order of the file: plane by plane where channels are separate, then row by row."""
        planes = [slice(c, c + 1) for c in range(self.channels)] if self.separate else [slice(0, self.channels)]
        rows, columns = self.block
        for plane in planes:
            for top in range(0, self.height, rows):
                for left in range(0, self.width, columns):
                    height = rows if self.tiled else min(rows, self.height - top)
                    yield Place(top, left, (height, columns), plane)


def read_layout(source: bytes, directory: Directory) -> Layout | None:
    """The layout of a page whose strips can be coded one at a time; None for any other kind."""

    def value(tag: int, default: int) -> int:
        return directory.value(source, tag, default)

    width, height = value(tags.WIDTH, 0), value(tags.LENGTH, 0)
    channels, photometric = value(tags.SAMPLES_PER_PIXEL, 1), value(tags.PHOTOMETRIC, BLACK_IS_ZERO)
    bits, formats = set(directory.values(source, tags.BITS)), set(directory.values(source, tags.SAMPLE_FORMAT))
    compression, predictor = value(tags.COMPRESSION, UNCOMPRESSED), value(tags.PREDICTOR, NO_PREDICTOR)
    if compression not in (LZW, DEFLATE, OLD_DEFLATE):
        predictor = NO_PREDICTOR
    tiled = tags.TILE_OFFSETS in directory.entries
    separate = channels > 1 and value(tags.PLANAR, INTERLEAVED) == SEPARATE
    known = (
        bits in ({8}, {16})
        and formats <= {1}
        and channels in CHANNELS.get(photometric, ())
        and compression in (UNCOMPRESSED, LZW, DEFLATE, OLD_DEFLATE, PACKBITS)
        and predictor in (NO_PREDICTOR, DIFFERENCES)
        and value(tags.FILL_ORDER, 1) == 1
        and not (separate and photometric == WHITE_IS_ZERO)
    )
    if not known:
        return None
    if tiled:
        block = (value(tags.TILE_LENGTH, 0), value(tags.TILE_WIDTH, 0))
        check_size(*block)
    else:
        block = (min(value(tags.ROWS_PER_STRIP, height), height) or height, width)
    offsets = directory.values(source, tags.TILE_OFFSETS if tiled else tags.STRIP_OFFSETS)
    lengths = directory.values(source, tags.TILE_LENGTHS if tiled else tags.STRIP_LENGTHS)
    count = -(-height // block[0]) * -(-width // block[1]) * (channels if separate else 1)
    if len(offsets) < count or len(lengths) < count:
        raise Unreadable(TRUNCATED_REASON)
    return Layout(
        width, height, channels, max(bits) // 8, directory.order, compression, predictor, photometric == WHITE_IS_ZERO,
        separate, tiled, block, offsets[:count], lengths[:count],
    )  # fmt: skip


def decode(source: bytes, layout: Layout) -> Samples:
    """(H, W[, C]) uint8 or uint16, native byte order, white the largest value."""
    native = layout.dtype.newbyteorder("=")
    samples: Samples = np.zeros((layout.height, layout.width, layout.channels), native)
    for place, offset, length in zip(layout.places(), layout.offsets, layout.lengths, strict=True):
        rows, columns = place.shape
        channels = place.channels.stop - place.channels.start
        coded = source[offset : offset + length]
        row_bytes = columns * channels * layout.depth
        plain = _decompress(coded, layout.compression, rows, row_bytes)
        part = np.frombuffer(plain, layout.dtype).astype(native).reshape(rows, columns, channels)
        if layout.predictor == DIFFERENCES:
            part = np.cumsum(part, axis=1, dtype=native)
        target = samples[place.top : place.top + rows, place.left : place.left + columns, place.channels]
        target[...] = part[: target.shape[0], : target.shape[1]]
    _invert(samples, layout)
    return samples[..., 0] if layout.channels == 1 else samples


def encode(part: Samples, layout: Layout) -> bytes:
    """One strip or tile, cut by its Place, as it stands in the file."""
    samples = part.copy()
    _invert(samples, layout)
    if layout.predictor == DIFFERENCES:
        samples[:, 1:] -= samples[:, :-1].copy()
    plain = samples.astype(layout.dtype, copy=False).tobytes()
    return compress(plain, layout.compression, part.shape[0], len(plain) // part.shape[0])


def compress(plain: bytes, compression: int, rows: int, row_bytes: int) -> bytes:
    """Rows of bytes as one compressed strip."""
    if compression == UNCOMPRESSED:
        return plain
    if compression in (DEFLATE, OLD_DEFLATE):
        return zlib.compress(plain)
    # LZW and PackBits know nothing of channels: Pillow codes the bytes as one strip of a grey picture.
    buffer = io.BytesIO()
    image = Image.frombytes("L", (row_bytes, rows), plain)
    image.save(buffer, "TIFF", compression=PILLOW_NAMES[compression], strip_size=len(plain))
    file = buffer.getvalue()
    directory = tags.read_directory(file)
    (start,), (length,) = directory.values(file, tags.STRIP_OFFSETS), directory.values(file, tags.STRIP_LENGTHS)
    return file[start : start + length]


def _decompress(coded: bytes, compression: int, rows: int, row_bytes: int) -> bytes:
    size = rows * row_bytes
    try:
        if compression == UNCOMPRESSED:
            plain = coded[:size]
        elif compression in (DEFLATE, OLD_DEFLATE):
            plain = zlib.decompressobj().decompress(coded, size)
        else:
            with TiffImageFile(io.BytesIO(_wrap(coded, compression, rows, row_bytes))) as image:
                plain = image.tobytes()
    except BROKEN as error:
        raise Unreadable("is a damaged or truncated TIFF file") from error
    if len(plain) < size:
        raise Unreadable(TRUNCATED_REASON)
    return plain


def _wrap(coded: bytes, compression: int, rows: int, row_bytes: int) -> bytes:
    """A TIFF file of one strip of 8-bit grey."""
    values = (
        (tags.WIDTH, row_bytes), (tags.LENGTH, rows), (tags.BITS, 8), (tags.COMPRESSION, compression),
        (tags.PHOTOMETRIC, BLACK_IS_ZERO), (tags.STRIP_OFFSETS, 8), (tags.SAMPLES_PER_PIXEL, 1),
        (tags.ROWS_PER_STRIP, rows), (tags.STRIP_LENGTHS, len(coded)),
    )  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in values)
    start = 8 + len(coded) + len(coded) % 2
    body = struct.pack("<2sHI", b"II", 42, start) + coded.ljust(start - 8, b"\0")
    return body + struct.pack("<H", len(values)) + entries + struct.pack("<I", 0)


def _invert(samples: Samples, layout: Layout) -> None:
    """Turn the grey of a page where zero is white, in place."""
    if layout.inverted:
        samples[..., 0] = np.iinfo(samples.dtype).max - samples[..., 0]
