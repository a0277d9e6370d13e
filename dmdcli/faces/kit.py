"""What is needed from a set of face networks: the seam where the embedded kit, the full kit and tests' fakes stand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dmdcli.faces.face import Landmarks
from dmdcli.shapes import Box, Embedding, Matrix, Pixels


@dataclass(frozen=True)
class Detection:
    """One place where a detector sees a face.

    box: x0, y0, x1, y1 in pixels of the picture searched. score: the detector's own; higher is surer.
    matrix: (2, 3) float32, picture -> a rough crop in which the face stands about where it does in an aligned one.
    """

    box: Box
    score: float
    matrix: Matrix = field(repr=False)


class FaceKit(Protocol):
    """Finds faces, their points, and numbers for who they are; those of different `name` must never be compared."""

    @property
    def name(self) -> str:
        """Names the kit and the weights its embeddings come from; stored beside embeddings."""

    def detect(self, pixels: Pixels) -> list[Detection]:
        """The upright faces in (H, W, 3) uint8 RGB; several detections of one face may be among them."""

    def landmarks(self, crop: Pixels) -> Landmarks:
        """The 68 points of the face in a (512, 512, 3) uint8 RGB crop, which may be aligned roughly or exactly."""

    def embed(self, crop: Pixels, landmarks: Landmarks) -> Embedding:
        """What tells the person in a (512, 512, 3) uint8 RGB crop from others."""

    def similarity(self, distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Euclidean distances of two embeddings -> how surely they show one person, in [0, 1].

        Falls with the distance and means the same for all kits: from 0.5 on, two photographs are taken for one person,
        and strangers, in old photographs too, are to stay below.
        """
