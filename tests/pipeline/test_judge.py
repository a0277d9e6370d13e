"""What is published of a face, by a made-up kit: red says how like the person a picture is, green what moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest

from dmdcli.faces.align import TEMPLATE, blend_mask, crop_matrix
from dmdcli.faces.face import Confidence, Face, Landmarks, component_boxes, openness_of_eyes
from dmdcli.faces.identity import Gallery, Match
from dmdcli.faces.kit import Trust
from dmdcli.pipeline import judge as rules
from dmdcli.pipeline.judge import (
    Judgement,
    Likeness,
    Plan,
    Seen,
    Subject,
    detail_kept,
    detail_of,
    is_already_good,
    judge_faces,
    likeness_to,
    plan_face,
    refusal,
    without_components,
)
from dmdcli.shapes import FloatPixels, Pixels
from tests.pipeline.made_up import POINTS

GREY = 102
STRANGER = Likeness(None, lambda embedding: 1 - 4 * abs(float(embedding[0])))
STRANGE = 0.55
"""So much red that a quarter of it is too much in a stranger's face."""


class Colourist:
    """Reads likeness from red, and from green by how many eye distances the points have moved."""

    name = "made-up"
    trust = Trust(weak=0.45, lost=0.2, turned=0.5)

    def __init__(self) -> None:
        self.batches: list[int] = []

    def landmarks(self, crops: Pixels) -> list[Landmarks]:
        self.batches.append(len(crops))
        right = np.array([1, 0], np.float32)
        unit = float(np.linalg.norm(POINTS[36] - POINTS[45]))
        return [Landmarks(POINTS + right * np.float32(unit * amount(crop, 1))) for crop in crops]

    def embed(self, crops: Pixels, landmarks: Sequence[Landmarks]) -> np.ndarray:
        assert all(np.array_equal(one.points, POINTS) for one in landmarks), "points of the face as it was"
        return np.array([[amount(crop, 0)] for crop in crops], np.float32)

    def similarity(self, distance: np.ndarray) -> np.ndarray:
        return np.clip(1 - distance, 0, 1)


def amount(crop: Pixels, channel: int) -> float:
    """By how much of 1 a channel departs from grey in the middle of the face."""
    return float(crop[250:330, 230:280, channel].mean() - GREY) / 255


def a_face(side: float = 200, points: np.ndarray = POINTS, confidence: Confidence | None = None) -> Face:
    return Face(
        box=(0, 0, side, side),
        score=1.0,
        matrix=crop_matrix(TEMPLATE.astype(np.float32)),
        pixels=np.full((512, 512, 3), GREY, np.uint8),
        landmarks=Landmarks(points),
        embedding=np.zeros(1, np.float32),
        confidence=confidence,
    )


def answer(red: float, green: float = 0.0) -> FloatPixels:
    return np.full((512, 512, 3), GREY / 255, np.float32) + np.array([red, green, 0], np.float32)


def judge_one(
    specific: FloatPixels | None,
    generic: FloatPixels,
    before: float | None = None,
    plan: Plan | None = None,
    strength: float = 1.0,
) -> Judgement:
    """Judge one face: a known person's whose likeness rises with red, or a stranger's whose likeness any red takes."""
    answers = [("generic", generic)] if specific is None else [("specific", specific), ("generic", generic)]
    likeness = STRANGER if before is None else Likeness(before, lambda embedding: before + float(embedding[0]))
    subject = Subject(a_face(), plan or Plan(), answers, blend_mask(POINTS), strength, likeness)
    (judgement,) = judge_faces([subject], Colourist())
    return judgement


def test_the_specific_answer_is_published_where_it_is_as_like_the_person() -> None:
    judged = judge_one(answer(0.05), answer(0.05), before=0.7)
    assert (judged.used, judged.strength, judged.reasons) == ("specific", 1.0, ())
    assert judged.similarity == pytest.approx(0.75, abs=0.01)
    assert judged.answer is not None
    assert judged.answer[300, 256, 0] == pytest.approx(0.45)


def test_the_generic_answer_is_published_where_it_is_more_like_the_person() -> None:
    more = 0.05 + rules.LESS_THAN_GENERIC
    assert judge_one(answer(0.0), answer(more), before=0.7).used == "generic"
    assert judge_one(answer(0.05), answer(0.05), before=0.7).used == "specific"


def test_an_answer_that_moves_the_mouth_gives_way_to_the_other() -> None:
    judged = judge_one(answer(0.2, rules.MOST_MOVED + 0.05), answer(0.0), before=0.7)
    assert (judged.used, judged.strength) == ("generic", 1.0)


def test_what_would_be_less_like_the_person_is_published_weaker() -> None:
    loss = -1.5 * rules.LESS_LIKE
    judged = judge_one(None, answer(loss), before=0.7)
    assert (judged.used, judged.strength) == ("generic", rules.PARTS[1])
    assert judged.similarity == pytest.approx(0.7 + loss * rules.PARTS[1], abs=0.01)
    (reason,) = judged.reasons
    assert "less like the person" in reason


class Indifferent(Colourist):
    """Finds every picture as like the person as the next."""

    def embed(self, crops: Pixels, landmarks: Sequence[Landmarks]) -> np.ndarray:
        return np.zeros((len(crops), 1), np.float32)


@pytest.mark.parametrize(
    ("source", "green", "used"),
    [
        ("detected", 0.0, "none"),
        ("corrected", 0.0, "generic"),
        ("corrected", 0.3, "generic"),
        ("corrected", -0.9, "none"),
    ],
)
def test_points_put_right_need_not_be_those_the_kit_sees(source: str, green: float, used: str) -> None:
    """The kit sees them elsewhere before; afterwards they stand there still, or where they were put."""
    unit = float(np.linalg.norm(POINTS[36] - POINTS[45]))
    points = POINTS + np.array([0.3 * unit, 0], np.float32)
    face = replace(a_face(), landmarks=Landmarks(points, None, source))  # type: ignore[arg-type]
    likeness = Likeness(0.7, lambda embedding: 0.7)
    subject = Subject(face, Plan(), [("generic", answer(0.0, green))], np.ones((512, 512), np.float32), 1.0, likeness)
    (judged,) = judge_faces([subject], Indifferent())
    assert judged.used == used


@pytest.mark.parametrize("spoilt", ["person", "stranger", "moved"])
def test_a_face_that_nothing_helps_is_left_alone(spoilt: str) -> None:
    spoiling = {
        "person": (answer(-6 * rules.LESS_LIKE), 0.7, "less like"),
        "stranger": (answer(STRANGE), None, "who it was"),
        "moved": (answer(0, 6 * rules.MOST_MOVED), 0.7, "would move"),
    }
    bad, before, words = spoiling[spoilt]
    judged = judge_one(bad, bad, before)
    assert (judged.used, judged.strength, judged.answer, judged.similarity) == ("none", 0.0, None, None)
    assert len(judged.reasons) == 1
    assert words in judged.reasons[0]


def test_of_a_stranger_less_likeness_is_asked_of_the_weakest_part_alone() -> None:
    judged = judge_one(None, answer(0.2))
    assert (judged.used, judged.strength) == ("generic", rules.PARTS[2])
    assert judged.similarity is not None
    assert rules.LEAST_IN_PART < judged.similarity < rules.LEAST_LIKENESS
    assert "who it was" in judged.reasons[0]


def test_the_strength_asked_for_and_planned_is_what_is_looked_at() -> None:
    bad = answer(-1.5 * rules.LESS_LIKE)
    judged = judge_one(None, bad, before=0.7, plan=Plan(0.8, reasons=("it is small",)), strength=0.5)
    assert (judged.used, judged.reasons) == ("generic", ("it is small",))
    assert judged.strength == pytest.approx(0.4)


def test_all_faces_of_a_photo_are_looked_at_together() -> None:
    kit = Colourist()
    spoilt = answer(STRANGE)
    subjects = [
        Subject(a_face(), Plan(), [("generic", one)], blend_mask(POINTS), 1.0, STRANGER)
        for one in (answer(0), spoilt, answer(0), spoilt)
    ]
    assert [one.used for one in judge_faces(subjects, kit)] == ["generic", "none", "generic", "none"]
    assert kit.batches == [4, 2, 2]
    assert judge_faces([], kit) == []
    assert kit.batches == [4, 2, 2]


def textured(sigma: float) -> Pixels:
    """A crop of noise blurred to details of some size, as strong at all sizes."""
    noise = np.random.default_rng(3).normal(0, 1, (512, 512))
    fine = cv2.GaussianBlur(noise, (0, 0), sigma)
    x0, y0, x1, y1 = 100, 180, 420, 440
    calm = np.full((512, 512), 120.0)
    calm[y0:y1, x0:x1] += 20 * fine[y0:y1, x0:x1] / fine.std()
    return np.rint(np.repeat(calm[..., None], 3, axis=2)).clip(0, 255).astype(np.uint8)


def test_a_face_with_fine_detail_is_good_already_and_a_blurred_or_a_grainy_one_is_not() -> None:
    eyes = component_boxes(POINTS)
    detailed = np.full((512, 512, 3), 120, np.uint8)
    sharp, blurred = textured(1.0), textured(4.0)
    for x0, y0, x1, y1 in eyes:
        detailed[y0:y1, x0:x1] = sharp[y0:y1, x0:x1]
    soft = cv2.GaussianBlur(detailed, (0, 0), 3).astype(np.uint8)
    grainy = np.clip(soft + np.random.default_rng(4).normal(0, 12, soft.shape), 0, 255).astype(np.uint8)
    assert is_already_good(replace(a_face(), pixels=detailed))
    for spoilt in (soft, grainy, blurred):
        assert not is_already_good(replace(a_face(), pixels=spoilt))


def test_what_makes_eyes_and_mouth_softer_is_refused() -> None:
    face = replace(a_face(), pixels=np.full((512, 512, 3), 120, np.uint8))
    for x0, y0, x1, y1 in component_boxes(POINTS):
        face.pixels[y0:y1, x0:x1] = textured(1.5)[y0:y1, x0:x1]
    soft = cv2.GaussianBlur(face.pixels, (0, 0), 4).astype(np.uint8)
    sharp, blurred = detail_of(face, face.pixels), detail_of(face, soft)
    assert detail_kept(sharp, sharp) == pytest.approx(1)
    assert detail_kept(sharp, blurred) < rules.SOFTER / 2
    assert detail_kept(blurred, sharp) > 2
    why = refusal(Seen("generic", answer(0), similarity=1, moved=0, kept=0.5), before=None)
    assert why is not None
    assert "softer" in why
    assert refusal(Seen("generic", answer(0), similarity=1, moved=0, kept=1), before=None) is None


def test_likeness_is_to_the_references_or_to_the_face_itself() -> None:
    kit = Colourist()
    gallery = Gallery({"ann": np.array([[0.4], [0.9]], np.float32)}, kit.similarity)
    known = likeness_to(a_face(), Match("ann", 0.6, 0.4), gallery, kit)
    assert known.before == 0.6
    assert known.of(np.array([0.8], np.float32)) == pytest.approx(0.9), "the nearest reference"
    stranger = likeness_to(a_face(), None, gallery, kit)
    assert stranger.before is None
    assert stranger.of(np.array([0.8], np.float32)) == pytest.approx(0.2)


def test_small_faces_are_restored_with_less_strength() -> None:
    wide, half, least = (plan_face(a_face(side), 40) for side in (80, 60, 40))
    assert (wide.strength, wide.reasons) == (1.0, ())
    assert 0 < least.strength < half.strength < 1
    assert "40 pixels wide" in least.reasons[0]
    assert plan_face(a_face(1), 0).strength == 1


def test_components_that_are_unsure_or_moved_are_left_out() -> None:
    unsure = plan_face(a_face(confidence=Confidence(0.9, (0.9, 0.85, 0.6))), 32)
    assert (unsure.strength, unsure.skipped) == (1.0, ("mouth",))
    assert unsure.reasons == ("the mouth is left as it was",)
    cut = POINTS - np.float32([180, 0])
    assert plan_face(a_face(points=cut), 32).skipped == ("left_eye",)


def test_of_a_head_turned_far_the_far_eye_is_left_out() -> None:
    turned = POINTS.copy()
    turned[27:36, 0] += 130  # the bridge of the nose towards the right end of the jaw
    plan = plan_face(a_face(points=turned), 32)
    assert plan.skipped == ("right_eye",)
    assert plan.strength == rules.TURNED_STRENGTH
    assert "turned far" in plan.reasons[-1]


def test_a_component_left_out_is_as_it_was_and_the_rest_is_not() -> None:
    mask = blend_mask(POINTS)
    left = without_components(mask, POINTS, ("left_eye",))
    boxes = component_boxes(POINTS)
    x0, y0, x1, y1 = boxes[0]
    assert not left[y0:y1, x0:x1].any()
    x0, y0, x1, y1 = boxes[2]
    np.testing.assert_allclose(left[y0 + 40 : y1, x0:x1], mask[y0 + 40 : y1, x0:x1], atol=0.02)
    assert np.abs(np.diff(left, axis=1)).max() < 0.1, "no edge"
    assert np.array_equal(without_components(mask, POINTS, ()), mask)


def narrowed(first: int, part: float) -> np.ndarray:
    """The points with the lids of the eye that begins at `first` nearer to each other."""
    points = POINTS.copy()
    eye = points[first : first + 6]
    eye[:, 1] = eye[:, 1].mean() + part * (eye[:, 1] - eye[:, 1].mean())
    return points


def test_closed_eyes_are_left_as_they_were() -> None:
    open_eyes = openness_of_eyes(POINTS)
    assert open_eyes == pytest.approx((0.354, 0.354), abs=0.01)
    closed = plan_face(a_face(points=narrowed(42, 0.3)), 32)
    assert closed.skipped == ("right_eye",)
    assert closed.strength == 1
    assert closed.reasons == ("the right eye seems closed and is left as it was",)


def test_narrow_eyes_are_restored() -> None:
    """Laughing eyes of the training crops have 0.15 and more."""
    points = narrowed(36, 0.48)
    assert rules.CLOSED < openness_of_eyes(points)[0] < 0.18
    assert plan_face(a_face(points=points), 32).skipped == ()
