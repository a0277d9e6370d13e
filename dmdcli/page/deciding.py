"""What becomes of a face when something is decided about it, and what the library is to keep of that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from dmdcli.decisions import Decision, FacePoints, says_nothing
from dmdcli.errors import UsageError
from dmdcli.faces.align import crop_face
from dmdcli.faces.face import Face
from dmdcli.faces.finder import NO_ALIGNMENT, NOT_FITTED, FaceFinder
from dmdcli.page.desk import ChangedElsewhereError
from dmdcli.page.pictures import thumbnail
from dmdcli.page.seen import Seen, points_in_photo, without_pixels
from dmdcli.pipeline.by_hand import describe
from dmdcli.pipeline.preview import ON_ONE_SPOT
from dmdcli.shapes import SAME_FACE, Box, Pixels, overlap


def decide(
    seen: Seen,
    decision: Decision,
    others: Sequence[tuple[int, Box]],
    finder: FaceFinder,
    pixels: Callable[[], Pixels],
) -> Seen:
    """The face as it is once that is decided, in place of what was decided before.

    others: numbers and boxes of the other faces in the photo. pixels: reads the photo, only where points change.
    Without points those found count again, in the box as it is and in the one in which the face was found; in a box
    that was moved they are fitted, and no surer than those found until somebody moves or accepts them. To accept
    doubtful points is to say that they are right. Where the box was moved away from what was found, that is said to be
    no face. UsageError for a box in the place of another face, where points are wanted and no face can be made out, and
    for points that lie on one spot.
    """
    if seen.gone and not decision.not_a_face:
        check_room(decision.box or seen.face.box, others)
    same_box = _is_known_box(seen, decision)
    if decision.not_a_face or (same_box and says_nothing(decision)):
        return put_back(seen, decision, others, pixels)
    if same_box and decision.landmarks is None:
        decision = replace(decision, landmarks=_points_meant(seen, decision))
    if decision.landmarks is not None and decision.landmarks == seen.points and not decision.accepted:
        if NOT_FITTED in seen.face.doubts:
            raise UsageError(f"{NOT_FITTED.capitalize()}, or accept them, before anything else is said of the face.")
        decision = replace(decision, fitted=seen.decision.fitted)
    if same_box and (decision.landmarks, decision.fitted) == (seen.decision.landmarks, seen.decision.fitted):
        return _kept(replace(seen, gone=False), decision, seen.decision.box or seen.face.box)
    if same_box and decision.landmarks is None:
        return put_back(seen, decision, others, pixels)
    box = decision.box or seen.face.box
    check_room(box, others, seen.found)
    picture = pixels()
    if decision.landmarks is None:
        fitted = finder.fit(picture, box)
        if NOT_FITTED in fitted.doubts:
            raise UsageError("No face could be made out in that box. Move it, or put the points where they belong.")
        box = fitted.box
        decision = replace(decision, landmarks=points_in_photo(fitted), fitted=not decision.accepted)
    face = describe(finder, picture, box, decision)
    if face.rejected == NO_ALIGNMENT:
        raise UsageError(ON_ONE_SPOT)
    return _kept(replace(seen, face=without_pixels(face), small=thumbnail(face.pixels), gone=False), decision, box)


def put_back(seen: Seen, decision: Decision, others: Sequence[tuple[int, Box]], pixels: Callable[[], Pixels]) -> Seen:
    """As `as_found`; UsageError where another face, of those with these numbers and boxes, took its place meanwhile."""
    found = seen.found
    if found is not None and not decision.not_a_face and (seen.gone or seen.face.box != found.box):
        check_room(found.box, others)
    return as_found(seen, decision, pixels)


def as_found(seen: Seen, decision: Decision, pixels: Callable[[], Pixels]) -> Seen:
    """The face as the program found it, with a decision that has no points; one drawn by hand is gone."""
    found = seen.found
    if found is None:
        return replace(seen, kept=(), gone=True)
    small = seen.small if seen.face is found else thumbnail(crop_face(pixels(), found.matrix))
    decision = Decision() if says_nothing(decision) else replace(decision, box=found.box)
    kept = () if says_nothing(decision) else (decision,)
    return replace(seen, face=found, small=small, decision=decision, kept=kept, gone=decision.not_a_face)


def as_previewed(seen: Seen, decision: Decision) -> tuple[Face, Decision]:
    """The face that a preview of a decision begins with, as `decide` takes it, and what is still to be done to that."""
    if seen.found is not None and decision.landmarks is None and _is_known_box(seen, decision):
        points = _points_meant(seen, decision)
        return seen.found, replace(decision, box=None if points is None else seen.found.box, landmarks=points)
    if seen.decision.fitted and decision.landmarks == seen.decision.landmarks:
        decision = replace(decision, landmarks=None)
    return seen.face, decision


def as_stored(seen: Seen, changed: ChangedElsewhereError, finder: FaceFinder, pixels: Callable[[], Pixels]) -> Seen:
    """The face with what the library has about it by now."""
    decision = changed.decision
    if decision.landmarks is None or decision.box is None:
        return replace(as_found(seen, decision, pixels), kept=changed.stored)
    face = describe(finder, pixels(), decision.box, decision)
    seen = replace(seen, face=without_pixels(face), small=thumbnail(face.pixels), gone=False)
    return replace(seen, decision=decision, kept=changed.stored)


def check_room(box: Box, others: Sequence[tuple[int, Box]], found: Face | None = None) -> None:
    """UsageError where a box would be taken for that of another face. found: the box's own face, as it was found."""
    own = 0.0 if found is None else overlap(box, found.box)
    for number, other in others:
        if overlap(box, other) >= max(SAME_FACE, own):
            raise UsageError(
                f"Face {number} is in that place already. Correct that one, or draw the box farther from it."
            )


def _is_known_box(seen: Seen, decision: Decision) -> bool:
    """Whether a decision leaves a face in its box or, without points, puts it back into that in which it was found."""
    is_back = seen.found is not None and decision.landmarks is None and decision.box == seen.found.box
    return decision.box in (None, seen.face.box) or is_back


def _points_meant(seen: Seen, decision: Decision) -> FacePoints | None:
    """The points of a face in a known box of which a decision says nothing; None for those found, as sure as found."""
    if seen.found is None:
        return seen.points
    is_doubtful = seen.found.rejected is None and bool(seen.found.doubts)
    return points_in_photo(seen.found) if decision.accepted and is_doubtful else None


def _kept(seen: Seen, decision: Decision, box: Box) -> Seen:
    """The face with a decision about it in a box, and one about the place where it was found, if that is elsewhere."""
    found = seen.found
    origin = seen.decision.found if found is None else found.box if overlap(found.box, box) < SAME_FACE else None
    left = () if found is None or origin is None else (Decision(box=origin, not_a_face=True),)
    decision = replace(decision, box=box, found=None if decision.landmarks is None else origin)
    return replace(seen, decision=decision, kept=(*left, decision))
