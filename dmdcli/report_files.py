"""The files a report is made of: their names, how they are told from those of others, and what of them is left over."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
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
"""As `pipeline.evidence` names pictures, for `glob`."""
PICTURE_NAME = re.compile(r"[0-9a-f]{2}/[0-9a-f]{30}\.jpg")
"""The same."""


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


@dataclass(frozen=True)
class PicturesThere:
    """The names of the pictures in an output folder, used or not; looked for when they are asked for."""

    out: Path

    def __contains__(self, name: object) -> bool:
        """Whether it names a picture that is there."""
        is_name = isinstance(name, str) and PICTURE_NAME.fullmatch(name) is not None
        return is_name and (self.out / PICTURES / str(name)).is_file()

    def __iter__(self) -> Iterator[str]:
        """The names of all, in no order."""
        folder = self.out / PICTURES
        return (path.relative_to(folder).as_posix() for path in folder.glob(PICTURE_NAMES))


def pictures_unused(out: Path, is_used: Callable[[str], bool], is_place: Callable[[str], bool]) -> Iterator[str]:
    """The names of the pictures in an output folder that may be removed.

    is_used: whether an account speaks of a picture. is_place: whether a result belongs to a place, which might be named
    like a picture.
    """
    there = PicturesThere(out)
    return (name for name in there if not is_used(name) and not is_place(f"{PICTURES}/{name}"))


def remove_unfinished_files(out: Path) -> None:
    """Remove what a killed program left half written of a report and its pictures."""
    for folder in (out, *(out / PICTURES).glob(PICTURE_FOLDERS)):
        remove_unfinished(folder)
