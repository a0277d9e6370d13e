"""`make demo`, as a user runs it, in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


def read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Where the demo left its results, and what it printed."""
    out = tmp_path_factory.mktemp("demo") / "out"
    command = [sys.executable, str(ROOT / "demo" / "run.py"), "--out", str(out)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DMD_")}
    finished = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return out, finished.stdout


def test_collins_is_recognised_and_hopper_is_a_stranger(demo: tuple[Path, str]) -> None:
    lines = (demo[0] / "restore.jsonl").read_text(encoding="utf-8").splitlines()
    results = {Path(result["photo"]).stem: result for result in map(json.loads, lines)}
    faces = {name: [(face["person"], face["used"]) for face in result["faces"]] for name, result in results.items()}
    assert faces == {"eileen_collins": [("Eileen Collins", "specific")], "grace_hopper": [(None, "generic")]}


@pytest.mark.parametrize("name", ["eileen_collins.png", "grace_hopper.png"])
def test_faces_change_and_the_rest_stays(demo: tuple[Path, str], name: str) -> None:
    before, after = read(demo[0] / "photos" / name), read(demo[0] / "restored" / name)
    changed = (before != after).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert changed.sum() > 1000
    assert not changed[-60:].any()
    assert np.ptp(rows) < before.shape[0] * 0.7
    assert np.ptp(columns) < before.shape[1] * 0.8


def test_the_restored_faces_are_nearer_to_the_originals(demo: tuple[Path, str]) -> None:
    report = demo[1].split("How near the faces are")[1].split("What this proves")[0]
    assert report.count(": nearer to the original") == 2, report


def test_it_says_what_it_proves_and_where_to_look(demo: tuple[Path, str]) -> None:
    out, text = demo
    assert "come from one and\nthe same picture" in text
    assert "does not show how well" in text
    shown = [line.split()[0] for line in text.split("Where to look:")[1].splitlines() if line]
    assert str(out / "before-after.png") in shown
    assert all(Path(path).exists() for path in shown)
    assert [line.split()[2] for line in text.splitlines() if line.startswith("$ dmd")] == [
        *("degrade", "degrade", "enroll", "people", "restore", "restore", "check")
    ]


def test_the_strip_shows_three_pictures_of_each_face(demo: tuple[Path, str]) -> None:
    strip = read(demo[0] / "before-after.png")
    middle = strip[72:432]
    degraded, restored, original = (middle[:, left : left + 360].astype(int) for left in (16, 392, 768))
    assert np.abs(degraded - original).mean() > 1
    assert np.abs(restored - degraded).mean() > 0.5


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine", encoding="utf-8")
    command = [sys.executable, str(ROOT / "demo" / "run.py"), "--out", str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
