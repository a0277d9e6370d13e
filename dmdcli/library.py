"""The enrolled people on disk: their aligned reference crops and landmarks, and what networks made of them.

The crops and landmarks are the truth. Dictionaries and embeddings are caches: each says in its header what it was made
from and by, and is made again by the next command that needs it when that no longer holds. `docs/library-format.md`
describes the files. Reading never creates anything; writing is atomic, private to the user, and one writer at a time.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import platformdirs

from dmdcli.errors import (
    CannotGoOnError,
    LibraryFormatError,
    LibraryLockedError,
    PersonExistsError,
    TooFewReferencesError,
    UnknownPersonError,
    UsageError,
)
from dmdcli.faces.face import Landmarks, component_boxes
from dmdcli.library_catalogue import Catalogue, Known, mark, stamp
from dmdcli.library_files import (
    FARTHEST,
    POINTS,
    Arrays,
    Cache,
    ReferenceFiles,
    cache_header,
    check_format,
    check_points,
    decode_points,
    digest_of_references,
    encode_crop,
    encode_points,
    find_caches,
    locked,
    make_private,
    read,
    read_cache,
    read_crop,
    read_json,
    read_points,
    remove_unlisted,
    write,
    write_cache,
    write_json,
)
from dmdcli.person import Person, Reference, check_name, person_fields, person_of, same_name
from dmdcli.shapes import CROP, ComponentBoxes, Pixels, Points, check_shape

LOCK_SECONDS = 5.0
"""How long a writer waits for another one."""

Embed: TypeAlias = Callable[[Pixels, Sequence[Landmarks]], npt.NDArray[np.float32]]
"""Crops (N, 512, 512, 3) uint8 and their landmarks -> their embeddings (N, D) float32, as `FaceKit.embed`."""
Memorize: TypeAlias = Callable[[Pixels, ComponentBoxes], Arrays]
"""crops (N, 512, 512, 3) uint8, boxes (N, 3, 4) int64 in crop pixels -> a dictionary's 18 named arrays."""


@dataclass(frozen=True)
class NewReference:
    """A reference to add. crop: (512, 512, 3) uint8 RGB. points: (68, 2) float32 in crop pixels."""

    crop: Pixels = field(repr=False)
    points: Points = field(repr=False)
    source: Path
    sharpness: float
    digest: str
    landmark_source: Literal["detected", "corrected"] = "detected"


class Library:
    """The enrolled people in the folder `home`; without one, in the platform's data folder for `dmd`.

    A folder that does not exist reads as a library without people and is made by the first enrolment.
    """

    def __init__(self, home: Path | None = None, *, lock_seconds: float = LOCK_SECONDS) -> None:
        self.home = home if home is not None else Path(platformdirs.user_data_dir("dmd", appauthor=False))
        self._people = self.home / "people"
        self._lock_seconds = lock_seconds
        self._catalogue = Catalogue(self.home)
        self._seen: dict[str, tuple[bytes | None, Person]] = {}  # id -> stamp of person.json, what it says

    # Reading

    def people(self) -> list[Person]:
        """Return everybody enrolled, by name. Raises LibraryFormatError for damaged files or a newer format."""
        check_format(self.home)
        if not self._people.is_dir():
            return []
        folders = [folder for folder in self._people.iterdir() if not folder.name.startswith(".")]
        found = [self._read_person(folder) for folder in folders]
        return sorted((person for person in found if person), key=lambda person: (person.name.casefold(), person.id))

    def person(self, name: str) -> Person:
        """Return the person of that name, in whatever letter case. Raises UnknownPersonError with near names."""
        wanted = check_name(name)
        people = self.people()
        for person in people:
            if same_name(person.name, wanted):
                return person
        raise UnknownPersonError(wanted, [person.name for person in people])

    def references(self, person: Person) -> tuple[Pixels, Points]:
        """Return crops (N, 512, 512, 3) uint8 RGB and landmarks (N, 68, 2) float32 in crop pixels, N at least 1."""
        crops = [read_crop(self.crop_path(person, reference)) for reference in person.references]
        points = [read_points(self._points_path(person, reference)) for reference in person.references]
        return np.stack(crops), np.stack(points)

    def version(self, person: Person) -> str:
        """Return what names the references as they are now: a digest over their files, in the person's order."""
        return digest_of_references(self.reference_files(person, reference) for reference in person.references)

    def reference_files(self, person: Person, reference: Reference) -> ReferenceFiles:
        """Return the bytes of a reference's two files."""
        return read(self.crop_path(person, reference)), read(self._points_path(person, reference))

    def versions(self, people: Iterable[Person]) -> dict[str, str]:
        """As `version`, by the ids of people; nothing is read of references that the catalogue knows as they are."""
        asked = {person.id: person for person in people}
        found = self._catalogue.versions(self._marks(asked.values()))
        return {one: found.get(one) or self.version(person) for one, person in asked.items()}

    def caches(self, person: Person, version: str | None = None) -> list[Cache]:
        """Return what has been made from the person's references so far. version: theirs, where it is known."""
        return find_caches(self.folder(person), version or self.version(person))

    # Caches, made when they are missing or stale

    def embeddings(self, person: Person, kit: str, embed: Embed) -> npt.NDArray[np.float32]:
        """Return one embedding per reference, (N, D) float32, as the kit `kit` makes them.

        kit: names the kit and its weights, letters, digits, `.`, `_` and `-` only. embed: called only when the cache
        is missing or was made from other references.
        """
        return self._embeddings(person, kit, embed, self.version(person))

    def known(self, people: Iterable[Person], kit: str, embed: Embed) -> dict[str, Known]:
        """Return the version and the embeddings of people, by their ids, in their order; `kit`, `embed` as above.

        Nothing is read of references that have not changed since they were last read for this: the catalogue knows.
        """

        def read(person_id: str) -> Known:
            version = self.version(asked[person_id])
            return Known(version, self._embeddings(asked[person_id], kit, embed, version))

        asked = {person.id: person for person in people}
        return self._catalogue.recall(kit, self._marks(asked.values()), read)

    def _marks(self, people: Iterable[Person]) -> dict[str, bytes | None]:
        return {one.id: mark(self.folder(one) / "references", (each.id for each in one.references)) for one in people}

    def _embeddings(self, person: Person, kit: str, embed: Embed, version: str) -> npt.NDArray[np.float32]:
        def make() -> Arrays:
            crops, points = self.references(person)
            landmarks = [
                Landmarks(shape, source=reference.landmark_source)
                for reference, shape in zip(person.references, points, strict=True)
            ]
            return {"embeddings": embed(crops, landmarks).astype(np.float32)}

        kept = self._cached(person, "embeddings", kit, version, make)["embeddings"]
        found = np.array(kept, np.float32)  # a file that stays mapped stays open, and there may be thousands
        check_shape("embeddings", found, (len(person.references), None), np.float32)
        return found

    def dictionary(self, person: Person, weights_id: str, memorize: Memorize) -> Arrays:
        """Return the arrays of the person's specific dictionary, one entry per reference.

        weights_id: names the network's weights, letters, digits, `.`, `_` and `-` only. memorize: called only when the
        cache is missing or was made from other references.
        """

        def make() -> Arrays:
            crops, points = self.references(person)
            return memorize(crops, np.stack([component_boxes(face) for face in points]))

        return self._cached(person, "dictionary", weights_id, self.version(person), make)

    # Writing

    def add_references(self, name: str, new: Sequence[NewReference]) -> Person:
        """Add references to the person of that name, who is enrolled by it if nobody has the name. All or nothing.

        Raises TooFewReferencesError when `new` is empty, LibraryLockedError, CannotGoOnError when it cannot be written.
        """
        kept_name = check_name(name)
        if not new:
            raise TooFewReferencesError(f"No reference of {kept_name!r} to add.")
        for addition in new:
            check_shape("crop", addition.crop, (CROP, CROP, 3), np.uint8)
            check_shape("points", addition.points, (POINTS, 2), np.float32)
        with self.writing():
            known = next((person for person in self.people() if same_name(person.name, kept_name)), None)
            now = datetime.now(timezone.utc).isoformat(timespec="seconds")
            added = {
                Reference(
                    id=secrets.token_hex(8),
                    source=str(addition.source.absolute()),
                    added=now,
                    sharpness=round(float(addition.sharpness), 4),
                    landmark_source=addition.landmark_source,
                    digest=addition.digest,
                ): (encode_crop(addition.crop), encode_points(addition.points))
                for addition in new
            }
            person = known or Person(secrets.token_hex(8), kept_name, ())
            person = replace(person, references=(*person.references, *added))
            self.keep(person, {reference.id: files for reference, files in added.items()})
            return person

    def correct_reference(
        self,
        name: str,
        reference: str,
        points: Points,
        source: Literal["detected", "corrected"] = "corrected",
        seen: Points | None = None,
    ) -> Person:
        """Give a reference of a person other landmarks, (68, 2) float32 in crop pixels; reference: its id.

        What was made of the references is stale from then on. seen: the landmarks it is to have until then, None: any.
        Raises UnknownPersonError, ReferenceChangedError where it has others or there is no such reference, UsageError
        where a point is far out of the crop, LibraryLockedError, CannotGoOnError.
        """
        check_shape("points", points, (POINTS, 2), np.float32)
        if not (np.abs(points) <= FARTHEST).all():  # what is no number is not within
            raise UsageError("A point lies far out of the picture; move it back, or undo.")
        with self.writing():
            person = self.person(name)
            known = person.reference(reference)
            check_points(self._points_path(person, known), seen)
            crop, _ = self.reference_files(person, known)
            given = replace(known, landmark_source=source)
            changed = person.with_references(given if one is known else one for one in person.references)
            self.keep(changed, {reference: (crop, encode_points(points))})
            return changed

    def remove_reference(self, name: str, reference: str, seen: Points | None = None) -> Person:
        """Remove a reference by its id. Raises as `correct_reference`; TooFewReferencesError for the last one."""
        with self.writing():
            person = self.person(name)
            known = person.reference(reference)
            check_points(self._points_path(person, known), seen)
            if len(person.references) == 1:
                raise TooFewReferencesError(
                    f"It is the last reference of {person.name!r}. Add a better one first, or `dmd people forget` them."
                )
            changed = person.with_references(one for one in person.references if one is not known)
            self.keep(changed, {})
            self._sweep()
            return changed

    def put_back_reference(self, name: str, place: int, reference: Reference, files: ReferenceFiles) -> Person:
        """Put a reference that was removed back as the one with number `place`, counted from 0, of the person.

        Raises ReferenceChangedError where it is there again with other landmarks.
        """
        with self.writing():
            person = self.person(name)
            if any(one.id == reference.id for one in person.references):
                check_points(self._points_path(person, reference), decode_points(files[1]))
                return person
            changed = person.with_references((*person.references[:place], reference, *person.references[place:]))
            self.keep(changed, {reference.id: files})
            return changed

    def rename(self, name: str, new_name: str) -> Person:
        """Give a person another name. Raises UnknownPersonError; PersonExistsError when the name is somebody else's."""
        kept_name = check_name(new_name)
        self.person(name)
        with self.writing():
            person = self.person(name)
            self.check_free(person, kept_name)
            renamed = replace(person, name=kept_name)
            self.keep(renamed, {})
            return renamed

    def check_free(self, person: Person, name: str) -> None:
        """Raise PersonExistsError where somebody else has the name."""
        for other in self.people():
            if other.id != person.id and same_name(other.name, name):
                raise PersonExistsError(f"{other.name!r} is enrolled already; choose another name or forget them.")

    def forget(self, name: str) -> list[Path]:
        """Remove everything known of a person and return the files that were removed. Raises UnknownPersonError."""
        self.person(name)
        with self.writing():
            return self.remove(self.person(name))

    def keep(self, person: Person, files: Mapping[str, ReferenceFiles]) -> None:
        """Within `writing`: put what is known of a person in place, of one who is new all at once or nothing.

        files: id -> files of the references that are new.
        """
        final = self.folder(person)
        folder = final if final.exists() else self._people / f".{person.id}"
        make_private(folder / "references")
        for reference, (crop, points) in files.items():
            write(folder / "references" / f"{reference}.png", crop)
            write(folder / "references" / f"{reference}.txt", points)
        write_json(folder / "person.json", person_fields(person))
        if folder != final:
            folder.rename(final)

    def remove(self, person: Person) -> list[Path]:
        """Within `writing`: remove everything known of a person and return the files that were removed."""
        folder = self.folder(person)
        files = sorted(path for path in folder.rglob("*") if not path.is_dir())
        leaving = self._people / f".{person.id}"  # from here on nobody is enrolled there, whatever happens
        folder.rename(leaving)
        self._clear(leaving)
        return files

    def folder(self, person: Person) -> Path:
        """Return where everything about a person lies."""
        return self._people / person.id

    def crop_path(self, person: Person, reference: Reference) -> Path:
        """Return the file of a reference's aligned crop."""
        return self.folder(person) / "references" / f"{reference.id}.png"

    def _points_path(self, person: Person, reference: Reference) -> Path:
        return self.folder(person) / "references" / f"{reference.id}.txt"

    def _read_person(self, folder: Path) -> Person | None:
        path = folder / "person.json"
        now = stamp(path)
        seen, person = self._seen.get(folder.name, (None, None))
        if now is not None and now == seen:
            return person
        if not folder.is_dir():
            return None
        try:
            fields = read_json(path)
        except LibraryFormatError:
            if folder.exists():
                raise
            return None  # forgotten in the meantime
        person = person_of(fields, folder.name, str(path))
        self._seen[folder.name] = (now, person)
        return person

    def _cached(self, person: Person, kind: str, maker: str, version: str, make: Callable[[], Arrays]) -> Arrays:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", maker):
            raise ValueError(f"{maker!r} cannot be part of a file name")
        path = self.folder(person) / f"{kind}-{maker}.safetensors"
        header = cache_header(kind, maker, version)
        found = read_cache(path, header)
        if found is not None:
            return found
        made = make()
        try:
            with locked(self.home, self._lock_seconds):
                # Another may have made it meanwhile, and have it mapped: it is not replaced.
                if path.parent.is_dir() and read_cache(path, header) is None:
                    write_cache(path, made, header)
        except (LibraryLockedError, CannotGoOnError):
            pass  # a cache that cannot be kept now is made again next time
        return made

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock of the library, which is made if missing; what a killed writer left behind is removed."""
        with locked(self.home, self._lock_seconds):
            self._sweep()
            try:
                yield
            except BaseException:
                self._sweep()
                raise

    def _clear(self, leaving: Path) -> None:
        """Remove a folder of somebody who is not, or no longer, enrolled."""
        self._catalogue.forget([leaving.name.removeprefix(".")])
        shutil.rmtree(leaving)

    def _sweep(self) -> None:
        """Remove unfinished people, files written halfway, and reference files that no person.json lists."""
        for folder in self._people.iterdir():
            if folder.name.startswith("."):
                self._clear(folder)
        for person in self.people():
            remove_unlisted(self.folder(person), {reference.id for reference in person.references})
