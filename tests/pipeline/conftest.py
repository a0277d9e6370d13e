"""What tests of reruns share: an album, and no waiting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dmdcli.files
from dmdcli import journal_file
from dmdcli.faces.face import Face
from dmdcli.faces.identity import Match
from dmdcli.photos import Canvas, Photo
from dmdcli.pipeline import steps
from dmdcli.pipeline.blend import expected
from dmdcli.pipeline.judge import Judgement, Plan
from tests.pipeline.album import WHO, Album


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for the disk, since a killed process loses nothing that it has written; not for the blending of faces."""

    def brighten(
        photo: Photo, chosen: Sequence[tuple[Face, Match | None, Plan]], *others: Any
    ) -> tuple[Canvas, list[Judgement]]:  # by whom it was restored from, and how much
        canvas, options = photo.canvas(), others[-2]
        canvas.put(60, 60, np.full((9, 9, 3), options.strength * (0.5 if chosen[0][1] is None else 1.0), np.float32))
        return canvas, [expected(plan, match, options) for _, match, plan in chosen]

    monkeypatch.setattr(journal_file, "SETTINGS", (*journal_file.SETTINGS, "synchronous = OFF"))
    monkeypatch.setattr(dmdcli.files.os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(steps, "restore_faces", brighten)


@pytest.fixture
def album(tmp_path: Path, no_waiting: None) -> Album:
    """Not restored yet."""
    folder = tmp_path / "in"
    folder.mkdir()
    for who, width in WHO.items():
        noise = np.random.default_rng(width).integers(60, 160, (190, width, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{who}.png", compress_level=1)
    return Album(folder, tmp_path / "out")
