"""A face cut by the picture's edge, with the real command and the weights that come with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

BORDER = 10
"""Photo pixels beside the cut that are looked at."""


def test_a_cut_face_is_restored_up_to_the_edge_as_the_whole_one_is(test_data: Path, tmp_path: Path) -> None:
    """No less, and nothing of what was mirrored beyond the edge: the same change as in the whole photo."""
    before = Image.open(test_data / "faces" / "photos" / "old" / "lindsey_stephen_decatur.jpg").convert("RGB")
    right = 247  # through the picture's right eye
    given, out = tmp_path / "in", tmp_path / "out"
    given.mkdir()
    before.save(given / "whole.png")
    before.crop((0, 0, right, before.height)).save(given / "cut.png")
    command = [sys.executable, "-m", "dmdcli", "restore", str(given), "-o", str(out)]
    done = subprocess.run(
        [*command, "--no-judge", "--already-good", "restore"],
        capture_output=True,
        text=True,
        env={**os.environ, "DMD_HOME": str(tmp_path / "home")},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    original = np.asarray(before, dtype=np.float64)
    whole, cut = (np.asarray(Image.open(out / name), dtype=np.float64) for name in ("whole.png", "cut.png"))
    changes = [picture[:, right - BORDER : right] - original[:, right - BORDER : right] for picture in (whole, cut)]
    rows = np.abs(changes[0]).mean(axis=(1, 2)) > 1
    assert rows.sum() > 60, "the face reaches the cut"
    strength = [np.abs(change[rows]).mean() for change in changes]
    assert strength[1] == pytest.approx(strength[0], rel=0.35)
    assert np.abs(changes[1][rows].mean(axis=(0, 1))).max() < 1.5, "no smear"
    last = [np.abs(change[rows][:, -2:]).mean() for change in changes]
    assert last[1] == pytest.approx(last[0], rel=0.5), "the mask does not fall at the picture's edge"
