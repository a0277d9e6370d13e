"""JPEG: tables, sampling, segments and untouched blocks stay."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, JpegImagePlugin

from dmdcli.formats import jpeg
from dmdcli.formats.changed import Changed
from dmdcli.formats.jpeg import Segment
from dmdcli.formats.picture import Unreadable
from tests.formats.pictures import changed_to, encoded, exif_with_orientation, photograph

TINY = 0.002
"""Share of the samples that may change by more than two levels where nothing was restored."""


def changed_in_a_disc(samples: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """The samples with a darker square, and where anything may change: the square and its 16-pixel blocks."""
    stored, allowed = samples.copy(), np.zeros(samples.shape[:2], bool)
    stored[40:90, 60:120] //= 2
    allowed[32:96, 48:128] = True
    return stored, allowed


def components(content: bytes) -> list[tuple[int, int, tuple[int, ...]]]:
    """Sampling (across, down) and quantisation table of every component."""
    frame = jpeg.read_frame(jpeg.split(content)[0])
    with Image.open(io.BytesIO(content)) as image:
        assert isinstance(image, JpegImagePlugin.JpegImageFile)
        return [(part.across, part.down, tuple(image.quantization[part.table])) for part in frame.components]


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("sampling", [0, 1, 2])
@pytest.mark.parametrize("quality", [30, 75, 92, 100])
@pytest.mark.parametrize("size", [(240, 176), (233, 171)])
def test_tables_sampling_and_untouched_blocks_stay(
    quality: int, sampling: int, progressive: bool, size: tuple[int, int]
) -> None:
    source = encoded(photograph(size), "JPEG", quality=quality, subsampling=sampling, progressive=progressive)
    original = jpeg.read(source).samples
    stored, allowed = changed_in_a_disc(original)
    written = jpeg.rewrite(source, changed_to(original, stored))
    assert components(written) == components(source)
    assert jpeg.read_frame(jpeg.split(written)[0]).progressive == progressive
    difference = np.abs(jpeg.read(written).samples.astype(int) - original)
    outside = difference[~allowed]
    assert np.median(outside) == 0
    assert (outside > 0).mean() < (0.01 if quality < 95 else 0.12)
    assert (outside > 4).mean() < TINY
    assert difference[50:80, 70:110].mean() > 20


def test_grey_stays_grey() -> None:
    source = encoded(photograph()[..., 1].copy(), "JPEG", quality=80)
    original = jpeg.read(source).samples
    stored, allowed = changed_in_a_disc(original)
    written = jpeg.rewrite(source, changed_to(original, stored))
    assert components(written) == components(source)
    difference = np.abs(jpeg.read(written).samples.astype(int) - original)
    assert (difference[~allowed] > 0).mean() < 0.01


def test_rgb_without_luminance_stays_so() -> None:
    source = encoded(photograph(), "JPEG", keep_rgb=True)
    original = jpeg.read(source).samples
    written = jpeg.rewrite(source, Changed(original))
    assert [part.identifier for part in jpeg.read_frame(jpeg.split(written)[0]).components] == list(b"RGB")
    difference = np.abs(jpeg.read(written).samples.astype(int) - original)
    assert (difference > 0).mean() < 0.01


def test_three_different_tables_stay() -> None:
    tables = [[3] * 64, [5] * 64, [9] * 64]
    source = encoded(photograph(), "JPEG", qtables=tables, subsampling=0)
    original = jpeg.read(source).samples
    assert [set(part[2]) for part in components(jpeg.rewrite(source, Changed(original)))] == [{3}, {5}, {9}]


def test_noise_in_the_finest_tables_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    source = encoded(noise, "JPEG", quality=100, subsampling=0)
    written = jpeg.rewrite(source, Changed(jpeg.read(source).samples))
    assert components(written) == components(source)
    assert capfd.readouterr().err == ""


def test_a_quality_asked_for_replaces_the_tables() -> None:
    source = encoded(photograph(), "JPEG", quality=95, subsampling=1)
    original = jpeg.read(source).samples
    written = jpeg.rewrite(source, Changed(original), 40)
    assert components(written) == components(encoded(photograph(), "JPEG", quality=40, subsampling=1))


def test_segments_stay_byte_for_byte_and_in_order() -> None:
    xmp = jpeg.XMP + b"<x:xmpmeta>" + b" " * 3000 + b"</x:xmpmeta>"
    iptc = jpeg.PHOTOSHOP + b"8BIM\x04\x04\0\0\0\0\0\x0c\x1c\x02\x50\0\x07Grandma"
    profile = bytes(range(256)) * 300
    added = [
        Segment(jpeg.APP1, exif_with_orientation(6)),
        Segment(jpeg.APP1, xmp),
        Segment(jpeg.APP2, jpeg.ICC + b"\x02\x02" + profile[60000:]),
        Segment(jpeg.APP2, jpeg.ICC + b"\x01\x02" + profile[:60000]),
        Segment(jpeg.APP13, iptc),
        Segment(jpeg.APP2, jpeg.MULTI_PICTURE + b"places of further pictures"),
        Segment(jpeg.COM, b"scanned by Uncle Bob"),
        Segment(0xE9, b"\xff\xd9 something private"),
        Segment(jpeg.COM, b""),
    ]
    plain = encoded(photograph(), "JPEG", dpi=(300, 300))
    segments, scans = jpeg.split(plain)
    film = b"ftypmp42 a short film behind the picture"
    source = plain[:2] + b"".join(s.bytes for s in [segments[0], *added, *segments[1:]]) + scans + film
    picture = jpeg.read(source)
    assert picture.orientation == 6
    written = jpeg.rewrite(source, changed_to(picture.samples, picture.samples // 2))
    kept = [segment for segment in jpeg.split(written)[0] if segment.described]
    assert kept == [segments[0], *(s for s in added if not s.payload.startswith(jpeg.MULTI_PICTURE))]
    assert written.endswith(b"\xff\xd9" + film)
    found = jpeg.metadata(written)
    assert found.exif == exif_with_orientation(6)[6:]
    assert found.icc == profile
    assert found.xmp == xmp[len(jpeg.XMP) :]
    assert found.photoshop == iptc[len(jpeg.PHOTOSHOP) :]
    assert found.density == (300, 300)


@pytest.mark.parametrize(
    "payload", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_damaged_exif_is_kept_and_no_failure(payload: bytes) -> None:
    plain = encoded(photograph(), "JPEG")
    source = plain[:2] + Segment(jpeg.APP1, payload).bytes + plain[2:]
    picture = jpeg.read(source)
    assert picture.orientation == 1
    assert Segment(jpeg.APP1, payload) in jpeg.split(jpeg.rewrite(source, Changed(picture.samples)))[0]


def test_12_bits_are_refused() -> None:
    source = bytearray(encoded(photograph(), "JPEG"))
    source[source.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(Unreadable, match="3 channels of 12 bits"):
        jpeg.read(bytes(source))


def test_long_profiles_are_split_and_long_exif_left_out_in_new_files() -> None:
    profile = bytes(range(256)) * 400
    written = jpeg.write(photograph(), jpeg.Metadata(exif=b"II*\0" + bytes(70000), icc=profile, xmp=b"<x/>"))
    found = jpeg.metadata(written)
    assert (found.exif, found.icc, found.xmp) == (None, profile, b"<x/>")
    with Image.open(io.BytesIO(written)) as image:
        assert image.info["icc_profile"] == profile


def test_real_photographs_hardly_change(test_data: Path) -> None:
    """Measured: 0.03 to 6 percent of the samples change, the median by nothing."""
    photos = test_data / "faces/photos"
    paths = [*sorted((photos / "old").glob("*.jpg"))[:4], photos / "people/lisa/lisa1.jpg"]
    for path in paths:
        source = path.read_bytes()
        original: Any = jpeg.read(source).samples
        difference = np.abs(jpeg.read(jpeg.rewrite(source, Changed(original))).samples.astype(int) - original)
        assert (difference > 0).mean() < 0.07, path
        assert components(jpeg.rewrite(source, Changed(original))) == components(source)


@pytest.mark.parametrize("size", [(240, 176), (233, 171)])
@pytest.mark.parametrize("quality", [40, 90])
@pytest.mark.parametrize("sampling", [0x411111, 0x121111, 0x411121], ids=["4:1:1", "4:4:0", "uneven"])
def test_unusual_sampling_stays(sampling: int, quality: int, size: tuple[int, int]) -> None:
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    _, content = cv2.imencode(".jpg", photograph(size)[..., ::-1], options)
    source = content.tobytes()
    original = jpeg.read(source).samples
    stored, allowed = changed_in_a_disc(original)
    allowed[32:96, 32:128] = True  # colour's blocks are up to 32 pixels wide
    written = jpeg.rewrite(source, changed_to(original, stored))
    assert components(written) == components(source)
    difference = np.abs(jpeg.read(written).samples.astype(int) - original)
    assert (difference[~allowed] > 0).mean() < 0.01
    assert difference[50:80, 70:110].mean() > 20
    assert len(written) < 1.05 * len(source)
    other = jpeg.rewrite(source, changed_to(original, stored), 20)
    assert len(other) < len(written)
    assert [part[:2] for part in components(other)] == [part[:2] for part in components(source)]
