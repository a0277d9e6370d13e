"""TIFF: only changed strips change, all tags and pages stay, every common layout is read and written."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image, ImageSequence

from dmdcli.formats import tiff
from dmdcli.formats import tiff_directory as tags
from dmdcli.formats.changed import Changed
from dmdcli.formats.picture import Metadata, Unreadable
from dmdcli.formats.tiff_directory import read_directory
from tests.formats.pictures import changed_to, encoded, exif_with_orientation, picture

CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}


def by_tifffile(samples: npt.NDArray[Any], mode: str, planar: bool = False, **options: Any) -> bytes:
    buffer = io.BytesIO()
    if planar:
        samples, options = np.moveaxis(samples, 2, 0), {"planarconfig": "separate", **options}
    options.setdefault("photometric", "rgb" if mode.startswith("RGB") else "minisblack")
    tifffile.imwrite(buffer, samples, extrasamples=[2] if mode.endswith("A") else None, **options)
    return buffer.getvalue()


def changed(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    stored = samples.copy()
    stored[20:24, 18:30] //= 2
    return stored


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(("mode", "planar"), [*((mode, False) for mode in CHANNELS), ("RGB", True), ("RGBA", True)])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    "layout",
    [
        {"rowsperstrip": 7},
        {"rowsperstrip": 7, "compression": "zlib", "predictor": 2},
        {"tile": (16, 32)},
        {"tile": (16, 16), "compression": "zlib"},
    ],
    ids=["strips", "deflated differences", "tiles", "deflated tiles"],
)
def test_layouts(mode: str, depth: int, big: bool, layout: dict[str, Any], planar: bool) -> None:
    samples = picture(mode, depth)
    source = by_tifffile(samples, mode, planar, bigtiff=big, byteorder=">" if big else "<", **layout)
    assert np.array_equal(tiff.read(source).samples, samples)
    assert tiff.rewrite(source, Changed(samples)) == source
    stored = changed(samples)
    written = tiff.rewrite(source, changed_to(samples, stored))
    assert np.array_equal(tiff.read(written).samples, stored)
    elsewhere = tifffile.imread(io.BytesIO(written))
    assert np.array_equal(np.moveaxis(elsewhere, 0, 2) if planar else elsewhere, stored)
    if "compression" not in layout:
        assert len(written) == len(source)


@pytest.mark.parametrize("mode", CHANNELS)
@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate"])
def test_compression_stays_and_pillow_reads_it(mode: str, compression: str) -> None:
    samples = picture(mode)
    source = encoded(samples, "TIFF", compression=compression, strip_size=1000)
    assert np.array_equal(tiff.read(source).samples, samples)
    written = tiff.rewrite(source, changed_to(samples, changed(samples)))
    with Image.open(io.BytesIO(written)) as image:
        assert image.info["compression"] == compression
        assert np.array_equal(np.array(image), changed(samples))


def strips(content: bytes) -> list[bytes]:
    directory = read_directory(content)
    offsets, lengths = (directory.values(content, tag) for tag in (tags.STRIP_OFFSETS, tags.STRIP_LENGTHS))
    return [content[start : start + length] for start, length in zip(offsets, lengths, strict=True)]


def test_untouched_strips_stay_byte_for_byte() -> None:
    samples = picture("RGB", 16)
    source = by_tifffile(samples, "RGB", rowsperstrip=5, compression="zlib")
    written = tiff.rewrite(source, changed_to(samples, changed(samples)))
    different = [
        index for index, (old, new) in enumerate(zip(strips(source), strips(written), strict=True)) if old != new
    ]
    assert different == [4]


@pytest.mark.parametrize("kind", ["uncompressed", "deflated"])
def test_tags_and_exif_stay(kind: str) -> None:
    exif = Image.Exif()
    exif.load(exif_with_orientation(8))
    exif[315] = "Studio Mueller"
    samples, profile, xmp = picture(), b"profile" * 50, b"<x:xmpmeta/>"
    if kind == "uncompressed":
        exif[700], exif[33723] = xmp, b"\x1c\x02\x50\0\x07Grandma"
        source = encoded(samples, "TIFF", exif=exif, icc_profile=profile, dpi=(600, 300))
    else:
        source = tiff.write(samples, Metadata(exif.tobytes()[6:], xmp, profile, b"8BIM", (600.0, 300.0)))
    assert tiff.read(source).orientation == 8
    noisy = samples.copy()
    noisy[20:40] = np.random.default_rng(0).integers(0, 256, noisy[20:40].shape)
    written = tiff.rewrite(source, changed_to(samples, noisy))
    assert (len(written) > len(source)) == (kind == "deflated")
    assert np.array_equal(tiff.read(written).samples, noisy)
    old, new = read_directory(source), read_directory(written)
    assert old.entries.keys() == new.entries.keys()
    for tag in old.entries.keys() - {tags.STRIP_OFFSETS, tags.STRIP_LENGTHS}:
        assert new.content(written, tag) == old.content(source, tag)
    with Image.open(io.BytesIO(written)) as image:
        assert image.getexif()[315] == "Studio Mueller"
        assert image.getexif().get_ifd(0x8769)[0x9003] == "1962:05:19 12:00:00"
    found = tiff.metadata(written)
    assert (found.icc, found.xmp, found.density) == (profile, xmp, (600, 300))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "jpeg"])
def test_further_pages_stay(compression: str) -> None:
    pages = [Image.fromarray(picture("RGB", 8, (30 + 5 * n, 20))) for n in range(3)]
    source = encoded(Image.fromarray(picture()), "TIFF", save_all=True, append_images=pages, compression=compression)
    original = tiff.read(source)
    assert original.notes == ("has 4 pages; only the first is used, the others are kept as they are",)
    written = tiff.rewrite(source, changed_to(original.samples, changed(original.samples)))
    with Image.open(io.BytesIO(written)) as image, Image.open(io.BytesIO(source)) as before:
        frames = [np.array(frame) for frame in ImageSequence.Iterator(image)]
        expected = [np.array(frame) for frame in ImageSequence.Iterator(before)]
    assert np.array_equal(frames[0], changed(original.samples))
    assert len(frames) == 4
    assert all(np.array_equal(got, wanted) for got, wanted in zip(frames[1:], expected[1:], strict=True))


@pytest.mark.parametrize("depth", [8, 16])
def test_white_is_zero(depth: int) -> None:
    top = 255 if depth == 8 else 65535
    samples = picture("L", depth)
    source = by_tifffile(top - samples, "L", photometric="miniswhite")
    assert np.array_equal(tiff.read(source).samples, samples)
    written = tiff.rewrite(source, changed_to(samples, changed(samples)))
    assert np.array_equal(tiff.read(written).samples, changed(samples))
    assert np.array_equal(top - tifffile.imread(io.BytesIO(written)), changed(samples))


@pytest.mark.parametrize("kind", ["jpeg", "group4"])
def test_other_kinds_are_written_back_deflated(kind: str) -> None:
    image = Image.fromarray(picture()) if kind == "jpeg" else Image.fromarray(picture("L")).convert("1")
    source = encoded(image, "TIFF", compression=kind, tiffinfo={274: 6}, icc_profile=b"profile")
    original = tiff.read(source)
    assert original.orientation == 6
    written = tiff.rewrite(source, changed_to(original.samples, changed(original.samples)))
    again = tiff.read(written)
    assert np.array_equal(again.samples, changed(original.samples))
    assert again.orientation == 6
    assert tiff.metadata(written).icc == b"profile"
    assert np.array_equal(tifffile.imread(io.BytesIO(written)), changed(original.samples))


@pytest.mark.parametrize("mode", CHANNELS)
@pytest.mark.parametrize("depth", [8, 16])
def test_new_files_are_read_elsewhere(mode: str, depth: int) -> None:
    samples = picture(mode, depth)
    metadata = Metadata(exif_with_orientation(5)[6:], b"<x/>", b"profile", b"8BIM", (300.0, 150.0))
    content = tiff.write(samples, metadata)
    assert np.array_equal(tifffile.imread(io.BytesIO(content)), samples)
    found = tiff.metadata(content)
    assert (found.xmp, found.icc, found.photoshop, found.density) == (b"<x/>", b"profile", b"8BIM", (300, 150))
    assert tiff.read(content).orientation == 5
    assert np.array_equal(tiff.read(tiff.write(samples, Metadata(exif=b"II"))).samples, samples)


def test_strips_that_overlap_are_written_anew() -> None:
    samples = np.zeros((40, 50), np.uint8)
    source = bytearray(by_tifffile(samples, "L", rowsperstrip=20))
    directory = read_directory(bytes(source))
    start = int.from_bytes(directory.entries[tags.STRIP_OFFSETS].field[:4], "little")
    source[start + 4 : start + 8] = source[start : start + 4]
    stored = samples.copy()
    stored[5, 5] = 9
    assert np.array_equal(tiff.read(tiff.rewrite(bytes(source), changed_to(samples, stored))).samples, stored)


@pytest.mark.parametrize(
    ("layout", "tag", "value", "reason"),
    [
        ({"tile": (16, 16)}, tags.TILE_WIDTH, 0, "declares"),
        ({"tile": (16, 16)}, tags.TILE_WIDTH, 60000, "truncated"),
        ({"rowsperstrip": 7}, tags.ROWS_PER_STRIP, 1, "truncated"),
        ({"rowsperstrip": 7}, tags.LENGTH, 4000, "truncated"),
    ],
)
def test_impossible_layouts_are_refused(layout: dict[str, Any], tag: int, value: int, reason: str) -> None:
    source = by_tifffile(picture("L"), "L", **layout)
    entry = read_directory(source).entries[tag]
    place = source.index(struct.pack("<HHI", tag, entry.kind, 1) + entry.field) + 8
    with pytest.raises(Unreadable, match=reason):
        tiff.read(source[:place] + struct.pack("<I", value) + source[place + 4 :])


def test_exif_for_other_formats_is_copied_byte_for_byte() -> None:
    """Names in Latin-1 or UTF-8 stay, whatever the standard says about ASCII; a directory in a circle ends."""
    source = tiff.write(picture(), Metadata(exif_with_orientation(8)[6:].replace(b"a wedding", "Müller 1".encode())))
    exif = tiff.metadata(source).exif
    assert exif is not None
    directory = read_directory(exif)
    assert directory.content(exif, 270) == "Müller 1".encode() + b"\0"
    branch = read_directory(exif, directory.value(exif, tags.EXIF, 0))
    assert branch.content(exif, 0x9003) == b"1962:05:19 12:00:00\0"
    assert tags.STRIP_OFFSETS not in directory.entries
    order = read_directory(source).order
    place = source.rindex(struct.pack(order + "HH", tags.EXIF, 4)) + 8
    (start,) = struct.unpack_from(order + "I", source, 4)
    circle = source[:place] + struct.pack(order + "I", start) + source[place + 4 :]
    assert tiff.metadata(circle).exif is not None
