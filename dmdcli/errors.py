"""Every error the program raises on purpose, and the exit code each one ends the command with.

DMDError
├── PhotoError(path)       concerns one photo; the batch goes on
│   ├── PhotoReadError     PhotoWriteError
│   └── NoFaceError        AmbiguousFaceError   BadLandmarksError
├── LibraryError
│   ├── UnknownPersonError PersonExistsError    TooFewReferencesError
│   └── LibraryFormatError LibraryLockedError
├── WeightsError
│   └── WeightsMissingError WeightsCorruptError WeightsMismatchError
├── DeviceError            no such device; out of memory even with a batch of one
├── KitError               a process with face networks ended by itself over a photo
├── PackageError           an installed package is missing, broken or of another build
├── UsageError             a refused name, place or combination of flags
├── FaceDataError          a folder of training crops is not as it should be
├── JournalFormatError     the journal of an output folder is of a newer version
├── DecisionsFormatError   a file of decisions is of a newer version
├── NothingToDoError       no photo found
└── CannotGoOnError        output folder not writable, disk full, no process to be had
ShapeError(ValueError)     a programmer's mistake, outside the tree

A message says what happened, to which file or person, and what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

EXIT_DONE = 0
EXIT_BUG = 1
EXIT_USAGE = 2
EXIT_SOME_FAILED = 3
EXIT_NOTHING_TO_DO = 4
EXIT_ENROLMENT_REFUSED = 5
EXIT_WEIGHTS = 6
EXIT_INTEGRITY = 7
EXIT_CANNOT_GO_ON = 8
EXIT_INTERRUPTED = 130


class DMDError(Exception):
    """Anything the user should read as one sentence; `exit_code` is what the command ends with."""

    exit_code: int = EXIT_BUG


class PhotoError(DMDError):
    """One photo could not be used; `path` says which and `reason` why, and the batch goes on."""

    exit_code = EXIT_SOME_FAILED

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}")

    def __reduce__(self) -> tuple[type[PhotoError], tuple[Path, str]]:
        return type(self), (self.path, self.reason)


class PhotoReadError(PhotoError):
    """The file is damaged, too large, or no photograph."""


class PhotoWriteError(PhotoError):
    """The restored photo could not be written; the input is untouched."""


class NoFaceError(PhotoError):
    """No usable face where one is needed."""


class AmbiguousFaceError(PhotoError):
    """Several faces where one is needed and nothing says which."""


class BadLandmarksError(PhotoError):
    """The landmarks of the face cannot be right."""


class LibraryError(DMDError):
    """The library of enrolled people cannot do what was asked."""

    exit_code = EXIT_INTEGRITY


class UnknownPersonError(LibraryError):
    """Nobody of that name is enrolled; near names are suggested."""

    exit_code = EXIT_USAGE

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        self.near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
        hint = f" Did you mean {', '.join(self.near)}?" if self.near else " `dmd people list` shows who is."
        super().__init__(f"Nobody called {name!r} is enrolled.{hint}")


class PersonExistsError(LibraryError):
    """The name is taken."""

    exit_code = EXIT_USAGE


class TooFewReferencesError(LibraryError):
    """No reference photo was usable, so the person was not enrolled."""

    exit_code = EXIT_ENROLMENT_REFUSED


class LibraryFormatError(LibraryError):
    """The library is damaged or was written by a newer version."""


class LibraryLockedError(LibraryError):
    """Another process is writing to the library."""

    exit_code = EXIT_CANNOT_GO_ON


class WeightsError(DMDError):
    """A network file cannot be used."""

    exit_code = EXIT_WEIGHTS


class WeightsMissingError(WeightsError):
    """A network file is not on this machine; the message holds the command that brings it."""


class WeightsCorruptError(WeightsError):
    """A network file is damaged or is not what its name says; wanted and got are in the message."""

    exit_code = EXIT_INTEGRITY


class WeightsMismatchError(WeightsError):
    """The tensors are not those of this network; the first wrong key and both shapes are in the message."""


class DeviceError(DMDError):
    """No such device, or out of memory with a batch of one."""

    exit_code = EXIT_USAGE


class KitError(DMDError):
    """A process with face networks ended by itself over a photo; this photo fails, others may not."""

    exit_code = EXIT_CANNOT_GO_ON


class PackageError(DMDError):
    """An installed package is missing, broken or of another build; the cure is in the message."""

    exit_code = EXIT_CANNOT_GO_ON


class UsageError(DMDError):
    """A refused name, place, or combination of flags."""

    exit_code = EXIT_USAGE


class ReferenceChangedError(UsageError):
    """A reference is not as it was when somebody looked at it, or is none any more."""


class FaceDataError(DMDError):
    """A folder of faces to train or measure with is not as it should be; what is missing or wrong is in the message."""

    exit_code = EXIT_USAGE


class JournalFormatError(DMDError):
    """The journal of an output folder was written by a newer version."""

    exit_code = EXIT_INTEGRITY


class DecisionsFormatError(DMDError):
    """A file of decisions was written by, or for, a newer version."""

    exit_code = EXIT_INTEGRITY


class NothingToDoError(DMDError):
    """No photo was found where photos were expected."""

    exit_code = EXIT_NOTHING_TO_DO


class CannotGoOnError(DMDError):
    """The whole run must end: output folder not writable or taken by another run, disk full, no process to be had."""

    exit_code = EXIT_CANNOT_GO_ON


class ShapeError(ValueError):
    """An array of the wrong shape or dtype was handed in: a programmer's mistake."""
