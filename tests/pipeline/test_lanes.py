"""Work on several photos at once: in order, within its room, and with the same results as one after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dmdcli.journal import open_journal
from dmdcli.pipeline.blend import RestoreOptions
from dmdcli.pipeline.lanes import Lanes
from dmdcli.pipeline.outcome import RestoredPhoto
from dmdcli.pipeline.restore import restore
from dmdcli.places import stream_outputs, survey_photos
from dmdcli.shapes import Pixels
from tests.pipeline.made_up import STRANGER, Brightener, MadeUpFinder, people_of


def busy(item: float) -> float:
    """Takes longer for some items."""
    time.sleep(0.02 if item % 2 else 0.001)
    return item


def test_results_come_in_order_and_two_work_at_a_time() -> None:
    pairs = [threading.Barrier(2, timeout=10) for _ in range(3)]

    def meet(item: int) -> int:
        pairs[item // 2].wait()
        return item

    with Lanes[int](2, 1e9, lambda _: 1.0) as lanes:
        assert list(lanes.enter(range(6), meet)) == list(range(6))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_no_more_is_taken_in_than_there_is_room_for(workers: int) -> None:
    held, most = [0.0], [0.0]

    weights = [3.0, 1.0, 2.0, 9.0, 1.0, 1.0, 4.0, 2.0] * 3

    def enter(weight: float) -> float:
        held[0] += weight
        most[0] = max(most[0], held[0])
        return weight

    with Lanes[float](workers, 6.0, lambda weight: weight) as lanes:
        done = []
        for weight in lanes.go_on(map(enter, lanes.enter(weights, busy)), busy):
            done.append(weight)
            held[0] -= weight
            lanes.let_go(weight)
    assert done == weights
    assert most[0] <= 9.0 + 6.0  # the one that is too large for the room, and what was there before it


def test_what_is_done_gives_its_room_before_another_is_waited_for() -> None:
    together = threading.Barrier(2, timeout=10)

    def look(item: int) -> int:
        if item >= 2:
            together.wait()  # for the other of the two there is room for
        return item

    with Lanes[int](2, 2.0, lambda _: 1.0) as lanes:
        done = []
        for item in lanes.go_on(lanes.enter(range(6), look), busy):
            done.append(item)
            lanes.let_go(int(item))
    assert done == list(range(6))


def test_what_fails_in_a_thread_is_raised_in_its_turn() -> None:
    def fail_at_three(item: int) -> int:
        if item == 3:
            raise ValueError(item)
        return item

    with Lanes[int](3, 1e9, lambda _: 1.0) as lanes:
        results = lanes.enter(range(10), fail_at_three)
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match="3"):
            next(results)


def test_what_was_begun_is_finished_before_an_error_is_raised() -> None:
    def fail_at_three(item: int) -> int:
        if item == 3:
            raise OSError("the disk is full")
        return item

    with Lanes[int](3, 1e9, lambda _: 1.0) as lanes:
        finished = lanes.go_on(lanes.enter(range(10), fail_at_three), busy)
        assert [next(finished) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(OSError, match="full"):
            next(finished)


def test_after_ctrl_c_what_is_done_comes_and_nothing_is_waited_for_before_it_is_said() -> None:
    """Of three items underway the first is done when the fourth is interrupted; the others wait until they are told."""
    told, done = threading.Event(), threading.Event()

    def interrupted() -> Iterator[int]:
        yield from range(3)
        assert done.wait(10)
        raise KeyboardInterrupt

    def work(item: int) -> int:
        if item == 0:
            done.set()
        else:
            assert told.wait(10), "what nobody wants was waited for"
        return item

    results = []
    with pytest.raises(KeyboardInterrupt), Lanes[int](3, 1e9, lambda _: 1.0, told.set) as lanes:
        results.extend(lanes.go_on(interrupted(), work))
    assert told.is_set()
    assert results in ([], [0])  # the thread may not have said yet that it is done
    assert not [one for one in threading.enumerate() if one.name.startswith("lane")]


def test_nothing_is_stopped_that_comes_to_its_end() -> None:
    with Lanes[int](3, 1e9, lambda _: 1.0, lambda: pytest.fail("it was not to be stopped")) as lanes:
        assert list(lanes.go_on(lanes.enter(range(5), busy), busy)) == list(range(5))


def album(folder: Path, photos: int = 9) -> Path:
    """Photos of noise, one of them no picture at all."""
    folder.mkdir()
    for number in range(photos):
        noise = np.random.default_rng(number).integers(60, 160, (190, 150 + number, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png", compress_level=1)
    (folder / "4.png").write_bytes(b"nothing")
    return folder


class Slow(MadeUpFinder):
    """Takes longer for every other photo."""

    def find(self, pixels: Pixels) -> list:  # type: ignore[type-arg]
        time.sleep(0.02 * (pixels.shape[1] % 2))
        return super().find(pixels)


class Counting(Brightener):
    """Knows how many faces it was asked about at once."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def restore(self, crops, boxes, dictionaries, *, both=True):  # type: ignore[no-untyped-def]
        self.batches.append(len(crops))
        return super().restore(crops, boxes, dictionaries, both=both)


def run(photos: Path, out: Path, restorer: Brightener, workers: int) -> list[RestoredPhoto]:
    pairs = list(stream_outputs(survey_photos([photos]), out, "auto", pytest.fail))
    options = RestoreOptions(engravings="restore", already_good="restore")
    finder = Slow((20, 20, 100, STRANGER, None))
    with open_journal(out) as journal:
        return list(restore(pairs, finder, restorer, people_of(), journal, options, workers=workers))


@pytest.mark.parametrize(
    ("workers", "gather"),
    [pytest.param(4, 1, marks=pytest.mark.slow), pytest.param(1, 4, marks=pytest.mark.slow), (3, 4)],
)
def test_the_same_files_whatever_the_number_of_workers(tmp_path: Path, workers: int, gather: int) -> None:
    photos = album(tmp_path / "in")
    alone = run(photos, tmp_path / "alone", Counting(), 1)
    restorer = Counting()
    restorer.gathers = gather
    together = run(photos, tmp_path / "together", restorer, workers)
    assert [(one.photo, one.status, len(one.faces)) for one in together] == [
        (one.photo, one.status, len(one.faces)) for one in alone
    ]
    assert {one.status for one in together} == {"restored", "failed"}
    for one, other in zip(alone, together, strict=True):
        if one.output is not None and other.output is not None:
            assert one.output.read_bytes() == other.output.read_bytes()
    assert restorer.batches == ([1] * 8 if gather == 1 else [4, 4])
