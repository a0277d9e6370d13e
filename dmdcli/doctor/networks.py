"""Which files of networks are there and intact, which kit can be used, and which one `--kit auto` takes."""

from __future__ import annotations

import importlib.metadata
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dmdcli import weights
from dmdcli.doctor.finding import Finding, Status, in_bytes, pip, reinstall
from dmdcli.doctor.packages import PACKAGES
from dmdcli.doctor.probes import Probe
from dmdcli.weights import NetworkFile, State

EMBEDDED = (weights.LANDMARKS_68, weights.RECOGNITION)
"""What the embedded kit loads; with --thorough the CNN detector too."""


def states(folder: Path) -> dict[str, State]:
    """Read every file of the table and compare it; by name. folder: the weights folder."""
    return {file.name: weights.state(file, folder) for file in weights.FILES}


def judge(found: Mapping[str, State], folder: Path, probes: Mapping[str, Probe]) -> Iterator[Finding]:
    """Judge the kits and each file. found: as `states`. folder: the weights folder. probes: by module."""
    embedded = [*without(EMBEDDED, found), *broken("the embedded kit", probes)]
    taken = weights.full_kit_files(lambda file: found[file.name] != "missing")
    full_files = list(without(taken, found))
    full_packages = list(broken("the full kit", probes))
    usable = not full_files and not full_packages
    if embedded:
        status: Status = "warning" if usable else "problem"
        yield Finding("networks", "embedded kit", status, f"cannot be used; {'; '.join(embedded)}")
    else:
        yield Finding("networks", "embedded kit", "ok", "can be used")
    if usable:
        yield Finding("networks", "full kit", "ok", "can be used")
    elif full_files:
        text = f"cannot be used; {'; '.join([*full_files, *full_packages])}"
        yield Finding("networks", "full kit", "note", text, "dmd models fetch full")
    else:
        yield Finding("networks", "full kit", "warning", f"cannot be used; {'; '.join(full_packages)}")
    spoiled = [file for file in taken if found[file.name] == "damaged"]
    if spoiled and all(found[file.name] != "missing" for file in taken) and not full_packages:
        titles = " and ".join(", ".join(file.title for file in spoiled).rsplit(", ", 1))
        text = f"fails, because of the full kit {titles} {'is' if len(spoiled) == 1 else 'are'} damaged"
        yield Finding("networks", "--kit auto", "problem", text, cure_all(spoiled))
    elif usable:
        yield Finding("networks", "--kit auto", "ok", "takes the full kit, because all it needs is here")
    elif embedded:
        yield Finding("networks", "--kit auto", "problem", "fails, because neither kit can be used")
    else:
        yield Finding("networks", "--kit auto", "ok", "takes the embedded kit, because the full kit cannot be used")
    for file in weights.FILES:
        yield judge_file(file, found, folder)


def cure_all(files: Sequence[NetworkFile]) -> str:
    """The command that brings all these fetched files."""
    of_set = len(files) > 1 and set(files) <= set(weights.SETS["full"])
    return f"dmd models fetch {'full' if of_set else ' '.join(file.name for file in files)}"


def without(files: tuple[NetworkFile, ...], found: Mapping[str, State]) -> Iterator[str]:
    """Say which files are damaged and which are missing."""
    for state in ("damaged", "missing"):
        titles = [file.title for file in files if found[file.name] == state]
        if titles:
            yield f"{state}: {', '.join(titles)}"


def broken(kit: str, probes: Mapping[str, Probe]) -> Iterator[str]:
    """Say which packages that a kit needs do not work; the embedded kit does without torch."""
    titles = [
        package.title
        for package in PACKAGES
        if package.needed in (kit, "everything")
        and not (kit == "the embedded kit" and package.module == "torch")
        and package.module in probes
        and not probes[package.module].works
    ]
    if titles:
        yield f"not working: {', '.join(titles)}"


def judge_file(file: NetworkFile, found: Mapping[str, State], folder: Path) -> Finding:
    """Judge one file: intact, damaged (a problem where nothing takes its place) or missing."""
    state = found[file.name]
    subject = file.name
    size = in_bytes(file.size)
    if state == "intact":
        return Finding("networks", subject, "ok", f"intact, {size}: {file.purpose}")
    if file.package is None:
        if state == "damaged":
            text = f"{weights.place(file, folder)} is damaged: {file.purpose}"
            return Finding("networks", subject, "warning", text, weights.cure(file))
        place = weights.place(file, folder)
        if weights.is_blocked(place):
            text = f"{place} is a folder and in the way: the file that {file.purpose} belongs there"
            quoted = shlex.quote(str(place))
            return Finding("networks", subject, "warning", text, f"mv {quoted} {quoted}.folder")
        of_set = any(file in members for members in weights.SETS.values())
        text = f"not fetched, {size}, {file.licence}: {file.purpose}"
        return Finding("networks", subject, "note", text, None if of_set else weights.cure(file))
    replaced = file is not weights.BASE or found[weights.DMDNET.name] == "intact"
    text = f"{state}: {file.purpose}"
    cure = own_cure(file) if file.package == "dmdcli" else reinstall(file.package)
    return Finding("networks", subject, "warning" if replaced else "problem", text, cure)


def own_cure(file: NetworkFile) -> str:
    """The command that brings a file that comes with dmd itself, from where dmd was installed."""
    try:
        origin = importlib.metadata.distribution("dmdcli").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        origin = None
    source = Path(__file__).parents[2]
    if (source / ".git").exists():
        return f"git -C {shlex.quote(str(source))} checkout -- dmdcli/{file.file}"
    address = json.loads(origin)["url"] if origin else ""
    return pip(f"install --force-reinstall --no-deps {shlex.quote(address or 'dmdcli')}")
