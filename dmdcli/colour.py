"""Colour: from a photo's own colour space to the sRGB that networks are taught on, and back, region by region.

A photo's samples are never converted as a whole: what stands outside of changed pixels stays the stored number.
Profiles made of curves and a matrix (Adobe RGB, Display P3, ProPhoto, eciRGB, grey gamma) are computed here in floating
point, because LittleCMS as Pillow offers it has 8 bits, too few for a 16-bit scan. Everything that needs tables (CMYK,
many scanners) and the 8-bit view of whole photos go through LittleCMS.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from dmdcli.formats.picture import eight_bit
from dmdcli.shapes import Pixels

LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue (ITU-R BT.601) for photos without colour."""

SRGB_TO_XYZ = np.array(
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)
"""Linear sRGB to XYZ at D50, the white of ICC profiles: the primaries of IEC 61966-2-1 adapted by Bradford's method."""

CODES = 65536
SAME = 0.75 / 255
"""Largest difference over the whole range up to which a profile is taken for sRGB itself."""
INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
NOTE = "has a colour profile that cannot be used; its colours are taken as {}"

Part = npt.NDArray[np.uint8 | np.uint16]
"""(h, w) grey, (h, w, 3) RGB or (h, w, 4) CMYK as stored, without transparency."""
Colour = npt.NDArray[np.float32]
"""(h, w, 3) float32 sRGB; 0 to 1, and beyond where the photo's colour space is wider."""


class Colours(Protocol):
    """One photo's colour space."""

    def seen(self, part: npt.NDArray[np.uint8]) -> Pixels:
        """(H, W, 3) uint8 sRGB of a whole photo at 8 bits."""

    def to_srgb(self, part: Part) -> Colour:
        """What the samples look like."""

    def from_srgb(self, wanted: Colour, part: Part) -> Part:
        """Samples of the shape and depth of `part` (what stood there) that look as wanted; clipped and rounded."""


@dataclass(frozen=True)
class AsStored:
    """sRGB, or grey with sRGB's curve: what a photo without a profile is taken for."""

    def seen(self, part: npt.NDArray[np.uint8]) -> Pixels:
        """Grey repeated, RGB as it is."""
        return np.repeat(part[..., np.newaxis], 3, axis=2) if part.ndim == 2 else np.ascontiguousarray(part)

    def to_srgb(self, part: Part) -> Colour:
        """Scaled to 0..1."""
        return _spread(_unit(part))

    def from_srgb(self, wanted: Colour, part: Part) -> Part:
        """Scaled to the depth; luminance where the photo is grey."""
        return _rounded(wanted @ LUMINANCE if part.ndim == 2 else wanted, part)


@dataclass(frozen=True, eq=False)
class Curves:
    """A profile of one curve a channel and, for RGB, a matrix (ICC.1:2022, F.2 and F.3).

    tables: (channels, 65536) float64, the linear light of every 16-bit code, rising. matrix: (3, 3), to linear sRGB.
    whole: converts a whole photo at 8 bits.
    """

    tables: npt.NDArray[np.float64]
    matrix: npt.NDArray[np.float64] | None
    whole: ImageCms.ImageCmsTransform

    def seen(self, part: npt.NDArray[np.uint8]) -> Pixels:
        """RGB through LittleCMS, grey through the 256 values it can have."""
        if part.ndim == 3:
            return _apply(self.whole, part)
        every = np.arange(256, dtype=np.uint8)[np.newaxis]
        return np.asarray(_rounded(self.to_srgb(every), every)[0][part], np.uint8)

    def to_srgb(self, part: Part) -> Colour:
        """Each code's light, as sRGB."""
        codes = part if part.dtype == np.uint16 else part.astype(np.uint16) * np.uint16(257)
        if self.matrix is None:
            return _spread(_encode(self.tables[0][codes]).astype(np.float32))
        light = np.stack([table[codes[..., channel]] for channel, table in enumerate(self.tables)], axis=2)
        return _encode(light @ self.matrix.T).astype(np.float32)

    def from_srgb(self, wanted: Colour, part: Part) -> Part:
        """The codes of the wanted light."""
        codes = np.linspace(0, 1, CODES)
        if self.matrix is None:
            return _rounded(np.interp(_decode(wanted @ LUMINANCE), self.tables[0], codes), part)
        light = _decode(wanted) @ np.linalg.inv(self.matrix).T
        channels = [np.interp(light[..., channel], table, codes) for channel, table in enumerate(self.tables)]
        return _rounded(np.stack(channels, axis=2), part)


@dataclass(frozen=True, eq=False)
class Tables:
    """A profile of tables, or inks: LittleCMS both ways, with 8 bits."""

    forth: ImageCms.ImageCmsTransform
    back: ImageCms.ImageCmsTransform

    def seen(self, part: npt.NDArray[np.uint8]) -> Pixels:
        """Through LittleCMS."""
        return _apply(self.forth, part)

    def to_srgb(self, part: Part) -> Colour:
        """Through LittleCMS."""
        return _unit(_apply(self.forth, eight_bit(part)))

    def from_srgb(self, wanted: Colour, part: Part) -> Part:
        """The stored samples moved as the profile moves what they look like, so that rounding in its tables does not
        show. Where that misses the wanted colour (a print that uses black ink otherwise than its profile would), what
        the profile says for it.
        """
        stored = _unit(part)
        inverse = _unit(self._inverse(wanted))
        moved = stored + inverse - _unit(self._inverse(self.to_srgb(part)))
        misses = [np.abs(self.to_srgb(_rounded(one, part)) - wanted.clip(0, 1)).max(axis=2) for one in (moved, inverse)]
        worse = misses[0] > misses[1] + 2 / 255
        return _rounded(np.where(worse if part.ndim == 2 else worse[..., np.newaxis], inverse, moved), part)

    def _inverse(self, wanted: Colour) -> npt.NDArray[np.uint8]:
        return _apply(self.back, np.rint(wanted.clip(0, 1) * 255).astype(np.uint8))


@dataclass(frozen=True)
class Inks:
    """CMYK without a profile: each ink takes away its colour and black takes away all."""

    def seen(self, part: npt.NDArray[np.uint8]) -> Pixels:
        """As to_srgb, at 8 bits."""
        return eight_bit(_rounded(self.to_srgb(part), part))

    def to_srgb(self, part: Part) -> Colour:
        """(1 - ink) * (1 - black)."""
        share = _unit(part)
        return np.asarray((1 - share[..., :3]) * (1 - share[..., 3:]), np.float32)

    def from_srgb(self, wanted: Colour, part: Part) -> Part:
        """The black that stood there, or less where the wanted colour is brighter than it allows; then the inks."""
        wanted = wanted.clip(0, 1)
        light = np.maximum(1 - _unit(part)[..., 3:], wanted.max(axis=2, keepdims=True))
        inks = 1 - wanted / np.maximum(light, 1e-6)
        return _rounded(np.concatenate([inks, 1 - light], axis=2), part)


def colours_of(profile: bytes | None, mode: str) -> tuple[Colours, str | None]:
    """The colour space of a photo by its ICC profile, and a sentence where that could not be used.

    mode: 'L', 'RGB' or 'CMYK'.
    """
    fallback: Colours = Inks() if mode == "CMYK" else AsStored()
    if profile is None:
        return fallback, None
    if profile[16:20] != {"L": b"GRAY", "RGB": b"RGB ", "CMYK": b"CMYK"}[mode]:
        return fallback, NOTE.format("plain inks" if mode == "CMYK" else "sRGB")
    try:
        return _of_profile(profile, mode), None
    except (ImageCms.PyCMSError, OSError, ValueError, struct.error, np.linalg.LinAlgError):
        return fallback, NOTE.format("plain inks" if mode == "CMYK" else "sRGB")


@lru_cache(maxsize=8)
def _of_profile(profile: bytes, mode: str) -> Colours:
    own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    srgb = ImageCms.createProfile("sRGB")
    forth = ImageCms.buildTransform(own, srgb, mode, "RGB", INTENT, FLAGS)
    parts = _read_tags(profile)
    if mode != "CMYK" and b"A2B0" not in parts and profile[20:24] == b"XYZ ":
        curves = _read_curves(parts, mode, forth)
        return AsStored() if _is_srgb(curves, mode) else curves
    return Tables(forth, ImageCms.buildTransform(srgb, own, "RGB", mode, INTENT, FLAGS))


def _is_srgb(colours: Curves, mode: str) -> bool:
    ramp = np.linspace(0, 65535, 52).astype(np.uint16)
    grid = ramp[np.newaxis] if mode == "L" else np.stack(np.meshgrid(ramp[::3], ramp[::3], ramp[::3]), axis=-1)
    flat = grid if mode == "L" else grid.reshape(1, -1, 3)
    return bool(np.abs(colours.to_srgb(flat) - AsStored().to_srgb(flat)).max() < SAME)


def _read_tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    entries = [struct.unpack_from(">4sII", profile, 132 + 12 * index) for index in range(min(count, 200))]
    return {name: profile[start : start + size] for name, start, size in entries}


def _read_curves(parts: dict[bytes, bytes], mode: str, whole: ImageCms.ImageCmsTransform) -> Curves:
    """ValueError where a curve is missing or falls."""
    names = (b"kTRC",) if mode == "L" else (b"rTRC", b"gTRC", b"bTRC")
    tables = np.stack([_read_curve(parts.get(name, b"")) for name in names])
    if (np.diff(tables, axis=1) < 0).any():
        raise ValueError("a curve falls")
    if mode == "L":
        return Curves(tables, None, whole)
    columns = [struct.unpack_from(">8x3i", parts.get(name, b"")) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    return Curves(tables, np.linalg.inv(SRGB_TO_XYZ) @ (np.array(columns).T / 65536), whole)


def _read_curve(tag: bytes) -> npt.NDArray[np.float64]:
    """(65536,) linear light of every code, from a curveType or parametricCurveType (ICC.1:2022, 10.6 and 10.18)."""
    x = np.linspace(0, 1, CODES)
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        values = np.array(struct.unpack_from(f">{count}H", tag, 12), np.float64)
        if count == 0:
            return x
        if count == 1:
            return np.asarray(x ** (values[0] / 256))
        return np.interp(x, np.linspace(0, 1, count), values / 65535)
    if tag[:4] != b"para":
        raise ValueError("the curve is missing")
    (kind,) = struct.unpack_from(">H", tag, 8)
    if kind > 4:
        raise ValueError("an unknown kind of curve")
    numbers = np.array(struct.unpack_from(f">{(1, 3, 4, 5, 7)[kind]}i", tag, 12)) / 65536
    gamma, a, b = numbers[:3] if kind else (numbers[0], 1.0, 0.0)
    curve = np.maximum(a * x + b, 0) ** gamma
    if kind == 1:
        curve = np.where(x >= -b / a, curve, 0)
    elif kind == 2:
        curve = np.where(x >= -b / a, curve + numbers[3], numbers[3])
    elif kind >= 3:
        slope, start = numbers[3], numbers[4]
        above, below = (numbers[5], numbers[6]) if kind == 4 else (0.0, 0.0)
        curve = np.where(x >= start, curve + above, slope * x + below)
    return np.asarray(curve.clip(0, 1))


def _encode(light: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Linear light to sRGB (IEC 61966-2-1), mirrored below 0."""
    size = np.abs(light)
    bent = np.where(size <= 0.0031308, 12.92 * size, 1.055 * np.maximum(size, 0.0031308) ** (1 / 2.4) - 0.055)
    return np.copysign(bent, light)


def _decode(value: Colour) -> npt.NDArray[np.float64]:
    """SRGB to linear light, mirrored below 0."""
    size = np.abs(value.astype(np.float64))
    light = np.where(size <= 0.04045, size / 12.92, ((np.maximum(size, 0.04045) + 0.055) / 1.055) ** 2.4)
    return np.copysign(light, value)


def _unit(part: Part) -> npt.NDArray[np.float32]:
    share: npt.NDArray[np.float32] = part.astype(np.float32)
    share /= np.float32(np.iinfo(part.dtype).max)
    return share


def _spread(grey: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.repeat(grey[..., np.newaxis], 3, axis=2) if grey.ndim == 2 else np.ascontiguousarray(grey)


def _rounded(share: npt.NDArray[np.floating], like: Part) -> Part:
    top = np.float32(np.iinfo(like.dtype).max)
    bounded = share.clip(0, 1)
    bounded *= top
    return np.asarray(np.rint(bounded, out=bounded)).astype(like.dtype)


def _apply(transform: ImageCms.ImageCmsTransform, part: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    if part.size == 0:
        return np.zeros((*part.shape[:2], len(transform.output_mode)), np.uint8)
    image = Image.frombytes(transform.input_mode, part.shape[1::-1], part.tobytes())
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None
    return np.array(converted)
