"""Where photos are found and where their results go: no file is opened here."""

from __future__ import annotations

import os
import re
import stat
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Survey:
    """What a quick look at the inputs of a command found: enough to guard photos, and to say how many are to come.

    inputs: as given. photos: how many there are, as many as `stream_photos` gives while nothing changes. folders:
    identities of all folders they are taken from, links followed. files: identities of the photos named by themselves.
    """

    inputs: tuple[Path, ...]
    photos: int
    folders: frozenset[tuple[int, int]]
    files: Mapping[tuple[int, int], Path]


def survey_photos(inputs: Sequence[Path]) -> Survey:
    """Count the photos among `inputs` by the names in their folders, and remember nothing of each photo.

    Raises UsageError for a path that does not exist or a named folder that cannot be read, NothingToDoError if there is
    no photo, which names the subfolders that cannot be read.
    """
    folders: set[tuple[int, int]] = set()
    unreadable: list[PhotoReadError] = []
    count = sum(1 for _ in _stream(inputs, "auto", unreadable.append, folders.add))
    if not count:
        raise _nothing_found(inputs, unreadable)
    files = {_identity(path): path for path in inputs if path.exists() and not path.is_dir()}
    return Survey(tuple(inputs), count, frozenset(folders), files)


def stream_photos(inputs: Sequence[Path], tell: Callable[[PhotoReadError], None]) -> Iterator[PhotoFile]:
    """The photos among `inputs` one after the other, in natural order within each folder.

    Folders are walked with all their subfolders; links to folders are followed, but never in a circle. Hidden files and
    folders are skipped, and the pictures of reports. The content of a single folder is mirrored; of several folders
    each goes under its own name; files named by themselves come last and go to the top. Made-up places that would
    collide are numbered ("album-2", "face-2.jpg"). A file named twice comes once.

    tell: told of each subfolder that cannot be read. Remembered are the names in the folders that lead to the present
    photo, those at the top, and paths of photos that lie in several of the inputs.
    Raises UsageError for a path that does not exist or a named folder that cannot be read.
    """
    return (file for file, _ in _stream(inputs, "auto", tell))


def find_photos(inputs: Sequence[Path]) -> FoundPhotos:
    """All that `stream_photos` gives, for commands that look at photos together.

    Raises UsageError as it does, and NothingToDoError if there is no photo.
    """
    unreadable: list[PhotoReadError] = []
    files = list(stream_photos(inputs, unreadable.append))
    if not files:
        raise _nothing_found(inputs, unreadable)
    return FoundPhotos(files, unreadable)


def stream_outputs(
    survey: Survey, out: Path, ext: str, tell: Callable[[PhotoReadError], None]
) -> Iterator[tuple[PhotoFile, Path]]:
    """Each photo of `stream_photos`, and where its result goes; all places are different.

    Photos of one folder whose names differ only in the ending would collide under `ext`: such a photo keeps its ending
    in front of the new one ("a.tif.png"), unless it has the wanted ending already. Results of files named by themselves
    give way to those of a folder that is mirrored beside them. Raises UsageError for an unknown `ext`, and for a place
    that `check_output` refuses, when its turn comes.
    """
    extension = check_extension(ext)
    return _guarded(survey, out, _stream(survey.inputs, extension, tell))


def _guarded(
    survey: Survey, out: Path, planned: Iterable[tuple[PhotoFile, PurePath]]
) -> Iterator[tuple[PhotoFile, Path]]:
    safe: Path | None = None  # a folder that is none of the photos': its results come one after the other
    for file, relative in planned:
        output = out / relative
        if output.parent != safe:
            _refuse_folder(survey, output)
            safe = output.parent
        _refuse_file(survey, output, file.path)
        yield file, output


def output_path(file: PhotoFile, out: Path, ext: str = "auto") -> Path:
    """Where the result of one photo goes, collisions not considered; UsageError for an unknown `ext`."""
    return out / file.relative.with_name(_with_ending(file.relative.name, check_extension(ext)))


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
                    found.setdefault(_key(renamed + ending), (source, output.with_name(renamed + ending)))
    return list(found.values())


def check_extension(ext: str) -> str:
    """`ext` in small letters without a dot; UsageError if it is no format that can be written."""
    extension = ext.lower().removeprefix(".")
    if extension not in EXTENSIONS:
        raise UsageError(f"{ext!r} is no format photos can be written in. Choose one of {', '.join(EXTENSIONS)}.")
    return extension


def check_output_folder(survey: Survey, out: Path) -> None:
    """Refuse, with UsageError, an output folder that is a file, or is or lies inside a folder of photos.

    Files and folders are compared by identity, not by name, so links and letter case make no difference.
    """
    for place in (out, *out.parents):
        if place.exists() and not place.is_dir():
            raise UsageError(f"{place} is a file. Name a folder to write to.")
    for place in (out.resolve(), *out.resolve().parents):
        if place.exists() and _identity(place) in survey.folders:
            raise UsageError(
                f"The output folder {out} is, or lies inside, the input folder {place}. Choose a folder outside of it."
            )


def check_output(survey: Survey, output: Path) -> None:
    """Refuse, with UsageError, a place for a file that is a photo, or lies in a folder of photos, by whatever links."""
    _refuse_folder(survey, output)
    _refuse_file(survey, output)


def _refuse_folder(survey: Survey, output: Path) -> None:
    folder = next((place for place in output.parents if place.exists()), None)
    if folder is not None and _identity(folder) in survey.folders:
        raise UsageError(
            f"The output {output} would lie in {folder.resolve()}, which is an input folder. Choose another folder."
        )


def _refuse_file(survey: Survey, output: Path, photo: Path | None = None) -> None:
    """photo: whose output it is, looked at besides those named by themselves."""
    try:
        there = _identity(output)
    except OSError:  # nothing, or a link to nothing: nobody's photo
        return
    same = survey.files.get(there)
    if same is None and photo is not None and photo.exists() and _identity(photo) == there:
        same = photo
    if same is not None:
        raise UsageError(f"The output {output} is the same file as the photo {same}. Choose another folder.")


def _nothing_found(inputs: Sequence[Path], unreadable: Iterable[PhotoReadError]) -> NothingToDoError:
    where = ", ".join(str(path) for path in inputs) or "nothing"
    blocked = "".join(f" {error}." for error in unreadable)
    return NothingToDoError(f"No photo found in {where}. Looked for {', '.join(sorted(ENDINGS))}.{blocked}")


def _is_folder(path: Path) -> bool:
    """Whether an input is a folder; UsageError if it is nothing at all or cannot be looked at."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: there is no such file or folder.") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error


def _stream(
    inputs: Sequence[Path],
    extension: str,
    tell: Callable[[PhotoReadError], None],
    see: Callable[[tuple[int, int]], None] = lambda _: None,
) -> Iterator[tuple[PhotoFile, PurePath]]:
    """Each photo, and the place of its result below the output folder. see: told the identity of each folder.

    The inputs are looked at before the first photo is asked for.
    """
    folders = [path for path in inputs if _is_folder(path)]
    files = [path for path in inputs if path not in folders]
    return _stream_inputs(folders, files, _Walk(extension, tell, see, {_absolute(path) for path in files}))


@dataclass(frozen=True)
class _Walk:
    """One walk through all inputs.

    extension, tell, see: as of `_stream`. named: files named by themselves. met: photos met so far that may come again.
    Paths are absolute.
    """

    extension: str
    tell: Callable[[PhotoReadError], None]
    see: Callable[[tuple[int, int]], None]
    named: Collection[str]
    met: set[str] = field(default_factory=set)

    def is_new(self, path: str, later: tuple[str, ...]) -> bool:
        """Whether a photo comes for the first time. later: folders, ending in "/", that are walked after this one."""
        if path in self.met:
            return False
        if path in self.named or path.startswith(later):
            self.met.add(path)
        return True


def _stream_inputs(folders: Sequence[Path], files: Sequence[Path], walk: _Walk) -> Iterator[tuple[PhotoFile, PurePath]]:
    taken: set[str] = set()
    results: set[str] = set()
    for index, folder in enumerate(folders):
        top = PurePath(_free_name(folder.resolve().name or "photos", taken)) if len(folders) > 1 else PurePath()
        later = tuple(os.path.join(_absolute(one), "") for one in folders[index + 1 :])  # noqa: PTH118
        for file, place in _walk(folder, top, (), walk, later):
            if files and len(folders) == 1:  # its photos lie where those named by themselves go
                taken.add(_key(file.relative.parts[0]))
                results.add(_key(place.parts[0]))
            yield file, place
    alone: list[PhotoFile] = []
    for path in files:
        if walk.is_new(_absolute(path), ()):
            alone.append(PhotoFile(path, PurePath(_free_name(path.name, taken))))
    planned = _plan([one.relative.name for one in alone], walk.extension, results)
    yield from zip(alone, map(PurePath, planned), strict=True)


def _walk(
    folder: Path, relative: PurePath, above: tuple[tuple[int, int], ...], walk: _Walk, later: tuple[str, ...]
) -> Iterator[tuple[PhotoFile, PurePath]]:
    """The photos in a folder and below. above: identities of the folders that lead here. later: as of `is_new`."""
    try:
        identity = _identity(os.path.join(folder, "."))  # noqa: PTH118 (the dot asks whether it may be entered)
        if identity in above:
            return
        names, folders = _names_in(folder)
    except OSError as error:
        if not above:
            raise UsageError(f"The folder {folder} cannot be read: {error.strerror}.") from error
        walk.tell(PhotoReadError(folder, f"the folder cannot be read: {error.strerror}"))
        return
    walk.see(identity)
    base = os.path.join(_absolute(folder), "")  # noqa: PTH118
    photos = [name for name in names if name not in folders and walk.is_new(base + name, later)]
    planned = zip(photos, _plan(photos, walk.extension), strict=True)
    photo, place = next(planned, ("", ""))
    for name in names:
        if name in folders:
            yield from _walk(folder / name, relative / name, (*above, identity), walk, later)
        elif name == photo:
            here = relative / name
            yield PhotoFile(folder / name, here), here if place == name else relative / place
            photo, place = next(planned, ("", ""))


def _names_in(folder: Path) -> tuple[list[str], frozenset[str]]:
    """The names of photos and folders in a folder, in natural order, and those that are folders' among them."""
    names: list[str] = []
    folders: set[str] = set()
    is_reported = False
    with os.scandir(folder) as entries:
        for entry in entries:
            is_reported |= entry.name in (REPORT, ".dmd")
            if entry.name.startswith("."):
                continue
            if _leads_to_folder(entry):
                folders.add(entry.name)
            elif os.path.splitext(entry.name)[1].lower() not in ENDINGS or _is_special(entry):  # noqa: PTH122
                continue
            names.append(entry.name)
    if is_reported and PICTURES in folders:
        folders.remove(PICTURES)
        names.remove(PICTURES)
    return sorted(names, key=natural_order), frozenset(folders)


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()  # noqa: PTH112 (never raises)


def _is_special(entry: os.DirEntry[str]) -> bool:
    """Whether it is neither a file nor a link to one, such as a pipe; a link to nothing fails when it is read."""
    if entry.is_symlink():
        return os.path.exists(entry.path) and not os.path.isfile(entry.path)  # noqa: PTH110, PTH113
    return not entry.is_file()


def _plan(names: Sequence[str], extension: str, taken: Collection[str] = ()) -> list[str]:
    """What the results of photos in one folder are called, all different, as `stream_outputs` says. taken: keys."""
    if extension == "auto":
        return list(names)
    wanted = [_with_ending(name, extension) for name in names]
    crowded = Counter(_key(name) for name in wanted)
    used = {*taken, *(_key(name) for name, plan in zip(names, wanted, strict=True) if name == plan)}
    planned = []
    for name, plan in zip(names, wanted, strict=True):
        others = taken if name == plan else used
        is_free = _key(plan) not in others and (name == plan or crowded[_key(plan)] == 1)
        planned.append(plan if is_free else _free_name(f"{name}.{extension}", used))
        used.add(_key(planned[-1]))
    return planned


def _with_ending(name: str, extension: str) -> str:
    return name if extension == "auto" else PurePath(name).with_suffix(f".{extension}").name


def natural_order(name: str) -> list[tuple[int, str]]:
    """Sort key that puts 2 before 10."""
    parts = re.split(r"(\d+)", unicodedata.normalize("NFC", name).casefold())
    return [(int(part), "") if index % 2 and part.isdecimal() else (-1, part) for index, part in enumerate(parts)]


def natural_key(place: str) -> bytes:
    """Sorts places of results ("/" between folders) as `natural_order` sorts the names of each folder."""
    parts = []
    for name in place.split("/"):
        texts = (
            text if number < 0 else f"\0{chr(1 + len(str(number)))}{number}" for number, text in natural_order(name)
        )
        parts.append("".join(texts))
    return "\0\0".join(parts).encode("utf-8", "surrogatepass")


def _free_name(name: str, taken: set[str]) -> str:
    """`name`, or the first of "name-2", "name-3"... that is not taken; the answer is taken from then on."""
    path = PurePath(name)
    candidate, number = name, 1
    while _key(candidate) in taken:
        number += 1
        candidate = f"{path.stem}-{number}{path.suffix}"
    taken.add(_key(candidate))
    return candidate


def _key(name: str) -> str:
    """Equal for names that the usual file system of this platform takes for one."""
    folds = sys.platform in ("win32", "darwin")
    return unicodedata.normalize("NFC", name).casefold() if folds else name


def _absolute(path: Path) -> str:
    """A path from the root, its links left as they are."""
    return os.path.abspath(path)  # noqa: PTH100 (resolve would follow links)


def _identity(path: str | Path) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116 (a Path has no dot at its end)
    return status.st_dev, status.st_ino
