"""The faces of photos, to be put right: searched for in the background while those found already are worked on."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic

from dmdcli.decisions import Decision
from dmdcli.errors import LibraryFormatError, PhotoError, UsageError
from dmdcli.faces.face import Face
from dmdcli.faces.finder import NOT_FITTED
from dmdcli.page.deciding import as_previewed, as_stored, check_room, decide, put_back
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
from dmdcli.page.keeping import Kept, moved_back, tally
from dmdcli.page.listing import Listing
from dmdcli.page.pictures import Shelf, middle_square, thumbnail, view_of
from dmdcli.page.previews import Previews
from dmdcli.page.seen import NOTHING, Looked, Seen, line_of, line_without_face, points_in_photo, without_pixels
from dmdcli.page.turns import Finders, telling
from dmdcli.photos import PhotoFile, read_photo
from dmdcli.pipeline.blend import RestoreOptions
from dmdcli.pipeline.by_hand import as_decided, no_face_in
from dmdcli.pipeline.mark import earlier_mark, is_marked
from dmdcli.pipeline.one_photo import only_this_photo
from dmdcli.pipeline.people import CropRestorer, DictionaryT, People
from dmdcli.pipeline.said import Said
from dmdcli.pipeline.whose import find_owners
from dmdcli.shapes import Box, Pixels, pair
from dmdcli.tags import read_side_tags, read_tags

ACTIONS: tuple[Action, ...] = (
    *("landmarks", "box", "person", "not_a_face", "draw", "leave_alone", "strength", "accept"),
)


@dataclass(frozen=True)
class Faceless:
    """A photo in which no face was found, in the list so that one can be drawn. accepted: there is none, as said."""

    photo: Looked
    small: bytes
    accepted: bool = False


class PhotoDesk(Generic[DictionaryT]):
    """The faces of `files`, as a `desk.Desk`; what is decided is kept in the library at once.

    finders, restorer, people: as for restoring. title: of the page. failures: sentences about what could not be read
    before. `start` begins the search, `close` ends it. Copies of one photo are shown once.
    """

    def __init__(
        self,
        files: Sequence[PhotoFile],
        finders: Finders,
        restorer: CropRestorer[DictionaryT],
        people: People[DictionaryT],
        kept: Kept,
        title: str,
        failures: Sequence[str] = (),
    ) -> None:
        self._files = files
        self._finders = finders
        self._gallery = people.gallery
        self._previews = Previews(finders.served, restorer, people, finders.precedence)
        self._kept = kept
        self._title = title
        self._failures = list(failures)
        self._looked_at = 0
        self._has_ended = False
        self._shelf = Shelf("Put it back, or go on with the others.")
        self._listing = Listing()
        self._photos: dict[str, Looked] = {}
        self._faces: dict[str, Seen] = {}
        self._in_photo: dict[str, list[str]] = {}  # ids of the faces by that of their photo
        self._digests: set[str] = set()
        self._numbers = itertools.count(1)
        self._faceless: dict[str, Faceless] = {}
        self._changes: dict[str, tuple[Decision | None, Decision]] = {}
        self._known = threading.RLock()  # held for moments, by whoever reads or writes the above
        self._changing = threading.Lock()  # held while somebody decides
        self._thread = threading.Thread(target=self._search, name="search for faces", daemon=True)

    def start(self) -> None:
        """Begin to search the photos, one after the other."""
        self._thread.start()

    def close(self) -> None:
        """End the search after its present step."""
        self._finders.precedence.end()
        self.wait()

    def wait(self) -> None:
        """Wait for the end of the search."""
        if self._thread.is_alive():
            self._thread.join()

    # What is shown

    def state(self) -> State:
        """As `Desk.state`."""
        with self._known:
            said = [seen.decision.person for seen in self._faces.values() if seen.decision.person is not None]
            people = list(dict.fromkeys((*self._gallery.people, *sorted(said))))
            failures = tuple(self._failures)
            photos = self._looked_at if self._has_ended else len(self._files)  # no more will be found after the end
        return State("photos", self._title, ACTIONS, people, photos, self._looked_at, failures)

    def summaries(self, since: int) -> tuple[int, Sequence[Summary]]:
        """As `Desk.summaries`."""
        return self._listing.since(since)

    def prepare(self, face: str) -> None:
        """As `Desk.prepare`: there is nothing to wait for."""

    def detail(self, face: str, depth: Depth = "searched") -> Detail:  # noqa: ARG002 (as of `Desk`)
        """As `Desk.detail`; of a photo without a face there is the photo, with no points."""
        with self._known:
            line = self._listing.line(face)
            if (faceless := self._faceless.get(face)) is not None:
                photo = faceless.photo
                whole = (0.0, 0.0, float(photo.size[0]), float(photo.size[1]))
                return Detail(line, photo.id, photo.size, whole, (), None, None, Decision(accepted=faceless.accepted))
            seen = self._seen(face)
            others = [box for _, box in self._others(seen.photo, face)]
        found = seen.found
        return Detail(
            summary=line,
            photo_id=seen.photo.id,
            size=seen.photo.size,
            box=seen.face.box,
            landmarks=seen.points,
            found_box=None if found is None else found.box,
            found_landmarks=None if found is None else points_in_photo(found),
            decision=seen.decision,
            candidates=self._previews.candidates(seen.face.embedding),
            others=others,
        )

    def thumbnail(self, face: str) -> bytes:
        """As `Desk.thumbnail`."""
        with self._known:
            return self._faceless[face].small if face in self._faceless else self._seen(face).small

    def view(self, photo: str, region: Box | None, width: int, which: Which = "photo") -> bytes:
        """As `Desk.view`; there are no results here."""
        if which != "photo":
            raise UsageError("These are photos; `dmd review` shows results.")
        with self._finders.precedence.serving():
            return view_of(self._pixels(self._photo(photo)), region, width)

    def preview(self, face: str, decision: Decision) -> Preview:
        """As `Desk.preview`."""
        seen = self._seen(face)
        standing, decision = as_previewed(seen, decision)
        is_restored = is_marked(decision.box or standing.box, seen.photo.orientation, seen.photo.mark)
        return self._previews.of(standing, seen.person, decision, lambda: self._pixels(seen.photo), is_restored)

    def decided(self) -> Mapping[str, int]:
        """As `Desk.decided`."""
        with self._known:
            return tally(self._changes.values())

    # What is done

    def save(self, face: str, decision: Decision, seen: str | None = None) -> Detail:
        """As `Desk.save`; see `deciding.decide`."""
        with self._finders.precedence.serving(), self._changing:
            self._check_seen(face, seen)
            if face in self._faceless:
                self._accept_faceless(face, decision)
            else:
                before = self._seen(face)
                others = self._others(before.photo, face)
                after = decide(before, decision, others, self._finders.served, lambda: self._pixels(before.photo))
                self._put(before, after)
        return self.detail(face)

    def reset(self, face: str, seen: str | None = None) -> Detail | None:
        """As `Desk.reset`."""
        with self._finders.precedence.serving(), self._changing:
            self._check_seen(face, seen)
            if face in self._faceless:
                self._accept_faceless(face, Decision())
                return self.detail(face)
            before = self._seen(face)
            others = self._others(before.photo, face)
            self._put(before, put_back(before, Decision(), others, lambda: self._pixels(before.photo)))
        return None if before.found is None else self.detail(face)

    def draw(self, photo: str, box: Box) -> Detail:
        """As `Desk.draw`. Where no points could be made out, those of an average face stand in the box, and nothing is
        kept before they are put right or accepted.
        """
        with self._finders.precedence.serving(), self._changing:
            where = self._photo(photo)
            check_room(box, self._others(where))
            face = self._finders.served.fit(self._pixels(where), box)
            before = self._to_draw(where, face)
            after = replace(
                before, face=without_pixels(face), decision=NOTHING, small=thumbnail(face.pixels), gone=False
            )
            if NOT_FITTED not in face.doubts:
                decision = Decision(box=after.face.box, landmarks=points_in_photo(face), fitted=True)
                after = replace(after, decision=decision, kept=(decision,))
            self._put(before, after)
        return self.detail(after.id)

    def _to_draw(self, photo: Looked, drawn: Face) -> Seen:
        """What stands where a face was drawn: one that was found there and said to be none, or else a new one."""
        with self._known:
            known = self._of(photo)
            gone = [(one, one.found.box) for one in known if one.gone and one.found is not None]
            place = pair([drawn.box], [box for _, box in gone]).get(0)
            if place is not None:
                return gone[place][0]
            number = max((one.number for one in known), default=0) + 1
            return Seen(f"f{next(self._numbers)}", photo, number, without_pixels(drawn), None, thumbnail(drawn.pixels))

    def _check_seen(self, face: str, seen: str | None) -> None:
        with self._known:
            faceless = self._faceless.get(face)
            decision = self._seen(face).decision if faceless is None else Decision(accepted=faceless.accepted)
            check_seen(seen, decision, self._listing.line(face))

    def _put(self, before: Seen, after: Seen) -> None:
        """Keep what was decided about a face, first in the library; that the photo has none is said no more then."""
        photo, empty = after.photo, _faceless_id(after.photo)
        with self._known:
            others = [decision for one in self._of(photo) if one.id != after.id for decision in one.kept]
            is_said_empty = empty in self._faceless and self._faceless[empty].accepted
        outdated = (no_face_in(photo.size),) if is_said_empty and after.kept else ()
        try:
            self._kept.replace(photo.digest, photo.place, (*before.kept, *outdated), after.kept, others)
        except ChangedElsewhereError as error:
            if outdated:
                self._put_faceless(empty, accepted=outdated[0] in error.stored)
            now = ChangedElsewhereError([one for one in error.stored if one not in outdated])
            shown = as_stored(before, now, self._finders.served, lambda: self._pixels(photo))
            with self._known:
                self._remember(shown)
                self._changes.pop(after.id, None)
                self._show(photo)
            raise
        with self._known:
            earlier = self._changes.get(after.id, (before.decision,))[0]
            self._changes[after.id] = (earlier, Decision() if not after.kept else after.said)
            self._remember(after)
            self._show(photo)
        if outdated:
            self._put_faceless(empty, accepted=False)

    def _accept_faceless(self, face: str, decision: Decision) -> None:
        if decision != Decision(box=decision.box, accepted=decision.accepted):
            raise UsageError("There is no face yet; draw a box around one first.")
        with self._known:
            faceless = self._faceless[face]
            there = [one.number for one in self._of(faceless.photo) if not one.gone]
        if decision.accepted and there:
            raise UsageError(f"A face was drawn in this photo; take back face {there[0]} first.")
        photo, said = faceless.photo, (no_face_in(faceless.photo.size),)
        before, after = said if faceless.accepted else (), said if decision.accepted else ()
        try:
            self._kept.replace(photo.digest, photo.place, before, after)
        except ChangedElsewhereError as error:
            self._put_faceless(face, accepted=said[0] in error.stored)
            raise
        self._put_faceless(face, accepted=decision.accepted)
        with self._known:
            self._changes[face] = (None, Decision(accepted=decision.accepted))

    def _put_faceless(self, face: str, *, accepted: bool) -> None:
        """Show what is kept of a photo without a face."""
        with self._known:
            self._faceless[face] = replace(self._faceless[face], accepted=accepted)
            self._changes.pop(face, None)
            self._show(self._faceless[face].photo)

    # What is known

    def _seen(self, face: str) -> Seen:
        with self._known:
            if face not in self._faces:
                raise NoSuchFaceError(face)
            return self._faces[face]

    def _photo(self, photo: str) -> Looked:
        with self._known:
            if photo not in self._photos:
                raise NoSuchFaceError(photo)
            return self._photos[photo]

    def _of(self, photo: Looked) -> list[Seen]:
        return [self._faces[one] for one in self._in_photo.get(photo.id, ())]

    def _remember(self, seen: Seen) -> None:
        if seen.id not in self._faces:
            self._in_photo.setdefault(seen.photo.id, []).append(seen.id)
        self._faces[seen.id] = seen

    def _others(self, photo: Looked, but: str = "") -> list[tuple[int, Box]]:
        """Numbers and boxes of the faces in a photo."""
        with self._known:
            return [(one.number, one.face.box) for one in self._of(photo) if one.id != but and not one.gone]

    def _pixels(self, photo: Looked) -> Pixels:
        return self._shelf.pixels(photo.file.path, photo.digest)

    def _show(self, photo: Looked) -> None:
        """Put the faces of a photo into the list, and whose each is taken to be."""
        seen = self._of(photo)
        there = [one for one in seen if not one.gone]
        said = tuple(decision for one in there for decision in one.kept)
        faces = [one.face for one in there]
        owners = find_owners(faces, self._gallery, RestoreOptions(), photo.tags, Said(corrected=said))
        for one, owner in zip(there, owners, strict=True):
            self._faces[one.id] = replace(one, person=None if owner.match is None else owner.match.person)
        self._listing.put(*(line_of(self._faces[one.id], self._finders.served.min_face) for one in seen))
        empty = _faceless_id(photo)
        if empty in self._faceless:
            accepted = self._faceless[empty].accepted
            self._listing.put(line_without_face(empty, photo, accepted=accepted, drawn=bool(there)))

    # The search

    def _search(self) -> None:
        try:
            with telling(self._fail, "The search"):
                for number, file in enumerate(self._files, start=1):
                    self._finders.precedence.wait()
                    try:
                        with only_this_photo(file.path):
                            self._look_at(f"p{number}", file)
                    except PhotoError as error:
                        self._fail(f"{file.relative.as_posix()}: {error.reason}")
                    except LibraryFormatError as error:
                        self._fail(f"{file.relative.as_posix()}: {error}")
                    self._looked_at += 1
        finally:
            self._has_ended = True

    def _fail(self, sentence: str) -> None:
        with self._known:
            self._failures.append(sentence)

    def _look_at(self, identity: str, file: PhotoFile) -> None:
        photo = read_photo(file.path)
        digest = hashlib.sha256(photo.source).hexdigest()
        with self._known:
            if digest in self._digests:
                return
        size = (photo.pixels.shape[1], photo.pixels.shape[0])
        tags = read_tags(photo, read_side_tags(file.path)).faces
        looked = Looked(identity, file, digest, size, tags, photo.orientation, earlier_mark(photo))
        finder = self._finders.searching
        faces = moved_back(as_decided(finder, photo.pixels, finder.find(photo.pixels), self._kept.about(digest)))
        with self._known:
            self._photos[identity] = looked
            self._digests.add(digest)
            for number, (one, kept) in enumerate(faces, start=1):
                face = without_pixels(one.face)
                found = None if one.found is None else face if one.found is one.face else without_pixels(one.found)
                seen = Seen(
                    id=f"f{next(self._numbers)}",
                    photo=looked,
                    number=number,
                    face=face,
                    found=found,
                    small=thumbnail(one.face.pixels),
                    decision=one.decision or Decision(),
                    kept=kept,
                    gone=one.decision is not None and one.decision.not_a_face,
                )
                self._remember(seen)
            if not faces:
                accepted = no_face_in(size) in self._kept.about(digest)
                self._faceless[_faceless_id(looked)] = Faceless(
                    looked, thumbnail(middle_square(photo.pixels)), accepted
                )
            self._show(looked)


def _faceless_id(photo: Looked) -> str:
    """What the line of a photo without a face is called."""
    return f"n{photo.id}"
