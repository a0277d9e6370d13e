"""`dmd corrections` as it is called, and what `dmd people` does to corrections."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut
from typer.testing import CliRunner, Result

from dmdcli import errors
from dmdcli.cli.main import app
from dmdcli.corrections import Corrections
from dmdcli.decisions import Decision, FacePoints
from dmdcli.journal import digest_of
from dmdcli.library import Library, NewReference
from tests.cli.test_restore import records, weights
from tests.cli.test_restore import run as restore_with
from tests.pipeline.test_enroll import FRONTAL, FakeFinder

__all__ = ["weights"]
FIRST, SECOND = "ab" * 32, "cd" * 32
BOX, RIGHT, FAR = (10.0, 20.0, 110.0, 120.5), (200.0, 20.0, 300.0, 120.0), (500.0, 20.0, 600.0, 120.0)
POINTS: FacePoints = tuple((10.25 + number, 20.5 + number) for number in range(68))


@pytest.fixture
def library() -> Library:
    return Library(Path(os.environ["DMD_HOME"]))


@pytest.fixture
def corrections(library: Library) -> Corrections:
    there = Corrections(library.home)
    there.keep(
        FIRST, [Decision(box=BOX, landmarks=POINTS, person="ALICE"), Decision(box=RIGHT, stranger=True)], "a.jpg"
    )
    there.keep(SECOND, [Decision(box=BOX, landmarks=POINTS), Decision(box=FAR, person="Bob", strength=0.5)], "b/b.jpg")
    return there


def enrol(library: Library, name: str, digest: str) -> None:
    crop = np.full((512, 512, 3), len(name), np.uint8)
    library.add_references(name, [NewReference(crop, FRONTAL.astype(np.float32), Path("a.jpg"), 0.5, digest)])


def run(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), prog_name="dmd", input=answer)


def test_list(corrections: Corrections) -> None:
    answer = run("corrections", "list")
    assert answer.exit_code == 0
    for words in ("a.jpg", "b/b.jpg", FIRST[:12], "landmarks, ALICE", "a stranger", "Bob, strength 0.5"):
        assert words in answer.stdout
    assert [line.split("at ")[1].split("  ")[0] for line in answer.stdout.splitlines() if "px at" in line] == [
        "10, 20",
        "200, 20",
        "10, 20",
        "500, 20",
    ]
    lines = [json.loads(line) for line in run("corrections", "list", "--json").stdout.splitlines()]
    assert [(line["schema"], line["sha256"], line["place"]) for line in lines] == [
        (1, FIRST, "a.jpg"),
        (1, SECOND, "b/b.jpg"),
    ]
    assert lines[0]["faces"][0]["landmarks"][0] == [10.25, 20.5]
    assert lines[0]["faces"][1]["stranger"] is True


def test_a_library_without_corrections_says_how_to_make_some() -> None:
    answer = run("corrections", "list")
    assert (answer.exit_code, answer.stdout) == (0, "")
    assert "dmd check --edit" in answer.stderr
    assert run("corrections", "export", "x.toml").exit_code == errors.EXIT_NOTHING_TO_DO
    assert not Path("x.toml").exists()


def test_export_and_import(corrections: Corrections, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "all.toml"
    assert "2 photos" in run("corrections", "export", str(file)).stdout
    assert run("corrections", "export", str(file)).exit_code == errors.EXIT_USAGE
    assert run("corrections", "export", str(file), "--overwrite").exit_code == 0
    before = list(corrections)
    monkeypatch.setenv("DMD_HOME", str(tmp_path / "there"))
    there = Corrections(tmp_path / "there")
    assert "4 new" in run("corrections", "import", str(file), "--dry-run").stdout
    assert list(there) == []
    assert "4 faces" in run("corrections", "import", str(file)).stdout
    assert list(there) == before
    there.keep(FIRST, [Decision(box=BOX, person="Carol")])
    answer = run("corrections", "import", str(file))
    assert "Of 1 face something else is kept" in answer.stderr
    assert there.faces(FIRST)[0].person == "Carol"
    run("corrections", "import", str(file), "--overwrite")
    assert list(there) == before
    file.write_text(file.read_text().replace("stranger = true", "stranger = 1"))
    answer = run("corrections", "import", str(file))
    assert answer.exit_code == errors.EXIT_USAGE
    assert f"{file}, line " in answer.stderr


def test_remove(corrections: Corrections, tmp_path: Path) -> None:
    photo = tmp_path / "photos" / "c.png"
    photo.parent.mkdir()
    Image.new("RGB", (9, 9)).save(photo)
    digest = digest_of(photo)
    corrections.keep(digest, [Decision(box=BOX, not_a_face=True)], "c.png")
    assert run("corrections", "remove", str(photo.parent), answer="n\n").exit_code == errors.EXIT_USAGE
    assert corrections.about(digest)
    renamed = photo.with_name("renamed.png")
    photo.rename(renamed)
    answer = run("corrections", "remove", str(renamed), FIRST[:12], "-y")
    assert answer.exit_code == 0
    assert [one.sha256 for one in corrections] == [SECOND]
    assert run("corrections", "remove", str(renamed), "-y").exit_code == errors.EXIT_NOTHING_TO_DO
    assert run("corrections", "remove", "nowhere.png", "-y").exit_code == errors.EXIT_USAGE


def test_forgetting_somebody_removes_the_corrections_of_their_faces(library: Library, corrections: Corrections) -> None:
    enrol(library, "Alice", SECOND)
    answer = run("people", "forget", "Alice", "-y")
    assert answer.exit_code == 0
    assert "2 corrected faces" in answer.stderr
    assert f"{FIRST}.toml" in answer.stdout
    assert corrections.faces(FIRST) == (Decision(box=RIGHT, stranger=True),)
    assert corrections.faces(SECOND) == (Decision(box=FAR, person="Bob", strength=0.5),), "Bob's in her reference"
    everything = b"".join(path.read_bytes() for path in library.home.rglob("*") if path.is_file())
    assert b"alice" not in everything.lower()


def test_somebody_only_corrections_name_can_be_forgotten(corrections: Corrections) -> None:
    answer = run("people", "forget", "bob", answer="y\n")
    assert answer.exit_code == 0
    assert [face.person for photo in corrections for face in photo.faces] == ["ALICE", None, None]
    assert run("people", "forget", "bob", "-y").exit_code == errors.EXIT_USAGE


def test_renaming_and_merging_carry_them_along(
    library: Library, corrections: Corrections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmdcli.cli.people.build_finder", lambda *_: FakeFinder())
    for name in ("Alice", "Bob", "Carol"):
        enrol(library, name, name)
    assert run("people", "rename", "Alice", "Bob").exit_code == errors.EXIT_USAGE
    assert corrections.faces(FIRST)[0].person == "ALICE", "nothing changed"
    assert run("people", "rename", "Alice", "Alicia").exit_code == 0
    assert corrections.faces(FIRST)[0].person == "Alicia"
    assert run("people", "merge", "Carol", "Bob", "--dry-run").exit_code == 0
    assert corrections.faces(SECOND)[1].person == "Bob"
    assert run("people", "merge", "Carol", "Bob", "-y").exit_code == 0
    assert corrections.faces(SECOND)[1] == Decision(box=FAR, person="Carol", strength=0.5)


def test_a_damaged_file_is_told_and_nobody_is_forgotten(library: Library, corrections: Corrections) -> None:
    enrol(library, "Alice", FIRST)
    damaged = library.home / "corrections" / f"{SECOND}.toml"
    damaged.write_text("half")
    for arguments in (["people", "forget", "Alice", "-y"], ["corrections", "list"], ["corrections", "export", "x"]):
        answer = run(*arguments)
        assert answer.exit_code == errors.EXIT_INTEGRITY
        assert str(damaged) in answer.stderr
    assert library.person("alice")
    assert corrections.faces(FIRST)


@pytest.mark.slow
def test_check_restore_and_enroll_hear_them(weights: Path, tmp_path: Path, library: Library) -> None:
    """With the embedded kit, a real face and a small network: the commands are given the corrections."""
    album = tmp_path / "album"
    album.mkdir()
    Image.fromarray(astronaut()).save(album / "a.png")
    (found,) = json.loads(run("check", str(album), "--json").stdout)["faces"]
    lower = [(x, y + 9 * (36 <= number < 42)) for number, (x, y) in enumerate(found["landmarks"])]
    decision = Decision(box=tuple(found["box"]), landmarks=tuple(lower), person="Eileen Collins")
    Corrections(library.home).keep(digest_of(album / "a.png"), [decision], "a.png")
    (album / "a.png").rename(album / "renamed.png")
    (moved,) = json.loads(run("check", str(album), "--json").stdout)["faces"]
    assert np.allclose(moved["landmarks"], lower, atol=0.02)
    assert moved["components"][0] != found["components"][0]
    assert moved["verdict"] == "good"
    out = tmp_path / "out"
    restored = restore_with(weights, album, "--out", out, "--json")
    ((face,),) = [one["faces"] for one in records(restored)]
    assert (face["landmark_source"], face["assigned_by"], face["box"]) == ("corrected", "decision", moved["box"])
    told = restore_with(weights, album, "--out", out, "--overwrite")
    assert "Landmarks put right by hand: those of 1 face." in told.stdout
    assert run("enroll", "Eileen Collins", str(album), "--model", str(weights)).exit_code == 0
    assert [one.landmark_source for one in library.person("Eileen Collins").references] == ["corrected"]
    refused = run("enroll", "Ada", str(album), "--model", str(weights))
    assert refused.exit_code == errors.EXIT_ENROLMENT_REFUSED
    assert "somebody else's" in refused.stdout
