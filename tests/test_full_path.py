"""From photo to restored photo with the full kit and the published network, in generated files of their names.

Random networks see nothing: the face that the embedded kit sees is planted in what RetinaFace and FAN answer. All
else is what the user's command does.
"""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from dmdcli import weights
from dmdcli.cli.main import app
from dmdcli.faces import full
from dmdcli.faces.align import crop_matrix, five_points, invert, transform
from dmdcli.faces.embedded import EmbeddedKit
from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.full import RETINAFACE_BOX, FullKit
from dmdcli.shapes import Points
from tests.faces.generated_weights import planted_face, planted_landmarks, use_generated, write_full_kit

pytestmark = pytest.mark.slow

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def networks(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """A weights folder with everything in it (1.1 GB) and the SHA-256 of each file; removed afterwards."""
    make = test_data / "parity" / "make_weights.py"
    if not make.is_file():
        pytest.skip(f"{make} is not there")
    folder = tmp_path_factory.mktemp("networks")
    path = folder / weights.DMDNET.file
    subprocess.run([sys.executable, str(make), "1", str(path)], check=True)
    digests = write_full_kit(folder)
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    digests["dmdnet"] = digest.hexdigest()
    yield folder, digests
    for file_path in folder.iterdir():
        file_path.unlink()


@pytest.fixture
def photo(test_data: Path, tmp_path: Path) -> Path:
    """A real portrait, 800 pixels high."""
    source = sorted((test_data / "faces" / "photos" / "people" / "lisa").glob("*.jpg"))[0]
    picture = cv2.imread(str(source))
    scale = 800 / picture.shape[0]
    path = tmp_path / "lisa.png"
    cv2.imwrite(str(path), cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    return path


def true_points(photo: Path) -> Points:
    """The 68 points of the only face, (68, 2) float32 in photo pixels."""
    pixels = np.ascontiguousarray(cv2.imread(str(photo))[:, :, ::-1])
    (face,) = (face for face in FaceFinder(EmbeddedKit()).find(pixels) if face.rejected is None)
    return transform(face.landmarks.points, invert(face.matrix))


def caches(people: Path) -> dict[str, int]:
    """When each cache of the only person was written."""
    return {path.name: path.stat().st_mtime_ns for path in people.rglob("*.safetensors")}


def run(*arguments: object) -> list[dict[str, Any]]:
    result = RUNNER.invoke(app, [*map(str, arguments), "--json", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def planted(
    networks: tuple[Path, dict[str, str]], photo: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[FullKit]]:
    """Every full kit that is built sees the face of `photo`; nothing may connect. Yields the kits built."""
    folder, digests = networks
    monkeypatch.setenv("DMD_CACHE", str(folder))
    use_generated(monkeypatch, digests, folder)
    points = true_points(photo)
    matrix = crop_matrix(five_points(points))
    height, width = cv2.imread(str(photo)).shape[:2]
    corners = np.array([RETINAFACE_BOX[:2], RETINAFACE_BOX[2:]], dtype=np.float32) - np.float32(0.5)
    box = (transform(corners, invert(matrix)) + np.float32(0.5)).ravel()
    kits: list[FullKit] = []
    plants: list[Any] = []

    def build(*given: Any, **options: Any) -> FullKit:
        kit = FullKit(*given, **options)
        plants.append(planted_face(kit, tuple(float(edge) for edge in box), five_points(points), (width, height)))
        plants.append(planted_landmarks(kit, transform(points, matrix)))
        for plant in plants[-2:]:
            plant.__enter__()
        kits.append(kit)
        return kit

    def connect(*given: object) -> None:
        raise AssertionError(f"something connects to {given[1:]}")

    monkeypatch.setattr(full, "FullKit", build)
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    yield kits
    for plant in plants:
        plant.__exit__(None, None, None)


def test_enrolling_and_restoring_with_both_kits_and_networks(
    planted: list[FullKit], photo: Path, own_home: Path, tmp_path: Path
) -> None:
    blurred = tmp_path / "old" / "lisa.png"
    blurred.parent.mkdir()
    cv2.imwrite(str(blurred), cv2.GaussianBlur(cv2.imread(str(photo)), (0, 0), 3))
    published = ("--kit", "full", "--model", "dmdnet")

    assert [one["used"] for one in run("enroll", "Lisa", photo, *published)] == [True]
    (checked,) = run("check", photo, "--kit", "full")
    (seen,) = checked["faces"]
    assert seen["verdict"] == "good"
    np.testing.assert_allclose(np.array(seen["landmarks"]), true_points(photo), atol=0.05)

    unjudged = (*published, "--no-judge")  # no judgement would let pass what generated networks make
    (result,) = run("restore", blurred, "--out", tmp_path / "full", "--person", "Lisa", *unjudged)
    (face,) = result["faces"]
    assert (result["status"], result["kit"], face["person"], face["used"]) == (
        "restored",
        planted[0].name,
        "Lisa",
        "specific",
    )
    assert result["similarity_measured"] is False
    before, after = cv2.imread(str(blurred)).astype(int), cv2.imread(result["output"]).astype(int)
    changed = np.abs(after - before).max(axis=2) > 0
    rows, columns = np.nonzero(changed)
    x0, y0, x1, y1 = face["box"]
    assert changed[int(y0) : int(y1), int(x0) : int(x1)].mean() > 0.5
    side = (x1 - x0 + y1 - y0) / 2
    assert y0 - side < rows.min() < rows.max() < y1 + side
    assert x0 - side < columns.min() < columns.max() < x1 + side

    people = own_home / "library" / "people"
    made = caches(people)
    assert sorted(made) == sorted(
        [f"dictionary-{weights.DMDNET.sha256[:16]}.safetensors", f"embeddings-{planted[0].name}.safetensors"]
    )

    # The other kit and the other network make their own from the same references, once.
    both: dict[str, int] = {}
    for folder in ("embedded", "again"):
        (result,) = run("restore", blurred, "--out", tmp_path / folder, "--kit", "embedded", "--model", "base")
        assert [(one["person"], one["used"]) for one in result["faces"]] == [("Lisa", "specific")]
        assert result["similarity_measured"] is True
        now = caches(people)
        assert len(now) == 4
        assert made.items() <= now.items()
        assert both in ({}, now)
        both = now

    (result,) = run("restore", blurred, "--out", tmp_path / "back", "--person", "Lisa", *unjudged)
    assert result["faces"][0]["used"] == "specific"
    assert {path.name: path.stat().st_mtime_ns for path in people.rglob("*.safetensors")} == both, (
        "kept, not made again"
    )
    first, last = cv2.imread(str(tmp_path / "full" / "lisa.png")), cv2.imread(str(tmp_path / "back" / "lisa.png"))
    np.testing.assert_array_equal(first, last)


def test_auto_takes_the_full_kit_and_the_published_network_only_when_asked(
    planted: list[FullKit], photo: Path, tmp_path: Path
) -> None:
    result = RUNNER.invoke(app, ["restore", str(photo), "--out", str(tmp_path / "out"), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "Faces: the full kit (RetinaFace" in result.stderr
    assert "not yet measured" in result.stderr
    assert "Restoring: base on cpu." in result.stderr
    assert len(planted) == 1


def test_a_flipped_byte_in_any_network_is_refused_by_the_command_that_needs_it(
    planted: list[FullKit], networks: tuple[Path, dict[str, str]], photo: Path, tmp_path: Path
) -> None:
    folder, digests = networks
    arguments = ["restore", str(photo), "--out", str(tmp_path / "out"), "--kit", "full", "--model", "dmdnet"]
    for name in digests:
        (file,) = weights.named(name)
        path = folder / file.file
        with path.open("r+b") as stream:
            stream.seek(path.stat().st_size // 2)
            byte = stream.read(1)
            stream.seek(-1, 1)
            stream.write(bytes([byte[0] ^ 1]))
        result = RUNNER.invoke(app, [*arguments, "--device", "cpu"])
        verified = RUNNER.invoke(app, ["models", "verify", "--json"])
        with path.open("r+b") as stream:
            stream.seek(path.stat().st_size // 2)
            stream.write(byte)
        assert result.exit_code == 7, result.output
        assert path.name in result.stderr
        assert file.sha256 in result.stderr
        assert verified.exit_code == 7
        damaged = [
            one["name"] for one in map(json.loads, verified.stdout.splitlines()) if one.get("state") == "damaged"
        ]
        assert damaged == [name]
