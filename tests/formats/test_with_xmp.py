"""Another XMP packet in a file of each format, and nothing else changed."""

from __future__ import annotations

import io
import struct
import zlib
from types import ModuleType

import numpy as np
import pytest
import tifffile
from PIL import Image

from dmdcli.formats import jpeg, jpeg2000, png, tiff, webp
from dmdcli.formats import tiff_directory as tags
from dmdcli.formats.jpeg import APP1, Segment
from dmdcli.formats.picture import Metadata
from tests.collection import PACKET, Sample, jpegs, others, pngs, tiffs
from tests.formats.pictures import photograph

NEW = PACKET.replace(b"wedding", b"day they married") + b" "  # another length, and odd
MODULES = {"jpg": jpeg, "jpeg": jpeg, "jpe": jpeg, "png": png, "tif": tiff, "tiff": tiff, "webp": webp, "jp2": jpeg2000}


def samples() -> list[Sample]:
    picture = photograph((48, 40))
    made = [sample for kind in (jpegs, pngs, tiffs, others) for sample in kind(picture)]
    return [sample for sample in made if sample.name.rpartition(".")[2] in MODULES]


@pytest.mark.parametrize("sample", samples(), ids=lambda sample: sample.name)
def test_the_packet_is_the_new_one_and_all_else_as_it_was(sample: Sample) -> None:
    module: ModuleType = MODULES[sample.name.rpartition(".")[2]]
    before, changed = module.metadata(sample.content), module.with_xmp(sample.content, NEW)
    after = module.metadata(changed)
    assert after.xmp == NEW
    assert (after.exif, after.icc, after.photoshop) == (before.exif, before.icc, before.photoshop)
    assert np.array_equal(module.read(changed).samples, module.read(sample.content).samples)
    if before.xmp is not None and module is not tiff:
        assert module.with_xmp(changed, before.xmp) == sample.content


def test_jpeg_keeps_every_other_byte_and_its_extended_xmp() -> None:
    source = next(one.content for one in jpegs(photograph((48, 40))) if one.name == "jpeg-88-422.jpg")
    extended = Segment(APP1, b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + bytes(8) + b"<more/>").bytes
    start = source.index(jpeg.XMP) - 4
    (length,) = struct.unpack_from(">H", source, start + 2)
    own = source[start : start + 2 + length]
    source = source.replace(own, b"\xff" + own + extended)  # with a fill byte before it
    changed = jpeg.with_xmp(source, NEW)
    assert changed == source.replace(own, Segment(APP1, jpeg.XMP + NEW).bytes)
    bare = source.replace(b"\xff" + own, b"")
    exif = bare.index(b"Exif\0\0") - 4
    end = exif + 2 + struct.unpack_from(">H", bare, exif + 2)[0]
    assert jpeg.with_xmp(bare, NEW) == bare[:end] + Segment(APP1, jpeg.XMP + NEW).bytes + bare[end:]
    longest = jpeg.with_xmp(bare, b"x" * jpeg.LONGEST_XMP)
    assert jpeg.metadata(longest).xmp == b"x" * jpeg.LONGEST_XMP


def test_png_unfolds_compressed_xmp_and_puts_new_xmp_before_the_picture() -> None:
    source = next(one.content for one in pngs(photograph((48, 40))) if one.name == "png-rgb.png")
    chunks = png.split(source)
    at = next(index for index, one in enumerate(chunks) if one.body.startswith(png.XMP_NAME))
    folded = png.Chunk(b"iTXt", png.XMP_NAME + b"\1\0en\0XMP\0" + zlib.compress(PACKET))
    packed = png.SIGNATURE + b"".join(one.bytes for one in [*chunks[:at], folded, *chunks[at + 1 :]])
    assert png.metadata(packed).xmp == PACKET
    assert png.with_xmp(packed, PACKET) == source
    damaged = packed.replace(folded.bytes, png.Chunk(b"iTXt", folded.body[:-30]).bytes)
    assert png.metadata(damaged).xmp != PACKET
    bare = png.SIGNATURE + b"".join(one.bytes for one in chunks if one is not chunks[at])
    names = [one.name for one in png.split(png.with_xmp(bare, NEW))]
    assert names.index(b"IDAT") == names.index(b"iTXt", names.index(b"eXIf")) + 1


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_plain_webp_gets_a_header(lossless: bool, mode: str) -> None:
    buffer = io.BytesIO()
    picture = Image.fromarray(photograph((47, 41))).convert(mode)
    picture.putpixel((0, 0), (1, 2, 3, 4) if mode == "RGBA" else (1, 2, 3))
    picture.save(buffer, "WEBP", lossless=lossless)
    changed = webp.with_xmp(buffer.getvalue() + b"behind", NEW)
    assert changed.endswith(b"behind")
    with Image.open(io.BytesIO(changed)) as image:
        assert (image.size, image.mode, image.info["xmp"]) == ((47, 41), mode, NEW)
    assert webp.metadata(webp.with_xmp(changed, PACKET)).xmp == PACKET


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_tiff_keeps_every_byte_but_the_place_of_its_first_page(bigtiff: bool, byteorder: str) -> None:
    buffer = io.BytesIO()
    pages = np.stack([photograph((48, 40)), photograph((48, 40))[::-1]])
    tifffile.imwrite(buffer, pages, metadata=None, bigtiff=bigtiff, byteorder=byteorder, photometric="rgb")
    source = buffer.getvalue()
    changed = tiff.with_xmp(source, NEW)
    place = slice(8, 16) if bigtiff else slice(4, 8)
    assert changed[: place.start] == source[: place.start]
    assert changed[place.stop : len(source)] == source[place.stop :]
    with tifffile.TiffFile(io.BytesIO(changed)) as file:
        assert len(file.pages) == 2
        assert np.array_equal(file.asarray(), pages)
        assert file.pages[0].tags[700].value == NEW
        assert 700 not in file.pages[1].tags
    assert tags.read_directory(changed).following == tags.read_directory(source).following


def boxes(content: bytes) -> list[tuple[bytes, bytes]]:
    return [(box.name, box.body) for box in jpeg2000.split(content)]


@pytest.mark.parametrize("long_form", [False, True])
def test_jpeg2000_puts_its_box_before_the_picture(long_form: bool) -> None:
    picture = photograph((48, 40))
    source = jpeg2000.write(picture, Metadata())
    start = source.index(b"jp2c") - 4
    if long_form:  # a length of 64 bits in front, and "to the end of the file" for the last box
        free = struct.pack(">I4sQ", 1, b"free", 16 + 5) + b"empty"
        source = source[:start] + free + b"\0\0\0\0" + source[start + 4 :]
        start += len(free)
    changed = jpeg2000.with_xmp(source, NEW)
    assert changed[:start] + changed[start + 24 + len(NEW) :] == source
    assert boxes(changed)[-2:] == [(b"uuid", jpeg2000.XMP_UUID + NEW), boxes(source)[-1]]
    assert np.array_equal(jpeg2000.read(changed).samples, picture)
