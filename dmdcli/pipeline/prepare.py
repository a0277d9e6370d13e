"""Make a data folder for training of photographs of known people: the one face of each, aligned, filtered, indexed.

Beside what training reads (aligned_crops/, index.csv, landmarks.json) the folder holds report.csv, what was left out
and why, and looked_at/, one small file for each photo read, by which a run that was stopped goes on.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from dmdcli.errors import CannotGoOnError, FaceDataError, PhotoError, PhotoReadError, UsageError
from dmdcli.faces.align import invert, scale_of, transform
from dmdcli.faces.face import Face, sharpness
from dmdcli.faces.finder import FaceFinder
from dmdcli.files import write_file
from dmdcli.photos import Photo, read_photo
from dmdcli.pipeline.one_photo import only_this_photo
from dmdcli.pipeline.same_picture import SAME_PICTURE, face_view
from dmdcli.places import PhotoFile
from dmdcli.shapes import CROP, Pixels
from dmdcli.training.data import COLUMNS

FORMAT = 1
"""Version of the files in looked_at/."""
LEAST_PEOPLE = 3
"""Two people to learn from, so that one can play the wrong person, and one to validate with."""
MAX_ENLARGED = 2.2
"""Default of the enlargement from photo to crop above which a face is too small to learn fine detail from. The crops
that the base weights were trained on reach 2.1."""
MIN_SHARPNESS = 0.4
"""Default of the least `faces.face.sharpness`: the crops the base weights were trained on have 0.40 to 0.88."""
JPEG_QUALITY = 95
"""Of the crops, with full colour resolution."""
VIEW_STEP = 8
"""See `face_view`: what is remembered of each crop, 6.7 kB."""
REPORT_COLUMNS = ("photo", "person", "kind", "reason")

Kind: TypeAlias = Literal[
    "failed", "nobody's", "no face", "several faces", "cut off", "too small", "blurred", "doubtful", "duplicate"
]
"""Why a photo is left out, in a word or two."""


@dataclass(frozen=True)
class LabelledFile:
    """A photo and who is on it; None where nothing says who."""

    person: str | None
    file: PhotoFile


@dataclass(frozen=True)
class Limits:
    """What a face must be. max_enlarged: crop pixels to one photo pixel. min_sharpness: see `faces.face.sharpness`."""

    max_enlarged: float = MAX_ENLARGED
    min_sharpness: float = MIN_SHARPNESS


@dataclass(frozen=True)
class PreparedPhoto:
    """What became of one photo. crop: the file in aligned_crops/, or None where `kind` and `reason` say why not.

    enlarged: crop pixels to one photo pixel, or None. again: known from an earlier run, not looked at now.
    """

    photo: Path
    person: str | None
    source: str
    crop: str | None = None
    enlarged: float | None = None
    kind: Kind | None = None
    reason: str | None = None
    again: bool = False


@dataclass(frozen=True)
class PreparedFolder:
    """The folder is complete. crops, people: their numbers in each split. removed: crops of an earlier run that this
    one has no photo for.
    """

    crops: dict[str, int]
    people: dict[str, int]
    removed: int


@dataclass(frozen=True)
class LookedAt:
    """What looking at one photo gave: a crop, its enlargement, and 68 points x, y in crop pixels; or why none."""

    crop: str | None = None
    enlarged: float | None = None
    points: list[list[float]] = field(default_factory=list, repr=False)
    kind: Kind | None = None
    reason: str | None = None


def label(files: Iterable[PhotoFile], folders: int, *, strangers: bool) -> list[LabelledFile]:
    """Say who is on each photo: the folder under a named folder that it lies in, however deep, is its person.

    files: as `find_photos` gives them for inputs of which `folders` are folders. A photo named by itself or lying in
    a named folder directly is nobody's. strangers: every photo is a person of its own instead, wherever it lies.
    """
    depth = 1 if folders > 1 else 0  # several folders each go under their own name
    labelled = []
    for file in files:
        within = file.relative.parts[depth:]
        person = file.relative.as_posix() if strangers else within[0] if len(within) > 1 else None
        labelled.append(LabelledFile(person, file))
    return labelled


def choose_validation(counts: Mapping[str, int], share: float, seed: int) -> frozenset[str]:
    """Choose whole people for the validation, by nothing but their names and the seed.

    At least one, and never so many that fewer than two are left to learn from. counts: person -> number of crops, at
    least LEAST_PEOPLE. share: of the people, in [0, 0.5]. People with several crops, whose specific
    answer can be measured, have their share of the places and at least one of them, if there are two such people.
    """
    ranked = sorted(counts, key=lambda person: hashlib.sha256(f"{seed} {person}".encode(errors="replace")).digest())
    several = [person for person in ranked if counts[person] > 1]
    alone = [person for person in ranked if counts[person] == 1]
    wanted = min(max(1, round(share * len(ranked))), len(ranked) - 2)
    places = min(wanted, max(1, round(share * len(several)))) if len(several) > 1 else 0
    return frozenset([*several[:places], *alone, *several[places:]][:wanted])


def check_folder(out: Path) -> None:
    """Raise UsageError where `out` holds a data folder that something else has made: it would be written over."""
    if (out / "looked_at").is_dir():
        return
    for name in ("index.csv", "landmarks.json", "aligned_crops"):
        if (out / name).exists():
            raise UsageError(f"{out} has {name} in it, which this command has not made. Choose another folder.")


def prepare(
    labelled: Sequence[LabelledFile],
    out: Path,
    finder: FaceFinder,
    *,
    limits: Limits,
    licence: str,
    validation: float,
    seed: int,
) -> Iterator[PreparedPhoto | PreparedFolder]:
    """Take the face of each photo that is fit to learn from into the data folder `out`.

    Yields PreparedPhoto in the order of `labelled`, then, once the folder is complete, PreparedFolder. What an earlier
    run over the same photos with the same limits and kit has looked at is not looked at again; crops of photos no
    longer among `labelled` go. Raises FaceDataError where too few people are left, after writing report.csv, and
    CannotGoOnError where nothing can be written.
    """
    settings = {"format": FORMAT, "kit": finder.kit_name, **asdict(limits)}
    pictures = _Pictures(len(labelled))
    seen: set[str] = set()
    kept: list[tuple[PreparedPhoto, LookedAt]] = []
    left_out: list[PreparedPhoto] = []
    for one in labelled:
        source = one.file.relative.as_posix()
        looked, again = LookedAt(), False
        try:
            if one.person is None:
                looked = LookedAt(kind="nobody's", reason="it lies in no person's folder")
            else:
                with only_this_photo(one.file.path):
                    name = _name_of(one.file.path)
                    new = name not in seen
                    seen.add(name)
                    looked, again = _look_once(one.file.path, name, source, out, finder, limits, settings, pictures)
                    again = again and new
        except PhotoError as error:
            looked = LookedAt(kind="failed", reason=error.reason)
        prepared = PreparedPhoto(
            one.file.path, one.person, source, looked.crop, looked.enlarged, looked.kind, looked.reason, again
        )
        if looked.crop is None:
            left_out.append(prepared)
        else:
            kept.append((prepared, looked))
        yield prepared

    write_file(
        _table(REPORT_COLUMNS, [(p.source, p.person or "", p.kind, p.reason) for p in left_out]), out / "report.csv"
    )
    counts = Counter(photo.person or "" for photo, _ in kept)
    if len(counts) < LEAST_PEOPLE:
        raise FaceDataError(
            f"Of {len(counts) or 'no'} {'person' if len(counts) == 1 else 'people'} a photo is fit to learn from; "
            f"{LEAST_PEOPLE} are needed, two to learn from and one to validate with. What was left out and why is in "
            f"{out / 'report.csv'}."
        )
    chosen = choose_validation(counts, validation, seed)
    splits = {person: "validation" if person in chosen else "train" for person in counts}
    rows = [
        (photo.crop, photo.person, splits[photo.person or ""], photo.enlarged, photo.source, licence)
        for photo, _ in kept
    ]
    points = {Path(photo.crop or "").stem: looked.points for photo, looked in kept}
    write_file(json.dumps(points).encode(), out / "landmarks.json")
    write_file(_table(COLUMNS, rows), out / "index.csv")
    removed = _remove_others(out, seen, {photo.crop for photo, _ in kept})
    yield PreparedFolder(dict(Counter(split for _, _, split, *_ in rows)), dict(Counter(splits.values())), removed)


class _Pictures:
    """The crops there are so far: which photo each is of, and what it looks like."""

    def __init__(self, capacity: int) -> None:
        self._sources: list[str] = []
        self._views: npt.NDArray[np.float32] = np.empty((capacity, 0), dtype=np.float32)

    def add(self, source: str, crop: Pixels) -> str | None:
        """Remember a crop; if it is of the same picture as one that is there, return the source of that instead."""
        view = face_view(crop, VIEW_STEP)
        count = len(self._sources)
        if not count:
            self._views = np.empty((len(self._views), len(view)), dtype=np.float32)
        alike = self._views[:count] @ view
        if count and alike.max() >= SAME_PICTURE:
            return self._sources[int(alike.argmax())]
        self._views[count] = view
        self._sources.append(source)
        return None


def _name_of(path: Path) -> str:
    """What the crop of a photo is called, by the photo's content."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise PhotoReadError(path, f"cannot be read: {error.strerror or error}") from error


def _look_once(
    path: Path,
    name: str,
    source: str,
    out: Path,
    finder: FaceFinder,
    limits: Limits,
    settings: Mapping[str, object],
    pictures: _Pictures,
) -> tuple[LookedAt, bool]:
    """What looking at a photo gives, and whether an earlier run had looked; the crop is written if it is not there."""
    note, place = out / "looked_at" / f"{name}.json", out / "aligned_crops" / f"{name}.jpg"
    known = _recall(note, settings)
    crop = _read_crop(place) if known is not None and known.crop is not None else None
    again = known is not None and (known.crop is None or crop is not None)
    looked = known
    if looked is None or not again:
        looked, crop = _look_at(read_photo(path), place.name, finder, limits)
        if crop is not None:
            content = io.BytesIO()
            Image.fromarray(crop).save(content, "JPEG", quality=JPEG_QUALITY, subsampling=0)
            write_file(content.getvalue(), place)
        write_file(json.dumps({"settings": dict(settings), "looked_at": asdict(looked)}).encode(), note)
    same = None if crop is None else pictures.add(source, crop)
    if same is not None:
        looked = LookedAt(enlarged=looked.enlarged, kind="duplicate", reason=f"the same picture as {same}")
    return looked, again


def _look_at(photo: Photo, name: str, finder: FaceFinder, limits: Limits) -> tuple[LookedAt, Pixels | None]:
    """Find the one face of a photo that is fit to learn from; its crop, or why there is none."""
    found = finder.find(photo.pixels)
    faces = [face for face in found if face.rejected is None]
    if len(faces) > 1:
        return LookedAt(kind="several faces", reason=f"it has {len(faces)} faces; one is needed"), None
    if not faces:
        reasons = "; ".join(dict.fromkeys(face.rejected for face in found if face.rejected))
        return LookedAt(kind="no face", reason=f"no usable face: {reasons}" if reasons else "no face found"), None
    (face,) = faces
    enlarged = round(scale_of(face.matrix), 3)
    refusal = _refusal(face, enlarged, photo.pixels, limits)
    if refusal is not None:
        return LookedAt(enlarged=enlarged, kind=refusal[0], reason=refusal[1]), None
    points = [[round(float(x), 2), round(float(y), 2)] for x, y in face.landmarks.points]
    return LookedAt(name, enlarged, points), face.pixels


def _refusal(face: Face, enlarged: float, pixels: Pixels, limits: Limits) -> tuple[Kind, str] | None:
    """Why a face is not fit to learn from, or None. pixels: the photo's."""
    if enlarged > limits.max_enlarged:
        return "too small", f"the face was enlarged {enlarged:.1f} times; {limits.max_enlarged:g} is the limit"
    inside = transform(face.landmarks.points, invert(face.matrix))
    if (inside < 0).any() or (inside > np.array(pixels.shape[1::-1]) - 1).any():
        return "cut off", "the edge of the photo cuts the face off"
    measured = sharpness(face.pixels)
    if measured < limits.min_sharpness:
        return "blurred", f"its sharpness is {measured:.2f}; {limits.min_sharpness:g} is the limit"
    if face.doubts:
        return "doubtful", "; ".join(face.doubts)
    return None


def _recall(note: Path, settings: Mapping[str, object]) -> LookedAt | None:
    """What an earlier run noted of a photo; None where there is no note, a damaged one, or one of other settings."""
    try:
        content = json.loads(note.read_bytes())
        looked = LookedAt(**content["looked_at"])
        return looked if content["settings"] == settings and looked.crop in (None, f"{note.stem}.jpg") else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read_crop(path: Path) -> Pixels | None:
    """A crop of an earlier run; None where it is missing or damaged."""
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError):
        return None
    return pixels if pixels.shape == (CROP, CROP, 3) else None


def _remove_others(out: Path, seen: set[str], crops: set[str | None]) -> int:
    """Remove what earlier runs left for photos that are not there any more; return the number of crops."""
    removed = 0
    for note in list((out / "looked_at").glob("*.json")):
        crop = out / "aligned_crops" / f"{note.stem}.jpg"
        try:
            if crop.name not in crops and crop.exists():
                crop.unlink()
                removed += note.stem not in seen
            if note.stem not in seen:
                note.unlink()
        except OSError as error:
            raise CannotGoOnError(
                f"{error.filename}, of an earlier run, cannot be removed ({error.strerror})."
            ) from error
    return removed


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """A CSV file; what in a name is no text is written as an escape."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "backslashreplace")
