"""A restored face keeps the tone and the grain of its print."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from dmdcli.faces.align import blend_mask
from dmdcli.faces.embedded import EmbeddedKit
from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.surface import (
    LUMINANCE,
    bands,
    is_engraved,
    keep_grain,
    keep_tone,
    noise_energies,
    one_band,
    tone_curve,
)
from dmdcli.photos import read_photo
from dmdcli.shapes import FloatPixels

FACE = np.zeros((512, 512), dtype=np.float32)
FACE[96:448, 96:416] = 1


def shades() -> npt.NDArray[np.float32]:
    """A smooth picture (512, 512) between 0.15 and 0.85."""
    rows, columns = np.mgrid[0:512, 0:512].astype(np.float32) / 512
    return np.asarray(0.5 + 0.35 * np.sin(5 * rows + 1) * np.cos(4 * columns), dtype=np.float32)


def in_sepia(luminance: npt.NDArray[np.float32]) -> FloatPixels:
    """Toned as albumen prints are: the middle tones more than black and white; its luma is the luminance given."""
    warm = luminance * (1 - luminance)
    chroma = np.stack([warm * 0.35, warm * 0.02, -warm * 0.6], axis=2)
    chroma -= (chroma @ LUMINANCE)[..., None]
    return (luminance[..., None] + chroma).astype(np.float32)


def test_a_sepia_print_stays_sepia() -> None:
    given = in_sepia(shades())
    brighter = np.clip(shades() * 0.9 + 0.1, 0, 1)
    coloured = np.clip(brighter[..., None] + np.array([0.05, -0.03, 0.04]), 0, 1).astype(np.float32)
    kept = keep_tone(coloured, given)
    np.testing.assert_allclose(kept, in_sepia((coloured @ LUMINANCE).astype(np.float32)), atol=2e-3)


def test_a_grey_print_stays_grey() -> None:
    given = np.repeat(shades()[..., None], 3, axis=2)
    kept = keep_tone(np.clip(given + np.array([0.06, 0.0, -0.05], dtype=np.float32), 0, 1), given)
    assert np.ptp(kept, axis=2).max() < 1e-5


def test_a_picture_in_colours_is_left_to_the_network() -> None:
    given = np.stack([shades(), shades().T, 1 - shades()], axis=2)
    assert tone_curve(given) is None
    restored = np.clip(given + 0.1, 0, 1).astype(np.float32)
    assert keep_tone(restored, given) is restored


def test_jpeg_and_grain_do_not_make_a_toned_print_colourful() -> None:
    noise = np.random.default_rng(0).normal(0, 6 / 255, (512, 512)).astype(np.float32)
    stored = np.rint(in_sepia(np.clip(shades() + noise, 0, 1)) * 255).astype(np.uint8)
    done, coded = cv2.imencode(".jpg", stored[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 60])
    assert done
    decoded = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), dtype=np.float32)
    assert tone_curve(np.ascontiguousarray(decoded[..., ::-1]) / 255) is not None


@pytest.mark.parametrize("level", [0.5, 1.5])
def test_grain_comes_back_as_strong_as_it_was(level: float) -> None:
    clean = np.repeat(shades()[..., None], 3, axis=2)
    noise = cv2.GaussianBlur(np.random.default_rng(1).normal(0, 1, (512, 512)), (0, 0), 0.8)
    noise *= level / 255 / noise.std()
    given = np.clip(clean + noise[..., None], 0, 1).astype(np.float32)
    kept = keep_grain(clean, given, FACE)
    for wanted, found, smooth in zip(*(bands(picture @ LUMINANCE) for picture in (given, kept, clean)), strict=True):
        part = np.s_[128:416, 128:384]
        assert abs(found[part].std() / wanted[part].std() - 1) < 0.15
        assert smooth[part].std() < 0.5 * wanted[part].std()
    assert np.array_equal(kept, keep_grain(clean, given, FACE)), "the same photo gives the same file"
    assert np.abs(kept @ LUMINANCE - given @ LUMINANCE).mean() > 0.5 * level / 255, "grain is made, not copied"


@pytest.mark.parametrize("size", [1.0, 1.7, 4.0])
def test_noise_has_the_energies_that_are_reckoned_with(size: float) -> None:
    generator = np.random.default_rng(4)
    fields = [generator.standard_normal((2048, 2048), dtype=np.float32) for _ in range(3)]
    noise = [bands(field, size)[band] for band, field in enumerate(fields)]
    for band, field in enumerate(fields):
        np.testing.assert_array_equal(one_band(field, band, size), noise[band])
    measured = np.array([[np.square(part).mean() for part in bands(field, size)] for field in noise]).T
    np.testing.assert_allclose(noise_energies(size), measured, rtol=0.04)


def test_the_grain_of_a_small_face_is_coarse_in_the_crop() -> None:
    """Grain of a photo pixel in a face that was enlarged three times."""
    clean = np.repeat(shades()[..., None], 3, axis=2)
    fine = np.random.default_rng(1).normal(0, 1.2 / 255, (171, 171)).astype(np.float32)
    grain = cv2.resize(cv2.GaussianBlur(fine, (0, 0), 0.6), (512, 512), interpolation=cv2.INTER_CUBIC)
    given = np.clip(clean + grain[..., None], 0, 1).astype(np.float32)
    part = np.s_[128:416, 128:384]
    strengths = [
        [float(band[part].std()) for band in bands(picture @ LUMINANCE, 3)]
        for picture in (given, keep_grain(clean, given, FACE, 3.0), keep_grain(clean, given, FACE))
    ]
    wanted, found, as_if_large = strengths
    assert found[:2] == pytest.approx(wanted[:2], rel=0.2)
    assert as_if_large[1] < 0.75 * wanted[1], "grain of one crop pixel is not that of the print"


def test_heavy_noise_is_not_put_back_whole() -> None:
    clean = np.repeat(shades()[..., None], 3, axis=2)
    given = np.clip(clean + np.random.default_rng(2).normal(0, 20 / 255, (512, 512, 1)), 0, 1).astype(np.float32)
    kept = keep_grain(clean, given, FACE)
    assert 255 * (kept - clean).std() < 7


def test_a_clean_picture_gets_no_grain_and_a_tiny_face_none_either() -> None:
    clean = np.repeat(shades()[..., None], 3, axis=2)
    np.testing.assert_allclose(keep_grain(clean, clean, FACE), clean, atol=1e-6)
    grainy = np.clip(clean + np.random.default_rng(3).normal(0, 2 / 255, clean.shape), 0, 1).astype(np.float32)
    assert keep_grain(clean, grainy, np.zeros((512, 512), dtype=np.float32)) is clean


def test_an_engraving_is_known_by_its_lines() -> None:
    rows, columns = np.mgrid[0:512, 0:512].astype(np.float32)
    lines = 0.5 + 0.5 * np.sin(2 * np.pi * (columns + 0.3 * rows) / 6)
    engraved = np.where(lines < shades(), 0.85, 0.1).astype(np.float32)
    assert is_engraved(np.repeat(engraved[..., None], 3, axis=2), FACE)
    assert not is_engraved(np.repeat(shades()[..., None], 3, axis=2), FACE)
    assert not is_engraved(np.repeat(engraved[..., None], 3, axis=2), np.zeros((512, 512), dtype=np.float32))


def test_film_grain_is_no_engraving() -> None:
    grain = cv2.GaussianBlur(np.random.default_rng(4).normal(0, 1, (512, 512)), (0, 0), 1)
    grainy = shades() + grain * (3 / 255) / grain.std()
    assert not is_engraved(np.repeat(grainy[..., None], 3, axis=2).astype(np.float32), FACE)


@pytest.mark.slow
def test_photographs_are_told_from_engravings(test_data: Path) -> None:
    engraved = ("edwards_john_cummins", "roman_james_dixon", "richardson_david_plunket", "darling_william_augustus")
    photographed = ("theodore_roosevelt", "woodrow_wilson", "allen_elisha_hunt", "marshall_samuel_scott")
    finder = FaceFinder(EmbeddedKit())
    for name in (*engraved, *photographed):
        (face,) = finder.find(read_photo(test_data / "faces" / "photos" / "old" / f"{name}.jpg").pixels)
        crop, mask = face.pixels.astype(np.float32) / 255, blend_mask(face.landmarks.points)
        assert is_engraved(crop, mask) == (name in engraved)


def test_a_flat_crop_has_no_curve_to_follow() -> None:
    noise = np.random.default_rng(5).integers(-1, 2, (512, 512, 3)) / 255
    given = (np.array([0.55, 0.5, 0.4]) + noise).astype(np.float32)
    kept = keep_tone((given + 0.1).astype(np.float32), given)
    np.testing.assert_allclose(kept, given + 0.1, atol=1e-4)
