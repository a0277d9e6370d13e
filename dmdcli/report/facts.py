"""What the report says of a photo: one object, the same in report.html and report.jsonl, and its rows in report.csv."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from dmdcli.journal import FaceRow, PhotoRow

SCHEMA = 1
"""Version of the objects in report.jsonl."""
STOPPED = "the last run was stopped at it; the same command goes on"
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a text begins with that a spreadsheet takes for a formula, or that hides one."""
COLUMNS = (
    *("place", "photo", "output", "status", "reason", "finished", "model", "kit", "face"),
    *("x0", "y0", "x1", "y1", "person", "assigned_by", "used", "strength"),
    *(
        "similarity_before",
        "similarity_after",
        "similarity_specific",
        "similarity_generic",
        "detail_kept",
        "points_moved",
        "face_reason",
    ),
)
"""Of report.csv."""


def facts_of(
    row: PhotoRow, called: Callable[[str], str], pictures: Container[str], skipped: str | None = None
) -> dict[str, Any]:
    """The object of a photo, as JSON can say it; docs/report.md describes it.

    called: id of a person -> what they are called in the report. pictures: names of those that are there. skipped: why
    the last run left alone what is in the photo's place.
    """
    status: str = row.result
    reason = row.reason
    if skipped is not None:
        status, reason = "skipped", skipped
    elif not row.finished:
        status, reason = "failed", STOPPED
    first: Mapping[str, Any] = row.faces[0].account if row.faces else {}
    whole = dict(first.get("photo", {}))
    return {
        "schema": SCHEMA,
        "photo": str(row.photo),
        "place": row.place,
        "original": original_of(row),
        "output": row.place if row.output_digest is not None and status != "failed" else None,
        "status": status,
        "reason": reason,
        "finished": row.finished or None,
        "model": row.weights,
        "kit": row.kit,
        "notes": list(first.get("notes", ())),
        "size": whole.pop("size", None),
        "pictures": _those_there(whole, pictures),
        "faces": [
            {"number": number, **_face_facts(face, called, pictures)} for number, face in enumerate(row.faces, start=1)
        ],
    }


def original_of(row: PhotoRow) -> str:
    """The place of a photo below its input folder, as decisions name it: the result's, with its own ending."""
    place = PurePosixPath(row.place)
    return row.place if place.suffix == row.photo.suffix else place.with_name(row.photo.name).as_posix()


def skipped_facts(place: str, photo: Path, reason: str) -> dict[str, Any]:
    """The object of a photo the journal knows nothing of, because in its place there is a file that is not ours."""
    return facts_of(PhotoRow(place, photo, "untouched", finished=""), str, (), reason)


def table_rows(facts: Mapping[str, Any]) -> Iterator[list[object]]:
    """The rows of a photo in report.csv, as in COLUMNS: one a face, and one for a photo without."""
    photo = [_cell(facts[name]) for name in COLUMNS[:8]]
    if not facts["faces"]:
        yield [*photo, *[None] * (len(COLUMNS) - len(photo))]
    for face in facts["faces"]:
        answers = face["answers"]
        yield [
            *photo,
            face["number"],
            *face["box"],
            *(_cell(face[name]) for name in COLUMNS[13:19]),
            *(answers.get(used, {}).get("similarity") for used in ("specific", "generic")),
            *(face["published"].get(name) for name in ("detail", "moved")),
            _cell("; ".join(face["problems"])),
        ]


def _face_facts(face: FaceRow, called: Callable[[str], str], pictures: Container[str]) -> dict[str, Any]:
    account: Mapping[str, Any] = face.account
    reference = account.get("reference", {})
    shown = {**account.get("pictures", {}), **({"reference": reference["picture"]} if reference else {})}
    return {
        "box": list(face.box),
        "matrix": [list(row) for row in face.matrix],
        "person": None if face.match is None else called(face.match.person),
        "assigned_by": account.get("assigned_by"),
        "landmark_source": account.get("landmarks", "detected"),
        "similarity_before": face.match.similarity if face.match is not None and face.match.person else None,
        "similarity_after": face.after,
        "used": face.result,
        "strength": face.strength,
        "usable": face.usable,
        "problems": list(face.reason),
        "why": list(account.get("why", ())),
        "components": account.get("components"),
        "confidence": account.get("confidence"),
        "answers": account.get("answers", {}),
        "published": account.get("published", {}),
        "reference": reference.get("id"),
        "pictures": _those_there(shown, pictures),
    }


def _those_there(named: Mapping[str, str], pictures: Container[str]) -> dict[str, str]:
    return {key: name for key, name in named.items() if name in pictures}


def _cell(value: object) -> object:
    """A value that a spreadsheet shows as it is."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def settings_of(contents: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    """Settings for the overview, without those that say nothing to people."""
    return [{key: value for key, value in sorted(one.items()) if key not in ("person", "recipe")} for one in contents]
