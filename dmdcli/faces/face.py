"""What is known of one face: where it is, its landmarks, and the boxes of its eyes and mouth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from dmdcli.shapes import Box, Embedding, Matrix, Pixels, Points


@dataclass(frozen=True)
class Landmarks:
    """The 68 iBUG points of one face.

    points: (68, 2) float32 x, y in crop pixels. scores: (68,) float32 in [0, 1], or None where the predictor gives none.
    source: whether the points were found by the program or put right by hand.
    """

    points: Points
    scores: npt.NDArray[np.float32] | None = None
    source: Literal["detected", "corrected"] = "detected"


@dataclass(frozen=True)
class Face:
    """One face found in a photo.

    box: in photo pixels. score: the detector's own. matrix: (2, 3) photo -> crop. pixels: (512, 512, 3) uint8 RGB, the
    aligned crop. rejected: why the face must not be used, or None. doubts: what makes its landmarks uncertain.
    """

    box: Box
    score: float
    matrix: Matrix
    pixels: Pixels = field(repr=False)
    landmarks: Landmarks = field(repr=False)
    embedding: Embedding = field(repr=False)
    rejected: str | None = None
    doubts: tuple[str, ...] = ()
