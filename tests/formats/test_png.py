"""PNG: chunks stay, every kind is read, what is written is what other programs read."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from dmdcli.formats import png
from dmdcli.formats.changed import Changed
from dmdcli.formats.picture import Metadata, Unreadable
from dmdcli.formats.png import Chunk
from tests.formats.pictures import changed_to, encoded, exif_with_orientation, photograph, picture


def with_chunks(content: bytes, before: list[Chunk], after: list[Chunk] | None = None) -> bytes:
    chunks = png.split(content)
    ordered = [chunks[0], *before, *chunks[1:-1], *(after or []), chunks[-1]]
    return png.SIGNATURE + b"".join(chunk.bytes for chunk in ordered)


def made_by_hand(depth: int, colour: int, rows: list[bytes], width: int, extra: list[Chunk]) -> bytes:
    header = Chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0))
    coded = Chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return png.SIGNATURE + b"".join(chunk.bytes for chunk in [header, *extra, coded, Chunk(b"IEND", b"")])


def opened(content: bytes) -> npt.NDArray[Any]:
    with Image.open(io.BytesIO(content)) as image:
        return np.array(image)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_other_programs_read_what_is_written(mode: str) -> None:
    samples = picture(mode, 8, (600, 300))
    assert np.array_equal(opened(png.write(samples, Metadata())), samples)
    if mode != "LA":
        deep = picture(mode, 16, (600, 300))
        decoded = cv2.imdecode(np.frombuffer(png.write(deep, Metadata()), np.uint8), cv2.IMREAD_UNCHANGED)
        turned = decoded if mode == "L" else decoded[..., [2, 1, 0, 3][: decoded.shape[2]]]
        assert np.array_equal(turned, deep)


def test_files_are_not_larger_than_pillow_makes_them() -> None:
    samples = photograph((1000, 800))
    assert len(png.write(samples, Metadata())) < 1.05 * len(encoded(samples, "PNG"))


BEFORE = [
    Chunk(b"iCCP", b"scanner\0\0" + zlib.compress(b"profile")),
    Chunk(b"gAMA", struct.pack(">I", 45455)),
    Chunk(b"cHRM", bytes(32)),
    Chunk(b"sBIT", b"\x08\x08\x08"),
    Chunk(b"pHYs", struct.pack(">IIB", 11811, 11811, 1)),
    Chunk(b"eXIf", exif_with_orientation(3)[6:]),
    Chunk(b"tEXt", b"Author\0Aunt Mary"),
    Chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"hello")),
    Chunk(b"iTXt", png.XMP_KEYWORD + b"<x:xmpmeta/>"),
    Chunk(b"prVt", b"unknown, safe to copy"),
]
AFTER = [Chunk(b"tIME", b"\x07\xaa\x05\x13\x0c\0\0"), Chunk(b"tEXt", b"Title\0after the picture")]


@pytest.mark.parametrize("depth", [8, 16])
def test_chunks_stay_byte_for_byte_and_on_their_side(depth: int) -> None:
    bound = Chunk(b"prVT", b"unknown, bound to the samples")
    source = with_chunks(png.write(picture("RGB", depth), Metadata()), [*BEFORE, bound], AFTER)
    original = png.read(source)
    assert original.orientation == 3
    written = png.rewrite(source, changed_to(original.samples, original.samples // 2))
    chunks = png.split(written)
    place = [chunk.name for chunk in chunks].index(b"IDAT")
    assert chunks[1:place] == BEFORE
    assert chunks[place + 1 : -1] == AFTER
    assert np.array_equal(png.read(written).samples, original.samples // 2)
    found = png.metadata(written)
    assert (found.icc, found.xmp, found.exif) == (b"profile", b"<x:xmpmeta/>", exif_with_orientation(3)[6:])
    assert found.density == pytest.approx((300, 300), abs=0.01)


def test_chunks_of_the_old_layout_go_when_a_palette_becomes_rgb() -> None:
    source = with_chunks(encoded(Image.fromarray(picture()).quantize(9), "PNG"), [Chunk(b"tEXt", b"a\0b")])
    source = with_chunks(source, [Chunk(b"sBIT", b"\x05\x05\x05")])
    original = png.read(source)
    names = [chunk.name for chunk in png.split(png.rewrite(source, Changed(original.samples)))]
    assert names == [b"IHDR", b"tEXt", b"IDAT", b"IEND"]


@pytest.mark.parametrize(("depth", "row", "expected"), [
    (1, b"\xa0", [255, 0, 255, 0]), (2, b"\x1b", [0, 85, 170, 255]), (4, b"\x0f\x71", [0, 255, 119, 17]),
])  # fmt: skip
def test_few_bits_become_eight(depth: int, row: bytes, expected: list[int]) -> None:
    samples = png.read(made_by_hand(depth, png.GREY, [row, row], 4, [])).samples
    assert samples.tolist() == [expected, expected]


def test_a_transparent_colour_becomes_alpha() -> None:
    key = Chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))
    samples = png.read(made_by_hand(8, png.RGB, [bytes([1, 2, 3, 1, 2, 4])], 2, [key])).samples
    assert samples.tolist() == [[[1, 2, 3, 0], [1, 2, 4, 255]]]
    rows = [struct.pack(">6H", 1, 2, 3, 1, 2, 259)]
    samples = png.read(made_by_hand(16, png.RGB, rows, 2, [key])).samples
    assert samples.tolist() == [[[1, 2, 3, 0], [1, 2, 259, 65535]]]
    grey = Chunk(b"tRNS", struct.pack(">H", 700))
    samples = png.read(made_by_hand(16, png.GREY, [struct.pack(">2H", 700, 701)], 2, [grey])).samples
    assert samples.tolist() == [[[700, 0], [701, 65535]]]


def test_damaged_text_and_profile_are_no_failure() -> None:
    bad = [
        Chunk(b"iCCP", b"x\0\0not deflated"),
        Chunk(b"zTXt", b"y\0\0neither"),
        Chunk(b"eXIf", b"II"),
        Chunk(b"pHYs", b""),
    ]
    source = with_chunks(encoded(picture(), "PNG"), bad)
    assert np.array_equal(png.read(source).samples, picture())
    assert png.metadata(source).icc is None


def test_a_wrong_check_sum_is_found() -> None:
    source = bytearray(png.write(picture("RGB", 16), Metadata()))
    source[200] ^= 1
    with pytest.raises(Unreadable, match="check sum"):
        png.read(bytes(source))
