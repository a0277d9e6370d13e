"""A small data folder, generated."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PEOPLE = {"ada": 2, "bob": 1, "cyd": 3, "dee": 1}


def face_points(generator: np.random.Generator) -> np.ndarray:
    """68 points about where they are in an aligned crop, moved a little, none of them symmetric."""
    jaw = np.column_stack([np.linspace(130, 380, 17), 240 + 220 * np.sin(np.linspace(0.1, np.pi - 0.1, 17))])
    brows = np.column_stack([np.r_[np.linspace(150, 225, 5), np.linspace(285, 360, 5)], np.full(10, 195)])
    nose = np.column_stack([np.r_[[255] * 4, np.linspace(228, 282, 5)], np.r_[np.linspace(235, 305, 4), [325] * 5]])
    ring = np.array([(-1, 0), (-0.4, -0.5), (0.4, -0.5), (1, 0), (0.4, 0.5), (-0.4, 0.5)])
    eyes = np.concatenate([ring * 22 + (193, 240), ring * 22 + (319, 240)])
    turn = np.pi + np.arange(12) * np.pi / 6
    outer = np.column_stack([257 + 56 * np.cos(turn), 371 + 25 * np.sin(turn)])
    inner = np.column_stack([257 + 40 * np.cos(turn[::3]), 371 + 8 * np.sin(turn[::3])])
    inner = np.concatenate([inner, inner + 1])
    points = np.concatenate([jaw, brows, nose, eyes, outer, inner])
    return (points + generator.normal(0, 3, points.shape)).round()


def write_faces(folder: Path) -> Path:
    """Write a data folder of seven train crops of four people and two validation crops of one."""
    (folder / "aligned_crops").mkdir(parents=True)
    rows, landmarks = [], {}
    crops = [(person, "train") for person, count in PEOPLE.items() for _ in range(count)] + [("eve", "validation")] * 2
    for number, (person, split) in enumerate(crops):
        generator = np.random.default_rng(number)
        small = generator.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(small).resize((512, 512), Image.Resampling.BICUBIC).save(
            folder / "aligned_crops" / f"crop{number}.jpg", quality=95
        )
        landmarks[f"crop{number}"] = face_points(generator).tolist()
        rows.append((f"crop{number}.jpg", person, split, 0.8 if number % 2 else 2.0, "generated", "none"))
    with (folder / "index.csv").open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(("crop", "identity", "split", "enlarged", "source", "licence"))
        writer.writerows(rows)
    (folder / "landmarks.json").write_text(json.dumps(landmarks), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def faces_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder no test may change."""
    return write_faces(tmp_path_factory.mktemp("faces") / "faces")


@pytest.fixture
def new_faces_folder(tmp_path: Path) -> Callable[[], Path]:
    """Makes a data folder a test may break."""
    return lambda: write_faces(tmp_path / "faces")
