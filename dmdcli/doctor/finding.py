"""What the examination finds, and the commands that mend it."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

Status: TypeAlias = Literal["ok", "note", "warning", "problem"]
"""problem: keeps dmd from working. warning: something does not work or soon will not. note: good to know."""
Group: TypeAlias = Literal["versions", "devices", "networks", "places", "surroundings"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    group, subject: where it belongs and what it is. text: what was found, without a full stop. cure: one line that can
    be pasted into a shell and mends it, or shows what to mend; None where nothing is wrong or no command helps.
    """

    group: Group
    subject: str
    status: Status
    text: str
    cure: str | None = None


def python() -> str:
    """What to type for the Python that runs this: a short name where it means the same."""
    for name in ("python", "python3"):
        found = shutil.which(name)
        if found and Path(found).absolute() == Path(sys.executable):  # not resolved: environments share their target
            return name
    return shlex.quote(sys.executable)


def pip(arguments: str) -> str:
    """The command that runs pip for this Python, which is brought first where it is missing."""
    bring = "" if importlib.util.find_spec("pip") else f"{python()} -m ensurepip && "
    return f"{bring}{python()} -m pip {arguments}"


def reinstall(requirement: str) -> str:
    """The command that installs a package again, and nothing else with it."""
    return pip(f"install --force-reinstall --no-deps {shlex.quote(requirement)}")


def in_bytes(size: float) -> str:
    """A number of bytes as people say it: 604 MB, 71 GB."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}" if size < 10 * scale else f"{size / scale:.0f} {unit}"
    return f"{size / 1e3:.0f} kB"


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 thread, 2 threads."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def brief(reason: str) -> str:
    """The one line of an error's text that says most, cut where it is long."""
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("Original error was:")]
    line = (said or lines or ["no reason given"])[0]
    return line if len(line) <= 160 else f"{line[:160]}..."
