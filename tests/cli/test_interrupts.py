"""Ctrl-C once stops `dmd restore` and keeps what was finished; twice ends it, whatever it is in the middle of."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from dmdcli.cli.interrupts import second_one_ends
from dmdcli.errors import EXIT_INTERRUPTED
from dmdcli.model import checkpoint
from dmdcli.model.dmdnet import DMDConfig, DMDNet
from tests.cli.conftest import hear_ctrl_c
from tests.test_kills import journal_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends the signal of Ctrl-C")
ROOT = Path(__file__).parents[2]
STUBBORN = """
import threading, time
from dmdcli.cli.interrupts import second_one_ends

threading.Thread(target=time.sleep, args=(60,)).start()  # Python waits for it at its end
with second_one_ends():
    try:
        print("works", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("stops", flush=True)
"""


def start(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
        preexec_fn=hear_ctrl_c,
    )


def test_the_second_one_ends_the_program_at_once() -> None:
    program = start("-c", STUBBORN)
    assert program.stdout is not None
    for expected in ("works\n", "stops\n"):
        assert program.stdout.readline() == expected
        os.killpg(program.pid, signal.SIGINT)
    _, said = program.communicate(timeout=20)
    assert program.returncode == EXIT_INTERRUPTED
    assert said == "\ndmd: Stopped at once. What was finished is kept; the same command goes on from there.\n"


def test_what_was_there_before_is_there_again_and_what_is_not_ours_stays() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with second_one_ends():
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with second_one_ends():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 4])
def test_the_real_program(test_data: Path, own_home: Path, tmp_path: Path, times: int) -> None:
    torch.manual_seed(0)
    checkpoint.save(DMDNet(DMDConfig(4, 2, residual=True)), tmp_path / "tiny.safetensors")
    (tmp_path / "in").mkdir()
    with Image.open(min((test_data / "faces" / "photos" / "old").glob("*.jpg"))) as picture:
        picture.thumbnail((300, 300))
        for number in range(6):
            picture.save(tmp_path / "in" / f"{number:02}.jpg", quality=80 + number)
    out = tmp_path / "out"
    words = ("-m", "dmdcli", "restore", tmp_path / "in", "--model", tmp_path / "tiny.safetensors", "--kit", "embedded")
    program = start(*words, "--out", out, "--workers", 3)
    while len(list(out.glob("*.jpg"))) < 2:
        assert program.poll() is None
        time.sleep(0.01)
    began = time.monotonic()
    for _ in range(times):
        os.killpg(program.pid, signal.SIGINT)
        time.sleep(0.05)
    _, said = program.communicate(timeout=60)
    assert program.returncode == EXIT_INTERRUPTED, said
    assert time.monotonic() - began < 10
    assert "Traceback" not in said
    if times == 1:
        assert said.splitlines()[-2:] == [
            "Stopping...",
            "dmd: Stopped. What was finished is kept; the same command goes on from there.",
        ]
    kept = {path.name for path in out.glob("*.jpg")}
    assert 2 <= len(kept) < 6
    again = start(*words, "--out", out, "--workers", 1)
    heard, said = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert len(list(out.glob("*.jpg"))) == len(journal_of(out)["photos"]) == 6
    assert f"{len(kept)} up to date" in heard or times > 1
