"""`dmd enroll`: learn a person's face from photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmdcli.cli.build import build_finder, build_library, build_memorize, build_restorer, stay_offline
from dmdcli.cli.console import (
    DeviceOption,
    DryRunOption,
    JsonOption,
    Kit,
    KitOption,
    ModelOption,
    OfflineOption,
    QuietOption,
    StrictOption,
    Terminal,
    ThoroughOption,
    VerboseOption,
    YesOption,
)
from dmdcli.cli.enroll_tagged import confirm, propose
from dmdcli.errors import EXIT_SOME_FAILED, TooFewReferencesError, UsageError, WeightsMissingError

if TYPE_CHECKING:
    from dmdcli.faces.finder import FaceFinder
    from dmdcli.library import Library, Memorize
    from dmdcli.pipeline.enroll import EnrolledPhoto
    from dmdcli.places import PhotoFile
    from dmdcli.shapes import Box

SCHEMA = 1
"""Version of the JSON objects."""
MOST_REFERENCES = 10
"""Default of --references; `pipeline.enroll_tagged` has it too."""


def enroll(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The person's name; left out with --from-tags.")],
    photos: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PHOTOS", readable=False, help="Photos and folders; folders are walked recursively."),
    ] = None,
    from_tags: Annotated[
        bool,
        typer.Option(
            "--from-tags", help="Enrol everybody whom face tags in PHOTOS name (digiKam, Lightroom, Picasa and others)."
        ),
    ] = False,
    person: Annotated[
        list[str] | None,
        typer.Option("--person", metavar="NAME", help="With --from-tags: only this person. Repeatable."),
    ] = None,
    references: Annotated[
        int, typer.Option("--references", metavar="N", min=1, help="With --from-tags: photos taken of a person.")
    ] = MOST_REFERENCES,
    face: Annotated[
        int | None,
        typer.Option(
            "--face",
            metavar="N",
            min=1,
            help="Which face of a photo with several, by dmd check's numbers.",
        ),
    ] = None,
    kit: KitOption = Kit.AUTO,
    model: ModelOption = "base",
    device: DeviceOption = "auto",
    thorough: ThoroughOption = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    strict: StrictOption = False,
    json: JsonOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Learn a person's face from a few good photographs.

    One photo is enough, three are recommended; the same command with more photos adds them. Photos that would not help
    (blurred, small, turned away, there already, showing somebody else) are refused, each with its reason.

    `dmd enroll --from-tags PHOTOS...` takes no name: it looks for the faces that other programs named, chooses the best
    photos of everybody, shows them, and asks before it enrols.
    """
    stay_offline(offline)
    terminal = Terminal(quiet=quiet, verbose=verbose, json_lines=json)
    if from_tags and face is not None:
        raise UsageError("--face chooses a face by hand; with --from-tags the tags do.")
    if person and not from_tags:
        raise UsageError("--person goes with --from-tags; without it the first word is the person's name.")
    if not from_tags and not photos:
        raise typer.BadParameter("there are no photos to enrol from", param_hint="PHOTOS")
    library = build_library()
    library.people()  # a damaged or newer library is said at once, not after minutes

    from dmdcli.photos import find_photos
    from dmdcli.pipeline.enroll import RECOMMENDED

    files = find_photos([Path(name), *(photos or [])] if from_tags else photos or [])
    for error in files.unreadable:
        terminal.fail(str(error))
    finder = build_finder(kit, thorough, device=device, say=terminal.say)
    if not from_tags:
        outcomes = _enroll(terminal, name, files, _tools(terminal, library, finder, model, device, dry_run), face=face)
        count = sum(outcome.used for outcome in outcomes)
        if dry_run:
            terminal.result(f"{count} of {len(outcomes)} photos would become references of {outcomes[0].person}.")
        else:
            known = library.person(name)
            terminal.result(summarise(known.name, len(known.references), count, RECOMMENDED))
        if strict and not all(outcome.used or outcome.duplicate for outcome in outcomes):
            raise typer.Exit(EXIT_SOME_FAILED)
        return

    proposals, unreadable = propose(terminal, files, library, finder, references, person)
    useful = [one for one in proposals if one.chosen]
    refused = [one.name for one in proposals if not one.chosen and not one.references]
    if dry_run:
        for one in proposals:
            for path, reason in [*((chosen.file.path, None) for chosen in one.chosen), *one.refused]:
                record = {"photo": str(path), "person": one.name, "used": reason is None, "reason": reason}
                terminal.record({"schema": SCHEMA, **record})
        terminal.result("Nobody was enrolled (--dry-run).")
    elif useful:
        confirm(useful, yes)
        tools = _tools(terminal, library, finder, model, device, dry_run=False)
        for one in useful:
            places = {chosen.file.path: chosen.box for chosen in one.chosen}
            try:
                outcomes = _enroll(terminal, one.name, [chosen.file for chosen in one.chosen], tools, places=places)
            except TooFewReferencesError as error:
                terminal.fail(str(error))
                refused.append(one.name)
                continue
            known = library.person(one.name)
            count = sum(outcome.used for outcome in outcomes)
            terminal.result(summarise(known.name, len(known.references), count, RECOMMENDED))
    if refused and len(refused) == len(proposals):
        raise TooFewReferencesError("No reference of anybody tagged was usable, so nothing was changed.")
    if unreadable or files.unreadable or (strict and refused):
        raise typer.Exit(EXIT_SOME_FAILED)


@dataclass(frozen=True)
class _Tools:
    """What enrolling works with."""

    library: Library
    finder: FaceFinder
    weights_id: str | None
    memorize: Memorize | None
    dry_run: bool


def _tools(terminal: Terminal, library: Library, finder: FaceFinder, model: str, device: str, dry_run: bool) -> _Tools:
    if not dry_run:
        try:
            restorer = build_restorer(model, device)
            return _Tools(library, finder, restorer.weights_id, build_memorize(restorer), dry_run)
        except WeightsMissingError as error:
            terminal.say(f"{error} The dictionary will be made when they are there.")
    return _Tools(library, finder, None, None, dry_run)


def _enroll(
    terminal: Terminal,
    name: str,
    files: Sequence[PhotoFile],
    tools: _Tools,
    face: int | None = None,
    places: Mapping[Path, Box] | None = None,
) -> list[EnrolledPhoto]:
    """Enrol one person, show what became of each photo, and return it; TooFewReferencesError after that."""
    from dmdcli.pipeline import enroll as pipeline

    outcomes: list[EnrolledPhoto] = []
    refused: TooFewReferencesError | None = None
    with terminal.progress("photos", len(files)) as advance:
        try:
            for event in pipeline.enroll(
                name,
                files,
                tools.library,
                tools.finder,
                weights_id=tools.weights_id,
                memorize=tools.memorize,
                face_number=face,
                places=places,
                dry_run=tools.dry_run,
            ):
                if isinstance(event, pipeline.LookedAt):
                    advance()
                    terminal.detail(f"{event.photo}: looked at")
                else:
                    outcomes.append(event)
        except TooFewReferencesError as error:
            refused = error
    for outcome in outcomes:
        terminal.record(
            {
                "schema": SCHEMA,
                "photo": str(outcome.photo),
                "person": outcome.person,
                "used": outcome.used,
                "reason": outcome.reason,
                "duplicate": outcome.duplicate,
                "similarity": None if outcome.similarity is None else round(outcome.similarity, 3),
                "doubts": list(outcome.doubts),
            }
        )
    used = "would be used" if tools.dry_run else "used"
    short = {file.path: file.relative for file in files}
    rows = [
        (short[one.photo], used if one.used else "refused", one.reason or "; ".join(one.doubts)) for one in outcomes
    ]
    terminal.table(["photo", "result", "remarks" if any(why for _, _, why in rows) else ""], rows)
    if refused:
        raise refused
    return outcomes


def summarise(name: str, references: int, new: int, recommended: int) -> str:
    """Say how many references a person has, and whether more would help."""
    plural = "reference" if references == 1 else "references"
    news = "" if new == references else f", {new or 'none'} of them new"
    sentence = f"{name} has {references} {plural}{news}."
    if references < recommended:
        sentence += f" {recommended} or more make better results: run the same command with other photos."
    return sentence
