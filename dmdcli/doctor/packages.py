"""Which version of each package is there, whether it can be imported, and what mends the ways in which it cannot."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dmdcli import __version__
from dmdcli.doctor.finding import Finding, brief, pip, python, reinstall
from dmdcli.doctor.probes import Probe

OPENCV = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
"""All of these bring the module cv2, and write over each other."""
TORCHVISION_AHEAD = 15
"""torchvision 0.(N + 15) is built for torch 2.N."""


@dataclass(frozen=True)
class Package:
    """A package dmd uses. title: what messages call it. module: what is imported, "" for those that are not.

    distributions: what pip calls it, first the one that dmd asks for. needed: what does not work without it. uses: the
    modules that it cannot work without.
    """

    title: str
    module: str
    distributions: tuple[str, ...]
    needed: Literal["everything", "the embedded kit", "the full kit", "fetching networks"] = "everything"
    uses: tuple[str, ...] = ()


PACKAGES = (
    Package("torch", "torch", ("torch",)),
    Package("torchvision", "torchvision", ("torchvision",), "the full kit", ("torch",)),
    Package("OpenCV", "cv2", OPENCV, uses=("numpy",)),
    Package("numpy", "numpy", ("numpy",)),
    Package("Pillow", "PIL", ("pillow",)),
    Package("dlib", "dlib", ("dlib-bin", "dlib"), "the embedded kit"),
    Package("face_recognition_models", "", ("face-recognition-models",), "the embedded kit"),
    Package("face-alignment", "face_alignment", ("face-alignment",), "the full kit", ("torch", "numpy", "cv2")),
    Package("facexlib", "facexlib", ("facexlib",), "the full kit", ("torch", "torchvision", "numpy", "cv2")),
    Package("safetensors", "safetensors", ("safetensors",)),
    Package("platformdirs", "platformdirs", ("platformdirs",)),
    Package("filelock", "filelock", ("filelock",)),
    Package("requests", "requests", ("requests",), "fetching networks"),
    Package("typer", "", ("typer",)),
    Package("rich", "", ("rich",)),
)

LIBRARIES = {
    "libGL.so.1": ("libgl1", "mesa-libGL"),
    "libglib-2.0.so.0": ("libglib2.0-0", "glib2"),
    "libgthread-2.0.so.0": ("libglib2.0-0", "glib2"),
    "libgomp.so.1": ("libgomp1", "libgomp"),
    "libSM.so.6": ("libsm6", "libSM"),
    "libICE.so.6": ("libice6", "libICE"),
    "libX11.so.6": ("libx11-6", "libX11"),
    "libXext.so.6": ("libxext6", "libXext"),
    "libXrender.so.1": ("libxrender1", "libXrender"),
    "libxcb.so.1": ("libxcb1", "libxcb"),
    "libstdc++.so.6": ("libstdc++6", "libstdc++"),
}
"""A library of the system -> its package in Debian and Ubuntu, and in Fedora."""


def installed() -> dict[str, str]:
    """Every installed distribution, by its normalised name, with its version; the first of a name counts."""
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            found.setdefault(normalised(name), distribution.version)
    return found


def bounds() -> dict[str, str]:
    """The oldest version of each distribution that dmd works with, from its own metadata."""
    try:
        requirements = importlib.metadata.requires("dmdcli") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    found = (re.match(r"([\w.-]+)\s*>=\s*([\w.]+)", requirement) for requirement in requirements)
    return {normalised(match[1]): match[2] for match in found if match}


def normalised(name: str) -> str:
    """A distribution's name as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def release(version: str) -> tuple[int, ...]:
    """The numbers a version begins with, without zeros at their end: (2, 14, 1) for "2.14.1+cu130"."""
    match = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(number) for number in match[0].split(".")] if match else []
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def judge(there: Mapping[str, str], oldest: Mapping[str, str], probes: Mapping[str, Probe]) -> Iterator[Finding]:
    """Judge every version. there: as `installed`. oldest: as `bounds`. probes: by module."""
    yield Finding("versions", "dmd", "ok", f"{__version__}, in {Path(__file__).parents[1]}")
    yield Finding("versions", "Python", "ok", f"{platform.python_version()}, {sys.executable}")
    yield Finding("versions", "platform", "ok", platform.platform())
    for package in PACKAGES:
        yield judge_package(package, there, oldest, probes)
    if "face-recognition-models" in there and not importlib.util.find_spec("pkg_resources"):
        yield Finding(
            "versions",
            "pkg_resources",
            "note",
            "not there: dmd does without, but the program face_recognition cannot import its models",
            pip("install 'setuptools<81'"),
        )


def judge_package(
    package: Package, there: Mapping[str, str], oldest: Mapping[str, str], probes: Mapping[str, Probe]
) -> Finding:
    """Judge one package: whether it works, comes from one distribution only, and is not too old."""
    found = {name: there[name] for name in package.distributions if name in there}
    listed = ", ".join(
        version if name == normalised(package.title) and len(found) == 1 else f"{name} {version}"
        for name, version in found.items()
    )
    worst: Literal["problem", "warning"] = "problem" if package.needed == "everything" else "warning"
    wanted = package.distributions[0]
    bound = oldest.get(wanted, "")
    requirement = f"{wanted}>={bound}" if bound else wanted
    probe = probes.get(package.module)

    def found_to(status: Literal["ok", "warning", "problem"], text: str, cure: str | None = None) -> Finding:
        text = text if status == "ok" else f"{text}. Needed for {package.needed}"
        between = ", " if status == "ok" else ": "
        return Finding("versions", package.title, status, between.join(part for part in (listed, text) if part), cure)

    if len(found) > 1:
        text = "two distributions of the same module write over each other"
        if probe and not probe.works:
            text = f"{text}, and it cannot be imported ({brief(probe.reason)})"
        return found_to(worst if probe and not probe.works else "warning", text, keep_one(package, found, probe))
    if not found and (probe is None or probe.outcome == "missing"):
        bring = torchvision_cure(there) if wanted == "torchvision" else pip(f"install {shlex.quote(requirement)}")
        return found_to(worst, "not installed", bring)
    if probe and not probe.works:
        text, cure = explain(package, probe, there, probes)
        return found_to(worst, text, cure)
    if found and bound and release(next(iter(found.values()))) < release(bound):
        name = next(iter(found))
        return found_to(
            "warning", f"older than {bound}, the oldest that dmd works with", pip(f"install '{name}>={bound}'")
        )
    if probe and package.module == "torch":
        cuda, hip = probe.facts["cuda"], probe.facts["hip"]
        return found_to("ok", f"built for {f'CUDA {cuda}' if cuda else f'ROCm {hip}' if hip else 'the processor only'}")
    return found_to("ok", "" if found else "there, though pip does not know of it")


def explain(
    package: Package, probe: Probe, there: Mapping[str, str], probes: Mapping[str, Probe]
) -> tuple[str, str | None]:
    """Say why a package cannot be imported, and what mends it; no cure where that of another package does."""
    for module in package.uses:
        if module in probes and not probes[module].works:
            return f"needs {module}, which does not work", None
    wanted = package.distributions[0]
    name = next((name for name in package.distributions if name in there), wanted)
    reason = brief(probe.reason)
    if probe.outcome == "missing":
        return "its files are missing", torchvision_cure(there) if wanted == "torchvision" else reinstall(name)
    if probe.outcome == "crashed":
        if wanted == "dlib-bin" and probe.reason == "SIGILL":
            text = (
                "built for instructions that this processor lacks (AVX); it must be compiled here, with cmake and g++"
            )
            return text, f"{pip('uninstall -y dlib-bin')} && {pip('install dlib')}"
        return f"importing it ends the process ({reason})", reinstall(name)
    if probe.outcome == "hung":
        return f"importing it does not end ({reason})", f"{python()} -X importtime -c 'import {package.module}'"
    library = re.search(r"(lib[\w+.-]+\.so[.\d]*): cannot open shared object file", probe.reason)
    if library and (library[1] in LIBRARIES or wanted == "opencv-python"):
        return f"{library[1]} is missing on this system", system_library(library[1], name)
    if "DLL load failed" in probe.reason or "WinError" in probe.reason:
        return f"Windows lacks what it is built with ({reason})", "winget install Microsoft.VCRedist.2015+.x64"
    if wanted == "torchvision":
        build = there.get("torch", "another build")
        return f"another build than torch {build}, or damaged ({reason})", torchvision_cure(there)
    if re.search(r"numpy\.core\.multiarray|numpy\.dtype size changed|_ARRAY_API|compiled using NumPy", probe.reason):
        return (
            f"built for another numpy than {there.get('numpy', 'the one here')} ({reason})",
            pip(f"install --upgrade --force-reinstall --no-deps {name}"),
        )
    lacks = re.search(r"ModuleNotFoundError: No module named '(\w+)", probe.reason)
    if lacks and lacks[1] != package.module:
        return f"needs {lacks[1]}, which is not installed", pip(f"install {lacks[1]}")
    return f"cannot be imported ({reason})", reinstall(name)


def torchvision_cure(there: Mapping[str, str]) -> str:
    """The command that brings the torchvision of the torch that is there, from where its build came from."""
    torch = there.get("torch", "")
    numbers = release(torch)
    fitting = f"'torchvision==0.{numbers[1] + TORCHVISION_AHEAD}.*'" if numbers[:1] == (2,) else "torchvision"
    build = torch.partition("+")[2]
    index = f" --index-url https://download.pytorch.org/whl/{build}" if build else ""
    return pip(f"install --force-reinstall --no-deps {fitting}{index}")


def keep_one(package: Package, found: Mapping[str, str], probe: Probe | None) -> str:
    """The command that leaves one of several distributions: the one that can do most and runs here."""
    keep = package.distributions[0]
    if keep == "opencv-python":
        headless = (probe is not None and ".so" in probe.reason) or all(name.endswith("headless") for name in found)
        contrib = "-contrib" if any("contrib" in name for name in found) else ""
        keep = f"opencv{contrib}-python{'-headless' if headless else ''}"
    return f"{pip('uninstall -y ' + ' '.join(found))} && {pip('install ' + keep)}"


def system_library(library: str, distribution: str) -> str:
    """The command that brings a library of the system, or an OpenCV that does without."""
    debian, fedora = LIBRARIES.get(library, ("", ""))
    root = "" if sys.platform != "win32" and os.geteuid() == 0 else "sudo "
    if debian and shutil.which("apt-get"):
        names = (
            "libgl1 libglib2.0-0"
            if distribution.startswith("opencv") and debian in ("libgl1", "libglib2.0-0")
            else debian
        )
        return f"{root}apt-get update && {root}apt-get install -y {names}"
    if fedora and shutil.which("dnf"):
        return f"{root}dnf install -y {fedora}"
    if distribution.startswith("opencv"):
        other = f"{distribution.removesuffix('-headless')}-headless"
        return f"{pip(f'uninstall -y {distribution}')} && {pip(f'install {other}')}"
    return reinstall(distribution)
