"""The faces of one photo restored, judged and blended in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from dmdcli.faces.align import blend_mask, carry_change, carry_mask, outlined_mask, region_of_interest, scale_of
from dmdcli.faces.face import Face, component_boxes
from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.identity import THRESHOLD, Gallery, Match
from dmdcli.faces.kit import FaceKit
from dmdcli.faces.surface import is_engraved, keep_grain, keep_tone
from dmdcli.photos import Canvas, Photo
from dmdcli.pipeline.judge import (
    ALREADY_GOOD,
    RESTORED_ALREADY,
    Judgement,
    Plan,
    Subject,
    Used,
    is_already_good,
    judge_faces,
    likeness_to,
    plan_face,
    take_first,
    without_components,
)
from dmdcli.pipeline.people import CropRestorer, DictionaryT, People, Restored
from dmdcli.shapes import FloatPixels, Matrix, as_floats, overlap

Surface: TypeAlias = Literal["keep", "model"]
AT_ONCE = 16
"""Faces of a photo that are judged together."""
Chosen: TypeAlias = "tuple[Face, Match | None, Plan]"
"""A face to be restored, whose it is, and what is trusted of its change."""


@dataclass(frozen=True)
class RestoreOptions:
    """What the user asked for.

    strength: 0..1, how much of the change is taken. tone: "keep" leaves a print in one tone in it, "model" takes the
    network's colours. grain: "keep" gives restored faces the print's grain, "model" leaves them smooth. engravings:
    whether faces made of lines or dots are left alone. already_good: whether sharp and clean
    faces are, and faces restored by dmd before. judge: publish
    of each face what is best, weaker or nothing where it would do harm (`judge.judge`); else what the person's
    dictionary gives, as strongly as asked for. threshold: similarity from which a face is a person's. only: the people
    to look for, None for all; one name forces the match in a photo with a single face. tags:
    whether faces that other programs named are theirs. ext, quality: of what is
    written, see `photos.write_photo`. only_restored: photos in which nothing was restored are not copied. overwrite:
    write again what is there. dry_run: read and recognise, but restore and write nothing. without_location: GPS is
    taken out of what is written. mark: a restored photo says so in its XMP. write_names: people's names may stand in
    what is written. evidence: pictures are kept for the report, see `evidence.Evidence`.
    """

    strength: float = 1.0
    tone: Surface = "keep"
    grain: Surface = "keep"
    engravings: Literal["leave", "restore"] = "leave"
    already_good: Literal["leave", "restore"] = "leave"
    judge: bool = True
    threshold: float = THRESHOLD
    only: tuple[str, ...] | None = None
    tags: Literal["use", "ignore"] = "use"
    ext: str = "auto"
    quality: int | None = None
    only_restored: bool = False
    overwrite: bool = False
    dry_run: bool = False
    without_location: bool = False
    mark: bool = True
    write_names: bool = False
    evidence: bool = False


def restore_faces(
    photo: Photo,
    chosen: Sequence[Chosen],
    restored: list[Restored],
    kit: FaceKit,
    gallery: Gallery,
    options: RestoreOptions,
    left_alone: Sequence[Face] = (),
) -> tuple[Canvas, list[Judgement]]:
    """Return the photo with the chosen faces restored and blended in, and what was published of each.

    restored: what `ask_network` says of them; taken out of the list as they are judged, for each takes 3 MB and more.
    left_alone: as for `blend_faces`. Only the change the network made goes back into the photo, so its own finer detail
    and depth stay.
    """
    subjects: list[Subject] = []
    judgements: list[Judgement] = []
    for first in range(0, len(chosen), AT_ONCE):
        some = subjects_of(chosen[first : first + AT_ONCE], restored[:AT_ONCE], kit, gallery, options)
        del restored[:AT_ONCE]
        judgements += judge_faces(some, kit) if options.judge else [take_first(subject) for subject in some]
        subjects += [replace(subject, answers=()) for subject in some]
    return blend_faces(photo, subjects, judgements, left_alone), judgements


def blend_faces(
    photo: Photo, subjects: Sequence[Subject], judgements: Sequence[Judgement], left_alone: Sequence[Face] = ()
) -> Canvas:
    """Return the photo with what is published of each subject blended in; only the pixels under the faces are touched.

    Where two faces overlap, those of `left_alone`, and those of which nothing is published, stay as they are; of the
    others the first has the say.
    """
    canvas = photo.canvas()
    size = (photo.pixels.shape[1], photo.pixels.shape[0])
    done = [
        _Covered(region_of_interest(face.matrix, size), face.matrix, blend_mask(face.landmarks.points))
        for face in left_alone
    ]
    for subject, judgement in zip(subjects, judgements, strict=True):
        if judgement.answer is None:
            done.append(_Covered(region_of_interest(subject.face.matrix, size), subject.face.matrix, subject.mask))
    for subject, judgement in zip(subjects, judgements, strict=True):
        if judgement.answer is None:
            continue
        matrix, mask = subject.face.matrix, subject.mask
        box = region_of_interest(matrix, size)
        for other in done:
            if overlap(box, other.box) > 0:
                mask = mask * (1 - carry_mask(other.mask, other.matrix, matrix))
        size_there, strength = (box[2] - box[0], box[3] - box[1]), judgement.strength
        given = subject.face.pixels
        for rows, columns, change in carry_change(judgement.answer, given, mask, matrix, box[:2], size_there, strength):
            canvas.add(box[0] + columns.start, box[1] + rows.start, change)
        done.append(_Covered(box, matrix, mask))
    return canvas


@dataclass(frozen=True)
class _Covered:
    """A face whose pixels have their say already. box: x0, y0, x1, y1 in the photo. mask: (512, 512), of its crop."""

    box: tuple[int, int, int, int]
    matrix: Matrix
    mask: npt.NDArray[np.float32]


def restore_crops(
    chosen: Sequence[Chosen],
    kit: FaceKit,
    restorer: CropRestorer[DictionaryT],
    people: People[DictionaryT],
    options: RestoreOptions,
) -> list[Subject]:
    """Return the answers of the network for faces, ready to be judged or blended in."""
    return subjects_of(chosen, ask_network(chosen, restorer, people, options), kit, people.gallery, options)


def ask_network(
    chosen: Sequence[Chosen],
    restorer: CropRestorer[DictionaryT],
    people: People[DictionaryT],
    options: RestoreOptions,
) -> Sequence[Restored]:
    """Return the answers of the network for faces, of one photo or of several, as it gives them."""
    return restorer.restore(
        np.stack([face.pixels for face, *_ in chosen]),
        np.stack([component_boxes(face.landmarks.points) for face, *_ in chosen]),
        [None if match is None else people.dictionary(match.person) for _, match, _ in chosen],
        both=options.judge,
    )


def subjects_of(
    chosen: Sequence[Chosen],
    restored: Sequence[Restored],
    kit: FaceKit,
    gallery: Gallery,
    options: RestoreOptions,
) -> list[Subject]:
    """Return the network's answers in the surface of their print, each with where it goes.

    Where the kit knows the face's outline, hair and hands stay as they were; it is seen in the restored face, which is
    the clearer picture.
    """
    answers = [_answers(result) for result in restored]
    outlines = kit.outlines(np.stack([np.rint(best * 255).astype(np.uint8) for (_, best), *_ in answers]))
    subjects = []
    for index, (face, match, plan) in enumerate(chosen):
        mask = outlined_mask(blend_mask(face.landmarks.points), None if outlines is None else outlines[index])
        surfaced = [(used, _with_surface(answer, face, mask, options)) for used, answer in answers[index]]
        mask = without_components(mask, face.landmarks.points, plan.skipped)
        likeness = likeness_to(face, match, gallery, kit)
        subjects.append(Subject(face, plan, surfaced, mask, asked_of(plan, options), likeness))
    return subjects


def expected(plan: Plan | None, match: Match | None, options: RestoreOptions) -> Judgement:
    """What is published of a face unless it is judged otherwise; plan: None where it is not to be restored."""
    if plan is None or plan.strength == 0:
        return Judgement("none", 0.0, reasons=() if plan is None else plan.reasons)
    return Judgement(
        "generic" if match is None else "specific", plan.strength * asked_of(plan, options), reasons=plan.reasons
    )


def asked_of(plan: Plan, options: RestoreOptions) -> float:
    """The strength asked for of one face, in [0, 1]."""
    return options.strength if plan.asked is None else plan.asked


def plan_restoring(face: Face, finder: FaceFinder, options: RestoreOptions, is_restored: bool = False) -> Plan:
    """How far the change of a usable face is trusted before it is made: not at all where the face is good already.

    is_restored: by dmd, in an earlier run whose result this photo is.
    """
    if options.already_good == "leave" and is_restored:
        return Plan(0.0, reasons=(RESTORED_ALREADY,))
    if options.already_good == "leave" and is_already_good(face):
        return Plan(0.0, reasons=(ALREADY_GOOD,))
    return plan_face(face, finder.min_face) if options.judge else Plan()


def _answers(result: Restored) -> list[tuple[Used, FloatPixels]]:
    """The answers that were computed, the specific one first."""
    both: tuple[tuple[Used, FloatPixels | None], ...] = (("specific", result.specific), ("generic", result.generic))
    return [(used, answer) for used, answer in both if answer is not None]


def _with_surface(
    answer: FloatPixels, face: Face, mask: npt.NDArray[np.float32], options: RestoreOptions
) -> FloatPixels:
    """An answer in the tone and with the grain of its print, as far as wanted."""
    given = as_floats(face.pixels)
    changed = keep_tone(answer, given) if options.tone == "keep" else answer
    return keep_grain(changed, given, mask, scale_of(face.matrix)) if options.grain == "keep" else changed


def leave_engraving(face: Face) -> Face:
    """Return the face, refused where it is made of lines or dots."""
    if face.rejected is None and is_engraved(as_floats(face.pixels), blend_mask(face.landmarks.points)):
        return replace(face, rejected="it is made of lines or dots, as engravings and coarse prints are")
    return face
