"""`dmd restore` killed at random instants, the real program on real photographs, and what the last run leaves."""

from __future__ import annotations

import os
import random
import shutil
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from dmdcli.model import checkpoint
from dmdcli.model.dmdnet import DMDConfig, DMDNet
from tests.nursery import nursery
from tests.test_kills import journal_of, results

PROGRAM = """
import sys
import cv2, torch, dmdcli.faces.embedded, dmdcli.faces.finder, dmdcli.library, dmdcli.model.restorer
import dmdcli.pipeline.restore, dmdcli.pipeline.calibrate
from dmdcli.cli.main import main
from tests.nursery import serve
torch.set_num_threads(1); cv2.setNumThreads(1)
def run(arguments):
    sys.argv = ["dmd", *arguments]
    main()
serve(run)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_at_random_instants(test_data: Path, tmp_path: Path) -> None:
    """As often as DMD_TEST_KILLS says, or 10 times; `tests/test_kills.py` kills much more often, with made-up faces."""
    photos, kills = 2, int(os.environ.get("DMD_TEST_KILLS", "10"))
    torch.manual_seed(0)
    weights = tmp_path / "tiny.safetensors"
    checkpoint.save(DMDNet(DMDConfig(4, 2, residual=True)), weights)
    album = tmp_path / "album"
    album.mkdir()
    for path in sorted((test_data / "faces" / "photos" / "old").glob("*.jpg"))[:photos]:
        with Image.open(path) as picture:
            picture.thumbnail((140, 140))
            picture.save(album / path.name, quality=90)
    Image.new("L", (90, 60), 128).save(album / "blank.tif")
    whole, out = tmp_path / "whole", tmp_path / "out"
    settings = ("--model", weights, "--kit", "embedded", "-q")
    chance, killed, code = random.Random(0), 0, -9
    with nursery(PROGRAM) as runs:
        code, seconds = runs.run("restore", album, "--out", whole, *settings)
        expected = results(whole)
        assert (code, len(expected)) == (0, photos + 1)
        while killed < kills:
            if code != -9:  # it came to its end
                shutil.rmtree(out, ignore_errors=True)
            limit = chance.uniform(0, seconds)
            code, _ = runs.run("restore", album, "--out", out, *settings, kill_after=limit)
            assert code in (0, -9)
            killed += code == -9
            for name, found in results(out).items():
                assert found == expected[name], f"after kill {killed}: {name} is not whole"
        assert runs.run("restore", album, "--out", out, *settings)[0] == 0
    assert results(out) == expected
    assert journal_of(out) == journal_of(whole)
    pictures, wanted = ({path.name for path in (folder / "report_files").rglob("*.jpg")} for folder in (out, whole))
    assert pictures == wanted != set()
    assert (out / "report.html").is_file()
    assert not list(out.rglob("*.part"))
