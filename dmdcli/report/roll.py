"""What is remembered of a collection while its report is made: places, and names of pictures; most of it on disk."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from dmdcli.places import natural_key

TABLES = """
PRAGMA journal_mode = OFF;
CREATE TABLE left_alone (place BLOB PRIMARY KEY, photo BLOB, reason TEXT) WITHOUT ROWID;
CREATE TABLE places (sorting BLOB, place BLOB, PRIMARY KEY (sorting, place)) WITHOUT ROWID;
CREATE TABLE pictures (name TEXT PRIMARY KEY) WITHOUT ROWID;
"""


class Roll:
    """A database in memory as long as it is small, then in a file without a name that is gone when it is closed.

    Places are those of results below the output folder, with "/" between folders.
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(TABLES)

    def leave_alone(self, place: str, photo: Path, reason: str) -> None:
        """Note why the file that is in a photo's place stays as it is."""
        row = (os.fsencode(place), os.fsencode(photo), reason)
        self._database.execute("INSERT OR REPLACE INTO left_alone VALUES (?, ?, ?)", row)

    def left_alone(self, place: str) -> tuple[Path, str] | None:
        """The photo, and the reason; None where nothing was left alone."""
        found = self._database.execute(
            "SELECT photo, reason FROM left_alone WHERE place = ?", (os.fsencode(place),)
        ).fetchone()
        return None if found is None else (Path(os.fsdecode(found[0])), found[1])

    def call(self, places: Iterable[str]) -> Iterator[str]:
        """These places, and those left alone, each once and in natural order."""
        everywhere = "INSERT OR IGNORE INTO places VALUES (?, ?)"
        self._database.executemany(everywhere, ((natural_key(place), os.fsencode(place)) for place in places))
        for (place,) in self._database.execute("SELECT place FROM left_alone").fetchall():
            self._database.execute(everywhere, (natural_key(os.fsdecode(place)), place))
        called = self._database.execute("SELECT place FROM places ORDER BY sorting, place")
        return (os.fsdecode(place) for (place,) in called)

    def count(self) -> int:
        """How many places were called."""
        (number,) = self._database.execute("SELECT count(*) FROM places").fetchone()
        return int(number)

    def use(self, pictures: Iterable[str]) -> None:
        """Note that the report speaks of pictures."""
        self._database.executemany("INSERT OR IGNORE INTO pictures VALUES (?)", ((name,) for name in pictures))

    def uses(self, picture: str) -> bool:
        """Whether the report speaks of a picture."""
        return self._database.execute("SELECT 1 FROM pictures WHERE name = ?", (picture,)).fetchone() is not None

    def pictures(self) -> Iterator[str]:
        """The names of all pictures the report speaks of."""
        return (name for (name,) in self._database.execute("SELECT name FROM pictures ORDER BY name"))

    def is_place(self, place: str) -> bool:
        """Whether a place was called."""
        found = self._database.execute(
            "SELECT 1 FROM places WHERE sorting = ? AND place = ?", (natural_key(place), os.fsencode(place))
        )
        return found.fetchone() is not None

    def close(self) -> None:
        """Forget everything."""
        self._database.close()
