"""Ctrl-C while others work: once stops the run, twice ends the program."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from dmdcli.errors import EXIT_INTERRUPTED

AT_ONCE = "\ndmd: Stopped at once. What was finished is kept; the same command goes on from there.\n"
SHOW_CURSOR = "\x1b[?25h"


@contextmanager
def second_one_ends() -> Iterator[None]:
    """Let a first Ctrl-C raise KeyboardInterrupt, as ever, and the next one end the program, from then to its very end.

    Nothing is waited for then: neither threads, which may be in the middle of anything, nor Python itself, which would
    take what they use from under them. What is written appears whole or not at all, so nothing is lost.
    Does nothing where Ctrl-C is ignored or somebody else's.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return
    signal.signal(signal.SIGINT, _first)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is _first:  # nobody stops the program
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _first(_signal: int, _frame: object) -> None:
    signal.signal(signal.SIGINT, _second)
    raise KeyboardInterrupt


def _second(_signal: int, _frame: object) -> None:
    with suppress(OSError):  # past Python's own buffer, in the middle of which this may have come
        os.write(2, ((SHOW_CURSOR if sys.stderr.isatty() else "") + AT_ONCE).encode())
    os._exit(EXIT_INTERRUPTED)
