"""What the page shows and may do: the seam where the server meets the faces of photos, of references and of results.

A desk is asked by several threads at once. What it returns is plain, so that the server only has to write JSON of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, TypeAlias

from dmdcli.decisions import Decision, FacePoints
from dmdcli.errors import UsageError
from dmdcli.faces.face import VerdictName
from dmdcli.shapes import Box, Pixels

Mode: TypeAlias = Literal["photos", "references", "results"]
Action: TypeAlias = Literal[
    "landmarks", "box", "person", "not_a_face", "draw", "leave_alone", "strength", "accept", "remove"
]
"""What may be done with a face here; the page shows no other button."""
Which: TypeAlias = Literal["photo", "result"]


Depth: TypeAlias = Literal["outline", "described", "searched"]
"""How much of a face is wanted: what is known without any network, its points as well, or also what takes a search of
its whole photo."""


class NoSuchFaceError(KeyError):
    """There is no face, or photo, of that id."""


class ChangedElsewhereError(UsageError):
    """What was to be replaced is not kept any more. stored: what is kept of the face instead."""

    def __init__(self, stored: Sequence[Decision]) -> None:
        super().__init__("This face was changed elsewhere meanwhile; it is shown again as it is now. Look at it again.")
        self.stored = tuple(stored)

    @property
    def decision(self) -> Decision:
        """What of that is about the face as it stands: its points, if it has any, or else what was said last."""
        has_points = (one for one in self.stored if one.landmarks is not None)
        return next(has_points, self.stored[-1] if self.stored else Decision())


@dataclass(frozen=True)
class State:
    """What the page is about.

    title: a heading, as "Faces in old_photos". people: names that may be given. photos: how many there are. looked_at:
    how many of them were searched for faces by now. failures: photos that could not be read, with the reason.
    """

    mode: Mode
    title: str
    actions: Sequence[Action]
    people: Sequence[str]
    photos: int
    looked_at: int
    failures: Sequence[str] = ()


@dataclass(frozen=True)
class Summary:
    """One line of the list.

    id: of the face, letters and digits. photo: its path as people know it. number: of the face in its photo, from 1.
    rank: the list's order, the lowest first: what most wants to be looked at. verdict, reasons: on the landmarks or, of
    a result, on what was published. confidence: that the landmarks are right, in [0, 1], where it was measured. person:
    whose the face is taken to be. by_hand: something was decided about it, more than a box to fit points in. accepted:
    it was looked at and is right. gone: it is none, or was removed, by decision. left: it stays as it is, by decision.
    """

    id: str
    photo: str
    number: int
    rank: float
    verdict: VerdictName
    reasons: Sequence[str]
    confidence: float | None = None
    person: str | None = None
    by_hand: bool = False
    accepted: bool = False
    gone: bool = False
    left: bool = False


@dataclass(frozen=True)
class Candidate:
    """Somebody a face might be. similarity: in [0, 1]."""

    name: str
    similarity: float


@dataclass(frozen=True)
class Detail:
    """All there is to know of one face.

    photo_id: of the picture that boxes and points lie in, for `Desk.view`. size: width and height of that picture in
    its pixels, upright. box: of the face. landmarks: as they stand, 68 points or none. found_box, found_landmarks: as
    the program found them, None for a face that was drawn by hand. decision: what was decided. candidates: the
    likeliest first. others: boxes of the other faces in the picture. facts: what is known of a result, as pairs of a
    heading and a text. pending: there is more to be asked for, points or what was found, with a greater `Depth`.
    """

    summary: Summary
    photo_id: str
    size: tuple[int, int]
    box: Box
    landmarks: FacePoints
    found_box: Box | None
    found_landmarks: FacePoints | None
    decision: Decision
    candidates: Sequence[Candidate] = ()
    others: Sequence[Box] = ()
    facts: Sequence[tuple[str, str]] = ()
    pending: bool = False

    @property
    def revision(self) -> str:
        """Names what is decided about the face by now; see `revision_of`."""
        return revision_of(self.decision, self.summary)


def revision_of(decision: Decision, line: Summary) -> str:
    """Names what is decided about a face with this line in the list."""
    said = (replace(decision, line=0), line.gone, line.by_hand)
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


def check_seen(seen: str | None, decision: Decision, line: Summary) -> None:
    """ChangedElsewhereError where somebody who saw the revision `seen` would decide about another; None: any."""
    if seen not in (None, revision_of(decision, line)):
        raise ChangedElsewhereError((decision,))


@dataclass(frozen=True)
class Preview:
    """What would come of a face with the points it has by now.

    before, after: (512, 512, 3) uint8 RGB, the aligned crop by these points and what is made of it. components:
    (3, 4) boxes of eyes and mouth in crop pixels. verdict, reasons: on these points, and where `dmd restore` would
    leave the face alone; no preview is refused for them. seconds: it took. left_out: places, in `components`, of those
    that are left as they were.
    """

    before: Pixels = field(repr=False)
    after: Pixels = field(repr=False)
    components: Sequence[Sequence[int]]
    verdict: VerdictName
    reasons: Sequence[str]
    used: Literal["specific", "generic"]
    seconds: float
    left_out: Sequence[int] = ()


class Desk(Protocol):
    """Faces to be looked at. Unknown ids raise NoSuchFaceError, what cannot be done UsageError with a sentence."""

    def state(self) -> State:
        """What the page is about, and how far the search is."""

    def summaries(self, since: int) -> tuple[int, Sequence[Summary]]:
        """The current revision, and the faces that are new or changed since revision `since` (0: all)."""

    def detail(self, face: str, depth: Depth = "searched") -> Detail:
        """Everything about one face, as far as is asked for or known; in an outline there may be no points."""

    def prepare(self, face: str) -> None:
        """Let everything about a face be there soon, without delaying anybody; in place of what was prepared before."""

    def thumbnail(self, face: str) -> bytes:
        """A JPEG of the face, 96 x 96 pixels."""

    def view(self, photo: str, region: Box | None, width: int, which: Which = "photo") -> bytes:
        """A JPEG of a part of a picture (all of it: None), at most `width` pixels wide; never enlarged.

        which: the photo, or its result in the output folder.
        """

    def preview(self, face: str, decision: Decision) -> Preview:
        """Restore the face with the landmarks, box, person and strength of `decision`; where the box, person or
        strength is None, with the one it has, and without landmarks with those that `save` would give it.

        Writes nothing.
        """

    def save(self, face: str, decision: Decision, seen: str | None = None) -> Detail:
        """Decide about a face, in place of what was decided before, and keep it; `Decision.box` None keeps its box.

        seen: `Detail.revision` of what was looked at; ChangedElsewhereError, and nothing changes, where it is another.
        """

    def reset(self, face: str, seen: str | None = None) -> Detail | None:
        """Forget what was decided about a face; None where that takes it away, as of one drawn by hand.

        seen: as of `save`.
        """

    def draw(self, photo: str, box: Box) -> Detail:
        """Fit landmarks in a box, in pixels of the picture, and keep the face; UsageError where none can be fitted."""

    def decided(self) -> Mapping[str, int]:
        """How many faces were corrected, accepted, ... since the page was opened, for the last line of the command."""
