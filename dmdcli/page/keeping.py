"""What is decided on the page: checked, kept in the library as soon as it is said, and counted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from dmdcli.corrections import Corrections
from dmdcli.decisions import OUTCOMES, Decision, FacePoints
from dmdcli.errors import UsageError
from dmdcli.formats.face_tags import clean_name
from dmdcli.page.desk import ChangedElsewhereError
from dmdcli.shapes import SAME_FACE, Points, overlap


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


def checked(decision: Decision) -> Decision:
    """The decision as it can be kept, without what means nothing beside the rest; UsageError for what cannot be.

    Points are rounded to hundredths of a pixel, as they are written.
    """
    if sum(bool(getattr(decision, key)) for key in OUTCOMES) > 1:
        raise UsageError("Only one can be true of a face: somebody's, a stranger's, no face, or left alone.")
    if decision.box is not None:
        x0, y0, x1, y1 = decision.box
        if not all(map(math.isfinite, decision.box)) or x0 >= x1 or y0 >= y1:
            raise UsageError("A box needs a width and a height; draw it again.")
    points = decision.landmarks
    if points is not None and (len(points) != 68 or not all(math.isfinite(one) for point in points for one in point)):
        raise UsageError("A face has 68 points, each with two numbers.")
    if decision.strength is not None and not 0 <= decision.strength <= 1:
        raise UsageError("The strength is a number from 0 to 1.")
    name = None if decision.person is None else clean_name(decision.person)
    if decision.person is not None and name is None:
        raise UsageError("That is no name; write one with letters in it.")
    return replace(
        decision,
        number=None,
        person=name,
        strength=None if decision.not_a_face or decision.leave_alone else decision.strength,
        landmarks=None if decision.not_a_face or points is None else _rounded(points),
        line=0,
    )


def points_of(points: Points) -> FacePoints:
    """68 points (68, 2) as decisions have them."""
    return _rounded([(float(x), float(y)) for x, y in points])


def tally(changes: Iterable[tuple[Decision, Decision]]) -> Mapping[str, int]:
    """How many faces were corrected, accepted and so on; changes: what was decided before, and what is by now."""
    counts: Counter[str] = Counter()
    for before, after in changes:
        whose = (after.person, after.stranger)
        counts["corrected"] += after.landmarks not in (None, before.landmarks)
        counts["said whose they are"] += whose not in ((None, False), (before.person, before.stranger))
        counts["said to be no face"] += after.not_a_face > before.not_a_face
        counts["to be left alone"] += after.leave_alone > before.leave_alone
        counts["given a strength"] += after.strength not in (None, before.strength)
        counts["accepted"] += after.accepted > before.accepted
    return {what: count for what, count in counts.items() if count}


def _rounded(points: Sequence[tuple[float, float]]) -> FacePoints:
    return tuple((round(x, 2), round(y, 2)) for x, y in points)


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
