"""`dmd check`: show the landmarks and boxes of every face, and how far they can be trusted."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

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
from dmdcli.errors import EXIT_SOME_FAILED

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
    offline: OfflineOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Show the landmarks and boxes of every face, and say which are good, doubtful or unusable.

    The number beside a verdict says how surely the landmarks are right. With --out, a picture of each face and contact
    sheets, the worst faces first, are written; without it, nothing is.
    """
    stay_offline(offline)
    terminal = Terminal(quiet=quiet, verbose=verbose, json_lines=json)

    from dmdcli.corrections import Corrections
    from dmdcli.pipeline import check as pipeline
    from dmdcli.places import check_output_places, find_photos

    files = find_photos(photos)
    for error in files.unreadable:
        terminal.fail(str(error))
    if out is not None:
        check_output_places(photos, files, out, [])
    finder = build_finder(kit, thorough, min_face, device, terminal.say)

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
    verdicts = Counter(face.verdict for photo in seen for face in photo.faces)
    parts = ", ".join(f"{verdicts[name]} {name}" for name in ("good", "doubtful", "unusable"))
    without = sum(photo.error is None and not photo.faces for photo in seen)
    faces, photos_seen = counted(verdicts.total(), "face"), counted(len(seen), "photo")
    terminal.result(f"{faces} in {photos_seen}: {parts}. Photos without a face: {without}.")
    failed = bool(files.unreadable) or any(photo.error is not None for photo in seen)
    if failed or (strict and not all(photo.is_sure for photo in seen)):
        raise typer.Exit(EXIT_SOME_FAILED)


def rows_of(photo: CheckedPhoto, name: str) -> list[tuple[str, ...]]:
    """Return a line a face, or the one line of a photo without any."""
    if not photo.faces:
        return [(name, "-", "-", "-", photo.error or "no face found")]
    return [
        (
            name,
            str(number),
            face.verdict,
            "-" if face.confidence is None else face.confidence.text,
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
