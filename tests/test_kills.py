"""Runs over the collection of all formats, killed at random instants: what is left, and what the last run makes of it.

Real are the reader, the writer and the journal; who is found, and what is made of a face, is made up and takes no time.
`tests/pipeline/test_kill_steps.py` kills before every step, `tests/cli/test_kill.py` the real program.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import dmdcli.files
from dmdcli import journal_file
from dmdcli.faces.face import Face
from dmdcli.faces.identity import Match
from dmdcli.journal import open_journal
from dmdcli.photos import Canvas, Photo
from dmdcli.pipeline import restore as pipeline
from dmdcli.pipeline import steps
from dmdcli.pipeline.blend import RestoreOptions, expected
from dmdcli.pipeline.judge import Judgement, Plan
from dmdcli.places import stream_outputs, survey_photos
from dmdcli.shapes import Pixels
from tests.collection import make_collection
from tests.nursery import Nursery, nursery
from tests.pipeline.made_up import ALICE, STRANGER, Brightener, MadeUpFinder, face_at, people_of

PROGRAM = (
    "from tests.nursery import serve; from tests.test_kills import run, without_waiting; without_waiting(); serve(run)"
)
FACES = [face_at(np.zeros((240, 320, 3), np.uint8), x, 64, 90, who) for x, who in ((40, ALICE), (180, STRANGER))]
TIMES = {"finished", "input_changed", "output_changed"}
NUMBERS = {"photos": {"number"}, "faces": {"photo"}, "likenesses": {"photo"}}
"""Columns that may differ between runs: when something was done, and how rows are numbered."""


class Quick(MadeUpFinder):
    """Finds alice and a stranger in every photo, without looking."""

    def find(self, pixels: Pixels) -> list[Face]:
        return FACES


def brighten(
    photo: Photo, chosen: Sequence[tuple[Face, Match | None, Plan]], *others: Any
) -> tuple[Canvas, list[Judgement]]:
    """Stands in for restoring and blending: each face gets a patch as bright as the strength asked for."""
    canvas, options = photo.canvas(), others[-2]
    for face, _, _ in chosen:
        x, y = int(face.box[0]), int(face.box[1])
        canvas.put(x, y, np.full((60, 60, 3), options.strength * 0.8, np.float32))
    return canvas, [expected(plan, match, options) for _, match, plan in chosen]


def without_waiting() -> None:
    """Do not wait for the disk: a killed process loses nothing that it has written, only a power cut would."""
    cv2.setNumThreads(1)
    journal_file.SETTINGS = (*journal_file.SETTINGS, "synchronous = OFF")
    dmdcli.files.os.fsync = lambda descriptor: None  # type: ignore[assignment]
    steps.restore_faces = brighten  # type: ignore[assignment]


def run(arguments: Sequence[str]) -> None:
    """Restore a folder into another with a strength, in a process of its own."""
    album, out, strength = Path(arguments[0]), Path(arguments[1]), float(arguments[2])
    pairs = stream_outputs(survey_photos([album]), out, "auto", print)
    options = RestoreOptions(strength=strength, engravings="restore", already_good="restore")
    people = people_of(alice=(0.0, 0.1), bob=(5.0, 5.1))
    with open_journal(out) as journal:
        found = list(pipeline.restore(pairs, Quick(), Brightener(), people, journal, options))
    if any(one.status == "failed" or one.standing == "foreign" for one in found):
        sys.exit(f"{[(one.photo, one.error, one.reason) for one in found if one.error or one.standing == 'foreign']}")


def results(out: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of change of every file under its final name, but of the report, which has its own times."""
    found = {}
    for path in out.rglob("*"):
        ours = {".dmd", "report_files"}.intersection(path.relative_to(out).parts) or path.name.startswith("report.")
        if path.is_file() and not ours and not path.name.endswith(".part"):
            found[path.relative_to(out).as_posix()] = (path.read_bytes(), path.stat().st_mtime_ns)
    return found


def journal_of(out: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All that a journal says of photos, apart from TIMES and NUMBERS, and the settings and people behind it."""
    rows: dict[str, list[tuple[Any, ...]]] = {}
    with closing(sqlite3.connect(out / ".dmd" / "journal.sqlite")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(*) FROM photos WHERE finished IS NULL").fetchone() == (0,)
        for table, numbers in NUMBERS.items():
            columns = [one for _, one, *_ in database.execute(f"PRAGMA table_info({table})")]
            columns = [f"{table}.{one}" for one in columns if one not in TIMES | numbers]
            joined = "" if table == "photos" else f"JOIN photos ON photos.number = {table}.photo"
            rows[table] = database.execute(
                f"SELECT photos.place, {', '.join(columns)} FROM {table} {joined} "
                f"ORDER BY {', '.join(str(number + 1) for number in range(len(columns) + 1))}"
            ).fetchall()
        rows["people"] = database.execute("SELECT * FROM people ORDER BY 1").fetchall()
        rows["settings"] = database.execute(
            "SELECT * FROM settings WHERE digest IN (SELECT settings FROM photos) ORDER BY 1"
        ).fetchall()
    return rows


@dataclass(frozen=True)
class Whole:
    """What a run leaves that is not interrupted, and how long it takes."""

    files: dict[str, tuple[bytes, int]]
    journal: dict[str, list[tuple[Any, ...]]]
    seconds: float

    @classmethod
    def of(cls, runs: Nursery, album: Path, out: Path, strength: float) -> Whole:
        code, seconds = runs.run(album, out, strength)
        assert code == 0
        return cls(results(out), journal_of(out), seconds)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("kills", "every"), [(20, 3), pytest.param(200, 1, marks=pytest.mark.slow)], ids=["20 times", "200 times"]
)
def test_whenever_a_run_is_killed_the_next_ones_make_it_good(tmp_path: Path, kills: int, every: int) -> None:
    """every: how many files of the collection there are for one that is taken.

    A run that is killed is run again, and killed again, until one comes to its end; then everything is compared. The
    next begins with an empty folder or, by turns, replaces what is there by results of another strength. Each may last
    up to half of what a whole run takes, evenly distributed: so a few kills fall on each, at any of its instants.
    """
    album, out = tmp_path / "album", tmp_path / "out"
    samples = make_collection(album)
    for number, sample in enumerate(samples):
        if number % every:
            (album / sample.name).unlink()
    chance, killed, rounds = random.Random(0), 0, 0
    with nursery(PROGRAM) as runs:
        weak, strong = (Whole.of(runs, album, tmp_path / f"{strength}", strength) for strength in (0.5, 1.0))
        assert len(strong.files) >= len(samples) / every
        assert sum(weak.files[name] != found for name, found in strong.files.items()) > 0.8 * len(strong.files)
        while killed < kills:
            replacing = rounds % 2 == 1
            wanted, strength = (weak, 0.5) if replacing else (strong, 1.0)
            if not replacing:
                shutil.rmtree(out, ignore_errors=True)
            code = -9
            while code == -9:
                limit = chance.uniform(0, wanted.seconds / 2) if killed < kills else 600.0
                code, _ = runs.run(album, out, strength, kill_after=limit)
                killed += code == -9
                for name, found in results(out).items():
                    whole = (wanted.files[name], strong.files[name]) if replacing else (wanted.files[name],)
                    assert found in whole, f"after kill {killed}: {name} is not whole"
            assert code == 0
            assert results(out) == wanted.files
            assert journal_of(out) == wanted.journal
            assert not list(out.rglob("*.part"))
            rounds += 1
    assert rounds >= kills / 8, "runs came to their end between"
