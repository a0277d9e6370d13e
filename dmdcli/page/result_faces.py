"""The faces of results as networks see them: described when they are looked at, or ahead of that."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Generic, TypeAlias, TypeVar

import numpy as np

from dmdcli.decisions import Decision
from dmdcli.errors import UsageError
from dmdcli.faces.align import crop_face
from dmdcli.faces.face import Face
from dmdcli.faces.finder import FaceFinder
from dmdcli.journal import FaceRow, PhotoRow
from dmdcli.page.seen import NO_PIXELS, NOTHING, without_pixels
from dmdcli.page.turns import Finders, telling
from dmdcli.shapes import Box, Pixels, pair

FACES, PHOTOS = 500, 100
"""How many faces, and photos with all their faces, are remembered: two kilobytes a face."""
Value = TypeVar("Value")
Within: TypeAlias = Callable[[], AbstractContextManager[None]]
"""Makes the block in which networks compute: one before which the background waits, or one of the background."""


@dataclass(frozen=True)
class Made:
    """A face in a result. decision: about it, as the library has it. kept: all that the library has about it."""

    id: str
    photo: str
    number: int
    row: FaceRow
    decision: Decision = NOTHING
    kept: tuple[Decision, ...] = ()

    @property
    def box(self) -> Box:
        """In pixels of the upright photo, as it was restored."""
        x0, y0, x1, y1 = self.row.box
        return x0, y0, x1, y1


class Remembered(Generic[Value]):
    """What was worked out last, at most `most` of it; for several threads, of which one works out the same thing."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[str, Value] = OrderedDict()
        self._running: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def __contains__(self, key: str) -> bool:
        with self._lock:
            return key in self._values

    def get(self, key: str, work_out: Callable[[], Value]) -> Value:
        """The value of a key, worked out now unless it is known; who finds another thread at it waits for that."""
        with self._lock:
            turn = self._running.setdefault(key, threading.Lock())
        with turn:
            try:
                with self._lock:
                    if key in self._values:
                        self._values.move_to_end(key)
                        return self._values[key]
                value = work_out()
                with self._lock:
                    self._values[key] = value
                    while len(self._values) > self._most:
                        self._values.popitem(last=False)
                return value
            finally:
                with self._lock:
                    self._running.pop(key, None)


class ResultFaces:
    """Describes the faces of results.

    pixels: reads a photo by its id, raising UsageError where it is gone. row_of: that of a photo in the journal. tell:
    is told in a sentence what goes wrong in the background, where `prepare` works.
    """

    def __init__(
        self,
        finders: Finders,
        pixels: Callable[[str], Pixels],
        row_of: Callable[[str], PhotoRow],
        tell: Callable[[str], None],
    ) -> None:
        self._finders = finders
        self._pixels = pixels
        self._row_of = row_of
        self._tell = tell
        self._described: Remembered[Face] = Remembered(FACES)
        self._measured: Remembered[Face] = Remembered(FACES)
        self._searched: Remembered[list[Face]] = Remembered(PHOTOS)
        self._wanted: Made | None = None
        self._ended = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def described(self, made: Made) -> Face:
        """The face as it was restored: its points are found again, in the very crop. UsageError without its photo."""
        return self._describe(made, self._finders.served, self._finders.precedence.serving)

    def found(self, made: Made) -> Face | None:
        """The face as the program finds it, None where it was drawn by hand. UsageError without its photo.

        Only where somebody put points before the photo was restored, it has to be searched again to tell.
        """
        return self._find(made, self._finders.served, self._finders.precedence.serving)

    def is_found(self, made: Made) -> bool:
        """Whether `found` needs no search any more."""
        return made.decision.landmarks is None or self._was_found(made) or made.photo in self._searched

    def prepare(self, made: Made) -> None:
        """Describe a face in the background while nobody is served, in place of what was to be prepared before."""
        with self._changed:
            self._wanted = made
            if self._thread is None and not self._ended:
                self._thread = threading.Thread(target=self._work, name="prepare faces", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> None:
        """End what is done in the background after its present step."""
        self._finders.precedence.end()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        with telling(self._tell, "Preparing faces ahead"):
            while (made := self._next()) is not None:
                try:
                    self._describe(made, self._finders.searching, nullcontext)
                    self._find(made, self._finders.searching, nullcontext)
                except UsageError:  # the photo is gone: whoever opens the face is told so
                    continue

    def _next(self) -> Made | None:
        with self._changed:
            self._changed.wait_for(lambda: self._wanted is not None or self._ended)
            made, self._wanted = self._wanted, None
            return None if self._ended else made

    def _describe(self, made: Made, finder: FaceFinder, within: Within) -> Face:
        def describe() -> Face:
            with within():
                matrix = np.array(made.row.matrix, dtype=np.float32)
                landmarks, embedding = finder.describe(crop_face(self._pixels(made.photo), matrix))
                return Face(made.box, 1.0, matrix, NO_PIXELS, landmarks, embedding)

        return self._described.get(made.id, describe)

    def _find(self, made: Made, finder: FaceFinder, within: Within) -> Face | None:
        if made.decision.landmarks is None:
            return self._describe(made, finder, within)
        if self._was_found(made):
            return self._measured.get(made.id, lambda: self._measure(made, finder, within))
        faces = self._searched.get(made.photo, lambda: self._search(made.photo, finder, within))
        where = made.decision.found or made.decision.box or made.box
        place = pair([where], [face.box for face in faces]).get(0)
        return None if place is None else faces[place]

    def _measure(self, made: Made, finder: FaceFinder, within: Within) -> Face:
        """The face as a search gives it, from the box and the matrix with which it was found."""
        described = self._describe(made, finder, within)
        with within():
            crop = crop_face(self._pixels(made.photo), described.matrix)
            face = without_pixels(finder.measured(replace(described, pixels=crop)))
        return face if made.row.usable else replace(face, rejected="; ".join(made.row.reason))

    def _search(self, photo: str, finder: FaceFinder, within: Within) -> list[Face]:
        with within():
            return [without_pixels(face) for face in finder.find(self._pixels(photo))]

    def _was_found(self, made: Made) -> bool:
        """Whether the face was restored as these networks found it: nobody had said anything of the photo by then."""
        row = self._row_of(made.photo)
        return row.said is None and row.kit == self._finders.served.kit_name
