"""What was done to a photo, from its own mark and from the journal of the output folder it lies in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from dmdcli.errors import DMDError, PhotoError
from dmdcli.formats.packet import BrokenPacket, read_packet
from dmdcli.formats.picture import orientation_of
from dmdcli.journal import FaceRow, Journal, PhotoRow, has_journal, read_journal
from dmdcli.marks import Mark, MarkedFace, read_mark, source_type_of
from dmdcli.photos import read_metadata
from dmdcli.places import PhotoFile
from dmdcli.shapes import Box, pair, turn_box


@dataclass(frozen=True)
class Explained:
    """What is known of one photo.

    mark: its own; None where it has none. orientation: EXIF, 1..8, by which its boxes are to be turned. source_type:
    the IPTC digital source type that the photo claims, as "digitalCapture".
    out: the output folder whose journal knows it, with `row`. people: ids and numbers of people in that journal.
    changed: it is not, or no longer, the file that the journal tells of. error: why it could not be read. notes: worth
    telling.
    """

    photo: Path
    mark: Mark | None = None
    orientation: int = 1
    source_type: str | None = None
    out: Path | None = None
    row: PhotoRow | None = None
    people: Mapping[str, int] = field(default_factory=dict)
    changed: bool = False
    error: str | None = None
    notes: tuple[str, ...] = ()

    def faces(self) -> Iterator[tuple[int | None, MarkedFace | None, FaceRow | None]]:
        """Each face with its number, its entry in the mark, and what the journal knows of it.

        The numbers are those of the journal, which all else counts by; without it, those of the mark. A face of which
        the mark alone knows, though there is a journal, comes last and has none.
        """
        marked = () if self.mark is None else self.mark.faces
        if self.row is None:
            yield from ((number, face, None) for number, face in enumerate(marked, start=1))
            return
        rows = self.row.faces
        boxes: list[Box] = [(x0, y0, x1, y1) for x0, y0, x1, y1 in (row.box for row in rows)]
        same = pair([self.seen(face) for face in marked], boxes)
        marks = {place: marked[order] for order, place in same.items()}
        yield from ((place + 1, marks.get(place), row) for place, row in enumerate(rows))
        yield from ((None, face, None) for order, face in enumerate(marked) if order not in same)

    def seen(self, face: MarkedFace) -> Box:
        """The box of a face in the mark, in the upright photo."""
        return face.box if self.mark is None else turn_box(face.box, self.orientation, self.mark.size)


def explain(files: Iterable[PhotoFile]) -> Iterator[Explained]:
    """Say of one photo after the other what is known of it. Nothing is written."""
    with ExitStack() as stack:
        journals: dict[Path, Journal | str] = {}
        for file in files:
            out = _output_folder(file.path)
            if out is not None and out not in journals:
                try:
                    journals[out] = stack.enter_context(read_journal(out))
                except DMDError as error:  # a mark is worth telling without it
                    journals[out] = str(error)
            try:
                yield _explain(file.path, None if out is None else journals[out])
            except PhotoError as error:
                yield Explained(file.path, error=error.reason)


def _explain(path: Path, journal: Journal | str | None) -> Explained:
    content, found = read_metadata(path)
    mark, source_type, notes = None, None, []
    try:
        packet = read_packet(found.xmp) if found.xmp else None
    except BrokenPacket as broken:
        packet = None
        notes.append(f"has broken XMP ({broken}): if it has a mark, it cannot be read")
    if packet is not None:
        mark, source_type = read_mark(packet), source_type_of(packet)
    out = row = None
    people: dict[str, int] = {}
    if isinstance(journal, Journal):
        out, row, people = journal.out, journal.row(journal.place(path.absolute())), journal.people()
    elif journal is not None:
        notes.append(journal)
    changed = row is not None and hashlib.sha256(content).hexdigest() != row.output_digest
    turn = orientation_of(found.exif)
    return Explained(path, mark, turn, source_type, out if row else None, row, people, changed, notes=tuple(notes))


def _output_folder(path: Path) -> Path | None:
    """The nearest folder above a photo that has a journal."""
    return next((folder for folder in path.absolute().parents if has_journal(folder)), None)
