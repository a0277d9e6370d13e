"""Forgetting people in output folders: their ids, their pictures, what was decided of them; and what stays."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from dmdcli.decisions import FILE_NAME, person_in, read_decisions
from dmdcli.errors import CannotGoOnError, DecisionsFormatError, UsageError
from dmdcli.files import remove_unfinished, write_file
from dmdcli.formats.face_tags import clean_name
from dmdcli.journal_forgetting import ForgetfulJournal, files_with, opened_to_forget
from dmdcli.person import same_name
from dmdcli.places import PICTURES, side_files
from dmdcli.report_files import (
    PICTURE_FOLDERS,
    REPORTS,
    is_report,
    pictures_of,
    pictures_unused,
    remove_unfinished_files,
)

TABLE = re.compile(r"(?=^[ \t]*\[\[)", re.MULTILINE)
"""Where an entry of a decisions file begins."""
PHOTO = re.compile(r"[ \t]*\[\[[ \t]*photo[ \t]*\]\]")
FOLLOWING = re.compile(r"(?:^[ \t]*(?:#.*)?\r?\n)*\Z", re.MULTILINE)
"""Blank lines and comments at the end of an entry."""


@dataclass(frozen=True)
class Cleared:
    """What became of one output folder.

    photos: how many showed the person. removed: files that are gone, or that the person is gone from. restored: results
    that show the restored face still. named: results, copies too, and files beside them that hold the name, as the
    originals may do. left: other files, and what still stands in them.
    """

    out: Path
    photos: int
    removed: tuple[Path, ...]
    restored: tuple[Path, ...]
    named: tuple[Path, ...]
    left: Mapping[Path, str]


@contextmanager
def opened_outputs(outs: Sequence[Path]) -> Iterator[list[ForgetfulJournal]]:
    """The journals of output folders, all of them there and kept from other runs before anything is removed.

    Raises UsageError, JournalFormatError and CannotGoOnError as `opened_to_forget`.
    """
    folders = {out.resolve(): out for out in outs}
    for out in folders.values():
        if not out.is_dir():
            raise UsageError(f"There is no folder {out}.")
    with ExitStack() as stack:
        yield [stack.enter_context(opened_to_forget(out)) for out in folders.values()]


def clear(journal: ForgetfulJournal, ids: Collection[str], name: str) -> Cleared:
    """Remove people from an output folder. ids: theirs. name: what they are or were called.

    The journal comes first: what a program that is killed leaves of reports and pictures, the same call removes. The
    next run restores the photos that showed them again, as those of strangers.
    """
    out = journal.out
    shown = journal.photos_of(ids)
    results = [out / one.place for one in shown]
    restored = [path for path, one in zip(results, shown, strict=True) if one.restored and path.is_file()]
    beside = (side for path in results for side, _ in side_files(path, path))
    named = [path for path in (*results, *beside) if _is_named(path, name)]
    journal.forget(ids, name)
    remove_unfinished_files(out)
    for folder in {(out / one.place).parent for one in shown}:
        remove_unfinished(folder)
    removed = [*_clear_pictures(journal), *_clear_reports(out), *_clear_decisions(out, name)]
    left = dict.fromkeys(files_with(out, ids), "the id")
    decided = _left_in_decisions(out, name)
    if decided is not None:
        left[out / FILE_NAME] = decided
    return Cleared(out, len(shown), tuple(removed), tuple(restored), tuple(named), left)


def _clear_pictures(journal: ForgetfulJournal) -> Iterator[Path]:
    """Remove the pictures that no account names, also those of earlier runs."""
    folder = journal.out / PICTURES
    used = {name for account in journal.accounts() for name in pictures_of(account)}
    places = {*journal.places()}
    for name in sorted(pictures_unused(journal.out, used.__contains__, places.__contains__)):
        with _removing(folder / name):
            (folder / name).unlink()
        yield folder / name
    for below in (*folder.glob(PICTURE_FOLDERS), folder):
        with suppress(OSError):
            below.rmdir()  # empty ones only


def _clear_reports(out: Path) -> Iterator[Path]:
    """Remove the reports, which show people by numbers or names."""
    for path in (out / name for name in REPORTS):
        with _removing(path), suppress(FileNotFoundError):
            if is_report(path):
                path.unlink()
                yield path


def _clear_decisions(out: Path, name: str) -> Iterator[Path]:
    """Remove the entries about faces of the person from the decisions, and leave the rest as it is written."""
    text, path = _decisions(out), out / FILE_NAME
    kept = without_person(text, name)
    if kept != text:
        write_file(kept.encode("utf-8", "surrogateescape"), path)
        yield path


def _left_in_decisions(out: Path, name: str) -> str | None:
    """What of the person stands in a folder's decisions file still, where it is written as no entry by itself."""
    with suppress(UsageError, DecisionsFormatError):  # such a file is one that restoring refuses
        if any(_is_called(one.person, name) for one in read_decisions(out / FILE_NAME)):
            return "decisions about them"
    return "the name" if _word(name).search(_decisions(out)) else None


def _decisions(out: Path) -> str:
    """The text of a folder's decisions file, empty where there is none."""
    try:
        return (out / FILE_NAME).read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise CannotGoOnError(
            f"{out / FILE_NAME} cannot be read ({error.strerror}). Mend that, then forget again."
        ) from error


def _word(name: str) -> re.Pattern[str]:
    """Finds a name that is not part of another word."""
    return re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.IGNORECASE)


def without_person(text: str, name: str) -> str:
    """Decisions without those that say that a face is that of `name`, and without comments that name them.

    A photo about which nothing else was decided goes, too. What follows an entry, up to the next, is kept.
    """
    named = _word(name)
    lines = [line for line in text.splitlines(keepends=True) if not (line.lstrip()[:1] == "#" and named.search(line))]
    start, *tables = TABLE.split("".join(lines))
    photos: list[list[str]] = []
    for table in tables:
        if not photos or PHOTO.match(table):
            photos.append([])
        photos[-1].append(table)
    kept = [start]
    for entries in photos:
        theirs = [_is_called(person_in(one), name) for one in entries]
        alone = any(theirs) and not any(theirs[:1]) and all(theirs[1:])
        for entry, goes in zip(entries, theirs, strict=True):
            kept.append(FOLLOWING.search(entry)[0] if goes or alone else entry)  # type: ignore[index]
    return "".join(kept)


def _is_called(person: str | None, name: str) -> bool:
    """Whether the person of a decision is somebody of that name."""
    return person is not None and same_name(person, clean_name(name) or name)


def _is_named(path: Path, name: str) -> bool:
    """Whether a photo has a name in its metadata, which is not compressed: by itself, for short ones are everywhere."""
    spelled = b"|".join(re.escape(one.encode()) for one in {name, escape(name), escape(name, {'"': "&quot;"})})
    with suppress(OSError):
        return re.search(rb"[>\"'\s,;](?:" + spelled + rb")[<\"'\s,;]", path.read_bytes()) is not None
    return False


@contextmanager
def _removing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotGoOnError(
            f"{path} cannot be read or removed ({error.strerror}). Mend that, then forget again."
        ) from error
