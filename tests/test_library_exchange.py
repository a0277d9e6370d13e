"""People merged, exported and imported: what arrives, and what is refused."""

from __future__ import annotations

import json
import random
import stat
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dmdcli.errors import DMDError, LibraryFormatError, LibraryLockedError, PersonExistsError, UsageError
from dmdcli.library import Library
from dmdcli.library_exchange import MANIFEST, export_people, import_people, merge_people
from dmdcli.library_files import ReferenceFiles, encode_crop
from dmdcli.person import Person
from tests.references import files_of, mean_colour, reference

PNG = encode_crop(np.full((512, 512, 3), 9, np.uint8))


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = Library(tmp_path / "home", lock_seconds=0.05)
    library.add_references("Alice", [reference(1), reference(2)])
    library.add_references("Zoë 李", [reference(3)])
    return library


@pytest.fixture
def empty(tmp_path: Path) -> Library:
    return Library(tmp_path / "other", lock_seconds=0.05)


@pytest.fixture
def file(library: Library, tmp_path: Path) -> Path:
    export_people(library, library.people(), tmp_path / "all.zip")
    return tmp_path / "all.zip"


def contents(library: Library) -> dict[str, bytes]:
    return {str(path): (library.home / path).read_bytes() for path in files_of(library) if path.suffix}


def sources(library: Library, name: str) -> list[str]:
    return [Path(one.source).stem for one in library.person(name).references]


def test_what_is_imported_is_what_was_exported(library: Library, empty: Library, file: Path) -> None:
    library.embeddings(library.person("Alice"), "kit", mean_colour)
    found = import_people(empty, file)
    assert [(one.name, one.outcome, one.added) for one in found] == [
        ("Alice", "imported", 2),
        ("Zoë 李", "imported", 1),
    ]
    before = {name: content for name, content in contents(library).items() if "embeddings" not in name}
    assert contents(empty) == before, "the same files, caches left out"
    for person in library.people():
        assert empty.person(person.name) == person
        assert empty.version(person) == library.version(person)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not [name for name in zipfile.ZipFile(file).namelist() if "Zo" in name or "Alice" in name]


def test_the_same_people_give_the_same_file_and_an_existing_one_is_kept(library: Library, file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(UsageError, match="--overwrite"):
        export_people(library, library.people(), file)
    export_people(library, library.people(), file, overwrite=True)
    assert file.read_bytes() == before


def test_importing_again_changes_nothing(library: Library, file: Path) -> None:
    before = contents(library)
    library.rename("Alice", "Anna")
    assert [one.outcome for one in import_people(library, file)] == ["there", "there"]
    library.rename("Anna", "Alice")
    assert contents(library) == before


def test_a_taken_name_is_refused_merged_or_given_another_name(library: Library, empty: Library, file: Path) -> None:
    empty.add_references("ALICE", [reference(2), reference(7)])
    before = contents(empty)
    with pytest.raises(PersonExistsError, match=r"ALICE is enrolled already.*--merge"):
        import_people(empty, file)
    assert contents(empty) == before, "nor is anybody else imported"
    planned = import_people(empty, file, merge=True, dry_run=True)
    assert contents(empty) == before
    done = import_people(empty, file, merge=True)
    assert [(one.outcome, one.added, one.duplicates) for one in done] == [("merged", 1, 1), ("imported", 1, 0)]
    assert [replace(one, person=done[0].person) for one in planned] == [
        replace(one, person=done[0].person) for one in done
    ]
    assert sources(empty, "Alice") == ["photo 2", "photo 7", "photo 1"]
    export_people(library, [library.person("Alice")], file, overwrite=True)
    (third,) = import_people(empty, file, name="Anna")
    assert (third.outcome, third.person.id) == ("imported", library.person("Alice").id)
    with pytest.raises(PersonExistsError):
        import_people(empty, file, name="zoë 李")
    (fourth,) = import_people(empty, file, name="Annika")
    assert fourth.person.id != third.person.id


def test_somebody_who_got_another_name_and_references_is_still_the_same_person(library: Library, file: Path) -> None:
    library.rename("Alice", "Anna")
    person = library.add_references("Anna", [reference(8)])
    with pytest.raises(PersonExistsError, match="Anna is enrolled already"):
        import_people(library, file)
    done = import_people(library, file, merge=True)
    assert [(one.outcome, one.person.name) for one in done] == [("there", "Anna"), ("there", "Zoë 李")]
    assert library.person("Anna") == person


def test_one_name_is_for_one_person(empty: Library, file: Path) -> None:
    with pytest.raises(UsageError, match="2 people"):
        import_people(empty, file, name="Anna")
    assert not empty.home.exists()


def test_merging_keeps_every_picture_once(library: Library) -> None:
    alicia = library.add_references("Alicia", [reference(2), reference(5)])
    library.embeddings(library.person("Alice"), "kit", mean_colour)
    before, id_before = contents(library), library.person("Alice").id
    expected, duplicates = merge_people(library, "alice", "alicia", dry_run=True)
    assert contents(library) == before
    merged, _ = merge_people(library, "alice", "alicia")
    assert (replace(expected, references=()), duplicates) == (replace(merged, references=()), 1)
    assert (merged.id, sources(library, "Alice")) == (id_before, ["photo 1", "photo 2", "photo 5"])
    assert not library.folder(alicia).exists()
    assert [cache.current for cache in library.caches(merged)] == [False]
    assert library.embeddings(merged, "kit", mean_colour).shape == (3, 3)
    library.references(merged)
    assert (library.person("Alice").formerly, expected.formerly) == ((alicia.id,), (alicia.id,))
    with pytest.raises(UsageError, match="one person"):
        merge_people(library, "Alice", "ALICE")


def test_former_ids_are_kept_wherever_a_person_goes(library: Library, empty: Library, file: Path) -> None:
    alicia, zoe = library.add_references("Alicia", [reference(5)]), library.person("Zoë 李")
    alice, _ = merge_people(library, "Alice", "Alicia")
    assert merge_people(library, "Zoë 李", "Alice")[0].ids == (zoe.id, alice.id, alicia.id)
    assert library.rename("Zoë 李", "Zoe").formerly == (alice.id, alicia.id)
    export_people(library, library.people(), file, overwrite=True)
    there = empty.add_references("Zoe", [reference(number) for number in (3, 1, 2, 5)])
    (done,) = import_people(empty, file, merge=True)
    assert (done.outcome, done.added) == ("merged", 0)
    assert empty.person("Zoe").ids == (there.id, zoe.id, alice.id, alicia.id)
    assert import_people(empty, file, merge=True)[0].outcome == "there"
    (other,) = import_people(empty, file, name="Anna")
    assert other.person.formerly == (alice.id, alicia.id)
    (third,) = import_people(empty, file, name="Annika")
    assert third.person.formerly == (), "of two with one past, the first has it"


@pytest.mark.parametrize("formerly", [["a"], "ab", [3], 3])
def test_former_ids_that_are_none_are_refused(library: Library, formerly: object) -> None:
    """Whatever stands there would be removed from journals, wherever it is part of a text."""
    path = library.folder(library.person("Alice")) / "person.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "formerly": formerly}))
    with pytest.raises(LibraryFormatError, match="damaged"):
        library.people()


def test_a_merge_that_was_broken_off_is_completed_by_another(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library.add_references("Alicia", [reference(5)])

    def killed(person: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(library, "remove", killed)
        with pytest.raises(KeyboardInterrupt):
            merge_people(library, "Alice", "Alicia")
    assert [one.name for one in library.people()] == ["Alice", "Alicia", "Zoë 李"]
    _, duplicates = merge_people(library, "Alice", "Alicia")
    assert (duplicates, sources(library, "Alice")) == (1, ["photo 1", "photo 2", "photo 5"])


def test_an_import_that_was_broken_off_goes_on(empty: Library, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep, kept = empty.keep, []

    def killed(person: Person, files: Mapping[str, ReferenceFiles]) -> None:
        if kept:
            raise KeyboardInterrupt
        kept.append(person)
        keep(person, files)

    with monkeypatch.context() as patched:
        patched.setattr(empty, "keep", killed)
        with pytest.raises(KeyboardInterrupt):
            import_people(empty, file)
    assert [one.name for one in empty.people()] == ["Alice"]
    assert [one.outcome for one in import_people(empty, file)] == ["there", "imported"]


def test_landmarks_corrected_by_hand_are_kept(library: Library) -> None:
    moved = reference(2).points + np.float32(3)
    library.add_references("Alicia", [replace(reference(2), points=moved, landmark_source="corrected")])
    merged, duplicates = merge_people(library, "Alice", "Alicia")
    assert (duplicates, [one.landmark_source for one in merged.references]) == (1, ["detected", "corrected"])
    np.testing.assert_allclose(library.references(merged)[1][1], moved, atol=0.01)
    merge_people(library, "Zoë 李", "Alice")
    assert sources(library, "Zoë 李") == ["photo 3", "photo 1", "photo 2"]


def test_writers_wait_for_each_other(library: Library, file: Path) -> None:
    with library.writing():
        for act in (lambda other: import_people(other, file), lambda other: merge_people(other, "Alice", "Zoë 李")):
            with pytest.raises(LibraryLockedError):
                act(Library(library.home, lock_seconds=0.01))


def repacked(file: Path, change: Callable[[dict[str, bytes]], Any], **options: Any) -> None:
    """Write the export again after `change` was made to its members."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(file, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def first(members: dict[str, bytes], ending: str) -> str:
    return next(name for name in members if name.endswith(ending) and name != MANIFEST)


def said(**fields: Any) -> Callable[[dict[str, bytes]], Any]:
    return lambda members: members.update({MANIFEST: json.dumps(json.loads(members[MANIFEST]) | fields).encode()})


def described(**fields: Any) -> Callable[[dict[str, bytes]], Any]:
    def change(members: dict[str, bytes]) -> None:
        place = first(members, ".json")
        members[place] = json.dumps(json.loads(members[place]) | fields).encode()

    return change


def with_content(ending: str, content: bytes) -> Callable[[dict[str, bytes]], Any]:
    return lambda members: members.update({first(members, ending): content})


ENORMOUS = PNG[:16] + (60000).to_bytes(4, "big") * 2 + PNG[24:]
HEAD = b"IHDR" + (60000).to_bytes(4, "big") * 2 + PNG[24:29]
TWO_HEADS = PNG[:33] + PNG[8:12] + HEAD + zlib.crc32(HEAD).to_bytes(4, "big") + PNG[33:]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (said(format=2), LibraryFormatError, r"format 2.*up to format 1"),
        (said(format="1"), LibraryFormatError, "names no format"),
        (said(people=["../../x"]), LibraryFormatError, "who is in it"),
        (said(people=["0" * 16]), LibraryFormatError, "not whole"),
        (lambda members: members.pop(MANIFEST), UsageError, "not made by"),
        (lambda members: members.update({"../../../evil.txt": b"x"}), LibraryFormatError, "other files"),
        (lambda members: members.update({"people/": b""}), LibraryFormatError, "other files"),
        (lambda members: members.update({"evil.exe": b"x"}), LibraryFormatError, "something else than dmd"),
        (lambda members: members.pop(first(members, ".txt")), LibraryFormatError, "other files"),
        (lambda members: members.pop(first(members, ".json")), LibraryFormatError, "not whole"),
        (with_content(".json", b"["), LibraryFormatError, "damaged"),
        (with_content(".json", b"[" * 100_000), LibraryFormatError, "damaged"),
        (with_content(".json", b" " * (5 << 20)), LibraryFormatError, "something else than dmd"),
        (described(name="../evil"), LibraryFormatError, "slash"),
        (described(name="ZOE\u0308 李"), LibraryFormatError, "cannot be right"),
        (described(references=[]), LibraryFormatError, "damaged"),
        (described(references=[{"id": "../../../../evil"}]), LibraryFormatError, "damaged"),
        (with_content(".txt", b"nan 1\n" * 68), LibraryFormatError, "68 lines"),
        (with_content(".txt", b"1e30 1\n" * 68), LibraryFormatError, "68 lines"),
        (with_content(".txt", b"1 1\n" * 67), LibraryFormatError, "68 lines"),
        (with_content(".png", b"GIF89a"), LibraryFormatError, "no 512 x 512 RGB crop"),
        (with_content(".png", ENORMOUS), LibraryFormatError, "no 512 x 512 RGB crop"),
        (with_content(".png", TWO_HEADS), LibraryFormatError, "is damaged"),
        (with_content(".png", PNG[:1500]), LibraryFormatError, "damaged"),
        (with_content(".png", PNG + b"\0" * (2 << 20)), LibraryFormatError, "something else than dmd"),
    ],
)
def test_what_dmd_did_not_write_is_refused(
    empty: Library, file: Path, change: Callable[[dict[str, bytes]], Any], error: type[DMDError], message: str
) -> None:
    repacked(file, change)
    with pytest.raises(error, match=message):
        import_people(empty, file)
    assert not empty.home.exists()
    assert not list(file.parent.rglob("*evil*"))


def test_bombs_are_refused_unopened(empty: Library, file: Path) -> None:
    repacked(file, lambda members: None, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(LibraryFormatError, match="packed again"):
        import_people(empty, file)


def test_what_is_no_zip_is_refused(empty: Library, file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        import_people(empty, tmp_path / "missing.zip")
    with pytest.raises(UsageError, match="cannot be read"):
        import_people(empty, tmp_path)
    file.write_text("no zip")
    with pytest.raises(LibraryFormatError, match="no zip file"):
        import_people(empty, file)


def test_damage_is_found_or_does_no_harm(empty: Library, library: Library, file: Path) -> None:
    """Bytes changed, cut off and doubled at random; what is not refused is what was exported."""
    whole, chance = file.read_bytes(), random.Random(3)
    for _ in range(120):
        content = bytearray(whole)
        place = chance.choice([chance.randrange(len(content)), len(content) - chance.randrange(1, 900)])
        kind = chance.randrange(4)
        if kind == 0:
            del content[place:]
        elif kind == 1:
            content[place:place] = content[place : place + chance.randrange(1, 400)]
        else:
            content[place] ^= 1 << chance.randrange(8)
        file.write_bytes(content)
        try:
            import_people(empty, file, dry_run=True)
        except DMDError:
            continue
        import_people(empty, file)
        assert {person.name for person in empty.people()} <= {"Alice", "Zoë 李"}
        for person in empty.people():
            assert empty.version(person) == library.version(library.person(person.name))
            empty.forget(person.name)
