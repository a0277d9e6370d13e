"""Who may compute when: people before the search in the background, the latest preview before all that came earlier."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dmdcli.errors import DMDError, UsageError
from dmdcli.faces.face import Landmarks
from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.identity import Curve
from dmdcli.faces.kit import Detection, FaceKit, Trust
from dmdcli.shapes import Embedding, Pixels


class Ended(Exception):
    """What is done in the background is no longer wanted."""


@contextmanager
def telling(tell: Callable[[str], None], what: str) -> Iterator[None]:
    """What is done in the background, to its end or to what ends it, which is told in a sentence; `Ended` needs none.

    what: as in "The search". Errors that only a bug can cause are told, and raised.
    """
    try:
        yield
    except Ended:
        return
    except DMDError as error:
        tell(f"{what} ended: {error}")
    except Exception as error:
        tell(f"{what} ended because of a fault in the program, {error!r}; the terminal says more.")
        raise


class Precedence:
    """Lets what is done in the background wait while somebody is served, and end when nobody is there any more."""

    def __init__(self) -> None:
        self._served = 0
        self._ended = False
        self._changed = threading.Condition()

    @contextmanager
    def serving(self) -> Iterator[None]:
        """What the user waits for is done inside."""
        with self._changed:
            self._served += 1
        try:
            yield
        finally:
            with self._changed:
                self._served -= 1
                self._changed.notify_all()

    def wait(self) -> None:
        """Return when nobody is being served; raise Ended after `end`."""
        with self._changed:
            self._changed.wait_for(lambda: self._served == 0 or self._ended)
            if self._ended:
                raise Ended

    def end(self) -> None:
        """Let the background end at its next step."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()


@dataclass(frozen=True)
class Finders:
    """A finder for what somebody waits for, and one for the search in the background, which lets that go first."""

    served: FaceFinder
    searching: FaceFinder
    precedence: Precedence


def share(finder: FaceFinder) -> Finders:
    """Let several threads use a finder."""
    kit, precedence = SharedKit(finder.kit), Precedence()
    searching = kit.in_background(precedence)
    return Finders(FaceFinder(kit, finder.min_face), FaceFinder(searching, finder.min_face), precedence)


class SharedKit:
    """A kit for several threads: each of its networks works for one at a time, one crop after the other.

    precedence: given to those that work in the background, who wait before each crop while somebody is served.
    """

    def __init__(self, kit: FaceKit, precedence: Precedence | None = None, shared: SharedKit | None = None) -> None:
        self._kit = kit
        self._precedence = precedence
        self._detecting: threading.Lock = threading.Lock() if shared is None else shared._detecting
        self._looking: threading.Lock = threading.Lock() if shared is None else shared._looking

    def in_background(self, precedence: Precedence) -> SharedKit:
        """The same kit for those that wait while somebody is served."""
        return SharedKit(self._kit, precedence, self)

    @property
    def name(self) -> str:
        """As `FaceKit.name`."""
        return self._kit.name

    @property
    def trust(self) -> Trust:
        """As `FaceKit.trust`."""
        return self._kit.trust

    @property
    def similarity(self) -> Curve:
        """As `FaceKit.similarity`."""
        return self._kit.similarity

    @property
    def settings(self) -> dict[str, object]:
        """As `FaceKit.settings`."""
        return dict(self._kit.settings)

    def detect(self, photos: Sequence[Pixels]) -> list[list[Detection]]:
        """As `FaceKit.detect`."""
        return [self._detected(photo) for photo in photos]

    def landmarks(self, crops: Pixels) -> list[Landmarks]:
        """As `FaceKit.landmarks`."""
        return [self._found(crop) for crop in crops]

    def embed(self, crops: Pixels, landmarks: Sequence[Landmarks]) -> npt.NDArray[np.float32]:
        """As `FaceKit.embed`."""
        rows = [self._embedded(crop, points) for crop, points in zip(crops, landmarks, strict=True)]
        return np.stack(rows) if rows else np.zeros((0, 0), dtype=np.float32)

    def outlines(self, crops: Pixels) -> npt.NDArray[np.float32] | None:
        """As `FaceKit.outlines`."""
        with self._turn(self._looking):
            return self._kit.outlines(crops)

    @contextmanager
    def _turn(self, lock: threading.Lock) -> Iterator[None]:
        if self._precedence is not None:
            self._precedence.wait()
        with lock:
            yield

    def _detected(self, photo: Pixels) -> list[Detection]:
        with self._turn(self._detecting):
            return self._kit.detect([photo])[0]

    def _found(self, crop: Pixels) -> Landmarks:
        with self._turn(self._looking):
            return self._kit.landmarks(crop[None])[0]

    def _embedded(self, crop: Pixels, points: Landmarks) -> Embedding:
        with self._turn(self._looking):
            (row,) = self._kit.embed(crop[None], [points])
        embedding: Embedding = row
        return embedding


class Latest:
    """One at a time, and of those that wait only the latest; the others are told that they came too early."""

    def __init__(self) -> None:
        self._working = threading.Lock()
        self._counting = threading.Lock()
        self._asked = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn; UsageError where somebody asked later meanwhile."""
        with self._counting:
            self._asked += 1
            mine = self._asked
        with self._working:
            if mine != self._asked:
                raise UsageError("Another preview was asked for meanwhile; this one was left out.")
            yield
