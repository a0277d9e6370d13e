"""A finder and a network that are made up, for the pipelines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dmdcli.faces.align import TEMPLATE, crop_face, crop_matrix
from dmdcli.faces.face import Face, Landmarks, Source
from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.identity import Curve, Gallery
from dmdcli.faces.kit import Trust
from dmdcli.pipeline.people import People
from dmdcli.pipeline.standing import Enrolled
from dmdcli.shapes import CROP, Box, FloatPixels, Pixels, Points

POINTS = np.zeros((68, 2), np.float32)
POINTS[:17] = np.stack([np.linspace(90, 420, 17), 240 + 220 * np.sin(np.linspace(0, np.pi, 17))], axis=1)
POINTS[17:27] = np.stack([np.linspace(130, 380, 10), np.full(10, 195)], axis=1)
POINTS[27:36] = np.stack([np.full(9, 256), np.linspace(240, 330, 9)], axis=1)
for first, (x, y) in ((36, (193, 240)), (42, (319, 240))):
    angle = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    POINTS[first : first + 6] = np.stack([x + 22 * np.cos(angle), y + 9 * np.sin(angle)], axis=1)
POINTS[48:68] = np.stack([np.linspace(201, 313, 20), 371 + 12 * np.sin(np.linspace(0, 6.28, 20))], axis=1)


@dataclass(frozen=True)
class MadeUpLandmarks(Landmarks):
    """Points that say whose they are."""

    embedding: tuple[float, ...] = ()


def face_at(
    pixels: Pixels, x: float, y: float, size: float, embedding: Sequence[float], rejected: str | None = None
) -> Face:
    """A face whose five points are the template's, `size` photo pixels for a crop, its corner at x, y."""
    matrix = crop_matrix((TEMPLATE * size / CROP + (x, y)).astype(np.float32))
    return Face(
        box=(x, y, x + size, y + size),
        score=1.0,
        matrix=matrix,
        pixels=crop_face(pixels, matrix),
        landmarks=MadeUpLandmarks(POINTS, embedding=tuple(embedding)),
        embedding=np.array(embedding, np.float32),
        rejected=rejected,
    )


class Straight(Curve):
    """1 at no distance, 0 at a distance of 1."""

    def __call__(self, distance: np.ndarray) -> np.ndarray:
        return np.clip(1 - distance, 0, 1)


class MadeUpKit:
    """Takes every face for the one whose points it has, however it looks."""

    name = "made-up"
    trust = Trust(weak=0, lost=0, turned=0)
    similarity = Straight(0.5, 1.0, source="made up", measured=False)

    def landmarks(self, crops: Pixels) -> list[Landmarks]:
        return [Landmarks(POINTS) for _ in crops]

    def embed(self, crops: Pixels, landmarks: Sequence[MadeUpLandmarks]) -> np.ndarray:
        return np.array([getattr(one, "embedding", STRANGER) for one in landmarks], np.float32)

    def outlines(self, crops: Pixels) -> np.ndarray | None:
        return None


class MadeUpFinder:
    """Finds what `faces` says for each photo, by width."""

    kit_name = "made-up"
    kit = MadeUpKit()
    min_face = 32.0
    settings: Mapping[str, object] = {"min-face": 32}

    def __init__(self, *faces: tuple[float, float, float, Sequence[float], str | None]) -> None:
        self.faces = faces
        self.calls = 0

    def find(self, pixels: Pixels) -> list[Face]:
        self.calls += 1
        return [face_at(pixels, *face) for face in self.faces]

    def describe_points(self, pixels: Pixels, box: Box, points: Points, source: Source = "corrected") -> Face:
        return FaceFinder(self.kit).describe_points(pixels, box, points, source)


@dataclass
class Answer:
    generic: FloatPixels | None = None
    specific: FloatPixels | None = None


class Brightener:
    """Adds 0.1 for strangers and what the dictionary says for known people."""

    def __init__(self) -> None:
        self.weights_id = "made-up"
        self.gathers = 1

    def restore(self, crops: Pixels, boxes: np.ndarray, dictionaries: Sequence[float | None], *, both: bool = True):
        assert both, "each answer is held against the generic one"
        floats = crops.astype(np.float32) / 255
        return [
            Answer(np.clip(crop + 0.1, 0, 1), None if one is None else np.clip(crop + np.float32(one), 0, 1))
            for crop, one in zip(floats, dictionaries, strict=True)
        ]

    def recall(self, arrays: object) -> float:
        raise AssertionError("not asked for here")


def people_of(**references: Sequence[float]) -> People[float]:
    gallery = Gallery({name: np.array([row], np.float32) for name, row in references.items()}, MadeUpKit().similarity)
    enrolled = {name: Enrolled(f"{name}'s id", str(row), 1) for name, row in references.items()}
    return People(gallery, lambda name: {"alice": 0.2, "bob": -0.2}[name], enrolled)


STRANGER, ALICE = (0.0, 9.0), (0.0, 0.0)
