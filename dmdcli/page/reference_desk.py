"""A person's references, to be put right: their points, or whether they are references at all."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dmdcli.decisions import Decision, FacePoints, find, says_nothing
from dmdcli.errors import DMDError, PhotoError, ReferenceChangedError, UsageError
from dmdcli.faces.confidence import CERTAIN, confidences
from dmdcli.faces.draw import draw_face
from dmdcli.faces.face import Confidence, Face, Landmarks, Source, component_boxes, implausible, problems, verdict
from dmdcli.faces.fitting import surroundings
from dmdcli.journal import digest_of
from dmdcli.library import Library
from dmdcli.library_files import ReferenceFiles, decode_points, encode_crop, encode_points
from dmdcli.page.desk import (
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
from dmdcli.page.keeping import Kept, points_of
from dmdcli.page.listing import Listing
from dmdcli.page.pictures import thumbnail, view_of
from dmdcli.page.seen import ACCEPTED, BY_HAND, DOUBTFUL, GONE, GOOD, UNUSABLE, points_in_photo
from dmdcli.page.turns import Finders, telling
from dmdcli.person import Person, Reference, same_name
from dmdcli.photos import read_photo
from dmdcli.pipeline.by_hand import describe, with_landmarks
from dmdcli.pipeline.one_photo import only_this_photo
from dmdcli.shapes import CROP, Box, Pixels, Points

AS_IT_IS = np.eye(2, 3, dtype=np.float32)
"""Matrix of a crop in itself."""
REMOVED = "it is no reference any more"


@dataclass(frozen=True)
class Held:
    """A reference on the desk. place: its number in the person, from 0. detected: its points as the program found them.

    removed: its files, where it was removed.
    """

    reference: Reference
    place: int
    crop: Pixels
    points: Points
    detected: Points
    confidence: Confidence | None = None
    accepted: bool = False
    changed: bool = False
    removed: ReferenceFiles | None = None


class ReferenceDesk:
    """The references of one person, as a `desk.Desk`; points are in pixels of the aligned crops (512 x 512).

    What is decided is in the library at once. Where the photo that a reference is from lies where it lay, its points
    are kept for the photo, too, so that enrolling it again uses them. `start` begins what is done in the background,
    `close` ends it.
    """

    def __init__(self, library: Library, person: Person, finders: Finders, kept: Kept) -> None:
        self._library = library
        self._person = person
        self._finders = finders
        self._kept = kept
        self._listing = Listing()
        self._failures: list[str] = []
        self._looked_at = 0
        self._known = threading.RLock()
        self._changing = threading.Lock()
        self._from_photos: queue.Queue[tuple[Reference, Pixels, FacePoints | None] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="look at references", daemon=True)
        crops, points = library.references(person)
        self._held: dict[str, Held] = {}
        for place, (reference, crop, shape) in enumerate(zip(person.references, crops, points, strict=True)):
            detected = shape
            if reference.landmark_source == "corrected":
                detected = finders.served.describe(crop)[0].points
            self._held[reference.id] = Held(reference, place, crop, shape, detected)
        for held in self._held.values():
            self._show(held)

    def start(self) -> None:
        """Begin to measure how far the points can be trusted."""
        self._thread.start()

    def close(self) -> None:
        """Wait until what was corrected is kept for the photos, too."""
        self._from_photos.put(None)
        if self._thread.is_alive():
            self._thread.join()

    # What is shown

    def state(self) -> State:
        """As `Desk.state`."""
        with self._known:
            failures = tuple(self._failures)
        title = f"References of {self._person.name}"
        return State(
            "references", title, ("landmarks", "accept", "remove"), (), len(self._held), self._looked_at, failures
        )

    def summaries(self, since: int) -> tuple[int, Sequence[Summary]]:
        """As `Desk.summaries`."""
        return self._listing.since(since)

    def prepare(self, face: str) -> None:
        """As `Desk.prepare`: there is nothing to wait for."""

    def detail(self, face: str, depth: Depth = "searched") -> Detail:  # noqa: ARG002 (as of `Desk`)
        """As `Desk.detail`."""
        held = self._of(face)
        standing = self._face(held)
        reference = held.reference
        facts = [
            ("From", reference.source),
            ("Added", reference.added[:10]),
            ("Sharpness", f"{reference.sharpness:.2f}"),
        ]
        return Detail(
            summary=self._listing.line(face),
            photo_id=face,
            size=(CROP, CROP),
            box=standing.box,
            landmarks=points_of(held.points),
            found_box=surroundings(held.detected),
            found_landmarks=points_of(held.detected),
            decision=self._decision(held),
            facts=facts,
        )

    def thumbnail(self, face: str) -> bytes:
        """As `Desk.thumbnail`."""
        return thumbnail(self._of(face).crop)

    def view(self, photo: str, region: Box | None, width: int, which: Which = "photo") -> bytes:
        """As `Desk.view`."""
        if which != "photo":
            raise UsageError("References have no results; `dmd review` shows those of a folder.")
        return view_of(self._of(photo).crop, region, width)

    def preview(self, face: str, decision: Decision) -> Preview:
        """The eyes and the mouth that the person's dictionary is made of, drawn into the reference."""
        began = time.monotonic()
        held = self._of(face)
        if decision.landmarks is not None:
            held = replace(held, points=np.array(decision.landmarks, dtype=np.float32), changed=True)
        name, reasons = verdict(self._face(held))
        boxes = component_boxes(held.points)
        drawn = draw_face(held.crop, held.points, boxes)
        return Preview(held.crop, drawn, boxes.tolist(), name, reasons, "specific", time.monotonic() - began)

    def decided(self) -> Mapping[str, int]:
        """As `Desk.decided`."""
        with self._known:
            held = list(self._held.values())
        counts = {
            "corrected": sum(one.changed and one.removed is None for one in held),
            "removed": sum(one.removed is not None for one in held),
            "accepted": sum(one.accepted for one in held),
        }
        return {what: count for what, count in counts.items() if count}

    # What is done

    def save(self, face: str, decision: Decision, seen: str | None = None) -> Detail:
        """As `Desk.save`; without points those found by the program count again.

        `not_a_face` removes the reference; anything else puts one that was removed back.
        """
        if decision.person is not None or decision.stranger or decision.leave_alone or decision.strength is not None:
            raise UsageError("Of a reference only the points can be changed, or it can be removed.")
        with self._finders.precedence.serving(), self._changing, self._taking_over(face):
            held = self._of(face)
            check_seen(seen, self._decision(held), self._listing.line(face))
            if decision.not_a_face:
                self._put(self._removed(held))
            else:
                held = self._put_back(held)
                self._put(replace(self._with_points(held, decision.landmarks), accepted=decision.accepted))
        return self.detail(face)

    def reset(self, face: str, seen: str | None = None) -> Detail | None:
        """As `Desk.reset`: a reference that was removed is back, and points are those that the program finds."""
        with self._finders.precedence.serving(), self._changing, self._taking_over(face):
            held = self._of(face)
            check_seen(seen, self._decision(held), self._listing.line(face))
            if held.removed is not None:
                self._put_back(held)
            else:
                self._put(replace(self._with_points(held, None), accepted=False))
        return self.detail(face)

    def draw(self, photo: str, box: Box) -> Detail:  # noqa: ARG002 (as of `Desk`)
        """As `Desk.draw`: there is one face in a reference."""
        raise UsageError("A reference shows one face; move its points instead.")

    def _removed(self, held: Held) -> Held:
        with self._known:
            left = sum(one.removed is None for one in self._held.values())
        if left == 1 and held.removed is None:
            raise UsageError(
                f"It is the last reference of {self._person.name}. Enrol a better photo first, or end this and "
                "`dmd people forget` them."
            )
        if held.removed is not None:
            return held
        files = self._library.reference_files(self._person, held.reference)
        self._library.remove_reference(self._person.name, held.reference.id, held.points)
        return replace(held, removed=files, accepted=False)

    def _put_back(self, held: Held) -> Held:
        """The reference, in the library again where it was removed."""
        if held.removed is not None:
            self._library.put_back_reference(self._person.name, held.place, held.reference, held.removed)
            held = replace(held, removed=None)
            self._put(held)
        return held

    def _with_points(self, held: Held, landmarks: FacePoints | None) -> Held:
        """The reference with other points, None for those found; kept in the library."""
        is_corrected = held.reference.landmark_source == "corrected"
        if landmarks is None and not is_corrected:
            return held
        if landmarks is not None and landmarks == points_of(held.points):
            return held
        points = held.detected if landmarks is None else np.array(landmarks, dtype=np.float32)
        source: Source = "detected" if landmarks is None else "corrected"
        self._library.correct_reference(self._person.name, held.reference.id, points, source, held.points)
        self._from_photos.put((held.reference, held.crop, landmarks))
        reference = replace(held.reference, landmark_source=source)
        return replace(held, reference=reference, points=points, changed=landmarks is not None)

    @contextlib.contextmanager
    def _taking_over(self, face: str) -> Iterator[None]:
        """What became of a reference elsewhere is shown instead, and told with ChangedElsewhereError."""
        try:
            yield
        except ReferenceChangedError as error:
            now = self._as_kept(self._of(face))
            self._put(now)
            raise ChangedElsewhereError((self._decision(now),)) from error

    def _as_kept(self, held: Held) -> Held:
        """The reference as the library has it by now; where it was removed it can be put back."""
        person = self._library.person(self._person.name)
        reference = next((one for one in person.references if one.id == held.reference.id), None)
        if reference is None:
            files = encode_crop(held.crop), encode_points(held.points)
            return replace(held, removed=held.removed or files, accepted=False, changed=False)
        points = decode_points(self._library.reference_files(person, reference)[1])
        return replace(held, reference=reference, points=points, accepted=False, changed=False, removed=None)

    def _put(self, held: Held) -> None:
        with self._known:
            self._held[held.reference.id] = held
            self._show(held)

    # What is known

    def _of(self, face: str) -> Held:
        with self._known:
            if face not in self._held:
                raise NoSuchFaceError(face)
            return self._held[face]

    def _decision(self, held: Held) -> Decision:
        corrected = held.reference.landmark_source == "corrected"
        points = points_of(held.points) if corrected and held.removed is None else None
        return Decision(landmarks=points, not_a_face=held.removed is not None, accepted=held.accepted)

    def _face(self, held: Held) -> Face:
        """The face in a crop, without its pixels."""
        corrected = held.changed or held.reference.landmark_source == "corrected"
        landmarks = Landmarks(held.points, source="corrected" if corrected else "detected")
        trust = self._finders.served.kit.trust
        return Face(
            box=surroundings(held.points),
            score=1.0,
            matrix=AS_IT_IS,
            pixels=held.crop,
            landmarks=landmarks,
            embedding=np.zeros(0, dtype=np.float32),
            rejected=implausible(landmarks, trust.lost),
            doubts=() if corrected else problems(landmarks, 1.0, trust.weak, held.confidence),
            confidence=CERTAIN if corrected else held.confidence,
        )

    def _show(self, held: Held) -> None:
        face = self._face(held)
        name, reasons = verdict(face)
        sure = None if face.confidence is None else face.confidence.face
        corrected = held.reference.landmark_source == "corrected"
        place = {"unusable": UNUSABLE, "doubtful": DOUBTFUL, "good": BY_HAND if corrected else GOOD}[name]
        rank = GONE if held.removed else ACCEPTED if held.accepted else place + 0.99 * (0.5 if sure is None else sure)
        line = Summary(
            id=held.reference.id,
            photo=Path(held.reference.source).name,
            number=held.place + 1,
            rank=rank,
            verdict=name,
            reasons=(REMOVED,) if held.removed else reasons,
            confidence=sure,
            by_hand=corrected,
            accepted=held.accepted,
            gone=held.removed is not None,
        )
        self._listing.put(line)

    # In the background

    def _work(self) -> None:
        """Measure how far points can be trusted; then keep what was corrected for the photos, until the end."""
        with telling(self._fail, "Looking at the references"):
            for face in list(self._held):
                with self._told_of(self._of(face).reference):
                    self._measure(face)
                self._looked_at += 1
            while (corrected := self._from_photos.get()) is not None:
                with self._told_of(corrected[0]):
                    self._keep_for_photo(*corrected)

    @contextlib.contextmanager
    def _told_of(self, reference: Reference) -> Iterator[None]:
        """What goes wrong with one reference is told, and the others go on."""
        try:
            with only_this_photo(Path(reference.source)):
                yield
        except PhotoError as error:
            self._fail(f"{reference.source}: {error.reason}")
        except DMDError as error:
            self._fail(f"{reference.source}: {error}")

    def _fail(self, sentence: str) -> None:
        with self._known:
            self._failures.append(sentence)

    def _measure(self, face: str) -> None:
        held = self._of(face)
        if held.reference.landmark_source == "detected":
            landmarks = Landmarks(held.detected)
            (sure,) = confidences(self._finders.searching.kit, held.crop[None], [landmarks])
            with self._known:
                self._put(replace(self._held[face], confidence=sure))

    def _keep_for_photo(self, reference: Reference, crop: Pixels, landmarks: FacePoints | None) -> None:
        """Keep a reference's points as those of the face in its photo, if just this crop is cut from it today.

        They are said to be the person's, so that they are forgotten with the person even when the reference was removed
        before. landmarks: None where those found count again, and nothing is said of whose they are.
        """
        path = Path(reference.source)
        try:
            is_there = path.is_file() and digest_of(path) == reference.digest
        except OSError:
            is_there = False
        if not is_there:
            return
        finder, before = self._finders.searching, self._kept.about(reference.digest)
        pixels = read_photo(path).pixels
        faces = finder.find(pixels)  # or, where the reference is from points put right before:
        faces += [describe(finder, pixels, box, one) for one, box in with_landmarks(before)]
        face = next((one for one in faces if np.array_equal(one.pixels, crop)), None)
        if face is None:
            return
        (said,) = find(before, [face.box])
        moved = None
        if landmarks is not None:
            moved = points_in_photo(replace(face, landmarks=Landmarks(np.array(landmarks, dtype=np.float32))))
        decision = self._called(replace(said or Decision(box=face.box), landmarks=moved, fitted=False))
        earlier = () if said is None else (said,)
        others = [one for one in before if one not in earlier]
        after = () if says_nothing(decision) else (decision,)
        self._kept.replace(reference.digest, path.name, earlier, after, others)

    def _called(self, decision: Decision) -> Decision:
        """A decision about the person's face, said to be theirs as far as it has points and is nobody else's."""
        name = self._person.name
        if decision.landmarks is None:
            is_theirs = decision.person is not None and same_name(decision.person, name)
            return replace(decision, person=None) if is_theirs else decision
        is_silent = not (decision.person or decision.stranger or decision.leave_alone)
        return replace(decision, person=name, not_a_face=False) if is_silent else decision
