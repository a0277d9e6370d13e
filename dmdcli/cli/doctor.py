"""`dmd doctor`: what is wrong with this machine, and the command that mends it."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmdcli.cli.build import cache_folder, library_folder
from dmdcli.cli.console import JsonOption, Terminal, counted, is_terminal, one_line
from dmdcli.errors import EXIT_CANNOT_GO_ON, EXIT_SOME_FAILED

if TYPE_CHECKING:
    from dmdcli.doctor.finding import Finding
    from dmdcli.doctor.places import Place

SCHEMA = 1
"""Version of the JSON objects."""
TITLES = {
    "versions": "Versions",
    "devices": "Devices",
    "networks": "Kits and weights",
    "places": "Places",
    "surroundings": "Surroundings",
}
STYLES = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "bold red"}
STATUS_WIDTH = 9
"""Columns the status takes."""
WIDEST_SUBJECT = 23
"""Columns the subject takes at most."""


def doctor(
    json: JsonOption = False,
    strict: Annotated[bool, typer.Option("--strict", help="End with 3 also when there are warnings.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress; show only warnings and problems.")] = False,
) -> None:
    """Say what is wrong with this machine, and how to mend it.

    Ends with 8 when a problem keeps dmd from working. Nothing is changed or connected to.
    """
    from dmdcli.doctor.examine import STEPS, examine

    terminal = Terminal(quiet=quiet, json_lines=json)
    encoding = getattr(sys.stdout, "encoding", None)
    with terminal.progress("packages and files looked at", STEPS) as advance:
        findings = list(examine(*places(), os.environ, encoding, advance=lambda: advance(1)))
    numbers: Counter[str] = Counter(finding.status for finding in findings)
    for finding in findings:
        terminal.record(
            {
                "schema": SCHEMA,
                "group": finding.group,
                "subject": finding.subject,
                "status": finding.status,
                "text": finding.text,
                "cure": finding.cure,
            }
        )
    terminal.record(
        {"schema": SCHEMA, "works": not numbers["problem"], **{status: numbers[status] for status in STYLES}}
    )
    if not json:
        told = [finding for finding in findings if not quiet or finding.status in ("warning", "problem")]
        if told:
            show(told)
            terminal.result("")
        terminal.result(summary(numbers))
    if numbers["problem"]:
        raise typer.Exit(EXIT_CANNOT_GO_ON)
    if strict and numbers["warning"]:
        raise typer.Exit(EXIT_SOME_FAILED)


def places() -> tuple[Place, Place]:
    """Return the folders of the enrolled people and of fetched networks, as the environment and the platform say."""
    import platformdirs

    from dmdcli.doctor.places import Place

    data = Path(platformdirs.user_data_dir("dmd", appauthor=False))
    people = Place("DMD_HOME", library_folder(), data, "enrolled people")
    cache = Path(platformdirs.user_cache_dir("dmd", appauthor=False))
    return people, Place("DMD_CACHE", cache_folder(), cache, "fetched networks")


def summary(numbers: Counter[str]) -> str:
    """Say in one line how it stands."""
    others = [counted(numbers[status], status) for status in ("problem", "warning", "note") if numbers[status]]
    how = "dmd cannot work as things stand" if numbers["problem"] else "dmd can work"
    return f"{how}: {', '.join(others)}." if others else f"{how}; nothing to mend."


def show(findings: Sequence[Finding]) -> None:
    """Print the findings in groups: wrapped and coloured on a terminal, one line each in a pipe.

    The cure is a line of its own that nothing but blanks stands in front of, never wrapped, so that it can be pasted.
    """
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    watched = is_terminal(sys.stdout)
    console = Console(markup=False, highlight=False, emoji=False)
    width = min(WIDEST_SUBJECT, max(len(finding.subject) for finding in findings))
    indent = 2 + STATUS_WIDTH
    for number, (group, members) in enumerate(groupby(findings, key=lambda finding: finding.group)):
        typer.echo("\n" if number else "", nl=False)
        console.print(Text(TITLES[group], style="bold"))
        for finding in members:
            text = one_line(finding.text)
            if watched:
                row = Table.grid(padding=(0, 1, 0, 0))
                row.add_column(width=STATUS_WIDTH - 1)
                row.add_column(width=width)
                row.add_column(overflow="fold")
                row.add_row(Text(finding.status, style=STYLES[finding.status]), finding.subject, text)
                console.print(Padding(row, (0, 0, 0, 2)))
            else:
                typer.echo(f"  {finding.status:<{STATUS_WIDTH}}{finding.subject:<{width}} {text}")
            if finding.cure:
                cure = one_line(finding.cure)
                console.print(Text(f"{' ' * indent}{cure}", style="bold"), soft_wrap=True)
