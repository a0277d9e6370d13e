"""Folders, permissions, room on the disk."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from dmdcli.doctor import places
from dmdcli.doctor.finding import Finding
from dmdcli.doctor.places import Place
from tests.doctor.machines import at, one


def judged_folder(folder: Path) -> list[Finding]:
    return list(places.judge_folder(at(folder)))


@pytest.fixture
def common() -> Iterator[Path]:
    """A folder that every user may look into."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def nobody() -> Iterator[None]:
    """Be a user without rights for a while."""
    if not hasattr(os, "setresuid") or os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    groups = os.getgroups()
    os.setgroups([])
    os.setresgid(65534, 65534, 0)
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(groups)


def test_a_private_folder_is_well_and_nothing_stays_in_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert [finding.status for finding in judged_folder(tmp_path)] == ["ok"]
    assert list(tmp_path.iterdir()) == []
    missing = judged_folder(tmp_path / "a" / "b")
    assert [finding.status for finding in missing] == ["ok"]
    assert "is made when it is needed" in missing[0].text
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_others_may_enter(tmp_path: Path) -> None:
    folder = tmp_path / "my people"
    folder.mkdir()
    folder.chmod(0o755)
    finding = one(judged_folder(folder), "DMD_HOME")
    assert (finding.status, finding.cure) == ("warning", f"chmod 700 '{folder}'")
    assert [other.status for other in places.judge_folder(at(folder, "DMD_CACHE"))] == ["ok"]


def test_a_file_or_a_dangling_link_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    for path in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "link"):
        finding = one(judged_folder(path), "DMD_HOME")
        assert (finding.status, finding.cure) == ("problem", "unset DMD_HOME")


def test_a_folder_of_root(common: Path) -> None:
    folder = common / "library"
    for mode, status in ((0o700, "problem"), (0o755, "warning")):
        folder.mkdir(mode=mode)
        with nobody():
            finding = one(judged_folder(folder), "DMD_HOME")
        assert finding.status == status
        assert "it belongs to root, as after a run with sudo" in finding.text
        assert finding.cure == f'sudo chown -R "$(id -un)" {folder}'
        folder.rmdir()


def test_something_of_root_in_ones_own_folder(common: Path) -> None:
    folder = common / "library"
    (folder / "people" / "ab").mkdir(parents=True)
    os.chown(folder, 65534, 65534)
    folder.chmod(0o700)
    with nobody():
        finding = one(judged_folder(folder), "DMD_HOME")
    assert finding.status == "warning"
    assert str(folder / "people") in finding.text
    assert finding.cure == f'sudo chown -R "$(id -un)" {folder}'


def test_a_folder_of_ones_own_without_rights(common: Path) -> None:
    folder = common / "library"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    folder.chmod(0o500)
    with nobody():
        finding = one(judged_folder(folder), "DMD_HOME")
    assert (finding.status, finding.cure) == ("warning", f"chmod -R u+rwX {folder}")


def test_a_folder_that_cannot_be_made(common: Path) -> None:
    with nobody():
        finding = one(judged_folder(common / "library"), "DMD_HOME")
    assert (finding.status, finding.cure) == ("warning", "unset DMD_HOME")
    assert f"{common} cannot be written" in finding.text


@pytest.mark.parametrize(("free", "status"), [(50e6, "problem"), (500e6, "warning"), (5e9, "ok")])
def test_room(free: float, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free, total=100e9))
    found = list(places.judge((at(tmp_path / "a"), at(tmp_path / "b", "DMD_CACHE")), None))
    finding = one(found, "room")  # both are on one disk
    assert finding.status == status
    assert (finding.cure is None) == (status == "ok")


@pytest.mark.parametrize(
    ("free", "total", "status"), [(50e6, 90e6, "problem"), (500e6, 900e6, "warning"), (50e6, 900e6, "problem")]
)
def test_a_disk_that_is_too_small_is_not_called_full(
    free: float, total: float, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free, total=total))
    finding = one(places.judge((at(tmp_path / "a"), at(tmp_path / "b", "DMD_CACHE")), None), "room")
    assert finding.status == status
    assert finding.text.endswith("the disk is too small; take a folder on another")
    assert "full" not in finding.text
    assert finding.cure == "unset DMD_HOME && unset DMD_CACHE"


@pytest.mark.parametrize(
    ("number", "status", "said"), [(errno.ENOSPC, "problem", "full"), (errno.EROFS, "warning", "read-only")]
)
def test_a_disk_that_takes_nothing(
    number: int, status: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "try_to_write", lambda folder: OSError(number, os.strerror(number)))
    finding = one(judged_folder(tmp_path), "DMD_HOME")
    assert finding.status == status
    assert said in finding.text
    assert finding.cure


def test_a_relative_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    finding = judged_folder(Path("people"))[0]
    assert (finding.status, finding.cure) == ("warning", f"export DMD_HOME={tmp_path / 'people'}")


def test_another_place_is_one_that_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Place("DMD_CACHE", Path("/a"), Path("/a"), "fetched networks")
    assert own.elsewhere() == 'export DMD_CACHE="$HOME/dmd-cache"'
    monkeypatch.setenv("HOME", "/proc")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert own.elsewhere() == f"export DMD_CACHE={tempfile.gettempdir()}/dmd-cache"
