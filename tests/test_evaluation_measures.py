from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image
from scipy.signal import convolve2d
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from dmdcli.errors import ShapeError
from dmdcli.evaluation.measures import (
    Quality,
    Truth,
    gmsd,
    measure,
    psnr,
    ssim,
    to_uint8,
)
from dmdcli.faces.face import landmark_distance
from dmdcli.training.degrade import Degradation, Severity, apply, draw, generator_for

BOXES = np.array([[150, 180, 230, 260], [280, 180, 360, 260], [200, 320, 320, 420]])
NOTHING = Degradation(blur=0, downscaling=1, noise=0, jpeg=100, noise_seed=0)


def picture(seed: int, side: int = 512) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (side // 16, side // 16, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC))


def compare(bad: np.ndarray, truth: np.ndarray) -> Quality:
    (quality,) = measure([bad], Truth(truth, BOXES))
    return quality


@pytest.mark.parametrize("severity", Severity)
def test_psnr_and_ssim_are_those_of_scikit_image(severity: Severity) -> None:
    truth = picture(1, 128)
    bad = apply(truth, draw(severity, generator_for(2, "x")))
    assert psnr(bad, truth) == pytest.approx(peak_signal_noise_ratio(truth, bad), abs=1e-9)
    theirs = structural_similarity(
        truth, bad, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert ssim(bad, truth) == pytest.approx(theirs, abs=1e-6)


def test_gmsd_is_that_of_its_formula() -> None:
    truth = picture(1, 128)
    bad = apply(truth, dataclasses.replace(NOTHING, blur=3, noise=9))
    prewitt = np.outer([1, 1, 1], [1, 0, -1]) / 3
    magnitudes = []
    for pixels in (bad, truth):
        luma = pixels @ [0.299, 0.587, 0.114]
        half = convolve2d(luma, np.full((2, 2), 0.25), mode="valid")[::2, ::2]
        magnitudes.append(np.hypot(convolve2d(half, prewitt, mode="same"), convolve2d(half, prewitt.T, mode="same")))
    one, other = magnitudes
    expected = ((2 * one * other + 170) / (one**2 + other**2 + 170)).std()
    assert gmsd(bad, truth) == pytest.approx(expected, abs=1e-9)
    assert expected > 0.01


def test_equal_pictures() -> None:
    truth = picture(1)
    quality = compare(truth, truth)
    assert (quality.psnr, quality.component_psnr, quality.sharpness) == (100.0, 100.0, 1.0)
    assert (quality.ssim, quality.component_ssim) == (pytest.approx(1), pytest.approx(1))
    assert (quality.gmsd, quality.component_gmsd) == (0, 0)
    assert (quality.similarity, quality.distance, quality.landmark_distance) == (None, None, None)


def test_component_measures_see_only_the_boxes() -> None:
    truth = picture(1)
    outside, inside = truth.copy(), truth.copy()
    outside[:100] ^= 64
    inside[200:210, 160:170] ^= 64
    elsewhere = compare(outside, truth)
    assert (elsewhere.component_psnr, elsewhere.component_gmsd) == (100.0, 0)
    assert elsewhere.component_ssim == pytest.approx(1)
    assert elsewhere.psnr < 30
    assert elsewhere.ssim < 0.99
    assert elsewhere.gmsd > 0.01
    marked = compare(inside, truth)
    area = 2 * 80 * 80 + 120 * 100
    assert marked.component_psnr == pytest.approx(marked.psnr - 10 * np.log10(512**2 / area))
    assert marked.component_ssim < marked.ssim
    assert marked.component_gmsd > marked.gmsd


def test_sharpness_falls_with_blur_and_rises_with_noise() -> None:
    truth = picture(1)
    blurred = compare(apply(truth, dataclasses.replace(NOTHING, blur=8)), truth)
    noisy = compare(apply(truth, dataclasses.replace(NOTHING, noise=20)), truth)
    assert blurred.sharpness < 0.5
    assert noisy.sharpness > 1.2


def test_landmarks_are_measured_in_eye_distances() -> None:
    truth = np.random.default_rng(0).uniform(100, 400, (68, 2)).astype(np.float32)
    truth[36], truth[45] = (150, 200), (350, 200)
    moved = truth + np.float32([3, 4])
    assert landmark_distance(moved, truth) == pytest.approx(5 / 200, abs=1e-6)
    assert landmark_distance(truth, truth) == 0


def test_measures_refuse_what_they_cannot_compare() -> None:
    with pytest.raises(ShapeError, match="picture"):
        psnr(picture(1, 64), picture(1, 128))
    with pytest.raises(ShapeError, match="at least 11"):
        ssim(picture(1, 128)[:5], picture(1, 128)[:5])
    with pytest.raises(ShapeError, match="picture"):
        gmsd(picture(1, 64), picture(1, 128))


def test_floats_are_rounded_and_clipped() -> None:
    floats = np.array([[[-0.1, 0.5, 1.2]]], dtype=np.float32)
    assert to_uint8(floats).tolist() == [[[0, 128, 255]]]
