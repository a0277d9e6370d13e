"""What `dmd restore` says of decisions and tags."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmdcli.cli.console import Tags, Terminal, counted
from dmdcli.errors import UnknownPersonError, UsageError

if TYPE_CHECKING:
    from dmdcli.cli.tally import Tally
    from dmdcli.decisions import Decision, Decisions

MOST_LINES = 20
"""Decisions without a face of which each is told; of more only the number."""

TagsOption = Annotated[
    Tags, typer.Option("--tags", help="What to do with names that other programs gave faces (XMP, .picasa.ini).")
]
DecisionsOption = Annotated[
    Path | None,
    typer.Option(
        "--decisions", metavar="FILE", help="What you decided about faces; without it decisions.toml in --out, if any."
    ),
]


def open_decisions(named: Path | None, out: Path) -> Decisions:
    """Read the decisions file that was named, or the one in the output folder; without both nothing is decided."""
    from dmdcli.decisions import FILE_NAME, Decisions, read_decisions

    if named is not None:
        if not named.is_file():
            raise UsageError(f"There is no file of decisions {named}. docs/decisions.md shows what it looks like.")
        return read_decisions(named)
    place = out / FILE_NAME
    return read_decisions(place) if place.is_file() else Decisions()


def tell_unknown(terminal: Terminal, decisions: Decisions, people: Sequence[str]) -> bool:
    """Tell which decisions name somebody who is not enrolled; such faces count as strangers. people: all enrolled."""
    from dmdcli.pipeline.whose import person_called

    unknown = [one for one in decisions if one.person is not None and person_called(one.person, people) is None]
    lines = [f"{_where(one, decisions)}: {UnknownPersonError(str(one.person), people)}" for one in unknown]
    _tell(terminal, lines, "more decisions name somebody who is not enrolled")
    return bool(unknown)


def tell_unheard(terminal: Terminal, decisions: Decisions, tally: Tally, *, all_given: bool = True) -> bool:
    """Tell which decisions were about no photo, or no face in it; say whether there were any.

    all_given: the photos were those of the whole collection; else a decision may be about another one.
    """
    from dmdcli.cli.tally import told_apart

    missed = [(told_apart(one), one) for one in decisions if told_apart(one) not in tally.heard]
    unheard = [(key, one) for key, one in missed if all_given or key in tally.said]
    lines = [
        f"{_where(one, decisions)}: "
        + (
            f"{tally.said[key]} has no such face, or another decision is about it"
            if key in tally.said
            else "the photo it is about is not among those given"
        )
        for key, one in unheard
    ]
    _tell(terminal, lines, "more decisions are about no photo or face given")
    return bool(unheard)


def tell_tags(terminal: Terminal, tally: Tally) -> None:
    """Tell how many faces were named by tags and decisions, and how many of the tags recognition contradicts."""
    parts = [
        counted(count, "face") + f" by {'a tag' if by == 'tag' else 'a decision'}"
        for by in ("decision", "tag")
        if (count := tally.assigned[by])
    ]
    if parts:
        doubt = f"; {counted(tally.conflicts, 'tag')} at odds with recognition" if tally.conflicts else ""
        terminal.result(f"Said whose they are: {', '.join(parts)}{doubt}.")


def tell_lost(terminal: Terminal, decisions: Decisions, tally: Tally) -> None:
    """Tell, in a run without decisions, how many photos are made again because something was decided about them."""
    if tally.lost and decisions.path is None:
        terminal.say(
            f"Of {counted(tally.lost, 'photo')} something else was said last time. If there was a file of decisions, "
            "give it with --decisions again, or keep it in the output folder as decisions.toml."
        )


def tell_corrected(terminal: Terminal, tally: Tally) -> None:
    """Tell of how many faces the landmarks were put right by hand."""
    if tally.corrected:
        terminal.result(f"Landmarks put right by hand: those of {counted(tally.corrected, 'face')}.")


def _where(decision: Decision, decisions: Decisions) -> str:
    return f"{decisions.path}, line {decision.line}"


def _tell(terminal: Terminal, lines: Sequence[str], rest: str) -> None:
    for line in lines[:MOST_LINES]:
        terminal.fail(line)
    if len(lines) > MOST_LINES:
        terminal.fail(f"{len(lines) - MOST_LINES} {rest}")
