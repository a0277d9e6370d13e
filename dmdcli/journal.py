"""What `dmd restore` has done in an output folder: one row a photo and one a face, so that the same command goes on.

A SQLite file in the output folder, described in `docs/journal.md`. People stand in it by their random ids, never by
name. It is kept with a rollback journal: a write-ahead log needs memory shared between processes, which network folders
do not give.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from dmdcli.errors import CannotGoOnError
from dmdcli.journal_copying import begin_shard
from dmdcli.journal_division import Share
from dmdcli.journal_file import (
    DamagedJournalError,
    check_division,
    connect,
    connect_anyway,
    copied,
    journal_path,
    locked,
    readable,
    shards_left,
)
from dmdcli.journal_renames import Renames
from dmdcli.shards import Shard

CHUNK = 1 << 20
"""Bytes read at a time to make a digest."""


@dataclass(frozen=True)
class Stamp:
    """What the file system says of a file; while it stays the same, so does the content.

    size: bytes. modified, changed: of content and of the file's entry, in nanoseconds; nobody can set the second.
    """

    size: int
    modified: int
    changed: int


@dataclass(frozen=True)
class Likeness:
    """A person whom a face resembles, in [0, 1]. person: id. version: of the references it was compared with."""

    person: str
    version: str
    similarity: float


@dataclass(frozen=True)
class FaceRow:
    """One face of a photo, as `pipeline.restore.RestoredFace`, with the person's id in place of the name.

    box: x0, y0, x1, y1 in photo pixels. matrix: two rows of three, photo -> crop. match: who it was recognised as.
    near: of a usable face recognised as nobody, whom it resembled. reason: what made it unsure, or why it was left
    alone. usable: it could have been restored. strength: it was blended in with. after: similarity in [0, 1] of what
    was published, as `RestoredFace.similarity_after`. account: what else a report tells of it, as JSON can say it.
    """

    box: tuple[float, ...]
    matrix: tuple[tuple[float, ...], ...]
    result: Literal["specific", "generic", "none"]
    reason: tuple[str, ...] = ()
    match: Likeness | None = None
    near: tuple[Likeness, ...] = ()
    usable: bool = True
    strength: float = 0.0
    after: float | None = None
    account: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class PhotoRow:
    """One photo.

    place: of its result below the output folder, "/" between folders; names the row. photo: absolute path of the input.
    Digests are SHA-256 of the bytes. output_digest: of the result, also while it is not there yet; None where none was
    to be written. replaced_digest: of an earlier result of ours that may still be there, until `finished`.
    settings: digest of what was asked for. known: the highest number in the table of people when it was restored.
    finished: ISO 8601, UTC; None while the result is being written. reason: why it failed. said: digest of what people
    said of its faces elsewhere than in the photo; None where they said nothing.
    """

    place: str
    photo: Path
    result: Literal["restored", "untouched", "failed"]
    input_digest: str | None = None
    input_stamp: Stamp | None = None
    output_digest: str | None = None
    output_stamp: Stamp | None = None
    replaced_digest: str | None = None
    settings: str | None = None
    weights: str | None = None
    kit: str | None = None
    known: int = 0
    reason: str | None = None
    finished: str | None = None
    said: str | None = None
    faces: tuple[FaceRow, ...] = ()


def stamp_of(path: Path) -> Stamp:
    """What the file system says of a file; OSError where it says nothing."""
    status = path.stat()
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def digest_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal; OSError where it cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


class Journal:
    """The journal of one output folder, made by `open_journal` or `copy_journal`.

    out: the output folder. notes: sentences the user should see. shard: whose it is alone, beside others'. share: what
    a run does of the collection. renames: photos under earlier names. What cannot be kept raises CannotGoOnError.
    """

    def __init__(
        self, out: Path, database: sqlite3.Connection, notes: Iterable[str] = (), shard: Shard | None = None
    ) -> None:
        self.out, self.notes, self.shard = out, tuple(notes), shard
        self._path, self._database = journal_path(out, shard), database
        self.share, self.renames = Share(database, self._path, shard), Renames(database, self._path, out)

    def place(self, output: Path) -> str:
        """Names the row of the photo whose result goes to `output`, which is below `out`."""
        return output.relative_to(self.out).as_posix()

    def row(self, place: str) -> PhotoRow | None:
        """The row of a photo with its faces, or None."""
        with readable(self._path):
            found = self._database.execute("SELECT * FROM photos WHERE place = ?", (_text(place),)).fetchone()
            if found is None:
                return None
            near: dict[int, list[Likeness]] = {}
            for one in self._database.execute(
                "SELECT * FROM likenesses WHERE photo = ? ORDER BY person", (found["number"],)
            ):
                near.setdefault(one["face"], []).append(Likeness(one["person"], one["version"], one["similarity"]))
            faces = self._database.execute("SELECT * FROM faces WHERE photo = ? ORDER BY number", (found["number"],))
            return _photo_row(found, tuple(_face_row(face, near.get(face["number"], ())) for face in faces))

    def places(self) -> Iterator[str]:
        """The places of all photos, in no order."""
        with readable(self._path):
            for one in self._database.execute("SELECT place FROM photos"):
                yield os.fsdecode(one["place"])

    def people(self) -> dict[str, int]:
        """The ids of all people that were ever looked for, and their numbers."""
        with readable(self._path):
            return {one["id"]: one["number"] for one in self._database.execute("SELECT id, number FROM people")}

    def unfinished(self) -> list[str]:
        """The places whose results were being written when a run was stopped."""
        with readable(self._path):
            found = self._database.execute("SELECT place FROM photos WHERE finished IS NULL ORDER BY place").fetchall()
        return [os.fsdecode(one["place"]) for one in found]

    def settings(self, digest: str | None) -> dict[str, object]:
        """The settings of a digest, empty for one that is not known."""
        with readable(self._path):
            found = self._database.execute("SELECT content FROM settings WHERE digest = ?", (digest,)).fetchone()
        content: dict[str, object] = {} if found is None else json.loads(found["content"])
        return content

    def keep_settings(self, settings: Mapping[str, object]) -> str:
        """Keep settings (what JSON can say) and return their digest."""
        content = json.dumps(settings, sort_keys=True)
        digest = hashlib.sha256(content.encode()).hexdigest()
        with self._changing():
            self._database.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", (digest, content))
        return digest

    def number_people(self, ids: Collection[str]) -> int:
        """Number the people who have none yet, after all others, and return the highest number among `ids`, or 0."""
        with self._changing():
            numbers = {one["id"]: one["number"] for one in self._database.execute("SELECT id, number FROM people")}
            for person in sorted(set(ids)):
                if person not in numbers:
                    added = self._database.execute("INSERT INTO people (id) VALUES (?)", (person,))
                    numbers[person] = int(added.lastrowid or 0)
        return max((numbers[person] for person in ids), default=0)

    def write(self, row: PhotoRow) -> None:
        """Put a row, and its faces, in place of the one that was there.

        Without `finished` it says what is about to be written; `finish` says that it was.
        """
        values = {
            "place": _text(row.place),
            "photo": _text(str(row.photo)),
            "input_digest": row.input_digest,
            **_stamp_columns("input", row.input_stamp),
            "output_digest": row.output_digest,
            **_stamp_columns("output", row.output_stamp),
            "replaced_digest": row.replaced_digest,
            "settings": row.settings,
            "weights": row.weights,
            "kit": row.kit,
            "known": row.known,
            "result": row.result,
            "reason": row.reason,
            "finished": row.finished,
            "said": row.said,
        }
        with self._changing():
            self._database.execute("DELETE FROM photos WHERE place = ?", (values["place"],))
            number = self._database.execute(
                f"INSERT INTO photos ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",
                tuple(values.values()),
            ).lastrowid
            for index, face in enumerate(row.faces):
                match = (None, None, None) if face.match is None else astuple(face.match)
                texts = (json.dumps(face.box), json.dumps(face.matrix))
                reason, account = (json.dumps(one, ensure_ascii=False) for one in (face.reason, dict(face.account)))
                outcome = (face.result, reason, face.usable, face.strength, face.after, account)
                self._database.execute(
                    f"INSERT INTO faces VALUES ({', '.join('?' * 13)})", (number, index, *texts, *match, *outcome)
                )
                self._database.executemany(
                    "INSERT INTO likenesses VALUES (?, ?, ?, ?, ?)",
                    [(number, index, *astuple(one)) for one in face.near],
                )

    def finish(self, place: str, output_stamp: Stamp) -> None:
        """Say that the result announced by `write` is there."""
        columns = _stamp_columns("output", output_stamp)
        with self._changing():
            self._database.execute(
                f"UPDATE photos SET {_assigned(columns)}, replaced_digest = NULL, finished = ? WHERE place = ?",
                (*columns.values(), now(), _text(place)),
            )

    def see_again(self, place: str, photo: Path, input_stamp: Stamp, output_stamp: Stamp | None) -> None:
        """Say that a photo and its result, moved or touched, are the same bytes as before."""
        columns = _stamp_columns("input", input_stamp) | _stamp_columns("output", output_stamp)
        with self._changing():
            self._database.execute(
                f"UPDATE photos SET photo = ?, {_assigned(columns)} WHERE place = ?",
                (_text(str(photo)), *columns.values(), _text(place)),
            )

    def fail(self, place: str, photo: Path, reason: str) -> None:
        """Say that a photo failed. An earlier result of it stays known as ours."""
        with self._changing():
            self._database.execute(
                "INSERT INTO photos (place, photo, result, reason, finished) VALUES (?, ?, 'failed', ?, ?) "
                "ON CONFLICT (place) DO UPDATE SET result = 'failed', reason = excluded.reason, "
                "finished = excluded.finished",
                (_text(place), _text(str(photo)), reason, now()),
            )

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One transaction: all of it is kept, or nothing."""
        with readable(self._path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise


@contextmanager
def open_journal(out: Path, shard: Shard | None = None) -> Iterator[Journal]:
    """Open the journal of an output folder, both made if missing, and keep every other run out of the folder.

    shard: open its own instead, which begins with the folder's rows that fall to it; other shards are not kept out.
    A damaged journal is put aside and a new one begun; `notes` says so. Raises CannotGoOnError where another run has
    the folder or nothing can be written, UsageError where (others') shards are not merged, JournalFormatError.
    """
    with locked(out, shard):
        database, notes = connect_anyway(journal_path(out, shard))
        with closing(database):
            notes += [] if shard is None else begin_shard(out, shard, database)
            yield Journal(out, database, notes, shard)


@contextmanager
def copy_journal(out: Path, shard: Shard | None = None) -> Iterator[Journal]:
    """A copy of what `open_journal` would open, with its errors; empty where there is none. Nothing done is kept."""
    check_division(out, shard)
    own, notes = journal_path(out, shard), []
    path = next((one for one in (own, journal_path(out)) if one.is_file() and one.stat().st_size), None)
    try:
        database = connect(None) if path is None else copied(path)
    except DamagedJournalError as damage:
        notes.append(f"The journal {path} is damaged ({damage}); a run would put it aside and begin a new one.")
        database = connect(None)
    with closing(database):
        yield Journal(out, database, notes, shard)


@contextmanager
def read_journal(out: Path) -> Iterator[Journal]:
    """The journal of an output folder for reading, also while a run has the folder.

    Raises CannotGoOnError where it is damaged or cannot be read, UsageError and JournalFormatError as `open_journal`.
    """
    check_division(out)
    path = journal_path(out)
    try:
        database = copied(path)
    except DamagedJournalError as damage:
        raise CannotGoOnError(
            f"The journal {path} cannot be read ({damage}). Run the command that made it again: it begins a new "
            "journal."
        ) from damage
    with closing(database):
        yield Journal(out, database)


def has_journal(folder: Path) -> bool:
    """Whether a folder is one that results were written to, by shards perhaps; CannotGoOnError where none can look."""
    return bool(shards_left(folder)) or journal_path(folder).is_file()


def numbered(person: str, numbers: Mapping[str, int]) -> str:
    """What the person of an id is called where names do not belong. numbers: as `Journal.people`."""
    return f"person {numbers[person]}" if person in numbers else "somebody forgotten"


def now() -> str:
    """The time, ISO 8601, UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _text(name: str) -> str | bytes:
    """A file name as it is kept: text, or bytes where the name is no text."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name)
    return name


def _stamp_columns(of: Literal["input", "output"], stamp: Stamp | None) -> dict[str, int | None]:
    values = (None, None, None) if stamp is None else astuple(stamp)
    return dict(zip((f"{of}_size", f"{of}_modified", f"{of}_changed"), values, strict=True))


def _assigned(columns: Iterable[str]) -> str:
    return ", ".join(f"{column} = ?" for column in columns)


def _photo_row(found: sqlite3.Row, faces: tuple[FaceRow, ...]) -> PhotoRow:
    def stamp(of: Literal["input", "output"]) -> Stamp | None:
        numbers = [found[column] for column in _stamp_columns(of, None)]
        return None if None in numbers else Stamp(*numbers)

    digests = ("input_digest", "output_digest", "replaced_digest")
    texts = ("result", "settings", "weights", "kit", "reason", "finished", "said")
    return PhotoRow(
        place=os.fsdecode(found["place"]),
        photo=Path(os.fsdecode(found["photo"])),
        input_stamp=stamp("input"),
        output_stamp=stamp("output"),
        known=found["known"] or 0,
        faces=faces,
        **{name: found[name] for name in digests + texts},
    )


def _face_row(found: sqlite3.Row, near: Sequence[Likeness]) -> FaceRow:
    match = None if found["person"] is None else Likeness(found["person"], found["version"], found["similarity"])
    return FaceRow(
        box=tuple(json.loads(found["box"])),
        matrix=tuple(tuple(row) for row in json.loads(found["matrix"])),
        result=found["result"],
        reason=tuple(json.loads(found["reason"] or "[]")),
        match=match,
        near=tuple(near),
        usable=bool(found["usable"]),
        strength=found["strength"],
        after=found["after"],
        account=json.loads(found["account"]),
    )
