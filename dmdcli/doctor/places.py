"""The folders dmd keeps things in: whether they can be read and written, whose they are, and how full the disk is."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dmdcli.doctor.finding import Finding, in_bytes
from dmdcli.doctor.probes import Probe

LOW, FULL = 1e9, 100e6
"""Bytes free below which a disk will soon be full, and below which it is as good as full."""


@dataclass(frozen=True)
class Place:
    """One of dmd's folders. variable: the environment variable that names it. folder: where it is; it need not exist.

    default: where the platform would have it. held: what is kept in it.
    """

    variable: Literal["DMD_HOME", "DMD_CACHE"]
    folder: Path
    default: Path
    held: str

    def elsewhere(self) -> str:
        """The command that names another folder."""
        if self.folder.absolute() != self.default.absolute():
            return f"unset {self.variable}"
        folder = self.variable.lower().replace("_", "-")
        if sys.platform == "win32":
            return f"set {self.variable}=%USERPROFILE%\\{folder}"
        if os.access(Path.home(), os.W_OK | os.X_OK):
            return f'export {self.variable}="$HOME/{folder}"'
        return f"export {self.variable}={shlex.quote(str(Path(tempfile.gettempdir(), folder)))}"


def judge(places: tuple[Place, ...], library: Probe | None) -> Iterator[Finding]:
    """Judge the folders, what lies in them, and their disks. library: what came of reading the enrolled people."""
    disks: dict[int, list[Place]] = {}
    for place in places:
        yield from judge_folder(place)
        if place.variable == "DMD_HOME":
            yield from judge_library(place, library)
    for place in places:
        if (parent := existing(place.folder)) is not None:
            disks.setdefault(parent.stat().st_dev, []).append(place)
    for sharing in disks.values():
        yield judge_room(sharing)


def judge_folder(place: Place) -> Iterator[Finding]:
    """Judge one folder: there, a folder, ours, readable, writable (by writing into it), and for people, private."""
    folder = place.folder

    def found(status: Literal["ok", "note", "warning", "problem"], text: str, cure: str | None = None) -> Finding:
        return Finding("places", place.variable, status, f"{folder} {text}", cure)

    if not folder.is_absolute():
        cure = f"export {place.variable}={shlex.quote(str(folder.absolute()))}"
        yield found("warning", "is another folder wherever dmd is started", cure)
    worst: Literal["problem", "warning"] = "problem" if place.variable == "DMD_HOME" else "warning"
    try:
        status = folder.stat()
    except FileNotFoundError:
        if folder.is_symlink():
            yield found(worst, "is a link to a folder that is not there", place.elsewhere())
        else:
            yield judge_missing(place)
        return
    except OSError as error:
        yield found(worst, f"cannot be looked at ({error.strerror})", place.elsewhere())
        return
    if not stat.S_ISDIR(status.st_mode):
        yield found(worst, "is a file, and should be a folder", place.elsewhere())
        return
    if not os.access(folder, os.R_OK | os.X_OK):
        yield found(worst, f"cannot be read{whose(status)}", permission_cure(folder, status))
        return
    refusal = try_to_write(folder)
    if refusal is not None:
        if refusal.errno in (errno.ENOSPC, errno.EDQUOT):
            yield found("problem", "cannot be written: the disk is full", room_cure(folder))
        elif refusal.errno == errno.EROFS:
            yield found(
                "warning",
                f"cannot be written: it is on a read-only disk; {place.held} stay as they are",
                place.elsewhere(),
            )
        else:
            yield found("warning", f"cannot be written{whose(status)}; it can be read", permission_cure(folder, status))
        return
    stranger = foreign(folder)
    if stranger is not None:
        text = f"holds what belongs to another user ({stranger}), as after a run with sudo"
        yield found("warning", text, permission_cure(folder, stranger.lstat()))
    mode = stat.S_IMODE(status.st_mode)
    if sys.platform != "win32" and place.variable == "DMD_HOME" and mode & 0o077:
        text = f"can be entered by other users (mode {mode:04o}): it holds the faces of people"
        yield found("warning", text, f"chmod 700 {shlex.quote(str(folder))}")
    elif stranger is None:
        yield found("ok", f"({place.held}) can be read and written{default_or_set(place)}")


def judge_missing(place: Place) -> Finding:
    """Judge a folder that is not there yet: whether it can be made."""
    parent = existing(place.folder)
    if parent is not None and os.access(parent, os.W_OK | os.X_OK) and parent.is_dir():
        text = f"{place.folder} ({place.held}) is not there yet; it is made when it is needed{default_or_set(place)}"
        return Finding("places", place.variable, "ok", text)
    where = f"{parent} is not a folder" if parent and not parent.is_dir() else f"{parent} cannot be written"
    cure: str | None = place.elsewhere()
    home = Path.home()
    if (
        parent is not None
        and parent.is_dir()
        and home in (parent, *parent.parents)
        and parent.stat().st_uid != own_id()
    ):
        cure = permission_cure(parent, parent.stat())
    return Finding(
        "places", place.variable, "warning", f"{place.folder} is not there and cannot be made: {where}", cure
    )


def judge_library(place: Place, library: Probe | None) -> Iterator[Finding]:
    """Judge what lies in the folder of the enrolled people."""
    subject = "library"
    if library is None or not library.works:
        text = "not looked into, because a package that reads it does not work"
        yield Finding("places", subject, "note", text)
        return
    facts = library.facts
    if "error" in facts:
        cure: str | None = place.elsewhere()
        if facts["kind"] == "CannotGoOnError" and (stranger := foreign(place.folder)) is not None:
            cure = permission_cure(place.folder, stranger.lstat())
        yield Finding("places", subject, "problem", facts["error"].rstrip("."), cure)
    else:
        people, references = facts["people"], facts["references"]
        text = f"{people} {'person' if people == 1 else 'people'} enrolled, references: {references}"
        text = text if people else "nobody is enrolled"
        yield Finding("places", subject, "ok", text)
    if facts["locked"]:
        yield Finding("places", subject, "note", "another dmd is writing to it right now; a second one waits for it")


def judge_room(places: Sequence[Place]) -> Finding:
    """Judge the free room on the disk that these folders are, or will be, on."""
    folder = existing(places[0].folder) or places[0].folder
    usage = shutil.disk_usage(folder)
    text = f"{in_bytes(usage.free)} free of {in_bytes(usage.total)} on the disk of {folder}"
    if usage.free >= LOW:
        return Finding("places", "room", "ok", text)
    status: Literal["warning", "problem"] = "problem" if usage.free < FULL else "warning"
    if usage.total < LOW:  # nothing that could be removed from it would help
        cure = " && ".join(place.elsewhere() for place in places)
        return Finding("places", "room", status, f"{text}: the disk is too small; take a folder on another", cure)
    how = "it is full" if usage.free < FULL else "little"
    return Finding("places", "room", status, f"{text}: {how}; this shows what fills it", room_cure(folder))


def existing(folder: Path) -> Path | None:
    """The folder, or the nearest one above it that is there; None where not even the root can be looked at."""
    for path in (folder.absolute(), *folder.absolute().parents):
        if os.path.exists(path):  # noqa: PTH110 (Path.exists raises where it may not look)
            return path
    return None


def try_to_write(folder: Path) -> OSError | None:
    """Write a small file into a folder and remove it again; the error where that does not work."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".dmd-doctor-") as file:
            file.write(b"dmd" * 1000)
            file.flush()
    except OSError as error:
        return error
    return None


def foreign(folder: Path) -> Path | None:
    """The first thing in a folder that belongs to another user than the one who runs this; None for root, who may."""
    own = own_id()
    if own in (None, 0):
        return None
    for path, folders, files in os.walk(folder):
        for name in (*folders, *files):
            found = Path(path, name)
            try:
                if found.lstat().st_uid != own:
                    return found
            except OSError:
                continue
    return None


def own_id() -> int | None:
    """The number of the user who runs this; None on systems without."""
    return os.geteuid() if sys.platform != "win32" else None


def whose(status: os.stat_result) -> str:
    """Say to whom something belongs, where that is somebody else."""
    if sys.platform == "win32" or status.st_uid == own_id():
        return f" (mode {stat.S_IMODE(status.st_mode):04o})"
    import pwd

    try:
        name = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        name = f"user {status.st_uid}"
    return f": it belongs to {name}, as after a run with sudo" if status.st_uid == 0 else f": it belongs to {name}"


def permission_cure(folder: Path, status: os.stat_result) -> str | None:
    """The command that gives a folder and all in it back to the user, or the user their rights."""
    if sys.platform == "win32":
        return None
    quoted = shlex.quote(str(folder))
    return f"chmod -R u+rwX {quoted}" if status.st_uid == own_id() else f'sudo chown -R "$(id -un)" {quoted}'


def room_cure(folder: Path) -> str | None:
    """The command that shows what fills the disk of a folder."""
    if sys.platform == "win32":
        return None
    mount = next((path for path in (folder, *folder.parents) if path.is_mount()), folder)
    return f"du -xhd 2 {shlex.quote(str(mount))} 2>/dev/null | sort -h | tail -n 20"


def default_or_set(place: Place) -> str:
    """Say where the name of a folder comes from, where it is not the platform's own."""
    return "" if place.folder == place.default else f"; {place.variable} names it"
