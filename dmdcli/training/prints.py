"""Do to a picture what happens to a print: taken, printed, faded, handled, and at last lit for the scanner.

What is done follows what happened, and cannot be reordered: the camera blurs, the film grains, a press may screen, dyes
and paper fade; then the print lies about for decades, and the damages of `aging.FREE` come in the order that was drawn
for them; then it is lit unevenly for its copy, which `degrade.apply` makes.

A restorer is asked for detail, light and shade, not for new colours. Missing colour, contrast, fading, cast and uneven
light are the *tone* of a print: `tone` gives them, and nothing else, to the clean picture, and the result is what a
restored picture is compared with. Blur, grain, screen, paper, stains, scratches, creases and dust are to be undone.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from dmdcli.shapes import FloatPixels, Pixels
from dmdcli.training import marks
from dmdcli.training.aging import Aging
from dmdcli.training.marks import Plane, field

MARKS = {
    "paper": marks.texture,
    "stains": marks.stain,
    "scratches": marks.scratch,
    "creases": marks.crease,
    "dust": marks.dust,
}
"""One function for each name of aging.FREE."""

LUMA = (0.299, 0.587, 0.114)
SMALLEST_BLUR = 0.1
"""Standard deviation in pixels below which a blur changes nothing in 8 bits."""
SMALLEST_SCREEN = 2.2
"""Pixels between dots below which a picture of pixels cannot hold them: they merge into greys again."""


def age(pixels: Pixels, aging: Aging) -> Pixels:
    """Do to a picture what happened to the print: (H, W, 3) uint8 RGB in and out, the same arguments the same bytes."""
    picture = blur(expose(pixels, aging), aging)
    if aging.grain > 0:
        picture = grain(picture, aging)
    if aging.screen * aging.scale >= SMALLEST_SCREEN:
        picture = screen(picture, aging)
    finished = fade(picture, aging)
    for name in aging.order:
        if getattr(aging, name) > 0:
            finished = MARKS[name](finished, aging)
    return _stored(light(finished, aging))


def tone(pixels: Pixels, aging: Aging) -> Pixels:
    """The clean picture in the tone of the print: what a restorer should answer. (H, W, 3) uint8 RGB in and out."""
    return _stored(light(fade(expose(pixels, aging), aging), aging))


def expose(pixels: Pixels, aging: Aging) -> Plane | FloatPixels:
    """What is to be printed, in [0, 1]: (H, W, 3) float32, or (H, W) without colour, which a screen never has."""
    if aging.colour == 0 or aging.screen > 0:
        return np.asarray(cv2.transform(pixels.astype(np.float32), np.array([LUMA]) / 255), dtype=np.float32)
    return np.asarray(np.multiply(pixels, np.float32(1 / 255), dtype=np.float32))


def blur(picture: Plane | FloatPixels, aging: Aging) -> Plane | FloatPixels:
    """The blur of lens and hand: a round or stretched Gaussian, a line, or a disc of the same standard deviation."""
    sigma = aging.blur * aging.scale
    if sigma < SMALLEST_BLUR:
        return picture
    if aging.blur_kind == "isotropic":
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), dtype=np.float32)
    return np.asarray(cv2.filter2D(picture, -1, blur_kernel(aging.blur_kind, sigma, aging)), dtype=np.float32)


def blur_kernel(kind: str, sigma: float, aging: Aging) -> Plane:
    """(N, N) float32 that sums to 1, N odd; its standard deviation along the widest direction is `sigma` pixels."""
    radius = max(1, math.ceil(3 * sigma))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float32)
    angle = math.radians(aging.blur_angle)
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    if kind == "anisotropic":
        kernel = np.exp(-((along / sigma) ** 2 + (across * aging.stretch / sigma) ** 2) / 2)
    elif kind == "motion":  # a line of length L has the standard deviation L / sqrt(12)
        kernel = np.clip(sigma * math.sqrt(3) + 0.5 - np.abs(along), 0, 1) * np.clip(1 - np.abs(across), 0, 1)
    else:  # a disc of radius R has R / 2
        kernel = np.clip(2 * sigma + 0.5 - np.hypot(x, y), 0, 1)
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def grain(picture: Plane | FloatPixels, aging: Aging) -> Plane | FloatPixels:
    """The grain of the film, one for all channels; strongest in the middle greys."""
    noise = field(picture.shape[:2], aging.grain_size * aging.scale, aging.generator("grain"))
    noise *= np.float32(aging.grain / 255)
    noise = noise if picture.ndim == 2 else noise[..., None]
    return np.asarray(np.clip(picture + noise * (0.3 + 2.8 * picture * (1 - picture)), 0, 1), dtype=np.float32)


def screen(picture: Plane, aging: Aging) -> Plane:
    """Ink dots whose size follows the grey, on a square grid turned by an angle; they keep the mean brightness."""
    height, width = picture.shape
    pitch, angle = aging.screen * aging.scale, math.radians(aging.screen_angle)
    x = np.arange(width, dtype=np.float32)[None] * np.float32(2 * math.pi / pitch)
    y = np.arange(height, dtype=np.float32)[:, None] * np.float32(2 * math.pi / pitch)
    spots = np.cos(x * math.cos(angle) + y * math.sin(angle)) + np.cos(y * math.cos(angle) - x * math.sin(angle))
    threshold = cv2.LUT((spots * 63.5 + 127.5).astype(np.uint8), _ranks())
    greys = cv2.GaussianBlur(picture, (0, 0), 0.2 * pitch)  # a press knows nothing finer than its dots
    dots = np.clip(0.5 + (0.04 + 0.92 * greys - threshold) * np.float32(0.7 * pitch), 0, 1)
    return np.asarray(cv2.GaussianBlur(dots, (0, 0), 0.12 * pitch), dtype=np.float32)  # ink spreads


def fade(picture: Plane | FloatPixels, aging: Aging) -> FloatPixels:
    """Less colour, contrast around the middle grey, then what black and white have become; a plane gets its tint."""
    half = np.full(3, 0.5 - 0.5 * aging.contrast)
    if picture.ndim == 3:
        colours = aging.colour * np.eye(3) + (1 - aging.colour) * np.tile(LUMA, (3, 1))
        picture = cv2.transform(picture, np.column_stack([aging.contrast * colours, half]).astype(np.float32))
    else:
        picture = picture * np.float32(aging.contrast) + np.float32(half[0])
    np.clip(picture, 0, 1, out=picture)
    black, white = np.array(aging.blackest) / 255, np.array(aging.whitest) / 255
    spread = np.diag(white - black) if picture.ndim == 3 else (white - black)[:, None]
    return np.asarray(cv2.transform(picture, np.column_stack([spread, black]).astype(np.float32)), dtype=np.float32)


def light(picture: FloatPixels, aging: Aging) -> FloatPixels:
    """Brighter here, darker there, changing slowly over a face and at least as slowly over the picture."""
    if aging.light <= 0:
        return picture
    size = max(aging.side, 0.7 * max(picture.shape[:2]))
    uneven = np.clip(field(picture.shape[:2], size, aging.generator("light")), -2, 2)
    return np.asarray(picture * (1 + np.float32(aging.light) * uneven)[..., None], dtype=np.float32)


def _ranks() -> Plane:
    """(256,) float32: the share of a screen's area whose spot function is at most as high as this, 0 to 1."""
    phase = np.cos(np.linspace(0, 2 * np.pi, 256, endpoint=False))
    levels = ((phase[:, None] + phase) * 63.5 + 127.5).astype(np.uint8)
    counts = np.bincount(levels.ravel(), minlength=256)
    return np.asarray((np.cumsum(counts) - counts / 2) / levels.size, dtype=np.float32)


def _stored(picture: FloatPixels) -> Pixels:
    return np.asarray(np.clip(np.rint(picture * 255), 0, 255), dtype=np.uint8)
