"""Builds what the verbs hand to the pipelines; everything heavy is imported when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dmdcli.cli.console import LEAST_FACE, Kit
from dmdcli.errors import WeightsMissingError

if TYPE_CHECKING:
    from dmdcli.faces.finder import FaceFinder
    from dmdcli.library import Library
    from dmdcli.library_files import Arrays
    from dmdcli.model.restorer import Restorer
    from dmdcli.shapes import ComponentBoxes, Pixels

PUBLISHED_WEIGHTS = "DMDNet.pth"
"""Name of the published network's file in the cache folder."""


def build_library() -> Library:
    """Open the library of enrolled people in DMD_HOME or, without it, in the platform's data folder."""
    from dmdcli.library import Library

    home = os.environ.get("DMD_HOME")
    return Library(Path(home).expanduser() if home else None)


def build_finder(kit: Kit = Kit.AUTO, thorough: bool = False, min_face: float = LEAST_FACE) -> FaceFinder:
    """Load the networks that find and recognise faces. min_face: in photo pixels.

    Raises WeightsMissingError or WeightsCorruptError.
    """
    from dmdcli.faces.embedded import EmbeddedKit
    from dmdcli.faces.finder import FaceFinder

    if kit is Kit.FULL:
        raise WeightsMissingError("The full kit is not on this machine; take --kit embedded.")
    return FaceFinder(EmbeddedKit(thorough), min_face)


def build_restorer(model: str = "base", device: str = "auto", batch_size: int | None = None) -> Restorer:
    """Load the network that restores: "base", "dmdnet", or the path of a file of weights.

    Raises the errors of weights, and DeviceError when there is no such device.
    """
    from dmdcli.model.restorer import BASE_WEIGHTS, Restorer

    if model == "base":
        path, advice = BASE_WEIGHTS, "Install dmd again; its own weights come with it."
    elif model == "dmdnet":
        path = cache_folder() / PUBLISHED_WEIGHTS
        advice = "Put the published file there, or take --model base."
    else:
        path, advice = Path(model), "Give base, dmdnet or the path of a file of weights."
    if not path.is_file():
        raise WeightsMissingError(f"There are no weights in {path}. {advice}")
    return Restorer.from_file(path, device, batch_size)


def cache_folder() -> Path:
    """Return the folder of fetched networks: DMD_CACHE or, without it, the platform's cache folder."""
    import platformdirs

    folder = os.environ.get("DMD_CACHE")
    return Path(folder).expanduser() if folder else Path(platformdirs.user_cache_dir("dmd", appauthor=False))


def build_memorize(restorer: Restorer) -> Callable[[Pixels, ComponentBoxes], Arrays]:
    """Return what makes the arrays that the library keeps of a person's dictionary."""

    def memorize(crops: Pixels, boxes: ComponentBoxes) -> Arrays:
        return restorer.memorize(crops, boxes).to_arrays()

    return memorize
