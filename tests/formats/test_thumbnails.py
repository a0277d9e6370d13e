"""Thumbnails: drawn again at their size and in their bytes, wherever metadata hides them."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from dmdcli.formats import jpeg, tiff
from dmdcli.formats.changed import Changed
from dmdcli.formats.jpeg import Segment
from dmdcli.formats.thumbnails import renew_exif, renew_jfif, renew_photoshop, shown
from tests.collection import exif_block, photoshop_blocks
from tests.formats.pictures import changed_to, encoded, photograph, picture

OLD = np.full((48, 64, 3), 200, np.uint8)
NEW = shown(Changed(photograph((64, 48))))


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_keeps_its_length_and_all_but_the_thumbnail(order: str) -> None:
    before = exif_block(photograph((80, 60)), order=order)
    after = renew_exif(before, shown(Changed(photograph((320, 240)) // 2)))
    start = before.index(b"\xff\xd8\xff")
    assert len(after) == len(before)
    assert after[:start] == before[:start]
    with Image.open(io.BytesIO(after[start:])) as thumbnail:
        assert thumbnail.size == (80, 60)
        assert np.array(thumbnail).mean() < 0.7 * photograph((80, 60)).mean()


def test_a_thumbnail_with_no_room_for_detail_is_drawn_softly() -> None:
    flat = exif_block(np.full((60, 80, 3), 90, np.uint8))
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    after = renew_exif(flat, shown(Changed(noise)))
    with Image.open(io.BytesIO(after[after.index(b"\xff\xd8\xff") :])) as thumbnail:
        assert abs(np.array(thumbnail).mean() - 127) < 12


@pytest.mark.parametrize(
    "block", [b"", b"II*\0", b"MM\0*\xff\xff\xff\xff", exif_block(OLD, thumbnail=False), exif_block(OLD)[:-600]]
)
def test_what_cannot_be_read_stays(block: bytes) -> None:
    assert renew_exif(block, NEW) == block


def test_other_shapes_get_bars_as_cameras_make_them() -> None:
    after = renew_exif(exif_block(OLD), shown(Changed(np.full((100, 200, 3), 250, np.uint8))))
    with Image.open(io.BytesIO(after[after.index(b"\xff\xd8\xff") :])) as thumbnail:
        assert thumbnail.size == (80, 60)
        rows = np.array(thumbnail).mean(axis=(1, 2))
    assert rows[:8].max() < 20
    assert rows[14:46].min() > 230


def test_photoshop_keeps_its_other_blocks() -> None:
    before = photoshop_blocks(OLD)
    after = renew_photoshop(before, NEW)
    place = before.index(b"8BIM\x04\x0c")
    assert len(after) == len(before)
    assert after[:place] == before[:place]
    assert after != before
    assert renew_photoshop(before[:-300], NEW) == before[:-300]


def test_jfif_thumbnails_of_both_kinds() -> None:
    plain = b"JFIF\0\1\2\0\0\1\0\1" + bytes([16, 12]) + bytes(16 * 12 * 3)
    small = np.array(NEW().resize((16, 12), Image.Resampling.BOX))
    assert renew_jfif(plain, NEW)[14:] == small.tobytes()
    coded = b"JFXX\0\x10" + encoded(Image.fromarray(OLD), "JPEG")
    with Image.open(io.BytesIO(renew_jfif(coded, NEW)[6:])) as thumbnail:
        assert np.abs(np.array(thumbnail).astype(int) - np.array(NEW())).mean() < 20
    for other in (b"JFIF\0\1\2\0\0\1\0\1\0\0", b"JFXX\0\x11\2\2abcd", b"JFXX\0\x13", b"AVI1"):
        assert renew_jfif(other, NEW) == other


def test_jpeg_draws_again_only_if_samples_changed() -> None:
    plain = encoded(photograph(), "JPEG")
    source = plain[:2] + Segment(jpeg.APP1, b"Exif\0\0" + exif_block(photograph())).bytes + plain[2:]
    samples = jpeg.read(source).samples
    assert jpeg.metadata(jpeg.rewrite(source, Changed(samples))).exif == jpeg.metadata(source).exif
    assert jpeg.metadata(jpeg.rewrite(source, changed_to(samples, samples // 2))).exif != jpeg.metadata(source).exif


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}], ids=["plain", "deflated"])
def test_smaller_copies_in_a_tiff(options: dict[str, str]) -> None:
    buffer = io.BytesIO()
    samples = picture(size=(160, 120))
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(samples, photometric="rgb", metadata=None)
        # Noise leaves room for whatever the new copy is.
        noise = np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        writer.write(noise, photometric="rgb", subfiletype=1, metadata=None, **options)
    source = buffer.getvalue()
    written = tiff.rewrite(source, changed_to(samples, samples // 3))
    with tifffile.TiffFile(io.BytesIO(written)) as file:
        assert np.array_equal(file.pages[0].asarray(), samples // 3)
        small = file.pages[1].asarray()
    expected = Image.fromarray(samples // 3).resize((40, 30), Image.Resampling.BOX)
    assert np.abs(small.astype(int) - np.array(expected)).max() <= 2


def test_odd_blocks_never_fail() -> None:
    random = np.random.default_rng(4)
    for block in (exif_block(OLD), photoshop_blocks(OLD), struct.pack(">5sB", b"JFXX\0", 16) + bytes(90)):
        for _ in range(60):
            damaged = bytearray(block)
            for place in random.integers(0, min(len(block), 700), 6):
                damaged[place] = random.integers(0, 256)
            for renew in (renew_exif, renew_photoshop, renew_jfif):
                assert len(renew(bytes(damaged), NEW)) == len(block)
