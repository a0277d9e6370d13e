"""Every network file the program can use: what it is for, where it lies, its SHA-256, its size and its licence.

Files come with an installed package, or lie in the weights folder after `dmd models fetch`. Each is compared with the
table whenever it is loaded. Nothing here connects to anything; `fetch.py` does.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from dmdcli.errors import UsageError, WeightsCorruptError, WeightsMissingError

CHUNK = 1 << 20
"""Bytes read at a time while hashing."""
SIZE_DOUBT = 0.1
"""Part of the size by which a file whose size is only about known may differ."""

State: TypeAlias = Literal["intact", "damaged", "missing"]


@dataclass(frozen=True)
class NetworkFile:
    """One file of trained numbers.

    name: short, what the user types. title: what messages call it. purpose: what it is for, in a few words. sha256: of
    the whole file, hexadecimal. size: in bytes; with size_known False only about that. licence: as its publisher
    states it. note: what the licence alone does not say. file: its name in the weights folder or, with `package`, its
    place in that installed package. addresses: where it can be fetched, the publisher's first, then mirrors.
    """

    name: str
    title: str
    purpose: str
    sha256: str
    size: int
    licence: str
    file: str
    size_known: bool = True
    note: str = ""
    package: str | None = None
    addresses: tuple[str, ...] = ()

    @property
    def longest(self) -> int:
        """The most bytes it may have."""
        return self.size if self.size_known else round(self.size * (1 + SIZE_DOUBT))

    def may_have(self, size: int) -> bool:
        """Whether it may be `size` bytes long."""
        return 2 * self.size - self.longest <= size <= self.longest


_FACEXLIB = "https://github.com/xinntao/facexlib/releases/download"
_CODEFORMER = "https://github.com/sczhou/CodeFormer/releases/download/v0.1.0"
_PULID = "https://huggingface.co/camenduru/PuLID/resolve/main/facexlib"

BASE = NetworkFile(
    name="base",
    title="our own restoration network",
    purpose="restores faces",
    sha256="c207bd4212bdb9ad8b519a670ab6299a10df1e7e0ecdc6dab5abe3e6546ff8ca",
    size=26_727_708,
    licence="CC BY 4.0",
    file="model/base.safetensors",
    package="dmdcli",
    note="attribution is asked for; its model card, base.md beside it, says of whom",
)
LANDMARKS_68 = NetworkFile(
    name="dlib-landmarks",
    title="dlib 68-point shape predictor",
    purpose="finds 68 points",
    sha256="fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f",
    size=99_693_937,
    licence="CC0 1.0",
    file="models/shape_predictor_68_face_landmarks.dat",
    package="face_recognition_models",
    note="trained on iBUG 300-W, whose authors exclude commercial use: ask them before using it commercially",
)
RECOGNITION = NetworkFile(
    name="dlib-recognition",
    title="dlib face recognition network",
    purpose="recognises people",
    sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    size=22_466_066,
    licence="CC0 1.0",
    file="models/dlib_face_recognition_resnet_model_v1.dat",
    package="face_recognition_models",
)
DETECTOR_CNN = NetworkFile(
    name="dlib-detector",
    title="dlib CNN face detector",
    purpose="finds more faces",
    sha256="4cb19393e2fbaf2b1609a9319ad5386618c886a6234ec1b971f3e87c85d87fe6",
    size=729_940,
    licence="CC0 1.0",
    file="models/mmod_human_face_detector.dat",
    package="face_recognition_models",
)
DMDNET = NetworkFile(
    name="dmdnet",
    title="published DMDNet",
    purpose="restores faces",
    sha256="70daeb4b1fd10f241043b587d892a941f2651d7322db02f06ff64b166537f65c",
    size=603_500_000,
    size_known=False,
    licence="CC BY-NC-SA 4.0",
    file="DMDNet.pth",
    addresses=("https://github.com/csxmli2016/DMDNet/releases/download/v1/DMDNet.pth",),
    note="not for commercial use, and what is derived from it must be shared under the same licence; its author "
    "publishes no checksum: ours is that of three independent copies which agree",
)
RETINAFACE_RESNET50 = NetworkFile(
    name="retinaface-resnet50",
    title="RetinaFace ResNet-50",
    purpose="finds faces",
    sha256="6d1de9c2944f2ccddca5f5e010ea5ae64a39845a86311af6fdf30841b0a5a16d",
    size=109_497_761,
    licence="MIT",
    file="detection_Resnet50_Final.pth",
    addresses=(
        f"{_FACEXLIB}/v0.1.0/detection_Resnet50_Final.pth",
        f"{_CODEFORMER}/detection_Resnet50_Final.pth",
    ),
)
RETINAFACE_MOBILENET = NetworkFile(
    name="retinaface-mobilenet",
    title="RetinaFace MobileNet",
    purpose="finds faces fast",
    sha256="2979b33ffafda5d74b6948cd7a5b9a7a62f62b949cef24e95fd15d2883a65220",
    size=1_789_735,
    licence="MIT",
    file="detection_mobilenet0.25_Final.pth",
    addresses=(
        f"{_FACEXLIB}/v0.1.0/detection_mobilenet0.25_Final.pth",
        f"{_CODEFORMER}/detection_mobilenet0.25_Final.pth",
    ),
)
FAN = NetworkFile(
    name="fan",
    title="2DFAN-4",
    purpose="finds 68 points",
    sha256="11f355bf0693120222f5955ce3f9dc8fb5763ebb30a47d7906e509490d32e4aa",
    size=95_600_000,
    size_known=False,
    licence="BSD-3-Clause",
    file="2DFAN4-11f355bf06.pth.tar",
    addresses=("https://www.adrianbulat.com/downloads/python-fan/2DFAN4-11f355bf06.pth.tar",),
    note="the licence is that of the code it is published with, none is stated for the weights; trained on 300-W data, "
    "whose authors exclude commercial use: ask them before using it commercially",
)
ARCFACE = NetworkFile(
    name="arcface",
    title="ArcFace IR-SE50",
    purpose="recognises people",
    sha256="a035c768259b98ab1ce0e646312f48b9e1e218197a0f80ac6765e88f8b6ddf28",
    size=175_367_323,
    licence="MIT",
    file="recognition_arcface_ir_se50.pth",
    addresses=(
        f"{_FACEXLIB}/v0.1.0/recognition_arcface_ir_se50.pth",
        f"{_PULID}/recognition_arcface_ir_se50.pth",
    ),
    note="trained on MS1M, a collection of photographs for academic research: check before using it commercially",
)
PARSENET = NetworkFile(
    name="parsenet",
    title="ParseNet",
    purpose="outlines, slowly",
    sha256="3d558d8d0e42c20224f13cf5a29c79eba2d59913419f945545d8cf7b72920de2",
    size=85_331_193,
    licence="MIT",
    file="parsing_parsenet.pth",
    addresses=(
        f"{_FACEXLIB}/v0.2.2/parsing_parsenet.pth",
        f"{_CODEFORMER}/parsing_parsenet.pth",
        f"{_PULID}/parsing_parsenet.pth",
    ),
    note="MIT is the licence of facexlib, which publishes it; its licence notes do not list where ParseNet comes from: "
    "check before using it commercially",
)
BISENET = NetworkFile(
    name="bisenet",
    title="BiSeNet",
    purpose="outlines faces",
    sha256="468e13ca13a9b43cc0881a9f99083a430e9c0a38abd935431d1c28ee94b26567",
    size=53_289_463,
    licence="MIT",
    file="parsing_bisenet.pth",
    addresses=(
        f"{_FACEXLIB}/v0.2.0/parsing_bisenet.pth",
        "https://huggingface.co/ManyOtherFunctions/face-parse-bisent/resolve/main/79999_iter.pth",
    ),
    note="trained on CelebAMask-HQ, which is for non-commercial research: check before using it commercially",
)

FILES = (
    BASE,
    LANDMARKS_68,
    RECOGNITION,
    DETECTOR_CNN,
    RETINAFACE_RESNET50,
    FAN,
    ARCFACE,
    BISENET,
    DMDNET,
    RETINAFACE_MOBILENET,
    PARSENET,
)
"""All of them: those that come installed, those of the full kit, the others."""
SETS = {"full": (RETINAFACE_RESNET50, FAN, ARCFACE, BISENET)}
"""Name of a set -> what `dmd models fetch` brings for it."""


def named(name: str) -> tuple[NetworkFile, ...]:
    """The file of that name, or the files of the set of that name.

    Raises UsageError with near names: those that `name` is a part of, or else those spelt much like it.
    """
    wanted = name.casefold()
    known = {file.name: (file,) for file in FILES} | SETS
    if wanted in known:
        return known[wanted]
    parts = [name for name in known if len(wanted) >= 3 and wanted in name]
    near = parts or difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)
    hint = f"Did you mean {', '.join(near)}?" if near else "`dmd models list` shows the names."
    raise UsageError(f"There is no network called {name!r}. {hint}")


def locate(file: NetworkFile, folder: Path | None = None) -> Path:
    """The path of `file`, which is there. folder: the weights folder; files of a package do not need it.

    Raises WeightsMissingError where it is not there. A package is found without importing it: face_recognition_models
    imports pkg_resources, which newer setuptools do not bring any more.
    """
    if file.package is None:
        path = place(file, folder)
        if is_there(path):
            return path
        if is_blocked(path):
            raise WeightsMissingError(
                f"{file.title} is not on this machine: {path} is a folder, where a file should be. Remove or rename "
                f"it, then bring the file with: {cure(file)}"
            )
        raise WeightsMissingError(
            f"{file.title} is not on this machine: {path} is missing. Bring it with: {cure(file)}"
        )
    spec = importlib.util.find_spec(file.package)
    for location in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(location) / file.file
        if path.is_file():
            return path
    raise WeightsMissingError(f"{file.title}: {file.file} is not installed. Bring it with: {cure(file)}")


def is_there(path: Path) -> bool:
    """Whether there is a file at `path`; what may not be looked at is not there."""
    return os.path.isfile(path)  # noqa: PTH113 (Path.is_file raises in a folder that may not be entered)


def is_blocked(path: Path) -> bool:
    """Whether a folder is where a file should be."""
    return os.path.isdir(path)  # noqa: PTH112 (as above)


def full_kit_files(is_there: Callable[[NetworkFile], bool]) -> tuple[NetworkFile, ...]:
    """The files the full kit loads, given which are there: a detector, FAN, ArcFace, and a parser if there is one.

    RetinaFace with ResNet-50 is taken before MobileNet; BiSeNet before ParseNet, which takes seventeen times as long.
    """
    detectors = [file for file in (RETINAFACE_RESNET50, RETINAFACE_MOBILENET) if is_there(file)]
    parsers = [file for file in (BISENET, PARSENET) if is_there(file)]
    return ((*detectors, RETINAFACE_RESNET50)[0], FAN, ARCFACE, *parsers[:1])


def place(file: NetworkFile, folder: Path | None) -> Path:
    """Where a fetched file belongs, whether it is there or not. folder: the weights folder."""
    if folder is None or file.package is not None:
        raise ValueError(f"{file.name} has no place in a weights folder {folder}")
    return folder / file.file


def cure(file: NetworkFile) -> str:
    """The command that brings a file that is missing or damaged."""
    if file.package is None:
        return f"dmd models fetch {file.name}"
    if file is BASE:
        return "pip install --force-reinstall . (in the folder dmd was installed from)"
    return f"pip install --force-reinstall {file.package}"


def verify(path: Path, file: NetworkFile) -> Path:
    """`path` again, after its content was compared with the table.

    Raises WeightsCorruptError where it differs, WeightsMissingError where it cannot be read.
    """
    got = sha256_of(path, file)
    if got != file.sha256:
        raise WeightsCorruptError(mismatch(path, file, got))
    return path


def mismatch(path: Path, file: NetworkFile, got: str) -> str:
    """The sentence about a file whose SHA-256 is `got` and not that of the table."""
    return (
        f"{path}: not the {file.title} it should be: SHA-256 wanted {file.sha256}, got {got}. "
        f"Bring it again with: {cure(file)}"
    )


def sha256_of(path: Path, file: NetworkFile) -> str:
    """The SHA-256 of what lies at `path`, hexadecimal. Raises WeightsMissingError where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise WeightsMissingError(f"{path}: {file.title} cannot be read ({error.strerror})") from error
    return digest.hexdigest()


def state(file: NetworkFile, folder: Path | None = None) -> State:
    """Whether `file` is there and what it should be, after reading all of it. One that cannot be read is missing."""
    try:
        verify(locate(file, folder), file)
    except WeightsMissingError:
        return "missing"
    except WeightsCorruptError:
        return "damaged"
    return "intact"


def has_its_size(path: Path, file: NetworkFile) -> bool:
    """Whether what lies at `path` is as long as the table says: a quick look that finds what was cut off."""
    return file.may_have(path.stat().st_size)
