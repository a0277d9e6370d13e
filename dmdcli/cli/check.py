"""`dmd check`: show the landmarks and boxes of every face, and how far they can be trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from dmdcli.cli.build import build_finder, library_folder, stay_offline
from dmdcli.cli.console import (
    LEAST_FACE,
    DeviceOption,
    JsonOption,
    Kit,
    KitOption,
    MinFaceOption,
    OfflineOption,
    OptionalOutOption,
    PhotosArgument,
    QuietOption,
    StrictOption,
    Terminal,
    ThoroughOption,
    VerboseOption,
    counted,
)
from dmdcli.cli.pages import NoOpenOption
from dmdcli.errors import EXIT_DONE, EXIT_SOME_FAILED, UsageError

if TYPE_CHECKING:
    from dmdcli.pipeline.check import CheckedPhoto

SCHEMA = 1
"""Version of the JSON objects."""


def check(
    photos: PhotosArgument,
    out: OptionalOutOption = None,
    min_face: MinFaceOption = LEAST_FACE,
    kit: KitOption = Kit.AUTO,
    thorough: ThoroughOption = False,
    device: DeviceOption = "auto",
    strict: StrictOption = False,
    json: JsonOption = False,
    edit: Annotated[
        bool, typer.Option("--edit", help="Show the faces on a page in the browser, to put them right by hand.")
    ] = False,
    model: Annotated[
        str | None, typer.Option("--model", metavar="base|dmdnet|PATH", help="With --edit: the network of previews.")
    ] = None,
    no_open: NoOpenOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Show the landmarks and boxes of every face, and say which are good, doubtful or unusable.

    The number beside a verdict says how surely the landmarks are right. With --out, a picture of each face and contact
    sheets, the worst faces first, are written; without it, nothing is. With --edit, points are moved, missed faces
    drawn and people named on a page; the library keeps that, by the content of each photo, and restore, enroll and
    check use it from then on.
    """
    excluded = {"--out": out is not None, "--strict": strict, "--json": json}
    refuse_together(edit, excluded, only={"--model": model is not None, "--no-open": no_open})
    stay_offline(offline)
    terminal = Terminal(quiet=quiet, verbose=verbose, json_lines=json)

    from dmdcli.corrections import Corrections
    from dmdcli.pipeline import check as pipeline
    from dmdcli.places import check_output_folder, find_photos, survey_photos

    files = find_photos(photos)
    for error in files.unreadable:
        terminal.fail(str(error))
    if out is not None:
        check_output_folder(survey_photos(photos), out)
    finder = build_finder(kit, thorough, min_face, device, terminal.say)
    if edit:
        from dmdcli.cli.check_edit import edit as edit_faces

        edit_faces(photos, files, finder, terminal, model=model or "base", device=device, no_open=no_open)
        raise typer.Exit(EXIT_DONE)

    seen: list[CheckedPhoto] = []
    with terminal.progress("photos", len(files)) as advance:
        for photo in pipeline.check(files, finder, out, Corrections(library_folder())):
            seen.append(photo)
            if photo.error is not None:
                terminal.fail(f"{photo.photo}: {photo.error}")
            terminal.detail(f"{photo.photo}: {counted(len(photo.faces), 'face')}")
            terminal.record(record_of(photo))
            advance()
    short = {file.path: file.relative for file in files}
    terminal.table(
        ["photo", "face", "verdict", "sure", "why"],
        [row for photo in seen for row in rows_of(photo, str(short[photo.photo]))],
    )
    verdicts = Counter(face.verdict for photo in seen for face in photo.faces if not face.is_none)
    none = sum(face.is_none for photo in seen for face in photo.faces)
    parts = ", ".join(f"{verdicts[name]} {name}" for name in ("good", "doubtful", "unusable"))
    without = sum(photo.error is None and not photo.faces for photo in seen)
    faces, photos_seen = counted(verdicts.total(), "face"), counted(len(seen), "photo")
    decided = f" No face, as decided: {none}." if none else ""
    terminal.result(f"{faces} in {photos_seen}: {parts}. Photos without a face: {without}.{decided}")
    failed = bool(files.unreadable) or any(photo.error is not None for photo in seen)
    if failed or (strict and not all(photo.is_sure for photo in seen)):
        raise typer.Exit(EXIT_SOME_FAILED)


def refuse_together(edit: bool, excluded: Mapping[str, bool], only: Mapping[str, bool]) -> None:
    """UsageError for options that were given and do not go with --edit, or only with it."""
    for option in (name for name, given in excluded.items() if edit and given):
        raise UsageError(f"{option} does not go with --edit, which shows the faces on a page. Leave one of them out.")
    for option in (name for name, given in only.items() if given and not edit):
        raise UsageError(f"{option} is about the page of --edit. Give that, too, or leave it out.")


def rows_of(photo: CheckedPhoto, name: str) -> list[tuple[str, ...]]:
    """Return a line a face, or the one line of a photo without any."""
    if not photo.faces:
        return [(name, "-", "-", "-", photo.error or ("no face, as decided" if photo.has_none else "no face found"))]
    return [
        (
            name,
            str(number),
            face.verdict,
            "-" if face.confidence is None or face.is_none else face.confidence.text,
            "; ".join(face.reasons),
        )
        for number, face in enumerate(photo.faces, start=1)
    ]


def record_of(photo: CheckedPhoto) -> dict[str, object]:
    """Return the JSON object of one photo."""
    faces = [
        {
            "box": [round(edge, 1) for edge in face.box],
            "landmarks": [[round(float(x), 2), round(float(y), 2)] for x, y in face.landmarks],
            "components": face.components.tolist(),
            "verdict": face.verdict,
            "reasons": list(face.reasons),
            "confidence": None if face.confidence is None else face.confidence.record(),
            "overlay": None if face.overlay is None else str(face.overlay),
        }
        for face in photo.faces
    ]
    return {"schema": SCHEMA, "photo": str(photo.photo), "error": photo.error, "faces": faces}
