"""Colour: what is seen agrees with LittleCMS, what is put back looks as wanted, and untouched samples stay."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from dmdcli.colour import INTENT, AsStored, Curves, Inks, Tables, colours_of
from dmdcli.formats import png, tiff
from dmdcli.formats.changed import Changed
from dmdcli.formats.picture import Metadata, eight_bit
from dmdcli.photos import Photo, read_photo, write_photo
from tests.formats import profiles
from tests.formats.pictures import encoded, photograph, picture

WIDE = {"Adobe RGB": profiles.ADOBE_RGB, "Display P3": profiles.DISPLAY_P3}
GREY = profiles.grey_profile(1.8)
INKS = profiles.ink_profile()


def every_colour() -> npt.NDArray[np.uint16]:
    return np.rint(profiles.grid(24, 3).reshape(24, -1, 3) * 65535).astype(np.uint16)


def every_ink() -> npt.NDArray[np.uint8]:
    return np.rint(profiles.grid(9, 4).reshape(81, 81, 4) * 255).astype(np.uint8)


@pytest.mark.parametrize("name", WIDE)
def test_curves_and_matrix_agree_with_littlecms(name: str) -> None:
    colours, note = colours_of(WIDE[name], "RGB")
    assert isinstance(colours, Curves)
    assert note is None
    seen = colours.seen(eight_bit(every_colour()))
    ours = colours.to_srgb(eight_bit(every_colour())).clip(0, 1)
    assert np.abs(ours - seen / np.float32(255)).max() < 1.5 / 255
    again = colours.from_srgb(colours.to_srgb(every_colour()), every_colour())
    assert np.abs(again.astype(int) - every_colour()).max() <= 64  # of 65535: next to black curves are steep


def test_adobe_green_is_outside_srgb_and_stays_what_it_is() -> None:
    colours, _ = colours_of(profiles.ADOBE_RGB, "RGB")
    green = np.array([[[0, 255, 0]]], np.uint8)
    assert colours.to_srgb(green)[0, 0, 0] < -0.1
    assert colours.from_srgb(colours.to_srgb(green), green).tolist() == green.tolist()


def by_littlecms(profile: bytes, grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Without its shortcuts, which are coarse where a curve bends, and black as the curve says."""
    flags = ImageCms.Flags.NOOPTIMIZE
    own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    transform = ImageCms.buildTransform(own, ImageCms.createProfile("sRGB"), "L", "RGB", INTENT, flags)
    converted = ImageCms.applyTransform(Image.fromarray(grey), transform)
    assert converted is not None
    return np.array(converted)


def test_grey_curves_agree_with_littlecms() -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    colours, _ = colours_of(GREY, "L")
    assert isinstance(colours, Curves)
    seen = by_littlecms(GREY, eight_bit(ramp))
    assert np.abs(colours.to_srgb(eight_bit(ramp)) - seen / np.float32(255)).max() < 1.5 / 255
    assert np.abs(colours.seen(eight_bit(ramp)).astype(int) - seen).max() <= 1
    assert np.abs(colours.from_srgb(colours.to_srgb(ramp), ramp).astype(int) - ramp).max() <= 1


def test_curves_of_every_kind_agree_with_littlecms() -> None:
    sampled = b"curv\0\0\0\0\0\0\0\5" + np.array([0, 9000, 22000, 40000, 65535], ">u2").tobytes()
    parametric = {
        0: (1.9,),
        1: (2.2, 1 / 1.1, 0.1 / 1.1),
        2: (2.2, 0.9, 0.05, 0.01),
        3: (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
        4: (2.4, 0.9, 0.05, 0.1, 0.05, 0.01, 0.002),
    }
    kinds = [
        b"para\0\0\0\0" + bytes([0, kind, 0, 0]) + profiles.fixed(*numbers) for kind, numbers in parametric.items()
    ]
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for curve in (sampled, b"curv\0\0\0\0\0\0\0\0", profiles.gamma(2.2), *kinds):
        profile = profiles.profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": curve})
        colours, note = colours_of(profile, "L")
        assert note is None
        difference = colours.to_srgb(ramp) - by_littlecms(profile, ramp) / np.float32(255)
        assert np.abs(difference).max() < 2 / 255, curve


def test_srgb_by_any_profile_is_as_stored() -> None:
    of_littlecms = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (profiles.SRGB, of_littlecms):
        assert isinstance(colours_of(profile, "RGB")[0], AsStored)


@pytest.mark.parametrize("profile", [None, INKS])
def test_inks_come_back_as_the_wanted_colour(profile: bytes | None) -> None:
    colours, _ = colours_of(profile, "CMYK")
    assert isinstance(colours, Inks if profile is None else Tables)
    given = every_ink()
    seen = colours.to_srgb(given)
    assert np.abs(colours.seen(given) / 255 - seen).max() <= 0.51 / 255
    for change in (-0.1, 0.1):
        wanted = (seen + np.float32(change)).clip(0.02, 0.98)
        difference = np.abs(colours.to_srgb(colours.from_srgb(wanted, given)) - wanted)
        assert np.quantile(difference, 0.5) < 2 / 255
        assert np.quantile(difference, 0.95) < 6 / 255


def test_black_stays_black_ink() -> None:
    """A grey print made of black ink alone, a little brighter: less black ink, no coloured inks."""
    given = np.zeros((4, 4, 4), np.uint8)
    given[..., 3] = 120
    changed = Inks().from_srgb(Inks().to_srgb(given) + np.float32(0.1), given)
    assert (changed[..., 3] < 120).all()
    assert changed[..., :3].max() == 0


@pytest.mark.parametrize(
    ("profile", "mode"),
    [(b"", "RGB"), (bytes(300), "L"), (profiles.ADOBE_RGB, "L"), (GREY, "RGB"), (INKS, "RGB"), (INKS[:400], "CMYK"),
     (profiles.ADOBE_RGB[:200], "RGB"), (profiles.profile(b"mntr", b"RGB ", b"XYZ ", {}), "RGB")],
)  # fmt: skip
def test_a_profile_that_cannot_be_used_is_a_note(profile: bytes, mode: str) -> None:
    colours, note = colours_of(profile, mode)
    assert isinstance(colours, Inks if mode == "CMYK" else AsStored)
    assert note is not None
    assert "cannot be used" in note


BOX = (10, 8, 40, 30)


def files() -> list[Any]:
    rgb, deep, grey = picture(), picture("RGB", 16), picture("L", 16)
    cmyk = Image.fromarray(photograph((96, 64))).convert("CMYK")
    return [
        pytest.param(png.write(rgb, Metadata(icc=profiles.ADOBE_RGB)), id="png-adobe"),
        pytest.param(png.write(picture("RGBA"), Metadata(icc=profiles.DISPLAY_P3)), id="png-p3-alpha"),
        pytest.param(png.write(grey, Metadata(icc=GREY)), id="png-grey-16"),
        pytest.param(tiff.write(deep, Metadata(icc=profiles.ADOBE_RGB)), id="tiff-adobe-16"),
        pytest.param(encoded(cmyk, "TIFF", icc_profile=INKS), id="tiff-cmyk"),
        pytest.param(encoded(cmyk, "TIFF"), id="tiff-cmyk-plain"),
        pytest.param(encoded(cmyk, "TIFF", compression="jpeg"), id="tiff-cmyk-jpeg"),
    ]


def read_bytes(folder: Path, content: bytes, name: str = "a") -> Photo:
    (folder / name).write_bytes(content)
    return read_photo(folder / name)


@pytest.mark.parametrize("content", files())
def test_a_changed_region_looks_as_wanted_and_the_rest_stays(tmp_path: Path, content: bytes) -> None:
    photo = read_bytes(tmp_path, content)
    x0, y0, x1, y1 = BOX
    canvas = photo.canvas()
    canvas.put(0, 0, canvas.region(0, 0, photo.pixels.shape[1], photo.pixels.shape[0]))
    assert np.array_equal(canvas.stored, photo.original)
    wanted = canvas.region(*BOX) * np.float32(0.8) + np.float32(0.1)
    canvas.put(x0, y0, wanted)
    write_photo(photo, canvas.changed, tmp_path / "out")
    again = read_photo(tmp_path / "out")
    assert (again.mode, again.depth, again.metadata.icc) == (photo.mode, photo.depth, photo.metadata.icc)
    assert np.abs(again.region(*BOX) - wanted).mean() < (1.5 if photo.inks else 0.5) / 255
    changed = (again.original != photo.original).reshape(*photo.pixels.shape[:2], -1).any(axis=2)
    assert changed[y0:y1, x0:x1].mean() > 0.9
    changed[y0:y1, x0:x1] = False
    assert not changed.any()


def test_what_is_seen_is_srgb(tmp_path: Path) -> None:
    photo = read_bytes(tmp_path, encoded(photograph((96, 64)), "JPEG", icc_profile=profiles.ADOBE_RGB))
    as_stored = read_bytes(tmp_path, encoded(photograph((96, 64)), "JPEG"))
    assert np.abs(photo.pixels.astype(int) - as_stored.pixels).mean() > 2
    assert np.abs(photo.region(*BOX) - photo.pixels[8:30, 10:40] / np.float32(255)).max() < 1.5 / 255


@pytest.mark.parametrize("transform", [0, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_cmyk_jpegs_keep_inks_tables_and_untouched_blocks(tmp_path: Path, transform: int, progressive: bool) -> None:
    cmyk = Image.fromarray(photograph((128, 96))).convert("CMYK")
    source = encoded(cmyk, "JPEG", quality=85, icc_profile=INKS, progressive=progressive)
    assert b"Adobe\0d\0\0\0\0\0" in source
    photo = read_bytes(tmp_path, source.replace(b"Adobe\0d\0\0\0\0\0", b"Adobe\0d\0\0\0\0" + bytes([transform])))
    assert photo.mode == "CMYK"
    canvas = photo.canvas()
    canvas.put(32, 32, canvas.region(32, 32, 64, 64) * np.float32(0.5))
    write_photo(photo, canvas.changed, tmp_path / "out.jpg")
    again = read_photo(tmp_path / "out.jpg")
    with Image.open(tmp_path / "out.jpg") as image, Image.open(io.BytesIO(source)) as before:
        assert image.mode == "CMYK"
        assert set(map(tuple, image.quantization.values())) == set(map(tuple, before.quantization.values()))
        assert image.info["progressive" if progressive else "adobe"]
        assert image.info["icc_profile"] == INKS
    difference = np.abs(again.original.astype(float) - photo.original)
    difference[32:64, 32:64] = 0
    assert 10 * np.log10(255**2 / max((difference**2).mean(), 1e-9)) > 55
    assert again.pixels[40:56, 40:56].mean() < 0.7 * photo.pixels[40:56, 40:56].mean()


@pytest.mark.parametrize("ext", ["png", "tif", "webp", "bmp"])
def test_another_format_gets_cmyk_as_srgb(tmp_path: Path, ext: str) -> None:
    cmyk = Image.fromarray(photograph((96, 64))).convert("CMYK")
    photo = read_bytes(tmp_path, encoded(cmyk, "JPEG", icc_profile=INKS))
    write_photo(photo, Changed(photo.original), tmp_path / f"b.{ext}", ext=ext)
    again = read_photo(tmp_path / f"b.{ext}")
    assert again.mode == "RGB"
    assert again.metadata.icc is None
    assert np.abs(again.pixels.astype(int) - photo.pixels).max() <= 1
