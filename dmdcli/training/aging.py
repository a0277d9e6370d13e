"""What happened to a print, as numbers: drawn here, done to pictures in `prints`.

One length rules all sizes: `side`, that of a crop around a face, in pixels of the picture. A scratch that is one pixel
wide where a face fills 512 pixels is four pixels wide where it fills 2048, and each face has as many scratches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dmdcli.shapes import CROP
from dmdcli.training.severity import AgingRanges, Chance

FREE = ("paper", "stains", "scratches", "creases", "dust")
"""The damages of a finished print, which come in any order."""

BLURS = ("isotropic", "anisotropic", "motion", "defocus")

Colour = tuple[float, float, float]
"""Red, green, blue of 255."""

CASTS: dict[str, tuple[Colour, Colour]] = {
    "sepia": ((58, 36, 20), (246, 224, 184)),
    "yellow": ((24, 20, 14), (250, 238, 200)),
    "blue": ((22, 30, 52), (228, 236, 244)),
    "red": ((70, 28, 30), (248, 222, 200)),
}
"""What black and white become under the full strength of a cast: toned prints, yellowed paper, cyanotypes and cold
scans, colour prints whose cyan dye has gone."""

GREY_CASTS = ("sepia", "sepia", "yellow", "blue")
COLOUR_CASTS = ("yellow", "red", "blue")
"""The casts that prints without and with colour take, each as likely as it is named here."""


@dataclass(frozen=True)
class Aging:
    """What happened to one print; a strength of 0 leaves a damage out. Sizes are pixels of a 512 crop around a face.

    side: what these 512 pixels are in the picture, pixels. blur_kind: one of BLURS. blur: standard deviation along the
    widest direction; stretch: times wider than across; blur_angle: degrees. grain: standard deviation in a middle grey,
    levels of 255; grain_size: diameter. colour: share of it that is left, 0 for a grey print. screen: distance of the
    dots; screen_angle: degrees. contrast: factor around the middle grey. blackest, whitest: what black and white have
    become. light, paper: standard deviation, share of the brightness; paper_size: of its structure. stains, scratches,
    dust: mean number on a crop; creases: on its width. stain_size, dust_size: radius; scratch_length, scratch_width,
    crease_width: sizes. white_marks: share of scratches and dust that is light. order: the names of FREE as they are
    done, one after the other. seed: start of the random numbers that place the marks.
    """

    side: float
    blur_kind: str
    blur: float
    stretch: float
    blur_angle: float
    grain: float
    grain_size: float
    colour: float
    screen: float
    screen_angle: float
    contrast: float
    blackest: Colour
    whitest: Colour
    light: float
    paper: float
    paper_size: float
    stains: float
    stain_size: float
    scratches: float
    scratch_length: float
    scratch_width: float
    creases: float
    crease_width: float
    dust: float
    dust_size: float
    white_marks: float
    order: tuple[str, ...]
    seed: int

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Aging:
        """The opposite of dataclasses.asdict, also after a way through JSON, which knows lists only."""
        plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**plain)

    def at_scale(self, scale: float) -> Aging:
        """The same damage for a face `scale` times as large."""
        return replace(self, side=self.side * scale)

    @property
    def scale(self) -> float:
        """Pixels of the picture per pixel of a 512 crop."""
        return self.side / CROP

    def generator(self, name: str) -> np.random.Generator:
        """The random numbers of one damage: in whatever order they come, its marks stay where they are."""
        return np.random.default_rng([self.seed, *name.encode("ascii")])


def draw_aging(ranges: AgingRanges, generator: np.random.Generator) -> Aging:
    """Draw what happened to one print."""

    def between(limits: tuple[float, float]) -> float:
        return float(generator.uniform(*limits))

    def strength(chance: Chance) -> float:
        happens, drawn = generator.random() < chance.share, between((chance.lowest, chance.highest))
        return drawn if happens else 0.0

    screen = strength(ranges.screen)
    grey = bool(generator.random() < ranges.grey) or screen > 0
    colour = between(ranges.colour)
    casts = GREY_CASTS if grey else COLOUR_CASTS
    blackest, whitest = _ends(
        casts[generator.integers(len(casts))], strength(ranges.cast), between(ranges.black), between(ranges.white)
    )
    return Aging(
        side=float(CROP),
        blur_kind=BLURS[generator.integers(len(BLURS))],
        blur=strength(ranges.blur),
        stretch=between(ranges.stretch),
        blur_angle=between((0, 180)),
        grain=strength(ranges.grain),
        grain_size=between(ranges.grain_size),
        colour=0.0 if grey else colour,
        screen=screen,
        screen_angle=between((0, 90)),
        contrast=between(ranges.contrast),
        blackest=blackest,
        whitest=whitest,
        light=strength(ranges.light),
        paper=strength(ranges.paper),
        paper_size=between(ranges.paper_size),
        stains=strength(ranges.stains),
        stain_size=between(ranges.stain_size),
        scratches=strength(ranges.scratches),
        scratch_length=between(ranges.scratch_length),
        scratch_width=between(ranges.scratch_width),
        creases=strength(ranges.creases),
        crease_width=between(ranges.crease_width),
        dust=strength(ranges.dust),
        dust_size=between(ranges.dust_size),
        white_marks=between(ranges.white_marks),
        order=tuple(FREE[index] for index in generator.permutation(len(FREE))),
        seed=int(generator.integers(2**32)),
    )


def _ends(cast: str, strength: float, lifted: float, lowered: float) -> tuple[Colour, Colour]:
    """What black and white become: a cast of some strength, then black lifted towards white, and white lowered."""
    black, white = (np.array(colour) for colour in CASTS[cast])
    black, white = strength * black, 255 + strength * (white - 255)
    return _colour(black + (white - black) * lifted), _colour(white * lowered)


def _colour(values: np.ndarray[Any, np.dtype[np.float64]]) -> Colour:
    red, green, blue = (round(float(value), 1) for value in values)
    return red, green, blue
