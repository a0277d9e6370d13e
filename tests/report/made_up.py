"""Journals of photos that never were, with everything that can happen to one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dmdcli.journal import FaceRow, Journal, Likeness, PhotoRow, copy_journal
from dmdcli.places import PICTURES

EVIL = (
    "<img src=x onerror=alert(1)>.png",
    "</script><script>alert(2)</script>.jpg",
    "\"quoted\" & 'single'.jpg",
    "=HYPERLINK(1).jpg",
    "bytes \udcff\udcfe.tif",
    "\u202egnp.evil\u202c.png",
    "ירושלים 1920.jpg",
    "a b#c?d%20e.jpg",
    "-->.png",
    "{RECORDS}.png",
)
PEOPLE = ("alice's id", "bob's id", "carol's id")
REASONS = ("already sharp", "it would not be who it was (similarity 0.81)", "the face is only 41 pixels wide")


def picture_names(out: Path, number: int = 40) -> list[str]:
    """The names of pictures, which are made."""
    names = []
    for index in range(number):
        name = f"{index:02x}/{index:030x}.jpg"
        path = out / PICTURES / name
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = (index * 37 % 200, 90, 200 - index * 5)
        cv2.imwrite(str(path), np.full((192, 192, 3), colour, np.uint8))
        names.append(name)
    return names


def account_of(number: int, names: Sequence[str], used: str, known: bool) -> dict[str, Any]:
    """The account of a face, as `pipeline.evidence` makes it."""
    chosen = [names[(number + step) % len(names)] for step in range(8)] if names else ["00/none.jpg"] * 8
    measured = {"similarity": 0.9 - number % 7 / 20, "moved": 0.012, "detail": 1.31}
    pictures = {"original": chosen[0], "generic": chosen[1]}
    account: dict[str, Any] = {
        "why": [REASONS[number % 3]] if used == "none" or number % 4 == 0 else [],
        "doubts": [],
        "components": [[140, 200, 240, 290], [270, 200, 370, 290], [190, 320, 320, 430]],
        "answers": {"generic": {**measured, "refused": REASONS[1] if used == "none" else None}},
        "pictures": pictures,
    }
    if used != "none":
        account["published"] = measured
        pictures["published"] = chosen[2]
    if known:
        account["reference"] = {"id": "0123456789abcdef", "picture": chosen[3]}
        account["answers"]["specific"] = {**measured, "refused": None}
        pictures["specific"] = chosen[4]
    return account


def row_of(number: int, names: Sequence[str] = (), place: str | None = None) -> PhotoRow:
    """The photo of that number: restored or untouched, with up to three faces; one of twenty failed."""
    place = place or f"album {number // 100}/photo {number}.jpg"
    if number % 20 == 19:
        return PhotoRow(place, Path("/in") / place, "failed", reason="is empty (0 bytes)", finished="2024-05-01")
    faces = []
    for index in range(number % 4):
        known = (number + index) % 3 == 0
        used = ("specific", "generic", "none")[(number + index) % 3]
        match = Likeness(PEOPLE[(number // 3 + index) % 3], "v", 0.71) if known else None
        faces.append(
            FaceRow(
                box=(100.0 + 300 * index, 120.0, 320.0 + 300 * index, 380.0),
                matrix=((1.0, 0.0, -100.0), (0.0, 1.0, -100.0)),
                result=used,
                reason=(REASONS[number % 3],) if used == "none" else (),
                match=match,
                strength=0.0 if used == "none" else 1 / (1 + number % 2),
                after=None if used == "none" else 0.83,
                account=account_of(number + index, names, used, known),
            )
        )
    restored = any(face.result != "none" for face in faces)
    if faces:
        size = {"size": [1200, 800], "small": names[number % len(names)] if names else "00/none.jpg"}
        thumbs = {"before": names[0], "after": names[1]} if restored and names else {}
        faces[0] = replace(faces[0], account={**faces[0].account, "photo": size | thumbs})
    return PhotoRow(
        place,
        Path("/in") / place,
        "restored" if restored else "untouched",
        output_digest="d",
        settings="s",
        weights="abc123",
        kit="made-up",
        finished=f"2024-05-{1 + number % 28:02}T10:00:00+00:00",
        faces=tuple(faces),
    )


@contextmanager
def made_up_journal(out: Path, photos: int, pictures: bool = True) -> Iterator[Journal]:
    """A journal in memory of so many photos, the first of them with evil names."""
    names = picture_names(out) if pictures else []
    with copy_journal(out) as journal:
        journal.number_people(PEOPLE)
        settings = journal.keep_settings({"strength": 1.0, "person": None, "recipe": 2})
        for number in range(photos):
            row = row_of(number, names, EVIL[number] if number < len(EVIL) else None)
            journal.write(row if row.settings is None else replace(row, settings=settings))
        yield journal
