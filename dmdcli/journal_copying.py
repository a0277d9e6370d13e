"""Rows copied from one journal into another: from that of a folder into those of its shards, and back."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from dmdcli.journal_file import (
    BEGIN_SECONDS,
    DamagedJournalError,
    connect,
    connect_anyway,
    held,
    is_of_today,
    journal_path,
    readable,
)
from dmdcli.shards import Shard


def copy_rows(source: sqlite3.Connection, target: sqlite3.Connection, is_wanted: Callable[[str], bool]) -> None:
    """Put photos of one journal, with all that belongs to them, in place of another's rows: all of it, or nothing.

    is_wanted: tells by the place. People who are not in `target` get the next numbers there. Both are as
    `journal_file.connect` opens them, and raise sqlite3.Error.
    """
    target.execute("BEGIN IMMEDIATE")
    try:
        for settings in source.execute("SELECT * FROM settings"):
            _insert(target, "INSERT OR IGNORE", "settings", dict(settings))
        known = _Known(source, target)
        for photo in source.execute("SELECT * FROM photos ORDER BY number"):
            if is_wanted(os.fsdecode(photo["place"])):
                target.execute("DELETE FROM photos WHERE place = ?", (photo["place"],))
                values = {**photo, "number": None, "known": known.there(photo["known"])}
                number = _insert(target, "INSERT", "photos", values)
                for table in ("faces", "likenesses"):
                    for row in source.execute(f"SELECT * FROM {table} WHERE photo = ?", (photo["number"],)):
                        _insert(target, "INSERT", table, {**row, "photo": number})
        target.execute("COMMIT")
    except BaseException:
        if target.in_transaction:
            target.execute("ROLLBACK")
        raise


def begin_shard(out: Path, shard: Shard, database: sqlite3.Connection) -> list[str]:
    """Give the journal of a shard, if it is new, the rows of the folder's that fall to it; return notes for the user.

    Whoever calls holds the shard. Raises CannotGoOnError and JournalFormatError as `journal_file.connect`.
    """
    with readable(journal_path(out, shard)):
        is_new = database.execute("SELECT 1 FROM photos LIMIT 1").fetchone() is None
    if not is_new or not journal_path(out).is_file():
        return []
    merged, notes = _open_beside_others(out)
    with closing(merged), readable(journal_path(out, shard)):
        copy_rows(merged, database, shard.holds)
    return notes


def _open_beside_others(out: Path) -> tuple[sqlite3.Connection, list[str]]:
    """Open the folder's journal as `connect_anyway` while other shards do: what takes long, all of them do at once."""
    path = journal_path(out)
    try:
        if not is_of_today(path):
            with held(out, seconds=BEGIN_SECONDS):  # an earlier format is upgraded by one program alone
                connect(path, create=False, all_through=False).close()
        return connect(path, create=False), []
    except DamagedJournalError:
        with held(out, seconds=BEGIN_SECONDS):  # put aside by one program; the others find the new one
            return connect_anyway(path)


def _insert(database: sqlite3.Connection, how: str, table: str, values: Mapping[str, object]) -> int | None:
    columns, marks = ", ".join(values), ", ".join("?" * len(values))
    return database.execute(f"{how} INTO {table} ({columns}) VALUES ({marks})", tuple(values.values())).lastrowid


class _Known:
    """What `photos.known` of one journal is in another, whose people came in another order and are more."""

    def __init__(self, source: sqlite3.Connection, target: sqlite3.Connection) -> None:
        people = "SELECT number, id FROM people ORDER BY number"
        self._here = source.execute(people).fetchall()
        for _, person in self._here:
            target.execute("INSERT INTO people (id) SELECT ? WHERE ? NOT IN (SELECT id FROM people)", (person, person))
        self._there = target.execute(people).fetchall()
        self._told: dict[int, int] = {}

    def there(self, known: int | None) -> int | None:
        """The highest number up to which everybody was looked for: nobody counts as looked for who was not."""
        if known is None:
            return None
        if known not in self._told:
            looked_for = {person for number, person in self._here if number <= known}
            self._told[known] = 0
            for number, person in self._there:
                if person not in looked_for:
                    break
                self._told[known] = number
        return self._told[known]
