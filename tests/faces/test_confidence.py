"""How far points are trusted: by kits that see a drawn face, see none of it, or see nothing of the mouth."""

from __future__ import annotations

from importlib import resources

import cv2
import numpy as np
import pytest

from dmdcli.faces.confidence import COMPONENT_POINTS, COPIES, FITTED, confidences, fitted, second_opinions
from dmdcli.faces.embedded import EmbeddedKit
from dmdcli.faces.face import Confidence, Landmarks, eye_distance, odd_components, problems
from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.kit import Trust
from dmdcli.shapes import CROP, Pixels, Points
from tests.faces.conftest import drawn_points

MIDDLES = np.array([[193, 240], [319, 240]], dtype=np.float32)
"""Of the eyes of `drawn_points`."""


def drawn_crop(noise: float = 0.0) -> Pixels:
    """A crop of two white eyes on a patterned face."""
    crop = np.full((CROP, CROP, 3), 90, dtype=np.uint8)
    for x, y in drawn_points()[48:].astype(int).tolist():
        cv2.circle(crop, (x, y), 4, (140, 60, 60), -1)
    for x, y in MIDDLES.astype(int).tolist():
        cv2.circle(crop, (x, y), 12, (250, 250, 250), -1)
    rough = np.random.default_rng(0).normal(0, noise, crop.shape)
    return np.clip(crop + rough, 0, 255).astype(np.uint8)


class SeeingKit:
    """Puts the points by the two white eyes; those in `blind` it always puts where they were in the first crop."""

    name = "seeing"
    trust = Trust(weak=0.5, lost=0.1, turned=0.5, calibrated=True)

    def __init__(self, blind: slice = slice(0, 0), trust: Trust = trust) -> None:
        self.blind = blind
        self.trust = trust
        self.looked_at = 0

    def landmarks(self, crops: Pixels) -> list[Landmarks]:
        self.looked_at += len(crops)
        return [self._landmarks(crop) for crop in crops]

    def _landmarks(self, crop: Pixels) -> Landmarks:
        white = (crop.min(axis=2) > 200).astype(np.uint8)
        _, _, sizes, centres = cv2.connectedComponentsWithStats(white)
        eyes = centres[1:][np.argsort(-sizes[1:, cv2.CC_STAT_AREA])[:2]]
        (x0, y0), (x1, y1) = sorted(eyes.tolist())
        across, down = (x1 - x0) / 126, (y1 - y0) / 126
        turned = (drawn_points() - MIDDLES[0]) @ np.array([[across, down], [-down, across]]) + (x0, y0)
        points: Points = turned.astype(np.float32)
        points[self.blind] = drawn_points()[self.blind]
        return Landmarks(points, np.full(68, 0.75, dtype=np.float32))


def confidence_of(kit: SeeingKit, landmarks: Landmarks | None = None) -> Confidence:
    crop = drawn_crop()[None]
    (sure,) = confidences(kit, crop, [landmarks or kit.landmarks(crop)[0]])  # type: ignore[arg-type]
    assert sure is not None
    return sure


def test_second_opinions_come_back_to_where_they_belong() -> None:
    kit = SeeingKit()
    crops = np.stack([drawn_crop(), drawn_crop(noise=3)])
    opinions = second_opinions(kit, crops)  # type: ignore[arg-type]
    assert opinions.shape == (2, COPIES, 68, 2)
    assert kit.looked_at == 2 * COPIES
    assert np.abs(opinions - drawn_points()).max() < 2.5
    assert second_opinions(kit, crops[:0]).shape == (0, COPIES, 68, 2)  # type: ignore[arg-type]


def test_points_that_follow_the_face_are_surer_than_points_that_stay() -> None:
    seeing, blind = confidence_of(SeeingKit()), confidence_of(SeeingKit(slice(0, 68)))
    assert seeing.source == blind.source == "measured"
    assert seeing.face > blind.face + 0.1
    assert all(sure > unsure for sure, unsure in zip(seeing.components, blind.components, strict=True))


def test_only_the_component_that_is_not_seen_is_unsure() -> None:
    seeing, blind = confidence_of(SeeingKit()), confidence_of(SeeingKit(COMPONENT_POINTS[2]))
    assert blind.components[:2] == pytest.approx(seeing.components[:2], abs=0.02)
    assert blind.components[2] < seeing.components[2] - 0.1


def test_points_put_right_by_hand_are_certain_and_not_looked_at() -> None:
    kit = SeeingKit()
    sure = confidence_of(kit, Landmarks(drawn_points(), source="corrected"))
    assert (sure.face, sure.unsure_components(), sure.text) == (1.0, (), "put right")
    assert kit.looked_at == 0


def test_points_without_scores_get_those_of_what_the_kit_sees_there() -> None:
    kit = SeeingKit()
    scored = confidence_of(kit)
    looked_at = kit.looked_at
    stored = confidence_of(kit, Landmarks(drawn_points()))
    assert kit.looked_at - looked_at == COPIES + 1
    assert stored.face == pytest.approx(scored.face, abs=0.01)
    elsewhere = confidence_of(kit, Landmarks(drawn_points() + np.float32(20)))
    assert elsewhere.face < stored.face


def test_other_kits_are_trusted_as_far_as_their_scores_go() -> None:
    kit = SeeingKit(trust=Trust(weak=0.5, lost=0.1, turned=0.5))
    scores = np.full(68, 0.9, dtype=np.float32)
    scores[48:] = 0.3
    sure = confidence_of(kit, Landmarks(drawn_points(), scores))
    assert (sure.source, sure.good, sure.unsure_components()) == ("scores", 0.5, ("mouth",))
    assert sure.is_good
    assert sure.text == "score 0.72"
    assert kit.looked_at == 0
    assert confidences(kit, drawn_crop()[None], [Landmarks(drawn_points())]) == [None]  # type: ignore[arg-type]


def test_doubts_say_what_is_unsure() -> None:
    landmarks = Landmarks(drawn_points())
    assert problems(landmarks, 1.0, 0.5, Confidence(0.99, (0.99, 0.99, 0.99))) == ()
    (face,) = problems(landmarks, 1.0, 0.5, Confidence(0.31, (0.2, 0.2, 0.2)))
    assert "31%" in face
    (parts,) = problems(landmarks, 1.0, 0.5, Confidence(0.99, (0.2, 0.99, 0.1)))
    assert "left eye and mouth" in parts


def test_boxes_of_no_sane_size_are_doubted() -> None:
    points = drawn_points()
    assert odd_components(points) == ()
    points[48:] = (points[48:] - points[48:].mean(axis=0)) * 2.4 + points[48:].mean(axis=0)
    assert odd_components(points) == ("mouth",)
    assert any("mouth is too large" in reason for reason in problems(Landmarks(points), 1.0, 0.5))


def test_how_usual_a_shape_is_does_not_depend_on_where_it_stands() -> None:
    shape = fitted().shape
    turned = shape.mean @ cv2.getRotationMatrix2D((0, 0), 20, 130)[:, :2].T + (300, 200)
    along, beside = shape.distance(turned)
    assert along == pytest.approx(0, abs=1e-4)
    assert beside == pytest.approx(0, abs=1e-4)
    turned[48:] += (40, 0)
    assert shape.distance(turned)[0] > 2
    assert eye_distance(shape.mean) == pytest.approx(1, abs=1e-3)


def test_the_fits_come_with_the_package() -> None:
    assert (resources.files("dmdcli.faces") / FITTED).is_file()
    known = fitted()
    assert known.shape.axes @ known.shape.axes.T == pytest.approx(np.eye(len(known.shape.axes)), abs=1e-3)
    for fit in (known.face, known.component):
        spread, score, more = fit.middle.copy(), fit.middle.copy(), fit.middle.copy()
        spread[:2] += 1
        score[-1] += fit.scale[-1]
        more[-1] += 9 * fit.scale[-1]
        assert fit.probability(spread) < fit.probability(fit.middle) < fit.probability(score)
        assert fit.probability(score) == fit.probability(more), "much of one good sign does not outweigh all others"


def test_a_hidden_mouth_is_less_sure(embedded_kit: EmbeddedKit, astronaut: Pixels) -> None:
    (face,) = [one for one in FaceFinder(embedded_kit).find(astronaut) if one.rejected is None]
    assert face.confidence is not None
    assert face.confidence.is_good
    hidden = face.pixels.copy()
    mouth = face.landmarks.points[48:].mean(axis=0)
    cv2.ellipse(hidden, tuple(np.rint(mouth).astype(int).tolist()), (70, 60), 0, 0, 360, (150, 110, 90), -1)
    (sure,) = confidences(embedded_kit, hidden[None], embedded_kit.landmarks(hidden[None]))
    assert sure is not None
    assert sure.components[2] < face.confidence.components[2] - 0.1
    assert sure.components[:2] == pytest.approx(face.confidence.components[:2], abs=0.05)
