"""`dmd restore --ray`: the faces of photos found and restored by the machines of a Ray cluster, in order.

Photos, journal, results and library stay with the program that was started. It sends the bytes of a photo and gets back
what is to be kept, so the machines share no files with it. What every worker needs is put into the cluster once.
A worker that is lost is replaced, and what it had in hand is done by others.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic

from dmdcli import __version__
from dmdcli.errors import CannotGoOnError, DMDError, PackageError, PhotoError
from dmdcli.pipeline.people import DictionaryT
from dmdcli.pipeline.ray_worker import Files, Outfit, Tools, Worker
from dmdcli.pipeline.seen import Run
from dmdcli.pipeline.steps import Underway, fetch, keep_pictures, step

IN_HAND = 2
"""Photos that a worker has at once: one it works on, one that is there when it is done."""
AHEAD = 4
"""Photos per worker that were begun and whose turn to be kept has not come."""
ROOM = 50.0
"""Megapixels of the photos that were begun and are not yet kept, for each worker: in the cluster, or done here."""
MOST_LOST = 3
"""Workers that may be lost over one photo, or one after the other before the first photo."""
PATIENCE = 120.0
"""Seconds a machine has to say which version of dmd it has."""
QUIET = 30.0
"""Seconds after which the user is told that nobody has begun."""
FAREWELL = 5.0
"""Seconds workers have to put away what they unpacked."""

SURROUNDINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_NUM_REDIS_GET_RETRIES": "1",
    "RAY_py_gcs_connect_timeout_s": "10",
}
"""What Ray is told where the user does not: send nothing home, and do not wait for minutes where no cluster answers."""
SILENCE = {
    "RAY_DEDUP_LOGS": "1",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",
    "RAY_DEDUP_LOGS_ALLOW_REGEX": "(?!)",
}
"""What Ray is told in any case, by its own switches for repeated lines: leave out every line, and keep none. When a
machine is lost it would write its logs to stdout, among our results, whatever `log_to_driver` is. They are read when
it is imported.
"""


@dataclass(eq=False)
class Job:
    """A photo in its turn. given: what a worker needs of it, None once it is done. lost: workers lost over it."""

    underway: Underway
    given: Any = None
    lost: int = 0


@dataclass(eq=False)
class Hand:
    """A worker, seen from here. starting: pending until it has started. jobs: in its hands, with their results, in the
    order in which it does them. failed: its forerunners that ended before they had started.
    """

    actor: Any
    starting: Any
    jobs: list[tuple[Any, Job]] = field(default_factory=list)
    failed: int = 0


class RayCrew(Generic[DictionaryT]):
    """The workers of a cluster that runs already; to be used in a `with` block.

    address: "auto", "host:port" or "ray://host:port". files: read when the first photo needs a worker.
    make: as of `Outfit`. most: workers, at most. graphics: one worker for each GPU where there are any, otherwise one
    for each processor core. tell: takes sentences for the user.
    Entering raises PackageError where Ray is missing here or versions differ, CannotGoOnError where no
    cluster answers.
    """

    def __init__(
        self,
        address: str,
        files: Callable[[], Files],
        make: Callable[[Path], Tools[DictionaryT]],
        most: int,
        *,
        graphics: bool = True,
        tell: Callable[[str], None],
    ) -> None:
        self._address = address
        self._files = files
        self._make = make
        self._most = most
        self._graphics = graphics
        self._tell = tell
        self._hands: list[Hand] = []
        self._told: set[str] = set()
        self._unkept: set[str] = set()  # pictures for the report that could not be written, by name

    def __enter__(self) -> RayCrew[DictionaryT]:
        self._ray = connect(self._address)
        try:
            nodes = [one for one in self._ray.nodes() if one["Alive"] and one["Resources"].get("CPU", 0) >= 1]
            check_versions(self._ray, [node["NodeID"] for node in nodes], self._tell)
            self.workers, self._needs = plan([one["Resources"] for one in nodes], self._most, self._graphics)
            without = sum(node["Resources"].get("GPU", 0) < 1 for node in nodes)
            if "num_gpus" in self._needs and without:
                idle = f"{without} of the {len(nodes)} machines of the cluster"
                self._tell(f"Not used, for lack of a GPU: {idle}. --device cpu uses the processors of all of them.")
        except BaseException:
            self._ray.shutdown()
            raise
        return self

    def __exit__(self, *failure: object) -> None:
        self._dismiss()
        self._ray.shutdown()

    def work(self, run: Run[DictionaryT], photos: Iterator[Underway]) -> Generator[Underway, None, None]:
        """Each photo, in order, with what is to be kept of it; settled ones as they are."""
        try:
            turns, waiting, more = deque[Job](), deque[Job](), True
            while more or turns:
                if more and self._has_room(turns):
                    underway = next(photos, None)
                    if underway is None:
                        more = False
                        continue
                    turns.append(self._begun(run, underway))
                    if turns[-1].given is not None:
                        waiting.append(turns[-1])
                elif turns[0].given is not None:
                    self._hear(run, waiting)
                if waiting:
                    self._hand_out(run, waiting)
                while turns and turns[0].given is None:
                    yield turns.popleft().underway
        except BaseException:
            self._tell("Stopping...")  # workers have a moment to put away what they unpacked
            raise

    def _has_room(self, turns: deque[Job]) -> bool:
        """Whether another photo may be begun."""
        # What is done waits for its turn with the whole file of its result; only a failure holds nothing.
        megapixels = sum(job.underway.megapixels for job in turns if not job.underway.is_settled)
        return len(turns) < AHEAD * self.workers and megapixels < ROOM * self.workers

    def _begun(self, run: Run[DictionaryT], underway: Underway) -> Job:
        """A photo with its file in the cluster, unless it is settled."""
        underway = step(partial(fetch, run), underway)
        if underway.is_settled:
            return Job(underway)
        return Job(replace(underway, given=None), self._ray.put(underway.given))

    def _hand_out(self, run: Run[DictionaryT], waiting: deque[Job]) -> None:
        """Give photos that wait to the workers that have started, to those with the fewest first."""
        if not self._hands:
            circumstances, options, threads = run.circumstances, run.options, int(self._needs["num_cpus"])
            self._outfit = self._ray.put(Outfit(self._files(), self._make, circumstances, options, threads))
            self._hands = [self._hired() for _ in range(self.workers)]
        while waiting:
            free = [hand for hand in self._hands if hand.starting is None and len(hand.jobs) < IN_HAND]
            if not free:
                return
            hand, job = min(free, key=lambda one: len(one.jobs)), waiting.popleft()
            hand.jobs.append((hand.actor.work.remote(job.underway, job.given), job))

    def _hired(self, failed: int = 0) -> Hand:
        """A new worker, who starts as soon as the cluster has room."""
        actor = self._ray.remote(Worker).options(max_restarts=0, **self._needs).remote(self._outfit)
        return Hand(actor, actor.start.remote(), failed=failed)

    def _hear(self, run: Run[DictionaryT], waiting: deque[Job]) -> None:
        """Wait until one worker has something to say, or for a while."""
        awaited = {hand.starting: hand for hand in self._hands if hand.starting is not None}
        awaited |= {result: hand for hand in self._hands for result, _ in hand.jobs}
        heard, _ = self._ray.wait(list(awaited), num_returns=1, timeout=QUIET)
        if not heard:
            if all(hand.starting is not None for hand in self._hands):
                self._tell_once("No worker has started yet; the cluster may have no room. `ray status` shows it.")
            return
        said = heard[0]
        hand = awaited[said]
        if said == hand.starting:
            self._started(hand)
            return
        job = next(job for result, job in hand.jobs if result == said)
        if self._is_done(run, said, job):
            hand.jobs.remove((said, job))
        else:
            waiting.extendleft(reversed(self._lost(run, hand)))

    def _is_done(self, run: Run[DictionaryT], result: Any, job: Job) -> bool:
        """Whether there is a result, which is taken then; False where its worker was lost."""
        exceptions = self._ray.exceptions
        try:
            underway, pictures = self._ray.get(result, timeout=PATIENCE)
        except exceptions.RayTaskError as error:
            if isinstance(error.cause, DMDError):
                raise error.cause from error
            raise
        except exceptions.RayError:
            return False
        if run.evidence.keep is not None:
            underway = step(partial(keep_pictures, run.evidence.keep, pictures, self._unkept), underway)
        job.underway, job.given = underway, None
        return True

    def _lost(self, run: Run[DictionaryT], hand: Hand) -> list[Job]:
        """Replace a worker that was lost, and return what it has not done. It was at work on the first of that."""
        self._ray.kill(hand.actor)
        left = [job for result, job in hand.jobs if not self._is_done(run, result, job)]
        if left:
            left[0].lost += 1
            if left[0].lost == MOST_LOST:
                job = left.pop(0)
                reason = f"cannot be worked on: {MOST_LOST} workers ended over it. Try it without --ray"
                failure = PhotoError(job.underway.file.path, reason)
                job.underway, job.given = replace(job.underway, failure=failure), None
        self._tell_once("A worker was lost; what it had in hand is done by others.")
        self._hands[self._hands.index(hand)] = self._hired()
        return left

    def _started(self, hand: Hand) -> None:
        """Note that a worker is there, or find another in its place; where it cannot load the networks, do without it.

        Raises what went wrong where no worker is left.
        """
        exceptions, place = self._ray.exceptions, self._hands.index(hand)
        try:
            self._ray.get(hand.starting)
            hand.starting = None
            return
        except exceptions.RayTaskError as error:
            failure = error.cause if isinstance(error.cause, DMDError) else CannotGoOnError(f"A worker failed: {error}")
        except exceptions.RayError as error:
            self._ray.kill(hand.actor)
            if hand.failed + 1 < MOST_LOST:
                self._hands[place] = self._hired(hand.failed + 1)
                return
            said = " ".join(str(error).split())[:300]
            failure = CannotGoOnError(f"Workers of the cluster end before they have started; Ray says: {said}")
        del self._hands[place]
        if not self._hands:
            raise failure
        self._tell_once(f"A worker is not used. {failure}")

    def _tell_once(self, sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            self._tell(sentence)

    def _dismiss(self) -> None:
        """End all workers; those that are there first put away what they unpacked."""
        farewells = [hand.actor.close.remote() for hand in self._hands if hand.starting is None]
        if farewells:
            self._ray.wait(farewells, num_returns=len(farewells), timeout=FAREWELL)
        for hand in self._hands:
            self._ray.kill(hand.actor)
        self._hands = []


def connect(address: str) -> Any:
    """Join a cluster that runs already, and return the package `ray`. Raises as entering a `RayCrew`."""
    for name, value in SURROUNDINGS.items():
        os.environ.setdefault(name, value)
    os.environ.update(SILENCE)
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise PackageError("--ray needs the package ray, which is not installed: pip install 'dmdcli[ray]'") from error
    try:
        with quiet_libraries():
            ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (OSError, RuntimeError, ValueError, ImportError) as error:  # ConnectionError and TimeoutError among them
        said = " ".join(str(error).split())[:300].rstrip(".")
        if "ersion mismatch" in said:
            raise PackageError(f"The cluster at {address} has other versions than this machine. {said}") from error
        if isinstance(error, ImportError) or "ray[client]" in said:
            raise PackageError(f"ray://... needs more of Ray: pip install 'ray[client]' ({said})") from error
        raise CannotGoOnError(
            f"No Ray cluster answers at {address} ({said}). `ray start --head` starts one, `ray status` shows it; or "
            "leave out --ray."
        ) from error
    return ray


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep off stderr what compiled code writes there, whatever levels of logging are set; its errors are raised."""
    with suppress(OSError, ValueError):  # also buffered text that is ours
        sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def check_versions(ray: Any, nodes: list[str], tell: Callable[[str], None]) -> None:
    """Ask each machine of the cluster, by its id, which dmd it has; PackageError where one has another, or none."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def version_there() -> tuple[str, str | None]:  # goes over as it stands: dmd may not be there
        import platform

        try:
            from dmdcli import __version__
        except ImportError:
            return platform.node(), None
        return platform.node(), __version__

    ask = ray.remote(version_there)
    pinned = [NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes]
    asked = [ask.options(num_cpus=0, max_retries=0, scheduling_strategy=one).remote() for one in pinned]
    answered, silent = ray.wait(asked, num_returns=len(asked), timeout=PATIENCE) if asked else ([], [])
    wrong = []
    for answer in answered:
        try:
            name, version = ray.get(answer)
        except ray.exceptions.RayError:
            silent.append(answer)
            continue
        if version != __version__:
            wrong.append(f"{name} has {'none' if version is None else version}")
    if wrong:
        raise PackageError(
            f"Every machine of the cluster needs dmd {__version__}, with the Python that Ray runs in: "
            f"{'; '.join(sorted(set(wrong)))}. Install it there with: pip install dmdcli=={__version__}"
        )
    if silent:
        tell(f"{len(silent)} of the {len(asked)} machines of the cluster do not answer.")


def plan(nodes: list[Mapping[str, float]], most: int, graphics: bool) -> tuple[int, dict[str, float]]:
    """How many workers there are room for, and what each needs, from the resources of the machines.

    One for each GPU, with its share of the processor cores, or one for each core. CannotGoOnError where there is none.
    """
    with_gpu = [one for one in nodes if one.get("GPU", 0) >= 1] if graphics else []
    if with_gpu:
        count = sum(int(one["GPU"]) for one in with_gpu)
        cores = min(max(1, int(one["CPU"] // one["GPU"])) for one in with_gpu)
        return min(most, count), {"num_cpus": cores, "num_gpus": 1}
    count = sum(int(one["CPU"]) for one in nodes)
    if not count:
        raise CannotGoOnError("The cluster has no machine with a processor to give. `ray status` shows what it has.")
    return min(most, count), {"num_cpus": 1}
