"""Builds what the verbs hand to the pipelines; everything heavy is imported when it is asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dmdcli.library import Library


def build_library() -> Library:
    """Open the library of enrolled people in DMD_HOME or, without it, in the platform's data folder."""
    from dmdcli.library import Library

    home = os.environ.get("DMD_HOME")
    return Library(Path(home).expanduser() if home else None)
