"""What restoring says of what was decided."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dmdcli.cli.console import Terminal
from dmdcli.cli.decided import tell_tags
from dmdcli.pipeline.by_hand import NOT_A_FACE
from dmdcli.pipeline.outcome import RestoredFace, RestoredPhoto

BOX = (10.0, 20.0, 110.0, 120.0)
MATRIX = np.eye(2, 3, dtype=np.float32)


def test_no_face_is_nobodys(capsys: pytest.CaptureFixture[str]) -> None:
    stranger = RestoredFace(BOX, MATRIX, None, None, "generic", assigned_by="decision")
    none = RestoredFace(BOX, MATRIX, None, None, "none", (NOT_A_FACE,), assigned_by="decision", usable=False)
    photo = Path("a.jpg")
    tell_tags(Terminal(), [RestoredPhoto(photo, photo, "restored", 1.0, (stranger, none))])
    assert capsys.readouterr().out == "Said whose they are: 1 face by a decision.\n"
    tell_tags(Terminal(), [RestoredPhoto(photo, photo, "untouched", 1.0, (none,))])
    assert capsys.readouterr().out == ""
