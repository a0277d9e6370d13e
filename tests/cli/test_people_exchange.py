"""`dmd people merge`, `export` and `import` as they are called."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from dmdcli import errors
from dmdcli.library import Library, NewReference
from tests.cli.test_people import run
from tests.pipeline.test_enroll import FRONTAL, FakeFinder


def enrolled(library: Library, name: str, *colours: int) -> None:
    """A person whose references have these colours; the made-up finder takes tens for people."""
    new = [
        NewReference(
            np.full((512, 512, 3), one, np.uint8), FRONTAL.astype(np.float32), Path(f"{one}.jpg"), 0.5, f"{one}"
        )
        for one in colours
    ]
    library.add_references(name, new)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    monkeypatch.setattr("dmdcli.cli.people.build_finder", lambda kit: FakeFinder())
    library = Library(Path(os.environ["DMD_HOME"]))
    enrolled(library, "Alice", 50, 51)
    enrolled(library, "Alicia", 51, 52)
    enrolled(library, "Bob", 90)
    return library


def test_merge_asks_and_says_how_alike_they_are(library: Library) -> None:
    answer = run("people", "merge", "alice", "alicia", answer="n\n")
    assert (answer.exit_code, len(library.people())) == (errors.EXIT_USAGE, 3)
    assert "Nothing was changed" in answer.stderr
    assert "may well be two people" not in answer.stderr
    assert run("people", "merge", "Alice", "Alicia", answer="").exit_code == errors.EXIT_USAGE
    answer = run("people", "merge", "alice", "alicia", answer="y\n")
    assert answer.exit_code == 0
    assert "Alice has 3 references; 1 picture both had. Alicia is no longer enrolled." in answer.stdout
    assert [(one.name, len(one.references)) for one in library.people()] == [("Alice", 3), ("Bob", 1)]


def test_merge_warns_of_people_who_are_not_alike(library: Library) -> None:
    answer = run("people", "merge", "Alice", "Bob", "--dry-run")
    assert answer.exit_code == 0
    assert "Bob and Alice may well be two people" in answer.stderr
    assert "Alice would have 3 references. Nothing was changed" in answer.stdout
    assert len(library.people()) == 3
    assert run("people", "merge", "Alice", "Bob", "-y").exit_code == 0
    assert len(library.people()) == 2


@pytest.mark.parametrize("other", ["Alice", "Alic"])
def test_merge_wants_two_people(library: Library, other: str) -> None:
    assert run("people", "merge", "Alice", other, "-y").exit_code == errors.EXIT_USAGE
    assert len(library.people()) == 3


def test_export_and_import(library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "two.zip"
    answer = run("people", "export", "alice", "Bob", "ALICE", str(file))
    assert (answer.exit_code, answer.stdout) == (0, f"Alice, Bob (3 references) are in {file}.\n")
    assert run("people", "export", "--all", str(file)).exit_code == errors.EXIT_USAGE
    assert run("people", "import", str(file)).stdout.count("enrolled already") == 2
    monkeypatch.setenv("DMD_HOME", str(tmp_path / "elsewhere"))
    answer = run("people", "import", str(file), "-n")
    assert answer.stdout.splitlines() == [
        "Alice: would be imported, 2 references",
        "Bob: would be imported, 1 reference",
        "Nothing was changed (--dry-run).",
    ]
    assert not (tmp_path / "elsewhere").exists()
    assert run("people", "import", str(file)).exit_code == 0
    there = Library(tmp_path / "elsewhere")
    assert [one.id for one in there.people()] == [library.person(name).id for name in ("Alice", "Bob")]
    assert run("people", "export", "--all", str(file), "--overwrite").exit_code == 0


def test_import_refuses_a_taken_name_and_says_what_to_do(library: Library, tmp_path: Path) -> None:
    file = tmp_path / "one.zip"
    assert run("people", "export", "Alice", str(file)).exit_code == 0
    library.forget("Alice")
    enrolled(library, "ALICE", 53)
    answer = run("people", "import", str(file))
    assert answer.exit_code == errors.EXIT_USAGE
    assert "--merge adds" in answer.stderr
    assert "--as NAME" in answer.stderr
    assert "imported, 2 references" in run("people", "import", str(file), "--as", "Alice 2").stdout
    assert "merged, 2 references" in run("people", "import", str(file), "--as", "alice", "--merge").stdout
    file.write_bytes(file.read_bytes()[:-300])
    answer = run("people", "import", str(file))
    assert answer.exit_code == errors.EXIT_INTEGRITY
    assert "damaged or no zip file" in answer.stderr


@pytest.mark.parametrize("arguments", [["x.zip"], ["Alice", "--all", "x.zip"], ["Alic", "x.zip"], ["Alice", "."], []])
def test_export_wants_people_and_a_file(library: Library, arguments: list[str], tmp_path: Path) -> None:
    answer = run("people", "export", *(str(tmp_path / one) if "." in one else one for one in arguments))
    assert answer.exit_code == errors.EXIT_USAGE
    assert not (tmp_path / "x.zip").exists()


def test_an_export_that_cannot_be_written_is_said(library: Library, tmp_path: Path) -> None:
    answer = run("people", "export", "Alice", str(tmp_path / "missing" / "x.zip"))
    assert answer.exit_code == errors.EXIT_CANNOT_GO_ON
    assert "cannot be written" in answer.stderr


def test_nobody_cannot_be_exported(tmp_path: Path) -> None:
    assert run("people", "export", "--all", str(tmp_path / "x.zip")).exit_code == errors.EXIT_USAGE
