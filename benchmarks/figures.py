"""What the benchmarks of speed and memory share: the machine in words, tables, JSON, timing."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("numpy", "opencv-python-headless", "opencv-python", "torch", "dlib-bin", "pillow", "facexlib")

Row = dict[str, object]


def seconds_of(work: Callable[[], object], repeats: int) -> float:
    """Median of the seconds that `work` takes, after one run to warm up where there is more than one."""
    if repeats > 1:
        work()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def seconds_in_turns(works: Sequence[Callable[[], object]], repeats: int) -> list[list[float]]:
    """The seconds that each of `works` takes, again and again, taken turn about after one turn to warm up: what else
    runs on the machine slows all of them. The least is what compares best: it only ever makes one slower.
    """
    seconds: list[list[float]] = [[] for _ in works]
    for turn in range(repeats + 1):
        for work, taken in zip(works, seconds, strict=True):
            began = time.perf_counter()
            work()
            if turn:
                taken.append(time.perf_counter() - began)
    return seconds


def machine() -> dict[str, object]:
    """The machine and what runs on it, as far as figures depend on it."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": _first("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory": _first("/proc/meminfo", "MemTotal") or "unknown",
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "load": [round(value, 1) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None,
    }


def show(title: str, rows: Sequence[Row]) -> None:
    """Print rows with the same keys as a table in Markdown."""
    print(f"\n{title}\n")
    if not rows:
        print("(nothing measured)")
        return
    cells = [list(rows[0]), *([_text(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    print("\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]), flush=True)


def write_json(path: Path | None, tables: dict[str, Sequence[Row]]) -> None:
    """Write all tables and the machine to `path`, if there is one; print the machine in one line."""
    here = machine()
    print(f"\n{here['processor']}, {here['cores']} cores, {here['memory']}; load {here['load']}")
    if path is not None:
        path.write_text(json.dumps({"machine": here, "tables": tables}, indent=2) + "\n", encoding="utf-8")


def _first(file: str, key: str) -> str | None:
    """The value of the first line `key: value` of a file; None where there is none."""
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), None)


def _text(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
