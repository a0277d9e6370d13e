"""Where photos are found and where their results go: no file is opened here."""

from __future__ import annotations

import os
import re
import stat
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from dmdcli.errors import NothingToDoError, PhotoReadError, UsageError

ENDINGS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp", ".bmp"}
    | {".jp2", ".jpx", ".jpf", ".j2k", ".j2c", ".jpc", ".avif", ".heic", ".heif", ".hif"}
)
"""Endings of the files that are taken from a folder, in any case. A file named by itself may have any other."""

EXTENSIONS = ("auto", "jpg", "jpeg", "png", "tif", "tiff", "webp", "bmp", "jp2", "avif")
"""What `--ext` takes; "auto" keeps the ending and the format of the source."""

SIDE_ENDINGS = (".xmp", ".json", ".supplemental-metadata.json")
"""Of files beside a photo: what Lightroom, darktable and digiKam write, and what Google Photos gives back."""

REPORT = "report.html"
PICTURES = "report_files"
"""What `dmd restore` tells of its work in an output folder, and the folder of pictures for it."""


@dataclass(frozen=True)
class PhotoFile:
    """path: the photo. relative: its place under the output folder, with its original ending."""

    path: Path
    relative: PurePath


class FoundPhotos(list[PhotoFile]):
    """The photos found, and the folders below the named ones that could not be read."""

    def __init__(self, files: Iterable[PhotoFile] = (), unreadable: Iterable[PhotoReadError] = ()) -> None:
        super().__init__(files)
        self.unreadable = list(unreadable)


def find_photos(inputs: Sequence[Path]) -> FoundPhotos:
    """The photos among `inputs`, files and folders, in natural order within each folder.

    Folders are walked with all their subfolders; links to folders are followed, but never in a circle. Hidden files and
    folders are skipped, and the pictures of reports. The content of a single folder is mirrored; of several folders
    each goes under its own name; files named by themselves go to the top. Made-up places that would collide are
    numbered ("album-2", "face-2.jpg").
    A file named twice is found once.

    Raises UsageError for a path that does not exist or a named folder that cannot be read, NothingToDoError if there is
    no photo. A subfolder that cannot be read is listed in `unreadable` of the result.
    """
    folders = [path for path in inputs if _is_folder(path)]
    files: list[PhotoFile] = []
    unreadable: list[PhotoReadError] = []
    seen: set[str] = set()
    taken: set[str] = set()

    def is_new(file: Path) -> bool:
        place = os.path.abspath(file)  # noqa: PTH100 (resolve would follow links)
        new = place not in seen
        seen.add(place)
        return new

    for folder in folders:
        top = PurePath(_free_name(folder.resolve().name or "photos", taken)) if len(folders) > 1 else PurePath()
        for file in filter(is_new, _walk(folder, (), unreadable)):
            relative = top / file.relative_to(folder)
            taken.add(_key(relative))
            files.append(PhotoFile(file, relative))
    for file in filter(is_new, (path for path in inputs if path not in folders)):
        files.append(PhotoFile(file, PurePath(_free_name(file.name, taken))))
    if not files:
        where = ", ".join(str(path) for path in inputs) or "nothing"
        blocked = "".join(f" {error}." for error in unreadable)
        raise NothingToDoError(f"No photo found in {where}. Looked for {', '.join(sorted(ENDINGS))}.{blocked}")
    return FoundPhotos(files, unreadable)


def output_path(file: PhotoFile, out: Path, ext: str = "auto") -> Path:
    """Where the result of one photo goes, collisions not considered; UsageError for an unknown `ext`."""
    extension = check_extension(ext)
    return out / (file.relative if extension == "auto" else file.relative.with_suffix(f".{extension}"))


def plan_outputs(files: Sequence[PhotoFile], out: Path, ext: str = "auto") -> list[Path]:
    """Where the result of each photo goes, in the order of `files`, all different.

    Photos whose names differ only in the ending would collide under `ext`: such a photo keeps its ending in front of
    the new one ("a.tif.png"), unless it has the wanted ending already.
    """
    extension = check_extension(ext)
    wanted = [output_path(file, out, extension) for file in files]
    if extension == "auto":
        return wanted
    crowded = Counter(_key(path) for path in wanted)
    taken = {_key(out / file.relative) for file, path in zip(files, wanted, strict=True) if path == out / file.relative}
    planned: list[Path] = []
    for file, path in zip(files, wanted, strict=True):
        if crowded[_key(path)] > 1 and path != out / file.relative:
            folder = path.parent
            path = folder / _free_name(f"{file.relative.name}.{extension}", taken, folder)
        taken.add(_key(path))
        planned.append(path)
    return planned


def side_files(photo: Path, output: Path) -> list[tuple[Path, Path]]:
    """What other programs keep beside a photo (SIDE_ENDINGS), and where it goes beside the photo's result.

    Both customs are known, "a.xmp" and "a.jpg.xmp"; letters with accents may be composed or not.
    """
    found: dict[str, tuple[Path, Path]] = {}
    for name, renamed in ((photo.name, output.name), (photo.stem, output.stem)):
        for form in dict.fromkeys((name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD")))):
            for ending in (*SIDE_ENDINGS, *(ending.upper() for ending in SIDE_ENDINGS)):
                source = photo.with_name(form + ending)
                if source.is_file():
                    found.setdefault(_key(PurePath(renamed + ending)), (source, output.with_name(renamed + ending)))
    return list(found.values())


def check_extension(ext: str) -> str:
    """`ext` in small letters without a dot; UsageError if it is no format that can be written."""
    extension = ext.lower().removeprefix(".")
    if extension not in EXTENSIONS:
        raise UsageError(f"{ext!r} is no format photos can be written in. Choose one of {', '.join(EXTENSIONS)}.")
    return extension


def check_output_places(inputs: Sequence[Path], files: Sequence[PhotoFile], out: Path, outputs: Sequence[Path]) -> None:
    """Refuse, with UsageError, every output place through which a photo could be overwritten.

    `out` must not be a file, nor be or lie inside one of the folders in `inputs`; no existing path in `outputs` may be
    the same file as a photo in `files`. Files and folders are compared by identity, not by name, so links and letter
    case make no difference.
    """
    for place in (out, *out.parents):
        if place.exists() and not place.is_dir():
            raise UsageError(f"{place} is a file. Name a folder to write to.")
    above = [folder for folder in (out.resolve(), *out.resolve().parents) if folder.exists()]
    for folder in inputs:
        if folder.is_dir() and any(folder.samefile(place) for place in above):
            raise UsageError(
                f"The output folder {out} is, or lies inside, the input folder {folder}. Choose a folder outside of it."
            )
    # A dangling link, or a photo removed since it was found, can be nobody's output.
    photos = {_identity(file.path): file.path for file in files if file.path.exists()}
    for output in outputs:
        if output.exists() and (photo := photos.get(_identity(output))) is not None:
            raise UsageError(f"The output {output} is the same file as the photo {photo}. Choose another folder.")


def _is_folder(path: Path) -> bool:
    """Whether an input is a folder; UsageError if it is nothing at all or cannot be looked at."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: there is no such file or folder.") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error


def _walk(folder: Path, above: tuple[tuple[int, int], ...], unreadable: list[PhotoReadError]) -> Iterator[Path]:
    """The photos in a folder and below. above: identities of the folders that lead here."""
    try:
        identity = _identity(folder)
        if identity in above:
            return
        entries = sorted(folder.iterdir(), key=lambda path: natural_order(path.name))
        folders = {path for path in entries if path.is_dir()}
        special = {path for path in entries if path.exists() and not path.is_file()}
    except OSError as error:
        if not above:
            raise UsageError(f"The folder {folder} cannot be read: {error.strerror}.") from error
        unreadable.append(PhotoReadError(folder, f"the folder cannot be read: {error.strerror}"))
        return
    for path in entries:
        if path.name.startswith("."):
            continue
        if path in folders:
            if path.name != PICTURES or not {path.with_name(REPORT), path.with_name(".dmd")}.intersection(entries):
                yield from _walk(path, (*above, identity), unreadable)
        elif path.suffix.lower() in ENDINGS and path not in special:
            yield path


def natural_order(name: str) -> list[tuple[int, str]]:
    """Sort key that puts 2 before 10."""
    parts = re.split(r"(\d+)", unicodedata.normalize("NFC", name).casefold())
    return [(int(part), "") if index % 2 and part.isdecimal() else (-1, part) for index, part in enumerate(parts)]


def _free_name(name: str, taken: set[str], folder: PurePath = PurePath()) -> str:  # noqa: B008
    """`name`, or the first of "name-2", "name-3"... that is not taken in `folder`; the answer is taken from then on."""
    path = PurePath(name)
    candidate, number = name, 1
    while _key(folder / candidate) in taken:
        number += 1
        candidate = f"{path.stem}-{number}{path.suffix}"
    taken.add(_key(folder / candidate))
    return candidate


def _key(path: PurePath) -> str:
    """Equal for paths that the usual file system of this platform takes for one."""
    text = path.as_posix()
    folds = sys.platform in ("win32", "darwin")
    return unicodedata.normalize("NFC", text).casefold() if folds else text


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
