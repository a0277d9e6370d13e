"""Kits for child processes, where nothing heavy is imported: one that does as the photo says, and the embedded one."""

from __future__ import annotations

import os
import signal
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dmdcli.errors import WeightsMissingError
from dmdcli.faces.embedded import EmbeddedKit
from dmdcli.faces.face import Landmarks
from dmdcli.faces.identity import Curve
from dmdcli.faces.kit import Detection, Trust
from dmdcli.shapes import Pixels

END, END_ONCE, REFUSE, REFUSE_ODDLY, MEET, DAWDLE = range(250, 256)
"""First sample of a photo or crop at which `ObedientKit` ends its process, always or only the first time; raises a
plain error, or one that cannot be pickled; waits until it is asked the same in another process; takes a minute."""


class OddError(Exception):
    """Cannot be pickled: it is made of two things, and remembers one."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")


class ObedientKit:
    """Says what it was shown, and by which process.

    folder: where processes leave word for each other.
    """

    name = "obedient-1"
    trust = Trust(weak=0.1, lost=0.2, turned=0.3)
    similarity = Curve(middle=1.0, slope=2.0, source="made up", measured=False)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = {"threads": os.environ.get("OMP_NUM_THREADS"), "torch": "torch" in sys.modules}

    def detect(self, photos: Sequence[Pixels]) -> list[list[Detection]]:
        for photo in photos:
            self.obey(int(photo.flat[0]) if photo.size else 0)
        return [[Detection((0.0, 0.0, *photo.shape[1::-1]), checksum(photo), place())] for photo in photos]

    def landmarks(self, crops: Pixels) -> list[Landmarks]:
        return [Landmarks(np.full((68, 2), checksum(crop), dtype=np.float32)) for crop in crops]

    def embed(self, crops: Pixels, landmarks: Sequence[Landmarks]) -> npt.NDArray[np.float32]:
        for crop in crops:
            self.obey(int(crop.flat[0]))
        rows = [(checksum(crop), checksum(one.points), len(crop)) for crop, one in zip(crops, landmarks, strict=True)]
        return np.array(rows, dtype=np.float32).reshape(-1, 3)

    def outlines(self, crops: Pixels) -> npt.NDArray[np.float32] | None:
        return crops[..., 0] / np.float32(255) if len(crops) else None

    def obey(self, order: int) -> None:
        said = self.folder / "said"
        if order == END or (order == END_ONCE and not said.exists()):
            said.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if order == REFUSE:
            raise WeightsMissingError("It is not here.")
        if order == REFUSE_ODDLY:
            raise OddError(Path("a.jpg"), "is odd")
        if order == MEET:
            (self.folder / f"met-{os.getpid()}").touch()
            wait_for(lambda: len(list(self.folder.glob("met-*"))) > 1)
        if order == DAWDLE:
            (self.folder / "dawdling").touch()
            time.sleep(60)


def checksum(array: npt.NDArray[np.generic]) -> float:
    """A number that says what is in the array, and in which order; float32 holds it exactly."""
    return float(zlib.crc32(array.tobytes()) % 65521)


def place() -> npt.NDArray[np.float32]:
    """The process as a matrix."""
    return np.full((2, 3), os.getpid(), dtype=np.float32)


def wait_for(condition: object, seconds: float = 20) -> None:
    """Return once `condition()` holds; fails after some seconds."""
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


def only_once(folder: Path) -> ObedientKit:
    """A kit that can be made a single time."""
    (folder / "made").mkdir()
    return ObedientKit(folder)


def never(sentence: str) -> ObedientKit:
    """Raises an error of the program."""
    raise WeightsMissingError(sentence)


def at_once() -> ObedientKit:
    """Ends its process."""
    os._exit(3)


def embedded() -> EmbeddedKit:
    """The embedded kit, whose settings say whether torch came along."""
    kit = EmbeddedKit()
    kit.settings = {"torch": "torch" in sys.modules}
    return kit
