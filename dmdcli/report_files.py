"""The files a report is made of: their names, how they are told from those of others, and what of them is left over."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from dmdcli.files import remove_unfinished
from dmdcli.places import PICTURES, REPORT

REPORTS = {
    REPORT: b"<!doctype html>\n<!-- dmd report -->",
    "report.jsonl": b'{"schema": 1, "photo": "',
    "report.csv": b"\xef\xbb\xbfplace,photo,output,status,",
}
"""The files, and how each begins: what begins otherwise is not ours."""
HEXADECIMAL = "[0-9a-f]"
PICTURE_FOLDERS = HEXADECIMAL * 2
PICTURE_NAMES = f"{PICTURE_FOLDERS}/{HEXADECIMAL * 30}.jpg"
"""As `pipeline.evidence` names pictures."""


def is_report(path: Path) -> bool:
    """Whether a file that has the name of a report is one. OSError where it cannot be read."""
    beginning = REPORTS[path.name]
    with path.open("rb") as file:
        return file.read(len(beginning)) == beginning


def pictures_of(account: Mapping[str, Any]) -> Iterator[str]:
    """The names of all pictures that the account of a face speaks of."""
    yield from (name for key, name in account.get("photo", {}).items() if key != "size")
    yield from account.get("pictures", {}).values()
    if "reference" in account:
        yield account["reference"]["picture"]


def pictures_there(out: Path) -> set[str]:
    """The names of the pictures in an output folder, used or not."""
    folder = out / PICTURES
    return {path.relative_to(folder).as_posix() for path in folder.glob(PICTURE_NAMES)}


def pictures_unused(out: Path, used: Collection[str], places: Collection[str]) -> set[str]:
    """The names of the pictures in an output folder that may be removed.

    used: those that accounts speak of. places: of results, which might be named like pictures.
    """
    return pictures_there(out) - {*used} - {place.removeprefix(f"{PICTURES}/") for place in places}


def remove_unfinished_files(out: Path) -> None:
    """Remove what a killed program left half written of a report and its pictures."""
    for folder in (out, *(out / PICTURES).glob(PICTURE_FOLDERS)):
        remove_unfinished(folder)
