"""Restore every face of every photo, each enrolled person from their own dictionary, and leave the rest as it was."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Generic, Literal, TypeAlias

from dmdcli.decisions import Decision, Decisions
from dmdcli.errors import PhotoError
from dmdcli.faces.face import Face
from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.identity import Gallery, Match
from dmdcli.journal import FaceRow, Journal, Likeness, PhotoRow
from dmdcli.photos import (
    copy_side_files,
    encode_photo,
    is_converted,
    location_doubt,
    read_photo,
    remove_unfinished,
    without_place,
)
from dmdcli.pipeline.blend import RestoreOptions, expected, leave_engraving, restore_faces
from dmdcli.pipeline.evidence import Evidence
from dmdcli.pipeline.judge import ALREADY_GOOD, Judgement, Used
from dmdcli.pipeline.mark import marked_packet
from dmdcli.pipeline.one_photo import only_this_photo
from dmdcli.pipeline.people import CropRestorer, DictionaryT, People
from dmdcli.pipeline.standing import (
    NEAR,
    Circumstances,
    Enrolled,
    Standing,
    Verdict,
    input_stamp,
    judge,
    put,
    settled_stamp,
    whole_path,
)
from dmdcli.pipeline.whose import (
    AS_DECIDED,
    AssignedBy,
    Owner,
    Statements,
    find_owners,
    plan_decided,
    set_aside,
    strength_of,
)
from dmdcli.places import PICTURES, PhotoFile
from dmdcli.shapes import Box, Matrix
from dmdcli.tags import Tags, read_tags

RECIPE = 2
"""Raised whenever the same photo comes out differently from the same settings; results of a lower one are stale."""
WITHOUT_EFFECT = frozenset({"only_restored", "overwrite", "dry_run", "only", "evidence"})
"""Options that change nothing about what a photo comes out as; `only` counts by the ids of the people."""
SAMPLE = 3
"""Faces restored in a dry run, to say what all of them will take."""

NOTHING_DECIDED = Decisions()

Status: TypeAlias = Literal["restored", "untouched", "skipped", "failed"]


@dataclass(frozen=True)
class RestoredFace:
    """One face of a photo.

    box: in photo pixels. matrix: (2, 3) photo -> crop. person: who it was recognised as, with the similarity in [0, 1].
    used: the dictionary it was restored from, or "none". problems: what made it unsure, or why it was left alone.
    assigned_by: who says whose it is; "forced" by --person. conflict: a sentence with names where its tag and
    recognition disagree. near: of a face recognised as nobody, the people whom it
    resembles by NEAR or more. strength: of the blending, 0 where nothing was. similarity_after: of what was published,
    to the person's references or, of a stranger, to the face as it was; None where that was not measured. reason: why
    it is not restored with the strength asked for, None where it is. usable: it could have been restored.
    """

    box: Box
    matrix: Matrix = field(repr=False)
    person: str | None
    similarity: float | None
    used: Used
    problems: tuple[str, ...] = ()
    assigned_by: AssignedBy | None = None
    conflict: str | None = None
    near: tuple[Match, ...] = ()
    strength: float = 0.0
    similarity_after: float | None = None
    reason: str | None = None
    usable: bool = True

    @property
    def unsure(self) -> bool:
        """Whether anything about it is a problem, which it is not that it was good already, or was decided."""
        return self.conflict is not None or any(
            problem != ALREADY_GOOD and problem not in AS_DECIDED for problem in self.problems
        )

    @property
    def forced(self) -> bool:
        """Whether the person was named by the user, not recognised."""
        return self.assigned_by == "forced"


@dataclass(frozen=True)
class Cost:
    """What one photo took. given, written: bytes of the photo and of its result, None where that was not made.

    restoring: seconds of `seconds` that went into the faces that were restored, and into making the file.
    """

    given: int
    written: int | None = None
    restoring: float | None = None


@dataclass(frozen=True)
class RestoredPhoto:
    """What became of one photo; output is None where nothing is, or would be written. notes: worth telling.

    standing: what was found where the result belongs, with the reason; None where that was not found out. said: the
    decisions about it, and of them heard: those whose face is there.
    """

    photo: Path
    output: Path | None
    status: Status
    seconds: float
    faces: tuple[RestoredFace, ...] = ()
    error: str | None = None
    notes: tuple[str, ...] = ()
    standing: Verdict | None = None
    reason: str | None = None
    cost: Cost | None = None
    said: tuple[Decision, ...] = ()
    heard: tuple[Decision, ...] = ()


def restore(
    files: Sequence[PhotoFile],
    outputs: Sequence[Path],
    finder: FaceFinder,
    restorer: CropRestorer[DictionaryT],
    people: People[DictionaryT],
    journal: Journal,
    options: RestoreOptions,
    decisions: Decisions = NOTHING_DECIDED,
) -> Iterator[RestoredPhoto]:
    """Restore one photo after the other and yield what became of each.

    outputs: where each photo's result goes, from `places.plan_outputs`. journal: of the output folder, for a dry run a
    copy of it; photos whose results it knows to be current are skipped, and so are those in whose place there is a file
    that is not ours. decisions: of the user, about faces. A photo in which no face is restored is copied byte for byte.
    A photo that fails is reported and the rest goes on; what is written appears whole or not at all.
    Raises CannotGoOnError where nothing can be written any more, and the errors of library and device.
    """
    circumstances = _circumstances(finder, restorer, people, journal, options)
    pictures = journal.out / PICTURES
    evidence = Evidence(pictures if options.evidence and not options.dry_run else None)
    statements = Statements(decisions, options.tags == "use", people.enrolled)
    run = _Run(finder, restorer, people, journal, circumstances, options, evidence, statements)
    if not options.dry_run:
        for folder in {(journal.out / place).parent for place in journal.unfinished()}:
            remove_unfinished(folder)
    sampled = 0
    for file, output in zip(files, outputs, strict=True):
        began = time.monotonic()
        try:
            with only_this_photo(file.path):
                standing = judge(
                    journal,
                    file.path,
                    output,
                    circumstances,
                    partial(run.statements.digest, file),
                    overwrite=options.overwrite,
                    only_restored=options.only_restored,
                )
                if standing.verdict == "current" or (standing.verdict == "foreign" and not options.overwrite):
                    result = RestoredPhoto(file.path, output if output.is_file() else None, "skipped", 0.0)
                    said, heard = run.statements.before(file, journal.row(journal.place(output)))
                    result = replace(result, said=said, heard=heard)
                else:
                    result = _restore_photo(run, file, output, standing, not options.dry_run or sampled < SAMPLE)
                    sampled += sum(face.used != "none" for face in result.faces)
                result = replace(result, standing=result.standing or standing.verdict, reason=standing.reason)
        except PhotoError as error:
            journal.fail(journal.place(output), whole_path(file.path), error.reason)
            result = RestoredPhoto(file.path, None, "failed", 0.0, error=error.reason)
            said, heard = run.statements.before(file, None)
            result = replace(result, said=said, heard=heard)
        yield replace(result, seconds=time.monotonic() - began)


@dataclass(frozen=True)
class _Run(Generic[DictionaryT]):
    """What `restore` was given, for one photo after the other."""

    finder: FaceFinder
    restorer: CropRestorer[DictionaryT]
    people: People[DictionaryT]
    journal: Journal
    circumstances: Circumstances
    options: RestoreOptions
    evidence: Evidence
    statements: Statements


def _circumstances(
    finder: FaceFinder,
    restorer: CropRestorer[DictionaryT],
    people: People[DictionaryT],
    journal: Journal,
    options: RestoreOptions,
) -> Circumstances:
    """What every result of this run depends on: all options but those without effect, the finder, people, networks."""
    curve = finder.kit.similarity
    settings = {
        **{key: value for key, value in asdict(options).items() if key not in WITHOUT_EFFECT},
        **finder.settings,
        "person": None if options.only is None else sorted(people.enrolled[name].id for name in options.only),
        "calibration": [curve.middle, curve.slope],
        "recipe": RECIPE,
    }
    known = journal.number_people([person.id for person in people.enrolled.values()])
    return Circumstances(
        settings, journal.keep_settings(settings), restorer.weights_id, finder.kit_name, people.enrolled, known
    )


def _restore_photo(
    run: _Run[DictionaryT], file: PhotoFile, output: Path, standing: Standing, work: bool
) -> RestoredPhoto:
    """Restore and write one photo. work: restore its faces, though it may be a dry run.

    Where only somebody might be recognised who was not, and nobody is, the result that is there stays.
    """
    path, people, options, circumstances = file.path, run.people, run.options, run.circumstances
    before = input_stamp(path)
    photo = read_photo(path)
    digest = hashlib.sha256(photo.source).hexdigest()
    tags = read_tags(photo) if options.tags == "use" else Tags()
    said = run.statements.decisions.about(digest, file.relative)
    said_digest = run.statements.digest(file, digest)
    faces = run.finder.find(photo.pixels)
    faces = [leave_engraving(face) for face in faces] if options.engravings == "leave" else faces
    owners = find_owners(faces, people.gallery, options, tags.faces, said)
    heard = tuple(owner.decision for owner in owners if owner.decision is not None)
    faces = [set_aside(face, owner.decision) for face, owner in zip(faces, owners, strict=True)]
    matches = [owner.match for owner in owners]
    usable = [
        index for index, face in enumerate(faces) if face.rejected is None and strength_of(owners[index], options) > 0
    ]
    plans = {index: plan_decided(faces[index], owners[index], run.finder, options) for index in usable}
    judgements = [expected(plans.get(index), matches[index], options) for index in range(len(faces))]

    def report() -> tuple[tuple[RestoredFace, ...], tuple[FaceRow, ...]]:
        reported = tuple(
            _report(face, owners[index], judgements[index], people.gallery, index in plans)
            for index, face in enumerate(faces)
        )
        return reported, tuple(_face_row(face, people.enrolled) for face in reported)

    reported, rows = report()
    if standing.earlier is not None and _who_is_in(rows) == _who_is_in(standing.earlier.faces):
        rows = tuple(
            replace(
                row,
                result=face.result,
                reason=face.reason,
                strength=face.strength,
                after=face.after,
                account=face.account,
            )
            for row, face in zip(rows, standing.earlier.faces, strict=True)
        )
        run.journal.write(replace(standing.earlier, known=circumstances.known, faces=rows))
        return RestoredPhoto(path, output, "skipped", 0.0, standing="current", said=said, heard=heard)
    began = time.monotonic()
    wanted = [(faces[index], matches[index], plan) for index, plan in plans.items() if plan.strength > 0]
    canvas = None
    if wanted and work:
        canvas, judged = restore_faces(photo, wanted, run.finder, run.restorer, people, options)
        for index, judgement in zip([one for one in plans if plans[one].strength > 0], judged, strict=True):
            judgements[index] = judgement
        reported, rows = report()
    restored = any(face.used != "none" for face in reported)
    status: Literal["restored", "untouched"] = "restored" if restored else "untouched"
    is_written = restored or not options.only_restored
    content, cost = photo.source if is_written else None, Cost(len(photo.source))
    notes, packet = photo.notes + tags.notes, None
    if restored and canvas is not None:
        packet, doubts = marked_packet(photo, reported, circumstances, options)
        notes += doubts
    if (restored and canvas is not None) or (is_written and not restored and is_converted(photo, options.ext)):
        content = encode_photo(
            photo,
            canvas.stored if restored and canvas is not None else photo.original,
            output,
            quality=options.quality,
            ext=options.ext,
            without_location=options.without_location,
            packet=packet,
        )
        cost = Cost(len(photo.source), len(content))
    elif content is not None and options.without_location:
        content = without_place(content, output)
    if canvas is not None:
        cost = Cost(len(photo.source), len(photo.source if content is None else content), time.monotonic() - began)
    if not options.dry_run:
        trusted = [matches[index] if index in plans else None for index in range(len(faces))]
        accounts, lacking = run.evidence.accounts(
            photo, canvas if restored else None, faces, judgements, trusted, people
        )
        rows = tuple(replace(row, account=account) for row, account in zip(rows, accounts, strict=True))
        notes += () if lacking is None else (lacking,)
        row = PhotoRow(
            place=run.journal.place(output),
            photo=whole_path(path),
            result=status,
            input_digest=digest,
            input_stamp=settled_stamp(path, before, digest),
            output_digest=None if content is None else hashlib.sha256(content).hexdigest(),
            replaced_digest=standing.ours,
            settings=circumstances.digest,
            weights=circumstances.weights,
            kit=circumstances.kit,
            known=circumstances.known,
            said=said_digest,
            faces=rows,
        )
        if is_written:  # side files first: once the journal says that a photo is done, nobody looks at them again
            doubt = location_doubt(photo) if options.without_location else None
            notes += () if doubt is None else (doubt,)
            notes += copy_side_files(path, output, without_location=options.without_location)
        put(run.journal, row, content, output, photo.modified)
    output_or_none = output if is_written else None
    return RestoredPhoto(path, output_or_none, status, 0.0, reported, notes=notes, cost=cost, said=said, heard=heard)


def _who_is_in(rows: Sequence[FaceRow]) -> list[str | None]:
    """Whose each face is: all that what becomes of it depends on where only more people are known than before."""
    return [None if face.match is None else face.match.person for face in rows]


def _face_row(face: RestoredFace, enrolled: Mapping[str, Enrolled]) -> FaceRow:
    def likeness(person: str, similarity: float) -> Likeness:
        return Likeness(enrolled[person].id, enrolled[person].version, round(similarity, 4))

    return FaceRow(
        box=tuple(round(float(edge), 2) for edge in face.box),
        matrix=tuple(tuple(float(number) for number in row) for row in face.matrix),
        result=face.used,
        reason=face.problems,
        match=None if face.person is None or face.similarity is None else likeness(face.person, face.similarity),
        near=tuple(likeness(one.person, one.similarity) for one in face.near),
        usable=face.usable,
        strength=round(face.strength, 4),
        after=None if face.similarity_after is None else round(face.similarity_after, 4),
    )


def _report(face: Face, owner: Owner, judgement: Judgement, gallery: Gallery, is_worked_on: bool) -> RestoredFace:
    match = owner.match if is_worked_on else None
    problems = [*([] if face.rejected is None else [face.rejected]), *judgement.reasons, *face.doubts]
    if owner.by == "forced" and match is not None:
        problems.insert(0, f"forced: it resembles the person asked for by {match.similarity:.2f} only")
    near = gallery.rank(face.embedding) if face.rejected is None and match is None else []
    return RestoredFace(
        box=face.box,
        matrix=face.matrix,
        person=None if match is None else match.person,
        similarity=None if match is None else match.similarity,
        used=judgement.used,
        problems=tuple(dict.fromkeys(problems)),
        assigned_by=owner.by if is_worked_on or face.rejected is not None else None,
        conflict=owner.conflict,
        near=tuple(one for one in near if one.similarity >= NEAR),
        strength=judgement.strength,
        similarity_after=judgement.similarity,
        reason="; ".join(judgement.reasons) or face.rejected,
        usable=face.rejected is None,
    )
