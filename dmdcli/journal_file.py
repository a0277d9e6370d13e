"""The journal's file: its tables, opening it, what to do with a damaged one, and the lock of the output folder."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import filelock

from dmdcli.errors import CannotGoOnError, JournalFormatError

FORMAT = 2
"""Version of the file, its `user_version`; a higher one is refused, a lower one upgraded."""
FOLDER = ".dmd"
"""Where it lies below the output folder; hidden folders are never taken for photos."""
NAME = "journal.sqlite"
SETTINGS = ("journal_mode = TRUNCATE", "synchronous = NORMAL", "secure_delete = ON", "foreign_keys = ON")
"""Of every connection. Truncating the rollback journal instead of removing it, and NORMAL, save half of the waiting for
the disk; what a power cut could damage is told from the content, see `DamagedJournalError`."""
LOCK_SECONDS = 10.0
"""How long SQLite waits for a program that is reading the journal."""

SCHEMA = """
CREATE TABLE settings (digest TEXT PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE people (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE);
CREATE TABLE photos (
  number INTEGER PRIMARY KEY,
  place TEXT NOT NULL UNIQUE,
  photo TEXT NOT NULL,
  input_digest TEXT, input_size INTEGER, input_modified INTEGER, input_changed INTEGER,
  output_digest TEXT, output_size INTEGER, output_modified INTEGER, output_changed INTEGER,
  replaced_digest TEXT,
  settings TEXT, weights TEXT, kit TEXT, known INTEGER,
  result TEXT NOT NULL, reason TEXT,
  finished TEXT,
  said TEXT
);
CREATE TABLE faces (
  photo INTEGER NOT NULL REFERENCES photos ON DELETE CASCADE,
  number INTEGER NOT NULL,
  box TEXT NOT NULL, matrix TEXT NOT NULL,
  person TEXT, version TEXT, similarity REAL,
  result TEXT NOT NULL, reason TEXT,
  usable INTEGER NOT NULL DEFAULT 1, strength REAL NOT NULL DEFAULT 0, after REAL,
  account TEXT NOT NULL DEFAULT '{}',
  PRIMARY KEY (photo, number)
);
CREATE TABLE likenesses (
  photo INTEGER NOT NULL REFERENCES photos ON DELETE CASCADE,
  face INTEGER NOT NULL,
  person TEXT NOT NULL, version TEXT NOT NULL, similarity REAL NOT NULL,
  PRIMARY KEY (photo, face, person)
);
"""
UPGRADES = {
    1: """
ALTER TABLE photos ADD COLUMN said TEXT;
ALTER TABLE faces ADD COLUMN usable INTEGER NOT NULL DEFAULT 1;
ALTER TABLE faces ADD COLUMN strength REAL NOT NULL DEFAULT 0;
ALTER TABLE faces ADD COLUMN after REAL;
ALTER TABLE faces ADD COLUMN account TEXT NOT NULL DEFAULT '{}';
"""
}
"""Format -> what makes it the next one."""
TABLES = frozenset({"settings", "people", "photos", "faces", "likenesses"})


def journal_path(out: Path) -> Path:
    """Where the journal of an output folder lies."""
    return out / FOLDER / NAME


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold the lock of an output folder, which is made if missing; the system frees it when a program is killed.

    Raises CannotGoOnError where another run holds it or nothing can be written.
    """
    try:
        (out / FOLDER).mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(out / FOLDER / "lock")
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise CannotGoOnError(
            f"Another dmd is restoring into {out}. Wait for it to end, or choose another folder with --out."
        ) from error
    except (OSError, NotImplementedError) as error:  # the second: a file system without locks
        said = getattr(error, "strerror", None) or error
        raise CannotGoOnError(f"{out} cannot be written to ({said}). Choose another folder with --out.") from error
    try:
        yield
    finally:
        lock.release()


class DamagedJournalError(Exception):
    """The file is no journal, or not a whole one, found when it was opened."""


def connect(path: Path | None, create: bool = True) -> sqlite3.Connection:
    """Open a journal and look whether it can be used; None for one in memory."""
    address = "file::memory:" if path is None else path.absolute().as_uri() + ("?mode=rwc" if create else "?mode=rw")
    with _opening(path):
        database = sqlite3.connect(address, uri=True, isolation_level=None, timeout=LOCK_SECONDS)
        try:
            database.row_factory = sqlite3.Row
            for setting in SETTINGS:
                database.execute(f"PRAGMA {setting}")
            _check(database, path)
        except BaseException:
            database.close()
            raise
    return database


def copied(path: Path) -> sqlite3.Connection:
    """A copy in memory of a journal, in today's format; the file keeps its own.

    Nothing is written to it, unless a killed run left it half written: then SQLite undoes that, as for every reader.
    Raises DamagedJournalError, CannotGoOnError where it cannot be read, JournalFormatError for one of a newer version.
    """
    memory = connect(None)
    try:
        with _opening(path):
            address = f"{path.absolute().as_uri()}?mode=rw"  # SQLite takes a file that is read-only for what it is
            with closing(sqlite3.connect(address, uri=True, timeout=LOCK_SECONDS)) as database:
                database.backup(memory)
            _check(memory, path)
    except BaseException:
        memory.close()
        raise
    return memory


@contextmanager
def _opening(path: Path | None) -> Iterator[None]:
    """Say why a journal cannot be opened."""
    try:
        yield
    except sqlite3.Error as error:
        if type(error) is sqlite3.DatabaseError:  # its kinds stand for a disk, a lock: the file itself may be sound
            raise DamagedJournalError(str(error)) from error
        raise CannotGoOnError(
            f"The journal {path} cannot be opened ({error}). Look at the disk, its room and permissions, then run the "
            "same command again."
        ) from error


@contextmanager
def readable(out: Path) -> Iterator[None]:
    """Say, with CannotGoOnError, why the journal of an output folder, once opened, cannot be read or written."""
    try:
        yield
    except sqlite3.Error as error:
        raise CannotGoOnError(
            f"The journal {journal_path(out)} cannot be read or written ({error}). Look at the disk, its room and "
            "permissions, then run the same command again."
        ) from error


def _check(database: sqlite3.Connection, path: Path | None) -> None:
    """Make the tables of a new journal; refuse one of a newer version; DamagedJournalError."""
    (found,) = database.execute("PRAGMA user_version").fetchone()
    if found > FORMAT:
        raise JournalFormatError(
            f"The journal {path} has format {found}; this version of dmd reads up to format {FORMAT}. Install a newer "
            "dmd, or choose another folder with --out."
        )
    (said,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if said != "ok":
        raise DamagedJournalError(said)
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables and found == 0:
        database.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT;")
        return
    if found < 1 or not tables >= TABLES:
        raise DamagedJournalError("it holds something else")
    for before in range(found, FORMAT):
        database.executescript(f"BEGIN IMMEDIATE; {UPGRADES[before]} PRAGMA user_version = {before + 1}; COMMIT;")


def put_aside(path: Path) -> Path:
    """Rename a damaged journal, and what SQLite left beside it, and return its new place."""
    number = 1
    while (kept := path.with_name(f"journal-damaged-{number}.sqlite")).exists():
        number += 1
    try:
        for ending in ("-journal", "-wal", "-shm"):
            beside = path.with_name(path.name + ending)
            if beside.exists():
                beside.rename(kept.with_name(kept.name + ending))
        path.rename(kept)
    except OSError as error:
        raise CannotGoOnError(
            f"The journal {path} is damaged and cannot be renamed ({error.strerror}). Remove it yourself."
        ) from error
    return kept
