"""The marks that handling and time leave on a finished print, one function each.

Pictures are (H, W, 3) float32 RGB in [0, 1]; a function returns a new one and leaves the one it was given.
Marks are placed by the random numbers of their own name; sizes of an Aging times its scale are pixels of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from dmdcli.shapes import FloatPixels
from dmdcli.training.aging import Aging

Plane = npt.NDArray[np.float32]
"""(H, W) float32."""

DIGITS = 4
"""Binary digits after the point in the coordinates that OpenCV draws."""
MOST = 20_000
"""No picture gets more marks of one kind, however small its faces are."""
MOST_CREASES = 5
"""Mean number on a picture, however many faces are in it: nobody folds a print more often."""
PEEL = 1.04
"""The bare paper under a scratch is this much brighter than the print's white."""


def field(shape: tuple[int, ...], size: float, generator: np.random.Generator) -> Plane:
    """Smooth noise: mean 0, standard deviation about 1, features about `size` pixels wide.

    Features smaller than a pixel average out inside it: below a size of 1 the standard deviation is `size`.
    """
    height, width = shape
    step = max(1.0, size / 3)
    sigma = size / 2 / step
    noise = _smooth((math.ceil(height / step) + 1, math.ceil(width / step) + 1), sigma, generator)
    if step > 1:
        noise = _enlarge(noise, step, (0, 0), (width, height))
    return np.asarray(noise[:height, :width] * np.float32(min(1, size)), dtype=np.float32)


def _smooth(shape: tuple[int, int], sigma: float, generator: np.random.Generator) -> Plane:
    """Noise of standard deviation 1, smoothed with a Gaussian."""
    noise = generator.standard_normal(shape, dtype=np.float32)
    if sigma <= 0.3:
        return noise
    kernel = cv2.getGaussianKernel(2 * math.ceil(3 * sigma) + 1, sigma, cv2.CV_32F)
    return np.asarray(cv2.sepFilter2D(noise, -1, kernel, kernel) / np.float32((kernel**2).sum()), dtype=np.float32)


def _enlarge(noise: Plane, step: float, corner: tuple[float, float], size: tuple[int, int]) -> Plane:
    """Noise whose cells are `step` pixels apart, seen through a window of `size` (width, height) at `corner` (x, y)."""
    matrix = np.array([[1 / step, 0, corner[0] / step], [0, 1 / step, corner[1] / step]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(noise, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT), dtype=np.float32)


def texture(picture: FloatPixels, aging: Aging) -> FloatPixels:
    """The relief of the paper, lit from the side: fine fibres and a coarser unevenness."""
    generator = aging.generator("paper")
    size = aging.paper_size * aging.scale
    relief = field(picture.shape[:2], size, generator) + 0.4 * field(picture.shape[:2], 4 * size, generator)
    relief *= np.float32(aging.paper)
    return np.asarray(picture * (1 + relief)[..., None], dtype=np.float32)


def stain(picture: FloatPixels, aging: Aging) -> FloatPixels:
    """Dried drops with a darker rim, brown foxing in groups of small spots, and now and then a bleached patch."""
    picture = picture.copy()
    for (x, y), generator in _places(picture, "stains", aging.stains, aging):
        radius = aging.stain_size * aging.scale * generator.uniform(0.5, 1.3)
        kind = generator.random()
        if kind < 0.45:
            for _ in range(int(generator.integers(4, 16))):
                spot = x + generator.normal(0, radius), y + generator.normal(0, radius)
                small = radius * generator.uniform(0.02, 0.07) + 0.8 * aging.scale
                _soak(picture, spot, small, 0.9, 0, generator.uniform(0.08, 0.35), generator)
        else:
            strength = generator.uniform(0.05, 0.22) * (-0.4 if kind > 0.85 else 1)
            softness, rim = generator.uniform(0.1, 0.6), generator.uniform(0, 0.8)
            _soak(picture, (x, y), radius, softness, rim if strength > 0 else 0, strength, generator)
    return picture


def scratch(picture: FloatPixels, aging: Aging) -> FloatPixels:
    """Thin lines, many along one direction, torn where the point skipped; the light ones bare the paper."""
    length, width = aging.scratch_length * aging.scale, aging.scratch_width * aging.scale
    direction = aging.generator("scratches' direction")
    wiped = direction.uniform(0, math.pi)
    light, dark = (np.zeros(picture.shape[:2], dtype=np.uint8) for _ in range(2))
    for place, generator in _places(picture, "scratches", aging.scratches, aging):
        angle = generator.normal(wiped, 0.15) if generator.random() < 0.6 else generator.uniform(0, math.pi)
        whole = length * generator.exponential(0.7) + 2
        bends = np.cumsum(generator.normal(0, generator.choice([0.01, 0.05, 0.15]), 24))
        steps = np.stack([np.cos(angle + bends), np.sin(angle + bends)], axis=1) * whole / 24
        path = np.array(place) + np.cumsum(steps, axis=0) - steps.sum(axis=0) / 2
        plane = light if generator.random() < aging.white_marks else dark
        _line(plane, path, width * generator.uniform(0.5, 1.5), generator.uniform(0.2, 0.9))
    torn = np.clip(0.75 + 0.6 * field(picture.shape[:2], 7 * aging.scale, direction), 0, 1)
    return _paint(picture, light, dark, torn, aging)


def crease(picture: FloatPixels, aging: Aging) -> FloatPixels:
    """Folds across the print: the emulsion cracked and flaked along a line, one flank in the light, one in shade."""
    height, width = picture.shape[:2]
    longest = max(height, width)
    expected = min(MOST_CREASES, aging.creases * longest / aging.side)
    places = list(_places(picture, "creases", expected / (height * width / aging.side**2), aging))
    if not places:
        return picture
    picture = picture.copy()
    flakes = np.clip(
        0.45 + 0.7 * field((height, width), 3.5 * aging.crease_width * aging.scale, aging.generator("flakes")), 0, 1
    )
    x, y = np.arange(width, dtype=np.float32)[None], np.arange(height, dtype=np.float32)[:, None]
    for place, generator in places:
        angle = generator.normal(generator.choice([0, math.pi / 2, generator.uniform(0, math.pi)]), 0.12)
        core = aging.crease_width * aging.scale * generator.uniform(0.6, 1.2)
        flank, shade = core * generator.uniform(3, 8), generator.uniform(-0.22, 0.22)
        crack = generator.uniform(0.15, 0.9)
        first, last = sorted(generator.uniform(-1.2, 1.2, 2) * longest)
        cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
        across = (y - np.float32(place[1])) * cos - (x - np.float32(place[0])) * sin
        rows, columns = np.nonzero(np.abs(across) < 2.5 * flank + 4 * core)
        along = (columns - np.float32(place[0])) * cos + (rows - np.float32(place[1])) * sin
        reach = math.ceil(math.hypot(height, width)) + 1
        wander = 1.2 * field((1, 2 * reach + 1), 60 * aging.scale, generator)[0]
        wander += 0.3 * field((1, 2 * reach + 1), 6 * aging.scale, generator)[0]
        off = across[rows, columns] + core * wander[along.astype(np.int32) + reach]
        fading = 40 * aging.scale
        ends = np.clip((along - first) / fading, 0, 1) * np.clip((last - along) / fading, 0, 1)
        far = off / np.float32(flank)
        creased = picture[rows, columns] * (1 + np.float32(shade) * far * np.exp(-far * far) * ends)[:, None]
        flaked = flakes[rows, columns]
        broken = np.clip(1.2 - np.abs(off) / np.float32(core) + 0.5 * (flaked - 0.5), 0, 1)
        mask = broken * flaked * ends * np.float32(crack)
        picture[rows, columns] = creased + mask[:, None] * (_white(aging) - creased)
    return picture


def dust(picture: FloatPixels, aging: Aging) -> FloatPixels:
    """Specks of odd shapes and a few hairs: light where they lay on the negative, dark where they lie on the print."""
    light, dark = (np.zeros(picture.shape[:2], dtype=np.uint8) for _ in range(2))
    for place, generator in _places(picture, "dust", aging.dust, aging):
        plane = light if generator.random() < aging.white_marks else dark
        radius = aging.dust_size * aging.scale * (0.3 + generator.exponential(0.6))
        opacity = generator.uniform(0.25, 1)
        turns = generator.uniform(0, 2 * math.pi)
        if generator.random() < 0.06:
            bends = turns + np.cumsum(generator.normal(generator.normal(0, 0.2), 0.15, 12))
            steps = np.stack([np.cos(bends), np.sin(bends)], axis=1) * radius * generator.uniform(1, 4)
            _line(plane, np.array(place) + np.cumsum(steps, axis=0), 0.5 * aging.scale, opacity)
            continue
        angles = turns + np.arange(8) * (math.pi / 4)
        reach = radius * generator.uniform(0.5, 1.2, (8, 1))
        outline = np.stack([np.cos(angles), generator.uniform(0.4, 1) * np.sin(angles)], axis=1) * reach
        if radius < 0.6:  # smaller than a pixel: fainter instead
            outline, opacity = outline * 0.6 / radius, opacity * (radius / 0.6) ** 2
        _fill(plane, outline + np.array(place), opacity)
    return _paint(picture, light, dark, None, aging)


def _places(
    picture: FloatPixels, name: str, density: float, aging: Aging
) -> Iterator[tuple[tuple[float, float], np.random.Generator]]:
    """Yield the places (x, y) of marks, each with random numbers of its own; `density` is their number on a crop.

    A Poisson law gives the number on the whole picture. A picture twice as large, aged at twice the scale, has the same
    marks in the same places.
    """
    height, width = picture.shape[:2]
    generator = aging.generator(name)
    count = min(MOST, int(generator.poisson(min(MOST, density * height * width / aging.side**2))))
    seeds = generator.integers(2**32, size=count)
    for (x, y), seed in zip(generator.uniform(0, 1, (count, 2)), seeds, strict=True):
        yield (float(x * width), float(y * height)), np.random.default_rng(int(seed))


def _soak(
    picture: FloatPixels,
    place: tuple[float, float],
    radius: float,
    softness: float,
    rim: float,
    strength: float,
    generator: np.random.Generator,
) -> None:
    """Stain `picture` itself around a place: brown for a positive strength, bleached for a negative one."""
    height, width = picture.shape[:2]
    reach = 1.8 * radius + 2
    left, top = max(0, math.floor(place[0] - reach)), max(0, math.floor(place[1] - reach))
    right, bottom = min(width, math.ceil(place[0] + reach)), min(height, math.ceil(place[1] + reach))
    if right <= left or bottom <= top:
        return
    window = (left - place[0] + reach, top - place[1] + reach), (right - left, bottom - top)
    lumps, rough, drying = (
        _enlarge(_smooth((cells, cells), 1.5, generator), 2 * reach / (cells - 1), *window) for cells in (12, 44, 12)
    )
    x = np.arange(left, right, dtype=np.float32)[None] - np.float32(place[0])
    y = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(place[1])
    wide, high, lumpy = generator.uniform((0.9, 0.9, 0.08), (1.3, 1.3, 0.25)).astype(np.float32)
    distance = np.hypot(x * wide, y * high) / np.float32(radius) + lumpy * lumps + np.float32(0.05) * rough
    soaked = np.clip((1 - distance) / np.float32(softness) + 0.5, 0, 1)
    dried = np.clip(0.7 + 0.5 * drying, 0, 1.2)  # the rim is not as dark all around
    soaked = soaked * (1 - 0.6 * rim) + rim * dried * np.exp(-(((distance - 1) / 0.07) ** 2))
    taken = np.array([0.45, 0.7, 1.0], dtype=np.float32) if strength > 0 else np.ones(3, dtype=np.float32)
    part = picture[top:bottom, left:right]
    part *= 1 - np.float32(strength) * soaked[..., None] * taken


def _line(plane: npt.NDArray[np.uint8], path: npt.NDArray[np.float64], width: float, opacity: float) -> None:
    """Draw a path of (N, 2) x, y onto a plane; a line thinner than a pixel becomes fainter instead."""
    points = np.rint(path * 2**DIGITS).astype(np.int32)
    level = round(255 * opacity * min(1, width))
    cv2.polylines(plane, [points], False, level, max(1, round(width)), cv2.LINE_AA, DIGITS)


def _fill(plane: npt.NDArray[np.uint8], outline: npt.NDArray[np.float64], opacity: float) -> None:
    points = np.rint(outline * 2**DIGITS).astype(np.int32)
    cv2.fillPoly(plane, [points], round(255 * opacity), cv2.LINE_AA, DIGITS)


def _paint(
    picture: FloatPixels,
    light: npt.NDArray[np.uint8],
    dark: npt.NDArray[np.uint8],
    torn: Plane | None,
    aging: Aging,
) -> FloatPixels:
    """Paint light and dark marks, softened to the sharpness of a scan."""
    picture = picture.copy()
    for plane, colour in ((light, _white(aging)), (dark, _black(aging))):
        soft = cv2.GaussianBlur(plane, (0, 0), max(0.4, 0.4 * aging.scale))
        rows, columns = np.nonzero(soft)
        mask = soft[rows, columns] * np.float32(1 / 255)
        if torn is not None:
            mask *= torn[rows, columns]
        under = picture[rows, columns]
        picture[rows, columns] = under + mask[:, None] * (colour - under)
    return picture


def _white(aging: Aging) -> npt.NDArray[np.float32]:
    return np.asarray(np.minimum(1, np.array(aging.whitest) * (PEEL / 255)), dtype=np.float32)


def _black(aging: Aging) -> npt.NDArray[np.float32]:
    return np.asarray(np.array(aging.blackest) / 255, dtype=np.float32)
