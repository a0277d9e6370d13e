"""The catalogue: what the references of enrolled people came to when they were last read.

With it a library of many people is known without reading any picture: a person whose reference files are those that
were read, as far as their sizes and times tell, has the version and the embeddings that were found then. It is a cache
in one SQLite file, which may be thrown away at any time; it holds no name. `docs/library-format.md` describes it.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt

FORMAT = 1
"""Version of the catalogue; one of another version is made again."""
FILE = "catalogue.sqlite"
SCHEMA = """
CREATE TABLE IF NOT EXISTS known (
    person TEXT NOT NULL, kit TEXT NOT NULL, content BLOB NOT NULL, PRIMARY KEY (person, kit)
)
"""
SETTLED = 2_000_000_000
"""Nanoseconds that must lie between the last change of a file and a look at its times: a file that changes twice within
a tick of the clock (2 seconds on FAT) has the same times both times."""
WAIT = 5.0
"""Seconds to wait for another program that has the catalogue."""
BATCH = 256
"""People after whom what was read is kept, so that little is lost when the program is stopped."""
DIGEST = 32
"""Bytes of a mark, and of a version."""
EMBEDDINGS = 4 + 2 * DIGEST + 4
"""Bytes of a row before its embeddings."""


@dataclass(frozen=True)
class Known:
    """What is known of a person. version: as `Library.version`. embeddings: (N, D) float32, a row per reference."""

    version: str
    embeddings: npt.NDArray[np.float32]


def stamp(path: str | Path) -> bytes | None:
    """What changes when a file does: its size and both its times, packed. To be asked for before the file is read.

    None for a file that is not there, or changed so lately that it may change again and have the same stamp.
    """
    now = time.time_ns()
    try:
        status = os.stat(path)  # noqa: PTH116 (called for every file of the library; a Path takes twice as long)
    except OSError:
        return None
    if max(status.st_mtime_ns, status.st_ctime_ns) > now - SETTLED:
        return None
    return struct.pack("<3q", status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def mark(folder: Path, references: Iterable[str]) -> bytes | None:
    """Names the reference files of a person as they are now, in this order, without reading them: 32 bytes.

    folder: where they lie. references: their ids. None where one of them has no `stamp`.
    """
    digest = sha256()
    for reference in references:
        crop, points = stamp(f"{folder}/{reference}.png"), stamp(f"{folder}/{reference}.txt")
        if crop is None or points is None:
            return None
        digest.update(b"%s %s%s" % (reference.encode(), crop, points))
    return digest.digest()


class Catalogue:
    """The catalogue of the library in the folder `home`. It is made when there is something to keep.

    One that is damaged is thrown away; one that cannot be read or written is done without.
    """

    def __init__(self, home: Path) -> None:
        self._people = home / "people"
        self._path = home / FILE

    def recall(self, kit: str, marks: Mapping[str, bytes | None], read: Callable[[str], Known]) -> dict[str, Known]:
        """Return what is known of people, in the order of `marks`, and keep what was not known before.

        kit: the name of the kit that made the embeddings. marks: id of a person -> `mark` of their references. read:
        called with the ids of those who are not in the catalogue with this mark.
        """
        found, kept = self._find(kit, marks)
        unknown = [person for person in marks if person not in found]
        fresh: dict[str, Known] = {}
        for first in range(0, len(unknown), BATCH):
            batch = {person: read(person) for person in unknown[first : first + BATCH]}
            lasting = {one: (name, known) for one, known in batch.items() if (name := marks[one]) is not None}
            if lasting:
                self._keep(kit, lasting)
            fresh |= batch
        if not kept <= self._enrolled():
            self._keep(kit, {})
        return {person: found.get(person) or fresh[person] for person in marks}

    def versions(self, marks: Mapping[str, bytes | None]) -> dict[str, str]:
        """The versions of those who are in the catalogue with these marks, by whichever kit; `marks` as in `recall`."""
        found: dict[str, str] = {}
        if not self._path.exists():
            return found
        try:
            with self._opened() as database:
                for person, kit, row in database.execute("SELECT person, kit, content FROM known"):
                    name = marks.get(person)
                    known = None if name is None else _unpack(person, kit, name, row)
                    if known is not None:
                        found[person] = known.version
        except sqlite3.Error as error:
            self._mend(error)
            return {}
        return found

    def forget(self, people: Iterable[str]) -> None:
        """Leave nothing of these people, by their ids, in the file; OSError where it cannot even be thrown away."""
        if not self._path.exists():
            return
        try:
            with self._writing() as database:
                database.executemany("DELETE FROM known WHERE person = ?", [(person,) for person in people])
        except sqlite3.Error:
            self._throw_away()

    def _find(self, kit: str, marks: Mapping[str, bytes | None]) -> tuple[dict[str, Known], set[str]]:
        """Those who are in the catalogue with this mark, and the ids of all who are in it."""
        found: dict[str, Known] = {}
        if not self._path.exists():
            return found, set()
        try:
            with self._opened() as database:
                database.execute("BEGIN")
                kept = {person for (person,) in database.execute("SELECT DISTINCT person FROM known")}
                for person, name in marks.items():
                    asked = database.execute("SELECT content FROM known WHERE person = ? AND kit = ?", (person, kit))
                    known = None if name is None else _unpack(person, kit, name, *(asked.fetchone() or (None,)))
                    if known is not None:
                        found[person] = known
        except sqlite3.Error as error:
            self._mend(error)
            return {}, set()
        return found, kept

    def _keep(self, kit: str, fresh: Mapping[str, tuple[bytes, Known]]) -> None:
        """Put people in; take out those who are not enrolled any more."""
        try:
            with self._writing() as database:
                enrolled = self._enrolled()  # whoever is forgotten from now on, is taken out after this
                kept = {person for (person,) in database.execute("SELECT DISTINCT person FROM known")}
                database.executemany("DELETE FROM known WHERE person = ?", [(one,) for one in kept - enrolled])
                database.executemany(
                    "INSERT OR REPLACE INTO known VALUES (?, ?, ?)",
                    [(one, kit, _pack(one, kit, *each)) for one, each in fresh.items() if one in enrolled],
                )
        except sqlite3.Error as error:
            self._mend(error)
        except OSError:
            pass  # made again next time

    def _enrolled(self) -> set[str]:
        try:
            return set(os.listdir(self._people))  # noqa: PTH208 (names are all that is wanted)
        except OSError:
            return set()

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """The file, which must be there."""
        address = f"{self._path.absolute().as_uri()}?mode=rw"  # one that is read-only is taken for what it is
        with closing(sqlite3.connect(address, uri=True, isolation_level=None, timeout=WAIT)) as database:
            database.execute("PRAGMA secure_delete = ON")  # what is taken out is overwritten
            database.text_factory = os.fsdecode  # damaged text is an id of nobody, no error
            (found,) = database.execute("PRAGMA user_version").fetchone()
            if found not in (0, FORMAT):
                raise sqlite3.DatabaseError("a catalogue of another version")
            yield database

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """The file, made if missing, for nobody else; what is done is done whole or not at all."""
        with suppress(FileExistsError):
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with self._opened() as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute(SCHEMA)
            database.execute(f"PRAGMA user_version = {FORMAT}")
            yield database
            database.execute("COMMIT")

    def _mend(self, error: sqlite3.Error) -> None:
        """Throw away a file that is no catalogue, so that it is made again; a full disk or a lock is not its fault."""
        if type(error) is sqlite3.DatabaseError:
            with suppress(OSError):
                self._throw_away()

    def _throw_away(self) -> None:
        for path in (self._path, self._path.with_name(f"{FILE}-journal")):
            path.unlink(missing_ok=True)


def _pack(person: str, kit: str, name: bytes, known: Known) -> bytes:
    """A row: a checksum of whose it is and of the rest; the mark; the version; numbers of an embedding; all of them."""
    rows = np.ascontiguousarray(known.embeddings, "<f4")
    content = name + bytes.fromhex(known.version) + struct.pack("<I", rows.shape[1]) + rows.tobytes()
    return struct.pack("<I", _checksum(person, kit, content)) + content


def _unpack(person: str, kit: str, name: bytes, row: object) -> Known | None:
    """What is known of a person; None where the row is damaged, or was made of other files than `name` says."""
    if not isinstance(row, bytes) or len(row) < EMBEDDINGS:
        return None
    (checksum,) = struct.unpack_from("<I", row)
    if checksum != _checksum(person, kit, row[4:]) or row[4 : 4 + DIGEST] != name:
        return None
    (length,) = struct.unpack_from("<I", row, EMBEDDINGS - 4)
    rows = np.frombuffer(row, "<f4", offset=EMBEDDINGS).reshape(-1, length)
    return Known(row[4 + DIGEST : 4 + 2 * DIGEST].hex(), rows.astype(np.float32, copy=False))


def _checksum(person: str, kit: str, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(f"{person} {kit}".encode()))
