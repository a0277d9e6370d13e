"""JPEG 2000 stays without loss in its own boxes; AVIF and HEIC are told apart, and say what is missing."""

from __future__ import annotations

import struct
import sys

import numpy as np
import pytest
from PIL import Image, features

from dmdcli.formats import heif, jpeg2000
from dmdcli.formats.jpeg2000 import Box
from dmdcli.formats.picture import Metadata, Unreadable, Unwritable
from tests.collection import PACKET, exif_block
from tests.formats import profiles
from tests.formats.pictures import encoded, photograph, picture

EXIF = exif_block(photograph((80, 60)), 6)
needs_avif = pytest.mark.skipif(not features.check("avif"), reason="this build of Pillow has no AVIF")


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("bare", [False, True])
def test_jpeg_2000_changes_in_the_picture_alone(mode: str, bare: bool) -> None:
    samples = picture(mode)
    source = encoded(samples, "JPEG2000", no_jp2=bare)
    if not bare:
        source += Box(b"xml ", b"<own/>").bytes
    assert np.array_equal(jpeg2000.read(source).samples, samples)
    written = jpeg2000.rewrite(source, samples, samples // 2)
    assert np.array_equal(jpeg2000.read(written).samples, samples // 2)
    if not bare:
        before, after = jpeg2000.split(source), jpeg2000.split(written)
        assert [box for box in after if box.name != b"jp2c"] == [box for box in before if box.name != b"jp2c"]


def test_jpeg_2000_holds_metadata() -> None:
    metadata = Metadata(EXIF, PACKET, profiles.ADOBE_RGB)
    source = jpeg2000.write(picture(), metadata)
    assert jpeg2000.metadata(source) == metadata
    assert jpeg2000.read(source).orientation == 6
    assert jpeg2000.metadata(jpeg2000.without_location(source)).xmp == PACKET.replace(
        b'exif:GPSLatitude="59,54.75N"', b" " * 28
    ).replace(b"<exif:GPSLongitude>10,45.5E</exif:GPSLongitude>", b" " * 47)


def test_jpeg_2000_in_ycc_gets_a_header_that_fits() -> None:
    samples = picture()
    source = encoded(Image.fromarray(samples).convert("YCbCr"), "JPEG2000")
    written = jpeg2000.rewrite(source, samples, samples)
    assert np.array_equal(jpeg2000.read(written).samples, samples)


def test_jpeg_2000_with_a_box_to_the_end() -> None:
    boxes = jpeg2000.split(encoded(picture(), "JPEG2000"))
    source = b"".join(box.bytes for box in boxes[:-1]) + struct.pack(">I", 0) + b"jp2c" + boxes[-1].body
    assert np.array_equal(jpeg2000.read(source).samples, picture())
    assert np.array_equal(jpeg2000.read(jpeg2000.rewrite(source, picture(), picture())).samples, picture())


def test_what_jpeg_2000_cannot_be() -> None:
    source = encoded(picture("L", 16).astype(np.uint16), "JPEG2000")
    with pytest.raises(Unreadable, match="16 bits per channel"):
        jpeg2000.read(source)
    for cut in (13, 60, len(source) // 2):
        with pytest.raises(Unreadable):
            jpeg2000.read(encoded(picture(), "JPEG2000")[:cut])


@needs_avif
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_avif_is_close_and_keeps_metadata(mode: str) -> None:
    samples = photograph()
    if mode != "RGB":
        samples = np.array(Image.fromarray(samples).convert(mode))
    if mode.endswith("A"):
        samples[:40, :, -1] = 100
    source = heif.write(samples, Metadata(EXIF, PACKET, profiles.DISPLAY_P3))
    found = heif.read(source)
    assert found.orientation == 6
    assert found.samples.shape[2] == (4 if mode.endswith("A") else 3)
    before = heif.metadata(source)
    written = heif.rewrite(source, found.samples, found.samples)
    assert heif.codec_of(written) == heif.AVIF
    assert heif.metadata(written) == before
    assert (before.xmp, before.icc) == (PACKET, profiles.DISPLAY_P3)
    assert np.abs(heif.read(written).samples.astype(int) - found.samples).mean() < 1.5


@needs_avif
def test_places_in_avif_are_taken_out() -> None:
    source = heif.write(photograph(), Metadata(EXIF, PACKET))
    assert b"GPSLatitude" in source
    after = heif.without_location(source)
    assert len(after) == len(source)
    assert b"GPSLatitude" not in after
    exif = Image.Exif()
    exif.load(heif.metadata(after).exif or b"")
    assert 0x8825 not in exif
    assert exif[0x010E] == "a wedding"


def test_brands_tell_avif_from_heic() -> None:
    def file(*brands: bytes) -> bytes:
        body = brands[0] + bytes(4) + b"".join(brands)
        return struct.pack(">I", len(body) + 8) + b"ftyp" + body + bytes(20)

    assert heif.codec_of(file(b"avif", b"mif1", b"miaf")) == heif.AVIF
    assert heif.codec_of(file(b"mif1", b"avif")) == heif.AVIF
    assert heif.codec_of(file(b"heic", b"mif1")) == heif.HEIC
    assert heif.codec_of(file(b"qt  ")) is None


def test_without_the_extra_package_heic_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    source = struct.pack(">I", 20) + b"ftypheic" + bytes(4) + b"mif1" + bytes(50)
    with pytest.raises(Unreadable, match=r"pip install 'dmdcli\[heic\]'"):
        heif.read(source)
    with pytest.raises(Unwritable, match="would be a HEIC photo"):
        heif.encode(heif.HEIC, picture(), Metadata())


def test_heic_there_and_back() -> None:
    pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    samples = photograph()
    source = heif.encode(heif.HEIC, samples, Metadata(EXIF, PACKET, profiles.DISPLAY_P3))
    found = heif.read(source)
    written = heif.rewrite(source, found.samples, found.samples)
    assert heif.codec_of(written) == heif.HEIC
    assert heif.metadata(written) == heif.metadata(source)
    assert np.abs(heif.read(written).samples.astype(int) - found.samples).mean() < 1.5
