from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from skimage.restoration import richardson_lucy

from dmdcli.evaluation.filters import SETTINGS, apply_filter
from dmdcli.evaluation.measures import psnr
from dmdcli.training.degrade import apply
from tests.test_evaluation_measures import NOTHING, picture

TRUTH = picture(1)


def test_bicubic_finds_the_shrunken_picture_again() -> None:
    """Sampled at the centres of the fewer pixels, a linearly enlarged picture is what was enlarged."""
    shrinking = dataclasses.replace(NOTHING, downscaling=512 / 96)
    degraded = apply(TRUTH, shrinking)
    small = cv2.resize(TRUTH, (96, 96), interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])
    small = cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1]
    expected = cv2.resize(small, (512, 512), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    found = psnr(apply_filter("bicubic", degraded, shrinking), expected)
    assert found > max(40, psnr(degraded, expected) + 4)
    not_shrunken = apply(TRUTH, NOTHING)
    assert apply_filter("bicubic", not_shrunken, NOTHING) is not_shrunken


@pytest.mark.parametrize("name", ["unsharp", "richardson-lucy"])
def test_sharpening_brings_a_blurred_picture_nearer(name: str) -> None:
    blurred = dataclasses.replace(NOTHING, blur=2)
    degraded = apply(TRUTH, blurred)
    settings = {"sigma": 2.0, "amount": 0.5} if name == "unsharp" else {"sigma": 2.0, "steps": 5}
    assert psnr(apply_filter(name, degraded, blurred, settings), TRUTH) > psnr(degraded, TRUTH) + 1


@pytest.mark.parametrize("name", ["nlm", "bilateral"])
def test_smoothing_brings_a_noisy_picture_nearer(name: str) -> None:
    calm = TRUTH // 4 + np.uint8(96)
    noisy = dataclasses.replace(NOTHING, noise=10)
    degraded = apply(calm, noisy)
    settings = {"strength": 10.0} if name == "nlm" else {"sigma_colour": 40.0, "sigma_space": 3.0}
    assert psnr(apply_filter(name, degraded, noisy, settings), calm) > psnr(degraded, calm) + 2


def test_richardson_lucy_is_that_of_scikit_image_away_from_the_border() -> None:
    degraded = apply(TRUTH, dataclasses.replace(NOTHING, blur=2))
    kernel = cv2.getGaussianKernel(13, 2)
    expected = richardson_lucy(degraded[..., 1].astype(float) / 255, kernel @ kernel.T, num_iter=3)
    found = apply_filter("richardson-lucy", degraded, NOTHING, {"sigma": 2.0, "steps": 3})[..., 1]
    assert np.abs(found / 255 - expected)[60:-60, 60:-60].max() < 0.0021
    assert np.abs(found.astype(float) - TRUTH[..., 1])[:4].mean() < 8, "nothing rings in from the outside"


@pytest.mark.parametrize("name", SETTINGS)
def test_filters_give_pictures_of_the_same_kind(name: str) -> None:
    degradation = dataclasses.replace(NOTHING, downscaling=3, noise=5)
    degraded = apply(TRUTH, degradation)
    before = degraded.copy()
    made = apply_filter(name, degraded, degradation)
    assert (made.shape, made.dtype) == (TRUTH.shape, np.uint8)
    assert not np.array_equal(made, degraded)
    assert np.array_equal(degraded, before), "what is measured is not changed"
    assert np.array_equal(made, apply_filter(name, degraded, degradation))
