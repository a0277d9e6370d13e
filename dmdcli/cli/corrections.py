"""`dmd corrections`: what was put right by hand, listed, carried to another library, taken back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmdcli.cli.build import library_folder
from dmdcli.cli.console import DryRunOption, JsonOption, OverwriteOption, Terminal, YesOption, counted
from dmdcli.cli.people import confirm_or_stop
from dmdcli.errors import NothingToDoError, UsageError

if TYPE_CHECKING:
    from dmdcli.decisions import Decision, PhotoDecisions

SCHEMA = 1
"""Version of the JSON objects."""

corrections = typer.Typer(
    help="List, export, import and remove what was put right by hand in photos.", no_args_is_help=True
)


@corrections.command("list")
def list_corrections(json: JsonOption = False) -> None:
    """List the photos in which something was put right by hand, and what."""
    terminal = Terminal(json_lines=json)
    rows = []
    for photo in _kept():
        faces = [_record(face) for face in photo.faces]
        terminal.record({"schema": SCHEMA, "sha256": photo.sha256, "place": photo.place, "faces": faces})
        rows += [(photo.place or "-", str(photo.sha256)[:12], _where(face), _words(face)) for face in photo.faces]
    terminal.table(["photo", "sha256", "where", "what was put right"], rows)
    if not rows:
        terminal.say("Nothing was put right by hand. `dmd check --edit PHOTOS...` shows faces and lets you.")


@corrections.command("export")
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    overwrite: OverwriteOption = False,
) -> None:
    """Write all corrections into one file, for a backup or another computer; `dmd restore --decisions` reads it, too.

    It holds the names that faces were given and the paths of photos.
    """
    from dmdcli.corrections import Corrections

    there = Corrections(library_folder())
    if not any(True for _ in there):
        raise NothingToDoError("Nothing was put right by hand, so there is nothing to export.")
    photos = there.export(file, overwrite=overwrite)
    Terminal().result(f"The corrections of {counted(photos, 'photo')} are in {file}.")


@corrections.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `dmd corrections export` wrote.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Where something else is kept of a face, take what the file says.")
    ] = False,
    dry_run: DryRunOption = False,
) -> None:
    """Keep the corrections of a file, too; all of them, or none where something in it is wrong.

    What is kept of a face already stays, unless with --overwrite; what the file says besides is added to it.
    """
    from dmdcli.corrections import Corrections
    from dmdcli.decisions import read_decisions

    terminal = Terminal()
    decisions = read_decisions(file)
    done = Corrections(library_folder()).merge(decisions, overwrite=overwrite, dry_run=dry_run)
    faces = counted(sum(1 for _ in decisions), "face")
    terminal.result(f"{faces} in {file}: {done.added} new, {done.changed} changed, {done.same} there already.")
    if done.differing:
        terminal.say(f"Of {counted(done.differing, 'face')} something else is kept; --overwrite takes the file's word.")
    if dry_run:
        terminal.result("Nothing was changed (--dry-run).")


@corrections.command("remove")
def remove(
    photos: Annotated[
        list[str],
        typer.Argument(metavar="PHOTOS", help="Photos and folders, or the sha256 of photos as `list` shows it."),
    ],
    yes: YesOption = False,
) -> None:
    """Remove what was put right by hand in photos; they are as the program finds them then.

    The next `dmd restore` makes the results of these photos again.
    """
    from dmdcli.corrections import Corrections

    terminal = Terminal()
    there = Corrections(library_folder())
    kept = {str(photo.sha256): photo for photo in there}
    chosen = {digest: kept[digest] for given in photos for digest in _digests(given, kept) if digest in kept}
    if not chosen:
        raise NothingToDoError("Nothing was put right by hand in these photos. `dmd corrections list` shows where.")
    faces = sum(len(photo.faces) for photo in chosen.values())
    what = f"{counted(faces, 'face')} in {counted(len(chosen), 'photo')}"
    confirm_or_stop(f"Remove what was put right of {what}?", yes, "removed")
    for digest, photo in chosen.items():
        there.keep(digest, [])
        terminal.result(f"{photo.place or digest}: {counted(len(photo.faces), 'face')} as found again.")


def _kept() -> list[PhotoDecisions]:
    """All photos about which something is kept, by the path they had."""
    from dmdcli.corrections import Corrections

    return sorted(Corrections(library_folder()), key=lambda photo: (photo.place or "", photo.sha256 or ""))


def _digests(given: str, kept: dict[str, PhotoDecisions]) -> list[str]:
    """The digests of the photos that somebody means: files, those in a folder, or the beginning of a digest."""
    from dmdcli.journal import digest_of
    from dmdcli.places import find_photos

    if not Path(given).exists() and re.fullmatch("[0-9a-fA-F]{8,64}", given):
        found = [digest for digest in kept if digest.startswith(given.lower())]
        if len(found) > 1:
            raise UsageError(f"{given} is the beginning of {len(found)} digests; give more of it.")
        return found
    return [digest_of(file.path) for file in find_photos([Path(given)])]


def _where(face: Decision) -> str:
    """How wide a face is, and where its upper left corner lies, in photo pixels."""
    if face.box is None:
        return "-"
    x0, y0, x1, _ = face.box
    return f"{x1 - x0:.0f} px at {x0:.0f}, {y0:.0f}"


def _words(face: Decision) -> str:
    """What was decided about a face, in words."""
    words = ["landmarks"] if face.landmarks is not None else []
    words += [face.person] if face.person is not None else []
    said = {"stranger": "a stranger", "not_a_face": "no face", "leave_alone": "left alone", "accepted": "looked at"}
    words += [word for key, word in said.items() if getattr(face, key)]
    words += [f"strength {face.strength:g}"] if face.strength is not None else []
    return ", ".join(words)


def _record(face: Decision) -> dict[str, object]:
    return {
        "box": None if face.box is None else list(face.box),
        "landmarks": None if face.landmarks is None else [list(point) for point in face.landmarks],
        "person": face.person,
        "stranger": face.stranger,
        "not_a_face": face.not_a_face,
        "leave_alone": face.leave_alone,
        "strength": face.strength,
        "judge": face.judge,
        "accepted": face.accepted,
    }
