"""A run killed before each of its steps: what is left, and what the next run makes of it."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import dmdcli.files
from dmdcli.journal import Journal, open_journal
from dmdcli.pipeline.outcome import RestoredPhoto
from dmdcli.report.write import write_report
from tests.pipeline.album import WHO, Album, change_pixels


class Killer:
    """Kills its own process at the n-th step of those it is told of."""

    def __init__(self, step: int) -> None:
        self.left = step

    def before(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*arguments: Any, **options: Any) -> Any:
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self.left -= 1
            return call(*arguments, **options)

        return stepping


def run_and_kill(album: Album, step: int, monkeypatch: pytest.MonkeyPatch, **options: Any) -> bool:
    """Restore in a process that is killed before its n-th step towards the disk; False if it came to its end.

    A step is opening a file, flushing, dating or renaming it, or a change of the journal.
    """
    child = os.fork()
    if child == 0:
        killer = Killer(step)
        for place, name in ((Path, "replace"), (Path, "open"), (Journal, "write"), (Journal, "finish")):
            monkeypatch.setattr(place, name, killer.before(getattr(place, name)))
        for name in ("fsync", "utime"):
            monkeypatch.setattr(dmdcli.files.os, name, killer.before(getattr(os, name)))
        try:
            album.run(**options)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize(
    "who", [("nobody", "bob"), pytest.param(tuple(WHO), marks=pytest.mark.slow)], ids=["two photos", "all"]
)
@pytest.mark.parametrize("earlier", [False, True], ids=["first run", "photos changed since"])
@pytest.mark.slow
def test_a_kill_before_any_step_is_made_good_by_the_next_run(
    album: Album, earlier: bool, who: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    album.who = who
    before, whole = (replace(album, out=album.out.with_name(name)) for name in ("before", "whole"))
    if earlier:
        before.run()
        for one in who:
            change_pixels(album.folder / f"{one}.png")
    whole.run()
    expected, rows, old = whole.results(), whole.rows(), before.results()
    for step in range(100):
        shutil.rmtree(album.out, ignore_errors=True)
        if earlier:
            shutil.copytree(before.out, album.out, copy_function=shutil.copy2)
        killed = run_and_kill(album, step, monkeypatch)
        for name, content in album.results().items():
            assert content in (expected[name], old.get(name)), f"step {step}: {name} is neither old nor new"
        if killed:
            assert "foreign" not in {one.standing for one in album.run().values()}, f"step {step}"
        assert (album.results(), album.rows()) == (expected, rows), f"step {step}"
        assert not list(album.out.rglob("*.part")), f"step {step}"
        if not killed:
            break
    assert step >= 6 * len(who), "the run was killed at every step of every photo"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_kill_while_a_side_file_is_copied_leaves_no_part_of_it(album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    album.who = ("bob",)
    (album.folder / "bob.xmp").write_text("<x/>")
    for step in range(100):
        shutil.rmtree(album.out, ignore_errors=True)
        killed = run_and_kill(album, step, monkeypatch)
        album.run()
        left = sorted(path.name for path in album.out.iterdir() if path.is_file())
        assert left == ["bob.png", "bob.xmp"], f"step {step}"
        assert (album.out / "bob.xmp").read_text() == "<x/>"
        if not killed:
            break
    assert step >= 10, "the run was killed while both files were written"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_kill_while_pictures_or_report_are_written_is_made_good_by_the_next_run(
    album: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    def report_of(album: Album) -> set[str]:
        with open_journal(album.out) as journal:
            write_report(journal)
        return {path.relative_to(album.out).as_posix() for path in album.out.rglob("*") if path.is_file()}

    class Reported(Album):
        def run(self, **options: Any) -> dict[str, RestoredPhoto]:
            results = super().run(evidence=True, **options)
            report_of(self)
            return results

    album = Reported(album.folder, album.out, who=("nobody", "bob"))
    whole = replace(album, out=album.out.with_name("whole"))
    whole.run()
    expected, rows = report_of(whole), whole.rows()
    assert sum(name.startswith("report_files/") for name in expected) == 5, "bob's face and photo"
    for step in range(100):
        shutil.rmtree(album.out, ignore_errors=True)
        killed = run_and_kill(album, step, monkeypatch)
        if killed:
            album.run()
        assert (report_of(album), album.rows()) == (expected, rows), f"step {step}"
        if not killed:
            break
    assert step >= 35, "the run was killed at every step of pictures and report too"
