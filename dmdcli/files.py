"""Files that appear whole or not at all, whatever stops the program."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from dmdcli.errors import CannotGoOnError, PhotoWriteError

UNFINISHED = ".dmd-*.part"
"""Names of files that are being written; the star stands for hexadecimal digits."""
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
NOT_WRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def write_file(content: bytes, path: Path, modified: int | None = None, *, lasting: bool = True) -> None:
    """Write a file as `whole_file` does."""
    with whole_file(path, modified, lasting=lasting) as file:
        file.write(content)


@contextmanager
def whole_file(path: Path, modified: int | None = None, *, lasting: bool = True) -> Iterator[BinaryIO]:
    """A file to write that appears whole or not at all, under a temporary name until then; missing folders are made.

    modified: its time, in nanoseconds; None for now. lasting: wait for the disk, so that it outlives a power cut too.
    PhotoWriteError if it cannot be written, CannotGoOnError if none can: disk full, folder not writable.
    """
    with _file_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / UNFINISHED.replace("*", secrets.token_hex(6))
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                if lasting:
                    os.fsync(file.fileno())
            if modified is not None:
                with suppress(OSError):  # some file systems keep no times
                    os.utime(temporary, ns=(modified, modified))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files that killed programs left in a folder, where that is possible."""
    with suppress(OSError):
        for left in folder.glob(UNFINISHED):
            left.unlink(missing_ok=True)


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    """Turn what the file system says into the errors of this program."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise CannotGoOnError(f"{path}: the disk is full. Make room and run the same command again.") from error
        if error.errno in NOT_WRITABLE:
            raise CannotGoOnError(
                f"{path}: the folder {path.parent} cannot be written to ({error.strerror}). Mend that, "
                "then run the same command again."
            ) from error
        raise PhotoWriteError(path, f"cannot be written: {error.strerror or error}") from error
