from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from dmdcli.cli import build
from dmdcli.cli.main import app
from dmdcli.faces.face import Landmarks
from tests.training.conftest import face_points, write_faces

RUNNER = CliRunner()


class StillRestorer:
    """Gives back what it was given, generic and specific alike."""

    def memorize(self, crops: np.ndarray, boxes: np.ndarray) -> object:
        return object()

    def restore(self, crops: np.ndarray, boxes: np.ndarray, people: list[object]) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(generic=crop / 255, specific=person and crop / 255)
            for crop, person in zip(crops, people, strict=True)
        ]


class OnePersonKit:
    name = "fake"

    def landmarks(self, crops: np.ndarray) -> list[Landmarks]:
        return [Landmarks(face_points(np.random.default_rng(0)).astype(np.float32)) for _ in crops]

    def embed(self, crops: np.ndarray, landmarks: list[Landmarks]) -> np.ndarray:
        return np.zeros((len(crops), 3), dtype=np.float32)

    def similarity(self, distance: np.ndarray) -> np.ndarray:
        return 1 - distance


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two crops of one person in the validation split; fakes instead of networks."""
    monkeypatch.setattr(build, "build_restorer", lambda *given: StillRestorer())
    monkeypatch.setattr(build, "build_finder", lambda *given, **options: SimpleNamespace(kit=OnePersonKit()))
    return write_faces(tmp_path / "faces")


def test_prints_means_and_gains_of_the_three_rows(folder: Path) -> None:
    result = RUNNER.invoke(app, ["evaluate", str(folder)])
    assert result.exit_code == 0, result.output
    heading, *lines = result.stdout.splitlines()
    assert heading.split("  ")[0] == "mean (faces)"
    assert all(f"{row} (2)" in heading for row in ("input", "generic", "specific"))
    assert len(lines) == 6
    assert "+0.000 (+0.000 to +0.000)" in lines[0]
    assert "1.000" in next(line for line in lines if "similarity" in line)


def test_json_is_a_line_for_each_crop_and_the_summary(folder: Path) -> None:
    result = RUNNER.invoke(app, ["evaluate", str(folder), "--json", "--severity", "mild", "--seed", "4"])
    *crops, last = [json.loads(line) for line in result.stdout.splitlines()]
    assert [crop["crop"] for crop in crops] == ["crop7.jpg", "crop8.jpg"]
    assert crops[0]["input"] == crops[0]["generic"] == crops[0]["specific"]
    assert 0 <= crops[0]["degradation"]["blur"] <= 3
    mean = (crops[0]["input"]["psnr"] + crops[1]["input"]["psnr"]) / 2
    assert last["summary"]["means"]["input"]["psnr"] == pytest.approx(mean)
    assert last["summary"]["gains"]["specific"]["psnr"] == {"mean": 0, "low": 0, "high": 0}


def test_a_folder_that_is_no_data_folder_is_wrong_usage(folder: Path, tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["evaluate", str(tmp_path)])
    assert result.exit_code == 2
    assert "index.csv does not exist" in result.stderr
    assert RUNNER.invoke(app, ["evaluate", str(folder), "--split", "test"]).exit_code == 2
