"""The kit and the network that restores, loaded when they are first needed: a run with nothing to do needs neither.

What results depend on of them, their names and settings, is known without loading them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from dmdcli.faces.face import Landmarks
    from dmdcli.faces.identity import Curve
    from dmdcli.faces.kit import Detection, FaceKit, Trust
    from dmdcli.library_files import Arrays
    from dmdcli.model.dictionary import Dictionary
    from dmdcli.model.restorer import RestoredCrop, Restorer
    from dmdcli.shapes import ComponentBoxes, Pixels

T = TypeVar("T")


class Late(Generic[T]):
    """Something made once, when it is first asked for, by whatever thread. Errors of `make` are raised to who asks."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: list[T] = []
        self._making = threading.Lock()
        self._seconds = 0.0

    @property
    def is_made(self) -> bool:
        """Whether somebody asked."""
        return bool(self._made)

    @property
    def seconds(self) -> float:
        """What making it took; 0 until it is made."""
        return self._seconds

    def get(self) -> T:
        """The one thing."""
        with self._making:
            if not self._made:
                began = time.monotonic()
                self._made.append(self._make())
                self._seconds = time.monotonic() - began
        return self._made[0]


class LateKit:
    """A `FaceKit` that is made when it is first used. name, similarity, settings, trust: those of the kit made."""

    def __init__(
        self, make: Callable[[], FaceKit], name: str, similarity: Curve, settings: Mapping[str, object], trust: Trust
    ) -> None:
        self.name = name
        self.similarity = similarity
        self.settings = settings
        self.trust = trust
        self.late = Late(make)

    def detect(self, photos: Sequence[Pixels]) -> list[list[Detection]]:
        """As the kit's."""
        return self.late.get().detect(photos)

    def landmarks(self, crops: Pixels) -> list[Landmarks]:
        """As the kit's."""
        return self.late.get().landmarks(crops)

    def embed(self, crops: Pixels, landmarks: Sequence[Landmarks]) -> npt.NDArray[np.float32]:
        """As the kit's."""
        return self.late.get().embed(crops, landmarks)

    def outlines(self, crops: Pixels) -> npt.NDArray[np.float32] | None:
        """As the kit's."""
        return self.late.get().outlines(crops)


class LateRestorer:
    """A `Restorer` that is loaded when it is first used. weights_id: of the one loaded; None to load it for that."""

    def __init__(self, load: Callable[[], Restorer], weights_id: str | None = None) -> None:
        self._weights_id = weights_id
        self.late = Late(load)

    @property
    def weights_id(self) -> str:
        """As the network's."""
        return self._weights_id or self.late.get().weights_id

    def restore(
        self, crops: Pixels, boxes: ComponentBoxes, dictionaries: Sequence[Dictionary | None], *, both: bool = True
    ) -> list[RestoredCrop]:
        """As `Restorer.restore`."""
        return self.late.get().restore(crops, boxes, dictionaries, both=both)

    def memorize(self, crops: Pixels, boxes: ComponentBoxes) -> Dictionary:
        """As `Restorer.memorize`."""
        return self.late.get().memorize(crops, boxes)

    @property
    def gathers(self) -> int:
        """As the network's."""
        return self.late.get().gathers

    def recall(self, arrays: Arrays) -> Dictionary:
        """As `Restorer.recall`."""
        return self.late.get().recall(arrays)
