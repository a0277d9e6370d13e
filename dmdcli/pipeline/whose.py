"""Whose each face of a photo is: by the user's decision, by a tag of another program, by recognition, or forced."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from dmdcli.corrections import Corrections
from dmdcli.decisions import Decision, Decisions, find, says_nothing
from dmdcli.faces.face import Face
from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.identity import Gallery, Match, match_faces
from dmdcli.journal import PhotoRow, digest_of
from dmdcli.person import same_name
from dmdcli.pipeline.blend import RestoreOptions, plan_restoring
from dmdcli.pipeline.by_hand import NOT_A_FACE, corrections_of, set_aside
from dmdcli.pipeline.enroll import SOMEBODY_ELSE
from dmdcli.pipeline.judge import Plan, left_out
from dmdcli.pipeline.said import Said
from dmdcli.pipeline.standing import Enrolled
from dmdcli.places import PhotoFile
from dmdcli.shapes import Box, overlap
from dmdcli.tags import FaceTag, SideTags, read_side_tags

AssignedBy: TypeAlias = Literal["decision", "tag", "recognition", "forced"]

LEAST_OVERLAP = 0.1
"""Overlap (intersection over union) from which a tag can mean a face, if the middle of each lies inside the other.
Programs differ in how much of the head a box holds; the finder's own boxes end at brows and chin."""
LEFT_ALONE = "as decided"
RECOGNISED_OTHERWISE = "tagged as somebody else than recognised"
HARDLY_RESEMBLES = "tagged as somebody it hardly resembles"
CONFLICTS = frozenset({RECOGNISED_OTHERWISE, HARDLY_RESEMBLES})
"""What tag and recognition disagree in, without names."""
AS_DECIDED = frozenset({NOT_A_FACE, LEFT_ALONE})
"""Reasons that are no doubts."""
NOTHING_SAID = Said()


@dataclass(frozen=True)
class Owner:
    """Whose a face is.

    match: the person, None for a stranger. by: who says so; None where nobody does. conflict: where the tag and
    recognition disagree, one of CONFLICTS and a sentence with names. decision: what was decided about the face.
    """

    match: Match | None = None
    by: AssignedBy | None = None
    conflict: tuple[str, str] | None = None
    decision: Decision | None = None


@dataclass(frozen=True)
class Statements:
    """What was said of the faces of a collection outside of its photos. with_tags: side files count.

    enrolled: the people looked for, by name. corrections: what was put right by hand, None for nothing.
    """

    decisions: Decisions
    with_tags: bool
    enrolled: Mapping[str, Enrolled]
    corrections: Corrections | None = None

    def about(self, file: PhotoFile, digest: str) -> Said:
        """What was decided about one photo; digest: SHA-256 of its content.

        PhotoReadError where its corrections cannot be read.
        """
        corrected = corrections_of(file.path, digest, self.corrections)
        return Said(self.decisions.about(digest, file.relative), corrected)

    def beside(self, file: PhotoFile) -> SideTags:
        """The tags in the files beside a photo, as far as they count."""
        return read_side_tags(file.path) if self.with_tags else SideTags()

    def digest(self, file: PhotoFile, digest: str) -> str | None:
        """Digest of what was said of one photo by now, None for nothing; digest: SHA-256 of its content."""
        return digest_of_said(self.beside(file), self.about(file, digest), self.enrolled)

    def before(self, file: PhotoFile, row: PhotoRow | None) -> tuple[tuple[Decision, ...], tuple[Decision, ...]]:
        """Of a photo that is not looked at: the decisions about it, and of them those whose face was there last time.

        row: of that time; without one, or after a failure, all count as heard.
        """
        if row is None or row.input_digest is None or row.result == "failed":
            said = self.decisions.about(_digest_if_readable(file.path), file.relative) if self.decisions.photos else ()
            return said, said
        said = self.decisions.about(row.input_digest, file.relative)
        found = find(said, [(face.box[0], face.box[1], face.box[2], face.box[3]) for face in row.faces])
        return said, tuple(one for one in found if one is not None)


def find_owners(
    faces: Sequence[Face],
    gallery: Gallery,
    options: RestoreOptions,
    tags: Sequence[FaceTag] = (),
    said: Said = NOTHING_SAID,
) -> list[Owner]:
    """Say whose each face is.

    A decision outranks a tag, a tag recognition. A name nobody (of those looked for) is enrolled under makes the face a
    stranger's. Recognition considers the faces of which nothing was said, and the people who were not named: somebody
    appears once in a photo. One name in `options.only` is forced on the only usable face of a photo if nothing was said
    of it and it was not recognised.
    """
    decided = said.about([face.box for face in faces])
    tagged = match_tags(tags, [face.box for face in faces])
    owners: dict[int, Owner] = {}
    for index, face in enumerate(faces):
        decision, tag = decided[index], tagged[index]
        if set_aside(face, decision).rejected is not None:
            owners[index] = Owner(by="decision" if decision is not None and decision.not_a_face else None)
        elif decision is not None and (decision.person is not None or decision.stranger):
            owners[index] = Owner(_as(decision.person, face, gallery), "decision")
        elif tag is not None:
            owners[index] = Owner(_as(tag, face, gallery), "tag")
    named = {owner.match.person for owner in owners.values() if owner.match is not None}
    left = [index for index in range(len(faces)) if index not in owners]
    wanted = [person for person in options.only or gallery.people if person not in named]
    matches = match_faces([faces[index] for index in left], gallery, options.threshold, only=wanted)
    for index, match in zip(left, matches, strict=True):
        owners[index] = Owner(match, None if match is None else "recognition")
    usable = [index for index in range(len(faces)) if set_aside(faces[index], decided[index]).rejected is None]
    if options.only is not None and len(options.only) == len(usable) == 1 and owners[usable[0]].by is None:
        owners[usable[0]] = Owner(gallery.rank(faces[usable[0]].embedding, options.only)[0], "forced")
    recognised = match_faces(faces, gallery, options.threshold, only=options.only)
    return [
        replace(
            owners[index],
            decision=decided[index],
            conflict=_conflict(tagged[index], owners[index], recognised[index], options),
        )
        for index in range(len(faces))
    ]


def match_tags(tags: Sequence[FaceTag], boxes: Sequence[Box]) -> list[str | None]:
    """The name each face is tagged with, None for none; a face has one tag, a tag one face, the best overlap first.

    boxes: in upright photo pixels, as those of the tags. Tags that name nobody say nothing.
    """
    names: list[str | None] = [None] * len(boxes)
    pairs = [
        (-overlap(tag.box, box), order, place)
        for order, tag in enumerate(tags)
        if tag.name is not None
        for place, box in enumerate(boxes)
        if _holds(tag.box, box) and _holds(box, tag.box)
    ]
    heard: set[int] = set()
    for shared, order, place in sorted(pairs):
        if -shared >= LEAST_OVERLAP and names[place] is None and order not in heard:
            names[place] = tags[order].name
            heard.add(order)
    return names


def is_looked_at(owner: Owner, options: RestoreOptions) -> bool:
    """Whether it matters what can be made of a face: with no strength at all nothing is, unless one was decided."""
    return options.strength > 0 or (owner.decision is not None and owner.decision.strength is not None)


def plan_decided(
    face: Face, owner: Owner, finder: FaceFinder, options: RestoreOptions, is_restored: bool = False
) -> Plan:
    """How far the change of a usable face is to be trusted, decisions heard.

    is_restored: by dmd, before. A strength that was decided is taken as it is, whether the face is small, good or
    restored already; only components with doubtful boxes are left out still. With `judge` in the decision it is only
    asked for, and less may come of it.
    """
    decision = owner.decision
    if decision is None or (decision.strength is None and not decision.leave_alone):
        return plan_restoring(face, finder, options, is_restored)
    if decision.leave_alone or decision.strength == 0:
        return Plan(0.0, reasons=(LEFT_ALONE,))
    if decision.judge:
        return replace(plan_restoring(face, finder, options, is_restored), asked=decision.strength)
    plan = plan_restoring(face, finder, replace(options, already_good="restore"))
    return Plan(1.0, plan.skipped, left_out(plan.skipped), asked=decision.strength, judged=False)


def digest_of_said(beside: SideTags, said: Said, enrolled: Mapping[str, Enrolled]) -> str | None:
    """SHA-256 of what was said of a photo's faces outside of it; None where nothing was.

    No name is in it: people enrolled stand there by their random ids, all others as strangers. So it changes, too, when
    somebody who was named is enrolled, or forgotten. That somebody looked at a face, and where it was found,
    are not in it: they change nothing.
    """

    def whose(name: str | None) -> str | None:
        found = None if name is None else person_called(name, list(enrolled))
        return None if found is None else enrolled[found].id

    def fields(one: Decision) -> dict[str, object]:
        known = {**asdict(one), "person": whose(one.person), "named": one.person is not None, "line": 0}
        silent = ("landmarks", None), ("fitted", False)
        return {
            key: value
            for key, value in known.items()
            if key not in ("accepted", "found") and (key, value) not in silent
        }

    tags = [(kind, one) for kind, group in enumerate((beside.regions, beside.straight)) for one in group if one.name]
    groups = [
        [fields(one) for one in group if not says_nothing(replace(one, accepted=False))]
        for group in (said.decided, said.corrected)
    ]
    if not tags and not any(groups):
        return None
    decided, corrected = groups
    corrected.sort(key=lambda one: json.dumps(one, sort_keys=True))  # pages keep what was said last at the end
    whole = ([[kind, whose(one.name), one.area, one.size] for kind, one in tags], decided)
    everything = (*whole, corrected) if corrected else whole
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()


def person_called(name: str, people: Sequence[str]) -> str | None:
    """The one of `people` whom a name means, in whatever letter case and form of its accents."""
    return next((person for person in people if same_name(person, name)), None)


def _digest_if_readable(path: Path) -> str:
    try:
        return digest_of(path)
    except OSError:
        return ""


def _as(name: str | None, face: Face, gallery: Gallery) -> Match | None:
    """The face as that of the person named, however little it resembles them; None where nobody is enrolled so."""
    person = None if name is None else person_called(name, gallery.people)
    return None if person is None else gallery.rank(face.embedding, [person])[0]


def _conflict(
    tag: str | None, owner: Owner, recognised: Match | None, options: RestoreOptions
) -> tuple[str, str] | None:
    """What a tag and recognition disagree in: one of CONFLICTS, and a sentence with names."""
    if owner.by != "tag":
        return None
    if recognised is not None and (owner.match is None or recognised.person != owner.match.person):
        unknown = ", who is not enrolled" if options.only is None else ", who is not looked for"
        stranger = unknown if owner.match is None else ""
        seen = f"recognised as {recognised.person} ({recognised.similarity:.2f})"
        return RECOGNISED_OTHERWISE, f"tagged as {tag}{stranger}; {seen}"
    if owner.match is not None and owner.match.similarity < SOMEBODY_ELSE:
        # A badly damaged face resembles nobody, so this is a doubt and changes nothing.
        resembles = f"whom it hardly resembles ({owner.match.similarity:.2f})"
        return HARDLY_RESEMBLES, f"tagged as {owner.match.person}, {resembles}"
    return None


def _holds(box: Box, other: Box) -> bool:
    """Whether the middle of another box lies in a box."""
    x, y = (other[0] + other[2]) / 2, (other[1] + other[3]) / 2
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]
