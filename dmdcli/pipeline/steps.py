"""What happens to one photo in a run of `dmd restore`, step by step: looked at, restored, finished, kept.

Looking at a photo and finishing it touch nothing that other photos touch, and may happen in threads. Restoring (the
network, the people's dictionaries) belongs to one thread, and all three may happen on another machine, to a photo that
was fetched. Standing, fetching and keeping are done where photos, journal and results are; what is kept in one thread.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from dmdcli.errors import DMDError, PhotoError
from dmdcli.formats.changed import Changed
from dmdcli.formats.picture import megapixels
from dmdcli.journal import FaceRow, PhotoRow, Stamp
from dmdcli.photos import (
    Canvas,
    Photo,
    encode_photo,
    is_converted,
    location_doubt,
    without_place,
)
from dmdcli.pipeline.blend import (
    Chosen,
    ask_network,
    restore_faces,
)
from dmdcli.pipeline.evidence import leave_out, without_pictures
from dmdcli.pipeline.judge import Judgement
from dmdcli.pipeline.mark import marked_packet
from dmdcli.pipeline.one_photo import only_this_photo
from dmdcli.pipeline.outcome import Cost, RestoredFace, RestoredPhoto, Status, row_of, told_of
from dmdcli.pipeline.people import DictionaryT, Restored
from dmdcli.pipeline.seen import Bench, Given, Run, Seen, look_at, open_photo
from dmdcli.pipeline.standing import (
    Enrolled,
    Standing,
    judge,
    put,
    settled_stamp,
    whole_path,
)
from dmdcli.places import PhotoFile
from dmdcli.side_files import copy_side_files

SAMPLE = 3
"""Faces restored in a dry run, to say what all of them will take."""


@dataclass(frozen=True)
class Underway:
    """A photo on its way through the run; what a step found is there for the next ones.

    megapixels: of the photo, 0 where it need not be read. given: its file. seen: its faces. answers: of the network,
    for the faces that are wanted, emptied when they are blended in; None where it was not asked. finished: what is to
    be kept. outcome: what became of it, once that is settled. again: the row of a result that stays, where its faces
    resemble others by now. failure: why it failed. seconds: spent on it in all steps so far; asking: of them, on the
    network.
    """

    file: PhotoFile
    output: Path
    standing: Standing | None = None
    megapixels: float = 0.0
    given: Given | None = field(default=None, repr=False)
    seen: Seen | None = field(default=None, repr=False)
    answers: list[Restored] | None = field(default=None, repr=False)
    finished: Finished | None = field(default=None, repr=False)
    asking: float = 0.0
    outcome: RestoredPhoto | None = None
    again: PhotoRow | None = field(default=None, repr=False)
    failure: PhotoError | None = None
    seconds: float = 0.0

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is to be done for it."""
        return self.outcome is not None or self.failure is not None

    @property
    def found(self) -> Seen:
        """What was seen in a photo that is not settled."""
        assert self.seen is not None
        return self.seen


@dataclass(frozen=True)
class Finished:
    """A result as it will be kept; the photo itself is no longer needed.

    rows: of its faces. content: of its file, None where none is written. digest: SHA-256 of the photo. stamp: of its
    file before it was read. modified: its time, in nanoseconds. said_digest: of all that was said of it. doubt: a
    sentence where the place where it was taken may not all have been taken out.
    """

    result: RestoredPhoto
    digest: str
    stamp: Stamp
    modified: int
    said_digest: str | None
    rows: tuple[FaceRow, ...] = ()
    content: bytes | None = field(default=None, repr=False)
    doubt: str | None = None


def keep_pictures(
    keep: Callable[[str, bytes], None], pictures: Sequence[tuple[str, bytes]], lost: set[str], underway: Underway
) -> Underway:
    """Keep the pictures for the report that were made elsewhere, by their names, in their order.

    From the first on that cannot be kept, what names them is left out of the accounts and it is noted, as where they
    are made. lost: names of all that could not be kept so far, for a reference is sent once for many photos; they are
    put in and taken out here.
    """
    finished, lacking = underway.finished, None
    lost.update(name for name, _ in pictures)
    try:
        for name, content in pictures:
            keep(name, content)
            lost.discard(name)
    except DMDError as error:
        lacking = without_pictures(error)
    if finished is None or not finished.rows or not lost:
        return underway
    rows = [replace(row, account=leave_out(row.account, lost)) for row in finished.rows]
    if lacking is None:
        return replace(underway, finished=replace(finished, rows=tuple(rows)))
    notes = (*finished.result.notes, lacking)
    rows[0] = replace(rows[0], account={**rows[0].account, "notes": list(notes)})
    result = replace(finished.result, notes=notes)
    return replace(underway, finished=replace(finished, rows=tuple(rows), result=result))


def step(work: Callable[[Underway], Underway], underway: Underway) -> Underway:
    """One step for a photo, unless it is settled; what fails concerns that photo alone."""
    if underway.is_settled:
        return underway
    began = time.monotonic()
    try:
        with only_this_photo(underway.file.path):
            underway = work(underway)
    except PhotoError as error:
        underway = replace(underway, failure=error)
    return replace(underway, seconds=underway.seconds + time.monotonic() - began)


def stand(run: Run[DictionaryT], underway: Underway) -> Underway:
    """Find out what there is in the result's place, and whether anything is to be done."""
    file, output, options = underway.file, underway.output, run.options
    standing = judge(
        run.journal,
        file.path,
        output,
        run.circumstances,
        partial(run.statements.digest, file),
        overwrite=options.overwrite,
        only_restored=options.only_restored,
    )
    underway = replace(underway, standing=standing)
    if standing.verdict in ("current", "taken") or (standing.verdict == "foreign" and not options.overwrite):
        said, heard = run.statements.before(file, run.journal.row(run.journal.place(output)))
        there = output if output.is_file() else None
        return replace(underway, outcome=RestoredPhoto(file.path, there, "skipped", 0.0, said=said, heard=heard))
    return replace(underway, megapixels=megapixels(file.path))


def fetch(run: Run[DictionaryT], underway: Underway) -> Underway:
    """Read a photo's file."""
    return replace(underway, given=open_photo(run, underway.file))


def look(run: Bench[DictionaryT], underway: Underway) -> Underway:
    """Find the faces of a photo that was fetched."""
    assert underway.given is not None
    return replace(underway, given=None, seen=look_at(run, underway.file, underway.megapixels, underway.given))


def restore_seen(run: Bench[DictionaryT], group: Sequence[Underway], sampled: int) -> list[Underway]:
    """Ask the network about all wanted faces of some photos at once.

    sampled: faces asked about before; of a dry run only the first few are restored. A photo in which only somebody
    might be recognised who was not, and nobody is, is settled: the result that is there stays.
    """
    group = [step(partial(_settle_same, run), one) for one in group]
    chosen: list[list[Chosen]] = []
    for one in group:
        work = not one.is_settled and (not run.options.dry_run or sampled < SAMPLE)
        chosen.append(one.found.chosen if work else [])
        sampled += len(chosen[-1])
    every = [each for some in chosen for each in some]
    if not every:
        return group
    began = time.monotonic()
    try:
        answers = iter(ask_network(every, run.restorer, run.people, run.options))
    except (MemoryError, RuntimeError):
        if len(group) == 1:
            return [step(partial(_ask, run, chosen[0]), group[0])]
        return [step(partial(_ask, run, some), one) if some else one for one, some in zip(group, chosen, strict=True)]
    each = (time.monotonic() - began) / len(every)
    return [
        replace(
            one,
            answers=[next(answers) for _ in some],
            asking=each * len(some),
            seconds=one.seconds + each * len(some),
        )
        if some
        else one
        for one, some in zip(group, chosen, strict=True)
    ]


def _ask(run: Bench[DictionaryT], chosen: Sequence[Chosen], underway: Underway) -> Underway:
    """Ask the network about the faces of one photo."""
    began = time.monotonic()
    answers = list(ask_network(chosen, run.restorer, run.people, run.options))
    return replace(underway, answers=answers, asking=time.monotonic() - began)


def _settle_same(run: Bench[DictionaryT], underway: Underway) -> Underway:
    """Settle a photo whose result would be made again only if somebody were recognised who is not."""
    seen, standing, enrolled = underway.found, underway.standing, run.people.enrolled
    if standing is None or standing.earlier is None:
        return underway
    faces = seen.outcomes(seen.expected(run.options), run.people.gallery)
    if not _are_the_same(faces, standing.earlier, enrolled):
        return underway
    again = _seen_again(faces, standing.earlier, run)
    return replace(underway, outcome=replace(_told(underway), standing="current"), again=again)


def _told(underway: Underway) -> RestoredPhoto:
    """What is told of a photo that was looked at, before anything was made of it."""
    said, heard = underway.found.said, underway.found.heard
    told = RestoredPhoto(underway.file.path, underway.output, "skipped", 0.0, said=said.decided, heard=heard)
    return replace(told, corrected=bool(said.corrected))


def _blend_in(
    run: Bench[DictionaryT], seen: Seen, answers: list[Restored] | None
) -> tuple[Canvas | None, list[Judgement]]:
    """The photo with what is published of the network's answers, which are used up, and what that is of each face."""
    judgements = seen.expected(run.options)
    if answers is None:
        return None, judgements
    left_alone = [seen.faces[index] for index in seen.plans if index not in seen.wanted]
    canvas, judged = restore_faces(
        seen.photo, seen.chosen, answers, run.finder.kit, run.people.gallery, run.options, left_alone
    )
    for index, judgement in zip(seen.wanted, judged, strict=True):
        judgements[index] = judgement
    return canvas, judgements


def finish(run: Bench[DictionaryT], underway: Underway) -> Underway:
    """Judge and blend in what the network made of a photo's faces, and make its file and the rows of the journal."""
    began = time.monotonic()
    seen, options, gallery, enrolled = underway.found, run.options, run.people.gallery, run.people.enrolled
    photo, output = seen.photo, underway.output
    canvas, judgements = _blend_in(run, seen, underway.answers)
    faces = seen.outcomes(judgements, gallery)
    restored = any(face.used != "none" for face in faces)
    is_written = restored or not options.only_restored
    changed = canvas if restored else None
    accounts: list[dict[str, object]] = []
    lacking: str | None = None
    if not options.dry_run:
        accounts, lacking = run.evidence.accounts(photo, changed, seen.faces, judgements, seen.matches, run.people)
    judgements.clear()  # and their pictures
    with run.alone(underway.megapixels):
        content, doubts = _encode(run, photo, changed, faces, output) if is_written else (None, ())
    notes = seen.notes + doubts
    cost = Cost(len(photo.source))
    if canvas is not None:
        restoring = underway.asking + time.monotonic() - began
        cost = Cost(len(photo.source), len(content or photo.source), restoring)
    elif content is not None and not restored:
        cost = Cost(len(photo.source), len(content))
    status: Status = "restored" if restored else "untouched"
    result = replace(_told(underway), output=output if is_written else None, status=status, faces=faces, cost=cost)
    finished = Finished(replace(result, notes=notes), seen.digest, seen.stamp, photo.modified, seen.said_digest)
    if options.dry_run:
        return replace(underway, finished=finished, seen=None, answers=None)
    rows = [
        replace(row, account={**account, **told_of(face), "named": run.circumstances.named(row)})
        for face, account in zip(faces, accounts, strict=True)
        for row in (row_of(face, enrolled),)
    ]
    notes += () if lacking is None else (lacking,)
    if rows and notes:
        rows[0] = replace(rows[0], account={**rows[0].account, "notes": list(notes)})
    finished = replace(
        finished,
        result=replace(result, notes=notes),
        rows=tuple(rows),
        content=content,
        doubt=location_doubt(photo) if content is not None and options.without_location else None,
    )
    return replace(underway, finished=finished, seen=None, answers=None)


def keep(run: Run[DictionaryT], underway: Underway) -> RestoredPhoto:
    """Write what came of a photo, and say what that was."""
    underway = step(partial(_keep_finished, run), underway)
    if underway.failure is not None:
        reason, path = underway.failure.reason, underway.file.path
        run.journal.fail(run.journal.place(underway.output), whole_path(path), reason)
        said, heard = run.statements.before(underway.file, None)
        return RestoredPhoto(path, None, "failed", underway.seconds, error=reason, said=said, heard=heard)
    if underway.again is not None:
        run.journal.write(underway.again)
    result, standing = underway.outcome, underway.standing
    assert result is not None
    assert standing is not None
    verdict = result.standing or standing.verdict
    return replace(result, standing=verdict, reason=standing.reason, seconds=underway.seconds)


def _keep_finished(run: Run[DictionaryT], underway: Underway) -> Underway:
    """Write a result and its row, unless this is a dry run."""
    finished = underway.finished
    assert finished is not None
    notes = () if run.options.dry_run else _keep(run, underway, finished)
    result = finished.result
    return replace(underway, outcome=replace(result, notes=result.notes + notes))


def _are_the_same(faces: Sequence[RestoredFace], earlier: PhotoRow, enrolled: Mapping[str, Enrolled]) -> bool:
    """Whether each face is whose it was: all that depends on more people being known than before."""
    today = [None if face.person is None else enrolled[face.person].id for face in faces]
    return today == [None if face.match is None else face.match.person for face in earlier.faces]


def _seen_again(faces: Sequence[RestoredFace], earlier: PhotoRow, run: Bench[DictionaryT]) -> PhotoRow:
    """The row of a result that stays, with whom its faces resemble by now."""
    rows = [row_of(face, run.people.enrolled) for face in faces]
    kept = tuple(replace(old, match=row.match, near=row.near) for row, old in zip(rows, earlier.faces, strict=True))
    return replace(earlier, known=run.circumstances.known, faces=kept)


def _encode(
    run: Bench[DictionaryT], photo: Photo, canvas: Canvas | None, faces: Sequence[RestoredFace], output: Path
) -> tuple[bytes, tuple[str, ...]]:
    """The file of a result, and sentences about what it could not be given. canvas: None where no face was restored."""
    options = run.options
    if canvas is None and not is_converted(photo, options.ext):
        return (without_place(photo.source, output) if options.without_location else photo.source), ()
    packet, doubts = (None, ()) if canvas is None else marked_packet(photo, faces, run.circumstances, options)
    content = encode_photo(
        photo,
        Changed(photo.original) if canvas is None else canvas.changed,
        output,
        quality=options.quality,
        ext=options.ext,
        without_location=options.without_location,
        packet=packet,
    )
    return content, doubts


def _keep(run: Run[DictionaryT], underway: Underway, finished: Finished) -> tuple[str, ...]:
    """Write a result and what lies beside the photo, and note it in the journal; sentences on what was not copied."""
    standing, content, today = underway.standing, finished.content, run.circumstances
    assert standing is not None
    path, output = underway.file.path, underway.output
    row = PhotoRow(
        place=run.journal.place(output),
        photo=whole_path(path),
        result="restored" if finished.result.status == "restored" else "untouched",
        input_digest=finished.digest,
        input_stamp=settled_stamp(path, finished.stamp, finished.digest),
        output_digest=None if content is None else hashlib.sha256(content).hexdigest(),
        replaced_digest=standing.ours,
        settings=today.digest,
        weights=today.weights,
        kit=today.kit,
        known=today.known,
        said=finished.said_digest,
        faces=finished.rows,
    )
    notes = [] if finished.doubt is None else [finished.doubt]

    def beside() -> None:
        notes.extend(copy_side_files(path, output, without_location=run.options.without_location))

    put(run.journal, row, content, output, finished.modified, beside)
    return tuple(notes)
