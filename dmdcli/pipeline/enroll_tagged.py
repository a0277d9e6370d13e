"""Whom the face tags of photos name, and from which of the photos each would best be learned."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dmdcli.corrections import Corrections
from dmdcli.decisions import find
from dmdcli.errors import NothingToDoError, PhotoError, UsageError
from dmdcli.faces.face import Face, sharpness, turn_of_head
from dmdcli.faces.finder import FaceFinder
from dmdcli.library import Library
from dmdcli.marks import mark_in
from dmdcli.person import check_name, same_name
from dmdcli.photos import read_photo
from dmdcli.pipeline.by_hand import corrections_of, find_faces
from dmdcli.pipeline.enroll import RESTORED, LookedAt, check_quality
from dmdcli.pipeline.one_photo import only_this_photo
from dmdcli.pipeline.whose import match_tags
from dmdcli.places import PhotoFile
from dmdcli.shapes import Box
from dmdcli.tags import read_tags

MOST_REFERENCES = 10
"""References taken of a person at most, unless asked otherwise: each costs memory and time in every photo restored."""


@dataclass(frozen=True)
class TaggedPhoto:
    """A photo in which a person is tagged, with a face that can be a reference.

    box: of the face, in upright photo pixels. quality: its sharpness (`faces.face.sharpness`, 1 at most), less as the
    head is turned.
    """

    file: PhotoFile
    box: Box
    quality: float


@dataclass(frozen=True)
class Proposal:
    """What a person would be learned from.

    name: as enrolled or, of new people, as first tagged. references: the person has, 0 for new people. tagged: photos
    that name them. chosen: the best photos, the best first. refused: photos that would not help, with the reason; those
    that are references already are not among them.
    """

    name: str
    references: int
    tagged: int
    chosen: tuple[TaggedPhoto, ...] = ()
    refused: tuple[tuple[Path, str], ...] = ()


@dataclass
class _Named:
    """What was found of one person so far."""

    name: str
    digests: Collection[str]
    tagged: int = 0
    usable: list[TaggedPhoto] = field(default_factory=list)
    refused: list[tuple[Path, str]] = field(default_factory=list)


def propose(
    files: Sequence[PhotoFile],
    library: Library,
    finder: FaceFinder,
    *,
    most: int = MOST_REFERENCES,
    only: Sequence[str] | None = None,
) -> Iterator[LookedAt | PhotoError | Proposal]:
    """Look for tagged faces in photos and say from which of them everybody who is named would be learned.

    Yields LookedAt for each photo, a PhotoError for one that cannot be read, and at the end a Proposal for each person,
    by name. most: references proposed of a person. only: names to look for, in whatever letter case; None for all.
    Raises NothingToDoError where nobody (of those) is named, UsageError for a name that cannot be one in `only`.
    """
    wanted = None if only is None else [check_name(name) for name in only]
    enrolled = {one.name: [reference.digest for reference in one.references] for one in library.people()}
    corrections = Corrections(library.home)
    people: dict[str, _Named] = {}
    for count, file in enumerate(files, start=1):
        try:
            with only_this_photo(file.path):
                _look_at(file, finder, wanted, enrolled, people, corrections)
        except PhotoError as error:
            yield error
        yield LookedAt(file.path, count, len(files))
    if not people:
        whom = "nobody" if wanted is None else f"none of {', '.join(wanted)}"
        raise NothingToDoError(
            f"Face tags name {whom} in the {len(files)} photos. Read are MWG and Microsoft regions in photos and in "
            ".xmp files beside them, and .picasa.ini."
        )
    for key in sorted(people):
        one = people[key]
        best = sorted(one.usable, key=lambda photo: -photo.quality)[:most]
        yield Proposal(one.name, len(one.digests), one.tagged, tuple(best), tuple(one.refused))


def _look_at(
    file: PhotoFile,
    finder: FaceFinder,
    wanted: Sequence[str] | None,
    enrolled: Mapping[str, Collection[str]],
    people: dict[str, _Named],
    corrections: Corrections,
) -> None:
    """Note in `people` what one photo has of whom: by its tags, and by what was put right by hand."""
    photo = read_photo(file.path)
    digest = hashlib.sha256(photo.source).hexdigest()
    said = corrections_of(file.path, digest, corrections)
    tags = read_tags(photo).faces
    mark = mark_in(photo.metadata.xmp)
    marked = () if mark is None else mark.faces
    whom = (*(tag.name for tag in tags), *(face.person for face in marked), *(one.person for one in said))
    names = dict.fromkeys(one for one in whom if one)
    named = {}
    for tagged in names:
        if wanted is None or any(same_name(tagged, name) for name in wanted):
            known = next((name for name in enrolled if same_name(name, tagged)), tagged)
            named[tagged] = people.setdefault(_key(tagged), _Named(known, enrolled.get(known, ())))
    if mark is not None:
        for one in {_key(name): one for name, one in named.items()}.values():
            one.tagged += 1
            one.refused.append((file.path, RESTORED))
    if not named or mark is not None:
        return
    faces = find_faces(finder, photo.pixels, said)
    boxes = [face.box for face in faces]
    whose = [
        by_tag if one is None or not (one.person or one.stranger) else one.person
        for by_tag, one in zip(match_tags(tags, boxes), find(said, boxes), strict=True)
    ]
    for tagged, one in named.items():
        one.tagged += 1
        if digest in one.digests:
            continue
        try:
            face = _face_of(file.path, tagged, faces, whose)
            quality = min(sharpness(face.pixels), 1.0) * (1 - abs(turn_of_head(face.landmarks.points)))
            one.usable.append(TaggedPhoto(file, face.box, quality))
        except PhotoError as error:
            one.refused.append((file.path, error.reason))


def _key(name: str) -> str:
    """What the ways to write a name have in common."""
    return unicodedata.normalize("NFC", name.casefold())


def _face_of(path: Path, name: str, faces: Sequence[Face], whose: Sequence[str | None]) -> Face:
    """The one usable face with the name; PhotoError where there is none, or more than one."""
    try:
        check_name(name)
    except UsageError as error:
        raise PhotoError(path, str(error)) from error
    tagged = [face for face, found in zip(faces, whose, strict=True) if found == name]
    if not tagged:
        raise PhotoError(path, "no face was found where the tag is")
    if len(tagged) > 1:
        raise PhotoError(path, f"{len(tagged)} faces have the name")
    if tagged[0].rejected is not None:
        raise PhotoError(path, tagged[0].rejected)
    check_quality(path, tagged[0])
    return tagged[0]
