"""The evaluation: pairs go to everything that is compared, and each picture is measured against the truth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from dmdcli.errors import UsageError
from dmdcli.evaluation.measures import Quality, Truth, describe, measure
from dmdcli.evaluation.pairs import Pair
from dmdcli.evaluation.rows import FIELDS, Maker
from dmdcli.evaluation.strips import StripsFolder
from dmdcli.faces.face import component_boxes
from dmdcli.faces.kit import FaceKit
from dmdcli.shapes import Pixels
from dmdcli.training.data import FaceData
from dmdcli.training.degrade import Degradation

AT_ONCE = 16
"""Crops restored together; only memory depends on it."""


@dataclass(frozen=True)
class Evaluated:
    """One degraded crop: what was done to it, and the quality of each row, `input` first.

    source: where the crop is from, as the index says. references: how many other crops the person has.
    """

    crop: str
    identity: str
    source: str
    seed: int
    degradation: Degradation
    references: int
    rows: Mapping[str, Quality]


def evaluate(
    faces: FaceData,
    pairs: Iterable[Pair],
    makers: Sequence[Maker],
    kit: FaceKit | None = None,
    strips: StripsFolder | None = None,
) -> Iterator[Evaluated]:
    """Measure what each maker makes of each pair; yield one result per pair, in their order.

    kit: measures identities and landmarks; None leaves them out. strips: takes the pictures too, and is finished after
    the last. Raises UsageError where two rows have one name.
    """
    check_names([row for maker in makers for row in maker.rows])
    truths = describe_truths(faces, kit)
    waiting = iter(pairs)
    while together := list(islice(waiting, AT_ONCE)):
        made: list[dict[str, Pixels]] = [{"input": pair.degraded} for pair in together]
        for maker in makers:
            for pictures, more in zip(made, maker.make(faces, together), strict=True):
                pictures |= more
        for pair, pictures in zip(together, made, strict=True):
            sample = faces.samples[pair.position]
            rows = measure_rows(pictures, replace(truths[pair.position], pixels=pair.truth), kit)
            if strips is not None:
                strips.add(pair, pictures, rows)
            yield Evaluated(
                crop=sample.crop,
                identity=sample.identity,
                source=sample.source,
                seed=pair.seed,
                degradation=pair.degradation,
                references=len(pair.references),
                rows=rows,
            )
    if strips is not None:
        strips.finish()


def measure_rows(pictures: Mapping[str, Pixels], truth: Truth, kit: FaceKit | None) -> dict[str, Quality]:
    """The quality of each row; a picture that several rows share is measured once."""
    different = {id(picture): picture for picture in pictures.values()}
    qualities = dict(zip(different, measure(list(different.values()), truth, kit), strict=True))
    return {row: qualities[id(picture)] for row, picture in pictures.items()}


def describe_truths(faces: FaceData, kit: FaceKit | None) -> list[Truth]:
    """What is to be known of each crop of the data."""
    boxes = [component_boxes(sample.points) for sample in faces.samples]
    if kit is None:
        return [Truth(pixels, box) for pixels, box in zip(faces.pixels, boxes, strict=True)]
    described = [describe(pixels[None], kit) for pixels in faces.pixels]
    embeddings = np.concatenate([embedding for _, embedding in described])
    return [
        Truth(
            pixels=faces.pixels[position],
            boxes=boxes[position],
            points=described[position][0][0].points,
            embedding=embeddings[position],
            references=embeddings[list(faces.others(position))],
        )
        for position in range(len(faces.samples))
    ]


def check_names(rows: Sequence[str]) -> None:
    """Raise UsageError where two rows have one name, or one has the name of something else in a result."""
    for row in rows:
        if row in FIELDS or rows.count(row) > 1:
            raise UsageError(f"Two things would be called {row!r}; rename the file or folder of one.")
