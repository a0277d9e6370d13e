"""What is seen in a photo before anything is made of it: its faces, whose they are, and how far each can be trusted."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Generic

from dmdcli.decisions import Decision
from dmdcli.faces.face import Face
from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.identity import Gallery, Match
from dmdcli.journal import Journal, Stamp
from dmdcli.photos import Photo, decode_photo, read_file
from dmdcli.pipeline.blend import Chosen, RestoreOptions, expected, leave_engraving
from dmdcli.pipeline.by_hand import find_faces, set_aside
from dmdcli.pipeline.evidence import Evidence
from dmdcli.pipeline.judge import Judgement, Plan
from dmdcli.pipeline.mark import earlier_mark, is_marked
from dmdcli.pipeline.outcome import RestoredFace, outcome_of
from dmdcli.pipeline.people import CropRestorer, DictionaryT, People
from dmdcli.pipeline.said import Said
from dmdcli.pipeline.standing import Circumstances, input_stamp
from dmdcli.pipeline.whose import Owner, Statements, digest_of_said, find_owners, is_looked_at, plan_decided
from dmdcli.places import PhotoFile
from dmdcli.tags import SideTags, Tags, read_tags

LARGE = 8.0
"""Megapixels from which memory is felt."""


@dataclass(frozen=True)
class Bench(Generic[DictionaryT]):
    """What work on a photo's faces needs, here or on another machine."""

    finder: FaceFinder
    restorer: CropRestorer[DictionaryT]
    people: People[DictionaryT]
    circumstances: Circumstances
    options: RestoreOptions
    evidence: Evidence
    turn: threading.Lock = field(default_factory=threading.Lock, repr=False, kw_only=True)

    def alone(self, megapixels: float) -> AbstractContextManager[object]:
        """Decoding and encoding a large photo takes several times its memory for a moment: one at a time."""
        return self.turn if megapixels >= LARGE else nullcontext()


@dataclass(frozen=True)
class Run(Bench[DictionaryT]):
    """What `restore` was given, for one photo after the other; what it needs besides stays with who writes results."""

    journal: Journal
    statements: Statements


@dataclass(frozen=True)
class Given:
    """All that is known of a photo before it is decoded.

    source: the bytes of its file. modified: its time, in nanoseconds. stamp: before it was read. digest: SHA-256 of the
    bytes. beside: the tags in files beside it. said, said_digest: the decisions about it; of all that was said of it.
    """

    source: bytes = field(repr=False)
    modified: int
    stamp: Stamp
    digest: str
    beside: SideTags
    said: Said
    said_digest: str | None


@dataclass(frozen=True)
class Seen:
    """A photo whose faces were found, and nothing made of them yet.

    stamp: of its file before it was read. digest: SHA-256 of its content. plans: of the faces to be worked on, by their
    index in `faces`. said, said_digest: the decisions about it; of all that was said of it. notes: worth telling.
    """

    photo: Photo
    stamp: Stamp
    digest: str
    faces: tuple[Face, ...]
    owners: tuple[Owner, ...]
    plans: Mapping[int, Plan]
    said: Said
    said_digest: str | None
    notes: tuple[str, ...]

    @property
    def matches(self) -> list[Match | None]:
        """Whose each face is that is worked on."""
        return [owner.match if index in self.plans else None for index, owner in enumerate(self.owners)]

    @property
    def wanted(self) -> list[int]:
        """The faces that are to be restored, by index."""
        return [index for index, plan in self.plans.items() if plan.strength > 0]

    @property
    def heard(self) -> tuple[Decision, ...]:
        """The decisions of the file whose face is there."""
        return self.said.heard([face.box for face in self.faces])

    @property
    def chosen(self) -> list[Chosen]:
        """The faces that are to be restored."""
        return [(self.faces[index], self.owners[index].match, self.plans[index]) for index in self.wanted]

    def expected(self, options: RestoreOptions) -> list[Judgement]:
        """What is published of each face unless it is judged otherwise."""
        return [expected(self.plans.get(index), owner.match, options) for index, owner in enumerate(self.owners)]

    def outcomes(self, judgements: Sequence[Judgement], gallery: Gallery) -> tuple[RestoredFace, ...]:
        """What becomes of each face where it is judged so."""
        return tuple(
            outcome_of(face, self.owners[index], judgements[index], gallery, index in self.plans)
            for index, face in enumerate(self.faces)
        )


def open_photo(run: Run[DictionaryT], file: PhotoFile) -> Given:
    """Read a photo's file, and what is said of it elsewhere."""
    stamp = input_stamp(file.path)
    source, modified = read_file(file.path)
    digest = hashlib.sha256(source).hexdigest()
    beside = run.statements.beside(file)
    said = run.statements.about(file, digest)
    said_digest = digest_of_said(beside, said, run.statements.enrolled)
    return Given(source, modified, stamp, digest, beside, said, said_digest)


def look_at(run: Bench[DictionaryT], file: PhotoFile, megapixels: float, given: Given) -> Seen:
    """Find a photo's faces, and say whose they are and how far each can be trusted; its file is not touched."""
    options, said = run.options, given.said
    with run.alone(megapixels):
        photo = decode_photo(file.path, given.source, given.modified)
    tags = read_tags(photo, given.beside) if options.tags == "use" else Tags()
    found = find_faces(run.finder, photo.pixels, said.drawn())
    found = [leave_engraving(face) for face in found] if options.engravings == "leave" else found
    owners = find_owners(found, run.people.gallery, options, tags.faces, said)
    faces = [set_aside(face, owner.decision) for face, owner in zip(found, owners, strict=True)]
    mark = earlier_mark(photo)
    plans = {
        index: plan_decided(face, owner, run.finder, options, is_marked(face.box, photo.orientation, mark))
        for index, (face, owner) in enumerate(zip(faces, owners, strict=True))
        if face.rejected is None and is_looked_at(owner, options)
    }
    before = () if mark is None else (f"was restored by dmd already ({mark.count} face{'s' * (mark.count != 1)})",)
    notes = photo.notes + tags.notes + before
    return Seen(photo, given.stamp, given.digest, tuple(faces), tuple(owners), plans, said, given.said_digest, notes)
