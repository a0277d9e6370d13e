"""What restoring says of what was decided."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from dmdcli.cli.console import Terminal
from dmdcli.cli.decided import tell_tags, tell_unheard
from dmdcli.cli.tally import Tally
from dmdcli.decisions import parse_decisions
from dmdcli.pipeline.by_hand import NOT_A_FACE
from dmdcli.pipeline.outcome import RestoredFace, RestoredPhoto

BOX = (10.0, 20.0, 110.0, 120.0)
MATRIX = np.eye(2, 3, dtype=np.float32)


def test_no_face_is_nobodys(capsys: pytest.CaptureFixture[str]) -> None:
    stranger = RestoredFace(BOX, MATRIX, None, None, "generic", assigned_by="decision")
    none = RestoredFace(BOX, MATRIX, None, None, "none", (NOT_A_FACE,), assigned_by="decision", usable=False)
    photo = Path("a.jpg")
    tally = Tally()
    tally.see(RestoredPhoto(photo, photo, "restored", 1.0, (stranger, none)))
    tell_tags(Terminal(), tally)
    assert capsys.readouterr().out == "Said whose they are: 1 face by a decision.\n"
    tally = Tally()
    tally.see(RestoredPhoto(photo, photo, "untouched", 1.0, (none,)))
    tell_tags(Terminal(), tally)
    assert capsys.readouterr().out == ""


FILE = """format = 1
[[photo]]
place = "a.jpg"
[[photo.face]]
number = 1
stranger = true
[[photo.face]]
number = 1
stranger = true
"""


def test_a_decision_is_known_again_when_another_machine_heard_it(capsys: pytest.CaptureFixture[str]) -> None:
    decided, photo = parse_decisions(FILE, Path("decisions.toml")), Path("a.jpg")
    earlier, later = decided
    tally = Tally()
    tally.see(
        pickle.loads(pickle.dumps(RestoredPhoto(photo, photo, "restored", 1.0, said=(earlier, later), heard=(later,))))
    )
    assert tell_unheard(Terminal(), decided, tally)
    assert capsys.readouterr().err == (
        "dmd: decisions.toml, line 4: a.jpg has no such face, or another decision is about it\n"
    )
    tally.see(pickle.loads(pickle.dumps(RestoredPhoto(photo, photo, "restored", 1.0, heard=(earlier,)))))
    assert not tell_unheard(Terminal(), decided, tally)
    assert capsys.readouterr().err == ""
