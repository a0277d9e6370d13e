"""Make a good picture bad, the same way every time: blur, shrink, noise, JPEG, and back to its size.

What happens to one picture is drawn first (`draw`) and done afterwards (`apply`), so that a degradation can be written
down, shown and repeated. The ranges are those face restoration is commonly measured with; they are meant for a face
that fills an aligned 512 crop. Where the face in a photo is larger or smaller, `Degradation.at_scale` carries blur and
shrinking over; noise and JPEG act on the shrunken picture and stay as they are. An old print is aged first (see
`prints`), and all this is its scan.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import cv2
import numpy as np

from dmdcli.shapes import Pixels, check_shape
from dmdcli.training.aging import Aging, draw_aging
from dmdcli.training.prints import age, tone
from dmdcli.training.severity import RANGES, Ranges, Severity

__all__ = ["RANGES", "Degradation", "Ranges", "Severity", "apply", "degrade", "draw", "generator_for", "truth_for"]

SMALLEST_BLUR = 0.1
"""Below this sigma, in pixels, a Gaussian changes nothing in 8 bits."""


@dataclass(frozen=True)
class Degradation:
    """What is done to one picture.

    blur: sigma in pixels of the picture. downscaling: factor, at least 1. noise: standard deviation in grey levels of
    255. jpeg: quality, 1 to 100. noise_seed: start of the noise, so that the same picture gives the same bytes.
    grey_noise: the three channels share one noise, as in a grey photograph. aging: what happened before to the print of
    which this is the scan. second_jpeg: quality of a second JPEG on another grid of blocks, 0 for none.
    """

    blur: float
    downscaling: float
    noise: float
    jpeg: int
    noise_seed: int
    grey_noise: bool = False
    aging: Aging | None = None
    second_jpeg: int = 0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Degradation:
        """The opposite of `to_dict`, also after a way through JSON."""
        aging = values.get("aging")
        return cls(**{**values, "aging": Aging.from_dict(aging) if aging is not None else None})

    def at_scale(self, scale: float) -> Degradation:
        """The same damage for a face `scale` times as large: blur and shrinking multiplied, shrinking at least 1.

        Marks, grain and screens of an old print grow likewise.
        """
        aging = self.aging.at_scale(scale) if self.aging else None
        return replace(self, blur=self.blur * scale, downscaling=max(1.0, self.downscaling * scale), aging=aging)

    def to_dict(self) -> dict[str, Any]:
        """The parameters as plain values, for JSON; `aging` and `second_jpeg` only where there are any."""
        return {name: value for name, value in asdict(self).items() if value or name not in ("aging", "second_jpeg")}


def generator_for(seed: int, name: str) -> np.random.Generator:
    """The random numbers of one picture: they depend on `seed` and its file name, not on the order of files."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


def draw(severity: Severity | Ranges, generator: np.random.Generator) -> Degradation:
    """Draw the parameters of one degradation uniformly from the ranges of `severity`."""
    ranges = severity if isinstance(severity, Ranges) else RANGES[severity]
    degradation = Degradation(
        blur=float(generator.uniform(*ranges.blur)),
        downscaling=float(generator.uniform(*ranges.downscaling)),
        noise=float(generator.uniform(*ranges.noise)),
        jpeg=int(generator.integers(ranges.jpeg[0], ranges.jpeg[1], endpoint=True)),
        noise_seed=int(generator.integers(2**32)),
    )
    if ranges.aging is None:
        return degradation
    second = ranges.aging.second_jpeg
    again, quality = generator.random() < second.share, round(generator.uniform(second.lowest, second.highest))
    return replace(degradation, aging=draw_aging(ranges.aging, generator), second_jpeg=quality if again else 0)


def apply(pixels: Pixels, degradation: Degradation) -> Pixels:
    """Degrade a picture: age, blur, shrink (averaging), add noise, JPEG, enlarge (bilinear) to the size it had.

    pixels: (H, W, 3) uint8 RGB, of any size. Returns (H, W, 3) uint8 RGB; the same arguments give the same bytes.
    """
    check_shape("pixels", pixels, (None, None, 3), np.uint8)
    height, width = pixels.shape[:2]
    worse = age(pixels, degradation.aging) if degradation.aging else pixels
    if degradation.blur >= SMALLEST_BLUR:
        worse = cv2.GaussianBlur(worse, (0, 0), degradation.blur)
    small = max(1, round(width / degradation.downscaling)), max(1, round(height / degradation.downscaling))
    if small != (width, height):
        worse = cv2.resize(worse, small, interpolation=cv2.INTER_AREA)
    worse = _jpeg(_add_noise(worse, degradation), degradation.jpeg)
    if degradation.second_jpeg:
        worse = _jpeg_again(worse, degradation)
    if small != (width, height):
        worse = cv2.resize(worse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(worse, dtype=np.uint8)


def truth_for(pixels: Pixels, degradation: Degradation) -> Pixels:
    """What a restorer should answer to `apply` of the same arguments: the picture in the tone of its print.

    Missing colour, fading, cast and uneven light of an old print stay, all other damage is to be undone (see `prints`).
    Where there is no aging it is the picture itself. (H, W, 3) uint8 RGB in and out.
    """
    return tone(pixels, degradation.aging) if degradation.aging else pixels


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


def _jpeg_again(pixels: Pixels, degradation: Degradation) -> Pixels:
    """A second JPEG whose blocks begin elsewhere, as where a margin was cut off; up to 7 pixels, by noise_seed."""
    right, down = degradation.noise_seed % 8, degradation.noise_seed // 8 % 8
    shifted = cv2.copyMakeBorder(pixels, down, 0, right, 0, cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(_jpeg(shifted, degradation.second_jpeg)[down:, right:])
