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
    """The embeddings of enrolled people, all of one kit: one matrix, so that comparing a face with 10,000 people is one
    product.

    references: person -> (N, D) float32, one row per reference photo. similarity: the kit's.
    Raises ShapeError where the rows of two people differ in length.
    """

    def __init__(self, references: Mapping[str, npt.NDArray[np.float32]], similarity: Similarity) -> None:
        given = {person: np.asarray(rows, dtype=np.float64) for person, rows in references.items() if len(rows)}
        lengths = {rows.shape[1:] for rows in given.values()}
        if len(lengths) > 1 or any(len(length) != 1 for length in lengths):
            raise ShapeError(f"references: wanted (N, D) with one D for all people, got {sorted(lengths)}")
        self._similarity = similarity
        self._places = {person: place for place, person in enumerate(given)}
        self._rows = np.concatenate(list(given.values())) if given else np.zeros((0, 0))
        self._squares = np.einsum("rd,rd->r", self._rows, self._rows)
        self._ends = np.cumsum([len(rows) for rows in given.values()], dtype=np.int64)

    @property
    def people(self) -> tuple[str, ...]:
        """Everybody in the gallery, in the order given."""
        return tuple(self._places)

    def distances(self, embeddings: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """(N, D) embeddings -> (N, people), Euclidean distance to the nearest reference of each.

        The nearest, not the mean: on the test photographs the nearest separates best (wrong people 1.3 times as far as
        right ones; mean 1.1), because one reference of the same age or pose is enough.
        """
        if not self._places:
            return np.zeros((len(embeddings), 0))
        looked_at = np.asarray(embeddings, dtype=np.float64)
        squares = np.einsum("nd,nd->n", looked_at, looked_at)[:, None] + self._squares - 2 * looked_at @ self._rows.T
        starts = np.concatenate([[0], self._ends[:-1]])
        nearest: npt.NDArray[np.float64] = np.minimum.reduceat(squares, starts, axis=1)
        distances: npt.NDArray[np.float64] = np.sqrt(nearest.clip(0))
        return distances

    def nearest(self, embedding: Embedding, person: str) -> int:
        """The row of the person's reference that is nearest to a face."""
        place = self._places[person]
        rows = self._rows[self._ends[place - 1] if place else 0 : self._ends[place]]
        return int(np.linalg.norm(rows - np.asarray(embedding, dtype=np.float64), axis=1).argmin())

    def rank(
        self, embedding: Embedding, only: Collection[str] | None = None, *, most: int | None = None, least: float = 0.0
    ) -> list[Match]:
        """Everybody (or the people in `only`), the most similar first, each with the one that follows as the
        runner-up.

        most: how many are wanted, None for all. least: similarity from which they are.
        """
        (ranked,) = self.rank_all(np.asarray(embedding)[None], only, most=most, least=least)
        return ranked

    def rank_all(
        self,
        embeddings: npt.NDArray[np.floating],
        only: Collection[str] | None = None,
        *,
        most: int | None = None,
        least: float = 0.0,
    ) -> list[list[Match]]:
        """`rank` of several faces, (N, D), with one product."""
        names = list(self._places)
        distances = self.distances(embeddings)
        if only is not None:
            columns = sorted({self._places[person] for person in only if person in self._places})
            names, distances = [names[column] for column in columns], distances[:, columns]
        similarities = self._similarity(distances)
        ranked = []
        for far, like in zip(distances, similarities, strict=True):
            order = np.argsort(far, kind="stable")
            wanted = min(len(names) if most is None else most, int((like >= least).sum()))
            ranked.append(
                [
                    Match(
                        person=names[here],
                        similarity=float(like[here]),
                        distance=float(far[here]),
                        runner_up=None if follower is None else names[follower],
                        runner_up_similarity=None if follower is None else float(like[follower]),
                    )
                    for here, follower in zip(order[:wanted], [*order[1 : wanted + 1], None], strict=False)
                ]
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
    usable = [place for place, face in enumerate(faces) if face.rejected is None]
    if not usable or not gallery.people:
        return matches
    ranked = gallery.rank_all(np.stack([faces[place].embedding for place in usable]), only, most=1)
    best = [
        (place, first)
        for place, (first, *_) in ((place, some) for place, some in zip(usable, ranked, strict=True) if some)
        if first.similarity >= threshold and _leads(first, margin)
    ]
    taken: set[str] = set()
    for place, match in sorted(best, key=lambda pair: -pair[1].similarity):
        if match.person not in taken:
            taken.add(match.person)
            matches[place] = match
    return matches


def _leads(match: Match, margin: float) -> bool:
    return match.runner_up_similarity is None or match.similarity - match.runner_up_similarity >= margin
