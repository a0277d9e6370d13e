"""What a library says of one odd photo concerns that photo alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from dmdcli.errors import KitError, PhotoError


@contextmanager
def only_this_photo(path: Path) -> Iterator[None]:
    """Turn what OpenCV, dlib and torch raise, a lack of memory, and the end of a process that looked for its faces,
    into a PhotoError of `path`: the batch goes on.

    Errors of this program, and those that only a bug can cause (ShapeError among them), pass through.
    """
    try:
        yield
    except MemoryError as error:
        raise PhotoError(path, "does not fit into memory; use a smaller copy") from error
    except KitError as error:
        raise PhotoError(path, f"cannot be worked on. {error}") from error
    except (cv2.error, RuntimeError) as error:  # dlib and torch raise RuntimeError
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise PhotoError(path, f"cannot be worked on; a library says: {said}") from error
