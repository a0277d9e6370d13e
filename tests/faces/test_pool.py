"""A kit in several processes answers as it does in one, whatever becomes of them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from dmdcli.errors import CannotGoOnError, KitError, ShapeError, WeightsMissingError
from dmdcli.faces import pool as pool_module
from dmdcli.faces.embedded import EmbeddedKit
from dmdcli.faces.face import Landmarks
from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.pool import MANY, KitPool
from dmdcli.faces.pool_child import SharedMemory
from dmdcli.pipeline.one_photo import only_this_photo
from dmdcli.shapes import Pixels
from tests.cli.conftest import hear_ctrl_c
from tests.faces.pool_kits import (
    DAWDLE,
    END,
    END_ONCE,
    MEET,
    REFUSE,
    REFUSE_ODDLY,
    ObedientKit,
    at_once,
    embedded,
    never,
    only_once,
    wait_for,
)

ROOT = Path(__file__).parents[2]


def picture(*shape: int, seed: int = 0) -> Pixels:
    """Noise that gives no order."""
    return np.random.default_rng(seed).integers(0, 200, shape, dtype=np.uint8)


def ordering(order: int) -> Pixels:
    return np.full((2, 2, 3), order, dtype=np.uint8)


def process_of(kit: KitPool, order: int = 0) -> int:
    """The process that looked at a photo."""
    return int(kit.detect([ordering(order)])[0][0].matrix[0, 0])


def children() -> set[int]:
    return {child.pid for child in multiprocessing.active_children() if child.pid is not None}


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Every test ends its processes, and leaves no file open that it opened."""
    before, files = children(), len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0  # noqa: PTH208
    yield
    wait_for(lambda: children() <= before)
    if files:
        # The process that Python itself keeps along with the first child holds one.
        wait_for(lambda: len(os.listdir("/proc/self/fd")) <= files + 1)  # noqa: PTH208


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[KitPool]:
    with KitPool(partial(ObedientKit, tmp_path), 2) as made:
        yield made


def assert_same_answers(pool: KitPool, kit: ObedientKit) -> None:
    """Pictures of several sizes, large ones before small ones and after, turned ones, none at all."""
    photos = [picture(40, 30, 3), picture(1500, 1000, 3, seed=1), np.rot90(picture(20, 50, 3, seed=2))]
    for shown in ([photos[0]], photos, [], photos[2:], [picture(2000, 2000, 3)], photos[:1]):
        found, known = pool.detect(shown), kit.detect(shown)
        assert [[(one.box, one.score) for one in faces] for faces in found] == [
            [(one.box, one.score) for one in faces] for faces in known
        ]
    crops = picture(4, 512, 512, 3)
    marks = [Landmarks(picture(68, 2, seed=seed).astype(np.float32)) for seed in range(4)]
    for some in (slice(0), slice(4), slice(0, 4, 2)):
        for one, other in zip(pool.landmarks(crops[some]), kit.landmarks(crops[some]), strict=True):
            assert np.array_equal(one.points, other.points)
        assert np.array_equal(pool.embed(crops[some], marks[some]), kit.embed(crops[some], marks[some]))
    outlines = pool.outlines(crops)
    assert outlines is not None
    assert outlines.dtype == np.float32
    assert np.array_equal(outlines, crops[..., 0] / np.float32(255))
    assert pool.outlines(crops[:0]) is None


def test_a_pool_answers_as_its_kit_does(pool: KitPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    kit = ObedientKit(tmp_path)
    assert (pool.name, pool.similarity, pool.trust) == (kit.name, kit.similarity, kit.trust)
    assert pool.settings == {"threads": "1", "torch": False}
    assert_same_answers(pool, kit)
    assert len(children()) == 1, "one thread needs one process"


def test_without_memory_to_share_everything_goes_through_the_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    with KitPool(partial(ObedientKit, tmp_path), 1) as pool:
        assert pool_module._shared_memory() is None
        assert_same_answers(pool, ObedientKit(tmp_path))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is shared on Linux only")
def test_memory_that_cannot_be_given_back_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, shown = SharedMemory(), picture(5, 1000, 1000, 4)
    memory.write([shown])
    monkeypatch.setattr("mmap.MADV_REMOVE", -1)  # no kernel knows that
    memory.forget()
    (found,) = memory.read(memory.write([shown]))
    assert np.array_equal(found, shown)
    del found
    memory.close()


def test_errors_of_the_kit_are_raised_as_they_are(pool: KitPool) -> None:
    process = process_of(pool)
    with pytest.raises(WeightsMissingError, match=r"^It is not here\.$") as caught:
        process_of(pool, REFUSE)
    assert "in obey" in str(caught.value.__cause__), "where it came up is not to be seen"
    with pytest.raises(RuntimeError, match=r"^OddError: a\.jpg: is odd$"):
        process_of(pool, REFUSE_ODDLY)
    with pytest.raises(ValueError, match="zip"):
        pool.embed(picture(2, 8, 8, 3), [])
    assert process_of(pool) == process, "an error of the kit is no reason to start anew"


def test_threads_are_answered_at_once_by_processes_of_their_own(pool: KitPool) -> None:
    with ThreadPoolExecutor(2) as threads:
        met = list(threads.map(lambda _: process_of(pool, MEET), range(2)))
        assert set(met) == children()
        assert len(set(met)) == 2
        later = set(threads.map(lambda _: process_of(pool), range(20)))
    assert later <= set(met), "there are more processes than were asked for"


def crops_with(orders: dict[int, int]) -> tuple[Pixels, list[Landmarks]]:
    """Crops enough for two processes, some with orders, and their landmarks."""
    crops = picture(2 * MANY, 16, 16, 3)
    for index, order in orders.items():
        crops[index, 0, 0, 0] = order
    return crops, [Landmarks(picture(68, 2, seed=seed).astype(np.float32)) for seed in range(2 * MANY)]


def test_many_faces_are_divided_among_the_processes(pool: KitPool, tmp_path: Path) -> None:
    assert len(children()) == 1
    crops, marks = crops_with({0: MEET, 1: MEET})
    assert np.array_equal(pool.embed(crops, marks), ObedientKit(tmp_path).embed(crops, marks))
    assert len(children()) == 2, "nobody met"
    for met in tmp_path.glob("met-*"):
        met.unlink()
    pool.embed(crops[:2], marks[:2])  # two that are free are asked at once about few, too
    assert len(list(tmp_path.glob("met-*"))) == 2


def test_what_one_of_many_faces_does_to_its_process_is_told(pool: KitPool) -> None:
    with pytest.raises(KitError, match="and so did the next"):
        pool.embed(*crops_with({5: END}))
    with pytest.raises(WeightsMissingError, match=r"^It is not here\.$"):
        pool.embed(*crops_with({2: REFUSE}))
    assert len(pool.embed(*crops_with({7: END_ONCE}))) == 2 * MANY


def test_an_error_on_starting_is_raised_as_itself_whenever_something_is_asked() -> None:
    with KitPool(partial(never, "Bring it with: dmd models fetch"), 2) as pool:
        for _ in range(2):
            with pytest.raises(WeightsMissingError, match=r"^Bring it with"):
                assert pool.name


def test_a_process_that_ends_on_starting_is_told_of() -> None:
    with KitPool(at_once, 1) as pool, pytest.raises(CannotGoOnError, match=r"ended \(exit code 3\) as it started"):
        assert pool.name


def test_a_process_that_cannot_be_made_a_second_time_is_done_without(tmp_path: Path) -> None:
    with KitPool(partial(only_once, tmp_path), 3) as pool, ThreadPoolExecutor(3) as threads:
        process = process_of(pool)
        assert set(threads.map(lambda _: process_of(pool), range(50))) == {process}


def test_where_no_process_can_be_started_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(multiprocessing.get_context("spawn").Process, "start", full)
    with (
        KitPool(partial(ObedientKit, tmp_path), 2) as pool,
        pytest.raises(CannotGoOnError, match="--workers 1"),
        only_this_photo(tmp_path / "a.jpg"),  # it concerns all of them
    ):
        pool.detect([])


def test_a_process_that_ends_is_replaced_and_its_question_asked_again(pool: KitPool) -> None:
    process = process_of(pool)
    assert process_of(pool, END_ONCE) != process


def test_a_question_that_ends_two_processes_fails_and_others_are_answered(pool: KitPool) -> None:
    with pytest.raises(KitError, match=r"ended \(signal 9, Killed\), and so did the next"):
        process_of(pool, END)
    assert process_of(pool) in children()


def test_a_process_that_was_killed_while_nobody_asked_is_replaced(pool: KitPool) -> None:
    process = process_of(pool)
    os.kill(process, signal.SIGKILL)
    wait_for(lambda: process not in children())
    assert process_of(pool) != process


def test_closing_ends_questions_in_the_middle(pool: KitPool, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as threads:
        waiting: Future[int] = threads.submit(process_of, pool, DAWDLE)
        wait_for((tmp_path / "dawdling").exists)
        pool.close()
        with pytest.raises(ValueError, match="closed"):
            waiting.result(timeout=30)
    with pytest.raises(ValueError, match="closed"):
        process_of(pool)
    pool.close()


def test_closing_waits_for_nothing_that_is_starting(tmp_path: Path) -> None:
    began = time.monotonic()
    for _ in range(3):
        KitPool(partial(ObedientKit, tmp_path), 1).close()
    assert time.monotonic() - began < 10
    with pytest.raises(ValueError, match="0 processes"):
        KitPool(partial(ObedientKit, tmp_path), 0)


PROGRAM = """
import sys
from functools import partial
from pathlib import Path
import numpy as np
from dmdcli.faces.pool import KitPool
from tests.faces.pool_kits import DAWDLE, ObedientKit

if __name__ == "__main__":
    pool = KitPool(partial(ObedientKit, Path(sys.argv[1])), 2)
    print("begins", flush=True)
    assert pool.name
    print("goes on", flush=True)
    try:
        pool.detect([np.full((1500, 1500, 3), DAWDLE, np.uint8)])
    except KeyboardInterrupt:
        print("stopped", flush=True)
        (found,), = pool.detect([np.zeros((2, 2, 3), np.uint8)])
        print(int(found.matrix[0, 0]), flush=True)
"""


@pytest.fixture
def program(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A program with a pool, in a process group of its own as a terminal would have it."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    started = subprocess.Popen(
        [sys.executable, "-W", "error", str(path), str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
        preexec_fn=None if sys.platform == "win32" else hear_ctrl_c,
    )
    yield started
    started.kill()
    started.communicate()


def line_of(program: subprocess.Popen[str]) -> str:
    assert program.stdout is not None
    return program.stdout.readline().strip()


def names_in_shared_memory() -> set[str]:
    folder = Path("/dev/shm")
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def group_of(program: subprocess.Popen[str]) -> set[int]:
    """The processes of a group that still run."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = status.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(group) == program.pid and state != "Z":
            found.add(int(status.parent.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_program_that_is_killed_leaves_nothing_and_says_nothing(
    program: subprocess.Popen[str], tmp_path: Path, how: signal.Signals
) -> None:
    before = names_in_shared_memory()
    wait_for((tmp_path / "dawdling").exists)
    assert len(group_of(program)) >= 2
    program.send_signal(how)
    _, said = program.communicate(timeout=30)
    wait_for(lambda: not group_of(program), seconds=10)
    assert said == ""
    assert names_in_shared_memory() <= before


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals to a process group")
@pytest.mark.parametrize("when", ["begins", "dawdling"])
def test_ctrl_c_reaches_the_parent_alone(program: subprocess.Popen[str], tmp_path: Path, when: str) -> None:
    assert line_of(program) == "begins"
    if when == "begins":  # the process is still starting
        os.killpg(program.pid, signal.SIGINT)
        _, said = program.communicate(timeout=30)
        assert said.count("Traceback") == 1
        assert said.rstrip().endswith("KeyboardInterrupt")
        return
    wait_for((tmp_path / "dawdling").exists)
    os.killpg(program.pid, signal.SIGINT)
    heard, said = program.communicate(timeout=30)
    assert said == ""
    assert heard.split("\n")[1] == "stopped"
    assert heard.split("\n")[2].isdecimal(), "the pool no longer answers after Ctrl-C"


@pytest.mark.slow
def test_the_embedded_kit_finds_the_same_through_a_pool(
    embedded_kit: EmbeddedKit, photo: Pixels, crops: Pixels
) -> None:
    with KitPool(embedded, 2) as pool:
        assert pool.settings == {"torch": False}
        known = FaceFinder(embedded_kit).find(photo)
        with ThreadPoolExecutor(2) as threads:
            for found in threads.map(FaceFinder(pool).find, [photo] * 2):
                assert [(one.box, one.score, one.confidence) for one in found] == [
                    (one.box, one.score, one.confidence) for one in known
                ]
                for one, other in zip(found, known, strict=True):
                    assert np.array_equal(one.landmarks.points, other.landmarks.points)
                    assert np.array_equal(one.embedding, other.embedding)
        assert pool.outlines(crops) is None
        with pytest.raises(ShapeError, match="crops"):
            pool.landmarks(crops[:, :8])
