"""What `dmd restore` says of decisions and tags."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmdcli.cli.console import Tags, Terminal, counted
from dmdcli.errors import UnknownPersonError, UsageError

if TYPE_CHECKING:
    from dmdcli.decisions import Decision, Decisions
    from dmdcli.pipeline.outcome import RestoredPhoto

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


def tell_unheard(terminal: Terminal, decisions: Decisions, results: Sequence[RestoredPhoto]) -> bool:
    """Tell which decisions were about no photo, or no face in it; say whether there were any."""
    heard = {id(one) for result in results for one in result.heard}
    photos = {id(one): result.photo for result in results for one in result.said}
    unheard = [one for one in decisions if id(one) not in heard]
    lines = [
        f"{_where(one, decisions)}: "
        + (
            f"{photos[id(one)]} has no such face, or another decision is about it"
            if id(one) in photos
            else "the photo it is about is not among those given"
        )
        for one in unheard
    ]
    _tell(terminal, lines, "more decisions are about no photo or face given")
    return bool(unheard)


def tell_tags(terminal: Terminal, results: Sequence[RestoredPhoto]) -> None:
    """Tell how many faces were named by tags and decisions, and how many of the tags recognition contradicts."""
    faces = [face for result in results for face in result.faces]
    parts = [
        counted(count, "face") + f" by {'a tag' if by == 'tag' else 'a decision'}"
        for by in ("decision", "tag")
        if (count := sum(face.assigned_by == by and face.usable for face in faces))  # not those that are no face
    ]
    conflicts = sum(face.conflict is not None for face in faces)
    if parts:
        doubt = f"; {counted(conflicts, 'tag')} at odds with recognition" if conflicts else ""
        terminal.result(f"Said whose they are: {', '.join(parts)}{doubt}.")


def tell_lost(terminal: Terminal, decisions: Decisions, results: Sequence[RestoredPhoto]) -> None:
    """Tell, in a run without decisions, how many photos are made again because something was decided about them."""
    from dmdcli.pipeline.standing import SAID_CHANGED

    lost = sum(result.reason == SAID_CHANGED and not result.corrected for result in results)
    if lost and decisions.path is None:
        terminal.say(
            f"Of {counted(lost, 'photo')} something else was said last time. If there was a file of decisions, "
            "give it with --decisions again, or keep it in the output folder as decisions.toml."
        )


def tell_corrected(terminal: Terminal, results: Sequence[RestoredPhoto]) -> None:
    """Tell of how many faces the landmarks were put right by hand."""
    count = sum(face.landmarks == "corrected" for result in results for face in result.faces)
    if count:
        terminal.result(f"Landmarks put right by hand: those of {counted(count, 'face')}.")


def _where(decision: Decision, decisions: Decisions) -> str:
    return f"{decisions.path}, line {decision.line}"


def _tell(terminal: Terminal, lines: Sequence[str], rest: str) -> None:
    for line in lines[:MOST_LINES]:
        terminal.fail(line)
    if len(lines) > MOST_LINES:
        terminal.fail(f"{len(lines) - MOST_LINES} {rest}")
