"""Who a face is: comparing its embedding with those of enrolled people."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from dmdcli.errors import ShapeError
from dmdcli.faces.face import Face
from dmdcli.shapes import Embedding

THRESHOLD = 0.5
"""Similarity from which a face is taken for the person: each kit sets its curve so that strangers stay below."""
MARGIN = 0.05
"""Similarity by which the best person must beat the second best; closer ones (brothers, or one person enrolled twice)
are nobody."""

Similarity: TypeAlias = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
"""Distances -> similarities in [0, 1], as a `Curve`."""


@dataclass(frozen=True)
class Curve:
    """From the distance of two embeddings to their similarity, 1 / (1 + exp(slope * (distance - middle))).

    middle: the distance of similarity 0.5. slope: per unit of distance, above 0. source: where both come from, in a few
    words. measured: they were fitted to, or set by, distances of these very networks on photographs. fitted: on this
    machine, by its user.
    """

    middle: float
    slope: float
    source: str
    measured: bool
    fitted: bool = False

    def __call__(self, distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Euclidean distances of any shape -> similarities in [0, 1], falling with the distance."""
        exponent = self.slope * (np.asarray(distance, dtype=np.float64) - self.middle)
        return 1 / (1 + np.exp(np.clip(exponent, -500, 500)))


@dataclass(frozen=True)
class Match:
    """The person a face was recognised as.

    similarity: in [0, 1], how surely it is the person, by the kit's curve. distance: Euclidean, of the kit's
    embeddings, to the nearest reference. runner_up, runner_up_similarity: the second best person, or None where only
    one was compared.
    """

    person: str
    similarity: float
    distance: float
    runner_up: str | None = None
    runner_up_similarity: float | None = None


class Gallery:
    """The embeddings of enrolled people, all of one kit.

    references: person -> (N, D) float32, one row per reference photo. similarity: the kit's.
    Raises ShapeError where the rows of two people differ in length.
    """

    def __init__(self, references: Mapping[str, npt.NDArray[np.float32]], similarity: Similarity) -> None:
        self._references = {
            person: np.asarray(rows, dtype=np.float64) for person, rows in references.items() if len(rows)
        }
        self._similarity = similarity
        lengths = {rows.shape[1:] for rows in self._references.values()}
        if len(lengths) > 1 or any(len(length) != 1 for length in lengths):
            raise ShapeError(f"references: wanted (N, D) with one D for all people, got {sorted(lengths)}")

    @property
    def people(self) -> tuple[str, ...]:
        """Everybody in the gallery, in the order given."""
        return tuple(self._references)

    def distances(self, embedding: Embedding, only: Collection[str] | None = None) -> dict[str, float]:
        """Person -> Euclidean distance to the nearest of their references.

        The nearest, not the mean: on the test photographs the nearest separates best (wrong people 1.3 times as far as
        right ones; mean 1.1), because one reference of the same age or pose is enough.
        """
        looked_at = np.asarray(embedding, dtype=np.float64)
        return {
            person: float(np.linalg.norm(rows - looked_at, axis=1).min())
            for person, rows in self._references.items()
            if only is None or person in only
        }

    def nearest(self, embedding: Embedding, person: str) -> int:
        """The row of the person's reference that is nearest to a face."""
        looked_at = np.asarray(embedding, dtype=np.float64)
        return int(np.linalg.norm(self._references[person] - looked_at, axis=1).argmin())

    def rank(self, embedding: Embedding, only: Collection[str] | None = None) -> list[Match]:
        """Everybody (or the people in `only`), the most similar first, each with the one that follows as the
        runner-up.
        """
        distances = sorted(self.distances(embedding, only).items(), key=lambda pair: pair[1])
        similarities = self._similarity(np.array([distance for _, distance in distances], dtype=np.float64))
        ranked = []
        for place, (person, distance) in enumerate(distances):
            follower = place + 1 if place + 1 < len(distances) else None
            ranked.append(
                Match(
                    person=person,
                    similarity=float(similarities[place]),
                    distance=distance,
                    runner_up=None if follower is None else distances[follower][0],
                    runner_up_similarity=None if follower is None else float(similarities[follower]),
                )
            )
        return ranked


def match_faces(
    faces: Sequence[Face],
    gallery: Gallery,
    threshold: float = THRESHOLD,
    margin: float = MARGIN,
    only: Collection[str] | None = None,
) -> list[Match | None]:
    """Who each face of one photo is; None for strangers, for rejected faces and where two people are as similar.

    A person appears once in a photo at most: the surest face gets them, and the others stay strangers. `only`: the
    people to consider.
    """
    matches: list[Match | None] = [None] * len(faces)
    best: list[tuple[int, Match]] = []
    for place, face in enumerate(faces):
        ranked = gallery.rank(face.embedding, only) if face.rejected is None else []
        if ranked and ranked[0].similarity >= threshold and _leads(ranked[0], margin):
            best.append((place, ranked[0]))
    taken: set[str] = set()
    for place, match in sorted(best, key=lambda pair: -pair[1].similarity):
        if match.person not in taken:
            taken.add(match.person)
            matches[place] = match
    return matches


def _leads(match: Match, margin: float) -> bool:
    return match.runner_up_similarity is None or match.similarity - match.runner_up_similarity >= margin
