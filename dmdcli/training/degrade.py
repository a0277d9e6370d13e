"""Make a good picture bad, the same way every time: blur, shrink, noise, JPEG, and back to its size.

What happens to one picture is drawn first (`draw`) and done afterwards (`apply`), so that a degradation can be written
down, shown and repeated. The ranges are those face restoration is commonly measured with; they are meant for a face
that fills an aligned 512 crop. Where the face in a photo is larger or smaller, `Degradation.at_scale` carries blur and
shrinking over; noise and JPEG act on the shrunken picture and stay as they are.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace

import cv2
import numpy as np

from dmdcli.shapes import Pixels, check_shape
from dmdcli.training.severity import RANGES, Ranges, Severity

__all__ = ["RANGES", "Degradation", "Ranges", "Severity", "apply", "degrade", "draw", "generator_for"]

SMALLEST_BLUR = 0.1
"""Below this sigma, in pixels, a Gaussian changes nothing in 8 bits."""


@dataclass(frozen=True)
class Degradation:
    """What is done to one picture.

    blur: sigma in pixels of the picture. downscaling: factor, at least 1. noise: standard deviation in grey levels of
    255. jpeg: quality, 1 to 100. noise_seed: start of the noise, so that the same picture gives the same bytes.
    grey_noise: the three channels share one noise, as in a grey photograph.
    """

    blur: float
    downscaling: float
    noise: float
    jpeg: int
    noise_seed: int
    grey_noise: bool = False

    def at_scale(self, scale: float) -> Degradation:
        """The same damage for a face `scale` times as large: blur and shrinking multiplied, shrinking at least 1."""
        return replace(self, blur=self.blur * scale, downscaling=max(1.0, self.downscaling * scale))

    def to_dict(self) -> dict[str, float | int | bool]:
        """The parameters as plain numbers, for JSON."""
        return asdict(self)


def generator_for(seed: int, name: str) -> np.random.Generator:
    """The random numbers of one picture: they depend on `seed` and its file name, not on the order of files."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


def draw(severity: Severity | Ranges, generator: np.random.Generator) -> Degradation:
    """Draw the parameters of one degradation uniformly from the ranges of `severity`."""
    ranges = severity if isinstance(severity, Ranges) else RANGES[severity]
    return Degradation(
        blur=float(generator.uniform(*ranges.blur)),
        downscaling=float(generator.uniform(*ranges.downscaling)),
        noise=float(generator.uniform(*ranges.noise)),
        jpeg=int(generator.integers(ranges.jpeg[0], ranges.jpeg[1], endpoint=True)),
        noise_seed=int(generator.integers(2**32)),
    )


def apply(pixels: Pixels, degradation: Degradation) -> Pixels:
    """Degrade a picture: blur, shrink (averaging), add noise, JPEG, enlarge (bilinear) to the size it had.

    pixels: (H, W, 3) uint8 RGB, of any size. Returns (H, W, 3) uint8 RGB; the same arguments give the same bytes.
    """
    check_shape("pixels", pixels, (None, None, 3), np.uint8)
    height, width = pixels.shape[:2]
    worse = pixels
    if degradation.blur >= SMALLEST_BLUR:
        worse = cv2.GaussianBlur(worse, (0, 0), degradation.blur)
    small = max(1, round(width / degradation.downscaling)), max(1, round(height / degradation.downscaling))
    if small != (width, height):
        worse = cv2.resize(worse, small, interpolation=cv2.INTER_AREA)
    worse = _jpeg(_add_noise(worse, degradation), degradation.jpeg)
    if small != (width, height):
        worse = cv2.resize(worse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(worse, dtype=np.uint8)


def degrade(pixels: Pixels, severity: Severity | Ranges, generator: np.random.Generator) -> Pixels:
    """Draw a degradation and apply it: (H, W, 3) uint8 RGB in, the same shape and dtype out."""
    return apply(pixels, draw(severity, generator))


def _add_noise(pixels: Pixels, degradation: Degradation) -> Pixels:
    if degradation.noise <= 0:
        return pixels
    channels = 1 if degradation.grey_noise else 3
    generator = np.random.default_rng(degradation.noise_seed)
    noise = generator.standard_normal((*pixels.shape[:2], channels), dtype=np.float32)
    noisy = pixels + noise * np.float32(degradation.noise)
    return np.asarray(np.clip(np.rint(noisy), 0, 255), dtype=np.uint8)


def _jpeg(pixels: Pixels, quality: int) -> Pixels:
    _, encoded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    if decoded is None:
        raise ValueError(f"a picture of {pixels.shape[1]} x {pixels.shape[0]} pixels cannot be a JPEG")
    return np.ascontiguousarray(decoded[..., ::-1], dtype=np.uint8)
