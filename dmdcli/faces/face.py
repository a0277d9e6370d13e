"""What is known of one face: where it is, its landmarks, the boxes of its eyes and mouth, and whether to trust them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from dmdcli.errors import ShapeError
from dmdcli.shapes import COMPONENTS, CROP, Box, ComponentBoxes, Embedding, Matrix, Pixels, Points, check_shape

CELL = 8
"""Crop pixels to one cell of the coarsest feature map; a component box must span at least two cells each way."""
LEAST_SIDE = 2 * CELL
"""Side a repaired box is grown to, in crop pixels: a box of 16 pixels spans two cells wherever it lies."""
LANDMARK_RANGE = (8.0, 504.0)
"""Crop pixels the landmarks are clamped to before boxes are made of them."""

LEAST_EYE_DISTANCE = 60.0
"""Crop pixels between the eyes below which the points are no face seen from the front or half side (aligned faces: 106
to 140)."""
LEAST_MOUTH_DISTANCE = 50.0
"""Crop pixels the mouth must lie below the eyes (aligned faces: 100 to 150)."""
TURNED = 0.55
"""Turn of the head from which the far eye's box is doubtful; portraits in three-quarter view reach 0.4."""
MUCH_ENLARGED = 8.0
"""Enlargement of the photo to the crop above which points are guesses: an eye is then eight photo pixels wide."""
SANE_SIDES = {"left_eye": (0.25, 1.35), "right_eye": (0.25, 1.35), "mouth": (0.55, 1.8)}
"""Least and greatest side of a component's box, over the distance of the eye centres. On 780 training crops eyes have
0.31 to 1.10, mouths 0.75 to 1.43."""
OUTER_CORNERS = (36, 45)
"""The landmarks at the outer corners of the eyes, whose distance is the unit of landmark distances."""
OUTSIDE = 0.25
"""Part of the points outside the crop from which they are implausible."""

RIGHT = 0.05
"""Mean error of points, over the distance of the eye centres, up to which they count as right."""
GOOD = 0.75
"""Confidence from which points are called good; `benchmarks/landmark_confidence.py` says how often they then are."""

VerdictName: TypeAlias = Literal["good", "doubtful", "unusable"]
Source: TypeAlias = Literal["detected", "corrected"]
"""Of points: of the kit, or put right by hand."""
ConfidenceSource: TypeAlias = Literal["measured", "scores", "corrected"]


@dataclass(frozen=True)
class Landmarks:
    """The 68 iBUG points of one face.

    points: (68, 2) float32 x, y in crop pixels. scores: (68,) float32 in [0, 1], or None where the predictor gives
    none.
    source: whether the points were found by the program or put right by hand.
    """

    points: Points
    scores: npt.NDArray[np.float32] | None = None
    source: Source = "detected"


@dataclass(frozen=True)
class Confidence:
    """How surely points are right.

    face: of all 68 points. components: of those of each component, in the order of COMPONENTS. All in [0, 1]: the
    probabilities that their mean error is below RIGHT where `source` is "measured"; the kit's mean scores, held against
    nothing, where it is "scores"; 1 where somebody put the points right by hand. good: from which on they are
    called good.
    """

    face: float
    components: tuple[float, ...]
    good: float = GOOD
    source: ConfidenceSource = "measured"

    @property
    def is_good(self) -> bool:
        """Whether the points of the face as a whole are called good."""
        return self.face >= self.good

    @property
    def text(self) -> str:
        """How sure the face as a whole is, in few letters: only what was measured is a probability."""
        if self.source == "corrected":
            return "put right"
        return f"{self.face:.0%}" if self.source == "measured" else f"score {self.face:.2f}"

    def record(self) -> dict[str, object]:
        """In what JSON can say."""
        parts = {name: round(one, 4) for name, one in zip(COMPONENTS, self.components, strict=True)}
        return {"face": round(self.face, 4), "components": parts, "good": self.good, "source": self.source}

    def unsure_components(self) -> tuple[str, ...]:
        """The names, as in COMPONENTS, of those whose points are not called good."""
        return tuple(name for name, one in zip(COMPONENTS, self.components, strict=True) if one < self.good)


@dataclass(frozen=True)
class Face:
    """One face found in a photo.

    box: in photo pixels. score: the detector's own. matrix: (2, 3) photo -> crop. pixels: (512, 512, 3) uint8 RGB, the
    aligned crop. embedding: empty where the face is rejected. rejected: why the face must not be used, or None.
    doubts: what makes its landmarks uncertain. confidence: in its landmarks; None where the face is rejected, or
    the kit says nothing.
    """

    box: Box
    score: float
    matrix: Matrix
    pixels: Pixels = field(repr=False)
    landmarks: Landmarks = field(repr=False)
    embedding: Embedding = field(repr=False)
    rejected: str | None = None
    doubts: tuple[str, ...] = ()
    confidence: Confidence | None = None


def verdict(face: Face) -> tuple[VerdictName, tuple[str, ...]]:
    """How far the landmarks of `face` can be trusted, and the reasons in words (none for "good")."""
    if face.rejected is not None:
        return "unusable", (face.rejected, *face.doubts)
    return ("doubtful" if face.doubts else "good"), face.doubts


def component_boxes(points: npt.NDArray[np.floating]) -> ComponentBoxes:
    """The boxes of left eye, right eye and mouth, (3, 4) int64 x1, y1, x2, y2 in crop pixels.

    points: (68, 2) in crop pixels. The published formulas (docs: dmdnet, "Component boxes"), exactly, wherever the box
    lies inside the crop and spans two 8-pixel cells each way; other boxes are clamped to the crop, grown to 16 pixels
    and shifted inside (`doubtful_components` names them).
    """
    boxes = _published_boxes(points)
    return np.array([box if _is_usable(box) else _repaired(box) for box in boxes], dtype=np.int64)


def doubtful_components(points: npt.NDArray[np.floating]) -> tuple[str, ...]:
    """The names, as in COMPONENTS, of the boxes that `component_boxes` had to repair."""
    boxes = _published_boxes(points)
    return tuple(name for name, box in zip(COMPONENTS, boxes, strict=True) if not _is_usable(box))


def odd_components(points: npt.NDArray[np.floating]) -> tuple[str, ...]:
    """The names, as in COMPONENTS, of the boxes whose sides are not those of a face (SANE_SIDES); points: (68, 2)."""
    unit = max(eye_distance(points), 1.0)
    sides = [(box[2:] - box[:2]) / unit for box in _published_boxes(points)]
    return tuple(
        name
        for name, (least, greatest) in SANE_SIDES.items()
        if sides[COMPONENTS.index(name)].min() < least or sides[COMPONENTS.index(name)].max() > greatest
    )


def eye_distance(points: npt.NDArray[np.floating]) -> float:
    """The distance of the eye centres of (68, 2) points."""
    return float(np.linalg.norm(points[36:42].mean(axis=0) - points[42:48].mean(axis=0)))


def turn_of_head(points: Points) -> float:
    """How far the head is turned: 0 seen from the front, about 0.4 in three-quarter view, towards 1 in profile.

    From (68, 2) points: the difference of the distances from the bridge of the nose to both ends of the jaw line, as a
    part of their sum, along the line through the eyes. Positive where the right side of the picture's face is the
    nearer one.
    """
    along = points[42:48].mean(axis=0) - points[36:42].mean(axis=0)
    along = along / max(float(np.linalg.norm(along)), 1e-6)
    left = float((points[27] - points[0]) @ along)
    right = float((points[16] - points[27]) @ along)
    return float(np.clip((right - left) / max(right + left, 1e-6), -1, 1))


def openness_of_eyes(points: Points) -> tuple[float, float]:
    """How far the left and the right eye are open: height over width, 0.3 as a rule, from (68, 2) points.

    The eye aspect ratio (Soukupova and Cech 2016): the mean distance of upper and lower lid over that of the corners.
    """
    left, right = (_openness(points[first : first + 6]) for first in (36, 42))
    return left, right


def _openness(eye: Points) -> float:
    height = float(np.linalg.norm(eye[1] - eye[5]) + np.linalg.norm(eye[2] - eye[4])) / 2
    return height / max(float(np.linalg.norm(eye[0] - eye[3])), 1e-6)


def sharpness(pixels: Pixels) -> float:
    """How much fine detail the middle of a crop (512, 512, 3) uint8 holds, independent of its contrast.

    The standard deviation of the Haar details of 2 to 4 pixels over that of the details of 8 to 16 pixels: 0.33 to 1
    for portraits, less for blurred ones. Grain and noise count as detail.
    """
    grey = pixels[128:448, 96:416].astype(np.float64).mean(axis=2)
    deviations = []
    for _ in range(4):
        blocks = grey.reshape(grey.shape[0] // 2, 2, grey.shape[1] // 2, 2)
        grey = blocks.mean(axis=(1, 3))
        deviations.append(float((blocks - grey[:, None, :, None]).std()))
    return deviations[1] / max(deviations[3], 1e-6)


def landmark_distance(points: Points, truth: Points) -> float:
    """Mean distance of (68, 2) points to the true ones, over the distance of the true outer eye corners."""
    check_shape("points", points, (68, 2), np.float32)
    check_shape("truth", truth, (68, 2), np.float32)
    one, other = truth[list(OUTER_CORNERS)]
    unit = max(float(np.linalg.norm(one - other)), 1e-6)
    return float(np.linalg.norm(points.astype(np.float64) - truth, axis=1).mean()) / unit


def is_turned_far(points: Points) -> bool:
    """Whether the head is turned so far to the side that its far eye cannot be relied on; points: (68, 2)."""
    return abs(turn_of_head(points)) > TURNED


def implausible(landmarks: Landmarks, lost_score: float) -> str | None:
    """Why the points cannot be those of a face in an aligned crop, or None.

    lost_score: mean score of the points below which there is no face under them.
    """
    points = landmarks.points
    if not np.isfinite(points).all():
        return "the landmarks are not numbers"
    eyes = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    mouth = points[48:68].mean(axis=0)
    if float(eyes[1][0] - eyes[0][0]) < LEAST_EYE_DISTANCE:
        return "the eyes are too close together for a face that can be restored"
    if float(mouth[1] - (eyes[0][1] + eyes[1][1]) / 2) < LEAST_MOUTH_DISTANCE:
        return "the mouth is not below the eyes"
    outside = ((points < 0) | (points > CROP - 1)).any(axis=1).mean()
    if outside > OUTSIDE:
        return "much of the face lies outside the crop"
    if landmarks.scores is not None and float(landmarks.scores.mean()) < lost_score:
        return "no face is recognisable under the landmarks"
    return None


def problems(
    landmarks: Landmarks, enlargement: float, weak_score: float, confidence: Confidence | None = None
) -> tuple[str, ...]:
    """What makes the points of an aligned crop doubtful, in words; empty where nothing does.

    enlargement: how many crop pixels one photo pixel became. weak_score: mean score of the points below which they are
    doubtful. confidence: in the points, where it was measured.
    """
    points = landmarks.points
    reasons = [f"the box of the {name.replace('_', ' ')} had to be moved" for name in doubtful_components(points)]
    reasons += [f"the box of the {name.replace('_', ' ')} is too large or too small" for name in odd_components(points)]
    if is_turned_far(points):
        reasons.append("the head is turned far to the side")
    if confidence is not None and confidence.source == "measured" and not confidence.is_good:
        reasons.append(f"the landmarks are unsure ({confidence.face:.0%} likely right)")
    elif landmarks.scores is not None and float(landmarks.scores.mean()) < weak_score:
        reasons.append("the landmarks are unsure")
    elif confidence is not None and confidence.unsure_components():
        names = " and ".join(name.replace("_", " ") for name in confidence.unsure_components())
        reasons.append(f"the landmarks of the {names} are unsure")
    if enlargement > MUCH_ENLARGED:
        reasons.append(f"the face is small: it was enlarged {enlargement:.0f} times")
    return tuple(reasons)


def _published_boxes(points: npt.NDArray[np.floating]) -> ComponentBoxes:
    """The boxes as the published formulas give them, in or out of the crop; the nose box, which nothing uses, is left
    out.
    """
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise ShapeError(f"points: wanted (68, 2) finite numbers, got {points.shape}")
    bounded = np.clip(points.astype(np.float64), *LANDMARK_RANGE)
    left = _eye_box(bounded[36:42], bounded[17:22])
    right = _eye_box(bounded[42:48], bounded[22:27])
    return np.array([left, right, _mouth_box(bounded[48:68])], dtype=np.int64)


def _eye_box(eye: npt.NDArray[np.float64], brow: npt.NDArray[np.float64]) -> list[int]:
    centre_x, centre_y = eye.mean(axis=0)
    height = centre_y - min(eye[:, 1].min(), brow[:, 1].min())
    above = 1.3 * height
    below = above / 1.9
    half = (above + below) / 2
    return [int(centre_x - half + 1), int(centre_y - above + 1), int(centre_x + half), int(centre_y + below)]


def _mouth_box(mouth: npt.NDArray[np.float64]) -> list[int]:
    centre_x, centre_y = mouth.mean(axis=0)
    half = 1.1 * max(float(np.ptp(mouth, axis=0).max()) / 2, 16.0)
    right, bottom = min(centre_x + half, 510.0), min(centre_y + half, 510.0)
    return [int(centre_x - half + 1), int(centre_y - half + 1), int(right), int(bottom)]


def _is_usable(box: npt.NDArray[np.int64]) -> bool:
    x1, y1, x2, y2 = (int(edge) for edge in box)
    inside = min(x1, y1) >= 0 and max(x2, y2) <= CROP
    return inside and x2 // CELL - x1 // CELL >= 2 and y2 // CELL - y1 // CELL >= 2


def _repaired(box: npt.NDArray[np.int64]) -> list[int]:
    x1, x2 = _repaired_range(int(box[0]), int(box[2]))
    y1, y2 = _repaired_range(int(box[1]), int(box[3]))
    return [x1, y1, x2, y2]


def _repaired_range(first: int, last: int) -> tuple[int, int]:
    """`first` and `last` clamped to the crop, at least LEAST_SIDE apart, around the same middle as far as the crop
    allows.
    """
    first, last = min(max(first, 0), CROP), min(max(last, 0), CROP)
    if last - first < LEAST_SIDE:
        first = min(max((first + last) // 2 - LEAST_SIDE // 2, 0), CROP - LEAST_SIDE)
        last = first + LEAST_SIDE
    return first, last
