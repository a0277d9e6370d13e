"""Imports in processes of their own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import filelock
import pytest

from dmdcli.doctor import places, probes
from dmdcli.doctor.probes import LIBRARY, Probe, probe
from tests.doctor.machines import at, make_package, one


def test_imports_that_raise_crash_exit_print_or_hang_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = {
        "dmd_raises": "raise RuntimeError('operator torchvision::nms does not exist')",
        "dmd_crashes": "import os, signal; os.kill(os.getpid(), signal.SIGILL)",
        "dmd_leaves": "import os; os._exit(3)",
        "dmd_exits": "raise SystemExit('no licence')",
        "dmd_hangs": "import time; time.sleep(600)",
        "dmd_lacks": "import dmd_not_there_either",
        "dmd_chatters": 'print(\'{"module": "something else"}\')',
    }
    for name, lines in code.items():
        make_package(tmp_path, name, lines)
    monkeypatch.syspath_prepend(tmp_path)
    asked = [*code, "dmd_not_there", "json"]
    found = {answer.module: (answer.outcome, answer.reason) for answer in probe(asked, tmp_path, patience=2)}
    assert list(found) == asked
    assert found == {
        "dmd_raises": ("failed", "RuntimeError: operator torchvision::nms does not exist"),
        "dmd_crashes": ("crashed", "SIGILL"),
        "dmd_leaves": ("crashed", "exit code 3"),
        "dmd_exits": ("failed", "SystemExit: no licence"),
        "dmd_hangs": ("hung", "no answer within 2 seconds"),
        "dmd_lacks": ("failed", "ModuleNotFoundError: No module named 'dmd_not_there_either'"),
        "dmd_chatters": ("imported", ""),
        "dmd_not_there": ("missing", ""),
        "json": ("imported", ""),
    }


def test_what_lies_in_the_current_folder_is_not_taken_for_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise RuntimeError('not what is meant')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    assert [answer.outcome for answer in probe(["dataclasses"], tmp_path)] == ["imported"]


def test_the_library_is_read_and_its_lock_is_seen(tmp_path: Path) -> None:
    def look(home: Path) -> Any:
        return next(probe([LIBRARY], home)).facts

    assert look(tmp_path / "none") == {"locked": False, "people": 0, "references": 0}
    assert not (tmp_path / "none").exists()
    (tmp_path / "library.json").write_text('{"format": 1}')
    with filelock.FileLock(tmp_path / "library.lock"):
        assert look(tmp_path)["locked"] is True
    (tmp_path / "library.json").write_text('{"format": 2}')
    newer = look(tmp_path)
    assert (newer["locked"], newer["kind"]) == (False, "LibraryFormatError")
    finding = one(places.judge_library(at(tmp_path), Probe(LIBRARY, "imported", facts=newer)), "library")
    assert finding.status == "problem"
    assert "format 2" in finding.text


@pytest.mark.slow
def test_the_packages_here_work() -> None:
    assert [answer for group in probes.GROUPS for answer in probe(group, Path("/nowhere")) if not answer.works] == []
