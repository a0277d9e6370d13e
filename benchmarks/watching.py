"""What a program and its children use while they run: memory and cores, sampled from /proc (Linux)."""

from __future__ import annotations

import os
import resource
import threading
import time
from pathlib import Path
from types import TracebackType

INTERVAL = 0.2
"""Seconds between two samples."""
TICK = os.sysconf("SC_CLK_TCK")


class Watch:
    """Samples a process and all its descendants from `with` to its end.

    peak: most memory of all of them together, in MB: proportional set sizes, so that what they share counts once.
    seconds: that passed. cores: how busy each core of the machine was, by whatever program, 0 to 1.
    """

    def __init__(self, process: int | None = None) -> None:
        self.process = os.getpid() if process is None else process
        self.peak = self.seconds = 0.0
        self.cores: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Watch:
        self._began, self._cores_before = time.monotonic(), _cores()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self.seconds = time.monotonic() - self._began
        for (busy, idle), (busy_before, idle_before) in zip(_cores(), self._cores_before, strict=True):
            passed = busy + idle - busy_before - idle_before
            self.cores.append((busy - busy_before) / max(passed, 1))

    @property
    def of_itself(self) -> float:
        """Seconds of processor time spent on watching."""
        return seconds_of_thread(self._thread.native_id or 0)

    def _sample(self) -> None:
        while True:
            last = self._ended.is_set()
            self.peak = max(self.peak, sum(memory_of(one) for one in _family(self.process)))
            if last:
                return
            self._ended.wait(INTERVAL)


def memory_of(process: int) -> float:
    """The proportional set size of a process in MB; 0 where it is gone."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in text.splitlines() if line.startswith("Pss:")), 0.0)


def seconds_of_children() -> float:
    """Seconds of processor time that descendants of this process have used, those included that ended in order."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    living = (_seconds(Path(f"/proc/{one}/stat")) for one in _family(os.getpid())[1:])
    return ended.ru_utime + ended.ru_stime + sum(living)


def seconds_of_thread(thread: int) -> float:
    """Seconds of processor time a thread of this process has used; 0 where it is gone."""
    return _seconds(Path(f"/proc/self/task/{thread}/stat"))


def _seconds(stat: Path) -> float:
    try:
        fields = stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICK


def _family(process: int) -> list[int]:
    """A process and its descendants."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                text = (folder / "stat").read_text(encoding="ascii", errors="replace")
            except OSError:
                continue
            parents[int(folder.name)] = int(text.rpartition(")")[2].split()[1])
    family = [process]
    for one in family:
        family += [child for child, parent in parents.items() if parent == one]
    return family


def _cores() -> list[tuple[int, int]]:
    """Ticks each core was busy and idle since the machine started."""
    lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    counts = [[int(one) for one in line.split()[1:9]] for line in lines if line[:3] == "cpu" and line[3].isdigit()]
    return [(sum(one) - one[3] - one[4], one[3] + one[4]) for one in counts]
