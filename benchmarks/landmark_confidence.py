"""How far landmarks called good are right: the tables, and the fit behind them.

    python benchmarks/landmark_confidence.py FACES [--split validation] [--severity moderate,severe,...] [--seeds 4]
    python benchmarks/landmark_confidence.py FACES --fit dmdcli/faces/confidence.json

Each crop of the split is damaged and then moved a little, as a detector would have placed it. The landmarks that the
embedded kit finds there are held against those on the sharp crop, which count as true; the unit is the distance of
the eye centres, and an error below 5 % counts as right. Besides the severities of `dmd degrade` there are "clean",
"covered", where a patch of one colour lies on an eye or the mouth, and "misplaced", where the crop is moved a lot.

--fit writes the shape and fits of dmdcli/faces/confidence.py from the training split instead, and prints its tables.
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
from dmdcli.faces.confidence import COMPONENT_POINTS, FaceShape, Fit, Fitted
from dmdcli.faces.face import GOOD, RIGHT, Landmarks, eye_distance
from dmdcli.faces.kit import FaceKit
from dmdcli.shapes import CROP, Pixels
from dmdcli.training.data import FaceData, read_faces
from dmdcli.training.degrade import Severity, apply, draw, generator_for

SEVERITIES = "moderate,severe,old,clean,covered,misplaced"
TOGETHER = ("moderate", "severe")
"""Severities that have a line of their own together."""
PLACED = (3.0, 0.05, 6.0)
"""Standard deviations of how a crop is placed: degrees, logarithm of the scale, crop pixels."""
MISPLACED = (15.0, 0.15, 25.0)
"""Likewise, of misplaced crops."""
RIDGE = 1e-3
"""Weight of the squared weights in the fit."""


@dataclass(frozen=True, eq=False)
class Look:
    """One damaged crop: what is found in it, the true points (68, 2), those in its altered copies, and its detail."""

    severity: str
    landmarks: Landmarks
    truth: npt.NDArray[np.float64]
    others: npt.NDArray[np.float32]
    detail: tuple[float, float]

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """(4,): whether the mean error of all points, and of each component's, is below RIGHT."""
        distances = np.linalg.norm(self.landmarks.points - self.truth, axis=1) / eye_distance(self.truth)
        return np.array([distances[part].mean() < RIGHT for part in (slice(None), *COMPONENT_POINTS)])

    def measured(self, shape: FaceShape) -> npt.NDArray[np.float64]:
        """As `confidence.measure`."""
        return confidence.measure(shape, self.landmarks, self.others, self.detail)


def looks(data: FaceData, severities: Sequence[str], seeds: int, limit: int | None, kit: FaceKit) -> Iterator[Look]:
    """Damage, move and look at each crop; of more than `limit` crops every second, third and so on."""
    step = 1 if limit is None else -(-len(data.samples) // limit)
    for position in range(0, len(data.samples), step):
        sharp = data.pixels[position]
        true_points = kit.landmarks(sharp[None])[0].points.astype(np.float64)
        for severity in severities:
            for seed in range(seeds):
                generator = generator_for(seed, data.samples[position].crop)
                damaged = damage(sharp, true_points, severity, generator)
                how = MISPLACED if severity == "misplaced" else PLACED
                crop, truth = placed(damaged, true_points, how, np.random.default_rng(generator.integers(2**32)))
                (found,) = kit.landmarks(crop[None])
                (others,) = confidence.second_opinions(kit, crop[None])
                yield Look(severity, found, truth, others, confidence.detail_of(crop, found.points))


def damage(crop: Pixels, points: npt.NDArray[np.float64], severity: str, generator: np.random.Generator) -> Pixels:
    """A copy of a crop, damaged."""
    if severity in ("clean", "misplaced"):
        return crop
    if severity != "covered":
        return apply(crop, draw(Severity(severity), generator))
    middle = points[COMPONENT_POINTS[generator.integers(3)]].mean(axis=0) + generator.normal(0, 12, 2)
    axes = generator.uniform((35, 30), (80, 70))
    across, down = np.clip(points[30] + generator.uniform(-1, 1, 2) * (60, 40), 0, CROP - 1).astype(int)
    patch = (tuple(np.rint(middle).astype(int).tolist()), tuple(np.rint(axes).astype(int).tolist()))
    covered = cv2.ellipse(crop.copy(), *patch, generator.uniform(0, 180), 0, 360, crop[down, across].tolist(), -1)
    return np.asarray(covered, dtype=np.uint8)


def placed(
    crop: Pixels,
    points: npt.NDArray[np.float64],
    how: tuple[float, float, float],
    generator: np.random.Generator,
) -> tuple[Pixels, npt.NDArray[np.float64]]:
    """A crop turned, scaled and shifted a little, and its points with it."""
    turn, scale, shift = how
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


def fit(found: Sequence[Look], data: FaceData) -> Fitted:
    """The shape of the data's own landmarks, and the fits to what was found."""
    shape = FaceShape.fit(np.stack([sample.points for sample in data.samples]))
    measured = np.stack([one.measured(shape) for one in found])
    right = np.stack([one.right for one in found])
    component = logistic(np.concatenate(measured[:, 1:]), np.concatenate(right[:, 1:]))
    return Fitted(shape, logistic(measured[:, 0], right[:, 0]), component)


def written(fits: Fitted) -> str:
    """The content of dmdcli/faces/confidence.json."""

    def rounded(one: FaceShape | Fit) -> dict[str, object]:
        return {name: np.round(value, 6).tolist() for name, value in vars(one).items()}

    return json.dumps({name: rounded(one) for name, one in vars(fits).items()}) + "\n"


def tables(found: Sequence[Look], known: Fitted, good: float) -> Iterator[str]:
    """Two Markdown tables, of faces and of components: how many are right, called good, and both."""
    measured = [one.measured(known.shape) for one in found]
    called = np.array(
        [
            [
                fits.probability(row) >= good
                for fits, row in zip((known.face, *[known.component] * 3), rows, strict=True)
            ]
            for rows in measured
        ]
    )
    right = np.stack([one.right for one in found])
    kinds = np.array([one.severity for one in found])
    severities = list(dict.fromkeys(kinds.tolist()))
    for title, columns in (("faces", [0]), ("eyes and mouths", [1, 2, 3])):
        yield f"| | {title} | right | called good | of these right | of the right called good |"
        yield "|---" * 6 + "|"
        if set(TOGETHER) <= set(severities):
            yield row(" and ".join(TOGETHER), *(what[np.isin(kinds, TOGETHER)][:, columns] for what in (right, called)))
        for severity in severities:
            yield row(severity, *(what[kinds == severity][:, columns] for what in (right, called)))
        yield row("all", right[:, columns], called[:, columns])
        yield ""


def row(name: str, right: npt.NDArray[np.bool_], good: npt.NDArray[np.bool_]) -> str:
    """One line of a table."""
    both = int((right & good).sum())
    shares = (f"{both / of.sum():.1%}" if of.any() else "-" for of in (good, right))
    return f"| {name} | {right.size} | {right.sum()} | {good.sum()} | {' | '.join(shares)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables; write the fit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--severity", default=SEVERITIES)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--good", type=float, default=GOOD)
    parser.add_argument("--fit", type=Path)
    options = parser.parse_args(arguments)
    data = read_faces(options.faces, "train" if options.fit else options.split)
    kit = build_finder(Kit.EMBEDDED).kit
    found = list(looks(data, options.severity.split(","), options.seeds, options.limit, kit))
    known = fit(found, data) if options.fit else confidence.fitted()
    if options.fit:
        options.fit.write_text(written(known))
    for line in tables(found, known, options.good):
        print(line)


if __name__ == "__main__":
    main()
