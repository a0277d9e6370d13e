"""A face on the desk of photos, and its line in the list: what most wants to be looked at comes first."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from dmdcli.decisions import Decision, FacePoints, says_nothing
from dmdcli.faces.align import invert, transform
from dmdcli.faces.face import Face, verdict
from dmdcli.faces.finder import NOT_FITTED
from dmdcli.marks import Mark
from dmdcli.page.desk import Summary
from dmdcli.page.keeping import points_of
from dmdcli.photos import PhotoFile
from dmdcli.pipeline.by_hand import NOT_A_FACE
from dmdcli.shapes import Pixels, rounded
from dmdcli.tags import FaceTag

UNUSABLE, DOUBTFUL, WITHOUT_FACE, SMALL, GOOD, BY_HAND, ACCEPTED, GONE = range(8)
"""The list's order: faces that cannot be used, doubtful ones, photos without a face, faces that are only too small,
good ones, those put right by hand, those looked at, and those that are none."""
LARGE = 1000.0
"""Side in photo pixels: the larger a face that cannot be used, the earlier it comes."""
NO_FACE = "no face was found; draw a box around one, or accept that there is none"
DRAWN_THERE = "no face was found; one was drawn"
NOTHING = Decision()
NO_PIXELS: Pixels = np.zeros((0, 0, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Looked:
    """A photo that was searched. size: width and height, upright. tags: the faces that other programs marked.

    orientation: as in EXIF. mark: of the faces that dmd restored before.
    """

    id: str
    file: PhotoFile
    digest: str
    size: tuple[int, int]
    tags: tuple[FaceTag, ...] = ()
    orientation: int = 1
    mark: Mark | None = None

    @property
    def place(self) -> str:
        """Its path as people know it."""
        return self.file.relative.as_posix()


@dataclass(frozen=True)
class Seen:
    """One face, without its pixels.

    number: in its photo, from 1. face: as it stands. found: as the program found it, None for one drawn by hand. small:
    its thumbnail. decision: what was decided. kept: what the library keeps of that, with what is said of the place
    where it was found. person: whose it is taken to be. gone: it is none, as decided.
    """

    id: str
    photo: Looked
    number: int
    face: Face
    found: Face | None
    small: bytes = field(repr=False)
    decision: Decision = NOTHING
    kept: tuple[Decision, ...] = ()
    person: str | None = None
    gone: bool = False

    @property
    def points(self) -> FacePoints:
        """The 68 points in photo pixels, as they stand."""
        return points_in_photo(self.face) if self.decision.landmarks is None else self.decision.landmarks

    @property
    def said(self) -> Decision:
        """What was decided, without points that were accepted just as they were found: those nobody put right."""
        if self.found is None or self.decision.landmarks != points_in_photo(self.found):
            return self.decision
        return replace(self.decision, landmarks=None)


def points_in_photo(face: Face) -> FacePoints:
    """The 68 points of a face in photo pixels."""
    return points_of(transform(face.landmarks.points, invert(face.matrix)))


def without_pixels(face: Face) -> Face:
    """The face as it is kept on the page: without its crop, which takes 800 kB and is cut again when it is wanted, and
    with its box as the journal has it.
    """
    return replace(face, pixels=NO_PIXELS, box=rounded(face.box))


def line_of(seen: Seen, least_face: float) -> Summary:
    """The line of a face. least_face: side in photo pixels below which a face is too small."""
    name, reasons = verdict(seen.face)
    sure = _sure(seen.face)
    decision = seen.decision
    return Summary(
        id=seen.id,
        photo=seen.photo.place,
        number=seen.number,
        rank=_rank(seen, least_face),
        verdict=name,
        reasons=(NOT_A_FACE,) if seen.gone else reasons,
        confidence=sure,
        person=None if seen.gone else decision.person or seen.person,
        by_hand=bool(seen.kept) and _says_more_than_fitted(decision),
        accepted=decision.accepted,
        gone=seen.gone,
        left=decision.leave_alone,
    )


def line_without_face(identity: str, photo: Looked, *, accepted: bool, drawn: bool) -> Summary:
    """The line of a photo in which no face was found: number 0. drawn: one was drawn since, so that nothing is open."""
    if drawn:
        return Summary(identity, photo.place, 0, BY_HAND, "good", (DRAWN_THERE,), by_hand=True)
    rank = ACCEPTED if accepted else WITHOUT_FACE
    return Summary(identity, photo.place, 0, rank, "unusable", (NO_FACE,), accepted=accepted)


def _says_more_than_fitted(decision: Decision) -> bool:
    """Whether somebody said more than that a face was looked at, and than the box in which points were fitted."""
    landmarks = None if decision.fitted else decision.landmarks
    return not says_nothing(replace(decision, landmarks=landmarks, accepted=False))


def _sure(face: Face) -> float | None:
    """How surely the points are right; of an average face in a box it says nothing that the kit sees it steadily."""
    return None if face.confidence is None or NOT_FITTED in face.doubts else face.confidence.face


def _rank(seen: Seen, least_face: float) -> float:
    """One of the places above, and within it the least sure first."""
    face = seen.face
    known = _sure(face)
    sure = 0.5 if known is None else known
    side = max(face.box[2] - face.box[0], face.box[3] - face.box[1])
    if seen.gone:
        return GONE
    if seen.decision.accepted:
        return ACCEPTED
    if seen.decision.landmarks is not None and face.landmarks.source == "corrected":
        return BY_HAND
    if face.rejected is not None:
        smallness = LARGE / (LARGE + side)
        return (SMALL if side < least_face else UNUSABLE) + 0.99 * smallness
    return (DOUBTFUL if face.doubts else GOOD) + 0.99 * sure
