"""`dmd train` and `dmd train prepare` as their user runs them: the two ways, exit codes, sentences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dmdcli.cli import prepare as verb
from dmdcli.cli.main import app
from dmdcli.training import report
from dmdcli.training.data import read_faces
from tests.pipeline.test_prepare import SquareFinder, portrait
from tests.training.conftest import write_faces


@pytest.fixture(autouse=True)
def told_finder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verb, "build_finder", lambda *given, **options: SquareFinder())


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three people with a photo each, and a photo of two faces."""
    folder = tmp_path / "photos"
    for number, person in enumerate(("Anna", "Berta", "Carl")):
        (folder / person).mkdir(parents=True)
        Image.fromarray(portrait(number)).save(folder / person / "one.png")
    Image.fromarray(np.hstack([portrait(8), portrait(9)])).save(folder / "Anna" / "two.png")
    return folder


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["train", *map(str, arguments)], prog_name="dmd")


def train(folder: Path, out: Path, *more: object) -> Any:
    small = ("--width", 4, "--entries", 2, "--batch-size", 1, "--workers", 0, "--device", "cpu")
    return run(folder, "--out", out, "--steps", 1, *small, *more)


@pytest.mark.slow
def test_what_is_prepared_can_be_trained_on(photos: Path, tmp_path: Path) -> None:
    result = run("prepare", photos, "--out", tmp_path / "data", "--licence", "CC0")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1].split() == ["several", "faces", "1"]
    assert "2 crops of 2 people to learn from, 1 crop of 1 person to validate with." in result.stdout
    assert "licence" not in result.stderr
    result = train(tmp_path / "data", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "step 1: loss" in result.stdout
    assert (tmp_path / "run" / "validation" / "step-1.png").exists()


def test_json_lines_and_verbosity(photos: Path, tmp_path: Path) -> None:
    result = run("prepare", photos, "-o", tmp_path / "data", "--json", "-v")
    *lines, summary = map(json.loads, result.stdout.splitlines())
    assert [(line["schema"], Path(line["photo"]).name, line["kind"]) for line in lines][:2] == [
        (1, "one.png", None),
        (1, "two.png", "several faces"),
    ]
    assert set(lines[0]) == {"schema", "photo", "person", "crop", "enlarged", "kind", "reason"}
    assert summary["left_out"] == {"several faces": 1}
    assert summary["people"] == {"train": 2, "validation": 1}
    assert "left out, it has 2 faces" in result.stderr
    assert "no licence was stated" in result.stderr
    assert run("prepare", photos, "-o", tmp_path / "data", "-q").stderr == ""
    assert "had been looked at" in run("prepare", photos, "-o", tmp_path / "data").stderr


def test_failed_photos_end_with_3_and_with_strict_those_left_out_too(photos: Path, tmp_path: Path) -> None:
    assert run("prepare", photos, "-o", tmp_path / "data", "--strict").exit_code == 3
    (photos / "Carl" / "broken.jpg").write_text("no picture")
    result = run("prepare", photos, "-o", tmp_path / "data", "-q")
    assert result.exit_code == 3
    assert result.stderr.splitlines() == [
        f"dmd: {photos / 'Carl' / 'broken.jpg'}: is no picture in JPEG, PNG, TIFF, WebP, BMP, JPEG 2000, AVIF or HEIC"
    ]
    assert len(read_faces(tmp_path / "data", "train").samples) == 2


def test_what_cannot_be_prepared_is_one_sentence(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    theirs = write_faces(tmp_path / "theirs")
    for words, code, sentence in (
        ((photos / "nowhere", "-o", tmp_path / "data"), 2, "there is no such file or folder"),
        ((tmp_path / "empty", "-o", tmp_path / "data"), 4, "No photo found"),
        ((photos, "-o", photos / "data"), 2, "lies inside, the input folder"),
        ((photos, "-o", theirs), 2, "which this command has not made"),
        ((theirs / "aligned_crops", "--strangers", "-o", theirs), 2, "the input folder"),
        ((photos / "Anna", "-o", tmp_path / "data"), 2, "2 photos of no people found; 3 people are needed"),
        ((photos / "Anna" / "one.png", "--strangers", "-o", tmp_path / "data"), 2, "1 photo of 1 person found"),
    ):
        result = run("prepare", *words)
        assert (result.exit_code, len(result.stderr.splitlines())) == (code, 1), result.output
        assert sentence in result.stderr
    assert not (tmp_path / "data").exists()


def test_one_person_left_is_one_sentence_and_a_report(photos: Path, tmp_path: Path) -> None:
    for person in ("Berta", "Carl"):
        Image.new("RGB", (512, 512)).save(photos / person / "one.png")
    result = run("prepare", photos, "-o", tmp_path / "data")
    assert result.exit_code == 2
    assert "Of 1 person a photo is fit to learn from; 3 are needed" in result.stderr
    assert len((tmp_path / "data" / "report.csv").read_text().splitlines()) == 4


def test_strangers_are_a_person_each(photos: Path, tmp_path: Path) -> None:
    result = run("prepare", photos, photos / "Anna" / "one.png", "--strangers", "-o", tmp_path / "data")
    assert result.exit_code == 0, result.output
    assert set(read_faces(tmp_path / "data", "train").people) <= {"Anna/one.png", "Berta/one.png", "Carl/one.png"}


@pytest.mark.slow
def test_the_words_of_the_old_form_stay(faces_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "draws_curves", lambda: False)
    small = ["--width", 4, "--entries", 2, "--batch-size", 1, "--workers", 0, "--device", "cpu", "--steps", 1]
    result = run("--out", tmp_path / "run", *small, faces_in)  # options first
    assert result.exit_code == 0, result.output
    assert "matplotlib is not installed" in result.stderr
    assert "there is nothing left to do" in run(faces_in, "--out", tmp_path / "run", *small).stderr
    for words, sentence in (
        ((), "Missing argument 'DATA'"),
        ((faces_in,), "Missing option '--out'"),
        ((faces_in, "x", "--out", "y"), "unexpected extra argument"),
        (("prepare",), "Missing argument 'PHOTOS"),
    ):
        result = run(*words)
        assert result.exit_code == 2
        assert sentence in result.stderr
    assert "Usage: dmd train prepare [OPTIONS]" in run("prepare", "--help").stdout
    helped = run("--help").stdout
    assert "Usage: dmd train [OPTIONS]" in helped
    assert "prepare" in helped.split("Commands:")[1]


@pytest.fixture
def faces_in(tmp_path: Path) -> Path:
    """A data folder that is called as the verb."""
    return write_faces(tmp_path / "prepare")


@pytest.mark.slow
def test_a_data_folder_called_as_the_verb_is_named_with_its_place(
    faces_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train(Path("prepare"), tmp_path / "run").exit_code == 2
    small = ("--steps", 1, "--width", 4, "--entries", 2, "--batch-size", 1, "--workers", 0, "--device", "cpu")
    result = run("./prepare", "--out", "run", *small)
    assert result.exit_code == 0, result.output
