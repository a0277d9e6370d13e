"""`dmd enroll`: learn a person's face from photographs."""

from __future__ import annotations

from typing import Annotated

import typer

from dmdcli.cli.build import build_finder, build_library, build_memorize, build_restorer, stay_offline
from dmdcli.cli.console import (
    DeviceOption,
    DryRunOption,
    JsonOption,
    Kit,
    KitOption,
    ModelOption,
    NameArgument,
    OfflineOption,
    PhotosArgument,
    QuietOption,
    StrictOption,
    Terminal,
    ThoroughOption,
    VerboseOption,
)
from dmdcli.errors import EXIT_SOME_FAILED, TooFewReferencesError, WeightsMissingError

SCHEMA = 1
"""Version of the JSON objects."""


def enroll(
    name: NameArgument,
    photos: PhotosArgument,
    face: Annotated[
        int | None,
        typer.Option("--face", metavar="N", min=1, help="Which face of a photo with several, counted from the left."),
    ] = None,
    kit: KitOption = Kit.AUTO,
    model: ModelOption = "base",
    device: DeviceOption = "auto",
    thorough: ThoroughOption = False,
    dry_run: DryRunOption = False,
    strict: StrictOption = False,
    json: JsonOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Learn a person's face from a few good photographs.

    One photo is enough, three are recommended; the same command with more photos adds them. Photos that would not help
    (blurred, small, turned away, there already, showing somebody else) are refused, each with its reason.
    """
    stay_offline(offline)
    terminal = Terminal(quiet=quiet, verbose=verbose, json_lines=json)
    library = build_library()
    library.people()  # a damaged or newer library is said at once, not after minutes

    from dmdcli.photos import find_photos
    from dmdcli.pipeline import enroll as pipeline

    files = find_photos(photos)
    for error in files.unreadable:
        terminal.fail(str(error))
    finder = build_finder(kit, thorough, device=device, say=terminal.say)
    weights_id = memorize = None
    if not dry_run:
        try:
            restorer = build_restorer(model, device)
            weights_id, memorize = restorer.weights_id, build_memorize(restorer)
        except WeightsMissingError as error:
            terminal.say(f"{error} The dictionary will be made when they are there.")

    outcomes: list[pipeline.EnrolledPhoto] = []
    refused: TooFewReferencesError | None = None
    with terminal.progress("photos", len(files)) as advance:
        try:
            for event in pipeline.enroll(
                name,
                files,
                library,
                finder,
                weights_id=weights_id,
                memorize=memorize,
                face_number=face,
                dry_run=dry_run,
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
    used = "would be used" if dry_run else "used"
    short = {file.path: file.relative for file in files}
    rows = [
        (short[one.photo], used if one.used else "refused", one.reason or "; ".join(one.doubts)) for one in outcomes
    ]
    terminal.table(["photo", "result", "remarks" if any(why for _, _, why in rows) else ""], rows)
    if refused:
        raise refused
    count = sum(outcome.used for outcome in outcomes)
    if dry_run:
        terminal.result(f"{count} of {len(outcomes)} photos would become references of {outcomes[0].person}.")
    else:
        person = library.person(name)
        terminal.result(summarise(person.name, len(person.references), count, pipeline.RECOMMENDED))
    if strict and not all(outcome.used or outcome.duplicate for outcome in outcomes):
        raise typer.Exit(EXIT_SOME_FAILED)


def summarise(name: str, references: int, new: int, recommended: int) -> str:
    """Say how many references a person has, and whether more would help."""
    plural = "reference" if references == 1 else "references"
    news = "" if new == references else f", {new or 'none'} of them new"
    sentence = f"{name} has {references} {plural}{news}."
    if references < recommended:
        sentence += f" {recommended} or more make better results: run the same command with other photos."
    return sentence
