"""Questions that are answered with Ctrl-C, in the program as it runs in a window."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dmdcli import errors
from dmdcli.library import Library, NewReference
from tests.cli.conftest import hear_ctrl_c
from tests.pipeline.test_enroll import FRONTAL

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "words", [["models", "fetch", "full"], ["people", "forget", "Anna"]], ids=lambda words: words[0]
)
def test_ctrl_c_at_a_question_ends_the_program(words: list[str], own_home: Path) -> None:
    there, stdin = pytest.importorskip("pty").openpty()
    home = own_home / "library"
    if words[0] == "people":
        Library(home).add_references(
            "Anna",
            [NewReference(np.full((512, 512, 3), 7, np.uint8), FRONTAL.astype(np.float32), Path("a.jpg"), 0.5, "00")],
        )
    command = [sys.executable, "-m", "dmdcli.cli.main", *words]
    try:
        with subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            preexec_fn=hear_ctrl_c,
        ) as program:
            assert program.stderr is not None
            said = b""
            while b"[y/N]" not in said:
                piece = os.read(program.stderr.fileno(), 1000)
                assert piece, said
                said += piece
            time.sleep(0.2)  # until it reads
            program.send_signal(signal.SIGINT)
            rest = program.stderr.read().decode()
    finally:
        os.close(there)
        os.close(stdin)
    assert program.returncode == errors.EXIT_INTERRUPTED
    assert "[y/N]" not in rest
    assert rest.splitlines()[-1].startswith("dmd: Stopped.")
    assert words[0] != "people" or Library(home).people()
