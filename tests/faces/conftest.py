"""A drawn face, a kit that needs no network, and the real kit with a real face."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from dmdcli.faces.embedded import EmbeddedKit
from dmdcli.faces.face import Landmarks
from dmdcli.faces.identity import Curve
from dmdcli.faces.kit import Detection
from dmdcli.shapes import Pixels, Points


def drawn_points() -> Points:
    """The 68 points of a plain face seen from the front, (68, 2) float32 in crop pixels."""
    jaw = [(256 - 130 * np.cos(np.pi * k / 16), 250 + 190 * np.sin(np.pi * k / 16)) for k in range(17)]
    brows = [(x, 205.0) for x in np.linspace(160, 225, 5)] + [(x, 205.0) for x in np.linspace(287, 352, 5)]
    bridge = [(256.0, y) for y in np.linspace(240, 314, 4)]
    nostrils = [(x, 330.0) for x in np.linspace(232, 280, 5)]
    angles = np.pi + np.arange(6) * np.pi / 3
    eyes = [(c + 20 * np.cos(a), 240 + 8 * np.sin(a)) for c in (193, 319) for a in angles]
    outer = np.pi + np.arange(12) * np.pi / 6
    inner = np.pi + np.arange(8) * np.pi / 4
    mouth = [(257 + 56 * np.cos(a), 371 + 18 * np.sin(a)) for a in outer]
    mouth += [(257 + 45 * np.cos(a), 371 + 8 * np.sin(a)) for a in inner]
    return np.array([*jaw, *brows, *bridge, *nostrils, *eyes, *mouth], dtype=np.float32)


class FakeKit:
    """Answers what it is told: detections of the picture as given, one set of points, one embedding."""

    name = "fake-1"
    similarity = Curve(middle=1.0, slope=2.0, source="made up", measured=False)

    def __init__(self, detections: list[Detection], points: Points | None = None, score: float = 1.0) -> None:
        self.detections = detections
        self.points = drawn_points() if points is None else points
        self.score = score
        self.shapes_seen: list[tuple[int, ...]] = []

    def detect(self, photos: Sequence[Pixels]) -> list[list[Detection]]:
        self.shapes_seen += [pixels.shape for pixels in photos]
        return [self.detections for _ in photos]

    def landmarks(self, crops: Pixels) -> list[Landmarks]:
        assert crops.shape[1:] == (512, 512, 3)
        return [Landmarks(self.points, np.full(68, self.score, dtype=np.float32)) for _ in crops]

    def embed(self, crops: Pixels, landmarks: Sequence[Landmarks]) -> npt.NDArray[np.float32]:
        assert len(crops) == len(landmarks)
        return np.array([[float(crop.mean()), 1.0] for crop in crops], dtype=np.float32)

    def outlines(self, crops: Pixels) -> npt.NDArray[np.float32] | None:
        return None


@pytest.fixture(scope="session")
def embedded_kit() -> EmbeddedKit:
    return EmbeddedKit()


@pytest.fixture(scope="session")
def astronaut() -> Pixels:
    """Eileen Collins, 512 x 512, one face of about 105 pixels around (225, 120)."""
    data = pytest.importorskip("skimage.data")
    return np.ascontiguousarray(data.astronaut())
