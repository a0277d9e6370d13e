"""What all formats share: the samples of a picture, its metadata, and the two ways of failing."""

from __future__ import annotations

import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

MOST_COMPRESSED = 10
"""Pixels that a byte of a photo stands for, at most, as far as room in memory is concerned."""
MAX_PIXELS = 200_000_000
"""Larger pictures are refused from their header, before any memory is taken."""

METRES_PER_INCH = 0.0254
EXIF_ORIENTATION = 0x0112

Samples: TypeAlias = npt.NDArray[np.uint8 | np.uint16]
"""(H, W) grey, (H, W, 2) grey + alpha, (H, W, 3) RGB, (H, W, 4) RGB + alpha or CMYK (the largest value is most ink);
uint8 or uint16, native byte order."""

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}

BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, AttributeError, OverflowError,
    struct.error, zlib.error,
)  # fmt: skip
"""What decoders raise for damaged files."""

TRUNCATED_REASON = "is truncated: the end of the file is missing"


class Unreadable(Exception):
    """The bytes are no usable picture; the text says why, to follow the name of the file."""


class Unwritable(Exception):
    """The picture does not fit the format; the text says why, to follow the name of the file."""


@dataclass(frozen=True)
class Picture:
    """samples: as stored (palette and 1-bit pictures already as grey or RGB). orientation: EXIF 1..8.

    notes: sentences the user should see, such as pages that are left alone. inks: four channels are CMYK.
    """

    samples: Samples
    orientation: int = 1
    notes: tuple[str, ...] = ()
    inks: bool = False


@dataclass(frozen=True)
class Metadata:
    r"""What can travel between formats, each as bytes or None.

    exif: a TIFF structure (no "Exif\0\0" in front). photoshop: image resource blocks, which hold the IPTC record.
    density: pixels per inch, across and down.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    icc: bytes | None = None
    photoshop: bytes | None = None
    density: tuple[float, float] | None = None


def check_size(width: int, height: int) -> None:
    """Raise Unreadable if a declared size is empty or more than MAX_PIXELS."""
    if width < 1 or height < 1:
        raise Unreadable(f"declares {width} x {height} pixels: the file is damaged")
    if width * height > MAX_PIXELS:
        raise Unreadable(
            f"declares {width} x {height} pixels ({width * height / 1e6:,.0f} megapixels); "
            f"the limit is {MAX_PIXELS / 1e6:,.0f} megapixels. If the size is real, use a smaller copy"
        )


def mode_of(samples: Samples, inks: bool = False) -> str:
    """'L', 'LA', 'RGB', 'RGBA' or, with `inks`, 'CMYK', at either depth."""
    if inks:
        return "CMYK"
    return MODES[1 if samples.ndim == 2 else samples.shape[2]]


def eight_bit(samples: Samples) -> npt.NDArray[np.uint8]:
    """The samples as uint8: 16-bit values divided by 257 and rounded, never truncated."""
    if samples.dtype == np.uint8:
        return samples.astype(np.uint8, copy=False)
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def without_alpha(samples: Samples, format_name: str) -> Samples:
    """Colour only, for formats that have no transparency; Unwritable if anything is transparent."""
    if samples.ndim == 2 or samples.shape[2] in (1, 3):
        return samples
    if (samples[..., -1] != np.iinfo(samples.dtype).max).any():
        raise Unwritable(f"has transparent parts, which {format_name} cannot hold; choose png, tif or webp")
    return samples[..., 0] if samples.shape[2] == 2 else samples[..., :3]


def samples_of(image: Image.Image) -> Samples:
    """The samples of an opened 8-bit Pillow image; palettes and 1-bit become grey or RGB, colour keys become alpha."""
    if image.mode == "P" or "transparency" in image.info:
        image.load()
        if image.mode == "P" and image.palette is None:
            raise Unreadable("is damaged: its palette is missing")
        spread = np.array(image.convert("RGBA" if image.has_transparency_data else "RGB"))
        grey = (spread[..., :1] == spread[..., 1:3]).all()
        if not grey:
            return spread
        return spread[..., [0, 3]] if spread.shape[2] == 4 else np.ascontiguousarray(spread[..., 0])
    if image.mode == "1":
        image = image.convert("L")
    if image.mode not in (*MODES.values(), "CMYK"):
        raise Unreadable(f"is stored as {image.mode!r}, which is not supported; save a copy as 8 or 16 bit grey or RGB")
    return np.asarray(image)  # a copy more of a large photo would be felt


def orientation_of(exif: bytes | None) -> int:
    """The EXIF orientation, 1..8; 1 where there is none or it cannot be read."""
    if exif is None or exif[:2] not in (b"II", b"MM"):
        return 1
    order = "<" if exif[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for position in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", exif, position)
            if tag == EXIF_ORIENTATION:
                (value,) = struct.unpack_from(order + ("I" if kind == 4 else "H"), exif, position + 8)
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1


def megapixels(path: Path) -> float:
    """How large a photo is, read off its head, for making room in memory; 0 where there is no such file.

    Where the head says nothing, as many as a file of its size may have.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as picture:
                return float(picture.width * picture.height / 1e6)
    except (*BROKEN, Image.DecompressionBombError):
        return path.stat().st_size * MOST_COMPRESSED / 1e6 if path.is_file() else 0.0
