"""How bad a picture is made: names and ranges. Pure Python, so that the command line can name them without NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(str, Enum):
    """How bad a picture is made."""

    MILD = "mild"
    MODERATE = "moderate"
    SEVERE = "severe"


@dataclass(frozen=True)
class Ranges:
    """Lowest and highest value of each parameter, drawn uniformly.

    blur: sigma of the Gaussian, pixels of a 512 crop. downscaling: factor by which a 512 crop shrinks, at least 1.
    noise: standard deviation, grey levels of 255. jpeg: quality, 1 to 100, whole numbers, both ends included.
    """

    blur: tuple[float, float]
    downscaling: tuple[float, float]
    noise: tuple[float, float]
    jpeg: tuple[int, int]


RANGES = {
    Severity.MILD: Ranges(blur=(0, 3), downscaling=(1, 3), noise=(0, 8), jpeg=(80, 100)),
    Severity.MODERATE: Ranges(blur=(0, 8), downscaling=(1, 8), noise=(0, 15), jpeg=(60, 100)),
    Severity.SEVERE: Ranges(blur=(8, 16), downscaling=(8, 32), noise=(0, 20), jpeg=(30, 100)),
}
