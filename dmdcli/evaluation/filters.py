"""Plain filters that anyone has at hand, each at its best setting, for comparison."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np

from dmdcli.errors import PackageError
from dmdcli.shapes import Pixels
from dmdcli.training.degrade import Degradation

Settings = Mapping[str, float]

SETTINGS: Mapping[str, Settings] = MappingProxyType(
    {
        "bicubic": {},
        "unsharp": {"sigma": 8.0, "amount": 0.25},
        "nlm": {"strength": 4.0},
        "bilateral": {"sigma_colour": 20.0, "sigma_space": 12.0},
        "richardson-lucy": {"sigma": 3.0, "steps": 3},
    }
)
"""Filter -> the setting with the highest mean PSNR on 64 crops of the train split, damaged moderately with seed 0, as
`python benchmarks/tune_filters.py FACES` prints it: input 26.42 dB, bicubic 26.54, unsharp 26.64, nlm 26.62, bilateral
26.67 (the widest that was tried; a wider one takes seconds a crop), richardson-lucy 26.69."""


def bicubic(degraded: Pixels, degradation: Degradation) -> Pixels:
    """The shrunken picture inside a degraded one, enlarged again by cubic instead of linear interpolation.

    The degraded picture was enlarged linearly from fewer pixels, which are found again by sampling it at their centres.
    One that was not shrunken by a whole pixel comes back as it is.
    """
    height, width = degraded.shape[:2]
    shrinking = degradation.downscaling
    small = max(1, round(width / shrinking)), max(1, round(height / shrinking))
    if small == (width, height):
        return degraded
    found = cv2.resize(degraded, small, interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.resize(found, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def unsharp(degraded: Pixels, sigma: float, amount: float) -> Pixels:
    """Unsharp mask: `amount` times the difference from a blurred copy (`sigma` in pixels) is added."""
    sharp = degraded.astype(np.float32)
    sharp += np.float32(amount) * (sharp - cv2.GaussianBlur(sharp, (0, 0), sigma))
    return np.clip(np.rint(sharp), 0, 255).astype(np.uint8)


def nlm(degraded: Pixels, strength: float) -> Pixels:
    """Non-local means of OpenCV, for luminance and colour alike, with its usual windows of 7 and 21 pixels."""
    return np.asarray(cv2.fastNlMeansDenoisingColored(degraded, None, strength, strength, 7, 21), dtype=np.uint8)


def bilateral(degraded: Pixels, sigma_colour: float, sigma_space: float) -> Pixels:
    """Bilateral filter: sigma_colour in grey levels of 255, sigma_space in pixels."""
    return np.asarray(cv2.bilateralFilter(degraded, 0, sigma_colour, sigma_space), dtype=np.uint8)


def richardson_lucy(degraded: Pixels, sigma: float, steps: float) -> Pixels:
    """Richardson-Lucy deconvolution of scikit-image, each channel by itself, for a Gaussian blur of `sigma` pixels.

    Raises PackageError where scikit-image is missing.
    """
    try:
        restoration: Any = importlib.import_module("skimage.restoration")
    except ImportError as error:
        raise PackageError(
            "The row richardson-lucy needs scikit-image: `pip install scikit-image`, or leave it out with --rows."
        ) from error
    reach = int(np.ceil(3 * sigma))
    kernel = cv2.getGaussianKernel(2 * reach + 1, sigma).astype(np.float32)
    # Continued by its mirror image, so that the dark outside does not ring into the picture.
    frame = 2 * reach
    framed = np.pad(degraded.astype(np.float32) / 255, [(frame, frame), (frame, frame), (0, 0)], mode="symmetric")
    channels = [
        restoration.richardson_lucy(framed[..., channel], kernel @ kernel.T, num_iter=int(steps))
        for channel in range(3)
    ]
    sharp = np.stack(channels, axis=-1)[frame:-frame, frame:-frame]
    rounded: Pixels = np.rint(np.clip(sharp, 0, 1) * 255).astype(np.uint8)
    return rounded


def apply_filter(name: str, degraded: Pixels, degradation: Degradation, settings: Settings | None = None) -> Pixels:
    """Apply a filter of SETTINGS to a degraded crop (512, 512, 3) uint8 RGB; without `settings`, at its best one."""
    if name == "bicubic":
        return bicubic(degraded, degradation)
    filters: dict[str, Callable[..., Pixels]] = {
        "unsharp": unsharp,
        "nlm": nlm,
        "bilateral": bilateral,
        "richardson-lucy": richardson_lucy,
    }
    return filters[name](degraded, **(SETTINGS[name] if settings is None else settings))
