"""Showing a local page: always the address, and the browser only where it would be seen."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dmdcli.cli import browser

ADDRESS = "http://127.0.0.1:40123/open/once"
SERVER: Any = SimpleNamespace(address=ADDRESS, port=40123)
SEEN = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION")


def a_browser(tmp_path: Path, lines: str) -> str:
    path = tmp_path / "browser"
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return f"{path} %s"


@pytest.mark.skipif(os.name != "posix", reason="the browser is a shell script")
def test_the_browser_gets_the_address_and_is_not_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    got = tmp_path / "got"
    program = f'ps -o args= -p $PPID > {got}.ps; echo noise; echo noise >&2; printf %s "$1" > {got}'
    monkeypatch.setenv("BROWSER", a_browser(tmp_path, program))
    failed: list[bool] = []
    browser.show(ADDRESS, lambda: failed.append(True)).join(20)
    assert got.read_text() == ADDRESS
    assert "once" not in Path(f"{got}.ps").read_text(), "who opens it does not show it to everybody"
    assert failed == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(os.name != "posix", reason="the browser is a shell script")
def test_a_browser_that_runs_on_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER", a_browser(tmp_path, "sleep 0.7"))
    thread = browser.show(ADDRESS, lambda: None)
    assert thread.is_alive(), "the browser runs, and this goes on"
    assert thread.daemon, "nor does it keep the program from ending"
    thread.join(20)


def test_no_browser_is_said_with_the_way_from_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(browser, "OPEN", "import sys; sys.exit(1)")
    monkeypatch.setenv("DISPLAY", ":0")
    threads: list[Any] = []
    show = browser.show
    monkeypatch.setattr(browser, "show", lambda *words: threads.append(show(*words)))
    browser.show_server(SERVER)
    threads[0].join(20)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"The page: {ADDRESS}"
    assert "works once" in said[1]
    assert said[2].startswith("No browser could be opened. ")
    assert "`ssh -L 40123:127.0.0.1:40123 " in said[2]


def test_without_a_display_none_is_opened(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in SEEN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(browser, "show", lambda *words: pytest.fail("a browser was opened"))
    browser.show_server(SERVER)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert ADDRESS in captured.err
    assert "There is no display" in captured.err
    assert "`ssh -L 40123:127.0.0.1:40123 " in captured.err


@pytest.mark.parametrize(
    ("system", "environment", "seen"),
    [
        ("linux", {}, False),
        ("linux", {"SSH_CONNECTION": "1"}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("linux", {"BROWSER": "some-browser"}, True),
        ("darwin", {}, True),
        ("darwin", {"SSH_CONNECTION": "1"}, False),
        ("win32", {}, True),
    ],
)
def test_where_a_browser_would_be_seen(system: str, environment: dict[str, str], seen: bool) -> None:
    assert browser.has_display(system, environment) is seen
