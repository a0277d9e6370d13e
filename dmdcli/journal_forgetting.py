"""Forgetting people in the journal of an output folder, so that not a byte of their ids is left in its file."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmdcli.errors import JournalFormatError, UsageError
from dmdcli.journal_file import DamagedJournalError, check_division, connect, journal_path, locked, readable

NOBODY = ""
"""Stands in the journal where the id of somebody forgotten stood: nobody is enrolled with it, so the next run takes the
photo for one that shows somebody forgotten, and makes it again."""
FILE_NAMES = {"place", "photo"}
"""Columns of the table of photos that hold names of files, which stay."""


@dataclass(frozen=True)
class ShownIn:
    """A photo that shows somebody. place: of its result below the output folder. restored: a result was made."""

    place: str
    restored: bool


class ForgetfulJournal:
    """The journal of an output folder, held against every other run; see `opened_to_forget`.

    Its methods raise CannotGoOnError where it cannot be read or written.
    """

    def __init__(self, out: Path, database: sqlite3.Connection) -> None:
        self.out = out
        self.database = database

    def people(self) -> set[str]:
        """The ids of everybody who was ever looked for."""
        with readable(journal_path(self.out)):
            found = self.database.execute("SELECT id FROM people UNION SELECT person FROM faces WHERE person != ''")
            return {one for (one,) in found}

    def photos_of(self, ids: Collection[str]) -> list[ShownIn]:
        """The photos in which one of these people was recognised, by place."""
        with readable(journal_path(self.out)):
            found = self.database.execute(
                "SELECT DISTINCT place, photos.result, output_digest FROM photos "
                f"JOIN faces ON faces.photo = photos.number WHERE person IN {_marks(ids)} ORDER BY place",
                tuple(ids),
            ).fetchall()
        return [ShownIn(os.fsdecode(place), result == "restored" and bool(made)) for place, result, made in found]

    def places(self) -> list[str]:
        """The places of all photos."""
        with readable(journal_path(self.out)):
            return [os.fsdecode(place) for (place,) in self.database.execute("SELECT place FROM photos")]

    def accounts(self) -> Iterator[Mapping[str, Any]]:
        """The accounts of all faces of all photos."""
        with readable(journal_path(self.out)):
            for (account,) in self.database.execute("SELECT account FROM faces"):
                yield json.loads(account)

    def forget(self, ids: Collection[str], name: str) -> None:
        """Remove what is known of these people. name: what they were called; reasons with it in them go, too.

        Of a face of theirs stays where it is and what was done, and of a photo that shows them no picture is named.
        """
        theirs, execute = f"person IN {_marks(ids)}", self.database.execute
        with readable(journal_path(self.out)):
            execute("BEGIN IMMEDIATE")
            try:
                faces = execute(
                    "SELECT photo, number, person, account FROM faces "
                    f"WHERE photo IN (SELECT photo FROM faces WHERE {theirs})",
                    tuple(ids),
                ).fetchall()
                for photo, number, person, account in faces:
                    kept = _without_pictures(json.loads(account), whole=person in ids)
                    execute("UPDATE faces SET account = ? WHERE photo = ? AND number = ?", (kept, photo, number))
                execute(
                    f"UPDATE faces SET person = ?, version = ?, similarity = 0, after = NULL WHERE {theirs}",
                    (NOBODY, NOBODY, *ids),
                )
                execute(f"DELETE FROM likenesses WHERE {theirs}", tuple(ids))
                execute(f"DELETE FROM people WHERE id IN {_marks(ids)}", tuple(ids))
                self._remove_reasons(name)
                self._remove_everywhere(ids)
                execute("COMMIT")
            except BaseException:
                if self.database.in_transaction:
                    execute("ROLLBACK")
                raise
            execute("VACUUM")  # where SQLite moved rows to other pages it overwrote nothing

    def _remove_reasons(self, name: str) -> None:
        """Remove what was said in words of a face and has the name in it."""
        named = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.IGNORECASE)
        said = self.database.execute("SELECT photo, number, reason FROM faces WHERE reason != '[]'").fetchall()
        for photo, number, reason in said:
            reasons = json.loads(reason)
            kept = [one for one in reasons if not named.search(one)]
            if kept != reasons:
                self.database.execute(
                    "UPDATE faces SET reason = ? WHERE photo = ? AND number = ?",
                    (json.dumps(kept, ensure_ascii=False), photo, number),
                )

    def _remove_everywhere(self, ids: Collection[str]) -> None:
        """Remove the ids wherever else they stand, as in the settings of a run for these people alone."""
        tables = [one for (one,) in self.database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = [(one, kind) for _, one, kind, *_ in self.database.execute(f"PRAGMA table_info({table})")]
            for column in (one for one, kind in columns if kind == "TEXT" and one not in FILE_NAMES):
                for person in ids:
                    self.database.execute(
                        f"UPDATE {table} SET {column} = replace({column}, ?, ?) WHERE instr({column}, ?)",
                        (person, NOBODY, person),
                    )


@contextmanager
def opened_to_forget(out: Path) -> Iterator[ForgetfulJournal]:
    """The journal of an output folder, which every other run is kept out of.

    Raises UsageError where there is no journal or those of shards are not merged, JournalFormatError for one that is
    damaged or of a newer version, CannotGoOnError where another run has the folder or nothing can be written there.
    """
    path = journal_path(out)
    check_division(out)
    if not path.is_file():
        raise UsageError(f"{out} is no folder that `dmd restore` wrote to: there is no {path.relative_to(out)} in it.")
    with locked(out):
        try:
            database = connect(path, create=False)
        except DamagedJournalError as damage:
            raise JournalFormatError(
                f"The journal {path} is damaged ({damage}), so what it says of anybody cannot be told. Remove it "
                "yourself, then run the same command again without this folder."
            ) from damage
        with closing(database):
            yield ForgetfulJournal(out, database)


def files_with(out: Path, ids: Collection[str]) -> list[Path]:
    """The files beside a journal in which one of the ids stands; damaged journals that were put aside are the ones."""
    wanted = [one.encode() for one in ids]
    files = (path for path in sorted(journal_path(out).parent.iterdir()) if path.is_file() and path.name != "lock")
    return [path for path in files if any(one in path.read_bytes() for one in wanted)]


def _marks(ids: Collection[str]) -> str:
    return f"({', '.join('?' * len(ids))})"


def _without_pictures(account: Mapping[str, Any], *, whole: bool) -> str:
    """An account without the pictures of the whole photo. whole: without anything but the photo's size."""
    size = {key: value for key, value in account.get("photo", {}).items() if key == "size"}
    rest = {} if whole else {key: value for key, value in account.items() if key != "photo"}
    return json.dumps({**rest, **({"photo": size} if size else {})}, ensure_ascii=False)
