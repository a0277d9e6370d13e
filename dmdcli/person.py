"""Person and Reference: who is enrolled, as their person.json says it; what can be a name."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from dmdcli.errors import LibraryFormatError, ReferenceChangedError, UsageError

LONGEST_NAME = 100
"""Characters a person's name may have."""


@dataclass(frozen=True)
class Reference:
    """One reference of a person. source: the photo it was taken from, as an absolute path. added: ISO 8601, UTC.

    sharpness: as `pipeline.enroll` measures it. digest: SHA-256 of the photo's file. id: random, names its files.
    """

    id: str
    source: str
    added: str
    sharpness: float
    landmark_source: Literal["detected", "corrected"]
    digest: str


@dataclass(frozen=True)
class Person:
    """One enrolled person. id: random, names their folder; the name is written nowhere but in person.json.

    formerly: ids of people who were merged into this one; journals of output folders may know the person by them.
    """

    id: str
    name: str
    references: tuple[Reference, ...]
    formerly: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids the person has or had."""
        return (self.id, *self.formerly)

    @property
    def added(self) -> str:
        """Day of the first reference, ISO 8601."""
        return min(reference.added for reference in self.references)[:10]

    def with_references(self, references: Iterable[Reference]) -> Person:
        """The same person with other references."""
        return replace(self, references=tuple(references))

    def reference(self, reference: str) -> Reference:
        """The reference of an id; ReferenceChangedError where there is none of it any more."""
        found = next((one for one in self.references if one.id == reference), None)
        if found is None:
            gone = f"This is no reference of {self.name!r} any more; `dmd people show` lists them."
            raise ReferenceChangedError(gone)
        return found


def check_name(name: str) -> str:
    """Return the name as it is kept: NFC, single spaces. Raises UsageError for what cannot be a person's name."""
    kept = re.sub(" +", " ", unicodedata.normalize("NFC", name)).strip(" ")
    if not kept:
        raise UsageError("The name is empty; give the person a name.")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in kept):
        raise UsageError(f"The name {kept!r} holds a control character; leave it out.")
    if "/" in kept or "\\" in kept:
        raise UsageError(f"The name {kept!r} holds a slash; a name is no path.")
    if kept.startswith("."):
        raise UsageError(f"The name {kept!r} starts with a dot; choose one that does not.")
    if len(kept) > LONGEST_NAME:
        raise UsageError(f"The name {kept[:20]!r}... has {len(kept)} characters; {LONGEST_NAME} is the most.")
    return kept


def same_name(one: str, other: str) -> bool:
    """Whether two valid names mean one person: letter case and the way accents are encoded do not matter."""
    return unicodedata.normalize("NFC", one.casefold()) == unicodedata.normalize("NFC", other.casefold())


def person_fields(person: Person) -> dict[str, object]:
    """What person.json says of a person; the id is the name of its folder."""
    references = [asdict(reference) for reference in person.references]
    return {"name": person.name, "references": references, "formerly": list(person.formerly)}


def person_of(fields: Mapping[str, Any], person_id: str, label: str) -> Person:
    """The person a person.json describes. label: says in messages where it is. Raises LibraryFormatError."""
    cure = "restore it from a backup."
    try:
        references = tuple(Reference(**one) for one in fields["references"])
        person = Person(person_id, fields["name"], references, tuple(fields.get("formerly", ())))
    except (KeyError, TypeError) as error:
        raise LibraryFormatError(f"{label} is damaged ({error!r}); {cure}") from error
    texts = [person.name, *person.formerly]
    for reference in person.references:
        texts += [reference.id, reference.source, reference.added, reference.landmark_source, reference.digest]
    numbers = [reference.sharpness for reference in person.references]
    right = all(isinstance(text, str) for text in texts) and all(isinstance(one, int | float) for one in numbers)
    right = right and all(map(math.isfinite, numbers))
    right = right and all(re.fullmatch("[0-9a-f]{16}", one) for one in person.formerly)
    if not right or not numbers or not all(re.fullmatch("[0-9a-f]+", one.id) for one in person.references):
        raise LibraryFormatError(f"{label} is damaged (its name or references); {cure}")
    return person
