"""The journal's file: its tables, opening it, what to do with a damaged one; locks of the folder and of its shards."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import filelock

from dmdcli.errors import CannotGoOnError, JournalFormatError, UsageError
from dmdcli.shards import Shard

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
BEGIN_SECONDS = 60.0
"""How long a shard waits for others that are beginning, too."""
OF_SHARD = re.compile(r"journal-(?P<number>[0-9]+)-of-(?P<count>[0-9]+)\.sqlite")
"""Names of the journals of shards."""

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


def journal_path(out: Path, shard: Shard | None = None) -> Path:
    """Where the journal of an output folder lies, or that of a shard that was not merged into it yet."""
    return out / FOLDER / (NAME if shard is None else f"journal-{shard.number}-of-{shard.count}.sqlite")


def lock_path(out: Path, shard: Shard | None = None) -> Path:
    """Where the lock of an output folder lies, or that of a shard."""
    return out / FOLDER / ("lock" if shard is None else f"lock-{shard.number}-of-{shard.count}")


def shards_left(out: Path) -> list[Shard]:
    """The shards that began and are not merged yet, in order; CannotGoOnError where nobody can look."""
    return sorted(_shards(out))


def check_division(out: Path, shard: Shard | None = None) -> None:
    """Refuse, with UsageError, an output folder with journals of shards, unless of the division of `shard`."""
    others = [one for one in shards_left(out) if shard is None or one.count != shard.count]
    if others:
        some = ", ".join(str(one) for one in others[:3]) + (", ..." if len(others) > 3 else "")
        raise UsageError(
            f"In {out} there are journals of shards that are not put together yet ({some}). When those have ended, run "
            f"`dmd merge {out}`, then this command again."
        )


def _shards(out: Path) -> Iterator[Shard]:
    """The shards of which there is a journal."""
    try:
        names = [path.name for path in (out / FOLDER).iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise CannotGoOnError(
            f"{out / FOLDER} cannot be read ({error.strerror}). Mend that, then run the same command again."
        ) from error
    for name in names:
        found = OF_SHARD.fullmatch(name)
        if found:
            yield Shard(int(found["count"]), int(found["number"]))


@contextmanager
def locked(out: Path, shard: Shard | None = None) -> Iterator[None]:
    """Hold an output folder, which is made if missing, or a shard of it; the system frees it when a program is killed.

    Shards are held side by side, but not beside the whole folder: of each that began there is a journal, be it empty,
    until it is merged. Raises CannotGoOnError where another run holds it or nothing can be written, and UsageError as
    `check_division`.
    """
    with ExitStack() as stack:
        if shard is None:
            stack.enter_context(held(out))
            check_division(out)
        else:
            with held(out, seconds=BEGIN_SECONDS):
                check_division(out, shard)
                stack.enter_context(held(out, shard))
                with _writing(out):
                    journal_path(out, shard).touch()
        yield


@contextmanager
def held(out: Path, shard: Shard | None = None, seconds: float = 0.0) -> Iterator[None]:
    """Hold the lock of an output folder or of a shard, and nothing else. seconds: how long to wait for it.

    Raises CannotGoOnError as `locked`.
    """
    lock = filelock.FileLock(lock_path(out, shard))
    with _writing(out):
        try:
            lock_path(out).parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=seconds)
        except filelock.Timeout as error:
            raise CannotGoOnError(
                f"Another dmd is at work in {out}. Wait for it to end, then run this command again."
                if shard is None
                else f"Shard {shard} is being restored into {out}. Wait for it to end, then run this command again."
            ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Say why nothing can be written to an output folder."""
    try:
        yield
    except (OSError, NotImplementedError) as error:  # the second: a file system without locks
        said = getattr(error, "strerror", None) or error
        raise CannotGoOnError(
            f"{out} cannot be written to ({said}). Mend that, then run this command again."
        ) from error


class DamagedJournalError(Exception):
    """The file is no journal, or not a whole one, found when it was opened."""


def connect(path: Path | None, create: bool = True, *, all_through: bool = True) -> sqlite3.Connection:
    """Open a journal and look whether it can be used; None for one that is gone when it is closed.

    SQLite keeps that one in memory as long as it is small, then in a file without a name. all_through: read the whole
    file for damage, which takes seconds for a gigabyte.
    """
    address = "" if path is None else path.absolute().as_uri() + ("?mode=rwc" if create else "?mode=rw")
    with _opening(path):
        database = sqlite3.connect(address, uri=True, isolation_level=None, timeout=LOCK_SECONDS)
        try:
            database.row_factory = sqlite3.Row
            for setting in SETTINGS:
                database.execute(f"PRAGMA {setting}")
            _check(database, path, all_through=all_through)
        except BaseException:
            database.close()
            raise
    return database


def connect_anyway(path: Path) -> tuple[sqlite3.Connection, list[str]]:
    """Open a journal as `connect` does; a damaged one is put aside and a new one begun, with a note for the user."""
    try:
        return connect(path), []
    except DamagedJournalError as damage:
        kept = put_aside(path)
        note = (
            f"The journal {path} was damaged ({damage}); it is kept as {kept.name}, and a new one is begun. "
            "Nothing is known any more of what is in the folder: it stays as it is, unless `dmd restore` is given "
            "--overwrite."
        )
        return connect(path), [note]


def is_of_today(path: Path) -> bool:
    """Whether a journal says that it has today's format, which is read off its head. Raises as `connect`."""
    address = f"{path.absolute().as_uri()}?mode=rw"
    with _opening(path), closing(sqlite3.connect(address, uri=True, timeout=LOCK_SECONDS)) as database:
        return bool(database.execute("PRAGMA user_version").fetchone()[0] == FORMAT)


def copied(path: Path) -> sqlite3.Connection:
    """A copy of a journal that is gone when it is closed, in today's format; the file keeps its own.

    Nothing is written to it, unless a killed run left it half written: then SQLite undoes that, as for every reader.
    Raises DamagedJournalError, CannotGoOnError where it cannot be read, JournalFormatError for one of a newer version.
    """
    copy = connect(None)
    try:
        with _opening(path):
            address = f"{path.absolute().as_uri()}?mode=rw"  # SQLite takes a file that is read-only for what it is
            with closing(sqlite3.connect(address, uri=True, timeout=LOCK_SECONDS)) as database:
                database.backup(copy)
            _check(copy, path)
    except BaseException:
        copy.close()
        raise
    return copy


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
def readable(path: Path) -> Iterator[None]:
    """Say, with CannotGoOnError, why a journal, once opened, cannot be read or written."""
    try:
        yield
    except sqlite3.Error as error:
        raise CannotGoOnError(
            f"The journal {path} cannot be read or written ({error}). Look at the disk, its room and "
            "permissions, then run the same command again."
        ) from error


def _check(database: sqlite3.Connection, path: Path | None, *, all_through: bool = True) -> None:
    """Make the tables of a new journal; refuse one of a newer version; DamagedJournalError."""
    (found,) = database.execute("PRAGMA user_version").fetchone()
    if found > FORMAT:
        raise JournalFormatError(
            f"The journal {path} has format {found}; this version of dmd reads up to format {FORMAT}. Install a newer "
            "dmd."
        )
    said = database.execute("PRAGMA quick_check(1)").fetchone()[0] if all_through else "ok"
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
    while (kept := path.with_name(f"{path.stem}-damaged-{number}.sqlite")).exists():
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


def remove_journal(path: Path) -> None:
    """Remove a journal that was closed, and what SQLite left beside it, which is empty."""
    try:
        for ending in ("-journal", ""):
            path.with_name(path.name + ending).unlink(missing_ok=True)
    except OSError as error:
        raise CannotGoOnError(
            f"The journal {path} cannot be removed ({error.strerror}). Mend that, then run the same command again."
        ) from error
