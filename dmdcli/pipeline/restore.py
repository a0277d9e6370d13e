"""Restore every face of every photo, each enrolled person from their own dictionary, and leave the rest as it was."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Generic

from dmdcli.corrections import Corrections
from dmdcli.decisions import Decision, Decisions
from dmdcli.errors import PhotoError
from dmdcli.faces.face import Face
from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.identity import Gallery, Match
from dmdcli.files import remove_unfinished
from dmdcli.journal import FaceRow, Journal, PhotoRow, Stamp
from dmdcli.photos import (
    Canvas,
    Photo,
    copy_side_files,
    encode_photo,
    is_converted,
    location_doubt,
    read_photo,
    without_place,
)
from dmdcli.pipeline.blend import RestoreOptions, expected, leave_engraving, restore_faces
from dmdcli.pipeline.by_hand import find_faces, set_aside
from dmdcli.pipeline.evidence import Evidence
from dmdcli.pipeline.judge import Judgement, Plan
from dmdcli.pipeline.mark import earlier_mark, is_marked, marked_packet
from dmdcli.pipeline.one_photo import only_this_photo
from dmdcli.pipeline.outcome import Cost, RestoredFace, RestoredPhoto, outcome_of, row_of, told_of
from dmdcli.pipeline.people import CropRestorer, DictionaryT, People
from dmdcli.pipeline.said import Said
from dmdcli.pipeline.standing import (
    Circumstances,
    Enrolled,
    Standing,
    input_stamp,
    judge,
    put,
    settled_stamp,
    whole_path,
)
from dmdcli.pipeline.whose import (
    Owner,
    Statements,
    digest_of_said,
    find_owners,
    is_looked_at,
    plan_decided,
)
from dmdcli.places import PICTURES, PhotoFile
from dmdcli.tags import Tags, read_tags

RECIPE = 3
"""Raised whenever the same photo comes out differently from the same settings; results of a lower one are stale."""
WITHOUT_EFFECT = frozenset({"only_restored", "overwrite", "dry_run", "only", "evidence", "write_names"})
"""Options that change nothing about what a photo comes out as; `only` counts by the ids of the people, `write_names` by
those of whom the name was written."""
SAMPLE = 3
"""Faces restored in a dry run, to say what all of them will take."""

NOTHING_DECIDED = Decisions()


def restore(
    files: Sequence[PhotoFile],
    outputs: Sequence[Path],
    finder: FaceFinder,
    restorer: CropRestorer[DictionaryT],
    people: People[DictionaryT],
    journal: Journal,
    options: RestoreOptions,
    decisions: Decisions = NOTHING_DECIDED,
    corrections: Corrections | None = None,
) -> Iterator[RestoredPhoto]:
    """Restore one photo after the other and yield what became of each.

    outputs: where each photo's result goes, from `places.plan_outputs`. journal: of the output folder, for a dry run a
    copy of it; photos whose results it knows to be current are skipped, and so are those in whose place there is a file
    that is not ours. decisions: of the user, about faces. corrections: what was put right by hand in photos.
    A photo in which no face is restored is copied byte for byte.
    A photo that fails is reported and the rest goes on; what is written appears whole or not at all.
    Raises CannotGoOnError where nothing can be written any more, and the errors of library and device.
    """
    circumstances = _circumstances(finder, restorer, people, journal, options)
    pictures = journal.out / PICTURES
    evidence = Evidence(pictures if options.evidence and not options.dry_run else None)
    statements = Statements(decisions, options.tags == "use", people.enrolled, corrections)
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
                if standing.verdict in ("current", "taken") or (
                    standing.verdict == "foreign" and not options.overwrite
                ):
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


@dataclass(frozen=True)
class _Seen:
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

    def outcomes(self, judgements: Sequence[Judgement], gallery: Gallery) -> tuple[RestoredFace, ...]:
        """What becomes of each face where it is judged so."""
        return tuple(
            outcome_of(face, self.owners[index], judgements[index], gallery, index in self.plans)
            for index, face in enumerate(self.faces)
        )


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
        settings,
        journal.keep_settings(settings),
        restorer.weights_id,
        finder.kit_name,
        people.enrolled,
        known,
        names=options.mark and options.write_names,
    )


def _restore_photo(
    run: _Run[DictionaryT], file: PhotoFile, output: Path, standing: Standing, work: bool
) -> RestoredPhoto:
    """Restore and write one photo. work: restore its faces, though it may be a dry run.

    Where only somebody might be recognised who was not, and nobody is, the result that is there stays.
    """
    seen = _look_at(run, file)
    photo, gallery, options = seen.photo, run.people.gallery, run.options
    judgements = [expected(seen.plans.get(index), owner.match, options) for index, owner in enumerate(seen.owners)]
    faces = seen.outcomes(judgements, gallery)
    result = RestoredPhoto(file.path, output, "skipped", 0.0, said=seen.said.decided, heard=seen.heard)
    result = replace(result, corrected=bool(seen.said.corrected))
    if standing.earlier is not None and _are_the_same(faces, standing.earlier, run.people.enrolled):
        run.journal.write(_seen_again(faces, standing.earlier, run))
        return replace(result, standing="current")
    began = time.monotonic()
    canvas = None
    if seen.wanted and work:
        chosen = [(seen.faces[index], seen.owners[index].match, seen.plans[index]) for index in seen.wanted]
        left_alone = [seen.faces[index] for index in seen.plans if index not in seen.wanted]
        canvas, judged = restore_faces(photo, chosen, run.finder, run.restorer, run.people, options, left_alone)
        for index, judgement in zip(seen.wanted, judged, strict=True):
            judgements[index] = judgement
        faces = seen.outcomes(judgements, gallery)
    restored = any(face.used != "none" for face in faces)
    is_written = restored or not options.only_restored
    changed = canvas if restored else None
    content, doubts = _encode(run, photo, changed, faces, output) if is_written else (None, ())
    notes = seen.notes + doubts
    cost = Cost(len(photo.source))
    if canvas is not None:
        cost = Cost(len(photo.source), len(content or photo.source), time.monotonic() - began)
    elif content is not None and not restored:
        cost = Cost(len(photo.source), len(content))
    result = replace(
        result, output=output if is_written else None, status="restored" if restored else "untouched", faces=faces
    )
    if not options.dry_run:
        accounts, lacking = run.evidence.accounts(photo, changed, seen.faces, judgements, seen.matches, run.people)
        rows = [
            replace(row, account={**account, **told_of(face), "named": run.circumstances.named(row)})
            for face, account in zip(faces, accounts, strict=True)
            for row in (row_of(face, run.people.enrolled),)
        ]
        notes += () if lacking is None else (lacking,)
        if rows and notes:
            rows[0] = replace(rows[0], account={**rows[0].account, "notes": list(notes)})
        notes += _keep(run, seen, result, rows, content, output, standing)
    return replace(result, notes=notes, cost=cost)


def _look_at(run: _Run[DictionaryT], file: PhotoFile) -> _Seen:
    """Read a photo, find its faces, and say whose they are and how far each can be trusted."""
    options = run.options
    stamp = input_stamp(file.path)
    photo = read_photo(file.path)
    digest = hashlib.sha256(photo.source).hexdigest()
    beside = run.statements.beside(file)
    tags = read_tags(photo, beside) if options.tags == "use" else Tags()
    said = run.statements.about(file, digest)
    found = find_faces(run.finder, photo.pixels, said.drawn())
    found = [leave_engraving(face) for face in found] if options.engravings == "leave" else found
    owners = find_owners(found, run.people.gallery, options, tags.faces, said)
    faces = [set_aside(face, owner.decision) for face, owner in zip(found, owners, strict=True)]
    mark = earlier_mark(photo)
    plans = {
        index: plan_decided(face, owner, run.finder, options, is_marked(face.box, photo, mark))
        for index, (face, owner) in enumerate(zip(faces, owners, strict=True))
        if face.rejected is None and is_looked_at(owner, options)
    }
    said_digest = digest_of_said(beside, said, run.statements.enrolled)
    before = () if mark is None else (f"was restored by dmd already ({mark.count} face{'s' * (mark.count != 1)})",)
    notes = photo.notes + tags.notes + before
    return _Seen(photo, stamp, digest, tuple(faces), tuple(owners), plans, said, said_digest, notes)


def _are_the_same(faces: Sequence[RestoredFace], earlier: PhotoRow, enrolled: Mapping[str, Enrolled]) -> bool:
    """Whether each face is whose it was: all that depends on more people being known than before."""
    today = [None if face.person is None else enrolled[face.person].id for face in faces]
    return today == [None if face.match is None else face.match.person for face in earlier.faces]


def _seen_again(faces: Sequence[RestoredFace], earlier: PhotoRow, run: _Run[DictionaryT]) -> PhotoRow:
    """The row of a result that stays, with whom its faces resemble by now."""
    rows = [row_of(face, run.people.enrolled) for face in faces]
    kept = tuple(replace(old, match=row.match, near=row.near) for row, old in zip(rows, earlier.faces, strict=True))
    return replace(earlier, known=run.circumstances.known, faces=kept)


def _encode(
    run: _Run[DictionaryT], photo: Photo, canvas: Canvas | None, faces: Sequence[RestoredFace], output: Path
) -> tuple[bytes, tuple[str, ...]]:
    """The file of a result, and sentences about what it could not be given. canvas: None where no face was restored."""
    options = run.options
    if canvas is None and not is_converted(photo, options.ext):
        return (without_place(photo.source, output) if options.without_location else photo.source), ()
    packet, doubts = (None, ()) if canvas is None else marked_packet(photo, faces, run.circumstances, options)
    content = encode_photo(
        photo,
        photo.original if canvas is None else canvas.stored,
        output,
        quality=options.quality,
        ext=options.ext,
        without_location=options.without_location,
        packet=packet,
    )
    return content, doubts


def _keep(
    run: _Run[DictionaryT],
    seen: _Seen,
    result: RestoredPhoto,
    rows: Sequence[FaceRow],
    content: bytes | None,
    output: Path,
    standing: Standing,
) -> tuple[str, ...]:
    """Write a result with what lies beside the photo, and note it in the journal; sentences about what was not copied.

    Side files come first: once the journal says that a photo is done, nobody looks at them again.
    """
    photo, today = seen.photo, run.circumstances
    row = PhotoRow(
        place=run.journal.place(output),
        photo=whole_path(photo.path),
        result="restored" if result.status == "restored" else "untouched",
        input_digest=seen.digest,
        input_stamp=settled_stamp(photo.path, seen.stamp, seen.digest),
        output_digest=None if content is None else hashlib.sha256(content).hexdigest(),
        replaced_digest=standing.ours,
        settings=today.digest,
        weights=today.weights,
        kit=today.kit,
        known=today.known,
        said=seen.said_digest,
        faces=tuple(rows),
    )
    notes: tuple[str, ...] = ()
    if content is not None:
        without_location = run.options.without_location
        doubt = location_doubt(photo) if without_location else None
        notes = (() if doubt is None else (doubt,)) + copy_side_files(
            photo.path, output, without_location=without_location
        )
    put(run.journal, row, content, output, photo.modified)
    return notes
