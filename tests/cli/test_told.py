"""What `dmd restore` says of photos and faces, apart from restoring any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dmdcli.cli.restore import faces_in_all
from dmdcli.cli.restored import as_record, duration, less_than_asked, recognised
from dmdcli.decisions import Decision, find
from dmdcli.faces.identity import Curve
from dmdcli.pipeline.judge import Used
from dmdcli.pipeline.outcome import RestoredFace, RestoredPhoto


def test_of_several_faces_the_same_reason_is_said_once() -> None:
    def face(used: Used, strength: float, reason: str | None) -> RestoredFace:
        matrix = np.eye(2, 3, dtype=np.float32)
        return RestoredFace((0, 0, 9, 9), matrix, None, None, used, strength=strength, reason=reason)

    weak = [face("generic", 0.5, f"with less strength: it would not be who it was (similarity 0.9{n})") for n in (1, 2)]
    small = face("generic", 0.25, "the face is only 60 pixels wide; the mouth is left as it was")
    assert less_than_asked([face("specific", 1.0, None), small]) == [
        "restored in part or weaker (strength 0.25): the face is only 60 pixels wide; the mouth is left as it was"
    ]
    assert less_than_asked([*weak, small, face("none", 0.0, "already sharp")]) == [
        "left alone: already sharp",
        "3 restored in part or weaker: with less strength: it would not be who it was (2), "
        "the face is small (1), the mouth is left as it was (1)",
    ]


def test_a_dry_run_says_by_what_and_where_somebody_was_recognised() -> None:
    matrix = np.zeros((2, 3), np.float32)
    face = RestoredFace((10.0, 20.0, 50.0, 70.0), matrix, "Anna", 0.8341, "specific")
    assert recognised(face, {"Anna": 4}) == "Anna (0.83, 4 references) at 30, 45"
    assert recognised(face, None) == "Anna (0.83)"
    assert [duration(seconds) for seconds in (7.4, 99.0, 700.0, 12_000.0)] == ["7 s", "99 s", "12 min", "3 h 20 min"]


def test_faces_are_numbered_as_decisions_number_them() -> None:
    boxes = [(0.0, 0.0, 9.0, 9.0), (20.0, 0.0, 29.0, 9.0)]
    faces = tuple(RestoredFace(box, np.zeros((2, 3), np.float32), None, None, "none") for box in boxes)
    photo = RestoredPhoto(Path("a.png"), None, "untouched", 0.0, faces)
    record: Any = as_record(photo, "base", "made-up", Curve(1.0, 1.0, "made up", measured=False))
    assert [face["number"] for face in record["faces"]] == [1, 2]
    for face in record["faces"]:
        decision = Decision(number=face["number"], leave_alone=True)
        assert tuple(face["box"]) == boxes[find([decision], boxes).index(decision)]


def test_the_bar_expects_as_many_faces_a_photo_as_were_seen() -> None:
    assert faces_in_all(0, 0, 20) is None
    assert faces_in_all(6, 2, 10) == 30
