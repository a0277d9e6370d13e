"""How bad a picture is made: names and ranges. Pure Python, so that the command line can name them without NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(str, Enum):
    """How bad a picture is made: a digital copy that is mild, moderate or severe, or the scan of an old print."""

    MILD = "mild"
    MODERATE = "moderate"
    SEVERE = "severe"
    OLD = "old"


@dataclass(frozen=True)
class Chance:
    """Something that happens to a share of pictures, 0 to 1, as strongly as drawn uniformly from lowest to highest."""

    share: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class AgingRanges:
    """What may have happened to a print before it was scanned. Sizes are pixels of a 512 crop that a face fills.

    blur: standard deviation along the widest direction, pixels; stretch: how many times wider than across, where it is
    anisotropic. grain: standard deviation in a middle grey, grey levels of 255; grain_size: diameter, pixels.
    grey: share of prints without colour; colour: share of their colour that the others keep. screen: distance of the
    dots of a grey print in a book, pixels. contrast: factor around the middle grey. black, white: what black and white
    have become, share of 255. cast: strength, 1 for a deep sepia or blue. light: unevenness, standard deviation as a
    share of the brightness. paper: relief, likewise; paper_size: of its structure, pixels.
    stains, scratches, dust: mean number on the area of a crop; creases: on its width. stain_size, dust_size: radius,
    pixels; scratch_length, scratch_width, crease_width: pixels. white_marks: share of scratches and dust that is light.
    second_jpeg: quality of a second JPEG, 1 to 100.
    """

    blur: Chance = Chance(0.8, 0.4, 3.5)
    stretch: tuple[float, float] = (1.3, 3)
    grain: Chance = Chance(0.85, 2, 13)
    grain_size: tuple[float, float] = (1, 3)
    grey: float = 0.75
    colour: tuple[float, float] = (0.3, 0.9)
    screen: Chance = Chance(0.15, 3.5, 7)
    contrast: tuple[float, float] = (0.85, 1.6)
    black: tuple[float, float] = (0, 0.18)
    white: tuple[float, float] = (0.85, 1)
    cast: Chance = Chance(0.65, 0.1, 1)
    light: Chance = Chance(0.7, 0.02, 0.12)
    paper: Chance = Chance(0.6, 0.008, 0.04)
    paper_size: tuple[float, float] = (1.5, 6)
    stains: Chance = Chance(0.35, 0.3, 2)
    stain_size: tuple[float, float] = (20, 140)
    scratches: Chance = Chance(0.6, 0.5, 7)
    scratch_length: tuple[float, float] = (30, 450)
    scratch_width: tuple[float, float] = (0.4, 1.8)
    creases: Chance = Chance(0.3, 0.3, 1.5)
    crease_width: tuple[float, float] = (1, 3)
    dust: Chance = Chance(0.75, 3, 50)
    dust_size: tuple[float, float] = (0.6, 2)
    white_marks: tuple[float, float] = (0.3, 1)
    second_jpeg: Chance = Chance(0.5, 50, 90)


@dataclass(frozen=True)
class Ranges:
    """Lowest and highest value of each parameter, drawn uniformly.

    blur: sigma of the Gaussian, pixels of a 512 crop. downscaling: factor by which a 512 crop shrinks, at least 1.
    noise: standard deviation, grey levels of 255. jpeg: quality, 1 to 100, whole numbers, both ends included.
    aging: what happened before to the print whose scan this is; None for a picture that never was a print.
    """

    blur: tuple[float, float]
    downscaling: tuple[float, float]
    noise: tuple[float, float]
    jpeg: tuple[int, int]
    aging: AgingRanges | None = None


RANGES = {
    Severity.MILD: Ranges(blur=(0, 3), downscaling=(1, 3), noise=(0, 8), jpeg=(80, 100)),
    Severity.MODERATE: Ranges(blur=(0, 8), downscaling=(1, 8), noise=(0, 15), jpeg=(60, 100)),
    Severity.SEVERE: Ranges(blur=(8, 16), downscaling=(8, 32), noise=(0, 20), jpeg=(30, 100)),
    Severity.OLD: Ranges(blur=(0, 2.5), downscaling=(1, 5), noise=(0, 6), jpeg=(60, 95), aging=AgingRanges()),
}
