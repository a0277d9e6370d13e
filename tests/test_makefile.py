"""The one thing in the Makefile that changes the machine: a browser for the tests of pages."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAKE = shutil.which("make")
pytestmark = pytest.mark.skipif(MAKE is None or os.name != "posix", reason="there is no make here")
MISSING = "There is no chromium here"


def make_chromium(tmp_path: Path, programs: dict[str, str], **environment: str) -> tuple[str, str]:
    """What make says, and what apt-get was told to do, where there are no other programs than these."""
    told = tmp_path / "told"
    for name, lines in {"sh": 'exec /bin/sh "$@"', **programs}.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\ntold={told}\n{lines}\n")
        program.chmod(0o755)
    done = subprocess.run(
        [str(MAKE), "--no-print-directory", "chromium"],
        cwd=ROOT,
        env={"PATH": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout + done.stderr, told.read_text() if told.exists() else ""


ROOT_USER, ANYBODY = "echo 0", "echo 1000"
ASKED = 'echo "$DEBIAN_FRONTEND $*" >> $told\n'
OPTIONS = "noninteractive --quiet=2 --yes --no-install-recommends"


def test_a_browser_that_is_there_is_left_alone(tmp_path: Path) -> None:
    apt = {"apt-get": ASKED, "id": ROOT_USER}
    assert make_chromium(tmp_path, {"chromium": "", **apt}) == ("", "")
    assert make_chromium(tmp_path, {"chromium-browser": "", **apt}) == ("", "")


def test_one_that_is_named_is_taken(tmp_path: Path) -> None:
    assert make_chromium(tmp_path, {"apt-get": ASKED, "id": ROOT_USER}, DMD_CHROMIUM="/opt/chrome") == ("", "")


def test_a_missing_one_is_installed(tmp_path: Path) -> None:
    said, told = make_chromium(tmp_path, {"apt-get": f"{ASKED}echo noise", "id": ROOT_USER})
    assert (said, told) == ("", f"{OPTIONS} install chromium\n")


def test_lists_of_packages_are_fetched_where_they_are_missing(tmp_path: Path) -> None:
    known = 'case "$*" in *update) : > $told.known;; *) test -e $told.known;; esac'
    said, told = make_chromium(tmp_path, {"apt-get": ASKED + known, "id": ROOT_USER})
    assert said == ""
    assert [line.removeprefix(OPTIONS) for line in told.splitlines()] == [
        " install chromium",
        " update",
        " install chromium",
    ]


@pytest.mark.parametrize(
    "programs",
    [{"id": ROOT_USER}, {"apt-get": ASKED, "id": ANYBODY}, {"apt-get": "exit 100", "id": ROOT_USER}],
    ids=["no apt-get", "not root", "no network"],
)
def test_where_none_can_be_had_that_is_said_and_nothing_fails(tmp_path: Path, programs: dict[str, str]) -> None:
    said, told = make_chromium(tmp_path, programs)
    assert said.startswith(MISSING)
    assert len(said.splitlines()) == 1
    assert told == ""


def test_pictures_of_the_pages_are_where_they_are_looked_for() -> None:
    told = subprocess.run([str(MAKE), "-n", "test-all"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f'DMD_SCREENSHOTS="${{DMD_SCREENSHOTS:-{ROOT}/build/screenshots}}"' in told
    assert "build/" in (ROOT / ".gitignore").read_text().splitlines()
