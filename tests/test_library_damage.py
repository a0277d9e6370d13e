"""The library of enrolled people when things go wrong: damaged files, full disks, other writers, ends halfway."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from dmdcli.errors import (
    CannotGoOnError,
    LibraryFormatError,
    LibraryLockedError,
    TooFewReferencesError,
)
from dmdcli.library import Library
from dmdcli.person import Person
from tests.references import files_of, mean_colour, reference


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "home", lock_seconds=0.05)


def test_a_newer_library_is_refused_naming_both_versions(library: Library) -> None:
    library.add_references("Alice", [reference(1)])
    (library.home / "library.json").write_text('{"format": 7}')
    before = files_of(library)
    for act in (library.people, lambda: library.add_references("Bob", [reference(2)]), lambda: library.forget("Alice")):
        with pytest.raises(LibraryFormatError, match=r"format 7.*format 1"):
            act()
    assert files_of(library) == before


@pytest.mark.parametrize("content", ["", "[]", '{"format": "1"}', '{"format": 0}', "{}", '{"format": true}'])
def test_a_damaged_library_json_is_named(library: Library, content: str) -> None:
    library.add_references("Alice", [reference(1)])
    (library.home / "library.json").write_text(content)
    with pytest.raises(LibraryFormatError, match=r"library\.json"):
        library.people()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"name": "A", "references": []}',
        '{"name": 3, "references": [{"id": "1"}]}',
        '{"name": "A", "references": [{"id": "../x", "source": "", "added": "", "sharpness": 1, '
        '"landmark_source": "detected", "digest": ""}]}',
    ],
)
def test_a_damaged_person_json_is_named(library: Library, content: str) -> None:
    person = library.add_references("Alice", [reference(1)])
    (library.home / "people" / person.id / "person.json").write_text(content)
    with pytest.raises(LibraryFormatError, match=r"person\.json"):
        library.people()


def damaged(library: Library, ending: str, content: bytes | None) -> Person:
    person = library.add_references("Alice", [reference(1)])
    path = library.home / "people" / person.id / "references" / f"{person.references[0].id}{ending}"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    return person


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        (".png", None),
        (".png", b"no picture"),
        (".txt", None),
        (".txt", b"1 2\n"),
        (".txt", b"a b\n" * 68),
        (".txt", b"nan 1\n" * 68),
        (".txt", b"\xff\xfe"),
    ],
)
def test_a_damaged_reference_is_named(library: Library, ending: str, content: bytes | None) -> None:
    person = damaged(library, ending, content)
    with pytest.raises(LibraryFormatError, match=f"{person.references[0].id}\\{ending}"):
        library.references(person)


def test_no_reference_enrols_nobody(library: Library) -> None:
    with pytest.raises(TooFewReferencesError):
        library.add_references("Alice", [])
    assert not library.home.exists()


def hold_the_lock(path: str, held: object, done: object) -> None:
    with filelock.FileLock(path):
        held.set()  # type: ignore[attr-defined]
        done.wait(20)  # type: ignore[attr-defined]


def test_two_writers_are_kept_apart_and_reading_goes_on(library: Library) -> None:
    person = library.add_references("Alice", [reference(1)])
    context = multiprocessing.get_context("spawn")
    held, done = context.Event(), context.Event()
    other = context.Process(target=hold_the_lock, args=(str(library.home / "library.lock"), held, done))
    other.start()
    try:
        assert held.wait(20)
        with pytest.raises(LibraryLockedError):
            library.add_references("Bob", [reference(2)])
        with pytest.raises(LibraryLockedError):
            library.forget("Alice")
        assert library.people() == [person]
        assert library.embeddings(person, "kit", mean_colour).shape == (1, 3)
        assert library.caches(person) == []
    finally:
        done.set()
        other.join(20)
    library.embeddings(person, "kit", mean_colour)
    assert library.caches(person)[0].current


def test_what_a_killed_writer_left_is_removed(library: Library) -> None:
    person = library.add_references("Alice", [reference(1)])
    before = files_of(library)
    killed = (
        "import os, sys, pathlib, dmdcli.library as library\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from tests.references import reference\n"
        "library.write_json = lambda path, fields: os._exit(9)\n"
        "home = library.Library(pathlib.Path(sys.argv[1]))\n"
        "home.add_references(sys.argv[3], [reference(2)])\n"
    )
    for name in ("Alice", "Bob"):
        arguments = [sys.executable, "-c", killed, str(library.home), str(Path(__file__).parents[1]), name]
        assert subprocess.run(arguments, check=False).returncode == 9
        assert len(files_of(library)) > len(before)
        assert library.people() == [person]
        library.rename("Alice", "Alice")
        assert files_of(library) == before


def test_a_failure_halfway_changes_nothing(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    person = library.add_references("Alice", [reference(1)])
    before = files_of(library)

    def full(path: Path, content: bytes) -> None:
        if path.suffix == ".txt":
            raise OSError(28, "No space left on device")
        path.write_bytes(content)

    monkeypatch.setattr("dmdcli.library.write", full)
    for name in ("Alice", "Bob"):
        with pytest.raises(CannotGoOnError, match="No space left"):
            library.add_references(name, [reference(2)])
        assert files_of(library) == before
        assert library.people() == [person]


def test_a_home_that_is_a_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(CannotGoOnError, match="home"):
        Library(tmp_path / "home").add_references("Alice", [reference(1)])
