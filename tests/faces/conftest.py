"""A drawn face, a kit that needs no network, the embedded kit with a real face, the full kit with generated weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from torch import Tensor

from dmdcli.faces.align import crop_face, crop_matrix
from dmdcli.faces.embedded import EmbeddedKit
from dmdcli.faces.face import Landmarks
from dmdcli.faces.full import FullKit
from dmdcli.faces.identity import Curve
from dmdcli.faces.kit import Detection, Trust
from dmdcli.shapes import Pixels, Points
from tests.faces.generated_weights import EVERYTHING, in_the_table, linked, write_full_kit


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
    trust = Trust(weak=0.45, lost=0.28, turned=0.5)
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


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with every file of the full kit, generated, and the SHA-256 of each by its name."""
    folder = tmp_path_factory.mktemp("generated")
    return folder, write_full_kit(folder, names=EVERYTHING)


@pytest.fixture(scope="module")
def folder(generated: tuple[Path, dict[str, str]]) -> Iterator[Path]:
    """That folder, while the table of weights lists its files; whatever connects fails the test."""
    folder, digests = generated
    with in_the_table(digests, folder):
        yield folder


@pytest.fixture(scope="session")
def kit(generated: tuple[Path, dict[str, str]]) -> FullKit:
    folder, digests = generated
    with in_the_table(digests, folder):
        return FullKit(folder)


@pytest.fixture(scope="session")
def small_kit(generated: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> FullKit:
    """With the MobileNet detector and BiSeNet, and without the files that would be taken before them."""
    folder, digests = generated
    with in_the_table(digests, folder):
        small = linked(folder, tmp_path_factory.mktemp("small"), "retinaface-mobilenet", "fan", "arcface", "bisenet")
        return FullKit(small)


@pytest.fixture(scope="session")
def photo(astronaut: Pixels) -> Pixels:
    """A real photograph, 448 x 300, with one face of about 105 pixels around (225, 120)."""
    return np.ascontiguousarray(astronaut[:300, :448])


@pytest.fixture(scope="session")
def points5() -> Points:
    """Eyes, nose tip and mouth corners of the face in `photo`, in its pixel centres, by eye."""
    return np.array([[205, 114], [246, 108], [231, 136], [211, 153], [250, 148]], dtype=np.float32)


@pytest.fixture(scope="session")
def crops(photo: Pixels, points5: Points) -> Pixels:
    """Three aligned crops of the face: as it is, mirrored and darker."""
    crop = crop_face(photo, crop_matrix(points5))
    return np.stack([crop, crop[:, ::-1], crop // 2])


@pytest.fixture(scope="session")
def alone(kit: FullKit, crops: Pixels) -> tuple[Landmarks, list[Tensor]]:
    """The full kit's landmarks of the first crop, and what the network was shown."""
    shown: list[Tensor] = []
    with kit._fan.net.register_forward_pre_hook(lambda net, inputs: shown.append(inputs[0].clone())):
        (found,) = kit.landmarks(crops[:1])
    return found, shown
