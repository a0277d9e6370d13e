"""Data folders and runs that are not as they should be: what `dmd train` and `dmd evaluate` say, and nothing lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dmdcli.cli.main import app
from dmdcli.model import checkpoint
from dmdcli.model.dmdnet import DMDConfig, DMDNet
from dmdcli.training.data import read_faces
from dmdcli.training.recipe import TrainConfig
from dmdcli.training.report import read_progress
from dmdcli.training.train import train as steps_of
from tests.cli.conftest import hear_ctrl_c
from tests.training.conftest import write_faces

CONFIG = TrainConfig(
    width=4, entries=2, steps=4, batch_size=1, warmup=1, workers=0, save_every=2, validate_every=100, max_references=1
)
PATIENCE = 300
"""Seconds that a run on a busy machine may take."""
Spoil = Callable[[Path, int], None]


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, list(map(str, arguments)), prog_name="dmd")


def change_landmarks(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    landmarks = json.loads((folder / "landmarks.json").read_text())
    change(landmarks)
    (folder / "landmarks.json").write_text(json.dumps(landmarks))


def change_index(folder: Path, change: Callable[[list[str]], list[str]]) -> None:
    lines = (folder / "index.csv").read_text().splitlines()
    (folder / "index.csv").write_text("\n".join(change(lines)))


def two_sets(folder: Path, number: int) -> None:
    change_landmarks(folder, lambda of: of.update({f"crop{number}": [of[f"crop{number}"], of["crop0"]]}))


def two_sets_in_a_row(folder: Path, number: int) -> None:
    change_landmarks(folder, lambda of: of.update({f"crop{number}": of[f"crop{number}"] + of["crop0"]}))


def two_sets_by_name(folder: Path, number: int) -> None:
    text = (folder / "landmarks.json").read_text()
    (folder / "landmarks.json").write_text(f'{text[:-1]}, "crop{number}": {json.dumps(json.loads(text)["crop0"])}}}')


def two_rows(folder: Path, number: int) -> None:
    change_index(folder, lambda lines: [*lines, f"crop{number}.jpg,zoe,train,1.0,generated,none"])


def two_endings(folder: Path, number: int) -> None:
    change_index(folder, lambda lines: [*lines, f"crop{number}.png,zoe,train,1.0,generated,none"])


def nameless(folder: Path, number: int) -> None:
    change_index(folder, lambda lines: [*lines[:-1], f"crop{number}.jpg,,validation,1.0,generated,none"])


def not_a_number(folder: Path, number: int) -> None:
    change_index(
        folder,
        lambda lines: [
            ",".join([*line.split(",")[:3], "nan", "generated", "none"]) if line.startswith(f"crop{number}.") else line
            for line in lines
        ],
    )


def no_points(folder: Path, number: int) -> None:
    change_landmarks(folder, lambda of: of.pop(f"crop{number}"))


def no_place(folder: Path, number: int) -> None:
    change_landmarks(folder, lambda of: of[f"crop{number}"].__setitem__(5, [float("nan"), 3.0]))


def cut_short(folder: Path, number: int) -> None:
    crop = folder / "aligned_crops" / f"crop{number}.jpg"
    crop.write_bytes(crop.read_bytes()[:3000])


def no_picture(folder: Path, number: int) -> None:
    (folder / "aligned_crops" / f"crop{number}.jpg").write_text("no picture")


def no_file(folder: Path, number: int) -> None:
    (folder / "aligned_crops" / f"crop{number}.jpg").unlink()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (two_sets, "landmarks.json: the crop {} has the points of 2 faces; a crop shows one"),
        (two_sets_in_a_row, "landmarks.json: the crop {} has the points of 2 faces; a crop shows one"),
        (two_sets_by_name, "has two sets of landmarks; a crop shows one face"),
        (two_rows, "index.csv, line 11: the crop {} is there twice; a crop is one face of one person"),
        (two_endings, "and {} have one name"),
        (nameless, "index.csv, line 10: no identity"),
        (not_a_number, "the crop {} is said to be enlarged nan times"),
        (no_points, "landmarks.json has no landmarks for the crop {}"),
        (no_place, "a point of the crop {} has no place"),
        (cut_short, "{}: the crop cannot be read, or is damaged"),
        (no_picture, "{}: the crop is no picture"),
        (no_file, "{}: the crop is in index.csv but not on disk"),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_a_spoiled_data_folder_is_one_sentence(spoil: Spoil, sentence: str, tmp_path: Path) -> None:
    folder = write_faces(tmp_path / "faces")
    spoil(folder, 8)
    for command in (
        ("train", folder, "--out", tmp_path / "run", "--device", "cpu", "-q"),
        ("evaluate", folder, "-q"),
    ):
        result = run(*command)
        assert result.exit_code == 2, result.output
        assert sentence.format("crop8.jpg") in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_one_person_is_not_enough_to_learn_from_and_leaves_no_run(tmp_path: Path) -> None:
    folder = write_faces(tmp_path / "faces")
    change_index(folder, lambda lines: [line for line in lines if "train" not in line or "ada" in line])
    result = run("train", folder, "--out", tmp_path / "run", "--device", "cpu", "-q")
    assert result.exit_code == 2
    assert result.stderr == "dmd: training wants at least two people, found only ada\n"
    assert not (tmp_path / "run").exists()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_faces(tmp_path / "faces")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(asdict(CONFIG)))
    return path


@pytest.mark.slow
def test_weights_and_checkpoints_of_another_width_are_refused(folder: Path, recipe: Path, tmp_path: Path) -> None:
    words = ("train", folder, "--recipe", recipe, "--steps", 1, "--device", "cpu", "-q")
    checkpoint.save(DMDNet(DMDConfig(8, 2, residual=True)), tmp_path / "wide.safetensors")
    result = run(*words, "--out", tmp_path / "run", "--start-from", tmp_path / "wide.safetensors")
    assert result.exit_code == 6, result.output
    assert "width 8 where this run wants 4" in result.stderr
    assert list((tmp_path / "run").iterdir()) == []

    steps = steps_of(read_faces(folder, "train"), None, replace(CONFIG, steps=1), tmp_path / "run")
    assert next(steps).step == 1
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    result = run(*words, "--out", tmp_path / "run", "--width", 8)
    assert result.exit_code == 6
    assert result.stderr == (
        f"dmd: {tmp_path / 'run' / 'checkpoint.pt'}: was trained with width 4, not 8. Train into another folder.\n"
    )
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before


def losses(out: Path) -> dict[int, float]:
    return {step: row["loss"] for step, row in enumerate(read_progress(out / "progress.csv"), start=1)}


def start(*arguments: object, before: Callable[[], None]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "dmdcli.cli.main", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,
        start_new_session=True,
    )


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="limits and signals of POSIX")
def test_neither_a_full_disk_nor_ctrl_c_loses_what_was_done(folder: Path, recipe: Path, tmp_path: Path) -> None:
    """Ctrl-C once a step is done; then a checkpoint that is cut off in the middle, for no file may grow so large; then
    the rest.
    """
    resource = pytest.importorskip("resource")
    out = tmp_path / "run"
    words = ("train", folder, "--recipe", recipe, "--device", "cpu", "-q")
    assert run(*words, "--out", tmp_path / "whole").exit_code == 0

    def fill_the_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    recipe.write_text(json.dumps(asdict(replace(CONFIG, save_every=100))))
    stopped = start(*words, "--out", out, before=hear_ctrl_c)
    wait_for(out, 1)
    os.killpg(stopped.pid, signal.SIGINT)
    assert stopped.communicate(timeout=PATIENCE)[1].startswith("dmd: Stopped. What was finished is kept")
    assert stopped.returncode == 130

    saved = (out / "checkpoint.pt").read_bytes()
    weights = (out / "weights.safetensors").read_bytes()
    full = start(*words, "--out", out, before=fill_the_disk)
    said = full.communicate(timeout=PATIENCE)[1]
    assert full.returncode == 8, said
    assert "cannot be written ([Errno 27] File too large)" in said
    assert "The one before it is still there." in said
    assert len(said.splitlines()) == 1
    assert (out / "checkpoint.pt").read_bytes() == saved
    assert (out / "weights.safetensors").read_bytes() == weights
    assert not list(out.glob("*.part"))

    assert run(*words, "--out", out).exit_code == 0
    assert losses(out) == pytest.approx(losses(tmp_path / "whole"), rel=1e-5)
    assert len(losses(out)) == CONFIG.steps


def wait_for(out: Path, steps: int) -> None:
    """Wait until a run has done so many steps."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if (out / "progress.csv").exists() and len(read_progress(out / "progress.csv")) >= steps:
            return
        time.sleep(0.01)
    pytest.fail("the run does not get on")
