"""Write docs/cli.md from what `dmd --help` and the help of every verb say; `make docs` runs this."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main
from typer.testing import CliRunner

from dmdcli.cli.main import app

PAGE = Path(__file__).with_name("cli.md")
INTRODUCTION = """\
# The command line

This page is the program's own help; `make docs` writes it. What the exit codes mean is at the end of the first part.
"""


def find_verbs(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words that lead to each verb, the empty path of `dmd` itself first."""
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            yield from find_verbs(inner, (*path, name))


def make_page() -> str:
    """Return the whole page."""
    parts = [INTRODUCTION]
    for path in find_verbs(typer.main.get_command(app)):
        words = " ".join(("dmd", *path))
        answer = CliRunner().invoke(app, [*path, "--help"], prog_name="dmd", env={"COLUMNS": "80"})
        if answer.exit_code != 0:
            raise RuntimeError(f"`{words} --help` ended with {answer.exit_code}")
        text = "\n".join(line.rstrip() for line in answer.output.strip().splitlines())
        parts.append(f"{'##' if len(path) < 2 else '###'} {words}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
