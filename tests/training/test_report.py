"""What a run leaves for eyes: strips, curves and scalars, and that none of them changes what is trained."""

from __future__ import annotations

import builtins
import csv
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dmdcli.errors import CannotGoOnError
from dmdcli.faces.draw import NOTHING, STRIP
from dmdcli.training import report
from dmdcli.training.data import FaceData, read_faces
from dmdcli.training.recipe import TrainConfig
from dmdcli.training.report import CELL, read_progress, shown_faces, write_curves, write_strip
from dmdcli.training.train import train

CONFIG = TrainConfig(
    width=4, entries=2, steps=2, batch_size=1, warmup=1, workers=0, save_every=2, validate_every=1, max_references=1
)


@pytest.fixture(scope="module")
def faces(faces_folder: Path) -> FaceData:
    return read_faces(faces_folder, "train")


@pytest.fixture(scope="module")
def validation(faces_folder: Path) -> FaceData:
    return read_faces(faces_folder, "validation")


@pytest.fixture(scope="module")
def run(faces: FaceData, validation: FaceData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps that validates at both, stopped after the first and gone on with. No test may change it."""
    folder = tmp_path_factory.mktemp("run")
    steps = train(faces, validation, CONFIG, folder)
    assert next(steps).step == 1
    steps.close()  # type: ignore[attr-defined]
    assert [progress.step for progress in train(faces, validation, CONFIG, folder)] == [1, 2]
    return folder


def losses(path: Path) -> list[str]:
    with path.open(newline="") as lines:
        return [row["loss"] for row in csv.DictReader(lines)]


def write_progress(path: Path, count: int, *, validated: int = 0, every: int = 1) -> None:
    """A made-up run whose loss falls to a quarter, with `validated` validations."""
    random = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("step", "generic_loss", "specific_loss", "input_psnr", "generic_psnr", "specific_psnr"))
        for step in range(1, count + 1):
            loss = 0.05 + 0.15 * math.exp(-step / count * 3) + random.normal(0, 0.01)
            psnr = (24.0, 24 + step / count, 24 + 1.3 * step / count) if validated and step % every == 0 else ()
            writer.writerow((step, loss, loss * 0.95, *psnr))


@pytest.mark.slow
def test_each_validation_leaves_a_strip(run: Path, validation: FaceData) -> None:
    assert sorted(path.name for path in (run / "validation").iterdir()) == ["step-1.png", "step-2.png"]
    with Image.open(run / "validation" / "step-2.png") as image:
        strip = np.asarray(image).astype(int)
    assert strip.shape == (STRIP + 2 * CELL, 4 * CELL, 3)
    degraded, generic, specific, truth = np.split(strip[STRIP : STRIP + CELL], 4, axis=1)
    reduced = np.asarray(Image.fromarray(validation.pixels[0]).resize((CELL, CELL), Image.Resampling.BOX)).astype(int)
    assert abs(truth - reduced).max() <= 1
    assert 1 < abs(degraded - truth).mean() < 40
    assert 0 < abs(generic - degraded).mean() < 40
    assert (generic != specific).any()


def test_who_has_other_photos_is_shown_first_and_the_rest_without_a_specific_answer(
    faces: FaceData, tmp_path: Path
) -> None:
    assert shown_faces(faces) == [0, 1, 3, 4, 5, 2], "ada, cyd, then one of those with one photo"
    picture = faces.pixels[0]
    with Image.open(write_strip([[picture, picture, None, picture]], tmp_path, 7)) as image:
        strip = np.asarray(image)
    assert (strip[STRIP:, 2 * CELL : 3 * CELL] == NOTHING).all()


@pytest.mark.slow
def test_pictures_change_nothing_in_the_run(run: Path, faces: FaceData, validation: FaceData, tmp_path: Path) -> None:
    done = losses(run / "progress.csv")
    assert done[0] == done[1], "step 1 was done again after stopping, and came out the same"
    list(train(faces, None, CONFIG, tmp_path))
    assert losses(tmp_path / "progress.csv") == done[1:]
    assert not (tmp_path / "validation").exists()


def test_a_step_done_again_counts_once_and_a_cut_line_not_at_all(run: Path, tmp_path: Path) -> None:
    assert [row["step"] for row in read_progress(run / "progress.csv")] == [1, 2]
    path = tmp_path / "progress.csv"
    path.write_text((run / "progress.csv").read_text() + "3,")
    rows = read_progress(path)
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert math.isnan(rows[-1]["generic_loss"])
    path.write_text((run / "progress.csv").read_text() + "x")
    assert len(read_progress(path)) == 2


def test_curves_are_drawn(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert (run / "curves.png").exists(), "the run has drawn them"
    heights = []
    for validated in (0, 1):
        write_progress(tmp_path / "progress.csv", 600, validated=validated, every=100)
        path = write_curves(tmp_path)
        assert path is not None
        with Image.open(path) as image:
            heights.append(image.height)
            assert len(image.convert("RGB").getcolors(1 << 24) or []) > 50, "more than an empty frame"
    assert heights[1] > heights[0], "the validation has a panel of its own"


def test_without_matplotlib_there_is_the_table_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    write_progress(tmp_path / "progress.csv", 3)
    assert write_curves(tmp_path) is None
    assert not (tmp_path / "curves.png").exists()


def test_a_full_disk_is_one_sentence(faces: FaceData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(CannotGoOnError, match="disk is full"):
        write_strip([[faces.pixels[0]] * 4], tmp_path, 1)
    monkeypatch.undo()
    assert not list(tmp_path.rglob("*.p*"))


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Any, ...]]]:
    """What a stand-in for tensorboard is given."""
    calls: list[tuple[Any, ...]] = []

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int) -> None:
            calls.append((Path(folder).name, purge_step))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            calls.append((name, value, step))

        def flush(self) -> None:
            calls.append(("flush",))

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    return calls


def test_scalars_go_to_tensorboard_where_it_is(faces: FaceData, tmp_path: Path, written: list[tuple[Any, ...]]) -> None:
    config = replace(CONFIG, steps=2, validate_every=9)
    (event,) = [event for event in train(faces, None, config, tmp_path) if event.step == 2]
    assert written[0] == ("tensorboard", 1)
    assert ("loss/generic", event.generic_loss, 2) in written
    assert written[-1] == ("flush",)
    add = report.open_scalars(tmp_path, 500)
    assert written[-1] == ("tensorboard", 501), "what a stopped run wrote beyond its checkpoint is dropped"
    add(replace(event, psnr=(24.0, 25.0, math.nan)))
    assert ("psnr/generic", 25.0, 2) in written
    assert not [call for call in written if call[0] == "psnr/specific"]


def test_without_tensorboard_nothing_is_written(
    faces: FaceData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def without(name: str, *arguments: Any, **settings: Any) -> Any:
        if name.startswith(("tensorboard", "torch.utils.tensorboard")):
            raise ImportError(name)
        return original(name, *arguments, **settings)

    monkeypatch.setattr(builtins, "__import__", without)
    list(train(faces, None, replace(CONFIG, steps=1), tmp_path))
    assert not (tmp_path / "tensorboard").exists()
