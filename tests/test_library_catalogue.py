"""The catalogue: who has not changed is known without reading their references, and nothing else is believed."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import stat
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from dmdcli import library as library_module
from dmdcli import library_catalogue
from dmdcli.faces.face import Landmarks
from dmdcli.library import Library
from dmdcli.library_catalogue import FILE, Known, mark
from dmdcli.library_exchange import merge_people
from dmdcli.library_files import read_json, write_json
from tests.references import mean_colour, reference

TICK = 0.02
"""Seconds after which files are taken for settled here: more than a tick of the clock where tests run."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_catalogue, "SETTLED", int(TICK * 1e9))


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """Alice with two references, Bob and Carol with one each, written long ago, and known."""
    made = Library(tmp_path / "home", lock_seconds=5)
    made.add_references("Alice", [reference(1), reference(2)])
    for seed, name in enumerate(["Bob", "Carol"], 3):
        made.add_references(name, [reference(seed)])
    for person in made.people():
        made.embeddings(person, "kit", mean_colour)
    settle()
    known(made)
    return made


def settle() -> None:
    time.sleep(2 * TICK)


def known(library: Library) -> dict[str, Known]:
    """What a start of the program finds, by id."""
    again = Library(library.home)
    return again.known(again.people(), "kit", mean_colour)


def truth(library: Library) -> dict[str, tuple[str, list[float]]]:
    """The same of the reference files themselves, by name."""
    found = {}
    for person in Library(library.home).people():
        crops, _ = library.references(person)
        found[person.name] = library.version(person), mean_colour(crops, []).tolist()
    return found


def by_name(library: Library, found: dict[str, Known]) -> dict[str, tuple[str, list[float]]]:
    return {one.name: (found[one.id].version, found[one.id].embeddings.tolist()) for one in library.people()}


def read_by(library: Library, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Start the program; return the names of those of whom a reference or a kept embedding was opened."""
    opened: set[Path] = set()

    def watched(real: Callable[..., object]) -> Callable[..., object]:
        def noted(path: Path, *rest: object) -> object:
            opened.add(path)
            return real(path, *rest)

        return noted

    with monkeypatch.context() as patched:
        for name in ("read", "read_cache", "read_crop", "read_points"):
            patched.setattr(library_module, name, watched(getattr(library_module, name)))
        found = known(library)
    assert by_name(library, found) == truth(library)
    return sorted(one.name for one in library.people() if any(library.folder(one) in path.parents for path in opened))


def test_who_has_not_changed_is_known_without_reading_a_reference(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_by(library, monkeypatch) == []


def test_versions_are_known_without_reading_a_reference(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    correct(library)
    settle()
    again, opened = Library(library.home), []
    real = library_module.read
    with monkeypatch.context() as patched:
        patched.setattr(library_module, "read", lambda path: (opened.append(path), real(path))[1])
        found = again.versions(again.people())
    alice = library.person("Alice")
    assert {path.parent for path in opened} == {library.crop_path(alice, alice.references[0]).parent}, "she has changed"
    assert found == {one.id: library.version(one) for one in library.people()}


@pytest.mark.parametrize("content", [b"", b"no catalogue at all" * 100])
def test_versions_are_right_without_a_catalogue(library: Library, content: bytes) -> None:
    (library.home / FILE).write_bytes(content)
    again = Library(library.home)
    assert again.versions(again.people()) == {one.id: library.version(one) for one in library.people()}


def test_the_order_is_that_of_the_people_asked_for(library: Library) -> None:
    people = [library.person(name) for name in ("Carol", "Alice")]
    assert list(library.known(people, "kit", mean_colour)) == [one.id for one in people]


def correct(library: Library) -> None:
    library.correct_reference("Alice", library.person("Alice").references[1].id, reference(1).points)


def remove(library: Library) -> None:
    library.remove_reference("Alice", library.person("Alice").references[0].id)


def add(library: Library) -> None:
    library.add_references("Alice", [reference(9)])


def edit_by_hand(library: Library) -> None:
    person = library.person("Alice")
    path = library.crop_path(person, person.references[0]).with_suffix(".txt")
    text = path.read_text()
    path.write_text(text.replace("1", "2", 1))
    assert path.stat().st_size == len(text)


def edit_keeping_the_time(library: Library) -> None:
    person = library.person("Alice")
    path = library.crop_path(person, person.references[0]).with_suffix(".txt")
    status = path.stat()
    edit_by_hand(library)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def reorder(library: Library) -> None:
    path = library.folder(library.person("Alice")) / "person.json"
    fields = read_json(path)
    write_json(path, {**fields, "references": fields["references"][::-1]})


@pytest.mark.parametrize("change", [correct, remove, add, edit_by_hand, edit_keeping_the_time, reorder])
def test_a_change_is_seen_at_once_and_only_its_person_is_read_again(
    change: Callable[[Library], None], library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = truth(library)
    change(library)
    assert read_by(library, monkeypatch) == ["Alice"]
    assert truth(library)["Alice"] != before["Alice"]
    settle()
    known(library)
    assert read_by(library, monkeypatch) == []


def test_a_mark_names_the_order_of_references(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_catalogue, "stamp", lambda _: b"the same")
    assert mark(Path(), ["1", "2"]) != mark(Path(), ["2", "1"])


def test_what_changed_just_now_is_not_kept(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_catalogue, "SETTLED", 3_600_000_000_000)
    assert read_by(library, monkeypatch) == ["Alice", "Bob", "Carol"]
    assert read_by(library, monkeypatch) == ["Alice", "Bob", "Carol"]


def test_a_new_name_is_seen_at_once_by_a_program_that_is_running(library: Library) -> None:
    assert [one.name for one in library.people()] == ["Alice", "Bob", "Carol"]
    Library(library.home).rename("Alice", "Zoe")
    assert [one.name for one in library.people()] == ["Bob", "Carol", "Zoe"]
    settle()
    assert [one.name for one in library.people()] == ["Bob", "Carol", "Zoe"]


def test_renaming_makes_nobody_be_read(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library.rename("Alice", "Zoe")
    assert read_by(library, monkeypatch) == []


def test_people_who_were_merged(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    leaving = library.person("Bob")
    embedding = known(library)[leaving.id].embeddings
    merge_people(library, "Alice", "Bob")
    assert leaving.id.encode() not in (library.home / FILE).read_bytes()
    assert embedding.tobytes() not in (library.home / FILE).read_bytes()
    assert read_by(library, monkeypatch) == ["Alice"]
    assert len(truth(library)["Alice"][1]) == 3


def traces(library: Library, person: str, embeddings: np.ndarray) -> list[Path]:
    """Files in which something of a person is left."""
    marks = [person.encode(), *(row.tobytes() for row in embeddings)]
    files = [path for path in library.home.rglob("*") if path.is_file()]
    return [path for path in files if any(mark in path.read_bytes() for mark in marks) or person in str(path)]


def test_forgetting_leaves_nothing(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = library.person("Alice")
    embeddings = known(library)[alice.id].embeddings
    assert library.home / FILE in traces(library, alice.id, embeddings)
    library.forget("Alice")
    assert traces(library, alice.id, embeddings) == []
    assert read_by(library, monkeypatch) == []


def test_forgetting_that_was_killed_is_completed_by_the_next_writer(library: Library) -> None:
    alice = library.person("Alice")
    embeddings = known(library)[alice.id].embeddings
    library.folder(alice).rename(library.home / "people" / f".{alice.id}")
    library.rename("Bob", "Robert")
    assert traces(library, alice.id, embeddings) == []


def test_somebody_removed_by_hand_leaves_with_the_next_start(library: Library) -> None:
    alice = library.person("Alice")
    embeddings = known(library)[alice.id].embeddings
    shutil.rmtree(library.folder(alice))
    known(library)
    assert traces(library, alice.id, embeddings) == []


def test_a_start_that_began_before_does_not_bring_back_who_was_forgotten(library: Library) -> None:
    alice, bob = library.person("Alice"), library.person("Bob")
    (library.home / FILE).unlink()

    def slow(crops: np.ndarray, landmarks: Sequence[Landmarks]) -> np.ndarray:
        if len(crops) == 1:  # Bob's turn, after Alice's
            Library(library.home).forget("Alice")
        return mean_colour(crops, landmarks)

    for path in library.home.rglob("embeddings-*"):
        path.unlink()
    found = library.known([alice, bob], "kit", slow)
    assert set(found) == {alice.id, bob.id}
    assert traces(library, alice.id, found[alice.id].embeddings) == []


def test_it_is_private_and_has_no_names(library: Library) -> None:
    (library.home / FILE).unlink()
    before = os.umask(0)
    try:
        known(library)
    finally:
        os.umask(before)
    assert stat.S_IMODE((library.home / FILE).stat().st_mode) == 0o600
    assert [path.name for path in library.home.iterdir() if path.name.startswith(FILE)] == [FILE]
    assert not any(name in (library.home / FILE).read_bytes() for name in (b"Alice", b"Bob", b"photo"))


def test_two_kits_do_not_mix(library: Library) -> None:
    people = library.people()
    other = library.known(people, "other", lambda crops, _: mean_colour(crops, []) + 1)
    assert library.known(people, "other", mean_colour)[people[0].id].embeddings.tolist() == (
        other[people[0].id].embeddings.tolist()
    )
    assert by_name(library, known(library)) == truth(library)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: random.Random(1).randbytes(len(content)),
        lambda content: content[:16] + random.Random(1).randbytes(len(content) - 16),
        lambda content: content[:60] + b"\0\0\0\7" + content[64:],  # another version
        lambda content: content[:4096] + bytes(len(content) - 4096),
    ],
    ids=["empty", "half", "random", "header", "version", "zeros"],
)
def test_a_damaged_catalogue_is_made_again(
    damage: Callable[[bytes], bytes], library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = library.home / FILE
    path.write_bytes(damage(path.read_bytes()))
    assert read_by(library, monkeypatch) == ["Alice", "Bob", "Carol"]
    assert read_by(library, monkeypatch) == []


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:5000], lambda content: b"x" * 9000])
def test_forgetting_with_a_damaged_catalogue(damage: Callable[[bytes], bytes], library: Library) -> None:
    alice = library.person("Alice")
    embeddings = known(library)[alice.id].embeddings
    path = library.home / FILE
    path.write_bytes(damage(path.read_bytes()))
    library.forget("Alice")
    assert traces(library, alice.id, embeddings) == []
    assert by_name(library, known(library)) == truth(library)


def test_no_wrong_byte_is_believed(library: Library) -> None:
    path = library.home / FILE
    sound, right = path.read_bytes(), truth(library)
    people = library.people()
    used = [place for place, byte in enumerate(sound) if byte]
    for place in random.Random(2).sample(used, 150):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0x41]) + sound[place + 1 :])
        assert by_name(library, library.known(people, "kit", mean_colour)) == right, place


def test_one_that_another_program_holds_is_done_without(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_catalogue, "WAIT", 0.02)
    holder = sqlite3.connect(library.home / FILE, isolation_level=None)
    try:
        holder.execute("BEGIN EXCLUSIVE")
        assert by_name(library, known(library)) == truth(library)
        assert (library.home / FILE).exists()
        alice = library.person("Alice")
        library.forget("Alice")
        assert not (library.home / FILE).exists()
    finally:
        holder.close()
    assert alice.id not in known(library)


def test_several_programs_at_once(library: Library) -> None:
    right = truth(library)
    for _ in range(5):
        (library.home / FILE).unlink()
        with ThreadPoolExecutor(4) as programs:
            found = list(programs.map(lambda _: by_name(library, known(library)), range(4)))
        assert found == [right] * 4
    assert by_name(library, known(library)) == right


def test_what_was_read_before_the_program_was_stopped_is_kept(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    (library.home / FILE).unlink()
    monkeypatch.setattr(library_catalogue, "BATCH", 2)
    real = Library.version

    def version(self: Library, person: library_module.Person) -> str:
        if person.name == "Carol":
            raise KeyboardInterrupt
        return real(self, person)

    with monkeypatch.context() as patched:
        patched.setattr(Library, "version", version)
        with pytest.raises(KeyboardInterrupt):
            known(library)
    assert read_by(library, monkeypatch) == ["Carol"]


def test_nothing_is_made_where_nobody_is_enrolled(tmp_path: Path) -> None:
    empty = Library(tmp_path / "home")
    assert empty.known([], "kit", mean_colour) == {}
    assert not empty.home.exists()


@pytest.mark.skipif(os.name == "nt" or (hasattr(os, "geteuid") and os.geteuid() == 0), reason="root may write anywhere")
def test_a_library_that_cannot_be_written(library: Library) -> None:
    (library.home / FILE).unlink()
    library.home.chmod(0o500)
    try:
        assert by_name(library, known(library)) == truth(library)
    finally:
        library.home.chmod(0o700)


@pytest.mark.skipif(sys.platform != "linux", reason="open files are listed in /proc")
def test_kept_embeddings_leave_no_file_open(library: Library) -> None:
    (library.home / FILE).unlink()
    before = len(list(Path("/proc/self/fd").iterdir()))
    found = known(library)
    assert len(found) == 3
    assert len(list(Path("/proc/self/fd").iterdir())) == before
