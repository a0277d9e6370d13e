"""What a run of `dmd restore` came to, summed up photo by photo, so that no photo is remembered."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from dmdcli.decisions import Decision
from dmdcli.pipeline.estimate import Estimator
from dmdcli.pipeline.judge import ALREADY_GOOD, RESTORED_ALREADY
from dmdcli.pipeline.outcome import RestoredFace, RestoredPhoto
from dmdcli.pipeline.standing import SAID_CHANGED

NO_PLACE = "without a place"
STANDINGS = {"current": "up to date", "taken": NO_PLACE}
"""What is said of photos that were skipped, by their standing."""
ToldApart: TypeAlias = tuple[int, Decision]


@dataclass
class Tally:
    """Sums over the photos seen.

    statuses: of photos, as people are told. used, assigned: of faces, as in RestoredFace; the second only of those that
    are faces. people: name -> how often recognised. good_already: faces left alone, by reason. lowered: faces restored
    in part or weaker. lost: photos made again because of what is said of them. written: there is a result. heard:
    decisions whose face is there, as `told_apart`. said: such a decision -> the photo it is about. seconds: spent
    on all photos, several of them at the same time. began: by the clock.
    """

    photos: int = 0
    skipped: int = 0
    faces: int = 0
    lowered: int = 0
    conflicts: int = 0
    corrected: int = 0
    lost: int = 0
    seconds: float = 0.0
    is_unsure: bool = False
    is_written: bool = False
    statuses: Counter[str] = field(default_factory=Counter)
    used: Counter[str] = field(default_factory=Counter)
    assigned: Counter[str] = field(default_factory=Counter)
    people: Counter[str] = field(default_factory=Counter)
    good_already: Counter[str] = field(default_factory=Counter)
    heard: set[ToldApart] = field(default_factory=set)
    said: dict[ToldApart, Path] = field(default_factory=dict)
    estimator: Estimator = field(default_factory=Estimator)
    began: float = field(default_factory=time.monotonic)

    def see(self, photo: RestoredPhoto) -> None:
        """Count one photo."""
        self.photos += 1
        self.seconds += photo.seconds
        self.skipped += photo.status == "skipped"
        self.is_written |= photo.output is not None
        self.lost += photo.reason == SAID_CHANGED and not photo.corrected
        told = STANDINGS.get(photo.standing or "", photo.status) if photo.status == "skipped" else photo.status
        self.statuses[told] += 1
        self.heard.update(map(told_apart, photo.heard))
        self.said.update((told_apart(one), photo.photo) for one in photo.said)
        self.estimator.see(photo)
        for face in photo.faces:
            self._see_face(face)

    def _see_face(self, face: RestoredFace) -> None:
        self.faces += 1
        self.used[face.used] += 1
        self.lowered += face.used != "none" and face.reason is not None
        self.conflicts += face.conflict is not None
        self.corrected += face.landmarks == "corrected"
        self.is_unsure |= face.unsure
        if face.assigned_by is not None and face.usable:  # not those that are no face
            self.assigned[face.assigned_by] += 1
        if face.person and face.assigned_by == "recognition":
            self.people[face.person] += 1
        if face.reason in (ALREADY_GOOD, RESTORED_ALREADY):
            self.good_already[face.reason] += 1

    @property
    def elapsed(self) -> float:
        """Seconds by the clock since the first photo was waited for."""
        return time.monotonic() - self.began

    @property
    def pace(self) -> float:
        """Seconds by the clock for a second of work on a photo: below 1 where several are worked on at once."""
        return min(1.0, self.elapsed / self.seconds) if self.seconds else 1.0

    @property
    def left_out(self) -> bool:
        """Whether a photo failed, or has no place for its result."""
        return bool(self.statuses["failed"] or self.statuses[NO_PLACE])


def told_apart(decision: Decision) -> ToldApart:
    """A decision with its line, which tells it from others that say the same, also once it was in another process."""
    return decision.line, decision
