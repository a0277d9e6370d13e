"""`dmd explain`: what was done to the faces of a photo, from its mark and from the journal of its folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from dmdcli.cli.console import JsonOption, PhotosArgument, Terminal, counted
from dmdcli.errors import EXIT_SOME_FAILED

if TYPE_CHECKING:
    from dmdcli.journal import FaceRow
    from dmdcli.marks import Mark, MarkedFace
    from dmdcli.pipeline.explain import Explained

SCHEMA = 1
"""Version of the JSON objects."""
COLUMNS = ("face", "at", "restored from", "strength", "similarity before", "after", "person", "remarks")


def explain(photos: PhotosArgument, json: JsonOption = False) -> None:
    """Show what was done to the faces of restored photos, with what, how strongly, and how like the person they are.

    This stands in the mark inside each photo, wherever it is by now. Of a photo in the folder it was written to, the
    journal there also tells which faces were left alone, and why. Nothing is written.
    """
    from dmdcli.pipeline import explain as pipeline
    from dmdcli.places import find_photos

    terminal = Terminal(json_lines=json)
    files = find_photos(photos)
    for unreadable in files.unreadable:
        terminal.fail(str(unreadable))
    failed = bool(files.unreadable)
    for one in pipeline.explain(files):
        terminal.record(record_of(one))
        if one.error is not None:
            failed = True
            terminal.fail(f"{one.photo}: {one.error}")
            continue
        print_photo(terminal, one)
    if failed:
        raise typer.Exit(EXIT_SOME_FAILED)


def print_photo(terminal: Terminal, one: Explained) -> None:
    """Print what is known of one photo: sentences, and a line a face."""
    if one.mark is None:
        silent = " Nothing in the file says that a face in it was restored." if one.source_type is None else ""
        terminal.result(f"{one.photo}: has no mark of dmd.{silent}")
    else:
        by = f"dmd {one.mark.version} with {one.mark.model} (weights {one.mark.weights}, kit {one.mark.kit})"
        terminal.result(f"{one.photo}: {counted(one.mark.count, 'face')} restored by {by}.")
    for note in one.notes:
        terminal.fail(f"{one.photo}: {note}")
    if one.mark is not None and not one.mark.faces:
        terminal.paragraph("The file had no room for saying which faces.")
    if one.source_type is not None:
        before = one.mark.source_type if one.mark is not None else None
        instead = f", before {before}" if before else ""
        terminal.paragraph(f"Digital source type: {one.source_type}{instead}.")
    terminal.table(COLUMNS, rows_of(one))
    if one.row is not None:
        when = f" on {one.row.finished}" if one.row.finished else ""
        changed = " The file was changed since, or is not the one that was written." if one.changed else ""
        why = f" ({one.row.reason})" if one.row.reason else ""
        sentence = f"The journal in {one.out}: {one.row.result}{why}{when}, made of {one.row.photo}.{changed}"
        terminal.paragraph(sentence)


def rows_of(one: Explained) -> list[tuple[str, ...]]:
    """A line for each face in the mark, and for each that, by the journal, was left alone or is in no mark.

    Places are those in the upright photo, in pixels.
    """
    from dmdcli.shapes import turn_box

    marked, size = ((), (0, 0)) if one.mark is None else (one.mark.faces, one.mark.size)
    known = one.row.faces if one.row is not None else ()
    rows: list[tuple[str, ...]] = []
    for face in marked:
        box = turn_box(face.box, one.orientation, size)
        outcome = (face.used, f"{face.strength:.2f}", _number(face.before), _number(face.after))
        rows.append((_place(box), *outcome, face.person or "-", face.reason or ""))
    for row in known:
        if marked and row.result != "none":
            continue
        before, person = (
            (None, "-") if row.match is None else (row.match.similarity, f"enrolled, id {row.match.person}")
        )
        used, strength = ("left alone", "-") if row.result == "none" else (row.result, f"{row.strength:.2f}")
        outcome = (used, strength, _number(before), _number(row.after))
        rows.append((_place(row.box), *outcome, person, "; ".join(row.reason)))
    return [(str(number), *row) for number, row in enumerate(rows, start=1)]


def _place(box: Sequence[float]) -> str:
    x0, y0, x1, y1 = box
    return f"{x0:.0f},{y0:.0f} to {x1:.0f},{y1:.0f}"


def record_of(one: Explained) -> dict[str, object]:
    """Return the JSON object of one photo."""
    row = one.row
    return {
        "schema": SCHEMA,
        "photo": str(one.photo),
        "error": one.error,
        "digital_source_type": one.source_type,
        "orientation": one.orientation,
        "mark": None if one.mark is None else _mark(one.mark),
        "journal": None
        if row is None
        else {
            "folder": str(one.out),
            "place": row.place,
            "photo": str(row.photo),
            "result": row.result,
            "reason": row.reason,
            "finished": row.finished,
            "changed": one.changed,
            "faces": [_known_face(face) for face in row.faces],
        },
        "notes": list(one.notes),
    }


def _mark(mark: Mark) -> dict[str, object]:
    return {
        "format": mark.format,
        "version": mark.version,
        "model": mark.model,
        "weights": mark.weights,
        "kit": mark.kit,
        "size": list(mark.size),
        "count": mark.count,
        "source_type_before": mark.source_type,
        "faces": [_marked_face(face) for face in mark.faces],
    }


def _marked_face(face: MarkedFace) -> dict[str, object]:
    return {
        "box": list(face.box),
        "used": face.used,
        "strength": face.strength,
        "similarity_before": face.before,
        "similarity_after": face.after,
        "reason": face.reason,
        "person": face.person,
    }


def _known_face(face: FaceRow) -> dict[str, object]:
    return {
        "box": list(face.box),
        "used": face.result,
        "strength": face.strength,
        "person_id": None if face.match is None else face.match.person,
        "similarity_before": None if face.match is None else face.match.similarity,
        "similarity_after": face.after,
        "problems": list(face.reason),
    }


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
