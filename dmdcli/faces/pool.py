"""A kit in several processes: for one that answers a single thread at a time, and whose end must not be the run's."""

from __future__ import annotations

import atexit
import multiprocessing
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from dmdcli.errors import CannotGoOnError, KitError
from dmdcli.faces.face import Landmarks
from dmdcli.faces.identity import Curve
from dmdcli.faces.kit import Detection, FaceKit, Trust
from dmdcli.faces.pool_child import Description, Question, Raised, SharedMemory, serve
from dmdcli.shapes import Pixels

ATTEMPTS = 2
"""How often a question is asked whose process ends over it: once may be bad luck, or somebody else's lack of memory."""
MANY = 16
"""Faces to be embedded for which another process is started, where there are fewer than there may be: they take as long
as its start."""
PATIENCE = 5.0
"""Seconds for a process to be gone once its end of the pipe is."""
CURE = "If memory or processes ran out, end other programs, or use --workers 1; the same command goes on from there."
"""What helps where none could be started."""


class KitPool:
    """A `FaceKit` that any number of threads may ask at once: each question goes to a process that is free.

    make: makes the kit, in each process; it is pickled. workers: processes at most. The first is started at once, and
    waited for when something is asked for the first time; that raises what making the kit raises there. Others follow
    while all are busy, as many at a time as work already: a short run pays for few. Where no more can be started, the
    pool goes on with those it has; where there are none, CannotGoOnError is raised to who asks.
    A process that ends by itself is replaced, and its question asked once more; then KitError is raised. What the kit
    raises is raised as it is. Processes ignore Ctrl-C, and end when this one does, however that ends. What is asked
    again once the pool is closed raises ValueError.
    """

    def __init__(self, make: Callable[[], FaceKit], workers: int) -> None:
        if workers < 1:
            raise ValueError(f"{workers} processes cannot look for faces")
        self._make = pickle.dumps(make)
        self._most = workers
        self._changed = threading.Condition()
        # All that follows is changed only by who holds that.
        self._living: set[_Worker] = set()
        self._free: list[_Worker] = []
        self._starting = 0
        self._failure: Exception | None = None
        self._description: Description | None = None
        self._closed = False
        # Before multiprocessing waits for its processes too, while a thread of ours may be waiting for the same one.
        atexit.register(self.close)
        with self._changed:
            self._start()

    @property
    def name(self) -> str:
        """As `FaceKit.name`."""
        return self._described().name

    @property
    def similarity(self) -> Curve:
        """As `FaceKit.similarity`."""
        return self._described().similarity

    @property
    def settings(self) -> Mapping[str, object]:
        """As `FaceKit.settings`."""
        return self._described().settings

    @property
    def trust(self) -> Trust:
        """As `FaceKit.trust`."""
        return self._described().trust

    def detect(self, photos: Sequence[Pixels]) -> list[list[Detection]]:
        """As `FaceKit.detect`; all photos go to one process."""
        found: list[list[Detection]] = self._ask("detect", photos, together=True)
        return found

    def landmarks(self, crops: Pixels) -> list[Landmarks]:
        """As `FaceKit.landmarks`."""
        found: list[Landmarks] = self._ask("landmarks", [crops])
        return found

    def embed(self, crops: Pixels, landmarks: Sequence[Landmarks]) -> npt.NDArray[np.float32]:
        """As `FaceKit.embed`; several faces are divided among the processes that are free, one at a time."""
        with self._changed:
            askers = min(len(crops), self._most, max(len(self._free), len(crops) // MANY))
        if askers < 2:
            return self._embed(crops, landmarks)

        def embed_one(index: int) -> npt.NDArray[np.float32]:
            return self._embed(crops[index : index + 1], landmarks[index : index + 1])

        with ThreadPoolExecutor(askers, "asks a process") as threads:
            return np.concatenate(list(threads.map(embed_one, range(len(crops)))))

    def _embed(self, crops: Pixels, landmarks: Sequence[Landmarks]) -> npt.NDArray[np.float32]:
        rows: npt.NDArray[np.float32] = self._ask("embed", [crops], list(landmarks))
        return rows

    def outlines(self, crops: Pixels) -> npt.NDArray[np.float32] | None:
        """As `FaceKit.outlines`."""
        parts: npt.NDArray[np.float32] | None = self._ask("outlines", [crops])
        return parts

    def close(self) -> None:
        """End all processes, also in the middle of a question: those who wait for answers get ValueError."""
        atexit.unregister(self.close)
        with self._changed:
            self._closed = True
            for worker in self._living:
                worker.kill()
            while self._free:
                self._drop(self._free.pop())
            self._changed.notify_all()

    def __enter__(self) -> KitPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _described(self) -> Description:
        while self._description is None:
            self._give_back(self._take())
        return self._description

    def _ask(self, method: str, arrays: Sequence[Pixels], *more: object, together: bool = False) -> Any:
        ended = ""
        for _ in range(ATTEMPTS):
            worker = self._take()
            try:
                answer = worker.ask(method, arrays, together, more)
            except _Ended as end:
                ended = str(end)
                continue
            finally:
                self._give_back(worker)
            if isinstance(answer, Raised):
                raise answer.error from _InChild(answer.trace)
            return answer
        raise KitError(
            f"The process that looked for faces {ended}, and so did the next one. If memory ran out, fewer --workers "
            "or a smaller copy of the photo help."
        )

    def _take(self) -> _Worker:
        """A process that is free, once there is one. Raises what kept the only one from starting."""
        with self._changed:
            while True:
                if self._closed:
                    raise ValueError("this pool of processes is closed")
                while self._free:
                    worker = self._free.pop()
                    if worker.is_alive():
                        return worker
                    self._drop(worker)
                if self._failure is not None:
                    failure, self._failure = self._failure, None
                    raise failure
                working = len(self._living) - self._starting
                if len(self._living) < self._most and self._starting < max(1, working):
                    self._start()
                    if not self._living:
                        continue
                self._changed.wait()

    def _give_back(self, worker: _Worker) -> None:
        """Let others have a process, unless it ended or was left in the middle of a question."""
        with self._changed:
            if worker.is_free and not self._closed:
                self._free.append(worker)
            else:
                self._drop(worker)
            self._changed.notify_all()

    def _drop(self, worker: _Worker) -> None:
        self._living.discard(worker)
        worker.close()

    def _start(self) -> None:
        try:
            worker = _Worker(self._make)
        except OSError as error:  # of processes, of files, of memory there are no more
            self._go_without(CannotGoOnError(f"No process could be started to look for faces: {error}. {CURE}"))
            return
        self._living.add(worker)
        self._starting += 1
        threading.Thread(target=self._welcome, args=(worker,), name="welcomes a process", daemon=True).start()

    def _welcome(self, worker: _Worker) -> None:
        """Wait until a process that was started can be asked; in a thread of its own, others go on meanwhile."""
        try:
            answer = worker.receive()
        except _Ended as end:
            answer = Raised(CannotGoOnError(f"A process that was to look for faces {end} as it started. {CURE}"), "")
        with self._changed:
            self._starting -= 1
            if isinstance(answer, Raised):
                self._drop(worker)
                answer.error.__cause__ = _InChild(answer.trace)
                self._go_without(answer.error)
            else:
                self._description = answer
                self._give_back(worker)
            self._changed.notify_all()

    def _go_without(self, failure: Exception) -> None:
        """A process could not be started: no more are tried while there are others, and else somebody is told."""
        if self._living:
            self._most = len(self._living)
        else:
            self._failure = failure


class _Ended(Exception):
    """A process ended before it answered; says how, as the rest of a sentence."""


class _InChild(Exception):
    """Shows, as the cause of an error, where it came up in the child."""

    def __str__(self) -> str:
        return f"in a child process:\n{self.args[0]}"


class _Worker:
    """A process with a kit, and the way to it; for one thread at a time, `kill` and `is_alive` for any.

    Its first answer, which comes without a question, is a Description or Raised.
    """

    def __init__(self, make: bytes) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._memory = _shared_memory()
        self._process = context.Process(target=serve, args=(theirs, self._memory, make), daemon=True)
        try:
            with theirs, _no_interrupts():
                self._process.start()
        except BaseException:
            self.close()
            raise
        self.is_free = False

    def ask(self, method: str, arrays: Sequence[Pixels], together: bool, more: tuple[object, ...]) -> Any:
        """The kit's answer, or Raised. Raises _Ended, and MemoryError where the arrays find no room."""
        places = arrays if self._memory is None else self._memory.write(arrays)
        self.is_free = False
        try:
            self._connection.send(Question(method, places, together, more))
        except OSError as error:
            raise _Ended(self._how_it_ended()) from error
        answer = self.receive()
        if self._memory is not None:
            self._memory.forget()
        return answer

    def receive(self) -> Any:
        """The next answer. Raises _Ended."""
        try:
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise _Ended(self._how_it_ended()) from error
        self.is_free = True
        return answer

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def kill(self) -> None:
        """End the process at once; there is nothing in it that could be lost."""
        self._process.kill()
        self._process.join()

    def close(self) -> None:
        """End the process and give back what it took. Nobody may be asking it any more."""
        if self._process.pid is not None:
            self.kill()
            self._process.close()
        self._connection.close()
        if self._memory is not None:
            self._memory.close()

    def _how_it_ended(self) -> str:
        self._process.join(PATIENCE)
        code = self._process.exitcode
        if code is not None and code < 0:
            return f"ended (signal {-code}, {signal.strsignal(-code)})"
        return f"ended (exit code {code})"


def _shared_memory() -> SharedMemory | None:
    try:
        return SharedMemory()
    except (OSError, AttributeError):  # Python may have been built without memfd_create
        return None


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Start a process here, and it hears no Ctrl-C even before it can say so itself."""
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # started along with the first process otherwise, and it lets Ctrl-C in again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
