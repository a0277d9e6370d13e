"""What would come of a face with what was decided about it by now."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Generic

import numpy as np

from dmdcli.decisions import Decision
from dmdcli.faces.align import crop_face
from dmdcli.faces.face import Face, component_boxes, verdict
from dmdcli.faces.finder import FaceFinder
from dmdcli.page.desk import Candidate, Preview
from dmdcli.page.turns import Latest, Precedence
from dmdcli.pipeline.judge import closed_eyes, left_out
from dmdcli.pipeline.people import CropRestorer, DictionaryT, People
from dmdcli.pipeline.preview import face_with, hints, preview
from dmdcli.shapes import COMPONENTS, Embedding, Pixels

MOST_CANDIDATES = 12
"""People that a face is said to resemble; there may be hundreds in the library."""


class Previews(Generic[DictionaryT]):
    """Restores faces for a look at them; of those that are asked for at once only the latest."""

    def __init__(
        self,
        finder: FaceFinder,
        restorer: CropRestorer[DictionaryT],
        people: People[DictionaryT],
        precedence: Precedence,
    ) -> None:
        self._finder = finder
        self._restorer = restorer
        self._people = people
        self._precedence = precedence
        self._latest = Latest()

    def of(
        self,
        standing: Face,
        person: str | None,
        decision: Decision,
        pixels: Callable[[], Pixels],
        is_restored: bool = False,
    ) -> Preview:
        """A face restored as it is decided.

        standing: the face as it is, its own pixels not needed. person: whose it is, unless `decision` says it. pixels:
        reads the photo, (H, W, 3) uint8 RGB. Points are fitted in a box that was moved without them.
        is_restored: the photo says that dmd restored this face before.
        """
        began = time.monotonic()
        with self._precedence.serving(), self._latest.turn():
            face = with_points(standing, decision, pixels(), self._finder)
            whose = None if decision.stranger else decision.person or person
            strength = 1.0 if decision.strength is None else decision.strength
            after, used, skipped = preview(face, whose, strength, self._finder, self._restorer, self._people)
            name, reasons = verdict(face)
            left = left_out(skipped, closed_eyes(face.landmarks.points))
            told = dict.fromkeys((*reasons, *hints(face, decision, self._finder, is_restored), *left))
        boxes = component_boxes(face.landmarks.points).tolist()
        seconds = time.monotonic() - began
        assert used != "none"
        places = tuple(COMPONENTS.index(name) for name in skipped)
        return Preview(face.pixels, after, boxes, name, tuple(told), used, seconds, places)

    def candidates(self, embedding: Embedding) -> tuple[Candidate, ...]:
        """Whom a face may be, the likeliest first; nobody where it was not recognisable."""
        ranked = self._people.gallery.rank(embedding, most=MOST_CANDIDATES) if len(embedding) else []
        return tuple(Candidate(one.person, round(one.similarity, 4)) for one in ranked[:MOST_CANDIDATES])


def with_points(standing: Face, decision: Decision, pixels: Pixels, finder: FaceFinder) -> Face:
    """The face with the points of a decision, or those fitted in its box, or as it stands; aligned, not recognised."""
    if decision.landmarks is not None:
        points = np.array(decision.landmarks, dtype=np.float32)
        return face_with(pixels, points, decision.box or standing.box, finder)
    if decision.box is not None and decision.box != standing.box:
        return finder.fit(pixels, decision.box)
    return replace(standing, pixels=crop_face(pixels, standing.matrix))
