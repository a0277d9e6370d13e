"""The results in an output folder, to be accepted or sent back: what is decided, the next `dmd restore` does again."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Generic

import cv2
import numpy as np

from dmdcli.decisions import Decision, FacePoints, says_nothing
from dmdcli.errors import LibraryFormatError, UsageError
from dmdcli.faces.align import crop_face
from dmdcli.faces.face import Face, Landmarks
from dmdcli.journal import PhotoRow
from dmdcli.page.deciding import as_previewed, decide
from dmdcli.page.desk import (
    Action,
    ChangedElsewhereError,
    Depth,
    Detail,
    NoSuchFaceError,
    Preview,
    State,
    Summary,
    Which,
    check_seen,
)
from dmdcli.page.keeping import Kept, kept_by_face, tally
from dmdcli.page.listing import Listing
from dmdcli.page.pictures import THUMBNAIL, Shelf, thumbnail, view_of
from dmdcli.page.previews import Previews
from dmdcli.page.result_faces import Made, ResultFaces
from dmdcli.page.result_facts import sentences, verdict_of
from dmdcli.page.seen import ACCEPTED, BY_HAND, GONE, NO_PIXELS, Looked, Seen, points_in_photo
from dmdcli.page.turns import Finders
from dmdcli.photos import PhotoFile
from dmdcli.pipeline.judge import RESTORED_ALREADY
from dmdcli.pipeline.people import CropRestorer, DictionaryT, People
from dmdcli.places import PICTURES
from dmdcli.report.facts import facts_of, original_of
from dmdcli.report_files import PicturesThere
from dmdcli.shapes import Box, Pixels

ACTIONS: tuple[Action, ...] = ("accept", "strength", "person", "landmarks", "box", "leave_alone", "not_a_face")
MOVED = (
    "Put it back, or run `dmd restore` on the place where it is now, into the same folder: photos are known by their "
    "content."
)
NO_PICTURE: Pixels = np.full((THUMBNAIL, THUMBNAIL, 3), 128, dtype=np.uint8)
"""Where neither the report nor the result has a picture of a face."""


class ResultDesk(Generic[DictionaryT]):
    """The faces of the results in a folder, as a `desk.Desk`; what is decided is kept in the library at once.

    out: the folder. rows: of its journal. names: id -> name of the people. The journal and the results are only read.
    """

    def __init__(
        self,
        out: Path,
        rows: Sequence[PhotoRow],
        finders: Finders,
        restorer: CropRestorer[DictionaryT],
        people: People[DictionaryT],
        kept: Kept,
        names: Mapping[str, str],
    ) -> None:
        self._out = out
        self._finders = finders
        self._people = people
        self._names = names
        self._kept = kept
        self._previews = Previews(finders.served, restorer, people, finders.precedence)
        self._shelf = Shelf(MOVED)
        self._listing = Listing()
        with_faces = _of_photos_there([row for row in rows if row.faces and row.input_digest])
        self._rows = {f"p{number}": row for number, row in enumerate(with_faces, start=1)}
        self._failures = [f"{row.place}: {row.reason}" for row in rows if row.result == "failed"]
        self._made: dict[str, Made] = {}
        self._networks = ResultFaces(finders, self._pixels, self._rows.__getitem__, self._failures.append)
        self._pictures = frozenset(PicturesThere(out))
        self._before: dict[str, frozenset[Decision]] = {}
        self._made_with: dict[str, frozenset[Decision]] = {}
        self._changes: dict[str, tuple[Decision, Decision]] = {}
        self._known = threading.RLock()
        self._changing = threading.Lock()
        for photo, row in list(self._rows.items()):
            try:
                self._read(photo)
                self._before[self._digest(photo)] = _with_effect(kept.about(self._digest(photo)))
            except LibraryFormatError as error:  # of this photo's corrections
                self._failures.append(f"{row.place}: {error}")
                del self._rows[photo]

    # What is shown

    def state(self) -> State:
        """As `Desk.state`."""
        with self._known:
            said = {made.decision.person for made in self._made.values()} - {None}
        people = list(dict.fromkeys((*self._people.gallery.people, *sorted(map(str, said)))))
        photos = len(self._rows)
        return State("results", f"Results in {self._out}", ACTIONS, people, photos, photos, self._failures)

    def summaries(self, since: int) -> tuple[int, Sequence[Summary]]:
        """As `Desk.summaries`."""
        return self._listing.since(since)

    def detail(self, face: str, depth: Depth = "searched") -> Detail:
        """As `Desk.detail`; where the photo is gone there are no points, and `facts` says what to do."""
        made = self._of(face)
        row = self._rows[made.photo]
        with self._known:
            others = [one.box for one in self._in(made.photo) if one.id != face]
        facts = facts_of(row, self._called, self._pictures)
        told = list(sentences(facts, facts["faces"][made.number - 1]))
        points: FacePoints = ()
        found: Face | None = None
        described: Face | None = None
        is_known = depth == "searched"
        try:
            pixels = self._pixels(made.photo)
            size = (pixels.shape[1], pixels.shape[0])
            if depth != "outline":
                described = self._networks.described(made)
                points = points_in_photo(described)
                is_known = is_known or self._networks.is_found(made)
            found = self._networks.found(made) if is_known else None
        except UsageError as error:
            told.insert(0, ("The photo", str(error)))
            is_known = depth != "outline"
            size = tuple(facts["size"] or (round(made.box[2]), round(made.box[3])))
        return Detail(
            summary=self._listing.line(face),
            photo_id=made.photo,
            size=(size[0], size[1]),
            box=made.decision.box or made.box,
            landmarks=() if depth == "outline" else made.decision.landmarks or points,
            found_box=None if found is None else found.box,
            found_landmarks=None if found is None else points_in_photo(found),
            decision=made.decision,
            candidates=() if described is None else self._previews.candidates(described.embedding),
            others=others,
            facts=told,
            pending=not is_known,
        )

    def prepare(self, face: str) -> None:
        """As `Desk.prepare`."""
        self._networks.prepare(self._of(face))

    def close(self) -> None:
        """End what is prepared in the background."""
        self._networks.close()

    def thumbnail(self, face: str) -> bytes:
        """As `Desk.thumbnail`: what was published, or else the face as it is."""
        made = self._of(face)
        facts = facts_of(self._rows[made.photo], self._called, self._pictures)
        pictures = facts["faces"][made.number - 1]["pictures"]
        name = pictures.get("published") or pictures.get("original")
        if name is not None:
            with suppress(OSError, cv2.error):
                content = np.frombuffer((self._out / PICTURES / name).read_bytes(), dtype=np.uint8)
                shown = cv2.imdecode(content, cv2.IMREAD_COLOR)
                if shown is not None:
                    return thumbnail(np.ascontiguousarray(shown[..., ::-1], dtype=np.uint8))
        with suppress(UsageError):
            return thumbnail(crop_face(self._result(made.photo), np.array(made.row.matrix, dtype=np.float32)))
        return thumbnail(NO_PICTURE)

    def view(self, photo: str, region: Box | None, width: int, which: Which = "photo") -> bytes:
        """As `Desk.view`."""
        if photo not in self._rows:
            raise NoSuchFaceError(photo)
        return view_of(self._pixels(photo) if which == "photo" else self._result(photo), region, width)

    def preview(self, face: str, decision: Decision) -> Preview:
        """As `Desk.preview`."""
        made = self._of(face)
        standing, decision = as_previewed(self._seen(made, decision.landmarks is None), decision)
        return self._previews.of(
            standing,
            self._person(made),
            decision,
            lambda: self._pixels(made.photo),
            RESTORED_ALREADY in made.row.reason,
        )

    def decided(self) -> Mapping[str, int]:
        """As `Desk.decided`."""
        with self._known:
            return tally(self._changes.values())

    def to_be_made_again(self) -> list[str]:
        """The places of the results that the next `dmd restore` makes again because of what was decided here.

        Where the photo is gone it makes nothing.
        """
        now = {digest: _with_effect(self._kept.about(digest)) for digest in self._before}
        return [
            row.place
            for photo, row in self._rows.items()
            if now[self._digest(photo)] != self._before[self._digest(photo)] and _is_there(row)
        ]

    # What is done

    def save(self, face: str, decision: Decision, seen: str | None = None) -> Detail:
        """As `Desk.save`; see `deciding.decide`. The result itself stays as it is until the next `dmd restore`."""
        with self._changing:
            made = self._of(face)
            check_seen(seen, made.decision, self._listing.line(face))
            before = self._seen(made)
            with self._known:
                others = [(one.number, one.box) for one in self._in(made.photo) if one.id != face]
            self._put(made, decide(before, decision, others, self._finders.served, lambda: self._pixels(made.photo)))
        return self.detail(face)

    def reset(self, face: str, seen: str | None = None) -> Detail | None:
        """As `Desk.reset`."""
        with self._changing:
            made = self._of(face)
            check_seen(seen, made.decision, self._listing.line(face))
            before = self._seen(made)
            if before.found is None:
                raise UsageError("Nothing was found here; it was drawn by hand. Take it back in `dmd check --edit`.")
            self._put(made, replace(before, face=before.found, decision=Decision(), kept=(), gone=False))
        return self.detail(face)

    def draw(self, photo: str, box: Box) -> Detail:  # noqa: ARG002 (as of `Desk`)
        """As `Desk.draw`: not here, where there is no result of such a face to look at."""
        raise UsageError("Missed faces are drawn in the photos: `dmd check --edit` and the photo.")

    def _put(self, before: Made, seen: Seen) -> None:
        digest = self._digest(before.photo)
        with self._known:
            others = [decision for one in self._in(before.photo) if one.id != before.id for decision in one.kept]
        try:
            self._kept.replace(digest, original_of(self._rows[before.photo]), before.kept, seen.kept, others)
        except ChangedElsewhereError as error:
            with self._known:
                self._made[before.id] = replace(before, decision=error.decision, kept=error.stored)
                self._changes.pop(before.id, None)
                self._listing.put(self._line(self._made[before.id]))
            raise
        after = replace(before, decision=seen.decision, kept=seen.kept)
        with self._known:
            earlier = self._changes.get(before.id, (before.decision,))[0]
            self._changes[before.id] = (earlier, seen.said)
            self._made[before.id] = after
            self._listing.put(self._line(after))
            for photo in self._rows:
                if photo != before.photo and self._digest(photo) == digest:  # copies of the photo
                    self._read(photo)

    # What is known

    def _read(self, photo: str) -> None:
        """Put the faces of a photo into the list, with what the library says of each."""
        faces = [
            Made(f"{photo}f{number}", photo, number, face)
            for number, face in enumerate(self._rows[photo].faces, start=1)
        ]
        for place, kept in kept_by_face(self._kept.about(self._digest(photo)), [one.box for one in faces]).items():
            made = faces[place]
            self._made[made.id] = replace(made, decision=kept[-1], kept=kept) if kept else made
            self._listing.put(self._line(self._made[made.id]))

    def _line(self, made: Made) -> Summary:
        decision = made.decision
        verdict, rank = verdict_of(made.row)
        decided = _with_effect(made.kept)
        by_hand = decided != self._made_with.setdefault(made.id, decided)  # what the result has already is no news
        place = GONE if decision.not_a_face else ACCEPTED if decision.accepted else BY_HAND if by_hand else rank
        return Summary(
            id=made.id,
            photo=self._rows[made.photo].place,
            number=made.number,
            rank=place,
            verdict=verdict,
            reasons=made.row.reason,
            person=self._person(made),
            by_hand=by_hand,
            accepted=decision.accepted,
            gone=decision.not_a_face,
            left=decision.leave_alone,
        )

    def _of(self, face: str) -> Made:
        with self._known:
            if face not in self._made:
                raise NoSuchFaceError(face)
            return self._made[face]

    def _in(self, photo: str) -> list[Made]:
        return [made for made in self._made.values() if made.photo == photo]

    def _digest(self, photo: str) -> str:
        return self._rows[photo].input_digest or ""

    def _called(self, person: str) -> str:
        return self._names.get(person, "somebody who is not enrolled any more")

    def _person(self, made: Made) -> str | None:
        match = made.row.match
        if made.decision.person is not None or made.decision.stranger:
            return made.decision.person
        return None if match is None else self._names.get(match.person)

    def _pixels(self, photo: str) -> Pixels:
        return self._shelf.pixels(self._rows[photo].photo, self._digest(photo))

    def _result(self, photo: str) -> Pixels:
        """What is in the output folder; of a photo that was left out, the photo itself."""
        row = self._rows[photo]
        if row.output_digest is None:
            return self._pixels(photo)
        return self._shelf.pixels(self._out / row.place, row.output_digest)

    def _seen(self, made: Made, with_found: bool = True) -> Seen:
        """The face as deciding wants it. Where its photo is gone it has no points, and none can be given.

        with_found: as the program finds it, too, for which its photo may have to be searched first.
        """
        found: Face | None
        try:
            described = self._networks.described(made)
            found = self._networks.found(made) if with_found else None
        except UsageError:
            matrix, nowhere = np.array(made.row.matrix, dtype=np.float32), np.zeros((68, 2), dtype=np.float32)
            described = Face(made.box, 1.0, matrix, NO_PIXELS, Landmarks(nowhere), np.zeros(0, dtype=np.float32))
            found = described
        is_found = made.decision.landmarks is None
        standing = described if is_found else replace(described, box=made.decision.box or made.box)
        row = self._rows[made.photo]
        looked = Looked(made.photo, PhotoFile(row.photo, PurePath(row.place)), self._digest(made.photo), (0, 0))
        return Seen(made.id, looked, made.number, standing, found, b"", made.decision, made.kept)


def _of_photos_there(rows: Sequence[PhotoRow]) -> list[PhotoRow]:
    """The rows without those of a photo that is gone from its place and has another row, from where it is now."""
    there = {row.input_digest for row in rows if _is_there(row)}
    return [row for row in rows if _is_there(row) or row.input_digest not in there]


def _is_there(row: PhotoRow) -> bool:
    try:
        return row.photo.is_file()
    except OSError:
        return False


def _with_effect(decisions: Iterable[Decision]) -> frozenset[Decision]:
    """What of decisions changes a result: all but that somebody looked at a face and found it right."""
    plain = (replace(one, accepted=False) for one in decisions)
    return frozenset(one for one in plain if not says_nothing(one))
