"""Network files carried by hand: recognised by their SHA-256, put in place, and bundled for machines with no network.

A bundle is a plain tar of the files as they are, with a manifest and a page of licences for people. When one is read
nothing in it is believed: a member is taken only if its SHA-256 is in the table, and then under the table's name.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Literal

from dmdcli import weights
from dmdcli.errors import CannotGoOnError, UsageError
from dmdcli.weights import NetworkFile
from dmdcli.weights_folder import check_room, make_folder, writing

FORMAT = 1
"""Version of a bundle's manifest."""
MANIFEST = "manifest.json"
"""The first member of a bundle."""
PACKED = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\0": "xz", b"BZh": "bzip2", b"PK\x03\x04": "zip", b"7z\xbc\xaf": "7-Zip"}
"""How packed files begin -> what packs them."""
LICENCE_TEXTS = {
    "MIT": "https://opensource.org/license/mit",
    "BSD-3-Clause": "https://opensource.org/license/bsd-3-clause",
    "CC BY-NC-SA 4.0": "https://creativecommons.org/licenses/by-nc-sa/4.0/",
    "CC BY 4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC0 1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
}
"""Licence -> where its text is."""


@dataclass(frozen=True)
class Imported:
    """What became of one file that was handed in.

    source: its path; in a bundle followed by the member's name. file: what it is, None where it is unknown. outcome:
    "imported"; "there": it was in place, intact; "installed": it comes with a package and has no place in the weights
    folder; "damaged": named like a network file but of other content; "cut off": a bundle, or a tar that was asked for,
    that cannot be read to its end; "passed over": lies in a folder that was walked, and cannot be read; "unknown": none
    of the table. reason: what is wrong with the last three, without a full stop.
    """

    source: str
    file: NetworkFile | None
    outcome: Literal["imported", "there", "installed", "damaged", "cut off", "passed over", "unknown"]
    reason: str = ""


@dataclass(frozen=True)
class _Source:
    """A file, or a member of a bundle: its name for messages, its size in bytes, and how to read it."""

    label: str
    name: str
    size: int
    read: Callable[[], IO[bytes]]


def import_files(paths: Sequence[Path], folder: Path, files: Sequence[NetworkFile]) -> Iterator[Imported]:
    """Recognise files by their SHA-256, whatever they are called, and copy them to their places in `folder`.

    paths: files, bundles, and folders, which are walked; files of a folder that are no networks are passed over in
    silence. files: the table. Yields what became of each. Raises UsageError for a path that does not exist or cannot be
    read, CannotGoOnError where nothing can be written.
    """
    for path in paths:
        if os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises in a folder that may not be entered)
            for inner in sorted(inner for inner in path.rglob("*") if inner.is_file()):
                yield from _import_from_walk(inner, folder, files)
        elif os.path.isfile(path):  # noqa: PTH113
            yield from _import_file(path, folder, files)
        else:
            raise UsageError(f"There is no file {path}.")


def _import_from_walk(path: Path, folder: Path, files: Sequence[NetworkFile]) -> Iterator[Imported]:
    """Import a file that nobody named: what is none of ours does not keep the others from being imported."""
    try:
        for found in _import_file(path, folder, files):
            if found.outcome == "cut off" and not _is_bundle(path):
                yield replace(found, outcome="passed over")
            elif found.outcome != "unknown":
                yield found
    except UsageError as error:
        yield Imported(str(path), None, "passed over", str(error).rstrip("."))


def _import_file(path: Path, folder: Path, files: Sequence[NetworkFile]) -> Iterator[Imported]:
    with _readable(str(path)):
        size = path.stat().st_size
    source = _Source(str(path), path.name, size, lambda: path.open("rb"))
    if _recognise(source, files) is None and _is_plain_tar(path):
        yield from _import_bundle(path, folder, files)
    else:
        found = _import_source(source, folder, files)
        yield replace(found, reason=_packing(path)) if found.outcome == "unknown" else found


def _is_plain_tar(path: Path) -> bool:
    """Whether a file is an uncompressed tar, as bundles are; compressed ones are no more ours than a picture is."""
    with _readable(str(path)):
        try:
            tarfile.open(path, "r:").close()
        except tarfile.TarError:
            return False
    return True


def _is_bundle(path: Path) -> bool:
    """Whether a tar begins as `export_bundle` lets its own begin."""
    with _readable(str(path)), path.open("rb") as stream:
        return stream.read(len(MANIFEST) + 1) == f"{MANIFEST}\0".encode()


def _packing(path: Path) -> str:
    """What a file that is no network is packed with; empty where it is not packed. torch's own files are zips too."""
    with _readable(str(path)), path.open("rb") as stream:
        start = stream.read(max(map(len, PACKED)))
    name = next((name for magic, name in PACKED.items() if start.startswith(magic)), "")
    if name == "zip":
        with _readable(str(path)), suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
            if any(inner.rpartition("/")[2] == "data.pkl" for inner in archive.namelist()):
                return ""
    return f"packed ({name})" if name else ""


def _import_bundle(path: Path, folder: Path, files: Sequence[NetworkFile]) -> Iterator[Imported]:
    try:
        with _readable(str(path)), tarfile.open(path, "r:") as bundle:
            for member in bundle:
                if not member.isreg() or member.issparse():
                    continue

                def read(member: tarfile.TarInfo = member) -> IO[bytes]:
                    stream = bundle.extractfile(member)
                    assert stream is not None, "regular members have content"
                    return stream

                name = member.name.rpartition("/")[2]
                found = _import_source(_Source(f"{path}: {member.name}", name, member.size, read), folder, files)
                if found.outcome != "unknown":
                    yield found
    except (tarfile.TarError, EOFError) as error:
        yield Imported(str(path), None, "cut off", str(error))


def _import_source(source: _Source, folder: Path, files: Sequence[NetworkFile]) -> Imported:
    file = _recognise(source, files)
    if file is None:
        claimed = next((file for file in files if file.file.rpartition("/")[2] == source.name), None)
        return Imported(source.label, claimed, "damaged" if claimed else "unknown")
    if file.package is not None:
        return Imported(source.label, file, "installed")
    if weights.state(file, folder) == "intact":
        return Imported(source.label, file, "there")
    _copy(source, file, folder)
    return Imported(source.label, file, "imported")


def _recognise(source: _Source, files: Sequence[NetworkFile]) -> NetworkFile | None:
    """The file of the table with the content of `source`; read only where its size is one of the table's."""
    likely = {file.sha256: file for file in files if file.may_have(source.size)}
    if not likely:
        return None
    digest = hashlib.sha256()
    with _readable(source.label), source.read() as stream:
        while chunk := stream.read(weights.CHUNK):
            digest.update(chunk)
    return likely.get(digest.hexdigest())


def _copy(source: _Source, file: NetworkFile, folder: Path) -> None:
    """Copy `source` to the place of `file`, where it appears whole and verified or not at all."""
    final = weights.place(file, folder)
    make_folder(final, file, resumable=False)
    with _copying(final):
        check_room(folder, source.size)
    with _whole(final, _copying) as unfinished:
        with _copying(final), unfinished.open("xb") as target, source.read() as stream:
            shutil.copyfileobj(stream, target, weights.CHUNK)
            target.flush()
            os.fsync(target.fileno())
        weights.verify(unfinished, file)


def export_bundle(bundle: Path, files: Sequence[NetworkFile], folder: Path, overwrite: bool = False) -> Iterator[int]:
    """Write `files`, which lie intact in `folder`, into one uncompressed tar, and yield the bytes written so far.

    Every file is verified first. The bundle appears whole or not at all. Raises WeightsMissingError,
    WeightsCorruptError, UsageError where `bundle` exists and is not to be overwritten, CannotGoOnError where it cannot
    be written.
    """
    with _writing(bundle):
        if bundle.is_dir():
            raise UsageError(f"{bundle} is a folder.")
        if bundle.exists() and not bundle.is_file():
            raise UsageError(f"{bundle} is no regular file.")
        if bundle.exists() and not overwrite:
            raise UsageError(f"{bundle} exists; --overwrite writes it again.")
    paths = {file: weights.verify(weights.locate(file, folder), file) for file in files}
    with _writing(bundle):
        check_room(bundle.parent, sum(path.stat().st_size for path in paths.values()))
    done = 0
    with _whole(bundle, _writing) as unfinished, _writing(bundle), unfinished.open("xb") as target:
        with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as tar:
            _add(tar, MANIFEST, manifest(paths).encode())
            _add(tar, "LICENCES.txt", licences(files).encode())
            for file, path in paths.items():
                with path.open("rb") as stream:
                    tar.addfile(_member(file.file, path.stat().st_size), stream)
                done += path.stat().st_size
                yield done
        target.flush()
        os.fsync(target.fileno())


def manifest(paths: dict[NetworkFile, Path]) -> str:
    """What a bundle holds, as JSON."""
    entries = [
        {
            "name": file.name,
            "file": file.file,
            "sha256": file.sha256,
            "size": path.stat().st_size,
            "licence": file.licence,
            "note": file.note,
        }
        for file, path in paths.items()
    ]
    return json.dumps({"format": FORMAT, "files": entries}, indent=2) + "\n"


def licences(files: Sequence[NetworkFile]) -> str:
    """The page that goes with files handed on: whose they are, under which licence, and what else is to be known."""
    lines = ["The files in this bundle belong to their authors. Whoever hands them on hands on these terms.", ""]
    for file in files:
        lines += [f"{file.file}: {file.title}", f"  Licence: {file.licence}, {LICENCE_TEXTS[file.licence]}"]
        lines += [f"  Published at: {address}" for address in file.addresses[:1]]
        lines += [f"  Note: {file.note}"] if file.note else []
        lines += [""]
    return "\n".join([*lines, "Put them in place with: dmd models import BUNDLE", ""])


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    tar.addfile(_member(name, len(content)), io.BytesIO(content))


def _member(name: str, size: int) -> tarfile.TarInfo:
    """A member that says nothing of who made it and when."""
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o644
    return member


@contextmanager
def _whole(final: Path, writing: Callable[[Path], AbstractContextManager[None]]) -> Iterator[Path]:
    """A temporary path beside `final`, renamed to it at the end and removed when something goes wrong.

    writing: what says why `final` cannot be written.
    """
    unfinished = final.with_name(f".{final.name}.{secrets.token_hex(4)}")
    try:
        yield unfinished
        with writing(final):
            unfinished.replace(final)
    finally:
        with suppress(OSError):  # where nothing could be written nothing can be removed, and the first error counts
            unfinished.unlink()


def _copying(final: Path) -> AbstractContextManager[None]:
    """Say in one sentence why a network cannot be copied to `final`; what a fetch has left there is no help."""
    return writing(final, resumable=False)


@contextmanager
def _readable(label: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{label} cannot be read ({error.strerror}).") from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Say in one sentence why `path` could not be written."""
    try:
        yield
    except OSError as error:
        raise CannotGoOnError(f"{path} cannot be written ({error.strerror}).") from error
