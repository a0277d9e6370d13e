"""JPEG 2000 stays without loss in its own boxes; AVIF and HEIC are told apart, and say what is missing."""

from __future__ import annotations

import io
import struct
import sys

import numpy as np
import pytest
from PIL import Image, features

from dmdcli.formats import heif, jpeg2000
from dmdcli.formats.changed import Changed
from dmdcli.formats.jpeg2000 import Box
from dmdcli.formats.picture import Metadata, Unreadable, Unwritable
from tests.collection import PACKET, exif_block
from tests.formats import profiles
from tests.formats.pictures import changed_to, encoded, photograph, picture

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
    written = jpeg2000.rewrite(source, changed_to(samples, samples // 2))
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
    written = jpeg2000.rewrite(source, Changed(samples))
    assert np.array_equal(jpeg2000.read(written).samples, samples)


def test_jpeg_2000_with_a_box_to_the_end() -> None:
    boxes = jpeg2000.split(encoded(picture(), "JPEG2000"))
    source = b"".join(box.bytes for box in boxes[:-1]) + struct.pack(">I", 0) + b"jp2c" + boxes[-1].body
    assert np.array_equal(jpeg2000.read(source).samples, picture())
    assert np.array_equal(jpeg2000.read(jpeg2000.rewrite(source, Changed(picture()))).samples, picture())


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_jpeg_2000_of_16_bits_stays_exact_in_its_own_boxes(mode: str) -> None:
    samples = picture(mode, 16)
    spread = samples[..., [0, 0, 0, 1]] if mode == "LA" else samples
    source = jpeg2000.write(samples, Metadata(EXIF, PACKET, profiles.ADOBE_RGB)) + Box(b"xml ", b"<own/>").bytes
    read = jpeg2000.read(source)
    assert read.orientation == 6
    assert np.array_equal(read.samples, spread)
    changed = spread // 2
    changed[..., -1] = spread[..., -1]
    written = jpeg2000.rewrite(source, changed_to(spread, changed))
    assert np.array_equal(jpeg2000.read(written).samples, changed)
    before, after = jpeg2000.split(source), jpeg2000.split(written)
    assert [box.bytes for box in after if box.name not in (b"jp2c", b"uuid")] == [
        box.bytes for box in before if box.name not in (b"jp2c", b"uuid")
    ]
    bare = next(box.body for box in before if box.name == b"jp2c")
    assert np.array_equal(jpeg2000.read(bare).samples, spread)
    assert np.array_equal(jpeg2000.read(jpeg2000.rewrite(bare, changed_to(spread, changed))).samples, changed)


def test_jpeg_2000_of_16_bits_by_others_reads_the_same() -> None:
    samples = picture("L", 16)
    source = encoded(samples, "JPEG2000")
    assert np.array_equal(jpeg2000.read(source).samples, samples)
    colour = picture("RGB", 16)
    with Image.open(io.BytesIO(jpeg2000.write(colour, Metadata()))) as image:  # at 8 bits: which channel is which
        assert np.abs(np.array(image).astype(int) - colour // 256).max() <= 1


def test_what_jpeg_2000_cannot_be() -> None:
    deep = jpeg2000.write(picture("RGB", 16), Metadata())
    twelve = deep.replace(b"\x0f\1\1" * 3, b"\x0b\1\1" * 3)
    signed = deep.replace(b"\x0f\1\1" * 3, b"\x8f\1\1" * 3)
    for source, said in ((twelve, "12 bits per channel"), (signed, "16 bits per channel")):
        assert source != deep
        with pytest.raises(Unreadable, match=said):
            jpeg2000.read(source)
    ycc = deep.replace(b"colr\1\0\0\0\0\0\x10", b"colr\1\0\0\0\0\0\x12")
    assert ycc != deep
    with pytest.raises(Unreadable, match="YCC"):
        jpeg2000.read(ycc)
    bare = next(box.body for box in jpeg2000.split(deep) if box.name == b"jp2c")
    for source in (encoded(picture(), "JPEG2000"), deep, bare):
        for cut in (13, 60, 90, len(source) // 2):
            with pytest.raises(Unreadable):
                jpeg2000.read(source[:cut])


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
    written = heif.rewrite(source, Changed(found.samples))
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


@needs_avif
@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_stays_byte_for_byte_in_avif_that_is_not_turned(order: str) -> None:
    exif = exif_block(photograph((80, 60)), 1, order=order)
    assert exif_block(photograph((80, 60)), 6, order=order) != exif
    samples = photograph()
    source = heif.write(samples, Metadata(exif, PACKET))
    assert heif.metadata(source).exif == exif
    assert exif in heif.rewrite(source, Changed(samples))
    assert exif in heif.rewrite(source, Changed(samples), packet=PACKET + b" ")
    changed = heif.metadata(heif.rewrite(source, changed_to(samples, samples // 2))).exif
    assert changed is not None
    assert len(changed) == len(exif)
    thumbnail = exif.index(b"\xff\xd8")
    assert changed[:thumbnail] == exif[:thumbnail]
    assert changed != exif, "the thumbnail shows the new picture"
    for damaged in (b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\x05\0\x12\x01"):
        assert heif.metadata(heif.write(samples, Metadata(damaged))).exif == damaged
    assert heif.metadata(heif.write(samples, Metadata(b"garbage"))).exif is None


def test_exif_stays_byte_for_byte_in_heic_but_for_the_orientation() -> None:
    pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    for orientation in (1, 6):
        exif = exif_block(photograph((80, 60)), orientation)
        source = heif.encode(heif.HEIC, photograph(), Metadata(exif))
        samples = heif.read(source).samples
        written = heif.metadata(heif.rewrite(source, Changed(samples))).exif
        upright = exif_block(photograph((80, 60)), 1)
        assert written == upright, "samples come out of HEIC upright"


def test_heic_without_metadata_is_written() -> None:
    pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    assert heif.metadata(heif.encode(heif.HEIC, photograph(), Metadata())) == Metadata()


def test_heic_there_and_back() -> None:
    pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    samples = photograph()
    source = heif.encode(heif.HEIC, samples, Metadata(EXIF, PACKET, profiles.DISPLAY_P3))
    found = heif.read(source)
    written = heif.rewrite(source, Changed(found.samples))
    assert heif.codec_of(written) == heif.HEIC
    assert heif.metadata(written) == heif.metadata(source)
    assert np.abs(heif.read(written).samples.astype(int) - found.samples).mean() < 1.5
