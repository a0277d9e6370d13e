"""Pictures for the tests of photos, made of numbers: smooth, asymmetric, in every mode and depth."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from dmdcli.formats.changed import Changed

CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}


def picture(mode: str = "RGB", depth: int = 8, size: tuple[int, int] = (61, 47)) -> npt.NDArray[Any]:
    """(H, W[, C]) of `size` (W, H): waves with a little noise, no two corners alike."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    seed = np.random.default_rng(7)
    planes = [
        (0.5 + 0.3 * np.sin(x / (5 + c) + c) + 0.15 * y / height + 0.04 * seed.random((height, width))).clip(0, 1)
        for c in range(CHANNELS[mode])
    ]
    top = 255 if depth == 8 else 65535
    samples = np.rint(np.stack(planes, axis=2) * top).astype(np.uint8 if depth == 8 else np.uint16)
    return samples[..., 0] if mode == "L" else samples


def photograph(size: tuple[int, int] = (240, 176)) -> npt.NDArray[np.uint8]:
    """(H, W, 3) like a real photograph: smooth shades, edges and grain."""
    width, height = size
    y, x = np.mgrid[:height, :width].astype(np.float64)
    grain = np.random.default_rng(3).normal(0, 2.5, (height, width))
    disc = ((x - 90) ** 2 + (y - 80) ** 2 < 50**2) * 60
    base = 60 + 70 * x / width + 40 * np.sin(y / 17) + disc + grain
    return np.stack([base + 30, base, base - 30 + 20 * (x > 150)], axis=2).clip(0, 255).astype(np.uint8)


def encoded(samples: npt.NDArray[Any] | Image.Image, format_name: str, **options: Any) -> bytes:
    """As a file, by Pillow."""
    buffer = io.BytesIO()
    image = samples if isinstance(samples, Image.Image) else Image.fromarray(samples)
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def exif_with_orientation(orientation: int) -> bytes:
    """An EXIF block as Pillow's `exif=` takes it."""
    exif = Image.Exif()
    exif[0x010E] = "a wedding"
    exif[0x0112] = orientation
    exif.get_ifd(0x8769)[0x9003] = "1962:05:19 12:00:00"
    return exif.tobytes()


def changed_to(original: npt.NDArray[Any], stored: npt.NDArray[Any]) -> Changed:
    """A picture changed to another of its size."""
    changed = Changed(original)
    changed.write((0, 0, original.shape[1], original.shape[0]), stored)
    return changed
