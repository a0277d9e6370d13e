"""`dmd models calibrate` as its user runs it: what it prints, keeps and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dmdcli.cli import calibrate as verb
from dmdcli.cli.main import app
from dmdcli.faces.identity import Curve

IN_USE = Curve(middle=0.2, slope=20.0, source="set by hand", measured=True)


class Finder:
    """Sees one face in every photo that is not black; who it is, is the photo's red."""

    kit_name = "made-up-1"
    kit = SimpleNamespace(similarity=IN_USE)

    def find(self, pixels: np.ndarray) -> list[Any]:
        red, green, _ = pixels[0, 0] / 255
        embedding = np.array([red, green / 50], np.float32)
        return [SimpleNamespace(rejected=None, embedding=embedding)] if red else []


@pytest.fixture(autouse=True)
def told_finder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verb, "build_finder", lambda *given, **options: Finder())


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Three people with four photos each, one photo without a face, and a folder without photos."""
    folder = tmp_path / "people"
    for name, red in (("Anna", 60), ("Berta", 130), ("Carl", 250)):
        (folder / name).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (20, 20), (red, 60 * number, 0)).save(folder / name / f"{number}.png")
    Image.new("RGB", (20, 20)).save(folder / "Anna" / "wall.png")
    (folder / "notes").mkdir()
    return folder


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["models", "calibrate", *map(str, arguments)])


def test_both_curves_are_shown_and_nothing_is_kept(people: Path, own_home: Path) -> None:
    result = run(people)
    assert result.exit_code == 0, result.output
    assert "12 of 13 photos used, of 3 people; -v says why others were left out." in result.stderr
    assert "do not overlap: the middle lies somewhere from 0.014 to 0.275" in result.stderr
    assert "of one person" in result.stdout
    assert "set by hand" in result.stdout
    assert not list(own_home.rglob("similarity-*"))
    assert "no faces; one is needed" in run(people, "-v").stderr


def test_what_is_kept_and_how_to_go_back(people: Path, own_home: Path) -> None:
    result = run(people, "--save", "--json")
    assert result.exit_code == 0, result.output
    (record,) = map(json.loads, result.stdout.splitlines())
    assert (record["schema"], record["people"], record["pairs"]) == (1, 3, {"same": 18, "different": 48})
    assert set(record["curves"]) == {"fitted", "in_use"}
    (path,) = (own_home / "library").glob("similarity-*.json")
    assert json.loads(path.read_text())["middle"] == record["curves"]["fitted"]["middle"]
    assert f"Saved in {path}; remove that file" in result.stderr


def test_a_more_generous_curve_is_warned_of(people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Finder, "kit", SimpleNamespace(similarity=Curve(0.1, 20.0, "strict", measured=True)))
    assert "more generous" in run(people).stderr
    monkeypatch.setattr(Finder, "kit", SimpleNamespace(similarity=Curve(0.9, 20.0, "lax", measured=True)))
    assert "more generous" not in run(people).stderr


def test_too_little_and_no_folders_are_one_sentence(people: Path, tmp_path: Path) -> None:
    for folder, words in (
        (tmp_path / "nowhere", "is no folder"),
        (people / "Anna", "no people"),
        (people / "notes", "no people"),
    ):
        result = run(folder)
        assert result.exit_code == 2, result.output
        assert words in result.stderr
    for photo in [*(people / "Berta").iterdir(), *(people / "Carl").iterdir()][1:]:
        photo.unlink()
    result = run(people)
    assert result.exit_code == 2
    assert "too few to fit a curve" in result.stderr
