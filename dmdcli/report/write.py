"""Writes report.html, report.jsonl and report.csv into an output folder, all from one reading of its journal."""

from __future__ import annotations

import base64
import codecs
import csv
import hashlib
import html
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, BinaryIO

from dmdcli import __version__
from dmdcli.errors import CannotGoOnError, UsageError
from dmdcli.files import whole_file
from dmdcli.journal import Journal, now, numbered
from dmdcli.places import PICTURES, REPORT
from dmdcli.report.facts import COLUMNS, facts_of, settings_of, skipped_facts, table_rows
from dmdcli.report.roll import Roll
from dmdcli.report_files import (
    REPORTS,
    PicturesThere,
    is_report,
    pictures_of,
    pictures_unused,
    remove_unfinished_files,
)

MOST_IN_ONE_FILE = 200
"""Photos that --single-file takes: their pictures are some 300 kB each."""
NOT_SHOWN = ("schema", "photo")
"""Facts that report.html leaves out: it may be given away, and the second names folders of this computer."""
IN_MARKUP = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
"""What must not stand in a script element, and how JSON can say it otherwise."""


@dataclass(frozen=True)
class Told:
    """What the report is to hold besides the journal.

    names: id -> name of the people to be called by name; the others are numbered. single_file: all pictures are in
    report.html. seconds: that the last run took.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    single_file: bool = False
    seconds: float | None = None


def check_report_places(out: Path) -> None:
    """Refuse, with UsageError, to replace files that have the names of the report and are not one; CannotGoOnError."""
    for name in REPORTS:
        try:
            is_foreign = bool((out / name).stat().st_size) and not is_report(out / name)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise CannotGoOnError(
                f"{out / name} cannot be read ({error.strerror}). Mend that, or leave the report out: --no-report."
            ) from error
        if is_foreign:
            raise UsageError(f"{out / name} was not made by dmd. Rename it, or leave the report out: --no-report.")


def check_single_file(photos: int) -> None:
    """Refuse, with UsageError, more photos than one file can hold."""
    if photos > MOST_IN_ONE_FILE:
        raise UsageError(
            f"--single-file is for up to {MOST_IN_ONE_FILE} photos, and there are {photos}. Without it the report is "
            f"{REPORT} and the folder {PICTURES}."
        )


def write_report(journal: Journal, told: Told = Told(), roll: Roll | None = None) -> Path:
    """Write the three files whole or not at all, remove pictures no longer in use, and return report.html's path.

    roll: of a run, with what it left alone; filled with what the report speaks of. The journal is read photo by photo,
    and nothing is kept in memory of a photo that is written.
    Raises UsageError as the two checks do, CannotGoOnError and PhotoWriteError.
    """
    if roll is None:
        with closing(Roll()) as fresh:
            return write_report(journal, told, fresh)
    check_report_places(journal.out)
    folder = journal.out / PICTURES
    there = PicturesThere(journal.out)
    for one in journal.renames.results():
        roll.leave_alone(one.place, one.photo, one.reason)
    places = roll.call(journal.places())
    if told.single_file:
        check_single_file(roll.count())
    remove_unfinished_files(journal.out)
    overview = _Overview()
    with ExitStack() as stack:
        page, lines, table = (stack.enter_context(whole_file(journal.out / name)) for name in REPORTS)
        head, tail = _page()
        page.write(head)
        _write_row(table, COLUMNS, start=codecs.BOM_UTF8)
        for number, facts in enumerate(_facts(journal, places, told, there, overview, roll)):
            lines.write(_json(facts) + b"\n")
            for row in table_rows(facts):
                _write_row(table, row)
            shown = {key: value for key, value in facts.items() if key not in NOT_SHOWN}
            page.write((b",\n" if number else b"") + _shown(shown))
        pictures = _embedded(folder, [name for name in roll.pictures() if name in there]) if told.single_file else None
        page.write(b'\n],\n"pictures": ' + _shown(pictures))
        page.write(b',\n"overview": ' + _shown(overview.shown(journal, told)) + b"}" + tail)
    for name in pictures_unused(journal.out, roll.uses, roll.is_place):
        (folder / name).unlink(missing_ok=True)
    return journal.out / REPORT


@dataclass
class _Overview:
    """Gathered while the photos are read: digests of settings, and when the first and the last were finished."""

    settings: dict[str, None] = field(default_factory=dict)
    first: str | None = None
    last: str | None = None

    def see(self, settings: str | None, finished: str | None) -> None:
        if settings is not None:
            self.settings[settings] = None
        if finished:
            self.first = min(self.first or finished, finished)
            self.last = max(self.last or finished, finished)

    def shown(self, journal: Journal, told: Told) -> dict[str, object]:
        return {
            "version": __version__,
            "written": now(),
            "first": self.first,
            "last": self.last,
            "seconds": None if told.seconds is None else round(told.seconds, 1),
            "settings": settings_of([journal.settings(digest) for digest in self.settings]),
            "named": bool(told.names),
            "folder": PICTURES,
        }


def _facts(
    journal: Journal, places: Iterable[str], told: Told, there: PicturesThere, overview: _Overview, roll: Roll
) -> Iterator[dict[str, Any]]:
    """The facts of one photo after the other; what they say of the whole is noted on the way."""
    called = _called(journal, told.names)
    for place in places:
        row, skipped = journal.row(place), roll.left_alone(place)
        if row is not None:
            overview.see(row.settings, row.finished)
            roll.use(name for face in row.faces for name in pictures_of(face.account))
            yield facts_of(row, called, there, None if skipped is None else skipped[1])
        elif skipped is not None:
            yield skipped_facts(place, *skipped)


def _called(journal: Journal, names: Mapping[str, str]) -> Callable[[str], str]:
    numbers = journal.people()
    return lambda person: names.get(person) or numbered(person, numbers)


def _json(value: object) -> bytes:
    """A value on one line; names that are no text as JSON escapes."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace")


def _shown(value: object) -> bytes:
    """A value as it may stand in a script element of a page."""
    text = _json(value).decode()
    for character, escape in IN_MARKUP.items():
        text = text.replace(character, escape)
    return text.encode()


def _write_row(table: BinaryIO, row: object, start: bytes = b"") -> None:
    line = io.StringIO(newline="")
    csv.writer(line).writerow(row)  # type: ignore[arg-type]
    table.write(start + line.getvalue().encode("utf-8", "backslashreplace"))


def _embedded(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Name -> the picture, as an address that holds it."""
    return {name: "data:image/jpeg;base64," + base64.b64encode((folder / name).read_bytes()).decode() for name in names}


def _page() -> tuple[bytes, bytes]:
    """What stands before the photos in report.html, and what after the overview."""
    static = files("dmdcli.report") / "static"
    markup, style, script = (
        (static / name).read_text(encoding="utf-8") for name in ("report.html", "report.css", "report.js")
    )
    shared = (files("dmdcli") / "static" / "elements.js").read_text(encoding="utf-8")
    for mark, text in (("STYLE", style), ("SCRIPT", f"{shared}\n{script}")):
        markup = markup.replace(f"{{{mark}_DIGEST}}", _digest(text)).replace(f"{{{mark}}}", text)
    head, tail = markup.replace("{VERSION}", html.escape(__version__)).split("{RECORDS}")
    return head.encode(), tail.encode()


def _digest(text: str) -> str:
    """Names a style or a script in the page's own policy, which lets nothing else act."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
