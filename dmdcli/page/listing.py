"""The list of faces: which of them are new or changed since somebody last asked."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from dmdcli.page.desk import NoSuchFaceError, Summary


class Listing:
    """The lines of the list by the ids of their faces; for several threads."""

    def __init__(self) -> None:
        self._lines: dict[str, tuple[int, Summary]] = {}
        self._revision = 0
        self._lock = threading.Lock()

    def put(self, *summaries: Summary) -> None:
        """Put lines into the list, in place of those of the same faces; a line that says nothing new stays."""
        with self._lock:
            for summary in summaries:
                if self._lines.get(summary.id, (0, None))[1] != summary:
                    self._revision += 1
                    self._lines[summary.id] = (self._revision, summary)

    def since(self, revision: int) -> tuple[int, Sequence[Summary]]:
        """The current revision, and the lines put after revision `since`."""
        with self._lock:
            return self._revision, [line for number, line in self._lines.values() if number > revision]

    def line(self, face: str) -> Summary:
        """The line of a face; NoSuchFaceError."""
        with self._lock:
            if face not in self._lines:
                raise NoSuchFaceError(face)
            return self._lines[face][1]
