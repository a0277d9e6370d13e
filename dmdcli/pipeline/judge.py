"""What of a restored face may be published: the best answer, a weaker one, or nothing, and why.

The thresholds were set on crops of the training split and are held against others in docs/do-no-harm.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from dmdcli.faces.align import blend_mask
from dmdcli.faces.face import (
    Face,
    component_boxes,
    doubtful_components,
    is_turned_far,
    landmark_distance,
    odd_components,
    openness_of_eyes,
    turn_of_head,
)
from dmdcli.faces.identity import Gallery, Match
from dmdcli.faces.kit import FaceKit
from dmdcli.faces.surface import fine_detail
from dmdcli.shapes import COMPONENTS, CROP, Embedding, FloatPixels, Pixels, Points, as_floats, check_shape

Used: TypeAlias = Literal["specific", "generic", "none"]
Mask: TypeAlias = npt.NDArray[np.float32]
"""(512, 512) float32 in [0, 1]."""

LESS_LIKE = 0.03
"""Similarity to their references that a known person's face may lose. Set by hand, and looked at on 135 recognised
faces of the validation split (moderate damage): 11 % would lose more, and without them the most that a face loses
towards the true one is 0.023 instead of 0.091."""
LESS_THAN_GENERIC = 0.01
"""Similarity by which the specific answer may stay below the generic one and still be preferred: what it gains over the
generic one towards the references, it gains towards the true face too (correlation 0.86, 187 validation faces)."""
LEAST_LIKENESS = 0.95
"""Similarity that a stranger's restored face must have to the face as it was. Of 39 moderately damaged training crops
13 had less; with them restored weaker the most lost towards the true face was 0.03 instead of 0.11, and the mean gain
rose from 0.033 to 0.044, the highest (0.92 does as well, 0.90 does not)."""
LEAST_IN_PART = 0.5
"""What is asked instead of the weakest part, the kit's own line between one person and two. Severely damaged faces
resemble nobody before (similarity 0.04 to the true face) and after, so nothing more can be said of them."""
MOST_MOVED = 0.06
"""Mean distance of the 68 points from where they were, over that of the outer eye corners. Training crops: up to 0.023
with moderate and 0.039 with severe damage."""
SOFTER = 0.8
"""Part of its fine detail in eyes and mouth that a face must keep. Training crops got 1.3 times as much and more."""
LEAST_DETAIL = 0.25 / 255
"""Fine detail below which there is none to lose."""
SHARP = 0.5
"""Fine over coarse detail of eyes and mouth from which a face is good already. Of 130 training crops 97 % have more, of
their mildly damaged copies 3 %, of moderately damaged ones none (up to 0.45)."""
PARTS = (1.0, 0.5, 0.25)
"""Parts of the strength that are tried, one after the other."""
FADED = 2.0
"""Sides of the smallest face, from which on a face is restored with full strength."""
TURNED_STRENGTH = 0.5
"""Part of the strength for heads turned far to the side, of whom there were none in the training data."""
CLOSED = 0.15
"""Height over width of an eye below which it is taken for closed: of 1560 eyes of training crops, all open, 0.4 % are
below, of 140 made-up closed ones 43 %, and 38 % after moderate damage (`benchmarks/closed_eyes.py`)."""
COMPONENT_FEATHER = 24.0
"""Crop pixels around a component left out, in which the change rises from nothing to all of it."""
ALREADY_GOOD = "already sharp"
"""The reason why a good face is left alone."""
RESTORED_ALREADY = "restored by dmd already"
"""The reason why a face is left alone that the photo's own mark tells of: what was made up would be made up from."""


@dataclass(frozen=True)
class Plan:
    """How much of a face's change can be trusted before it is made.

    strength: part of the strength asked for, 0 where the face is to be left alone. skipped: components whose change is
    left out. reasons: in words. asked: strength asked for of this face alone, in [0, 1]; None for that of all. judged:
    what is made of it is held against what was there; else it is published, for somebody decided so.
    """

    strength: float = 1.0
    skipped: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    asked: float | None = None
    judged: bool = True


@dataclass(frozen=True)
class Likeness:
    """Says how like the person a picture is.

    before: similarity in [0, 1] of a known person's face, as it was, to their references; None for strangers. of:
    embedding -> similarity, to the references or, for strangers, to the face as it was.
    """

    before: float | None
    of: Callable[[Embedding], float] = field(repr=False)


@dataclass(frozen=True)
class Subject:
    """A face to be judged.

    answers: the specific one, where there is one, and the generic one, (512, 512, 3) float32 RGB in [0, 1] each, as
    they would be blended in. mask: where they are. strength: the one asked for, in (0, 1].
    """

    face: Face
    plan: Plan
    answers: Sequence[tuple[Used, FloatPixels]] = field(repr=False)
    mask: Mask = field(repr=False)
    strength: float
    likeness: Likeness


@dataclass(frozen=True)
class Judgement:
    """What is published of a face.

    used: from which dictionary, "none" where the face is left alone. strength: of the blending, 0 where nothing is.
    answer: what is blended in, (512, 512, 3) float32 RGB in [0, 1]; None where nothing is. similarity: of what is
    published, to the person's references or, of a stranger, to the face as it was; None where it was not measured.
    reasons: why it is not the best answer at the strength asked for, in words. shown: what is published, as it was
    looked at; None where nothing is or it was not. seen: all answers at the strength asked for, the preferred first.
    """

    used: Used
    strength: float
    answer: FloatPixels | None = field(default=None, repr=False)
    similarity: float | None = None
    reasons: tuple[str, ...] = ()
    shown: Seen | None = field(default=None, repr=False)
    seen: tuple[Seen, ...] = field(default=(), repr=False)


def is_already_good(face: Face) -> bool:
    """Whether a face is so sharp and clean that restoring it could hardly give it anything."""
    points = face.landmarks.points
    fine, coarse = fine_detail(as_floats(face.pixels), blend_mask(points), component_boxes(points))
    return fine > SHARP * coarse


def plan_face(face: Face, least_face: float) -> Plan:
    """How far the change of a usable face can be trusted, by what is known before it is made.

    least_face: side in photo pixels of the smallest face that is restored.
    Strength fades towards that size, and is lower for heads turned far to the side, whose far eye is left out.
    Components whose box had to be moved or is of no sane size, and those whose points are unsure, are left out: they
    may be somewhere else. So are closed eyes: a network taught on open ones would open them.
    """
    points = face.landmarks.points
    moved = doubtful_components(points)
    if face.landmarks.source != "corrected":
        moved = (*moved, *odd_components(points))
    unsure = () if face.confidence is None else face.confidence.unsure_components()
    turned = is_turned_far(points)
    hidden = () if not turned else ("left_eye" if turn_of_head(points) > 0 else "right_eye",)
    closed = closed_eyes(points)
    skipped = tuple(name for name in COMPONENTS if name in (*moved, *unsure, *hidden, *closed))
    reasons = [*left_out(skipped, closed)]
    side = max(face.box[2] - face.box[0], face.box[3] - face.box[1])
    strength = faded(side, least_face)
    if strength < 1:
        reasons.append(f"the face is only {side:.0f} pixels wide")
    if turned:
        strength *= TURNED_STRENGTH
        reasons.append("the head is turned far to the side")
    return Plan(strength, skipped, tuple(reasons))


def closed_eyes(points: Points) -> tuple[str, ...]:
    """The eyes that seem closed by their lids; points: (68, 2) in crop pixels."""
    eyes = zip(("left_eye", "right_eye"), openness_of_eyes(points), strict=True)
    return tuple(name for name, openness in eyes if openness < CLOSED)


def left_out(skipped: Sequence[str], closed: Sequence[str] = ()) -> tuple[str, ...]:
    """Sentences that name the components left out; closed: the eyes among them that seem closed."""
    return tuple(
        f"the {name.replace('_', ' ')} {'seems closed and ' if name in closed else ''}is left as it was"
        for name in skipped
    )


def faded(side: float, least: float) -> float:
    """Part of the strength for a face of `side` photo pixels: 1 from FADED times `least` on, and half as much there.

    It does not fall to 0, for a face of just that size is wanted restored.
    """
    if least <= 0:
        return 1.0
    return float(np.clip(side / least / FADED, 1 / FADED, 1))


def without_components(mask: Mask, points: Points, skipped: Sequence[str]) -> Mask:
    """The mask without the boxes of the components named, softened at their edges; points: (68, 2) in crop pixels."""
    check_shape("mask", mask, (CROP, CROP), np.float32)
    if not skipped:
        return mask
    outside = np.ones(mask.shape, dtype=np.uint8)
    for name, (x0, y0, x1, y1) in zip(COMPONENTS, component_boxes(points), strict=True):
        if name in skipped:
            outside[y0:y1, x0:x1] = 0
    distance = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(mask * np.minimum(distance / COMPONENT_FEATHER, 1), dtype=np.float32)


def judge_faces(subjects: Sequence[Subject], kit: FaceKit) -> list[Judgement]:
    """Choose what of each face is published.

    The specific answer is preferred unless it is less like the person than the generic one. Where an answer is refused,
    the other one is taken, else both are tried with less of the strength, else the face is left alone. Where the plan
    says that a face is not to be judged, the preferred answer is taken at the strength asked for. The pictures of
    all faces are looked at in one batch, those that are tried weaker in further ones.
    """
    judgements: dict[int, Judgement] = {}
    refused: dict[int, str] = {}
    first: dict[int, list[Seen]] = {}
    for part in PARTS:
        waiting = [index for index in range(len(subjects)) if index not in judgements]
        looked_at = _look_at([subjects[index] for index in waiting], part, kit)
        for index, seen in zip(waiting, looked_at, strict=True):
            subject = subjects[index]
            first.setdefault(index, seen)
            least = LEAST_IN_PART if part == PARTS[-1] else LEAST_LIKENESS
            judged = subject.plan.judged
            refusals = [refusal(one, subject.likeness.before, least) if judged else None for one in seen]
            if None in refusals:
                weaker = (f"with less strength: {refused[index]}",) if index in refused else ()
                judgements[index] = take(subject, seen[refusals.index(None)], part, weaker)
            else:
                refused.setdefault(index, str(refusals[0]))
    return [
        replace(judgements.get(index) or Judgement("none", 0.0, reasons=(refused[index],)), seen=tuple(first[index]))
        for index in range(len(subjects))
    ]


def take_first(subject: Subject) -> Judgement:
    """What is published of a face that is not judged: its first answer, as strongly as asked for."""
    used, answer = subject.answers[0]
    return Judgement(used, subject.strength * subject.plan.strength, answer, reasons=subject.plan.reasons)


def likeness_to(face: Face, match: Match | None, gallery: Gallery, kit: FaceKit) -> Likeness:
    """How like the person of `match`, or else like `face` as it is, other pictures of the face are."""
    if match is not None:
        person = match.person
        return Likeness(match.similarity, lambda embedding: gallery.rank(embedding, [person])[0].similarity)
    before = face.embedding.astype(np.float64)
    return Likeness(None, lambda embedding: float(kit.similarity(np.asarray(np.linalg.norm(embedding - before)))))


def take(subject: Subject, seen: Seen, part: float, reasons: tuple[str, ...]) -> Judgement:
    """What is published where an answer is accepted with `part` of the strength."""
    strength = subject.strength * subject.plan.strength * part
    return Judgement(seen.used, strength, seen.answer, seen.similarity, (*reasons, *subject.plan.reasons), shown=seen)


@dataclass(frozen=True)
class Seen:
    """An answer as it would be published, looked at by the kit.

    similarity: to the person's references, or to the face as it was. moved: mean distance of its 68 points from where
    they were, over that of the outer eye corners. kept: its fine detail of eyes and mouth, over that of the face as it
    was.
    """

    used: Used
    answer: FloatPixels = field(repr=False)
    similarity: float
    moved: float
    kept: float


def refusal(seen: Seen, before: float | None, least: float = LEAST_LIKENESS) -> str | None:
    """Why an answer must not be published, or None.

    before: similarity of a known person's face as it was. least: similarity a stranger's must have to the face as it
    was.
    """
    if before is not None and seen.similarity < before - LESS_LIKE:
        return f"it would be less like the person than it was ({seen.similarity:.2f} after {before:.2f})"
    if before is None and seen.similarity < least:
        return f"it would not be who it was (similarity {seen.similarity:.2f})"
    if seen.moved > MOST_MOVED:
        return f"eyes, nose or mouth would move (by {seen.moved:.0%} of the distance of the eyes)"
    if seen.kept < SOFTER:
        return f"eyes and mouth would be softer than they were ({seen.kept:.0%} of their detail)"
    return None


def _look_at(subjects: Sequence[Subject], part: float, kit: FaceKit) -> list[list[Seen]]:
    """The answers of each subject with part of its strength, the preferred first."""
    shown = [
        (subject, used, answer, published(subject, answer, subject.strength * subject.plan.strength * part))
        for subject in subjects
        for used, answer in subject.answers
    ]
    if not shown:
        return []
    pictures = np.stack([picture for *_, picture in shown])
    found = kit.landmarks(pictures)
    # With the points found in the face as it was: nothing but the pixels differs.
    embeddings = kit.embed(pictures, [subject.face.landmarks for subject, *_ in shown])
    before = _points_before(subjects, kit)
    detail = {id(subject): detail_of(subject.face, subject.face.pixels) for subject in subjects}
    looked_at: dict[int, list[Seen]] = {id(subject): [] for subject in subjects}
    for (subject, used, answer, picture), landmarks, embedding in zip(shown, found, embeddings, strict=True):
        moved = min(landmark_distance(landmarks.points, points) for points in before[id(subject)])
        kept = detail_kept(detail[id(subject)], detail_of(subject.face, picture))
        looked_at[id(subject)].append(Seen(used, answer, subject.likeness.of(embedding), moved, kept))
    return [_preferred_first(looked_at[id(subject)]) for subject in subjects]


def _points_before(subjects: Sequence[Subject], kit: FaceKit) -> dict[int, list[Points]]:
    """Where the points of each subject's face may be afterwards, by its identity: where they were.

    Points that were put right by hand are not those the kit sees, and it need not see them afterwards either.
    """
    points = {id(subject): [subject.face.landmarks.points] for subject in subjects}
    corrected = [subject for subject in subjects if subject.face.landmarks.source == "corrected"]
    if corrected:
        found = kit.landmarks(np.stack([subject.face.pixels for subject in corrected]))
        for subject, landmarks in zip(corrected, found, strict=True):
            points[id(subject)].append(landmarks.points)
    return points


def detail_of(face: Face, picture: Pixels) -> float:
    """Fine detail of eyes and mouth in a crop of the face (512, 512, 3) uint8, its own or another (`fine_detail`)."""
    points = face.landmarks.points
    return fine_detail(as_floats(picture), blend_mask(points), component_boxes(points))[0]


def detail_kept(before: float, after: float) -> float:
    """Fine detail of eyes and mouth over that of the face as it was.

    More than 1 where the face has none, as with a face that is nothing but blur or noise.
    """
    return after / before if before > LEAST_DETAIL else 2.0


def _preferred_first(seen: list[Seen]) -> list[Seen]:
    specific = [one for one in seen if one.used == "specific"]
    generic = [one for one in seen if one.used == "generic"]
    if specific and generic and specific[0].similarity < generic[0].similarity - LESS_THAN_GENERIC:
        return generic + specific
    return specific + generic


def published(subject: Subject, answer: FloatPixels, strength: float) -> Pixels:
    """The crop of a face (512, 512, 3) uint8 RGB with an answer blended in."""
    given = as_floats(subject.face.pixels)
    weight = subject.mask * np.float32(strength)
    blended = cv2.subtract(answer, given)
    blended = cv2.multiply(blended, cv2.merge([weight, weight, weight]), dst=blended)
    blended = cv2.add(blended, given, dst=blended)
    return np.asarray(cv2.multiply(blended, (255.0, 255.0, 255.0, 0.0), dtype=cv2.CV_8U))  # rounded and clipped
