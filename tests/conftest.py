"""Fixtures that several test modules share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.browser import chromium, may_say, open_page, page  # noqa: F401 (fixtures, for every module)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder with test photographs and parity files, named by DMD_TEST_DATA; skips where there is none."""
    folder = os.environ.get("DMD_TEST_DATA")
    if not folder:
        pytest.skip("DMD_TEST_DATA names no folder with test photographs")
    path = Path(folder).resolve()
    if not (path / "faces").is_dir():
        pytest.skip(f"{path} (DMD_TEST_DATA) has no faces/ in it")
    return path


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library and a cache of its own for every test, so that no test sees the user's people."""
    home = tmp_path_factory.mktemp("dmd-home")
    monkeypatch.setenv("DMD_HOME", str(home / "library"))
    monkeypatch.setenv("DMD_CACHE", str(home / "cache"))
    return home


@pytest.fixture(autouse=True)
def environment_of_its_own() -> Iterator[None]:
    """What a test, or the program within it, sets in the environment is gone when it ends."""
    with patch.dict(os.environ):
        yield


@pytest.fixture(autouse=True)
def connections_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test may connect until it forbids it itself, and forbids it to no other."""
    monkeypatch.delenv("DMD_OFFLINE", raising=False)
    yield
    if "dmdcli.fetch" in sys.modules:
        sys.modules["dmdcli.fetch"]._FORBIDDEN.clear()
