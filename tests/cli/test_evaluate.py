from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from dmdcli.cli import build
from dmdcli.cli.main import app
from dmdcli.faces.draw import NOTHING, STRIP
from dmdcli.faces.face import Landmarks
from tests.training.conftest import face_points, write_faces

RUNNER = CliRunner()


class StillRestorer:
    """Gives back what it was given, generic and specific alike."""

    def memorize(self, crops: np.ndarray, boxes: np.ndarray) -> object:
        return object()

    def restore(
        self, crops: np.ndarray, boxes: np.ndarray, people: list[object], *, both: bool = True
    ) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(generic=crop / 255, specific=person and crop / 255, best=crop / 255)
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


def test_prints_means_and_paired_differences(folder: Path) -> None:
    result = RUNNER.invoke(app, ["evaluate", str(folder)])
    assert result.exit_code == 0, result.output
    means, differences, legend = result.stdout.split("\n\n")
    heading, *lines = means.splitlines()
    assert heading.split("  ")[0] == "mean (faces)"
    assert [line.split("  ")[0] for line in lines] == ["input (2)", "generic (2)", "specific (2)"]
    assert len(heading.split("  ")) >= 11
    heading, *lines = differences.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "generic - input (2)",
        "specific - input (2)",
        "specific - generic (2)",
    ]
    assert all("+0.000 (one person)" in line for line in lines)
    assert "95 %" in legend


def test_json_is_a_line_for_each_crop_and_the_summary(folder: Path) -> None:
    result = RUNNER.invoke(app, ["evaluate", str(folder), "--json", "--severity", "mild", "--seed", "4"])
    *crops, last = [json.loads(line) for line in result.stdout.splitlines()]
    assert [crop["crop"] for crop in crops] == ["crop7.jpg", "crop8.jpg"]
    assert crops[0]["input"] == crops[0]["generic"] == crops[0]["specific"]
    assert 0 <= crops[0]["degradation"]["blur"] <= 3
    mean = (crops[0]["input"]["psnr"] + crops[1]["input"]["psnr"]) / 2
    assert last["summary"]["means"]["input"]["psnr"] == pytest.approx(mean)
    assert last["summary"]["gains"]["specific"]["psnr"] == {"mean": 0, "low": 0, "high": 0}
    difference = last["summary"]["differences"][-1]
    assert (difference["row"], difference["base"], difference["faces"], difference["people"]) == (
        *("specific", "generic"),
        *(2, 1),
    )
    assert last["summary"]["others"]["counts"] == {"input": 2, "generic": 2, "specific": 2}
    assert "studio" not in last["summary"]


@pytest.mark.slow
def test_several_seeds_are_several_single_ones(folder: Path) -> None:
    def crops(*options: str) -> list[dict[str, Any]]:
        answer = RUNNER.invoke(app, ["evaluate", str(folder), "--json", "--rows", "input,unsharp", *options])
        assert answer.exit_code == 0, answer.output
        return [json.loads(line) for line in answer.stdout.splitlines()][:-1]

    both = crops("--seeds", "2", "--seed", "3")
    assert [crop["seed"] for crop in both] == [3, 3, 4, 4]
    assert both == crops("--seed", "3") + crops("--seed", "4")
    assert set(both[0]) >= {"input", "unsharp"}
    assert "generic" not in both[0]


@pytest.mark.slow
def test_pairs_are_written_and_anothers_results_measured(folder: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs"
    written = RUNNER.invoke(app, ["evaluate", str(folder), "--rows", "input", "--pairs-out", str(pairs)])
    assert written.exit_code == 0, written.output
    assert str(pairs) in written.stderr
    assert len(written.stdout.split("\n\n")) == 2, "the means and the legend; there are no differences"
    assert len(json.loads((pairs / "manifest.json").read_text())["pairs"]) == 2
    theirs = tmp_path / "theirs"
    for path in (pairs / "degraded").rglob("*.png"):
        (theirs / path.parent.name).mkdir(parents=True, exist_ok=True)
        Image.open(path).rotate(180).save(theirs / path.parent.name / path.name)
    measured = RUNNER.invoke(app, ["evaluate", str(folder), "--results", str(theirs), "--json"])
    crop, *_, last = [json.loads(line) for line in measured.stdout.splitlines()]
    assert crop["theirs"]["psnr"] < crop["input"]["psnr"]
    assert {(one["row"], one["base"]) for one in last["summary"]["differences"] if one["base"] != "input"} == {
        ("specific", "generic"),
        ("generic", "theirs"),
        ("specific", "theirs"),
    }
    again = RUNNER.invoke(app, ["evaluate", str(folder), "--rows", "input", "--pairs-out", str(pairs)])
    assert again.exit_code == 2
    assert "holds something already" in again.stderr
    inside = RUNNER.invoke(app, ["evaluate", str(folder), "--rows", "input", "--pairs-out", str(folder / "pairs")])
    assert inside.exit_code == 2
    assert "lies inside" in inside.stderr
    assert not (folder / "pairs").exists()


@pytest.mark.slow
def test_strips_show_each_face_before_after_and_true(folder: Path, tmp_path: Path) -> None:
    strips, pairs = tmp_path / "strips", tmp_path / "pairs"
    command = ["evaluate", str(folder), "--rows", "generic,specific,wrong,bilateral"]
    first = RUNNER.invoke(app, [*command, "--strips", str(strips), "--pairs-out", str(pairs), "--json"])
    assert first.exit_code == 0, first.output
    assert f"The strips are in {strips}" in first.stderr
    assert "No person of validation has the photographs that wrong would take" in first.stderr
    found = {path.relative_to(strips).as_posix() for path in strips.rglob("*.png")}
    assert found == {"sheet.png", "seed-0/crop7.png", "seed-0/crop8.png"}
    drawn = np.asarray(Image.open(strips / "seed-0" / "crop7.png"))
    assert drawn.shape == (2 * STRIP + 512, 6 * 512, 3)
    degraded, bilateral, generic, specific, wrong, truth = np.split(drawn[2 * STRIP :], 6, axis=1)
    for shown, kind in ((degraded, "degraded"), (truth, "truth")):
        assert (shown == np.asarray(Image.open(pairs / kind / "seed-0" / "crop7.png"))).all()
    assert (generic == degraded).all(), "the restorer of this test changes nothing"
    assert (specific == degraded).all()
    assert (bilateral != degraded).any()
    assert (wrong == NOTHING).all(), "there is nobody else"
    with Image.open(strips / "sheet.png") as sheet:
        assert sheet.size == (6 * 256, 2 * STRIP + 256), "one person"

    for place, sentence in ((strips, "holds something already; strips go"), (folder / "strips", "lies inside")):
        refused = RUNNER.invoke(app, [*command, "--strips", str(place)])
        assert refused.exit_code == 2
        assert sentence in refused.stderr
    assert not (folder / "strips").exists()


def test_another_network_is_a_row(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Descriptor:
        input_channels = 3

        def eval(self) -> None:
            pass

        def __call__(self, image: torch.Tensor) -> torch.Tensor:
            assert image.shape == (1, 3, 512, 512)
            noisy = image * 0.5 + torch.rand(image.shape) * 0.1
            return torch.nn.functional.interpolate(noisy, scale_factor=2)

    class Loader:
        def __init__(self, device: torch.device) -> None:
            pass

        def load_from_file(self, path: Path) -> object:
            if path.read_bytes() == b"weights":
                return Descriptor()
            raise ValueError("no architecture fits\nand much more")

    spandrel = ModuleType("spandrel")
    spandrel.ModelLoader, spandrel.ImageModelDescriptor = Loader, Descriptor  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spandrel", spandrel)
    file = tmp_path / "Other v1.pth"
    file.write_bytes(b"weights")
    command = ["evaluate", str(folder), "--rows", "generic", "--device", "cpu", "--compare", str(file), "--json"]
    first, second = RUNNER.invoke(app, command), RUNNER.invoke(app, command)
    assert first.exit_code == 0, first.output
    assert first.stdout == second.stdout, "also what draws at random gives the same twice"
    *crops, last = [json.loads(line) for line in first.stdout.splitlines()]
    assert all(crop["Other v1"]["psnr"] < crop["input"]["psnr"] for crop in crops)
    assert [(one["row"], one["base"]) for one in last["summary"]["differences"]] == [
        ("generic", "input"),
        ("Other v1", "input"),
        ("generic", "Other v1"),
    ]

    file.write_bytes(b"something else")
    strange = RUNNER.invoke(app, command)
    assert strange.exit_code == 6
    assert "spandrel says no architecture fits" in strange.stderr
    file.unlink()
    assert "There are no weights" in RUNNER.invoke(app, command).stderr
    program = tmp_path / "program.pt"
    program.touch()
    assert "no other file is opened" in RUNNER.invoke(app, [*command[:-2], str(program)]).stderr


@pytest.mark.parametrize("scale", [1, 2])
def test_another_network_through_the_real_spandrel(folder: Path, tmp_path: Path, scale: int) -> None:
    """A tiny SRVGGNetCompact, which adds what it computes, nothing, to its enlarged input."""
    pytest.importorskip("spandrel")
    shapes = {"body.0": (8, 3, 3, 3), "body.2": (8, 8, 3, 3), "body.4": (3 * scale**2, 8, 3, 3)}
    weights = {f"{name}.weight": torch.zeros(shape) for name, shape in shapes.items()}
    weights |= {f"{name}.bias": torch.zeros(shape[0]) for name, shape in shapes.items()}
    weights |= {f"body.{place}.weight": torch.full((8,), 0.25) for place in (1, 3)}
    torch.save(weights, tmp_path / "tiny.pth")
    result = RUNNER.invoke(
        app, ["evaluate", str(folder), "--rows", "input", "--compare", str(tmp_path / "tiny.pth"), "--json"]
    )
    assert result.exit_code == 0, result.output
    crops = [json.loads(line) for line in result.stdout.splitlines()][:-1]
    assert all(crop["tiny"] == crop["input"] for crop in crops)


def test_what_is_not_installed_is_one_sentence(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spandrel", None)
    monkeypatch.setitem(sys.modules, "skimage.restoration", None)
    result = RUNNER.invoke(app, ["evaluate", str(folder), "--compare", str(tmp_path / "GFPGAN.pth")])
    assert result.exit_code == 8
    assert "pip install spandrel" in result.stderr
    result = RUNNER.invoke(app, ["evaluate", str(folder), "--rows", "richardson-lucy"])
    assert result.exit_code == 8
    assert "pip install scikit-image" in result.stderr


def test_wrong_usage_is_said_before_anything_is_loaded(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for options, sentence in (
        ([str(tmp_path / "empty")], "index.csv does not exist"),
        ([str(folder), "--split", "test"], "no crop in the split"),
        ([str(folder), "--rows", "generic,best"], "There is no row 'best'"),
        ([str(folder), "--rows", "references,specific-x"], "There is no row 'specific-x'"),
        ([str(folder), "--results", str(tmp_path / "none")], "is no folder"),
    ):
        result = RUNNER.invoke(app, ["evaluate", *options])
        assert result.exit_code == 2, result.output
        assert sentence in result.stderr
