"""What runs in the child processes of a `KitPool`: a kit of their own, asked one question after the other.

Nothing heavy is imported before the environment says that one thread is enough, and never more than the kit needs.
"""

from __future__ import annotations

import mmap
import multiprocessing
import multiprocessing.reduction
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    from dmdcli.faces.identity import Curve
    from dmdcli.faces.kit import FaceKit, Trust

    Arrays = Sequence[npt.NDArray[Any]]

ALIGNMENT = 64
"""Bytes: where an array begins in shared memory is a multiple of it, as NumPy itself likes them."""


KEPT = 1 << 24
"""Bytes of shared memory that are kept from question to question."""


@dataclass(frozen=True)
class Place:
    """Where an array lies in shared memory: its first byte, its shape, and what NumPy calls its dtype."""

    first: int
    shape: tuple[int, ...]
    dtype: str


class SharedMemory:
    """Memory without a name that a process and its child both see; it is gone when both are, however they end.

    It grows as needed, and serves one question at a time. Linux only: elsewhere arrays go through the pipe. Unlike
    /dev/shm, which containers often limit to 64 MB, it is limited by nothing but memory itself.
    It can be pickled only into a child that is being started.
    """

    def __init__(self) -> None:
        if sys.platform != "linux":
            raise OSError("memory without a name is to be had on Linux only")
        self._file: int = os.memfd_create("dmd-faces")
        self._mapped: mmap.mmap | None = None

    def __getstate__(self) -> Any:
        return multiprocessing.reduction.DupFd(self._file)

    def __setstate__(self, duplicate: Any) -> None:
        self._file = duplicate.detach()
        self._mapped = None

    def write(self, arrays: Arrays) -> list[Place]:
        """Copy arrays into the memory, and say where they lie. Raises MemoryError."""
        places, size = [], 0
        for array in arrays:
            places.append(Place(size, array.shape, array.dtype.str))
            size += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
        if size > os.fstat(self._file).st_size:
            os.ftruncate(self._file, size)
        for view, array in zip(self.read(places), arrays, strict=True):
            view[...] = array
        return places

    def read(self, places: Sequence[Place]) -> list[npt.NDArray[Any]]:
        """The arrays at `places`, not copied: they hold until the next are written. Raises MemoryError."""
        import numpy as np

        size = os.fstat(self._file).st_size
        if size == 0:  # nothing but empty arrays was ever written, and nothing cannot be mapped
            return [np.zeros(place.shape, place.dtype) for place in places]
        if self._mapped is None or len(self._mapped) < size:
            try:
                self._mapped = mmap.mmap(self._file, size)
            except OSError as error:
                raise MemoryError(f"{size} bytes to be shared with a child process") from error
        return [np.ndarray(place.shape, place.dtype, self._mapped, place.first) for place in places]

    def forget(self) -> None:
        """Give back what a large photo took; it need not be read any more. The next arrays find room again."""
        if self._mapped is not None and len(self._mapped) > KEPT:
            with suppress(OSError):  # some kernels do not; then it stays taken, for the next arrays
                self._mapped.madvise(mmap.MADV_REMOVE)

    def close(self) -> None:
        """Give it back; the child's half goes with the child."""
        self._mapped = None
        os.close(self._file)


@dataclass(frozen=True)
class Question:
    """A method of the kit, and what it is asked about.

    arrays: pixels, or the places in shared memory where they lie. together: the kit wants the arrays as one list, not
    as its first argument. more: its further arguments.
    """

    method: str
    arrays: Sequence[Any]
    together: bool
    more: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Description:
    """What a kit says of itself, as in `FaceKit`: the first answer of every child."""

    name: str
    similarity: Curve
    settings: Mapping[str, object]
    trust: Trust


@dataclass(frozen=True)
class Raised:
    """An error of the kit. trace: where it came up in the child, for whoever reads tracebacks."""

    error: Exception
    trace: str


def serve(connection: Connection, memory: SharedMemory | None, make: bytes) -> None:
    """Answer questions until nobody asks any more: a Description first, then what the kit says, or Raised.

    make: pickled, what makes the kit; so that nothing is imported before the number of threads is set. Ctrl-C, which
    reaches every process of a terminal, is left to the parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"
    threading.Thread(target=_end_with_parent, daemon=True).start()

    import cv2

    cv2.setNumThreads(1)
    with suppress(EOFError, ConnectionError):  # nobody asks, or listens, any more
        try:
            kit: FaceKit = pickle.loads(make)()
            connection.send(Description(kit.name, kit.similarity, dict(kit.settings), kit.trust))
        except Exception as error:  # noqa: BLE001 (raised in the parent, where the kit was wanted)
            connection.send(_raised(error))
            return
        while True:
            question = connection.recv()
            try:
                connection.send(_look(kit, question, memory))
            except Exception as error:  # noqa: BLE001 (raised in the parent, where the kit was asked)
                connection.send(_raised(error))


def _look(kit: FaceKit, question: Question, memory: SharedMemory | None) -> object:
    arrays = question.arrays if memory is None else memory.read(question.arrays)
    first = arrays if question.together else arrays[0]
    return getattr(kit, question.method)(first, *question.more)


def _raised(error: Exception) -> Raised:
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return Raised(_portable(error), trace)


def _portable(error: Exception) -> Exception:
    """The error itself where it survives pickling, else one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 (a class of whoever wrote the kit may fail in any way)
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _end_with_parent() -> None:
    """Leave in the middle of whatever it is, once nobody waits for it any more."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)
