"""What `dmd enroll --from-tags` shows and asks before it enrols."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dmdcli.cli.console import Terminal, counted, is_confirmed, one_line
from dmdcli.errors import EXIT_USAGE

if TYPE_CHECKING:
    from dmdcli.faces.finder import FaceFinder
    from dmdcli.library import Library
    from dmdcli.pipeline.enroll_tagged import Proposal
    from dmdcli.places import FoundPhotos

SHOWN = 3
"""Photos named in the table for each person."""


def propose(
    terminal: Terminal, files: FoundPhotos, library: Library, finder: FaceFinder, most: int, only: Sequence[str] | None
) -> tuple[list[Proposal], bool]:
    """Look through the photos and show whom they would teach; say, too, whether a photo could not be read."""
    from dmdcli.pipeline import enroll_tagged as pipeline
    from dmdcli.pipeline.enroll import LookedAt

    proposals: list[Proposal] = []
    unreadable = False
    with terminal.progress("photos", len(files)) as advance:
        for event in pipeline.propose(files, library, finder, most=most, only=only):
            if isinstance(event, LookedAt):
                advance()
            elif isinstance(event, pipeline.Proposal):
                proposals.append(event)
            else:
                unreadable = True
                terminal.fail(str(event))
    places = {file.path: file.relative for file in files}
    rows = [(one.name, one.tagged, one.references, len(one.chosen), _remarks(one), _from(one)) for one in proposals]
    terminal.table(["person", "tagged in", "references", "new", "remarks", "from, the best first"], rows)
    for one in proposals:
        for path, reason in one.refused:
            terminal.detail(f"{places[path]}: {one.name}: {reason}")
    return proposals, unreadable


def confirm(proposals: Sequence[Proposal], yes: bool) -> None:
    """Ask whether to enrol these people; end the command where the answer is no."""
    references = sum(len(one.chosen) for one in proposals)
    names = ", ".join(one_line(one.name) for one in proposals)
    question = f"Enrol {names} from {counted(references, 'photo')}?"
    if not yes and not is_confirmed(question):
        typer.echo("Nobody was enrolled; --yes enrols without being asked.", err=True)
        raise typer.Exit(EXIT_USAGE)


def _remarks(proposal: Proposal) -> str:
    """Why photos would not help, each reason once, without its numbers."""
    reasons: dict[str, set[Path]] = {}
    for path, reason in proposal.refused:
        reasons.setdefault(reason.split(":")[0], set()).add(path)
    return "; ".join(f"{len(paths)} not used: {reason}" for reason, paths in reasons.items())


def _from(proposal: Proposal) -> str:
    names = [str(one.file.relative) for one in proposal.chosen[:SHOWN]]
    more = len(proposal.chosen) - len(names)
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")
