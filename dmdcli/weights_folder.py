"""The folder of fetched network files, written to: room, locks, what has begun to arrive, and what cannot be written.

A file that arrives is beside its place under the name FILE.part and takes its own name only when it is whole.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from dmdcli import weights
from dmdcli.errors import CannotGoOnError
from dmdcli.weights import NetworkFile


def part_of(final: Path) -> Path:
    """Where the beginning of a file lies whose place is `final`."""
    return final.with_name(f"{final.name}.part")


def begun(file: NetworkFile, folder: Path) -> int:
    """How many bytes of a fetched file have arrived and can be gone on from; 0 for those of packages."""
    if file.package is not None:
        return 0
    try:
        return size_of(part_of(weights.place(file, folder)))
    except OSError:
        return 0


def size_of(path: Path) -> int:
    """The bytes of a file, 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def make_folder(final: Path, file: NetworkFile, resumable: bool = True) -> None:
    """Make the folder that holds `final`, the place of `file`.

    resumable: as of `writing`. Raises CannotGoOnError where it cannot be made, and where a folder is in the way.
    """
    with writing(final, resumable=resumable):
        final.parent.mkdir(parents=True, exist_ok=True)
    for path in (final, part_of(final)):
        if path.is_dir():
            raise CannotGoOnError(f"{path} is a folder and in the way of {file.title}. Remove it or rename it.")


def check_room(folder: Path, needed: int) -> None:
    """Raise CannotGoOnError where fewer than `needed` bytes are free in `folder`."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise CannotGoOnError(
            f"There is no room in {folder}: {needed:,} bytes are needed, {free:,} are free, {needed - free:,} are "
            "missing. Make room, or take another folder (DMD_CACHE names that of networks)."
        )


@contextlib.contextmanager
def writing(final: Path, needed: int = 0, resumable: bool = True) -> Iterator[None]:
    """Say in one sentence why a file cannot be brought to its place `final`, and what of it is there.

    needed: bytes that are still to come, where that is known. resumable: what has arrived can be gone on from.
    """
    try:
        yield
    except OSError as error:
        said = f"{final} cannot be written ({error.strerror})."
        if needed:
            said += f" {needed:,} bytes more are needed."
        with contextlib.suppress(OSError):
            if resumable and size_of(part_of(final)):
                said += " What has arrived is kept; the same command goes on from there."
        raise CannotGoOnError(f"{said} DMD_CACHE names another folder.") from error


def put_in_place(part: Path, final: Path) -> None:
    """Give a whole file its own name, so that it also survives a power failure."""
    with part.open("rb+") as stream:
        os.fsync(stream.fileno())
    part.replace(final)
    if os.name == "posix":
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def lock(stack: contextlib.ExitStack, final: Path) -> Iterator[str]:
    """Keep two processes from fetching one file at once: the second waits, and yields a sentence that says so.

    stack: what ends the lock. Its file is removed while it is still held, so that nothing stays behind; whoever waits
    for it makes another.
    """
    from filelock import FileLock, Timeout

    path = final.with_name(f".{final.name}.lock")
    held = FileLock(path)
    with writing(final):
        try:
            held.acquire(timeout=0)
        except Timeout:
            yield f"Somebody else is fetching {final.name}; waiting for them."
            held.acquire()

    def release() -> None:
        with contextlib.suppress(OSError):  # Windows removes no open file; filelock does it there
            path.unlink(missing_ok=True)
        held.release()

    stack.callback(release)
