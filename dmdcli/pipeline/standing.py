"""The place of a result: whether it is there, whose it is, and whether it is what would be made today; filling it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias

from dmdcli.errors import PhotoReadError, PhotoWriteError
from dmdcli.files import write_file
from dmdcli.journal import FaceRow, Journal, PhotoRow, Stamp, digest_of, now, stamp_of

NEAR = 0.2
"""Similarity from which a stranger might turn out to be a person once there are other references of that person: with
the embedded kit a distance of 0.5, where the nearest strangers of old photographs are."""

SAID_CHANGED = "what was said of its faces changed"
"""Why a result is stale: decisions, or tags beside the photo."""
SETTINGS = {
    "without_location": "--strip gps",
    "calibration": "the calibration",
    "networks": "the networks of the kit",
    "recipe": "a dmd that restores differently",
}
"""Settings that are no flags of the same name, as people know them."""

Verdict: TypeAlias = Literal["new", "current", "stale", "foreign", "taken"]


@dataclass(frozen=True)
class Enrolled:
    """A person. id: random. version: of the references, as `Library.version`. references: how many there are.

    formerly: ids of people merged into this one.
    """

    id: str
    version: str
    references: int
    formerly: tuple[str, ...] = ()


@dataclass(frozen=True)
class Circumstances:
    """What a result depends on besides the photo.

    settings, with their digest in the journal: what was asked for. weights, kit: names of the networks. people: name ->
    who is looked for. known: the highest of their numbers in the journal. names: people's names are written into
    results.
    """

    settings: Mapping[str, object]
    digest: str
    weights: str
    kit: str
    people: Mapping[str, Enrolled]
    known: int
    names: bool = False

    def named(self, face: FaceRow) -> str | None:
        """Digest of the name that would be written of a face today, salted with the person's id; None for no name."""
        if not self.names or face.result == "none" or face.match is None:
            return None
        person = face.match.person
        name = next((name for name, one in self.people.items() if one.id == person), "")
        return hashlib.sha256(f"{person} {name}".encode()).hexdigest()[:16]

    @cached_property
    def versions(self) -> dict[str, tuple[str, str]]:
        """Id, also a former one -> name of the person, and version of the references."""
        every = {one: (name, person.version) for name, person in self.people.items() for one in person.formerly}
        return every | {person.id: (name, person.version) for name, person in self.people.items()}


@dataclass(frozen=True)
class Standing:
    """What was found where a photo's result belongs.

    verdict: "new", there is none; "current", it is there and nothing is to be done; "stale", it is to be made again;
    "foreign", there is a file that is not, or no longer, the one that was made of this photo; "taken", there is our
    result of another photo. reason: why, for the last three. ours: digest of the file that is there, where it may be
    replaced. earlier: the row of a result that is stale only if a stranger in it is recognised by now.
    """

    verdict: Verdict
    reason: str | None = None
    ours: str | None = None
    earlier: PhotoRow | None = None


def judge(
    journal: Journal,
    path: Path,
    output: Path,
    today: Circumstances,
    said: Callable[[str], str | None] = lambda _: None,
    *,
    overwrite: bool,
    only_restored: bool,
) -> Standing:
    """Compare what the journal says of a photo with the photo, the file at `output` and the circumstances.

    Files whose size and times are those in the journal are taken for unchanged; all others are read. A result that
    was written but not yet noted as finished is taken as it is. said: digest of a photo's content -> digest of what was
    said of its faces outside of it. Raises PhotoReadError and PhotoWriteError for a file
    that cannot be read.
    """
    place = journal.place(output)
    row = journal.row(place)
    there = _look_at(output, row)
    if row is None:
        return Standing("new") if there is None else Standing("foreign", "it was not made by dmd")
    source = whole_path(path)
    stamp = input_stamp(path)
    moved = row.photo != source or row.input_stamp != stamp
    same = not moved or row.input_digest == _digest_of_input(path)
    ours = None
    if there is not None:
        output_stamp, found = there
        if found not in (row.output_digest, row.replaced_digest):
            made = row.output_digest or row.replaced_digest
            return Standing("foreign", "it was changed since it was made" if made else "it was not made by dmd")
        if row.photo != source and not same:
            return Standing("taken", f"its place has the result of another photo, {row.photo}")
        ours = found
        if row.finished is None and found == row.output_digest:  # killed between writing it and saying so
            journal.finish(place, output_stamp)
            row = replace(row, output_stamp=output_stamp, replaced_digest=None, finished=now())
    if overwrite:
        return Standing("stale", "--overwrite", ours)
    for reason in _reasons(journal, row, today, same=same, is_there=there is not None, only_restored=only_restored):
        return Standing("stale", reason, ours)
    if row.said != said(row.input_digest or ""):
        return Standing("stale", SAID_CHANGED, ours)
    if moved or (there is not None and row.output_stamp != there[0]):
        journal.see_again(place, source, stamp, None if there is None else there[0])
    maybe = _recognition(row, today)
    return Standing("current") if maybe is None else Standing("stale", maybe, ours, journal.row(place))


def _reasons(
    journal: Journal,
    row: PhotoRow,
    today: Circumstances,
    *,
    same: bool,
    is_there: bool,
    only_restored: bool,
) -> Iterator[str]:
    """Why a result is to be made again, in the words of the user."""
    if row.result == "failed":
        yield "it failed last time"
    if not same:
        yield "the photo changed"
    if row.finished is None:
        yield "the last run was stopped at it"
    if row.output_digest is not None and not is_there:
        yield "its result is missing"
    if row.output_digest is None and not only_restored:
        yield "it was left out last time"
    if row.settings != today.digest:
        before = journal.settings(row.settings)
        changed = sorted(key for key in before.keys() | today.settings if before.get(key) != today.settings.get(key))
        yield f"other settings: {', '.join(map(flag_of, changed))}"
    if row.kit != today.kit:
        yield "another kit"
    if row.result == "restored" and row.weights != today.weights:
        yield "another network"
    current = today.versions
    for face in row.faces:
        if face.match is not None and face.match.person not in current:
            yield "somebody it shows was forgotten"
        elif face.match is not None and face.match.version != current[face.match.person][1]:
            yield f"other references of {current[face.match.person][0]}"
        elif face.account.get("named") != today.named(face):
            yield "names are to be written into it otherwise than before"


def flag_of(setting: str) -> str:
    """What people know a setting as."""
    return SETTINGS.get(setting, "--" + setting.replace("_", "-"))


def _recognition(row: PhotoRow, today: Circumstances) -> str | None:
    """Why a stranger may be recognised by now; None where that cannot be."""
    current = today.versions
    strangers = [face for face in row.faces if face.match is None and face.usable]
    if strangers and row.known < today.known:
        return "somebody was enrolled since"
    for likeness in (one for face in strangers for one in face.near):
        name, version = current.get(likeness.person, ("somebody", None))
        if version != likeness.version:
            return f"other references of {name}, whom a stranger resembles"
    return None


def whole_path(path: Path) -> Path:
    """A path from the root, its links left as they are."""
    return Path(os.path.abspath(path))  # noqa: PTH100 (resolve would follow links)


def input_stamp(path: Path) -> Stamp:
    """What the file system says of a photo; PhotoReadError where it is gone or cannot be looked at."""
    try:
        return stamp_of(path)
    except OSError as error:
        raise PhotoReadError(path, f"cannot be read: {error.strerror or error}") from error


def settled_stamp(path: Path, before: Stamp, digest: str) -> Stamp:
    """The stamp of a photo whose bytes, with the digest given, were read after `before` was taken.

    PhotoReadError where the file is another by now: it may have been read half copied.
    """
    after = input_stamp(path)
    if after != before and _digest_of_input(path) != digest:
        raise PhotoReadError(path, "was changed while it was being worked on; run the same command again")
    return after


def put(
    journal: Journal,
    row: PhotoRow,
    content: bytes | None,
    output: Path,
    modified: int,
    beside: Callable[[], None] = lambda: None,
) -> None:
    """Write a photo's result and its row, in an order that can be broken off anywhere.

    The journal first says what is about to be there, and what may be replaced; then the file appears under its name;
    then the journal says so. Whatever a killed run leaves under the name, the next one knows for ours.
    beside: writes what belongs beside the file, before it: once the file is there, nobody looks at that again.
    """
    if content is None:
        journal.write(replace(row, finished=now()))
        return
    journal.write(row)
    beside()
    write_file(content, output, modified)
    try:
        stamp = stamp_of(output)
    except OSError as error:
        raise PhotoWriteError(output, f"{output} was written and is gone: {error.strerror or error}") from error
    journal.finish(row.place, stamp)


def _digest_of_input(path: Path) -> str:
    try:
        return digest_of(path)
    except OSError as error:
        raise PhotoReadError(path, f"cannot be read: {error.strerror or error}") from error


def _look_at(output: Path, row: PhotoRow | None) -> tuple[Stamp, str] | None:
    """Stamp and digest of the file at `output`, None where there is none; something else than a file has no digest."""
    try:
        stamp = stamp_of(output)
        if row is not None and row.output_digest is not None and row.output_stamp == stamp:
            return stamp, row.output_digest
        return stamp, digest_of(output) if row is not None and output.is_file() else ""
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PhotoWriteError(output, f"what is there, {output}, cannot be read: {error.strerror or error}") from error
