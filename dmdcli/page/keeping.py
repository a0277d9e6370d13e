"""What is decided on the page: kept in the library as soon as it is said, and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from dmdcli.corrections import Corrections
from dmdcli.decisions import Decision, FacePoints, find
from dmdcli.page.desk import ChangedElsewhereError
from dmdcli.pipeline.by_hand import AsDecided
from dmdcli.shapes import SAME_FACE, Box, Points, overlap, pair

FACELESS = "said to be without a face"
"""In a tally: photos, not faces."""


class Kept:
    """The decisions about photos in a library, changed face by face; for several threads, and programs, at once."""

    def __init__(self, corrections: Corrections) -> None:
        self._corrections = corrections

    def about(self, digest: str) -> tuple[Decision, ...]:
        """What is decided about the faces of the photo with this SHA-256."""
        return self._corrections.faces(digest)

    def replace(
        self,
        digest: str,
        place: str,
        before: Sequence[Decision],
        after: Sequence[Decision],
        others: Collection[Decision] = (),
    ) -> None:
        """Put decisions about a face in place of those that were kept of it; those about other faces stay.

        before: what is known to be kept of it. others: of other faces of the photo. place: where the photo lies, for
        people to read; one that is no text is left out. Raises ChangedElsewhereError where something else is kept of
        the face by now, and changes nothing.
        """

        def changed(kept: tuple[Decision, ...]) -> list[Decision]:
            mine = (*before, *after)
            of_it = [one for one in kept if one in before or (one not in others and _share_a_face(one, mine))]
            if set(of_it) != set(before):
                raise ChangedElsewhereError(of_it)
            return [*(one for one in kept if one not in of_it), *after]

        self._corrections.change(digest, place if _is_text(place) else None, changed)


def points_of(points: Points) -> FacePoints:
    """68 points (68, 2) as decisions have them, to hundredths of a pixel, as they are written."""
    return tuple((round(float(x), 2), round(float(y), 2)) for x, y in points)


def moved_back(faces: Sequence[AsDecided]) -> list[tuple[AsDecided, tuple[Decision, ...]]]:
    """Each face with what is kept of it; one that was moved is one with what was found where it had been."""
    left = [one for one in faces if one.found is not None and one.decision is not None and one.decision.not_a_face]
    moved = [
        (one, one.decision.found)
        for one in faces
        if one.found is None and one.decision is not None and one.decision.found is not None
    ]
    pairs = pair([box for _, box in moved], [one.face.box for one in left])
    origins = {id(moved[order][0]): left[place] for order, place in pairs.items()}
    replaced = {id(one) for one in origins.values()}
    merged = []
    for one in faces:
        origin = origins.get(id(one), one)
        kept = dict.fromkeys(each.decision for each in (origin, one) if each.decision is not None)
        if id(one) not in replaced:
            merged.append((replace(one, found=origin.found), tuple(kept)))
    return merged


def kept_by_face(about: Sequence[Decision], boxes: Sequence[Box]) -> dict[int, tuple[Decision, ...]]:
    """Places of faces -> what is kept of each, what is about the face as it stands at the end.

    about: what is kept of the photo. boxes: of its faces, as they were restored. A face that was moved since stands
    where it was; one that was moved before stands at its new place, and where it had been there is none.
    """
    said = find(about, boxes)
    kept: dict[int, tuple[Decision, ...]] = {place: () if one is None else (one,) for place, one in enumerate(said)}
    for moved in about:
        if moved.found is None:
            continue
        origin = next((one for one in about if one.not_a_face and one.box == moved.found), None)
        left = said.index(origin) if origin in said else None
        place = said.index(moved) if moved in said else left
        if place is not None:
            kept.pop(place if left is None else left, None)
            kept[place] = (moved,) if origin is None else (origin, moved)
    return kept


def tally(changes: Iterable[tuple[Decision | None, Decision]]) -> Mapping[str, int]:
    """How many faces were corrected, accepted and so on, and how many photos said to be FACELESS.

    changes: what was decided before, None of a photo in which no face was found, and what is by now.
    """
    counts: Counter[str] = Counter()
    for before, after in changes:
        if before is None:
            counts[FACELESS] += after.accepted
            continue
        whose = (after.person, after.stranger)
        has_other_points = after.landmarks is not None and (after.landmarks, after.fitted) != (
            before.landmarks,
            before.fitted,
        )
        counts["corrected"] += has_other_points and not after.fitted
        counts["with points fitted in a box"] += has_other_points and after.fitted
        counts["said whose they are"] += whose not in ((None, False), (before.person, before.stranger))
        counts["said to be no face"] += after.not_a_face > before.not_a_face
        counts["to be left alone"] += after.leave_alone > before.leave_alone
        counts["given a strength"] += after.strength not in (None, before.strength)
        counts["accepted"] += after.accepted > before.accepted
    return {what: count for what, count in counts.items() if count}


def _share_a_face(one: Decision, others: Iterable[Decision]) -> bool:
    """Whether a decision is about a face that one of the others is about."""
    boxes = [other.box for other in others if other.box is not None]
    return one.box is not None and any(overlap(one.box, box) >= SAME_FACE for box in boxes)


def _is_text(place: str) -> bool:
    try:
        place.encode()
    except UnicodeEncodeError:
        return False
    return True
