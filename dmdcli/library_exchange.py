"""People put together, and carried from one library to another: merge, export, import.

An export is one zip of the people's names, reference crops and landmarks, described in `docs/library-format.md`. When
one is read nothing in it is believed: it is looked through as a whole before anything of it is kept, and no member
is ever unpacked under a name of its own.
"""

from __future__ import annotations

import json
import re
import secrets
import struct
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from dmdcli.errors import CannotGoOnError, LibraryFormatError, PersonExistsError, UsageError
from dmdcli.library import Library
from dmdcli.library_files import ReferenceFiles, decode_crop, decode_points, digest_of_references, encode_json, whole
from dmdcli.person import Person, Reference, check_name, person_fields, person_of, same_name

FORMAT = 1
"""Version of an export; one of a higher one is refused."""
MANIFEST = "dmd-people.json"
"""The first member of an export."""
LARGEST = {".json": 4 << 20, ".png": 2 << 20, ".txt": 1 << 16}
"""Bytes a member may have; a crop has at most 0.8 MB of pixels."""
MOST_MEMBERS = 200_000
MADE = (1980, 1, 1, 0, 0, 0)
"""The date of every member, the earliest a zip can say: the same people give the same bytes."""
CURE = "Get it again from where it was made with `dmd people export`."


@dataclass(frozen=True)
class Imported:
    """What became of one person of an export.

    name: in the export. person: who they are in the library now, or under a dry run would be. outcome: "imported" as
    somebody new; "merged" into somebody enrolled; "there": the same person with the same references is enrolled.
    added: references added. duplicates: references that were there already.
    """

    name: str
    person: Person
    outcome: Literal["imported", "merged", "there"]
    added: int
    duplicates: int


def merge_people(library: Library, name: str, other: str, *, dry_run: bool = False) -> tuple[Person, int]:
    """Give the references of the person called `other` to the one called `name`, and remove `other`.

    Returns the person as they are then, and how many references of `other` they had already. Those are one picture:
    the same photo or the same crop. One whose landmarks were corrected by hand takes the place of one whose were not.
    The person is known by the ids of both. A merge that was broken off is completed by the same call. Raises
    UnknownPersonError, UsageError for one person.
    """
    if library.person(name).id == library.person(other).id:
        raise UsageError(f"{name!r} and {other!r} are one person; there is nothing to merge.")
    with nullcontext() if dry_run else library.writing():
        person, leaving = library.person(name), library.person(other)
        files = {one.id: library.reference_files(leaving, one) for one in leaving.references}
        joined, new = _join(library, person, leaving, files)
        if not dry_run:
            library.keep(joined, new)
            library.remove(leaving)
        return joined, len(person.references) + len(leaving.references) - len(joined.references)


def export_people(library: Library, people: Sequence[Person], file: Path, *, overwrite: bool = False) -> None:
    """Write people with their references into one zip, which appears whole or not at all, readable by the user only.

    Raises UsageError where `file` exists and is not to be overwritten, CannotGoOnError where it cannot be written,
    LibraryFormatError for damaged references.
    """
    try:
        if file.is_dir():
            raise UsageError(f"{file} is a folder; name a file to write.")
        if file.exists() and not overwrite:
            raise UsageError(f"{file} exists; --overwrite writes it again.")
        with whole(file) as target, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(_member(MANIFEST), encode_json({"format": FORMAT, "people": [one.id for one in people]}))
            for person in people:
                archive.writestr(_member(f"people/{person.id}/person.json"), encode_json(person_fields(person)))
                for reference in person.references:
                    files = library.reference_files(person, reference)
                    cure = "Forget the person and enrol them again."
                    _check_reference(files, str(library.crop_path(person, reference)), cure)
                    for place, content in zip(_places(person, reference), files, strict=True):
                        archive.writestr(_member(place), content)
    except OSError as error:
        raise CannotGoOnError(f"{file} cannot be written ({error.strerror or error}).") from error


def import_people(
    library: Library, file: Path, *, name: str | None = None, merge: bool = False, dry_run: bool = False
) -> list[Imported]:
    """Enrol the people of an export; all of them are looked at before the first is kept.

    name: what to call the one person of it. merge: references of people who are enrolled already, by the id or else
    the name, are added to theirs. People keep their ids where those are free, so that journals still know them.
    Raises UsageError for what is no export, LibraryFormatError for a damaged or newer one, PersonExistsError for people
    who are enrolled already, unless with the same references, and what else a library raises.
    """
    with _opened(file) as (people, files_of):
        if name is not None:
            if len(people) != 1:
                raise UsageError(f"{file} holds {len(people)} people; --as names one. Import them without it.")
            people = [replace(people[0], name=check_name(name))]
        with nullcontext() if dry_run else library.writing():
            enrolled = library.people()
            _refuse_taken(library, people, enrolled, files_of, named=name is not None, merge=merge)
            done = []
            for person in people:
                files = {one.id: files_of(person, one) for one in person.references}
                known = _known(person, enrolled, by_id=name is None)
                found, new = _imported(library, person, known, files, {one.id for one in enrolled})
                if not dry_run and found.outcome != "there":
                    library.keep(found.person, new)
                    enrolled = library.people()
                done.append(found)
            return done


FilesOf = Callable[[Person, Reference], ReferenceFiles]


def _known(person: Person, enrolled: Sequence[Person], *, by_id: bool) -> Person | None:
    """Who of the enrolled somebody of an export is: by the id, or else by the name."""
    same = [one for one in enrolled if by_id and one.id == person.id]
    return next(iter([*same, *(one for one in enrolled if same_name(one.name, person.name))]), None)


def _refuse_taken(
    library: Library,
    people: Sequence[Person],
    enrolled: Sequence[Person],
    files_of: FilesOf,
    *,
    named: bool,
    merge: bool,
) -> None:
    """PersonExistsError where somebody is enrolled already with other references, and is not to be merged."""
    taken = []
    for person in people:
        known = _known(person, enrolled, by_id=not named)
        if known is None or merge:
            continue
        files = [files_of(person, one) for one in person.references]
        if named or known.id != person.id or digest_of_references(files) != library.version(known):
            taken.append(known.name)
    if taken:
        are = "is enrolled" if len(taken) == 1 else "are enrolled"
        other = " --as NAME calls them something else." if len(people) == 1 else ""
        raise PersonExistsError(
            f"{', '.join(taken)} {are} already, with other references; nothing was imported. --merge adds the "
            f"references to theirs.{other}"
        )


def _imported(
    library: Library,
    person: Person,
    known: Person | None,
    files: Mapping[str, ReferenceFiles],
    taken_ids: Collection[str],
) -> tuple[Imported, dict[str, ReferenceFiles]]:
    """What becomes of one person, and the files that are to be written for it."""
    if known is None:
        person_id = secrets.token_hex(8) if person.id in taken_ids else person.id
        formerly = person.formerly if person_id == person.id else ()  # theirs is who has the id
        newcomer = replace(person, id=person_id, formerly=formerly)
        return Imported(person.name, newcomer, "imported", len(files), 0), dict(files)
    joined, new = _join(library, known, person, files)
    duplicates = len(known.references) + len(files) - len(joined.references)
    outcome: Literal["merged", "there"] = "there" if joined == known else "merged"
    return Imported(person.name, joined, outcome, len(files) - duplicates, duplicates), new


def _join(
    library: Library, person: Person, leaving: Person, files: Mapping[str, ReferenceFiles]
) -> tuple[Person, dict[str, ReferenceFiles]]:
    """A person with the references and ids of another, and the files of those that are new; see `merge_people`."""
    joined, new = list(person.references), {}
    crops = [library.reference_files(person, one)[0] for one in joined]
    for theirs in leaving.references:
        crop, _ = files[theirs.id]
        same = (place for place, one in enumerate(joined) if one.digest == theirs.digest or crops[place] == crop)
        place = next(same, None)
        if place is not None and (theirs.landmark_source, joined[place].landmark_source) != ("corrected", "detected"):
            continue
        taken = {one.id for one in (*person.references, *joined)}
        kept = replace(theirs, id=secrets.token_hex(8)) if theirs.id in taken else theirs
        new[kept.id] = files[theirs.id]
        if place is None:
            joined.append(kept)
            crops.append(crop)
        else:
            joined[place], crops[place] = kept, crop
    formerly = tuple(one for one in dict.fromkeys((*person.formerly, *leaving.ids)) if one != person.id)
    return replace(person, references=tuple(joined), formerly=formerly), new


def _places(person: Person, reference: Reference) -> tuple[str, str]:
    """Where a reference's two files are in an export."""
    place = f"people/{person.id}/references/{reference.id}"
    return f"{place}.png", f"{place}.txt"


def _member(place: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(place, MADE)
    member.external_attr = 0o600 << 16
    return member


def _check_reference(files: ReferenceFiles, label: str, cure: str) -> None:
    """Raise LibraryFormatError for anything but a crop and its landmarks. label: says in messages what it is."""
    try:
        decode_crop(files[0])
        decode_points(files[1])
    except ValueError as error:
        raise LibraryFormatError(f"{label} is damaged ({error}). {cure}") from error


@contextmanager
def _opened(file: Path) -> Iterator[tuple[list[Person], FilesOf]]:
    """The people of an export, each checked to the last pixel, and what reads the files of their references."""
    with _readable(file):
        archive = zipfile.ZipFile(file)

    def files_of(person: Person, reference: Reference) -> ReferenceFiles:
        crop, points = _places(person, reference)
        return _read(archive, file, crop), _read(archive, file, points)

    with archive:
        people = _read_people(archive, file)
        for person in people:
            for reference in person.references:
                _check_reference(files_of(person, reference), f"{file}: reference {reference.id}", CURE)
        yield people, files_of


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Say in one sentence why a zip file cannot be read; zipfile has many ways to put it."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{file} cannot be read ({error.strerror or error}).") from error
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, struct.error) as error:
        raise LibraryFormatError(f"{file} is damaged or no zip file ({error}). {CURE}") from error


def _read_people(archive: zipfile.ZipFile, file: Path) -> list[Person]:
    """Who is in an export. Everything but the crops and landmarks is looked at."""
    members = archive.infolist()
    if MANIFEST not in archive.NameToInfo:
        raise UsageError(f"{file} was not made by `dmd people export`: there is no {MANIFEST} in it.")
    stored = sum(member.file_size for member in members)
    ours = all(
        member.compress_type == zipfile.ZIP_STORED
        and member.compress_size == member.file_size <= LARGEST.get(Path(member.filename).suffix, 0)
        and not member.flag_bits
        for member in members
    )
    if not ours or len(members) > MOST_MEMBERS or stored > file.stat().st_size:  # members that overlap are a bomb
        raise LibraryFormatError(f"{file} was packed again, or made by something else than dmd. {CURE}")
    manifest = _read_json(archive, file, MANIFEST)
    found = manifest.get("format")
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise LibraryFormatError(f"{file} names no format. {CURE}")
    if found > FORMAT:
        raise LibraryFormatError(
            f"{file} has format {found}; this version of dmd reads up to format {FORMAT}. Install a newer dmd."
        )
    ids = manifest.get("people")
    if not isinstance(ids, list) or not all(isinstance(one, str) and re.fullmatch("[0-9a-f]{16}", one) for one in ids):
        raise LibraryFormatError(f"{file} does not say who is in it. {CURE}")
    people: list[Person] = []
    expected = [MANIFEST]
    for one in ids:
        place = f"people/{one}/person.json"
        person = person_of(_read_json(archive, file, place), one, f"{place} in {file}")
        _check_person(person, people, file)
        people.append(person)
        expected += [place, *(inner for reference in person.references for inner in _places(person, reference))]
    if sorted(expected) != sorted(member.filename for member in members):
        odd = sorted(set(expected) ^ {member.filename for member in members}) or ["a file twice"]
        raise LibraryFormatError(f"{file} holds other files than it says: {odd[0]}. {CURE}")
    return people


def _check_person(person: Person, before: Sequence[Person], file: Path) -> None:
    """Raise LibraryFormatError for what `dmd people export` would not have written."""
    try:
        right = check_name(person.name) == person.name
    except UsageError as error:
        raise LibraryFormatError(f"{file}: {error}") from error
    ids = [reference.id for reference in person.references]
    right = right and len(set(ids)) == len(ids) and all(re.fullmatch("[0-9a-f]{16}", one) for one in ids)
    right = right and all(one.landmark_source in ("detected", "corrected") for one in person.references)
    if not right or any(one.id == person.id or same_name(one.name, person.name) for one in before):
        raise LibraryFormatError(f"{file}: what it says of {person.name!r} cannot be right. {CURE}")


def _read(archive: zipfile.ZipFile, file: Path, place: str) -> bytes:
    """The bytes of a member; its size is known to be small, and they are checked against its checksum."""
    if place not in archive.NameToInfo:
        raise LibraryFormatError(f"{file} is not whole: {place} is missing. {CURE}")
    with _readable(file):
        return archive.read(place)


def _read_json(archive: zipfile.ZipFile, file: Path, place: str) -> dict[str, Any]:
    try:
        fields = json.loads(_read(archive, file, place))
    except (ValueError, RecursionError) as error:
        raise LibraryFormatError(f"{place} in {file} is damaged. {CURE}") from error
    if not isinstance(fields, dict):
        raise LibraryFormatError(f"{place} in {file} is damaged. {CURE}")
    return fields
