"""One face restored for a look at it: with the points it has by now, and without judging what comes of it."""

from __future__ import annotations

import numpy as np

from dmdcli.decisions import Decision
from dmdcli.errors import UsageError
from dmdcli.faces.align import crop_face, transform
from dmdcli.faces.confidence import CERTAIN
from dmdcli.faces.face import Face, Landmarks, implausible, problems
from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.fitting import aligning
from dmdcli.faces.identity import Match
from dmdcli.pipeline.blend import RestoreOptions, leave_engraving, plan_restoring, restore_crops
from dmdcli.pipeline.judge import Plan, Used, published
from dmdcli.pipeline.people import CropRestorer, DictionaryT, People
from dmdcli.pipeline.whose import person_called
from dmdcli.shapes import Box, Pixels, Points

ON_ONE_SPOT = "Eyes, nose and mouth lie on one spot; draw them apart."
OPTIONS = RestoreOptions(judge=False, already_good="restore")
"""A preview shows the person's own answer as it is; whether it would be published is for `dmd restore` to judge."""


def face_with(pixels: Pixels, points: Points, box: Box, finder: FaceFinder) -> Face:
    """The face of a photo (H, W, 3) uint8 RGB whose points, (68, 2) float32 in photo pixels, are as somebody put them.

    As `FaceFinder.describe_points`, but it is not recognised: its embedding is empty, so this takes milliseconds.
    UsageError for points that align nothing.
    """
    matrix = aligning(points, box)
    if matrix is None:
        raise UsageError(ON_ONE_SPOT)
    landmarks = Landmarks(transform(points, matrix), source="corrected")
    return Face(
        box=box,
        score=1.0,
        matrix=matrix,
        pixels=crop_face(pixels, matrix),
        landmarks=landmarks,
        embedding=np.zeros(0, dtype=np.float32),
        rejected=implausible(landmarks, finder.kit.trust.lost),
        confidence=CERTAIN,
    )


def preview(
    face: Face,
    person: str | None,
    strength: float,
    finder: FaceFinder,
    restorer: CropRestorer[DictionaryT],
    people: People[DictionaryT],
) -> tuple[Pixels, Used, tuple[str, ...]]:
    """A face restored, (512, 512, 3) uint8 RGB in its crop; from which dictionary; and what stays as it was.

    person: whose face it is; the generic dictionary serves where nobody is enrolled so. strength: in [0, 1]. Tone and
    grain are kept, and components whose place is unsure, as `dmd restore` does: those whose names come back.
    """
    name = None if person is None else person_called(person, people.gallery.people)
    skipped = plan_restoring(face, finder, RestoreOptions(already_good="restore")).skipped
    match = None if name is None else Match(name, 1.0, 0.0)
    (subject,) = restore_crops(
        [(face, match, Plan(1.0, skipped, asked=strength, judged=False))], finder.kit, restorer, people, OPTIONS
    )
    used, answer = subject.answers[0]
    return published(subject, answer, strength), used, skipped


def hints(face: Face, decision: Decision, finder: FaceFinder, is_restored: bool = False) -> tuple[str, ...]:
    """What is worth a second look although the preview shows it, in sentences.

    That is where `dmd restore` would leave the face alone, and what is odd about the shape of points put by hand, which
    count as right all the same. face: with its pixels. A strength decided for it wants it restored though it is
    good. is_restored: by dmd, in an earlier run whose result the photo is.
    """
    if face.rejected is not None:
        return ()
    as_restored = leave_engraving(face)
    why = [] if as_restored.rejected is None else [as_restored.rejected]
    if not why and decision.strength is None:
        plan = plan_restoring(face, finder, RestoreOptions(), is_restored)
        why += plan.reasons if plan.strength == 0 else ()
    left_alone = [f"`dmd restore` would leave this face alone: {'; '.join(why)}"] if why else []
    is_by_hand = face.landmarks.source == "corrected"
    odd = problems(face.landmarks, 1.0, finder.kit.trust.weak) if is_by_hand else ()
    return (*left_alone, *odd)
