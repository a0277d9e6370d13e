"""Photos that were renamed or moved: the journal can tell, for the same content was restored under another name."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from dmdcli.journal_file import readable

COPIES = """
SELECT input_digest, number, place, photo, result != 'failed' AND finished IS NOT NULL FROM photos
WHERE input_digest IN (SELECT input_digest FROM photos GROUP BY input_digest HAVING count(*) > 1)
ORDER BY input_digest, place"""
"""Photos with the same content as others; the last column: there was nothing wrong with it."""


@dataclass(frozen=True)
class Renamed:
    """A result under the earlier name of a photo.

    place: of that result, below the output folder. photo: its path then. now: the place of its result today.
    """

    place: str
    photo: Path
    now: str

    @property
    def reason(self) -> str:
        """What is said of that result."""
        return f"its photo was renamed or moved ({self.now}); it stays as it is"


class Renames:
    """What a journal tells of renamed photos. On the disk nothing but copies is looked for, and no file is read.

    What cannot be read or written in it raises CannotGoOnError.
    """

    def __init__(self, database: sqlite3.Connection, path: Path, out: Path) -> None:
        self._database, self._path, self._out = database, path, out

    def results(self) -> Iterator[Renamed]:
        """The results that are there still under earlier names, in no order."""
        return (one for _, one in self._earlier() if not _is_gone(self._out / one.place))

    def forget_removed(self) -> None:
        """Forget the earlier names whose results are gone as well."""
        removed = [number for number, one in self._earlier() if _is_gone(self._out / one.place)]
        with readable(self._path):
            # In one statement: all of it, or nothing.
            chosen = (json.dumps(removed),)
            self._database.execute("DELETE FROM photos WHERE number IN (SELECT value FROM json_each(?))", chosen)

    def _earlier(self) -> Iterator[tuple[int, Renamed]]:
        """The photos that are gone, and whose content was restored from one that is there; with their numbers."""
        with readable(self._path):
            for _, copies in groupby(self._database.execute(COPIES), key=itemgetter(0)):
                gone: list[tuple[int, str, Path]] = []
                now: str | None = None
                for _, number, name, photo, is_done in copies:
                    place, path = os.fsdecode(name), Path(os.fsdecode(photo))
                    if not _is_gone(path):
                        now = place if now is None and is_done else now
                    elif _was_below(path, place).is_dir():
                        gone.append((number, place, path))
                if now is not None:
                    yield from ((number, Renamed(place, path, now)) for number, place, path in gone)


def _was_below(photo: Path, place: str) -> Path:
    """The folder that mirrors the output folder. Where it is not there, as a disk that is away, nothing is known."""
    above = photo.parents
    return above[min(place.count("/"), len(above) - 1)]


def _is_gone(path: Path) -> bool:
    """Whether nothing has this name; of what cannot be looked at that is not said."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
