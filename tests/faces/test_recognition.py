"""The recognition network says of every face what dlib says of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dmdcli import weights
from dmdcli.errors import ShapeError
from dmdcli.faces.recognition import CHIP, NUMBERS, RecognitionNetwork
from dmdcli.shapes import Pixels


@pytest.fixture(scope="module")
def path() -> Path:
    return weights.locate(weights.RECOGNITION)


@pytest.fixture(scope="module")
def network(path: Path) -> RecognitionNetwork:
    return RecognitionNetwork(path)


def some_chips(astronaut: Pixels) -> Pixels:
    """A face, its mirror image, noise, black, white and a gradient."""
    face = astronaut[50 : 50 + CHIP, 170 : 170 + CHIP]
    noise = np.random.default_rng(0).integers(0, 256, face.shape, dtype=np.uint8)
    ramp = np.broadcast_to(np.arange(CHIP, dtype=np.uint8)[:, None, None], face.shape)
    return np.stack([face, face[:, ::-1], noise, np.zeros_like(face), np.full_like(face, 255), ramp])


def test_embeddings_are_those_of_dlib(network: RecognitionNetwork, path: Path, astronaut: Pixels) -> None:
    dlib = pytest.importorskip("dlib")
    theirs = dlib.face_recognition_model_v1(str(path))
    chips = some_chips(astronaut)
    ours = network.embed(chips)
    assert (ours.dtype, ours.shape) == (np.float32, (len(chips), NUMBERS))
    expected = np.array([theirs.compute_face_descriptor(np.ascontiguousarray(chip)) for chip in chips])
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    assert np.linalg.norm(expected[0] - expected[2]) > 0.3, "they would be the same whatever is shown"


def test_a_face_is_the_same_alone_and_among_others(network: RecognitionNetwork, astronaut: Pixels) -> None:
    chips = some_chips(astronaut)
    np.testing.assert_allclose(network.embed(chips[2:3])[0], network.embed(chips)[2], atol=1e-5)
    assert network.embed(chips[:0]).shape == (0, NUMBERS)


def test_other_pictures_and_other_files_are_refused(network: RecognitionNetwork, tmp_path: Path, path: Path) -> None:
    with pytest.raises(ShapeError):
        network.embed(np.zeros((1, 112, 112, 3), np.uint8))
    content = path.read_bytes()
    other = tmp_path / "other.dat"
    for damaged in (b"", content[:1000], content.replace(b"\x05con_4\x01\x02", b"\x05con_4\x01\x01", 1)):
        other.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"not found|smaller|version"):
            RecognitionNetwork(other)
