"""`dmd explain`: what was done to the faces of a photo, from its mark and from the journal of its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from dmdcli.cli.console import JsonOption, PhotosArgument, Terminal, counted
from dmdcli.errors import EXIT_SOME_FAILED, PhotoReadError

if TYPE_CHECKING:
    from dmdcli.journal import FaceRow
    from dmdcli.marks import Mark, MarkedFace
    from dmdcli.pipeline.explain import Explained

SCHEMA = 1
"""Version of the JSON objects."""
BY_HAND = "landmarks put right by hand"
COLUMNS = ("face", "at", "restored from", "strength", "similarity before", "after", "person", "remarks")


def explain(photos: PhotosArgument, json: JsonOption = False) -> None:
    """Show what was done to the faces of restored photos, with what, how strongly, and how like the person they are.

    This stands in the mark inside each photo, wherever it is by now. Of a photo in the folder it was written to, the
    journal there also tells which faces were left alone, and why. Nothing is written.
    """
    from dmdcli.pipeline import explain as pipeline
    from dmdcli.places import stream_photos, survey_photos

    terminal = Terminal(json_lines=json)
    survey_photos(photos)  # says at once that there are none
    failed = False

    def tell(unreadable: PhotoReadError) -> None:
        nonlocal failed
        failed = True
        terminal.fail(str(unreadable))

    for one in pipeline.explain(stream_photos(photos, tell)):
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
    """A line for each face: what the mark says of it where it is in there, and the journal of the others.

    Places are those in the upright photo, in pixels.
    """
    rows: list[tuple[str, ...]] = []
    box: Sequence[float]
    used: str
    for number, marked, known in one.faces():
        if marked is not None:
            box, used, strength = one.seen(marked), marked.used, f"{marked.strength:.2f}"
            before, after, why = marked.before, marked.after, marked.reason or ""
        elif known is not None:
            box, used, strength = known.box, known.result, f"{known.strength:.2f}"
            if used == "none":
                used, strength = "left alone", "-"
            before, after, why = _before(known), known.after, "; ".join(known.reason)
        if known is not None and known.account.get("landmarks") == "corrected":
            why = "; ".join(one for one in (BY_HAND, why) if one)
        name = None if marked is None else marked.person
        person = name or _person(known, one.people) or "-"
        shown = "-" if number is None else str(number)
        rows.append((shown, _place(box), used, strength, _number(before), _number(after), person, why))
    return rows


def _person(face: FaceRow | None, people: Mapping[str, int]) -> str | None:
    """What the report of the folder calls whose face it is, without names."""
    from dmdcli.journal import numbered

    return None if face is None or face.match is None else numbered(face.match.person, people)


def _before(face: FaceRow) -> float | None:
    return None if face.match is None or not face.match.person else face.match.similarity


def _place(box: Sequence[float]) -> str:
    x0, y0, x1, y1 = box
    return f"{x0:.0f},{y0:.0f} to {x1:.0f},{y1:.0f}"


def record_of(one: Explained) -> dict[str, object]:
    """Return the JSON object of one photo."""
    row, faces = one.row, list(one.faces())
    return {
        "schema": SCHEMA,
        "photo": str(one.photo),
        "error": one.error,
        "digital_source_type": one.source_type,
        "orientation": one.orientation,
        "mark": None
        if one.mark is None
        else _mark(one.mark, [(number, marked) for number, marked, _ in faces if marked is not None]),
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
            "faces": [{"number": number, **_known_face(face, one.people)} for number, _, face in faces if face],
        },
        "notes": list(one.notes),
    }


def _mark(mark: Mark, faces: Sequence[tuple[int | None, MarkedFace]]) -> dict[str, object]:
    return {
        "format": mark.format,
        "version": mark.version,
        "model": mark.model,
        "weights": mark.weights,
        "kit": mark.kit,
        "size": list(mark.size),
        "count": mark.count,
        "source_type_before": mark.source_type,
        "faces": [{"number": number, **_marked_face(face)} for number, face in faces],
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


def _known_face(face: FaceRow, people: Mapping[str, int]) -> dict[str, object]:
    return {
        "box": list(face.box),
        "used": face.result,
        "strength": face.strength,
        "person": _person(face, people),
        "person_id": None if face.match is None else face.match.person,
        "similarity_before": None if face.match is None else face.match.similarity,
        "similarity_after": face.after,
        "problems": list(face.reason),
        "landmark_source": face.account.get("landmarks", "detected"),
    }


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
