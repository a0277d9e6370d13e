"""What became of a photo and of each of its faces: as the user is told, and as the journal keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from dmdcli.decisions import Decision
from dmdcli.faces.face import Confidence, Face
from dmdcli.faces.identity import Gallery, Match
from dmdcli.journal import FaceRow, Likeness
from dmdcli.pipeline.judge import ALREADY_GOOD, RESTORED_ALREADY, Judgement, Used
from dmdcli.pipeline.standing import NEAR, Enrolled, Verdict
from dmdcli.pipeline.whose import AS_DECIDED, AssignedBy, Owner
from dmdcli.shapes import Box, Matrix, rounded

Status: TypeAlias = Literal["restored", "untouched", "skipped", "failed"]


@dataclass(frozen=True)
class RestoredFace:
    """One face of a photo.

    box: in photo pixels. matrix: (2, 3) photo -> crop. person: who it was recognised as, with the similarity in [0,
    1]. used: the dictionary it was restored from, or "none". problems: what made it unsure, or why it was left alone.
    assigned_by: who says whose it is; "forced" by --person. conflict: a sentence with names where its tag and
    recognition disagree. near: of a face recognised as nobody, the people whom it resembles by NEAR or more.
    strength: of the blending, 0 where nothing was. similarity_after: of what was published, to the person's
    references or, of a stranger, to the face as it was; None where that was not measured. reason: why it is not
    restored with the strength asked for, None where it is. usable: it could have been restored. landmarks: found by
    the program, or put right by hand. confidence: in them.
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
    landmarks: Literal["detected", "corrected"] = "detected"
    confidence: Confidence | None = None

    @property
    def unsure(self) -> bool:
        """Whether anything about it is a problem, which it is not that it was good or restored already, or decided."""
        return self.conflict is not None or any(
            problem not in (ALREADY_GOOD, RESTORED_ALREADY, *AS_DECIDED) for problem in self.problems
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

    standing: what was found where the result belongs, with the reason; None where that was not found out; "renamed",
    the result of a photo that has another name now. said: the
    decisions about it in the file, and of them heard: those whose face is there. corrected: something about it was put
    right by hand.
    """

    photo: Path
    output: Path | None
    status: Status
    seconds: float
    faces: tuple[RestoredFace, ...] = ()
    error: str | None = None
    notes: tuple[str, ...] = ()
    standing: Verdict | Literal["renamed"] | None = None
    reason: str | None = None
    cost: Cost | None = None
    said: tuple[Decision, ...] = ()
    heard: tuple[Decision, ...] = ()
    corrected: bool = False


def row_of(face: RestoredFace, enrolled: Mapping[str, Enrolled]) -> FaceRow:
    """What the journal keeps of a face: ids in place of names."""

    def likeness(person: str, similarity: float) -> Likeness:
        return Likeness(enrolled[person].id, enrolled[person].version, round(similarity, 4))

    return FaceRow(
        box=rounded(face.box),
        matrix=tuple(tuple(float(number) for number in row) for row in face.matrix),
        result=face.used,
        reason=face.problems,
        match=None if face.person is None or face.similarity is None else likeness(face.person, face.similarity),
        near=tuple(likeness(one.person, one.similarity) for one in face.near),
        usable=face.usable,
        strength=round(face.strength, 4),
        after=None if face.similarity_after is None else round(face.similarity_after, 4),
    )


def told_of(face: RestoredFace) -> dict[str, object]:
    """What the journal's account of a face tells of people's words about it."""
    corrected = {"landmarks": face.landmarks} if face.landmarks == "corrected" else {}
    return {"assigned_by": face.assigned_by, **corrected}


def outcome_of(face: Face, owner: Owner, judgement: Judgement, gallery: Gallery, is_worked_on: bool) -> RestoredFace:
    """What is told of a face. is_worked_on: it is restored, or would be were it not good already."""
    match = owner.match if is_worked_on else None
    problems = [*([] if face.rejected is None else [face.rejected]), *judgement.reasons, *face.doubts]
    if owner.by == "forced" and match is not None:
        problems.insert(0, f"forced: it resembles the person asked for by {match.similarity:.2f} only")
    if owner.conflict is not None:
        problems.insert(0, owner.conflict[0])
    near = gallery.rank(face.embedding, least=NEAR) if face.rejected is None and match is None else []
    return RestoredFace(
        box=face.box,
        matrix=face.matrix,
        person=None if match is None else match.person,
        similarity=None if match is None else match.similarity,
        used=judgement.used,
        problems=tuple(dict.fromkeys(problems)),
        assigned_by=owner.by if is_worked_on or face.rejected is not None else None,
        conflict=None if owner.conflict is None else owner.conflict[1],
        near=tuple(near),
        strength=judgement.strength,
        similarity_after=judgement.similarity,
        reason="; ".join(judgement.reasons) or face.rejected,
        usable=face.rejected is None,
        landmarks=face.landmarks.source,
        confidence=face.confidence,
    )
