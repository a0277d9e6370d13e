"""Processes that are killed: a program that imports once what every run needs, and forks a run for each line it reads.

Starting takes seconds, so a test that kills a hundred runs keeps one such program. It is a program of its own since a
test's process has threads by then, which a fork would not take along.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


def serve(run: Callable[[Sequence[str]], object]) -> None:
    """For each line on stdin, a time limit in seconds and arguments between tabs, run them in a fork that is killed
    when its time is over, and answer with its exit code, or minus the signal, and the seconds it took.
    """
    for line in sys.stdin:
        limit, *arguments = line.rstrip("\n").split("\t")
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_RDWR), 1)
            code = 1
            try:
                run(arguments)
                code = 0
            except SystemExit as exit_code:
                code = int(exit_code.code or 0)
            finally:
                sys.stderr.flush()
                os._exit(code)
        done = status = 0
        while not done and time.monotonic() < began + float(limit):
            done, status = os.waitpid(child, os.WNOHANG)
            time.sleep(0.001)
        if not done:
            os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
        print(os.waitstatus_to_exitcode(status), time.monotonic() - began, flush=True)


@dataclass(frozen=True)
class Nursery:
    """Where runs come from."""

    process: subprocess.Popen[str]

    def run(self, *arguments: object, kill_after: float = 600.0) -> tuple[int, float]:
        """The exit code of a run, or minus the signal, and the seconds it took."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\t".join([str(kill_after), *map(str, arguments)]) + "\n")
        self.process.stdin.flush()
        code, seconds = self.process.stdout.readline().split()
        return int(code), float(seconds)


@contextmanager
def nursery(program: str) -> Iterator[Nursery]:
    """Start `program`, Python that ends with `serve`."""
    command = [sys.executable, "-W", "ignore", "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        yield Nursery(process)
        assert process.stdin is not None
        process.stdin.close()
