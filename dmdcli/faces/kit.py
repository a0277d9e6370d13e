"""What is needed from a set of face networks: the seam where the embedded kit, the full kit and tests' fakes stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dmdcli.faces.face import Landmarks
from dmdcli.faces.identity import Curve
from dmdcli.shapes import Box, Matrix, Pixels


@dataclass(frozen=True)
class Detection:
    """One place where a detector sees a face.

    box: x0, y0, x1, y1 in pixels of the picture searched. score: the detector's own; higher is surer.
    matrix: (2, 3) float32, picture -> a rough crop in which the face stands about where it does in an aligned one.
    aligned: the matrix was made of points of the face, so that the crop may be as good as exact already.
    """

    box: Box
    score: float
    matrix: Matrix = field(repr=False)
    aligned: bool = False


@dataclass(frozen=True)
class Trust:
    """How a kit's own scores are read; they mean something else for every kit.

    weak: mean score of the 68 points below which they are doubtful. lost: below which there is no face under them.
    turned: least score of a detection in a turned copy of the photo; looking three times more often would otherwise
    find three times more false faces. calibrated: the fits of faces/confidence.json were made with this kit's points;
    those of other kits are trusted as far as their scores go.
    """

    weak: float
    lost: float
    turned: float
    calibrated: bool = False


class FaceKit(Protocol):
    """Finds faces, their points, and numbers for who they are; those of different `name` must never be compared.

    Everything goes in batches, so that a device is kept busy; a batch may be empty, and its size changes nothing.
    """

    @property
    def name(self) -> str:
        """Names the kit and the weights its embeddings come from; stored beside embeddings."""

    @property
    def similarity(self) -> Curve:
        """Turns Euclidean distances of two embeddings into how surely they show one person, and says where it is from.

        It means the same for all kits: from 0.5 on, two photographs are taken for one person, and strangers, in old
        photographs too, are to stay below.
        """

    @property
    def settings(self) -> Mapping[str, object]:
        """What else of the kit may change what is found in a photo, in what JSON can say."""

    @property
    def trust(self) -> Trust:
        """How the scores of its detections and landmarks are read."""

    def detect(self, photos: Sequence[Pixels]) -> list[list[Detection]]:
        """The upright faces of each photo (H, W, 3) uint8 RGB; several detections of one face may be among them.

        Photos may differ in size.
        """

    def landmarks(self, crops: Pixels) -> list[Landmarks]:
        """The 68 points of the face in each crop (N, 512, 512, 3) uint8 RGB, aligned roughly or exactly."""

    def embed(self, crops: Pixels, landmarks: Sequence[Landmarks]) -> npt.NDArray[np.float32]:
        """What tells the person in each crop (N, 512, 512, 3) uint8 RGB from others, (N, D) float32."""

    def outlines(self, crops: Pixels) -> npt.NDArray[np.float32] | None:
        """How much of each pixel of the crops (N, 512, 512, 3) uint8 RGB is face, (N, 512, 512) float32 in [0, 1].

        Hair, hats, neck and clothes are not. None where the kit has no network for it.
        """
