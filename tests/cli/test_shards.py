"""`dmd restore --shard` and `dmd merge`: what they say, and what they end with."""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from dmdcli.cli.main import app
from dmdcli.journal import PhotoRow, open_journal
from dmdcli.journal_file import held, shards_left
from dmdcli.library import Library
from dmdcli.person import Person
from dmdcli.report_files import REPORTS
from dmdcli.shards import Shard, ranges
from tests.report.made_up import PEOPLE, row_of


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments], prog_name="dmd")


def write_shards(
    out: Path, rows: Sequence[PhotoRow], shards: Sequence[Shard], ends: bool = True, **options: object
) -> None:
    """What some shards of a collection leave. ends: they were not stopped. options: that they were given."""
    for shard in shards:
        with open_journal(out, shard) as journal:
            journal.number_people(PEOPLE)
            journal.share.begin(journal.keep_settings({"ext": "auto", "strength": 1.0, **options}), "base", "embedded")
            for row in rows:
                if journal.share.holds(row.place):
                    journal.write(row)
            if ends:
                journal.share.end()


ROWS = [row_of(number) for number in range(4)]
BOTH = [Shard(2, 1), Shard(2, 2)]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An output folder of four photos, done in two shards that are not merged."""
    folder = tmp_path / "out"
    write_shards(folder, ROWS, BOTH)
    return folder


def results(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "report.jsonl").read_text().splitlines()]


def test_what_shards_did_is_joined_and_reported(out: Path) -> None:
    answer = run("merge", out)
    assert answer.exit_code == 0, answer.output
    joined, where = answer.stdout.splitlines()
    assert joined.startswith(f"Joined: 2 shards. In {out} now: 4 photos: ")
    assert where == f"What was done, photo by photo: {out / 'report.html'}"
    assert [one["place"] for one in results(out)] == sorted(row.place for row in ROWS)
    again = run("merge", out, "-q")
    assert again.exit_code == 0
    assert again.stdout.startswith("There was nothing left to join. In")


def test_the_report_is_as_it_is_asked_for(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("merge", out, "--no-report").exit_code == 0
    assert not any((out / name).exists() for name in REPORTS)
    monkeypatch.setattr(Library, "people", lambda self: [Person(PEOPLE[1], "Alice", ())])
    assert run("merge", out, "--write-names", "--single-file").exit_code == 0
    assert "Alice" in (out / "report.html").read_text()
    assert not (out / "report_files").exists()


def test_a_foreign_report_is_found_before_anything_is_joined(out: Path) -> None:
    (out / "report.csv").write_text("mine")
    answer = run("merge", out)
    assert answer.exit_code == 2
    assert "report.csv was not made by dmd" in answer.stderr
    assert shards_left(out) == BOTH


def test_what_is_missing_or_failed_is_said(tmp_path: Path) -> None:
    failed = replace(ROWS[0], result="failed", reason="is no picture")
    half = replace(ROWS[1], finished=None)
    shards = [Shard(30, number) for number in range(1, 31) if any(Shard(30, number).holds(row.place) for row in ROWS)]
    write_shards(tmp_path, [failed, half, *ROWS[2:]], shards)
    answer = run("merge", tmp_path)
    assert answer.exit_code == 3
    assert "1 failed" in answer.stdout
    assert "1 unfinished" in answer.stdout
    first, second, third = answer.stderr.splitlines()
    missing = [number for number in range(1, 31) if Shard(30, number) not in shards]
    assert first == f"dmd: Shards {ranges(missing)} of 30: nothing was found."
    assert f"`--array={ranges(missing, ',')}` with --shard N/30), then `dmd merge {tmp_path}`." in second
    assert third == "dmd: 2 photos failed or stopped half-way; the next `dmd restore` tries again."


def test_a_shard_that_was_stopped_is_named_each_time(out: Path) -> None:
    write_shards(out, ROWS, BOTH[1:], ends=False)
    for joined in ("Joined: 2 shards.", "There was nothing left to join."):
        answer = run("merge", out)
        assert answer.exit_code == 3
        assert answer.stdout.startswith(joined)
        first, second = answer.stderr.splitlines()
        assert first == "dmd: Shard 2/2 was stopped before its end."
        assert "`--array=2` with --shard N/2)" in second
    write_shards(out, ROWS, BOTH[1:])
    assert run("merge", out).exit_code == 0


def test_a_shard_with_other_photos_is_named(out: Path) -> None:
    assert run("merge", out).exit_code == 0
    write_shards(out, [*ROWS, row_of(4)], BOTH[:1])
    answer = run("merge", out)
    assert answer.exit_code == 3
    first, second = answer.stderr.splitlines()
    assert first.startswith("dmd: Shard 2/2 had another list of photos (4 in all) than shard 1/2 (5), which began last")
    assert "`--array=2` with" in second
    write_shards(out, [*ROWS, row_of(4)], BOTH[1:])
    assert run("merge", out).exit_code == 0


def test_shards_with_other_options_are_joined_and_told(out: Path) -> None:
    write_shards(out, ROWS, BOTH[1:], ext="png", strength=0.5, calibration=[1, 2])
    for _ in range(2):
        answer = run("merge", out)
        assert answer.exit_code == 3
        (told,) = answer.stderr.splitlines()
        assert told.startswith(
            "dmd: Not all shards had the same options: the calibration, --ext (auto in 1; png in 2), "
            "--strength (1.0 in 1; 0.5 in 2). Photos may have been done twice or by nobody."
        )
    assert shards_left(out) == []


def test_other_options_that_change_no_place_leave_no_photo_out(out: Path) -> None:
    write_shards(out, ROWS, BOTH[1:], quality=80)
    (told,) = run("merge", out).stderr.splitlines()
    assert told == (
        "dmd: Not all shards had the same options: --quality (not given in 1; 80 in 2). Run all shards again with the "
        "same options, then merge again."
    )


def test_what_is_no_folder_is_no_place_to_merge(tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(b"")
    answer = run("merge", file)
    assert answer.exit_code == 2
    assert answer.stderr == f"dmd: There is no journal in {file}. Name a folder that `dmd restore --shard` wrote to.\n"


@pytest.mark.parametrize("command", ["merge", "report"])
def test_a_folder_that_cannot_be_read_is_said(command: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    for name in ("stat", "iterdir"):
        monkeypatch.setattr(Path, name, refuse)
    answer = run(command, out)
    assert answer.exit_code == 8
    assert f"{out / '.dmd'} cannot be read (Permission denied)." in answer.stderr


def test_what_holds_a_folder_is_said_of_every_command(out: Path) -> None:
    for holding in (held(out), held(out, BOTH[1])):
        with holding:
            answer = run("merge", out)
        assert answer.exit_code == 8
        assert "--out" not in answer.stderr
        assert "Wait for it to end, then run this command again." in answer.stderr


def test_a_folder_that_is_not_merged_takes_no_other_command(out: Path, tmp_path: Path) -> None:
    album = tmp_path / "album"
    album.mkdir()
    Image.new("L", (40, 30), 128).save(album / "blank.png")
    merge_first = f"When those have ended, run `dmd merge {out}`, then this command again."
    refused = (
        ("restore", album, "--out", out),
        ("restore", album, "--out", out, "--dry-run"),
        ("restore", album, "--out", out, "--shard", "1/4"),
        ("report", out),
        ("review", out, "--no-open"),
        ("people", "forget", "Alice", "--gone", "--outputs", out, "--yes"),
    )
    for arguments in refused:
        answer = run(*arguments)
        assert answer.exit_code == 2, arguments
        assert merge_first in answer.stderr, arguments
    photo = out / "blank.png"
    Image.new("L", (40, 30), 128).save(photo)
    assert merge_first in run("explain", photo).output
    assert shards_left(out) == BOTH


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--shard", "0/8"), "the part must be a number between 1 and 8"),
        (("--shard", "9/8"), "the part must be a number between 1 and 8"),
        (("--shard", "2/1"), "the part must be 1"),
        (("--shard", "1/0"), "the number of parts must be a number above 0"),
        (("--shard", "a/b"), "say which part of how many, as in --shard 3/8"),
        (("--shard", "1/2", "--single-file"), "which `dmd merge` writes"),
        (("--shard", "1/2", "--open"), "which `dmd merge` writes"),
    ],
)
def test_wrong_usage(arguments: Sequence[str], said: str, tmp_path: Path) -> None:
    answer = run("restore", tmp_path, "--out", tmp_path / "out", *arguments)
    assert answer.exit_code == 2
    assert said in answer.stderr


def test_a_folder_without_a_journal_is_no_place_to_merge(tmp_path: Path) -> None:
    answer = run("merge", tmp_path)
    assert answer.exit_code == 2
    assert "no journal" in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_merged_while_a_shard_is_at_work(out: Path) -> None:
    with held(out, BOTH[1]):
        answer = run("merge", out)
    assert answer.exit_code == 8
    assert answer.stderr.startswith(f"dmd: Shard 2/2 is being restored into {out}. Wait for it to end")
    assert shards_left(out) == BOTH


@pytest.mark.slow
def test_a_collection_is_restored_in_shards(tmp_path: Path) -> None:
    album, out = tmp_path / "album", tmp_path / "out"
    album.mkdir()
    shards = [Shard(3, number) for number in (1, 2, 3)]
    first, second = (next(name for name in map("{}.png".format, range(99)) if one.holds(name)) for one in shards[:2])
    for name in (first, second):
        Image.new("L", (40, 30), 128).save(album / name)
    decisions = f'format = 1\n[[photo]]\nplace = "{second}"\n[[photo.face]]\nnumber = 1\nstranger = true\n'
    (album / "decisions.toml").write_text(decisions)
    options = ("restore", album, "--out", out, "--kit", "embedded", "--workers", 1)
    options += ("--decisions", album / "decisions.toml", "--strict")
    answers = [run(*options, "--shard", shard, "--json") for shard in shards]
    told = [[json.loads(line)["photo"] for line in answer.stdout.splitlines()] for answer in answers]
    assert told == [[str(album / first)], [str(album / second)], []]
    assert [answer.exit_code for answer in answers] == [0, 3, 0], "the second tells of the decision"
    assert [f"{second} has no such face" in answer.stderr for answer in answers] == [False, True, False]
    assert "not among those given" not in answers[0].stderr
    assert not (out / "report.html").exists()
    said = run(*options, "--shard", shards[2]).stdout.splitlines()
    assert said == [
        "None of the photos falls to shard 3/3.",
        f"When all shards have ended, `dmd merge {out}` joins what they did.",
    ]
    assert run("merge", out).exit_code == 0
    assert [one["status"] for one in results(out)] == ["untouched"] * 2
    assert "2 photos: 2 up to date" in run(*options).stdout
