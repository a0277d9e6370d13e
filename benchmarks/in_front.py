"""Whether what lies in front of a face (hair, a hand, a hat's brim) survives restoring, and whether a guard would help.

    python benchmarks/in_front.py FACES [--crops 24] [--model base]

Something made up is laid over training crops, they are moderately damaged (seed 0) and restored. Printed is what
restoring gains in PSNR (dB): inside what lies in front, at its edges, on the rest of the face. Then the same with
guards: the mask falls where answer and original differ, after a blur of so many crop pixels, by more than so many times
the face's own median; and what these cost on the validation crops, which have nothing in front.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dmdcli.cli.build import build_finder, build_restorer
from dmdcli.cli.console import Kit
from dmdcli.evaluation.measures import psnr
from dmdcli.faces.align import blend_mask
from dmdcli.faces.face import component_boxes
from dmdcli.faces.kit import FaceKit
from dmdcli.model.restorer import Restorer
from dmdcli.shapes import CROP, FloatPixels, Pixels, Points, as_floats
from dmdcli.training.data import read_faces
from dmdcli.training.degrade import Severity, apply, draw, generator_for

KINDS = ("hair", "hand", "brim")
GUARDS = ((12.0, 3.0, 6.0), (12.0, 2.0, 4.0), (6.0, 3.0, 6.0), (20.0, 3.0, 6.0))
"""Blur in crop pixels; multiples of the median from which the mask falls and at which it is gone."""
SOFT = 8.0
"""Blur of a guard's edge in crop pixels."""
EDGE = 25
"""Width in crop pixels of what counts as an edge."""


@dataclass(frozen=True)
class Covered:
    """A crop with something in front: truth, damaged, answer in [0, 1]; where that is and the blend mask."""

    kind: str
    truth: FloatPixels
    damaged: FloatPixels
    answer: FloatPixels
    area: np.ndarray
    mask: np.ndarray

    def gain(self, where: np.ndarray, mask: np.ndarray) -> float:
        """What blending with a mask gains in some pixels, dB."""
        blended = self.damaged + mask[..., None] * (self.answer - self.damaged)
        return decibels(blended[where], self.truth[where]) - decibels(self.damaged[where], self.truth[where])


def decibels(picture: FloatPixels, truth: FloatPixels) -> float:
    return psnr(np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8), np.rint(truth * 255).astype(np.uint8))


def covered(faces: Path, split: str, count: int, kinds: Sequence[str], restorer: Restorer) -> Iterator[Covered]:
    """Crops of a split with something of each kind in front ("" for nothing), damaged and restored."""
    kit, crops = build_finder(Kit.EMBEDDED).kit, read_faces(faces, split)
    for number, position in enumerate(np.linspace(0, len(crops.samples) - 1, count).round().astype(int)):
        for kind in kinds:
            truth, area = crops.pixels[position], np.zeros((CROP, CROP), dtype=np.bool_)
            if kind:
                points = kit.landmarks(truth[None])[0].points
                truth, area = lay_in_front(truth, points, kind, np.random.default_rng([number, KINDS.index(kind)]))
            damage = draw(Severity.MODERATE, generator_for(0, crops.samples[position].crop))
            yield restored(kind, truth, apply(truth, damage), area, kit, restorer)


def restored(kind: str, truth: Pixels, damaged: Pixels, area: np.ndarray, kit: FaceKit, restorer: Restorer) -> Covered:
    points = kit.landmarks(damaged[None])[0].points
    (answer,) = restorer.restore(damaged[None], component_boxes(points)[None], [None])
    assert answer.generic is not None
    return Covered(kind, as_floats(truth), as_floats(damaged), answer.generic, area, blend_mask(points))


def lay_in_front(crop: Pixels, points: Points, kind: str, generator: np.random.Generator) -> tuple[Pixels, np.ndarray]:
    """A strand of hair over a cheek, four fingers over the chin, or a hat's brim over the brows; and where it is."""
    shape = np.zeros((CROP, CROP), dtype=np.float32)
    noise = generator.standard_normal((CROP, CROP)).astype(np.float32)
    if kind == "hair":
        x, lean = int(generator.choice([170, 330])) + int(generator.integers(-15, 15)), int(generator.integers(-40, 40))
        cv2.line(shape, (x, 40), (x + lean, 430), 1, int(generator.integers(28, 55)))
        colour = np.array([60, 45, 35]) * generator.uniform(0.5, 1.6)
        grain, strength = cv2.blur(cv2.GaussianBlur(noise, (0, 0), 1.2), (1, 41)), 14
    elif kind == "hand":
        x, y = int(points[8, 0]) + int(generator.integers(-30, 30)), int(points[8, 1]) - 20
        for finger in range(4):
            cv2.line(shape, (x + 60, y + 60), (x - 70 + 10 * finger, y - 60 + 34 * finger), 1, 30)
        cv2.circle(shape, (x + 70, y + 60), 60, 1, -1)
        colour = np.median(crop[300:360, 170:340].reshape(-1, 3), axis=0) * generator.uniform(0.75, 1.05)
        grain, strength = cv2.GaussianBlur(noise, (0, 0), 12), 10
    else:
        y = int(points[17:27, 1].mean()) - int(generator.integers(15, 50))
        outline = np.array([[0, 0], [CROP, 0], [CROP, y], [CROP // 2, y + 30], [0, y]], dtype=np.int32)
        cv2.fillPoly(shape, [outline], 1)
        colour = generator.uniform(15, 200) * generator.uniform(0.85, 1.1, 3)
        grain, strength = cv2.GaussianBlur(noise, (0, 0), 1.5), 6
    cover = cv2.GaussianBlur(shape, (0, 0), 1.2)[..., None]
    laid = crop * (1 - cover) + (colour + (strength * grain / grain.std())[..., None]) * cover
    return np.clip(laid, 0, 255).astype(np.uint8), shape > 0.5


def guarded(one: Covered, blur: float, falls: float, gone: float) -> np.ndarray:
    """The blend mask, softly lower where the answer departs from the original in its low frequencies."""
    departs = np.sqrt(np.square(cv2.GaussianBlur(one.answer - one.damaged, (0, 0), blur)).mean(axis=-1))
    usual = max(float(np.median(departs[one.mask > 0.5])), 0.5 / 255)
    kept = 1 - np.clip((departs / usual - falls) / (gone - falls), 0, 1)
    return one.mask * cv2.GaussianBlur(kept.astype(np.float32), (0, 0), SOFT)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the gains, and what guards would change in them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("--crops", type=int, default=24)
    parser.add_argument("--model", default="base")
    options = parser.parse_args(arguments)
    restorer = build_restorer(options.model)
    found = [one for one in covered(options.faces, "train", options.crops, KINDS, restorer) if front(one).sum() > 200]
    plain = list(covered(options.faces, "validation", 35, [""], restorer))
    for kind in KINDS:
        chosen = [one for one in found if one.kind == kind]
        inside = [one.gain(front(one), one.mask) for one in chosen]
        edge = np.mean([one.gain(edges(one), one.mask) for one in chosen])
        rest = np.mean([one.gain((one.mask > 0.5) & ~one.area, one.mask) for one in chosen])
        print(
            f"{kind:5} {len(chosen):3} crops: in front {np.mean(inside):+.2f} (least {min(inside):+.2f}), "
            f"at its edges {edge:+.2f}, on the face {rest:+.2f} dB"
        )
    for guard in GUARDS:
        gained = np.mean([one.gain(front(one), guarded(one, *guard)) - one.gain(front(one), one.mask) for one in found])
        cost = [one.gain(one.mask > 0.5, guarded(one, *guard)) - one.gain(one.mask > 0.5, one.mask) for one in plain]
        print(f"guard {guard}: in front {gained:+.3f} dB; without anything in front {np.mean(cost):+.3f} dB")


def front(one: Covered) -> np.ndarray:
    return one.area & (one.mask > 0.3)


def edges(one: Covered) -> np.ndarray:
    area, square = one.area.astype(np.uint8), np.ones((EDGE, EDGE), dtype=np.uint8)
    return (cv2.dilate(area, square) > cv2.erode(area, square)) & (one.mask > 0.3)


if __name__ == "__main__":
    main()
