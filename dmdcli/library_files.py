"""The library's files: read whole and checked, written whole or not at all, private to the user."""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import struct
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias, cast

import filelock
import numpy as np
import numpy.typing as npt
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from dmdcli.errors import CannotGoOnError, LibraryFormatError, LibraryLockedError, ReferenceChangedError
from dmdcli.shapes import CROP, Pixels, Points

FORMAT = 1
"""Version of the files; a library of a higher one is refused."""
POINTS = 68
FARTHEST = 16 * CROP
"""Crop pixels: no landmark is farther from the corner of its crop."""

STORED = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "U16": np.uint16}
"""The types of arrays in caches, as safetensors and as NumPy call them."""

Arrays: TypeAlias = Mapping[str, npt.NDArray[np.generic]]
ReferenceFiles: TypeAlias = tuple[bytes, bytes]
"""A reference's crop as PNG, and its landmarks as text."""


@dataclass(frozen=True)
class Cache:
    """A file made from a person's references. maker: weights id or kit. current: the references are still the same."""

    kind: Literal["dictionary", "embeddings"]
    maker: str
    current: bool


def is_there(path: Path) -> bool:
    """Whether a file of the library exists; CannotGoOnError where its folder cannot be looked into."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise CannotGoOnError(
            f"The library in {path.parent} cannot be read ({error.strerror}). Mend its permissions, or set DMD_HOME to "
            "another folder."
        ) from error
    return True


def check_format(home: Path) -> None:
    """Raise LibraryFormatError for a library that is damaged, or of a newer format."""
    path = home / "library.json"
    if not is_there(path):
        if (home / "people").exists():
            raise LibraryFormatError(f"{path} is missing; the library is damaged. Restore it from a backup.")
        return
    found = read_json(path).get("format")
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise LibraryFormatError(f"{path} names no format; the library is damaged. Restore it from a backup.")
    if found > FORMAT:
        raise LibraryFormatError(
            f"The library in {home} has format {found}; this version of dmd reads up to format {FORMAT}. "
            "Install a newer dmd, or set DMD_HOME to another folder."
        )


@contextmanager
def locked(home: Path, seconds: float) -> Iterator[None]:
    """Hold the lock of a library, which is made if missing; seconds: to wait for it. LibraryLockedError.

    Raises CannotGoOnError for what cannot be written meanwhile.
    """
    lock = filelock.FileLock(home / "library.lock", mode=0o600)
    try:
        make_private(home)
        with lock.acquire(timeout=seconds):
            check_format(home)
            if not (home / "library.json").exists():
                write_json(home / "library.json", {"format": FORMAT})
            make_private(home / "people")
            yield
    except filelock.Timeout as error:
        raise LibraryLockedError(f"Another dmd is writing to {home}; wait for it, then try again.") from error
    except OSError as error:
        raise CannotGoOnError(f"The library in {home} cannot be written: {error.strerror or error}.") from error


def read_crop(path: Path) -> Pixels:
    """Return a crop, (512, 512, 3) uint8 RGB. Raises LibraryFormatError for anything else."""
    try:
        return decode_crop(read(path))
    except ValueError as error:
        raise LibraryFormatError(f"{path} is damaged ({error}); forget the person and enrol them again.") from error


def decode_crop(content: bytes) -> Pixels:
    """Return the crop in a PNG, (512, 512, 3) uint8 RGB. ValueError for anything else; it is not decoded then."""
    wanted = f"it is no {CROP} x {CROP} RGB crop"
    if content[12:24] != b"IHDR" + struct.pack(">II", CROP, CROP):  # before Pillow sees it: a picture may be enormous
        raise ValueError(wanted)
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            if (picture.size, picture.mode) != ((CROP, CROP), "RGB"):
                raise ValueError(wanted)
            return np.array(picture)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(str(error)) from error


def check_points(path: Path, seen: Points | None) -> None:
    """ReferenceChangedError where the landmarks in a file are not those that were seen; None: any will do."""
    if seen is not None and encode_points(seen) != encode_points(read_points(path)):
        raise ReferenceChangedError("The points of this reference were changed meanwhile. Look at it again.")


def read_points(path: Path) -> Points:
    """Return landmarks, (68, 2) float32 in crop pixels. Raises LibraryFormatError for anything else."""
    try:
        return decode_points(read(path))
    except ValueError as error:
        raise LibraryFormatError(f"{path} is damaged ({error}).") from error


def decode_points(content: bytes) -> Points:
    """Return the landmarks in a text, (68, 2) float32 in crop pixels. Raises ValueError for anything else."""
    wanted = f"it wants {POINTS} lines 'x y'"
    try:
        rows = [[float(number) for number in line.split()] for line in content.decode().splitlines()]
        points = np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"{error}; {wanted}") from error
    if points.shape != (POINTS, 2) or not (np.abs(points) <= FARTHEST).all():  # what is no number is not within
        raise ValueError(wanted)
    return points.astype(np.float32)


def cache_header(kind: str, maker: str, truth: str) -> dict[str, str]:
    """Return what a cache says of itself: its format, what made it, and the digest of what it was made from."""
    made_by = "weights" if kind == "dictionary" else "kit"
    return {"format": str(FORMAT), "kind": kind, made_by: maker, "references": truth}


def read_cache(path: Path, header: dict[str, str]) -> Arrays | None:
    """Return the arrays of a cache file, or None when it is missing, damaged, or says something else than `header`.

    They are mapped, where that does not keep the file from being replaced: the system reads what is used of them, and
    may forget it again.
    """
    try:
        with safe_open(path, framework="np") as file:  # looks whether all of it is there
            if file.metadata() != header:
                return None
            if sys.platform == "win32":
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        return _mapped(path)
    except (OSError, SafetensorError):
        return None


def find_caches(folder: Path, version: str) -> list[Cache]:
    """The caches in a person's folder. version: of their references, which caches that are current are made from."""
    found = []
    for path in sorted(folder.glob("*.safetensors")):
        kind, _, maker = path.stem.partition("-")
        if kind == "dictionary" or kind == "embeddings":
            current = read_cache(path, cache_header(kind, maker, version)) is not None
            found.append(Cache(cast(Literal["dictionary", "embeddings"], kind), maker, current))
    return found


def _mapped(path: Path) -> Arrays:
    """The arrays of a safetensors file that is whole, without reading them; what is written into them is not kept."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        entries = json.loads(file.read(length))
    if path.stat().st_size == 8 + length:
        return {}
    content = np.memmap(path, np.uint8, "c", offset=8 + length)
    arrays = {}
    for name, entry in entries.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            arrays[name] = content[begin:end].view(STORED[entry["dtype"]]).reshape(entry["shape"])
    return arrays


def read(path: Path) -> bytes:
    """Return a file's bytes. Raises LibraryFormatError when it is missing, CannotGoOnError when it is unreadable."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise LibraryFormatError(f"{path} is missing; the library is damaged. Restore it from a backup.") from error
    except OSError as error:
        raise CannotGoOnError(f"{path} cannot be read: {error.strerror}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Return a file's JSON object. Raises LibraryFormatError when it holds none."""
    try:
        fields = json.loads(read(path))
    except ValueError as error:
        raise LibraryFormatError(f"{path} is damaged ({error}); restore it from a backup.") from error
    if not isinstance(fields, dict):
        raise LibraryFormatError(f"{path} is damaged (no JSON object); restore it from a backup.")
    return fields


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, so that only the user may enter."""
    for missing in [*reversed(folder.parents), folder]:
        if not missing.exists():
            missing.mkdir(mode=0o700)


def write_json(path: Path, fields: Mapping[str, object]) -> None:
    """Write a JSON object."""
    write(path, encode_json(fields))


def encode_json(fields: Mapping[str, object]) -> bytes:
    """A JSON object. A file name that is no text is kept as JSON escapes."""
    return (json.dumps(fields, ensure_ascii=False, indent=2) + "\n").encode("utf-8", "backslashreplace")


def remove_unlisted(folder: Path, listed: Collection[str]) -> None:
    """Remove what was written halfway in a person's folder, and the files of references with other ids than these."""
    for path in folder.rglob("*"):
        orphan = path.parent.name == "references" and path.stem not in listed
        if path.is_file() and (orphan or path.name.startswith(".")):
            path.unlink()


def encode_crop(crop: Pixels) -> bytes:
    """A crop, (512, 512, 3) uint8 RGB, as PNG."""
    picture = io.BytesIO()
    Image.fromarray(crop).save(picture, "PNG")
    return picture.getvalue()


def encode_points(points: Points) -> bytes:
    """Landmarks, (68, 2) in crop pixels, a line "x y" each, to a hundredth of a pixel."""
    return "".join(f"{x:.2f} {y:.2f}\n" for x, y in points.tolist()).encode()


def write_cache(path: Path, arrays: Arrays, header: dict[str, str]) -> None:
    """Write the arrays of a cache as safetensors."""
    write(path, save(dict(arrays), metadata=header))


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, readable by the user only."""
    with whole(path) as file:
        file.write(content)


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, readable by the user only, which has its name when all is written, or nothing is there."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def digest_of_references(files: Iterable[ReferenceFiles]) -> str:
    """What names references, given their files in the person's order: see docs/library-format.md."""
    digest = hashlib.sha256()
    for content in (one for both in files for one in both):
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()
