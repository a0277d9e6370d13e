"""The faces of a photo as they were put right by hand: moved, drawn, or said to be none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dmdcli.corrections import Corrections
from dmdcli.decisions import Decision, find
from dmdcli.errors import LibraryFormatError, PhotoReadError
from dmdcli.faces.face import Face
from dmdcli.faces.finder import FaceFinder, area, same_centre
from dmdcli.shapes import Box, Pixels, pair

NOT_A_FACE = "it is no face, as decided"


def corrections_of(path: Path, digest: str, corrections: Corrections | None) -> tuple[Decision, ...]:
    """What was put right by hand in a photo; digest: SHA-256 of its content. corrections: None for none.

    PhotoReadError where that cannot be read: without it the photo would be taken wrongly.
    """
    try:
        return () if corrections is None else corrections.faces(digest)
    except LibraryFormatError as error:
        raise PhotoReadError(path, str(error)) from error


def no_face_in(size: tuple[int, int]) -> Decision:
    """What is kept of a photo in which there is no face, as somebody saw: all of it, `size` its width and height, is
    right as it is.
    """
    return Decision(box=(0.0, 0.0, float(size[0]), float(size[1])), accepted=True)


def find_faces(finder: FaceFinder, pixels: Pixels, decisions: Sequence[Decision]) -> list[Face]:
    """All faces of a photo (H, W, 3) uint8 RGB, the largest first, with what was decided about them.

    decisions: about this photo, with boxes in its pixels.
    """
    return put_right(finder, pixels, finder.find(pixels), decisions)


@dataclass(frozen=True)
class AsDecided:
    """A face of a photo as it stands. found: as the program found it, None where there was none; decision: about it."""

    face: Face
    found: Face | None
    decision: Decision | None


def put_right(finder: FaceFinder, pixels: Pixels, faces: Sequence[Face], decisions: Sequence[Decision]) -> list[Face]:
    """The faces of `as_decided`; what is no face is rejected."""
    return [set_aside(one.face, one.decision) for one in as_decided(finder, pixels, faces, decisions)]


def as_decided(
    finder: FaceFinder, pixels: Pixels, faces: Sequence[Face], decisions: Sequence[Decision]
) -> list[AsDecided]:
    """The faces that were found in a photo, put right by the decisions about it; the largest first.

    Landmarks make the face that is found in their box one with these points, and a face of its own where none is. What
    else was found at the same place was the same face, and goes.
    """
    drawn = with_landmarks(decisions)
    made = [describe(finder, pixels, box, one) for one, box in drawn]
    replaced = pair([box for _, box in drawn], [face.box for face in faces])
    every: list[tuple[Face, Face | None]] = [
        (face, face)
        for place, face in enumerate(faces)
        if place not in replaced.values() and not any(same_centre(face, one) for one in made if one.rejected is None)
    ]
    if made:
        every += [(face, faces[replaced[order]] if order in replaced else None) for order, face in enumerate(made)]
        every.sort(key=lambda one: -area(one[0].box))
    said = find(decisions, [face.box for face, _ in every])
    return [AsDecided(face, found, decision) for (face, found), decision in zip(every, said, strict=True)]


def with_landmarks(decisions: Sequence[Decision]) -> list[tuple[Decision, Box]]:
    """Those of the decisions that have landmarks, each with its box."""
    return [(one, one.box) for one in decisions if one.box is not None and one.landmarks is not None]


def describe(finder: FaceFinder, pixels: Pixels, box: Box, decision: Decision) -> Face:
    """The face with the landmarks of a decision: believed, or measured where the program fitted them."""
    points = np.array(decision.landmarks, dtype=np.float32)
    return finder.describe_points(pixels, box, points, "detected" if decision.fitted else "corrected")


def set_aside(face: Face, decision: Decision | None) -> Face:
    """The face, refused where it was decided that it is none."""
    if face.rejected is None and decision is not None and decision.not_a_face:
        return replace(face, rejected=NOT_A_FACE)
    return face
