"""Every network file the program can use: where it is, its SHA-256, its size and its licence.

The files listed here come with the package face_recognition_models. They are checked against the table whenever they
are loaded. Nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from dmdcli.errors import WeightsCorruptError, WeightsMissingError

CHUNK = 1 << 20
"""Bytes read at a time while hashing."""


@dataclass(frozen=True)
class NetworkFile:
    """One file of trained numbers.

    name: what messages call it. package, path: the installed package it comes in and its place there. sha256: of the
    whole file, hexadecimal. size: in bytes. licence: as its publisher states it. note: what the licence alone does not
    say.
    """

    name: str
    package: str
    path: str
    sha256: str
    size: int
    licence: str
    note: str = ""


LANDMARKS_68 = NetworkFile(
    name="dlib 68-point shape predictor",
    package="face_recognition_models",
    path="models/shape_predictor_68_face_landmarks.dat",
    sha256="fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f",
    size=99_693_937,
    licence="CC0-1.0",
    note="trained on iBUG 300-W, whose authors exclude commercial use: ask them before using it commercially",
)
RECOGNITION = NetworkFile(
    name="dlib face recognition network",
    package="face_recognition_models",
    path="models/dlib_face_recognition_resnet_model_v1.dat",
    sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    size=22_466_066,
    licence="CC0-1.0",
)
DETECTOR_CNN = NetworkFile(
    name="dlib CNN face detector",
    package="face_recognition_models",
    path="models/mmod_human_face_detector.dat",
    sha256="4cb19393e2fbaf2b1609a9319ad5386618c886a6234ec1b971f3e87c85d87fe6",
    size=729_940,
    licence="CC0-1.0",
)
FILES = (LANDMARKS_68, RECOGNITION, DETECTOR_CNN)
"""All of them."""


def locate(file: NetworkFile) -> Path:
    """The path of `file`. Raises WeightsMissingError where its package is not installed or lacks it.

    The package is found without importing it: face_recognition_models imports pkg_resources, which newer setuptools do
    not bring any more.
    """
    spec = importlib.util.find_spec(file.package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / file.path
        if path.is_file():
            return path
    raise WeightsMissingError(f"{file.name}: {file.path} is not installed. Bring it with: pip install {file.package}")


def verify(path: Path, file: NetworkFile) -> Path:
    """`path` again, after its content was compared with the table. Raises WeightsCorruptError where it differs."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise WeightsMissingError(f"{path}: {file.name} cannot be read ({error.strerror})") from error
    if digest.hexdigest() != file.sha256:
        raise WeightsCorruptError(
            f"{path}: not the {file.name} it should be: SHA-256 wanted {file.sha256}, got {digest.hexdigest()}. "
            f"Install it again with: pip install --force-reinstall {file.package}"
        )
    return path
