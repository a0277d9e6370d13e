"""How far landmarks called good are right: the table, and the fit behind it.

    python benchmarks/landmark_confidence.py FACES [--split validation] [--severity clean,severe,...] [--limit N]
    python benchmarks/landmark_confidence.py FACES --fit dmdcli/faces/confidence.json

Each crop of the split is damaged and then moved a little, as a detector would have placed it. The landmarks that the
embedded kit finds there are held against those on the sharp crop, which count as true; the unit is the distance of
the eye centres, and an error below 5 % counts as right. --fit writes the shape and fits of dmdcli/faces/confidence.py
from the training split instead.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from dmdcli.cli.build import build_finder
from dmdcli.cli.console import Kit
from dmdcli.faces import confidence
from dmdcli.faces.confidence import COMPONENT_POINTS, FaceShape, Fit
from dmdcli.faces.face import GOOD, RIGHT
from dmdcli.faces.kit import FaceKit
from dmdcli.shapes import CROP, Pixels, Points
from dmdcli.training.data import read_faces
from dmdcli.training.degrade import Severity, apply, draw, generator_for

SEVERITIES = "clean,moderate,severe,old"
PLACED = (3.0, 0.05, 6.0)
"""Standard deviations of how a crop is placed: degrees, logarithm of the scale, crop pixels."""
RIDGE = 1e-3
"""Weight of the squared weights in the fit."""


@dataclass(frozen=True, eq=False)
class Look:
    """One damaged crop: the points found in it, the true ones, and those in its altered copies (K, 68, 2)."""

    severity: str
    points: Points
    truth: npt.NDArray[np.float64]
    others: npt.NDArray[np.float32]

    def error(self, part: slice = slice(None)) -> float:
        """Mean error of some of the points, over the true distance of the eye centres."""
        distance = np.linalg.norm(self.points[part] - self.truth[part], axis=1).mean()
        return float(distance) / confidence.eye_distance(self.truth)

    def measured(self, shape: FaceShape, part: slice = slice(None)) -> npt.NDArray[np.float64]:
        """As `confidence.measure`."""
        return confidence.measure(shape, self.points, confidence.spreads(self.points, self.others)[:, part])


def looks(faces: Path, split: str, severities: Sequence[str], limit: int | None, kit: FaceKit) -> Iterator[Look]:
    """Damage, move and look at each crop; of more than `limit` crops every second, third and so on."""
    data = read_faces(faces, split)
    step = 1 if limit is None else -(-len(data.samples) // limit)
    for position in range(0, len(data.samples), step):
        sample, sharp = data.samples[position], data.pixels[position]
        true_points = kit.landmarks(sharp[None])[0].points.astype(np.float64)
        for severity in severities:
            generator = generator_for(0, sample.crop)
            damaged = sharp if severity == "clean" else apply(sharp, draw(Severity(severity), generator))
            crop, truth = placed(damaged, true_points, np.random.default_rng(generator.integers(2**32)))
            (found,) = kit.landmarks(crop[None])
            yield Look(severity, found.points, truth, confidence.second_opinions(kit, crop[None])[0])


def placed(
    crop: Pixels, points: npt.NDArray[np.float64], generator: np.random.Generator
) -> tuple[Pixels, npt.NDArray[np.float64]]:
    """A crop turned, scaled and shifted a little, and its points with it."""
    turn, scale, shift = PLACED
    size = float(np.exp(generator.normal(0, scale)))
    matrix = cv2.getRotationMatrix2D((CROP / 2, CROP / 2), float(generator.normal(0, turn)), size)
    matrix[:, 2] += generator.normal(0, shift, 2)
    moved = cv2.warpAffine(crop, matrix, (CROP, CROP), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, dtype=np.uint8), points @ matrix[:, :2].T + matrix[:, 2]


def logistic(measured: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> Fit:
    """The fit of numbers (N, n) to whether points were right (N,)."""
    middle, scale = measured.mean(axis=0), measured.std(axis=0)
    columns = np.c_[np.ones(len(measured)), (measured - middle) / scale]
    signs = np.where(right, 1.0, -1.0)

    def loss(weights: npt.NDArray[np.float64]) -> float:
        return float(np.logaddexp(0, -signs * (columns @ weights)).mean() + RIDGE * np.square(weights[1:]).sum())

    found = minimize(loss, np.zeros(columns.shape[1])).x
    return Fit(float(found[0]), found[1:], middle, scale)


def fit(found: Sequence[Look]) -> dict[str, object]:
    """What dmdcli/faces/confidence.json holds."""
    shape = FaceShape.fit(np.stack([one.truth for one in found if one.severity == "clean"]))
    face = logistic(np.stack([one.measured(shape) for one in found]), np.array([one.error() < RIGHT for one in found]))
    parts = [(one, part) for one in found for part in COMPONENT_POINTS]
    measured = np.stack([one.measured(shape, part) for one, part in parts])
    component = logistic(measured, np.array([one.error(part) < RIGHT for one, part in parts]))

    def rounded(one: FaceShape | Fit) -> dict[str, object]:
        return {name: np.round(value, 6).tolist() for name, value in vars(one).items()}

    return {"shape": rounded(shape), "face": rounded(face), "component": rounded(component)}


def table(found: Sequence[Look]) -> Iterator[str]:
    """A Markdown table: how many faces and components are right, called good, and both."""
    known = confidence.fitted()
    yield "| | faces | right | called good | of these right | of the right called good |"
    yield "|---" * 6 + "|"
    for name in (*dict.fromkeys(one.severity for one in found), "all"):
        chosen = [one for one in found if name in (one.severity, "all")]
        right = np.array([one.error() < RIGHT for one in chosen])
        good = np.array([known.face.probability(one.measured(known.shape)) >= GOOD for one in chosen])
        yield row(name, right, good)
    parts = [(one, part) for one in found for part in COMPONENT_POINTS]
    right = np.array([one.error(part) < RIGHT for one, part in parts])
    good = np.array([known.component.probability(one.measured(known.shape, part)) >= GOOD for one, part in parts])
    yield row("all, each component", right, good)


def row(name: str, right: npt.NDArray[np.bool_], good: npt.NDArray[np.bool_]) -> str:
    """One line of the table."""
    both = int((right & good).sum())
    shares = (f"{both / max(int(of.sum()), 1):.1%}" for of in (good, right))
    return f"| {name} | {len(right)} | {right.sum()} | {good.sum()} | {' | '.join(shares)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, or write the fit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--severity", default=SEVERITIES)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--fit", type=Path)
    options = parser.parse_args(arguments)
    kit = build_finder(Kit.EMBEDDED).kit
    split = "train" if options.fit else options.split
    found = list(looks(options.faces, split, options.severity.split(","), options.limit, kit))
    if options.fit:
        options.fit.write_text(json.dumps(fit(found)) + "\n")
    for line in table(found):
        print(line)


if __name__ == "__main__":
    main()
