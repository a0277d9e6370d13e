"""`dmd people` and `dmd enroll` as they are called: what they print, ask and end with."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from dmdcli import errors
from dmdcli.cli.main import app
from dmdcli.errors import WeightsMissingError
from dmdcli.library import Library, NewReference
from tests.pipeline.test_enroll import FRONTAL, FakeFinder, portrait, save


@pytest.fixture
def library() -> Library:
    return Library(Path(os.environ["DMD_HOME"]))


@pytest.fixture
def alice(library: Library) -> Library:
    crop = np.full((512, 512, 3), 7, np.uint8)
    library.add_references("Alice [b]", [NewReference(crop, FRONTAL.astype(np.float32), Path("a.jpg"), 0.5, "00")])
    return library


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fake networks behind `dmd enroll`; returns the list of models asked for."""
    asked: list[str] = []

    def restorer(model: str, device: str) -> SimpleNamespace:
        asked.append(model)
        if model == "missing":
            raise WeightsMissingError("No weights.")
        arrays = {"left_eye_256.key": np.ones(1, np.float16)}
        return SimpleNamespace(
            weights_id="fake", memorize=lambda crops, boxes: SimpleNamespace(to_arrays=lambda: arrays)
        )

    monkeypatch.setattr("dmdcli.cli.enroll.build_finder", lambda *given, **options: FakeFinder())
    monkeypatch.setattr("dmdcli.cli.enroll.build_restorer", restorer)
    return asked


def run(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), prog_name="dmd", input=answer)


def test_an_empty_library_says_how_to_begin() -> None:
    answer = run("people", "list")
    assert answer.exit_code == 0
    assert answer.stdout == ""
    assert "dmd enroll NAME PHOTOS" in answer.stderr
    assert not Path(os.environ["DMD_HOME"]).exists()


def test_list(alice: Library) -> None:
    answer = run("people", "list")
    assert answer.exit_code == 0
    header, line = answer.stdout.splitlines()
    assert header.split() == ["name", "references", "added", "ready"]
    assert line.startswith("Alice [b]")
    assert "on next use" in line


def test_list_json(alice: Library) -> None:
    alice.embeddings(alice.person("alice [b]"), "kit", lambda crops, landmarks: np.ones((len(crops), 3), np.float32))
    found = json.loads(run("people", "list", "--json").stdout)
    assert found["schema"] == 1
    assert (found["name"], found["references"], found["ready"]) == ("Alice [b]", 1, ["embeddings kit"])


def test_show(alice: Library) -> None:
    answer = run("people", "show", "ALICE [b]")
    assert answer.exit_code == 0
    assert "a.jpg" in answer.stdout
    found = json.loads(run("people", "show", "Alice [b]", "--json").stdout)
    assert found["sharpness"] == 0.5
    assert Path(found["crop"]).is_file()
    assert Path(found["source"]) == Path("a.jpg").absolute()


@pytest.mark.parametrize("arguments", [["show", "Alic"], ["forget", "Alic", "-y"], ["rename", "Alic", "B"]])
def test_an_unknown_person_ends_with_2_and_near_names(alice: Library, arguments: list[str]) -> None:
    answer = run("people", *arguments)
    assert answer.exit_code == errors.EXIT_USAGE
    assert "Did you mean Alice [b]?" in answer.stderr


def test_rename(alice: Library) -> None:
    answer = run("people", "rename", "alice [B]", "Bob")
    assert answer.exit_code == 0
    assert answer.stdout == "Alice [b] is called Bob now.\n"
    assert [person.name for person in alice.people()] == ["Bob"]
    assert run("people", "rename", "Bob", "a/b").exit_code == errors.EXIT_USAGE


def test_forget_asks_first(alice: Library) -> None:
    for reply in ("n\n", "\n"):
        answer = run("people", "forget", "Alice [b]", answer=reply)
        assert answer.exit_code == errors.EXIT_USAGE
        assert "Nothing was removed" in answer.stderr
        assert len(alice.people()) == 1
    assert run("people", "forget", "Alice [b]", answer="y\n").exit_code == 0
    assert alice.people() == []


def test_forget_lists_what_it_removed(alice: Library) -> None:
    files = {str(path) for path in alice.folder(alice.person("Alice [b]")).rglob("*") if path.is_file()}
    answer = run("people", "forget", "Alice [b]", "-y")
    assert set(answer.stdout.splitlines()) == files
    assert not list((alice.home / "people").iterdir())


def test_damaged_and_newer_libraries_end_with_7(alice: Library, fakes: list[str], tmp_path: Path) -> None:
    save(tmp_path, "1.png", portrait(50, 1))
    for content in ('{"format": 2}', "{"):
        (alice.home / "library.json").write_text(content)
        for arguments in (["people", "list"], ["people", "forget", "Alice", "-y"], ["enroll", "Bob", str(tmp_path)]):
            assert run(*arguments).exit_code == errors.EXIT_INTEGRITY


def test_enroll_and_add(library: Library, fakes: list[str], tmp_path: Path) -> None:
    first, second = save(tmp_path, "1.png", portrait(50, 1)), save(tmp_path, "2.png", portrait(50, 2))
    answer = run("enroll", "Alice", str(first))
    assert answer.exit_code == 0
    assert answer.stdout.splitlines()[1].split() == ["1.png", "used"]
    assert "Alice has 1 reference." in answer.stdout
    assert "3 or more" in answer.stdout
    answer = run("enroll", "Alice", str(tmp_path))
    assert "duplicate" in answer.stdout
    assert "Alice has 2 references, 1 of them new." in answer.stdout
    assert {cache.kind for cache in library.caches(library.person("Alice"))} == {"dictionary", "embeddings"}
    assert run("enroll", "Alice", str(second), "--strict").exit_code == 0


def test_enroll_json(fakes: list[str], tmp_path: Path) -> None:
    photos = [save(tmp_path, "1.png", portrait(50, 1)), save(tmp_path, "2.png", portrait(0, 2))]
    answer = run("enroll", "Alice", *map(str, photos), "--json", "--strict")
    assert answer.exit_code == errors.EXIT_SOME_FAILED
    used, refused = (json.loads(line) for line in answer.stdout.splitlines())
    contract = ("schema", "photo", "person", "used", "reason")
    assert [used[field] for field in contract] == [1, str(photos[0]), "Alice", True, None]
    assert [refused[field] for field in contract] == [1, str(photos[1]), "Alice", False, "no face found"]


def test_enroll_refused_ends_with_5_and_lists_the_reasons(library: Library, fakes: list[str], tmp_path: Path) -> None:
    save(tmp_path, "tiny.png", portrait(50, 1, side=60))
    (tmp_path / "text.jpg").write_text("text")
    answer = run("enroll", "Alice", str(tmp_path))
    assert answer.exit_code == errors.EXIT_ENROLMENT_REFUSED
    assert "too small" in answer.stdout
    assert "text.jpg" in answer.stdout
    assert answer.stderr.count("\n") == 1
    assert not library.home.exists()


def test_enroll_dry_run_writes_nothing(library: Library, fakes: list[str], tmp_path: Path) -> None:
    answer = run("enroll", "Alice", str(save(tmp_path, "1.png", portrait(50, 1))), "-n")
    assert answer.exit_code == 0
    assert "1 of 1 photos would become references of Alice." in answer.stdout
    assert fakes == []
    assert not library.home.exists()


def test_enroll_goes_on_without_weights(library: Library, fakes: list[str], tmp_path: Path) -> None:
    answer = run("enroll", "Alice", str(save(tmp_path, "1.png", portrait(50, 1))), "--model", "missing")
    assert answer.exit_code == 0
    assert "No weights. The dictionary will be made when they are there." in answer.stderr
    assert [cache.kind for cache in library.caches(library.person("Alice"))] == ["embeddings"]


@pytest.mark.parametrize("name", ["a/b", "..", "", "x" * 101])
def test_enroll_refuses_bad_names(library: Library, fakes: list[str], tmp_path: Path, name: str) -> None:
    assert run("enroll", name, str(save(tmp_path, "1.png", portrait(50, 1)))).exit_code == errors.EXIT_USAGE
    assert not library.home.exists()


def test_enroll_without_photos(fakes: list[str], tmp_path: Path) -> None:
    assert run("enroll", "Alice", str(tmp_path)).exit_code == errors.EXIT_NOTHING_TO_DO
    assert run("enroll", "Alice", str(tmp_path / "missing")).exit_code == errors.EXIT_USAGE


def test_enroll_takes_a_numbered_face(library: Library, fakes: list[str], tmp_path: Path) -> None:
    group = np.hstack([portrait(50, 1), portrait(90, 1)])
    Image.fromarray(group).save(tmp_path / "group.png")
    assert run("enroll", "Alice", str(tmp_path)).exit_code == errors.EXIT_ENROLMENT_REFUSED
    assert run("enroll", "Alice", str(tmp_path), "--face", "1").exit_code == 0  # as found: the right one first
    crops, _ = library.references(library.person("Alice"))
    assert crops[0, 0, 0, 0] == 90


def test_forget_with_nobody_to_answer_removes_nothing(alice: Library) -> None:
    result = run("people", "forget", "Alice [b]", answer="")
    assert result.exit_code == 2
    assert "--yes goes on without being asked" in result.stderr
    assert alice.people()


def test_a_library_that_cannot_be_read_is_said(library: Library) -> None:
    library.home.parent.mkdir(parents=True, exist_ok=True)
    library.home.write_text("a file where the folder should be")
    result = run("people", "list")
    assert result.exit_code == 8
    assert "cannot be read (Not a directory)" in result.stderr
