"""How fast `dmd restore` is from files to files, where its time goes, and the most memory it takes (Linux).

    python benchmarks/whole_run.py PHOTOS... [--enroll PEOPLE] [--photos 40] [--json FILE] [-- OPTIONS OF RESTORE]

Runs the real command inside this process on the photos, or on the first so many of them, with a library and an output
folder of its own. PEOPLE is a folder with a folder of photos for each person; they are enrolled before the clock runs.
What stands after `--` is handed to `dmd restore`, such as `--workers 1`.

A stage is a call of the network, of the kit that finds and recognises faces, or of a codec, made from any thread of
this process; calls within calls count once. Where the kit computes in processes of its own, a call is a question to one
of them, timed from when that process was taken to its answer; faces divided among several of them are several calls.
Waiting for a process that is free, or for one to start, is a row of its own and no work: others compute meanwhile.
"of the time" is the sum of a row's calls over the time the run took, so that stages that overlap come to more than
100 % together. The time runs from the first photo that is read to the end, since starting is always the same; memory is
that of all processes together. How busy the cores were counts whatever else ran on the machine.

"Processor" is the time cores spent on this program since then: in the processes of the kit, in stages of this process
(the network's own threads included), and in all the rest, which is what this program adds. What this benchmark itself
spends on looking is left out.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

from figures import Row, show, write_json
from watching import Watch, seconds_of_children, seconds_of_thread

from dmdcli.memory import use_huge_pages

FIRST = "codec: read"
"""The stage that a photo begins with."""
WAITING = "waiting for a process of the kit"
"""Stands among the stages, and is none."""


@dataclass(frozen=True)
class Span:
    """When a stage was going on, in seconds of one clock, and seconds of processor time of the thread that called."""

    stage: str
    began: float
    ended: float
    computed: float


@dataclass(frozen=True)
class Spent:
    """Seconds of processor time: in the kit's processes, in stages of this process, and in this process altogether."""

    kit: float
    stages: float
    process: float


@dataclass
class Calls:
    """What each stage did."""

    spans: list[Span] = field(default_factory=list)
    inside: threading.local = field(default_factory=threading.local)
    watch: Watch | None = None
    first: Spent | None = None

    def spent(self) -> Spent:
        """What was computed until now."""
        threads = {thread.native_id for thread in threading.enumerate()}
        watching = 0.0 if self.watch is None else self.watch.of_itself
        return Spent(
            seconds_of_children(),
            sum(span.computed for span in list(self.spans) if span.stage != WAITING) + seconds_of_threads(threads),
            time.process_time() - watching,
        )

    def timed(self, stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """`work`, of which each outermost call is kept."""

        @wraps(work)
        def called(*arguments: Any, **named: Any) -> Any:
            if getattr(self.inside, "stage", None) is not None:
                return work(*arguments, **named)
            if stage == FIRST and self.first is None:
                self.first = self.spent()
            self.inside.stage, began, computed = stage, time.perf_counter(), time.thread_time()
            try:
                return work(*arguments, **named)
            finally:
                self.inside.stage = None
                self.spans.append(Span(stage, began, time.perf_counter(), time.thread_time() - computed))

        return called

    def wrap(self, stage: str, owner: Any, *names: str) -> None:
        """Put `timed` functions in the place of those of a class or module."""
        for name in names:
            setattr(owner, name, self.timed(stage, getattr(owner, name)))

    def sums(self, since: float) -> dict[str, tuple[int, float]]:
        """Stage -> how often it was called since then, and seconds in all."""
        found: dict[str, tuple[int, float]] = {}
        for span in self.spans:
            if span.ended > since:
                count, seconds = found.get(span.stage, (0, 0.0))
                found[span.stage] = count + 1, seconds + span.ended - span.began
        return found


def watch_stages(calls: Calls) -> None:
    """Have every call of network, kit and codecs kept; before the pipelines are imported, which take them by name."""
    import cv2

    from dmdcli import photos
    from dmdcli.faces.embedded import EmbeddedKit
    from dmdcli.model.restorer import Restorer

    calls.wrap("network", Restorer, "restore", "memorize")
    for method in ("detect", "landmarks", "embed"):
        calls.wrap(f"kit: {method}", EmbeddedKit, method)
    watch_pool(calls)
    calls.wrap("codec: read", photos, "decode_photo")
    calls.wrap("codec: write", photos, "encode_photo")
    calls.wrap("codec: report's pictures", cv2, "imencode")


def watch_pool(calls: Calls) -> None:
    """Have questions to the kit's processes kept from when one was taken, and the waiting before that by itself."""
    from dmdcli.faces import pool

    ask = pool._Worker.ask

    @wraps(ask)
    def asked(worker: Any, method: str, *arguments: Any) -> Any:
        return calls.timed(f"kit: {method}", ask)(worker, method, *arguments)

    pool._Worker.ask = asked
    calls.wrap(WAITING, pool.KitPool, "_take")


def seconds_of_threads(but: set[int | None]) -> float:
    """Seconds of processor time of this process's threads but those given: what are no threads of Python's are the
    network's.
    """
    return sum(
        seconds_of_thread(int(task.name)) for task in Path("/proc/self/task").iterdir() if int(task.name) not in but
    )


def run(arguments: Sequence[str]) -> tuple[int, str]:
    """Run `dmd` in this process: its exit code, and what it printed."""
    from dmdcli.cli.main import app

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            app(list(arguments))
        except SystemExit as end:
            return int(end.code or 0), printed.getvalue()
    return 0, printed.getvalue()


def enroll(people: Path) -> None:
    """Enrol a person for each folder."""
    for folder in sorted(people.iterdir()):
        if folder.is_dir() and run(["enroll", folder.name, str(folder), "--quiet"])[0] != 0:
            print(f"{folder.name} was not enrolled", file=sys.stderr)


def choose(photos: Sequence[Path], count: int | None, folder: Path) -> list[str]:
    """The photos to restore: all, or links to the first `count` of them."""
    if count is None:
        return [str(path) for path in photos]
    from dmdcli.places import find_photos

    for number, file in zip(range(count), find_photos(list(photos)), strict=False):
        (folder / f"{number:05}{file.path.suffix}").symlink_to(file.path.resolve())
    return [str(folder)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    split = given.index("--") if "--" in given else len(given)
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--enroll", type=Path)
    parser.add_argument("--photos", type=int, dest="count")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(given[:split])
    calls = Calls()
    with tempfile.TemporaryDirectory() as work:
        os.environ["DMD_HOME"] = str(Path(work, "library"))
        use_huge_pages()  # both as the program does, before NumPy and PyTorch are imported
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        watch_stages(calls)
        if options.enroll is not None:
            enroll(options.enroll)
        chosen = Path(work, "photos")
        chosen.mkdir()
        photos = choose(options.photos, options.count, chosen)
        calls.spans.clear()
        with Watch() as watch:
            calls.watch = watch
            began = time.perf_counter()
            command = ["restore", *photos, "--out", str(Path(work, "out")), "--json", "--quiet", *given[split + 1 :]]
            code, printed = run(command)
            ended, last = time.perf_counter(), calls.spent()
    if code != 0 or not calls.spans:
        sys.exit(f"dmd restore ended with {code}; run it by hand to see why.")
    first = min((span.began for span in calls.spans if span.stage == FIRST), default=began)
    summary, stages = figures_of(calls, [json.loads(line) for line in printed.splitlines()], first, ended)
    processor = processor_of(calls.first or last, last)
    busy = ", ".join(f"{100 * one:.0f} %" for one in watch.cores)
    summary |= {
        "seconds to the first photo": first - began,
        "peak memory, MB": watch.peak,
        "cores busy": busy,
    }
    show("The whole run", [summary])
    show("Stages", stages)
    show("Processor", processor)
    write_json(options.json, {"run": [summary], "stages": stages, "processor": processor})


def processor_of(first: Spent, last: Spent) -> list[Row]:
    """A row for each kind of what was computed between two moments."""
    kit, stages = last.kit - first.kit, last.stages - first.stages
    rest = last.process - first.process - stages
    kinds = {"the kit's processes": kit, "network, codecs and calls of the kit": stages, "all the rest": rest}
    whole = sum(kinds.values())
    return [{"where": name, "seconds": one, "share": f"{100 * one / whole:.1f} %"} for name, one in kinds.items()]


def figures_of(calls: Calls, photos: Sequence[Any], first: float, ended: float) -> tuple[Row, list[Row]]:
    """A row for the run, and one for each stage. photos: as `--json` tells of them."""
    seconds = ended - first
    faces = [face for photo in photos for face in photo["faces"]]
    restored = sum(face["used"] != "none" for face in faces)
    summary: Row = {
        "photos": len(photos),
        "faces": len(faces),
        "restored": restored,
        "seconds": seconds,
        "photos/s": len(photos) / seconds,
        "restored faces/s": restored / seconds,
    }
    stages: list[Row] = [
        {"stage": stage, "calls": count, "seconds": spent, "of the time": f"{100 * spent / seconds:.1f} %"}
        for stage, (count, spent) in sorted(calls.sums(first).items(), key=lambda pair: -pair[1][1])
    ]
    return summary, stages


if __name__ == "__main__":
    main()
