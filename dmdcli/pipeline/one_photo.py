"""What a library says of one odd photo concerns that photo alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from dmdcli.errors import PhotoError


@contextmanager
def only_this_photo(path: Path) -> Iterator[None]:
    """Turn what OpenCV, dlib and torch raise, and a lack of memory, into a PhotoError of `path`: the batch goes on.

    Errors of this program, and those that only a bug can cause (ShapeError among them), pass through.
    """
    try:
        yield
    except MemoryError as error:
        raise PhotoError(path, "does not fit into memory; use a smaller copy") from error
    except (cv2.error, RuntimeError) as error:  # dlib and torch raise RuntimeError
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise PhotoError(path, f"cannot be worked on; a library says: {said}") from error
