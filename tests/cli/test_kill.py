"""`dmd restore` killed at random instants, the real program on real photographs, and what the last run leaves."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from dmdcli.model import checkpoint
from dmdcli.model.dmdnet import DMDConfig, DMDNet

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")

NURSERY = """
import os, signal, sys, time
import cv2, torch, dmdcli.faces.embedded, dmdcli.faces.finder, dmdcli.library, dmdcli.model.restorer
import dmdcli.pipeline.restore, dmdcli.pipeline.calibrate
from dmdcli.cli.main import main
torch.set_num_threads(1); cv2.setNumThreads(1)
for line in sys.stdin:
    seconds, *arguments = line.rstrip("\\n").split("\\t")
    end = time.monotonic() + float(seconds)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        sys.argv = arguments
        main()
    done, status = 0, 0
    while not done and time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.002)
    if not done:
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
    print(os.waitstatus_to_exitcode(status), flush=True)
"""
"""Imports once what every run needs, then makes a process of each command line it is given, since starting takes
seconds, and kills it when its time is over."""


class Nursery:
    """Where runs come from. `run` returns the exit code, or minus the signal."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, *arguments: object, kill_after: float = 600.0) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\t".join([str(kill_after), "dmd", *map(str, arguments)]) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def nursery() -> Iterator[Nursery]:
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Nursery(process)
        assert process.stdin is not None
        process.stdin.close()


def journal_of(out: Path) -> list[tuple[Any, ...]]:
    """What a journal says, apart from times and numbers."""
    photos = "place, result, reason, photo, input_digest, output_digest, replaced_digest, settings, weights, kit, known"
    faces = "place, f.number, box, matrix, person, version, similarity, f.result, f.reason"
    with closing(sqlite3.connect(out / ".dmd" / "journal.sqlite")) as database:
        (said,) = database.execute("PRAGMA integrity_check").fetchone()
        assert said == "ok"
        rows = database.execute(
            f"SELECT {photos}, result, reason, finished IS NULL FROM photos ORDER BY place"
        ).fetchall()
        rows += database.execute(f"SELECT {faces} FROM faces AS f JOIN photos AS p ON p.number = f.photo ORDER BY 1, 2")
    return rows


def files_of(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and ".dmd" not in path.relative_to(out).parts
    }


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_at_random_instants(test_data: Path, tmp_path: Path) -> None:
    """As often as DMD_TEST_KILLS says, or 20 times; `tests/pipeline/test_reruns.py` kills at every step, with fakes."""
    photos, kills = 2, int(os.environ.get("DMD_TEST_KILLS", "20"))
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
    chance = random.Random(0)
    with nursery() as runs:
        began = time.monotonic()
        assert runs.run("restore", album, "--out", whole, *settings) == 0
        seconds = time.monotonic() - began
        expected, killed = files_of(whole), 0
        assert len(expected) == photos + 1
        for number in range(kills):
            if number % 3 == 2:  # begin anew, else later kills would hit runs with nothing to do
                for name in files_of(out):
                    (out / name).unlink()
            killed += runs.run("restore", album, "--out", out, *settings, kill_after=chance.uniform(0, seconds)) < 0
            for name, content in files_of(out).items():
                assert name.endswith(".part") or content == expected[name], f"kill {number}: {name} is not whole"
        assert runs.run("restore", album, "--out", out, *settings) == 0
    assert killed or not kills
    assert files_of(out) == expected
    assert journal_of(out) == journal_of(whole)
