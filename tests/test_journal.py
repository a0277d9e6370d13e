"""The journal of an output folder: what it keeps, whom it keeps out, and what becomes of a damaged one."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dmdcli.errors import EXIT_INTEGRITY, CannotGoOnError, JournalFormatError
from dmdcli.journal import FaceRow, Likeness, PhotoRow, Stamp, copy_journal, open_journal, read_journal
from dmdcli.journal_file import journal_path

FACE = FaceRow(
    box=(1.5, 2.0, 30.25, 40.0),
    matrix=((1.0, 0.0, -3.5), (0.0, 1.0, 2.25)),
    result="specific",
    reason=("the landmarks are unsure",),
    match=Likeness("0123", "v1", 0.75),
    strength=0.5,
    after=0.875,
    account={"nearest": "größer"},
)
ROW = PhotoRow(
    place="below/größer.jpg",
    photo=Path("/photos/below/größer.jpg"),
    result="restored",
    input_digest="aa",
    input_stamp=Stamp(5, 10**18 + 1, 10**18 + 2),
    output_digest="bb",
    replaced_digest="cc",
    settings="dd",
    weights="ee",
    kit="ff",
    known=2,
    said="gg",
    faces=(FACE, FaceRow((0, 0, 9, 9), FACE.matrix, "generic", near=(Likeness("4567", "v2", 0.25),), usable=False)),
)


def test_a_row_comes_back_as_it_was_and_replaces_the_one_before(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        journal.write(ROW)
        assert journal.row(ROW.place) == ROW
        assert journal.unfinished() == [ROW.place]
        journal.finish(ROW.place, Stamp(7, 8, 9))
        fewer = replace(ROW, faces=ROW.faces[:1], known=3)
        assert journal.unfinished() == []
        found = journal.row(ROW.place)
        assert found is not None
        assert (found.output_stamp, found.replaced_digest) == (Stamp(7, 8, 9), None)
        assert found.finished
        journal.write(fewer)
    with open_journal(tmp_path) as journal:
        assert journal.row(ROW.place) == fewer
        assert journal.row("other.jpg") is None


def make_earlier(out: Path) -> None:
    """A journal of format 1 with a row."""
    with open_journal(out) as journal:
        journal.write(ROW)
    with closing(sqlite3.connect(journal_path(out))) as database:
        for table, column in (
            ("photos", "said"),
            *(("faces", one) for one in ("usable", "strength", "after", "account")),
        ):
            database.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        database.execute("PRAGMA user_version = 1")
        database.commit()


def test_a_journal_of_an_earlier_format_is_upgraded(tmp_path: Path) -> None:
    make_earlier(tmp_path)
    with open_journal(tmp_path) as journal:
        assert journal.notes == ()
        found = journal.row(ROW.place)
        assert found is not None
        assert found.faces[0] == replace(FACE, strength=0.0, after=None, account={})
        journal.write(ROW)
        assert journal.row(ROW.place) == ROW


def test_people_are_numbered_in_the_order_they_come(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        assert journal.number_people([]) == 0
        assert journal.number_people(["b", "a"]) == 2
        assert journal.number_people(["a"]) == 1
        assert journal.number_people(["a", "c"]) == 3
        digest = journal.keep_settings({"strength": 0.5})
        assert journal.settings(digest) == {"strength": 0.5}
        assert journal.settings("unknown") == {}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has file names that are no text")
def test_names_that_are_no_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    with open_journal(tmp_path) as journal:
        row = replace(ROW, place=name, photo=Path("/photos") / name)
        journal.write(row)
        assert journal.row(name) == row
        journal.fail(name, row.photo, "no")
        assert journal.place(tmp_path / name) == name


def test_a_copy_leaves_no_trace(tmp_path: Path) -> None:
    with copy_journal(tmp_path / "none") as journal:
        journal.write(ROW)
    assert not (tmp_path / "none").exists()
    with open_journal(tmp_path):
        pass
    before = journal_path(tmp_path).read_bytes()
    with open_journal(tmp_path), copy_journal(tmp_path) as journal:  # also while a run is under way
        journal.write(ROW)
    assert journal_path(tmp_path).read_bytes() == before


@pytest.mark.parametrize("opened", [copy_journal, read_journal])
def test_a_copy_of_an_earlier_format_leaves_no_trace(tmp_path: Path, opened: Callable[..., Any]) -> None:
    make_earlier(tmp_path)
    before = journal_path(tmp_path).read_bytes()
    with opened(tmp_path) as journal:
        journal.write(ROW)
        assert journal.row(ROW.place) == ROW
        journal.write(replace(ROW, faces=()))  # in the copy, too, faces go with their photo
        assert journal.row(ROW.place) == replace(ROW, faces=())
    assert journal_path(tmp_path).read_bytes() == before


@pytest.mark.parametrize("opened", [copy_journal, read_journal])
def test_a_run_that_was_killed_while_it_wrote_can_be_copied(tmp_path: Path, opened: Callable[..., Any]) -> None:
    """What it left beside the journal is first to be undone; SQLite does that only where it may write."""
    with open_journal(tmp_path) as journal:
        journal.write(ROW)
    code = (
        "import os, sqlite3, sys\n"
        "database = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "database.execute('PRAGMA cache_size = 1')\n"
        "database.execute('BEGIN IMMEDIATE')\n"
        "database.executemany('INSERT INTO settings VALUES (?, ?)', [(str(one), 'x' * 5000) for one in range(50)])\n"
        "os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(journal_path(tmp_path))]).returncode == 9
    assert journal_path(tmp_path).with_name("journal.sqlite-journal").stat().st_size
    with opened(tmp_path) as journal:
        assert journal.row(ROW.place) == ROW
        assert (journal.notes, journal.settings("1")) == ((), {})


def test_two_runs_exclude_each_other(tmp_path: Path) -> None:
    with open_journal(tmp_path), pytest.raises(CannotGoOnError, match="Another dmd is at work in"):
        open_journal(tmp_path).__enter__()
    with open_journal(tmp_path):
        pass


def test_the_lock_of_a_killed_run_holds_nobody_up(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from dmdcli.journal import open_journal\n"
        "with open_journal(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode != 0
    with open_journal(tmp_path) as journal:
        assert journal.notes == ()


def test_no_write_ahead_log_and_nothing_legible_of_what_was_removed(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        journal.write(replace(ROW, faces=(replace(FACE, match=Likeness("who was forgotten", "v", 0.5)),)))
        journal.write(replace(ROW, faces=()))
    content = journal_path(tmp_path).read_bytes()
    assert content[18:20] == b"\x01\x01", "the header of a write-ahead log says 2"
    assert b"who was forgotten" not in content
    assert {path.name for path in (tmp_path / ".dmd").iterdir()} <= {"journal.sqlite", "journal.sqlite-journal", "lock"}


@pytest.mark.parametrize("damage", ["no database", "cut", "scribbled", "somebody else's"])
def test_a_damaged_journal_is_put_aside_with_a_sentence(tmp_path: Path, damage: str) -> None:
    path = journal_path(tmp_path)
    with open_journal(tmp_path) as journal:
        for number in range(30):
            journal.write(replace(ROW, place=f"{number}.jpg"))
    whole = path.read_bytes()
    if damage == "no database":
        path.write_bytes(b"Dear grandmother" * 100)
    elif damage == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "scribbled":
        path.write_bytes(whole[:4096] + b"\xaa" * 8192 + whole[12288:])
    else:
        path.unlink()
        with closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE letters (text)")
    given = path.read_bytes()
    with copy_journal(tmp_path) as journal:
        assert "is damaged" in journal.notes[0]
    assert path.read_bytes() == given
    with open_journal(tmp_path) as journal:
        (note,) = journal.notes
        assert "journal-damaged-1.sqlite" in note
        assert "--overwrite" in note
        assert journal.row("0.jpg") is None
        journal.write(ROW)
    assert (tmp_path / ".dmd" / "journal-damaged-1.sqlite").read_bytes() == given
    with open_journal(tmp_path) as journal:
        assert journal.notes == ()
        assert journal.row(ROW.place) == ROW


def test_an_empty_file_is_a_new_journal(tmp_path: Path) -> None:
    """What a run killed at its very beginning leaves."""
    journal_path(tmp_path).parent.mkdir()
    journal_path(tmp_path).touch()
    with open_journal(tmp_path) as journal:
        assert journal.notes == ()
        journal.write(ROW)


@pytest.mark.parametrize("opened", [open_journal, copy_journal])
def test_a_newer_journal_is_refused(tmp_path: Path, opened: object) -> None:
    with open_journal(tmp_path):
        pass
    with closing(sqlite3.connect(journal_path(tmp_path))) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalFormatError, match=r"format 99; .* up to format 2") as caught, opened(tmp_path):
        pass
    assert caught.value.exit_code == EXIT_INTEGRITY


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(CannotGoOnError, match="cannot be written to"), open_journal(tmp_path / "out"):
        pass


def test_a_journal_that_cannot_be_kept_ends_the_run(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        journal._database.execute("PRAGMA max_page_count = 1")  # a full disk
        with pytest.raises(CannotGoOnError, match="full"):
            journal.write(replace(ROW, reason="x" * 100_000))
