"""`dmd train prepare`: make a data folder for training of one's own photographs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmdcli.cli.build import build_finder, stay_offline
from dmdcli.cli.console import (
    DeviceOption,
    JsonOption,
    Kit,
    KitOption,
    OfflineOption,
    QuietOption,
    StrictOption,
    Terminal,
    ThoroughOption,
    VerboseOption,
    counted,
)
from dmdcli.errors import EXIT_SOME_FAILED, UsageError

if TYPE_CHECKING:
    from dmdcli.pipeline.prepare import LabelledFile, PreparedFolder, PreparedPhoto

SCHEMA = 1
"""Version of the JSON objects."""
NOT_STATED = "not stated"
"""What stands in the index for a licence nobody named."""


def prepare(
    photos: Annotated[
        list[Path],
        typer.Argument(metavar="PHOTOS", readable=False, help="Folders with one folder of photographs per person."),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DATA", help="Data folder to make, or to bring up to date.")
    ],
    strangers: Annotated[
        bool, typer.Option("--strangers", help="Every photo shows somebody else, whatever its folder.")
    ] = False,
    licence: Annotated[
        str, typer.Option("--licence", metavar="TEXT", help="Licence of all these photographs, for the index.")
    ] = NOT_STATED,
    validation: Annotated[
        float,
        typer.Option("--validation", min=0.0, max=0.5, help="Part of the people that only validates; at least one."),
    ] = 0.05,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Chooses who validates.")] = 0,
    max_enlarged: Annotated[
        float,
        typer.Option("--max-enlarged", min=0.1, metavar="X", help="Leave out faces enlarged more than so many times."),
    ] = 2.2,
    min_sharpness: Annotated[
        float, typer.Option("--min-sharpness", min=0.0, metavar="S", help="Leave out faces less sharp than this.")
    ] = 0.4,
    kit: KitOption = Kit.AUTO,
    thorough: ThoroughOption = False,
    device: DeviceOption = "auto",
    strict: StrictOption = False,
    json: JsonOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Make a folder to train on of your own photographs: faces aligned, filtered and indexed.

    Each folder in PHOTOS holds a folder per person, named after them. A photo with no face or several, with a small,
    blurred, cut off or doubtful face, or of a picture that is there already, is left out; report.csv says why. The same
    command goes on with what was stopped, and brings DATA up to date with the photos there are.
    """
    stay_offline(offline)
    terminal = Terminal(quiet=quiet, verbose=verbose, json_lines=json)

    from dmdcli.pipeline import prepare as pipeline
    from dmdcli.places import check_output, check_output_folder, find_photos, survey_photos

    files = find_photos(photos)
    for error in files.unreadable:
        terminal.fail(str(error))
    survey = survey_photos(photos)
    check_output_folder(survey, out)
    check_output_folder(survey, out / "aligned_crops")
    for name in ("index.csv", "landmarks.json", "report.csv"):
        check_output(survey, out / name)
    pipeline.check_folder(out)
    labelled = pipeline.label(files, sum(path.is_dir() for path in photos), strangers=strangers)
    check_people(labelled, pipeline.LEAST_PEOPLE, strangers)
    finder = build_finder(kit, thorough, device=device, say=terminal.say)

    seen: list[PreparedPhoto] = []
    folder: PreparedFolder | None = None
    limits = pipeline.Limits(max_enlarged, min_sharpness)
    with terminal.progress("photos", len(labelled)) as advance:
        for event in pipeline.prepare(
            labelled, out, finder, limits=limits, licence=licence, validation=validation, seed=seed
        ):
            if isinstance(event, pipeline.PreparedFolder):
                folder = event
                continue
            seen.append(event)
            if event.kind == "failed":
                terminal.fail(f"{event.photo}: {event.reason}")
            elif event.kind is not None:
                terminal.detail(f"{event.photo}: left out, {event.reason}")
            terminal.record(record_of(event))
            advance()
    assert folder is not None  # the pipeline ends with it or raises
    report(terminal, out, seen, folder)
    if licence == NOT_STATED:
        terminal.say("The index says that no licence was stated; --licence names it.")
    failed = bool(files.unreadable) or any(photo.kind == "failed" for photo in seen)
    if failed or (strict and any(photo.kind is not None for photo in seen)):
        raise typer.Exit(EXIT_SOME_FAILED)


def check_people(labelled: list[LabelledFile], least: int, strangers: bool) -> None:
    """Raise UsageError where there are too few people to train with, before anything is looked at."""
    people = {one.person for one in labelled} - {None}
    if len(people) >= least:
        return
    found = f"{counted(len(labelled), 'photo')} of {people_counted(len(people))}"
    ways = "Give more photos." if strangers else "Give folders that hold a folder per person, or --strangers."
    raise UsageError(f"{found} found; {least} people are needed, two to learn from and one to validate with. {ways}")


def report(terminal: Terminal, out: Path, seen: list[PreparedPhoto], folder: PreparedFolder) -> None:
    """Print what was left out, by reason, and what the folder holds."""
    left_out = Counter(photo.kind for photo in seen if photo.kind is not None)
    terminal.record(
        {
            "schema": SCHEMA,
            "data": str(out),
            "crops": folder.crops,
            "people": folder.people,
            "left_out": dict(left_out.most_common()),
            "removed": folder.removed,
        }
    )
    terminal.table(["left out", "photos"], left_out.most_common())
    if left_out:
        terminal.result(f"{out / 'report.csv'} says why, photo by photo.")
    again = sum(photo.again for photo in seen)
    if again:
        terminal.say(f"{counted(again, 'photo')} had been looked at in an earlier run.")
    if folder.removed:
        terminal.say(f"{counted(folder.removed, 'crop')} of photos that are not there any more removed.")
    parts = [
        f"{counted(folder.crops[split], 'crop')} of {people_counted(folder.people[split])}"
        for split in ("train", "validation")
    ]
    terminal.result(f"{out}: {parts[0]} to learn from, {parts[1]} to validate with.")


def people_counted(number: int) -> str:
    """Write how many people: 1 person, 2 people."""
    return f"{number or 'no'} {'person' if number == 1 else 'people'}"


def record_of(photo: PreparedPhoto) -> dict[str, object]:
    """Return the JSON object of one photo."""
    return {
        "schema": SCHEMA,
        "photo": str(photo.photo),
        "person": photo.person,
        "crop": photo.crop,
        "enlarged": photo.enlarged,
        "kind": photo.kind,
        "reason": photo.reason,
    }
