"""Where a photo was taken: taken out in place, in every form it is written down in, and nothing else."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dmdcli.formats import png
from dmdcli.formats.location import DOUBT, LEFT, doubt_about, strip_exif, strip_xmp
from tests.collection import PACKET, described_tiff, exif_block
from tests.formats.pictures import encoded, photograph

PICTURE = photograph((80, 60))
HEAD = b'<x xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:d="http://www.dji.com/drone-dji/1.0/" xmlns:o="urn:o">'


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_loses_the_directory_and_its_values(order: str) -> None:
    before = exif_block(PICTURE, order=order)
    after = strip_exif(before)
    exif, stripped = Image.Exif(), Image.Exif()
    exif.load(before)
    stripped.load(after)
    assert len(after) == len(before)
    assert exif.get_ifd(0x8825)
    assert not stripped.get_ifd(0x8825)
    assert 0x8825 not in stripped
    assert dict(stripped) == {tag: value for tag, value in exif.items() if tag != 0x8825}
    assert stripped.get_ifd(0x8769) == exif.get_ifd(0x8769)
    assert after[after.index(b"\xff\xd8\xff") :] == before[before.index(b"\xff\xd8\xff") :]
    seconds = (4501).to_bytes(4, "little" if order == "<" else "big")
    assert seconds in before
    assert seconds not in after
    assert strip_exif(after) == after


def test_a_tiff_is_its_own_exif() -> None:
    source = described_tiff(encoded(PICTURE, "TIFF"), PICTURE, 1)
    after = strip_exif(source)
    assert len(after) == len(source)
    assert (np.frombuffer(after, np.uint8) != np.frombuffer(source, np.uint8)).sum() < 500
    with Image.open(io.BytesIO(after)) as image:
        assert np.array_equal(np.array(image), PICTURE)
        assert 0x8825 not in image.getexif()


@pytest.mark.parametrize("block", [b"", b"II*\0\xff\xff\xff\xff", b"nothing"])
def test_what_cannot_be_read_stays(block: bytes) -> None:
    assert strip_exif(block) == block


@pytest.mark.parametrize(
    "inside",
    [
        b'<d exif:GPSLatitude="59,54N" o:b="1"/>',
        b"<d exif:GPSLatitude = '59,54N' o:b=\"1\"/>",
        b"<exif:GPSLatitude>59,54N</exif:GPSLatitude>",
        b'<exif:GPSProcessingMethod o:q="1"><o:i>59,54N</o:i>\n</exif:GPSProcessingMethod ><o:k/>',
        b'<exif:GPSLatitude o:v="59,54N"/><o:k>stays</o:k>',
        b'<d d:GpsLatitude="59,54N"/>',
    ],
)
def test_xmp_in_every_form(inside: bytes) -> None:
    before = HEAD + inside + b"<o:GPSless/></x>".replace(b"o:GPSless", b"o:less")
    after = strip_xmp(before)
    assert len(after) == len(before)
    assert b"59,54N" not in after
    assert doubt_about(before) == LEFT
    assert doubt_about(after) is None
    for kept in (b"<o:k", b'o:b="1"', b"<o:less/>"):
        assert (kept in before) == (kept in after)


def test_text_that_speaks_of_it_stays() -> None:
    text = HEAD + b"<o:a>a GPS of 1990, exif:GPSLatitude</o:a></x>"
    assert strip_xmp(text) == text


def test_xmp_that_cannot_be_checked_is_doubted() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><x>&b;</x>'
    assert doubt_about(b"<x><y></x>") == DOUBT
    assert doubt_about(bomb) == DOUBT
    assert doubt_about(strip_xmp(PACKET.decode().encode("utf-16"))) in (DOUBT, LEFT)
    assert doubt_about(None) is None


def test_png_gets_new_check_sums_and_loses_packed_copies() -> None:
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", PACKET.decode(), zip=True)
    text.add_text("Raw profile type exif", "\nexif\n 4\n49492a00", zip=True)
    text.add_text("Title", "GPS of 1990")
    source = encoded(PICTURE, "PNG", pnginfo=text, exif=b"Exif\0\0" + exif_block(PICTURE))
    chunks = {chunk.name: chunk.body for chunk in png.split(png.without_location(source))}
    assert chunks[b"tEXt"] == b"Title\0GPS of 1990"
    assert b"iTXt" not in chunks
    assert b"zTXt" not in chunks
    assert chunks[b"eXIf"] == strip_exif(exif_block(PICTURE))
