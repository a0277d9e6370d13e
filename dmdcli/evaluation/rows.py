"""What is compared: each row is one way to make a picture of a degraded crop."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from dmdcli.errors import UsageError
from dmdcli.evaluation.filters import SETTINGS, apply_filter
from dmdcli.evaluation.measures import to_uint8
from dmdcli.evaluation.pairs import Pair, read_result
from dmdcli.faces.face import component_boxes
from dmdcli.faces.kit import FaceKit
from dmdcli.shapes import Pixels
from dmdcli.training.data import FaceData

if TYPE_CHECKING:
    from dmdcli.model.dictionary import Dictionary
    from dmdcli.model.restorer import Restorer

FILTERS = tuple(SETTINGS)
COUNTS = (1, 2, 4, 7)
"""Numbers of references that are tried where a person has them."""
GROUPS: Mapping[str, tuple[str, ...]] = {
    "filters": FILTERS,
    "references": (*(f"specific-{count}" for count in COUNTS), "specific", "wrong"),
    "all": (*FILTERS, "generic", *(f"specific-{count}" for count in COUNTS), "specific", "wrong"),
}
"""Names that stand for several rows."""
USUAL = ("generic", "specific")
FIELDS = ("schema", "seed", "crop", "identity", "source", "degradation", "references", "error", "summary", "input")
"""Names no row may have, because a result holds them beside its rows."""


class Maker(Protocol):
    """Makes the pictures of one or several rows."""

    @property
    def rows(self) -> tuple[str, ...]:
        """The rows it makes, in the order they are shown in."""

    def make(self, faces: FaceData, pairs: Sequence[Pair]) -> list[dict[str, Pixels]]:
        """For each pair the pictures (512, 512, 3) uint8 RGB by row; rows that do not apply to it are left out."""


def choose_rows(names: Sequence[str]) -> tuple[str, ...]:
    """The rows that names and groups stand for, each once, in the order of GROUPS["all"]; the input is always there.

    Raises UsageError for a name that is neither.
    """
    chosen: set[str] = set()
    for name in names:
        known = name in GROUPS["all"] or name == "input" or re.fullmatch(r"specific-[1-9][0-9]{0,2}", name)
        if name not in GROUPS and not known:
            raise UsageError(
                f"There is no row {name!r}; there are input, {', '.join(GROUPS['all'])} with any number, "
                f"and {', '.join(GROUPS)} for several."
            )
        chosen |= set(GROUPS.get(name, (name,)))
    order = (*FILTERS, "generic")
    counted = sorted((row for row in chosen if row.startswith("specific-")), key=wanted_references)
    return tuple(row for row in (*order, *counted, "specific", "wrong") if row in chosen)


def wanted_references(row: str) -> int:
    """How many references a row like specific-4 takes."""
    return int(row.removeprefix("specific-"))


@dataclass(frozen=True)
class Filtered:
    """Plain filters at their best settings; rows: any of FILTERS."""

    rows: tuple[str, ...]

    def make(self, faces: FaceData, pairs: Sequence[Pair]) -> list[dict[str, Pixels]]:  # noqa: ARG002
        """The filtered pictures of each pair."""
        return [{row: apply_filter(row, pair.degraded, pair.degradation) for row in self.rows} for pair in pairs]


@dataclass(frozen=True)
class Restored:
    """Our network with several dictionaries.

    generic: none. specific: all references the person has. specific-N: the first N of them, where there are so many.
    wrong: somebody else's. kit: finds the landmarks on the degraded crop, as it would on a photo; None: the boxes come
    from the true ones.
    """

    restorer: Restorer
    rows: tuple[str, ...]
    kit: FaceKit | None = None

    def make(self, faces: FaceData, pairs: Sequence[Pair]) -> list[dict[str, Pixels]]:
        """Each pair restored, once for each set of references; rows with equal references share one picture."""
        degraded = np.stack([pair.degraded for pair in pairs])
        boxes = np.stack([component_boxes(faces.samples[pair.position].points) for pair in pairs])
        if self.kit is not None:
            boxes = np.stack([component_boxes(found.points) for found in self.kit.landmarks(degraded)])
        wanted = [self._references(pair) for pair in pairs]
        memories = {used: self._memorize(faces, used) for by_row in wanted for used in by_row.values() if used}
        several = [sorted({used for used in by_row.values() if used}) for by_row in wanted]
        pictures: dict[tuple[int, tuple[int, ...]], Pixels] = {}
        # One encoding serves the generic answer and a first dictionary; each further dictionary wants one of its own.
        generic = "generic" in self.rows
        first = [index for index in range(len(pairs)) if generic or several[index]]
        dictionaries = [memories[several[index][0]] if several[index] else None for index in first]
        answers = self.restorer.restore(degraded[first], boxes[first], dictionaries, both=generic) if first else []
        for index, answer in zip(first, answers, strict=True):
            if answer.generic is not None:
                pictures[index, ()] = to_uint8(answer.generic)
            if answer.specific is not None:
                pictures[index, several[index][0]] = to_uint8(answer.specific)
        further = [(index, used) for index in range(len(pairs)) for used in several[index][1:]]
        chosen = [index for index, _ in further]
        answers = (
            self.restorer.restore(degraded[chosen], boxes[chosen], [memories[used] for _, used in further], both=False)
            if further
            else []
        )
        pictures |= {job: to_uint8(answer.best) for job, answer in zip(further, answers, strict=True)}
        return [{row: pictures[index, used] for row, used in by_row.items()} for index, by_row in enumerate(wanted)]

    def _references(self, pair: Pair) -> dict[str, tuple[int, ...]]:
        """Row -> positions of the references it takes for a pair, sorted."""
        wanted: dict[str, tuple[int, ...]] = {}
        for row in self.rows:
            if row == "generic":
                wanted[row] = ()
            elif row in ("specific", "wrong"):
                wanted[row] = pair.references if row == "specific" else pair.strangers
            elif len(pair.references) >= wanted_references(row):
                wanted[row] = pair.references[: wanted_references(row)]
        return {row: tuple(sorted(used)) for row, used in wanted.items() if used or row == "generic"}

    def _memorize(self, faces: FaceData, positions: tuple[int, ...]) -> Dictionary:
        boxes = np.stack([component_boxes(faces.samples[position].points) for position in positions])
        return self.restorer.memorize(faces.pixels[list(positions)], boxes)


@dataclass(frozen=True)
class Results:
    """What another program made of pairs that were written out: one row, named as the folder.

    Raises UsageError where there is no such folder.
    """

    folder: Path

    def __post_init__(self) -> None:
        """Look whether the folder is there, before a long run depends on it."""
        if not self.folder.is_dir():
            raise UsageError(f"{self.folder} is no folder of results.")

    @property
    def rows(self) -> tuple[str, ...]:
        """The folder's name."""
        return (self.folder.resolve().name,)

    def make(self, faces: FaceData, pairs: Sequence[Pair]) -> list[dict[str, Pixels]]:
        """The results of each pair, read. Raises UsageError where one is missing or not 512 x 512."""
        return [{self.rows[0]: read_result(self.folder, pair, faces)} for pair in pairs]
