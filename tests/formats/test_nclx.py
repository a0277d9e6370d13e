"""A colour space named by numbers stays in AVIF and HEIC, is understood, and becomes a profile in other formats."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from dmdcli.colour import colours_of
from dmdcli.formats import heif
from dmdcli.formats.changed import Changed
from dmdcli.formats.nclx import Nclx, display_p3, read_nclx, with_meaning
from dmdcli.formats.picture import Metadata
from dmdcli.photos import encode_photo, read_metadata, read_photo
from tests.formats import profiles
from tests.formats.pictures import changed_to, photograph

P3, TELEVISION, BRIGHT = Nclx(12, 13, 6, True), Nclx(1, 1, 1, True), Nclx(9, 16, 9, True)


def needs(codec: str) -> None:
    if codec == heif.HEIC:
        pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    elif not features.check("avif"):
        pytest.skip("this build of Pillow has no AVIF")


def meaning(content: bytes) -> tuple[int, int] | None:
    found = read_nclx(content)
    return None if found is None else (found.primaries, found.transfer)


def test_the_profile_of_display_p3_is_display_p3() -> None:
    samples = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    ours, known = (colours_of(icc, "RGB")[0] for icc in (display_p3(), profiles.DISPLAY_P3))
    assert np.abs(ours.to_srgb(samples) - known.to_srgb(samples)).max() < 1e-3
    assert ImageCms.ImageCmsProfile(io.BytesIO(display_p3())).profile.profile_description == "Display P3"


@pytest.mark.parametrize("codec", [heif.AVIF, heif.HEIC])
@pytest.mark.parametrize("space", [P3, TELEVISION, BRIGHT])
def test_a_photo_keeps_the_colour_space_it_names(codec: str, space: Nclx, tmp_path: Path) -> None:
    needs(codec)
    source = heif.encode(codec, photograph(), Metadata(), nclx=space)
    assert meaning(source) == (space.primaries, space.transfer)
    path = tmp_path / "a.heic"
    path.write_bytes(source)
    photo = read_photo(path)
    written = encode_photo(photo, changed_to(photo.original, photo.original // 2), path)
    assert read_nclx(written) == read_nclx(source)
    with Image.open(io.BytesIO(written)) as image:
        assert "icc_profile" not in image.info or not image.info["icc_profile"], "it had none"
    assert [("primaries 9, transfer 16" in note) for note in photo.notes] == [True] * (space == BRIGHT)


@pytest.mark.parametrize("codec", [heif.AVIF, heif.HEIC])
def test_display_p3_by_number_is_seen_as_with_its_profile(codec: str, tmp_path: Path) -> None:
    needs(codec)
    path = tmp_path / "a.heic"
    path.write_bytes(heif.encode(codec, photograph(), Metadata(), nclx=P3))
    photo = read_photo(path)
    expected = colours_of(profiles.DISPLAY_P3, "RGB")[0].seen(photo.original)
    assert np.abs(photo.pixels.astype(int) - expected).max() <= 1
    assert (photo.pixels != photo.original).any()
    (tmp_path / "a.png").write_bytes(encode_photo(photo, Changed(photo.original), tmp_path / "a.png", ext="png"))
    assert read_metadata(tmp_path / "a.png")[1].icc == display_p3(), "PNG has no other way to say it"


@pytest.mark.parametrize("chroma", [420, 422, 444])
def test_heic_keeps_the_size_of_its_colour(chroma: int) -> None:
    needs(heif.HEIC)
    source = heif.encode(heif.HEIC, photograph(), Metadata(), chroma=chroma)
    samples = heif.read(source).samples
    written = heif.rewrite(source, Changed(samples))
    assert written[8:12] == source[8:12] == (b"heic" if chroma == 420 else b"heix")
    with Image.open(io.BytesIO(written)) as image:
        assert image.info["chroma"] == chroma
    assert np.abs(heif.read(written).samples.astype(int) - samples).mean() < 1.5


def test_damaged_boxes_say_nothing() -> None:
    inner = b"\0\0\0\x13colrnclx\0\x0c\0\x0d\0\x06\x80"
    for name in (b"ipco", b"iprp", b"meta"):
        inner = (b"" if name != b"meta" else bytes(4)) + inner
        inner = (len(inner) + 8).to_bytes(4, "big") + name + inner
    assert read_nclx(inner) == P3
    assert meaning(with_meaning(inner, BRIGHT)) == (9, 16)
    for end in range(len(inner)):
        assert read_nclx(inner[:end]) is None
    assert read_nclx(b"\0\0\0\1meta" + inner) is None
    assert read_nclx(b"\0\0\0\0free" + inner) is None
