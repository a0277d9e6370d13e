"""The library of enrolled people: what is on disk, who may read it, and what is made of it."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from dmdcli.errors import (
    PersonExistsError,
    TooFewReferencesError,
    UnknownPersonError,
    UsageError,
)
from dmdcli.faces.face import Landmarks
from dmdcli.library import Library, NewReference
from dmdcli.person import check_name
from tests.references import files_of, mean_colour, reference


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "home", lock_seconds=0.05)


def test_reading_a_missing_library_finds_nobody_and_creates_nothing(library: Library) -> None:
    assert library.people() == []
    with pytest.raises(UnknownPersonError):
        library.person("Alice")
    assert not library.home.exists()


def test_references_come_back_as_they_went_in(library: Library) -> None:
    new = [reference(1), reference(2)]
    library.add_references("Zoë Ōe", new)
    person = Library(library.home).person("Zoë Ōe")
    crops, points = library.references(person)
    assert [one.digest for one in person.references] == [new[0].digest, new[1].digest]
    np.testing.assert_array_equal(crops, np.stack([one.crop for one in new]))
    assert points.shape == (2, 68, 2)
    assert points.dtype == np.float32
    np.testing.assert_allclose(points, np.stack([one.points for one in new]), atol=0.0051)
    assert Path(person.references[0].source).is_absolute()


def test_adding_to_a_person_keeps_what_was_there(library: Library) -> None:
    first = library.add_references("Alice", [reference(1)])
    second = library.add_references("aLICE", [reference(2)])
    assert second.id == first.id
    assert second.name == "Alice"
    assert library.people() == [second]
    assert [one.sharpness for one in second.references] == [1.0, 2.0]


def test_everything_is_private_and_names_live_only_in_person_json(library: Library) -> None:
    before = os.umask(0)
    try:
        person = library.add_references("Alice", [reference(1)])
        library.embeddings(person, "kit", mean_colour)
    finally:
        os.umask(before)
    for path in [library.home, *library.home.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
        assert "alice" not in path.name.lower()
        if path.is_file() and path.name != "person.json":
            assert b"Alice" not in path.read_bytes()


def test_no_unfinished_files_stay(library: Library) -> None:
    library.add_references("Alice", [reference(1)])
    assert not [path for path in files_of(library) if path.name.startswith(".")]


@pytest.mark.parametrize("name", ["", "   ", "a/b", "a\\b", ".alice", "..", "a\nb", "a\x00b", "\udcff", "x" * 101])
def test_bad_names_are_refused(library: Library, name: str) -> None:
    with pytest.raises(UsageError):
        library.add_references(name, [reference(1)])
    assert not library.home.exists()


@pytest.mark.parametrize("name", ["Anna Maria", "Søren", "李小龍", "محمد", "O'Neill", "J. R.", "x" * 100])
def test_names_in_any_script_are_kept(name: str) -> None:
    assert check_name(name) == name


def test_a_name_is_one_however_it_is_written(library: Library) -> None:
    library.add_references("  Zoe\u0308   Straße ", [reference(1)])
    assert library.person("ZOË STRASSE").name == "Zo\u00eb Straße"


def test_unknown_person_suggests_near_names(library: Library) -> None:
    library.add_references("Theodore", [reference(1)])
    with pytest.raises(UnknownPersonError, match="Theodore"):
        library.person("Teodore")


def test_rename(library: Library) -> None:
    library.add_references("Alice", [reference(1)])
    library.add_references("Bob", [reference(2)])
    with pytest.raises(PersonExistsError, match="Bob"):
        library.rename("alice", "BOB")
    with pytest.raises(UsageError):
        library.rename("Alice", "a/b")
    with pytest.raises(UnknownPersonError):
        library.rename("Carol", "Dora")
    assert library.rename("Alice", "ALICE").name == "ALICE"
    assert library.rename("Alice", "Anna").name == "Anna"
    assert [person.name for person in library.people()] == ["Anna", "Bob"]


def test_forget_leaves_no_trace(library: Library) -> None:
    library.add_references("Bob", [reference(2)])
    before = files_of(library)
    alice = library.add_references("Alice", [reference(1)])
    library.embeddings(alice, "kit", mean_colour)
    library.dictionary(alice, "weights", lambda crops, boxes: {"one": np.ones(1, np.float16)})
    left_behind = library.home / "people" / alice.id / ".person.json.0123"
    left_behind.write_text("half")
    expected = sorted(path for path in (library.home / "people" / alice.id).rglob("*") if path.is_file())
    removed = library.forget("alice")
    assert set(removed) | {left_behind} == set(expected)
    assert len(removed) == 5
    assert files_of(library) == before
    with pytest.raises(UnknownPersonError):
        library.forget("Alice")


def test_a_cache_is_made_once_and_again_when_the_references_change(library: Library) -> None:
    calls: list[float] = []

    def embed(crops: np.ndarray, landmarks: Sequence[Landmarks]) -> np.ndarray:
        calls.extend(float(one.points[0, 0]) for one in landmarks)
        return mean_colour(crops, landmarks)

    person = library.add_references("Alice", [reference(1)])
    first = library.embeddings(person, "kit", embed)
    np.testing.assert_array_equal(library.embeddings(person, "kit", embed), first)
    assert calls == [101]
    assert library.caches(person)[0].current

    person = library.add_references("Alice", [reference(2)])
    assert not library.caches(person)[0].current
    assert library.embeddings(person, "kit", embed).shape == (2, 3)
    assert calls == [101, 101, 102]

    landmarks = library.home / "people" / person.id / "references" / f"{person.references[0].id}.txt"
    landmarks.write_text(landmarks.read_text().replace("101.00", "101.25", 1))
    library.embeddings(person, "kit", embed)
    assert calls[3:] == [101.25, 102]

    library.embeddings(person, "other-kit", embed)
    assert len(calls) == 7
    assert [cache.maker for cache in library.caches(person)] == ["kit", "other-kit"]


def test_a_damaged_cache_is_made_again(library: Library) -> None:
    person = library.add_references("Alice", [reference(1)])
    first = library.embeddings(person, "kit", mean_colour)
    path = library.home / "people" / person.id / "embeddings-kit.safetensors"
    path.write_bytes(path.read_bytes()[:20])
    np.testing.assert_array_equal(library.embeddings(person, "kit", mean_colour), first)
    assert library.caches(person)[0].current


def test_the_dictionary_is_memorized_from_crops_and_boxes(library: Library) -> None:
    person = library.add_references("Alice", [reference(1), reference(2)])
    seen: list[tuple[tuple[int, ...], tuple[int, ...], np.dtype[np.generic]]] = []

    def memorize(crops: np.ndarray, boxes: np.ndarray) -> dict[str, np.ndarray]:
        seen.append((crops.shape, boxes.shape, boxes.dtype))
        return {"left_eye_256.key": np.arange(4, dtype=np.float16)}

    for _ in range(2):
        arrays = library.dictionary(person, "base-1a2b", memorize)
        np.testing.assert_array_equal(arrays["left_eye_256.key"], np.arange(4))
        assert arrays["left_eye_256.key"].dtype == np.float16
    assert seen == [((2, 512, 512, 3), (2, 3, 4), np.dtype(np.int64))]


def test_a_dictionary_that_another_program_kept_meanwhile_is_not_replaced(library: Library) -> None:
    """It may be mapped there; on a network's file system it would be gone under whoever reads it."""
    person = library.add_references("Alice", [reference(1)])
    made = {"left_eye_256.key": np.arange(4, dtype=np.float16)}
    theirs: list[int] = []

    def memorize_late(*_: object) -> dict[str, np.ndarray]:
        Library(library.home).dictionary(person, "base-1a2b", lambda *_: made)
        (kept,) = (library.home / "people" / person.id).glob("dictionary-*")
        theirs.append(kept.stat().st_mtime_ns)
        return made

    library.dictionary(person, "base-1a2b", memorize_late)
    (kept,) = (library.home / "people" / person.id).glob("dictionary-*")
    assert [kept.stat().st_mtime_ns] == theirs


def test_a_cache_name_cannot_leave_the_folder(library: Library) -> None:
    person = library.add_references("Alice", [reference(1)])
    with pytest.raises(ValueError, match="file name"):
        library.embeddings(person, "../kit", mean_colour)


def test_file_names_that_are_no_text_are_kept(library: Library) -> None:
    odd = NewReference(**{**vars(reference(1)), "source": Path("/photos/\udcff.jpg")})
    person = library.add_references("Alice", [odd])
    assert library.person("Alice").references[0].source == "/photos/\udcff.jpg"
    json.loads((library.home / "people" / person.id / "person.json").read_text("utf-8"))


def test_a_corrected_reference_is_another_and_what_was_made_of_it_is_made_again(library: Library) -> None:
    person = library.add_references("Alice", [reference(1), reference(2)])
    before, made = library.version(person), []

    def embed(crops: np.ndarray, landmarks: Sequence[Landmarks]) -> np.ndarray:
        made.append([one.source for one in landmarks])
        return mean_colour(crops, landmarks)

    library.embeddings(person, "kit", embed)
    points = reference(2).points + np.float32(3.25)
    changed = library.correct_reference("alice", person.references[1].id, points)
    assert [one.landmark_source for one in changed.references] == ["detected", "corrected"]
    assert library.people() == [changed]
    np.testing.assert_allclose(library.references(changed)[1][1], points, atol=0.006)
    np.testing.assert_array_equal(library.references(changed)[0], library.references(person)[0])
    assert library.version(changed) != before
    library.embeddings(changed, "kit", embed)
    assert made == [["detected", "detected"], ["detected", "corrected"]]


def test_a_point_that_could_not_be_read_again_is_refused(library: Library) -> None:
    person = library.add_references("Alice", [reference(1)])
    for wrong in (np.nan, 1e6):
        points = reference(1).points.copy()
        points[30, 0] = wrong
        with pytest.raises(UsageError, match="far out of the picture"):
            library.correct_reference("Alice", person.references[0].id, points)
    with pytest.raises(UsageError, match="no reference of 'Alice'"):
        library.correct_reference("Alice", "00", reference(1).points)
    np.testing.assert_allclose(library.references(person)[1][0], reference(1).points, atol=0.006)


def test_a_reference_is_removed_and_put_back_but_never_the_last(library: Library) -> None:
    person = library.add_references("Alice", [reference(1), reference(2)])
    first = person.references[0]
    files = library.reference_files(person, first)
    left = library.remove_reference("Alice", first.id)
    assert [one.id for one in left.references] == [person.references[1].id]
    assert not library.crop_path(person, first).exists()
    with pytest.raises(TooFewReferencesError, match="last reference of 'Alice'"):
        library.remove_reference("Alice", person.references[1].id)
    assert library.put_back_reference("Alice", 0, first, files) == person
    assert library.put_back_reference("Alice", 0, first, files) == person, "twice is once"
    assert library.version(library.person("Alice")) == library.version(person)
