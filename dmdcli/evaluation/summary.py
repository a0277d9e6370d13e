"""Means over faces, and paired differences between rows with intervals over people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dmdcli.evaluation.evaluate import Evaluated
from dmdcli.evaluation.measures import METRICS
from dmdcli.evaluation.rows import FILTERS

RESAMPLINGS = 2000
"""Bootstrap resamplings an interval is read from."""
STUDIO = ("london/", "canada/")
"""Starts of the sources whose photographs of one person were taken in one session: the Face Research Lab London Set and
the young adult faces of the same authors."""


@dataclass(frozen=True)
class Gain:
    """Mean of paired differences, and the ends of its 95 % interval (people resampled with replacement)."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """What `row` is above `base`, on the degraded crops that have both; gains by metric.

    faces: how many degraded crops. people: how many people, the number an interval rests on.
    """

    row: str
    base: str
    faces: int
    people: int
    gains: Mapping[str, Gain]


@dataclass(frozen=True)
class Summary:
    """Means over all degraded crops that have the row, by metric, and paired differences; gains: those over the input,
    by row and metric.
    """

    counts: Mapping[str, int]
    means: Mapping[str, Mapping[str, float]]
    gains: Mapping[str, Mapping[str, Gain]]
    differences: Sequence[Difference]


def summarize(results: Sequence[Evaluated], seed: int = 0) -> Summary:
    """Means and paired differences with their intervals; crops without a metric do not count in it."""
    rows = rows_of(results)
    counts = {row: sum(row in result.rows for result in results) for row in rows}
    means: dict[str, dict[str, float]] = {}
    for row in rows:
        there = [result.rows[row] for result in results if row in result.rows]
        values = {metric: [getattr(quality, metric) for quality in there] for metric in METRICS}
        measured = {metric: [value for value in listed if value is not None] for metric, listed in values.items()}
        means[row] = {metric: float(np.mean(listed)) for metric, listed in measured.items() if listed}
    differences = [subtract(results, row, base, seed) for row, base in comparisons(rows)]
    gains = {one.row: one.gains for one in differences if one.base == "input"}
    return Summary(counts, means, gains, [difference for difference in differences if difference.faces])


def split_by_session(results: Sequence[Evaluated]) -> dict[str, list[Evaluated]]:
    """The results of studio pairs, whose references are of the same session, and of all others; empty ones left out."""
    split = {"studio": [one for one in results if one.source.startswith(STUDIO)]}
    split["others"] = [one for one in results if not one.source.startswith(STUDIO)]
    return {name: part for name, part in split.items() if part}


def rows_of(results: Sequence[Evaluated]) -> list[str]:
    """Every row that any result has, in the order they are made in."""
    rows: list[str] = []
    for result in results:
        for place, row in enumerate(result.rows):
            if row not in rows:
                before = [other for other in list(result.rows)[:place] if other in rows]
                rows.insert(rows.index(before[-1]) + 1 if before else 0, row)
    return rows


def comparisons(rows: Sequence[str]) -> list[tuple[str, str]]:
    """Rows worth comparing: all with the input, references with none and with wrong ones, ours with others."""
    with_references = [row for row in rows if row.startswith("specific") or row == "wrong"]
    ours = {"input", "generic", *with_references}
    others = [row for row in FILTERS if row in rows] + [row for row in rows if row not in (*ours, *FILTERS)]
    pairs = [(row, "input") for row in rows if row != "input"]
    pairs += [(row, "generic") for row in with_references if "generic" in rows]
    pairs += [("specific", base) for base in ("wrong",) if {"specific", base} <= set(rows)]
    pairs += [("generic", other) for other in others if "generic" in rows]
    return pairs + [("specific", other) for other in others if "specific" in rows and other not in FILTERS]


def subtract(results: Sequence[Evaluated], row: str, base: str, seed: int = 0) -> Difference:
    """What `row` is above `base` on the crops that have both."""
    both = [result for result in results if row in result.rows and base in result.rows]
    gains = {}
    for metric in METRICS:
        pairs = [(one.identity, getattr(one.rows[row], metric), getattr(one.rows[base], metric)) for one in both]
        measured = [(person, high - low) for person, high, low in pairs if high is not None and low is not None]
        if measured:
            people = [person for person, _ in measured]
            gains[metric] = _gain(np.array([difference for _, difference in measured]), people, seed)
    return Difference(row, base, len(both), len({one.identity for one in both}), gains)


def _gain(differences: npt.NDArray[np.float64], people: Sequence[str], seed: int) -> Gain:
    """Bootstrap over people, because the crops of one person are not independent."""
    _, person = np.unique(people, return_inverse=True)
    sums, counts = np.bincount(person, differences), np.bincount(person)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(RESAMPLINGS, len(sums)))
    low, high = np.percentile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [2.5, 97.5])
    return Gain(float(differences.mean()), float(low), float(high))
