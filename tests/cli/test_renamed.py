"""Photos that were renamed or moved: their results under earlier names stay, and that is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from dmdcli.cli.console import Terminal
from dmdcli.cli.main import app
from dmdcli.cli.renamed import MOST_LINES, see_earlier
from dmdcli.journal import PhotoRow, now, open_journal
from dmdcli.shards import Shard


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three photos in which there is no face."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, name in enumerate(("a", "b", "c")):
        Image.new("L", (40, 40), 50 + number).save(folder / f"{name}.png")
    return folder


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(one) for one in arguments], prog_name="dmd")


def reported(out: Path) -> dict[str, tuple[str, str | None]]:
    facts = [json.loads(line) for line in (out / "report.jsonl").read_text().splitlines()]
    return {one["place"]: (one["status"], one["reason"]) for one in facts}


def test_what_stays_under_an_earlier_name_is_said_and_kept(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "renamed" not in run("restore", photos, "--out", out).stdout
    (photos / "album").mkdir()
    (photos / "a.png").rename(photos / "album" / "holiday.png")
    (photos / "c.png").unlink()
    said = run("restore", photos, "--out", out)
    assert said.exit_code == 0
    assert "1 result stays under the earlier name of a photo that was renamed or moved." in said.stdout
    assert "  a.png (now album/holiday.png)\n" in said.stdout
    assert {path.name for path in out.rglob("*.png")} == {"a.png", "b.png", "c.png", "holiday.png"}
    why = "its photo was renamed or moved (album/holiday.png); it stays as it is"
    expected = dict.fromkeys(("album/holiday.png", "b.png", "c.png"), ("untouched", None))
    assert reported(out) == {**expected, "a.png": ("skipped", why)}
    assert run("report", out).exit_code == 0
    assert reported(out)["a.png"] == ("skipped", why), "it is said as long as it is so"
    lines = [json.loads(line) for line in run("restore", photos, "--out", out, "--json").stdout.splitlines()]
    found = {Path(one["output"]).name: (one["status"], one["standing"], one["reason"]) for one in lines}
    assert found == {
        "holiday.png": ("skipped", "current", None),
        "b.png": ("skipped", "current", None),
        "a.png": ("skipped", "renamed", why),
    }
    assert lines[-1]["photo"] == str(photos / "a.png")

    (out / "a.png").unlink()
    assert "renamed" not in run("restore", photos, "--out", out).stdout
    assert reported(out) == expected, "nothing is left of it"


@pytest.mark.slow
def test_shards_leave_it_to_merging(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    every = range(1, 4)
    assert len({number for number in every for name in "ab" if Shard(3, number).holds(f"{name}2.png")}) == 2
    for _ in range(2):
        for number in every:
            assert "renamed" not in run("restore", photos, "--out", out, "--shard", f"{number}/3").stdout
        merged = run("merge", out).stdout
        for name in ("a", "b"):
            if (photos / f"{name}.png").exists():
                assert "renamed" not in merged
                (photos / f"{name}.png").rename(photos / f"{name}2.png")
    assert "2 results stay under earlier names of photos that were renamed or moved." in merged
    assert merged.index("a.png (now a2.png)") < merged.index("b.png (now b2.png)")
    assert reported(out)["a.png"][0] == "skipped"
    (out / "a.png").unlink()
    assert "  a.png" not in run("merge", out).stdout
    assert "a.png" not in reported(out)


def test_of_many_only_some_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "new.jpg").write_bytes(b"")
    seen = []
    with open_journal(out) as journal:
        for place in ("new.jpg", *(f"{number}.jpg" for number in range(100, -1, -1))):
            (out / place).write_bytes(b"")
            photo = tmp_path / "in" / place
            journal.write(PhotoRow(place, photo, "untouched", "same", output_digest="same", finished=now()))
        see_earlier(journal, seen.append).tell(Terminal())
    assert len(seen) == 101
    first, *lines, last = capsys.readouterr().out.splitlines()
    assert first.startswith("101 results stay")
    assert lines == [f"  {number}.jpg (now new.jpg)" for number in range(MOST_LINES)]
    assert last == "  and 81 more; the report and --json name all."
