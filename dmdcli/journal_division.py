"""What is known of a collection's shards: what each was asked for and given, and whether its run came to its end."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from dmdcli.journal_file import readable
from dmdcli.shards import Shard

TABLE = """
CREATE TABLE IF NOT EXISTS shards (
  count INTEGER NOT NULL, number INTEGER NOT NULL,
  settings TEXT, weights TEXT, kit TEXT,
  begun TEXT, ended TEXT, photos INTEGER, places TEXT,
  PRIMARY KEY (count, number)
)"""
"""In a shard's journal its own row; in the folder's those of the last division, once they are merged. A journal without
it has the same format: who does not know it loses nothing but what is told here."""
COLUMNS = "settings, weights, kit, begun, ended, photos, places"


class Asked(NamedTuple):
    """What a shard was asked for: digest of the settings, ids of the networks, as `journal.PhotoRow`."""

    settings: str
    weights: str
    kit: str


@dataclass(frozen=True)
class ShardRow:
    """One shard, as its last run left it.

    asked: None where a run was killed before it said so. begun, ended: ISO 8601, UTC; `ended` is None while it runs,
    and stays so if it is stopped. photos: how many there were in the whole collection, and places: digest of where
    their results belong; both None until it ends.
    """

    shard: Shard
    asked: Asked | None = None
    begun: str | None = None
    ended: str | None = None
    photos: int | None = None
    places: str | None = None


@dataclass(frozen=True)
class Division:
    """The shards of an output folder, in order, those of which nothing is known left out."""

    rows: tuple[ShardRow, ...] = ()

    @property
    def missing(self) -> list[Shard]:
        """Those of which nothing is known."""
        here = {row.shard for row in self.rows}
        every = {Shard(one.count, number) for one in here for number in range(1, one.count + 1)}
        return sorted(every - here)

    @property
    def stopped(self) -> list[Shard]:
        """Those whose last run did not come to its end."""
        return [row.shard for row in self.rows if row.ended is None]

    @property
    def asked(self) -> dict[Asked, list[Shard]]:
        """What was asked for, and of which shards; if it is not one thing, photos are done twice or by nobody."""
        found: dict[Asked, list[Shard]] = {}
        for row in self.rows:
            if row.asked is not None:
                found.setdefault(row.asked, []).append(row.shard)
        return found

    @property
    def latest(self) -> ShardRow | None:
        """The shard that began last of those that ended."""
        return max((row for row in self.rows if row.ended), key=lambda row: row.begun or "", default=None)

    @property
    def outdated(self) -> list[ShardRow]:
        """Those that ended and were given other photos than `latest`, as after photos came or went."""
        latest = self.latest
        if latest is None or len(self.asked) > 1:  # another --ext has other places
            return []
        return [row for row in self.rows if row.ended and row.places != latest.places]


class Share:
    """What one run does of a collection, all of it or a shard, and the mark of its end in the journal.

    What the journal cannot keep raises CannotGoOnError.
    """

    def __init__(self, database: sqlite3.Connection, path: Path, shard: Shard | None) -> None:
        self._database, self._path, self._shard = database, path, shard
        self._photos = self._places = 0

    def holds(self, place: str) -> bool:
        """Whether a photo falls to the run; to be asked once of each photo of the whole collection, in any order."""
        self._photos += 1
        if self._shard is None:
            return True
        digest = hashlib.sha256(os.fsencode(place)).digest()
        self._places = (self._places + int.from_bytes(digest, "big")) % (1 << 256)
        return self._shard.holds(place)

    def begin(self, settings: str, weights: str, kit: str) -> None:
        """Say of a shard what it is asked for, as `Asked`, and that it is at work."""
        if self._shard is not None:
            with readable(self._path):
                self._database.execute(TABLE)
                self._database.execute(
                    "INSERT OR REPLACE INTO shards (count, number, settings, weights, kit, begun) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (self._shard.count, self._shard.number, settings, weights, kit, _now()),
                )

    def end(self) -> None:
        """Say of a shard that every photo was seen; a run of all, if of no fewer photos, takes the place of shards."""
        with readable(self._path):
            if self._shard is not None:
                self._database.execute(
                    "UPDATE shards SET ended = ?, photos = ?, places = ? WHERE count = ? AND number = ?",
                    (_now(), self._photos, f"{self._places:064x}", self._shard.count, self._shard.number),
                )
            elif self._database.execute("SELECT 1 FROM sqlite_master WHERE name = 'shards'").fetchone():
                self._database.execute(
                    "DELETE FROM shards WHERE (SELECT coalesce(max(photos), 0) FROM shards) <= ?", (self._photos,)
                )


def read_division(database: sqlite3.Connection) -> Division:
    """The shards that a journal knows. sqlite3.Error where it cannot be read."""
    database.execute(TABLE)
    rows = database.execute(f"SELECT count, number, {COLUMNS} FROM shards ORDER BY count, number").fetchall()
    return Division(tuple(_row(Shard(one["count"], one["number"]), one) for one in rows))


def keep_divisions(database: sqlite3.Connection, counts: Collection[int]) -> None:
    """Remove the shards of other divisions than those into so many parts. sqlite3.Error."""
    database.execute(TABLE)
    database.execute(f"DELETE FROM shards WHERE count NOT IN ({', '.join('?' * len(counts))})", tuple(counts))


def copy_shard(shard: Shard, source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Put what a shard's journal says of itself into the folder's: of one killed too early, that it did not end.

    Raises sqlite3.Error.
    """
    for database in (source, target):
        database.execute(TABLE)
    key = (shard.count, shard.number)
    found = source.execute(f"SELECT {COLUMNS} FROM shards WHERE count = ? AND number = ?", key).fetchone()
    target.execute(
        f"INSERT OR REPLACE INTO shards (count, number, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*key, *(found or (None,) * 7)),
    )


def _row(shard: Shard, found: sqlite3.Row) -> ShardRow:
    settings, weights, kit, *rest = (found[column] for column in COLUMNS.split(", "))
    return ShardRow(shard, None if settings is None else Asked(settings, weights, kit), *rest)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")
