"""WebP stays lossless or lossy with its metadata; BMP is changed in place."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from dmdcli.formats import bmp, webp
from dmdcli.formats.changed import Changed
from dmdcli.formats.picture import Metadata, Unreadable
from tests.formats.pictures import changed_to, encoded, exif_with_orientation, photograph, picture

EXIF = exif_with_orientation(6)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("metadata", [False, True])
def test_lossless_webp_stays_lossless(mode: str, metadata: bool) -> None:
    options = {"exif": EXIF, "icc_profile": b"profile" * 9, "xmp": b"<x/>"} if metadata else {}
    samples = picture(mode)
    source = encoded(samples, "WEBP", lossless=True, exact=True, **options)
    assert np.array_equal(webp.read(source).samples, samples)
    written = webp.rewrite(source, changed_to(samples, samples // 2))
    assert b"VP8L" in written
    assert np.array_equal(webp.read(written).samples, samples // 2)
    assert webp.metadata(written) == webp.metadata(source)
    assert webp.read(written).orientation == (6 if metadata else 1)


def test_lossy_webp_stays_lossy_and_close() -> None:
    source = encoded(photograph(), "WEBP", quality=60, exif=EXIF)
    original = webp.read(source)
    assert original.orientation == 6
    written = webp.rewrite(source, Changed(original.samples))
    assert b"VP8 " in written
    assert b"VP8L" not in written
    assert webp.metadata(written).exif == EXIF[6:]
    difference = np.abs(webp.read(written).samples.astype(int) - original.samples)
    assert np.median(difference) <= 1
    assert len(webp.rewrite(source, Changed(original.samples), 20)) < len(written) / 2


def test_webp_has_no_grey_and_takes_no_grey_profile() -> None:
    grey = picture("L", 16)
    content = webp.write(grey, Metadata(icc=bytes(16) + b"GRAY" + bytes(100)))
    samples = webp.read(content).samples
    assert np.array_equal(samples, np.repeat(((grey.astype(int) + 128) // 257)[..., np.newaxis], 3, axis=2))
    assert webp.metadata(content).icc is None


def test_absurd_webp_sizes_are_refused_from_the_header() -> None:
    source = bytearray(encoded(picture("RGBA"), "WEBP", exif=EXIF))
    place = source.index(b"VP8X") + 12
    source[place : place + 6] = b"\xff\xff\x00\xff\xff\x00"
    with pytest.raises(Unreadable, match="65536 x 65536"):
        webp.read(bytes(source))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("size", [(61, 47), (60, 47), (1, 1)])
def test_only_samples_change_in_a_bmp(mode: str, size: tuple[int, int]) -> None:
    samples = picture(mode, 8, size)
    source = encoded(samples, "BMP", dpi=(300, 300))
    written = bmp.rewrite(source, changed_to(samples, samples // 2))
    assert np.array_equal(bmp.read(written).samples, samples // 2)
    offset = bmp.read_header(source).offset
    assert written[:offset] == source[:offset]
    assert len(written) == len(source)
    assert bmp.rewrite(source, Changed(samples)) == source


def test_bmp_with_bit_fields_and_rows_from_the_top() -> None:
    samples = picture("RGBA")
    head = struct.pack(
        "<2sIIIIiiHHIIiiII", b"BM", 122 + samples.size, 0, 122, 108, 61, -47, 1, 32, 3, 0, 2835, 2835, 0, 0
    )
    masks = struct.pack("<4I", 0xFF, 0xFF00, 0xFF0000, 0xFF000000)
    source = (head + masks).ljust(122, b"\0") + samples.tobytes()
    assert np.array_equal(bmp.read(source).samples, samples)
    written = bmp.rewrite(source, changed_to(samples, samples // 2))
    assert written[122:] == (samples // 2).tobytes()
    assert np.array_equal(bmp.read(written).samples, samples // 2)
    assert bmp.metadata(written).density == pytest.approx((72, 72), abs=0.1)


def test_bmp_of_16_bits_per_pixel_becomes_24() -> None:
    row = struct.pack("<2H", 0x7FFF, 0x001F)
    head = struct.pack("<2sIIIIiiHHIIiiII", b"BM", 58, 0, 54, 40, 2, 1, 1, 16, 0, 4, 0, 0, 0, 0)
    original = bmp.read(head + row).samples
    assert original.tolist() == [[[255, 255, 255], [0, 0, 255]]]
    with Image.open(io.BytesIO(bmp.rewrite(head + row, Changed(original)))) as image:
        assert np.array(image).tolist() == original.tolist()
