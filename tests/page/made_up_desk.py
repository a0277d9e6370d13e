"""A desk of faces that were never photographed, as many as are wanted, which remembers what it was asked to do."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np

from dmdcli.decisions import Decision, FacePoints
from dmdcli.errors import UsageError
from dmdcli.faces.align import crop_matrix, five_points
from dmdcli.faces.face import component_boxes
from dmdcli.page.desk import (
    Action,
    Candidate,
    Depth,
    Detail,
    Mode,
    NoSuchFaceError,
    Preview,
    State,
    Summary,
    Which,
    check_seen,
)
from dmdcli.shapes import Box, Pixels, overlap
from tests.pipeline.made_up import POINTS

SIZE = (1200, 900)
"""Width and height of every photo."""
CORNERS = ((60.0, 120.0), (450.0, 200.0), (830.0, 90.0))
SIDE = 300.0
"""Of the square in which a face's crop lies, in photo pixels."""
FACES_A_PHOTO = len(CORNERS)
PEOPLE = ("Alice", "Bob Ångström", "Carol <b>& Sons</b>")
REASONS = ("the second opinion is 9 % of the eye distance away", "an eye lies outside the face")
ACTIONS: Mapping[Mode, Sequence[Action]] = {
    "photos": ("landmarks", "box", "person", "not_a_face", "draw", "leave_alone", "strength", "accept"),
    "references": ("landmarks", "box", "accept", "remove"),
    "results": ("landmarks", "box", "person", "leave_alone", "strength", "accept", "not_a_face"),
}


@functools.cache
def points_in(corner: tuple[float, float], side: float = SIDE) -> FacePoints:
    """The made-up points in a square of a photo, in photo pixels."""
    x, y = corner
    return tuple((round(x + float(px) * side / 512, 2), round(y + float(py) * side / 512, 2)) for px, py in POINTS)


@functools.cache
def box_around(points: FacePoints) -> Box:
    x, y = zip(*points, strict=True)
    return min(x), min(y), max(x), max(y)


def draw_face(picture: Pixels, points: FacePoints, colour: tuple[int, int, int]) -> None:
    """A head, brows, nose, eyes and mouth, so that points can be seen to lie right or wrong."""
    rows = np.round(np.array(points)).astype(np.int32)
    cv2.fillPoly(picture, [cv2.convexHull(rows[:27])], colour)
    for part in (rows[36:42], rows[42:48]):
        cv2.fillPoly(picture, [part], (250, 250, 250))
        cv2.circle(picture, [int(value) for value in part.mean(axis=0)], 4, (40, 30, 20), -1, cv2.LINE_AA)
    for part in (rows[17:22], rows[22:27], rows[27:31]):
        cv2.polylines(picture, [part], False, (60, 40, 30), 2, cv2.LINE_AA)
    cv2.fillPoly(picture, [cv2.convexHull(rows[48:68])], (170, 60, 60))


@functools.lru_cache(maxsize=64)
def picture_of(photo: int, bright: bool) -> Pixels:
    """(900, 1200, 3): a photo with its faces, or its result; sixteen kinds of photos are enough for any number."""
    picture = np.full((SIZE[1], SIZE[0], 3), (90, 100, 120), np.uint8)
    picture[::30] = 110
    for number, corner in enumerate(CORNERS):
        tone = 120 + (photo * 37 + number * 29) % 60
        draw_face(picture, points_in(corner), (tone + 60, tone + 20, tone - 20))
    return cv2.convertScaleAbs(picture, alpha=1.25) if bright else picture


def jpeg(pixels: Pixels) -> bytes:
    return bytes(cv2.imencode(".jpg", pixels[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, 85))[1])


@functools.lru_cache(maxsize=64)
def thumbnail_of(kind: int, number: int) -> bytes:
    x, y = (int(value) for value in CORNERS[number])
    return jpeg(cv2.resize(picture_of(kind, False)[y : y + 300, x : x + 300], (96, 96), interpolation=cv2.INTER_AREA))


class MadeUpDesk:
    """Photos of three faces each; every fourth face is doubtful, every ninth has its right eye in the wrong place.

    faces: how many are known at once; `search` finds more. asked: the calls that may change something or take long, as
    (name, arguments). A photo's id is "p" and its number, a face's "f" and its number; one drawn by hand has "d".
    """

    def __init__(self, faces: int = 30, mode: Mode = "photos", total: int | None = None) -> None:
        self.mode: Mode = mode
        self.total = max(faces, total or 0)
        self.asked: list[tuple[str, tuple[object, ...]]] = []
        self._lock = threading.RLock()
        self._revision = 0
        self._details: dict[str, Detail] = {}
        self._changed: dict[str, int] = {}
        self._drawn = 0
        self._known = 0
        self.search(faces)

    def search(self, faces: int) -> None:
        """Find so many more faces, as a search in the background does."""
        with self._lock:
            for number in range(self._known, self._known + faces):
                self._put(_made_up(number, self.mode))
            self._known += faces

    def state(self) -> State:
        with self._lock:
            return State(
                self.mode,
                {"photos": "Faces in old_photos", "references": "Pictures of Alice", "results": "Results in out"}[
                    self.mode
                ],
                ACTIONS[self.mode],
                PEOPLE,
                -(-self.total // FACES_A_PHOTO),
                -(-self._known // FACES_A_PHOTO),
                ("old_photos/torn.jpg: is empty (0 bytes)",),
            )

    def summaries(self, since: int) -> tuple[int, Sequence[Summary]]:
        with self._lock:
            found = [self._details[face].summary for face, changed in self._changed.items() if changed > since]
            return self._revision, found

    def prepare(self, face: str) -> None:
        self.asked.append(("prepare", (face,)))

    def detail(self, face: str, depth: Depth = "searched") -> Detail:
        with self._lock:
            return self._get(face)

    def thumbnail(self, face: str) -> bytes:
        with self._lock:
            detail = self._get(face)
        return thumbnail_of(int(detail.photo_id[1:]) % 16, (detail.summary.number - 1) % FACES_A_PHOTO)

    def view(self, photo: str, region: Box | None, width: int, which: Which = "photo") -> bytes:
        if not photo.startswith("p") or not photo[1:].isdigit():
            raise NoSuchFaceError(photo)
        x0, y0, x1, y1 = (round(edge) for edge in region or (0, 0, *SIZE))
        cut = picture_of(int(photo[1:]) % 16, which == "result")[max(y0, 0) : max(y1, 1), max(x0, 0) : max(x1, 1)]
        if not cut.size:
            raise UsageError("That part lies outside the photo.")
        if cut.shape[1] > width:
            height = max(1, round(cut.shape[0] * width / cut.shape[1]))
            cut = cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA)
        return jpeg(cut)

    def preview(self, face: str, decision: Decision) -> Preview:
        self.asked.append(("preview", (face, decision)))
        with self._lock:
            detail = self._get(face)
        points = np.array(decision.landmarks or detail.found_landmarks or detail.landmarks, np.float32)
        matrix = crop_matrix(five_points(points))
        in_crop = points @ matrix[:, :2].T + matrix[:, 2]
        before = np.full((512, 512, 3), (90, 100, 120), np.uint8)
        draw_face(before, tuple((float(px), float(py)) for px, py in in_crop), (190, 150, 110))
        strength = 1.0 if decision.strength is None else decision.strength
        after = cv2.convertScaleAbs(before, alpha=1 + 0.25 * strength)
        used = "specific" if decision.person else "generic"
        boxes = component_boxes(in_crop).tolist()
        left_out = (1,) if detail.summary.verdict == "unusable" and decision.landmarks is None else ()
        return Preview(before, after, boxes, "good", (), used, 0.02, left_out)

    def save(self, face: str, decision: Decision, seen: str | None = None) -> Detail:
        self.asked.append(("save", (face, decision)))
        with self._lock:
            detail = self._get(face)
            check_seen(seen, detail.decision, detail.summary)
            summary = replace(
                detail.summary,
                person=None if decision.stranger else decision.person or detail.summary.person,
                by_hand=True,
                accepted=decision.accepted,
                gone=decision.not_a_face,
                left=decision.leave_alone,
                verdict="good" if decision.landmarks or decision.accepted else detail.summary.verdict,
                reasons=() if decision.landmarks or decision.accepted else detail.summary.reasons,
            )
            self._put(
                replace(
                    detail,
                    summary=summary,
                    box=decision.box or detail.box,
                    landmarks=decision.landmarks or _fitted(detail, decision.box),
                    decision=replace(decision, box=decision.box or detail.box),
                )
            )
            return self._details[face]

    def reset(self, face: str, seen: str | None = None) -> Detail | None:
        self.asked.append(("reset", (face,)))
        with self._lock:
            detail = self._get(face)
            check_seen(seen, detail.decision, detail.summary)
            if detail.found_box is None:
                self._put(replace(detail, summary=replace(detail.summary, gone=True)))
                return None
            self._put(_made_up(int(face[1:]), self.mode))
            return self._details[face]

    def draw(self, photo: str, box: Box) -> Detail:
        self.asked.append(("draw", (photo, box)))
        if min(box[2] - box[0], box[3] - box[1]) < 20:
            raise UsageError("No landmarks can be fitted in so small a box. Draw it around the whole face.")
        with self._lock:
            here = [one for one in self._details.values() if one.photo_id == photo]
            if not here:
                raise NoSuchFaceError(photo)
            self._drawn += 1
            points = points_in((box[0], box[1]), min(box[2] - box[0], box[3] - box[1]))
            summary = Summary(
                f"d{self._drawn}", here[0].summary.photo, len(here) + 1, 0.0, "good", (), 0.8, None, by_hand=True
            )
            self._put(Detail(summary, photo, SIZE, box, points, None, None, Decision(box=box, landmarks=points)))
            return self._details[summary.id]

    def decided(self) -> Mapping[str, int]:
        with self._lock:
            summaries = [one.summary for one in self._details.values()]
        return {
            "corrected": sum(one.by_hand and not one.accepted and not one.gone for one in summaries),
            "accepted": sum(one.accepted for one in summaries),
            "removed": sum(one.gone for one in summaries),
        }

    def _get(self, face: str) -> Detail:
        try:
            return self._details[face]
        except KeyError as error:
            raise NoSuchFaceError(face) from error

    def _put(self, detail: Detail) -> None:
        self._revision += 1
        self._details[detail.summary.id] = detail
        self._changed[detail.summary.id] = self._revision


class FacelessDesk(MadeUpDesk):
    """In its first photo there is no face; `more` faces are in others."""

    def __init__(self, more: int = 0) -> None:
        super().__init__(1)
        self._known = FACES_A_PHOTO
        self.search(more)
        detail = self.detail("f0")
        summary = replace(detail.summary, number=0, verdict="unusable", reasons=("no face was found",), person=None)
        whole = (0.0, 0.0, float(SIZE[0]), float(SIZE[1]))
        self._put(
            replace(detail, summary=summary, box=whole, landmarks=(), found_box=None, found_landmarks=None, others=())
        )


def _fitted(detail: Detail, box: Box | None) -> FacePoints:
    """The points in a box, None for the one that the face has: those found, carried along with the box."""
    if box is None or detail.found_box is None or detail.found_landmarks is None:
        return detail.landmarks
    right, down = box[0] - detail.found_box[0], box[1] - detail.found_box[1]
    return tuple((x + right, y + down) for x, y in detail.found_landmarks)


def _made_up(number: int, mode: Mode) -> Detail:
    """The face of that number, as it was found."""
    photo, place = divmod(number, FACES_A_PHOTO)
    points = points_in(CORNERS[place])
    box = box_around(points)
    doubtful, unusable = number % 4 == 3, number % 9 == 8
    if unusable:
        points = tuple((x + 45, y - 60) if 42 <= index < 48 else (x, y) for index, (x, y) in enumerate(points))
    confidence = 0.2 if unusable else 0.6 if doubtful else 0.97
    summary = Summary(
        id=f"f{number}",
        photo=f"album {photo // 100}/photo {photo}.jpg",
        number=place + 1,
        rank=round(confidence + number / 1e6, 6),
        verdict="unusable" if unusable else "doubtful" if doubtful else "good",
        reasons=(REASONS[1],) if unusable else (REASONS[0],) if doubtful else (),
        confidence=confidence,
        person=PEOPLE[number % 3] if number % 5 else None,
    )
    corners = (box_around(points_in(corner)) for corner in CORNERS)
    others = tuple(other for other in corners if overlap(other, box) < 0.9)
    likely = (Candidate(PEOPLE[number % 3], 0.83), Candidate(PEOPLE[(number + 1) % 3], 0.31))
    facts = (("Published", "from Alice's own dictionary"), ("Likeness", "0.91 before, 0.93 after"))
    return Detail(
        summary,
        f"p{photo}",
        SIZE,
        box,
        points,
        box,
        points,
        Decision(),
        likely,
        others,
        facts if mode == "results" else (),
    )
