"""What a worker of `dmd restore --ray` does on its machine: unpack what it needs once, then one photo after the other.

Ray is not asked for anything here: it starts the process, and calls `Worker`.
"""

from __future__ import annotations

import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Generic, TypeAlias

import cv2
import filelock
import numpy as np
import numpy.typing as npt

from dmdcli import __version__
from dmdcli.errors import CannotGoOnError, DMDError, PackageError
from dmdcli.faces.finder import FaceFinder
from dmdcli.memory import use_huge_pages
from dmdcli.pipeline.blend import RestoreOptions
from dmdcli.pipeline.evidence import Evidence
from dmdcli.pipeline.people import CropRestorer, DictionaryT, People
from dmdcli.pipeline.seen import Bench, Given
from dmdcli.pipeline.standing import Circumstances
from dmdcli.pipeline.steps import SAMPLE, Underway, finish, look, restore_seen, step

FOLDER = "dmd-ray-"
"""How folders of workers begin."""
ABANDONED = 60.0
"""Seconds after which a folder that no worker holds is one that was left behind."""

Files: TypeAlias = Mapping[str, npt.NDArray[np.uint8]]
"""Files by their place in a worker's folder, with "/"."""
Tools: TypeAlias = "tuple[FaceFinder, CropRestorer[DictionaryT], People[DictionaryT]]"
Pictures: TypeAlias = "tuple[tuple[str, bytes], ...]"


@dataclass(frozen=True)
class Outfit(Generic[DictionaryT]):
    """What every worker is given once.

    make: makes the tools of the folder that the files were unpacked into; it can be pickled. threads: that a worker
    may use. version: of dmd.
    """

    files: Files = field(repr=False)
    make: Callable[[Path], Tools[DictionaryT]]
    circumstances: Circumstances
    options: RestoreOptions
    threads: int = 1
    version: str = __version__


class Worker(Generic[DictionaryT]):
    """Does the work on one photo after the other, in a process of its own on a machine of the cluster."""

    def __init__(self, outfit: Outfit[DictionaryT]) -> None:
        self._outfit = outfit
        self._pictures: list[tuple[str, bytes]] = []

    def start(self) -> None:
        """Unpack the files, and load the networks. Raises their errors, with the name of the machine."""
        use_huge_pages()
        try:
            self._bench = self._made()
        except DMDError as error:
            raise CannotGoOnError(f"{platform.node()}: {error}") from error

    def _made(self) -> Bench[DictionaryT]:
        outfit = self._outfit
        if outfit.version != __version__:
            raise PackageError(f"dmd {__version__} is installed there, and {outfit.version} here. Install the same.")
        self._folder, self._held = own_folder()
        for name, content in outfit.files.items():
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            content.tofile(path)
        cv2.setNumThreads(outfit.threads)
        finder, restorer, people = outfit.make(self._folder)
        made, wanted = (finder.kit_name, restorer.weights_id), (outfit.circumstances.kit, outfit.circumstances.weights)
        if made != wanted:
            raise PackageError(f"its networks are others than here: {made} in place of {wanted}. Install the same dmd.")
        evidence = Evidence(self._keep if outfit.options.evidence and not outfit.options.dry_run else None)
        return Bench(finder, restorer, people, outfit.circumstances, outfit.options, evidence)

    def _keep(self, name: str, content: bytes) -> None:
        self._pictures.append((name, content))

    def work(self, underway: Underway, given: Given) -> tuple[Underway, Pictures]:
        """Find and restore the faces of a photo, and return what is to be kept, with the pictures for the report."""
        underway = step(partial(look, self._bench), replace(underway, given=given))
        (underway,) = restore_seen(self._bench, [underway], SAMPLE)
        underway = step(partial(finish, self._bench), underway)
        pictures = tuple(self._pictures)
        self._pictures.clear()
        return replace(underway, given=None, seen=None, answers=None), pictures

    def close(self) -> None:
        """Remove what was unpacked."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._held.release()


def own_folder() -> tuple[Path, filelock.BaseFileLock]:
    """A new private folder, and the lock that says that it is in use. Those that killed workers left are removed."""
    for left in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        with suppress(OSError, filelock.Timeout):
            if time.time() - left.stat().st_mtime > ABANDONED:
                with filelock.FileLock(left / "lock", timeout=0):
                    shutil.rmtree(left)
    folder = Path(tempfile.mkdtemp(prefix=FOLDER))
    lock = filelock.FileLock(folder / "lock")
    lock.acquire()
    return folder, lock
