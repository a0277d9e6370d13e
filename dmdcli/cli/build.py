"""Builds what the verbs hand to the pipelines; everything heavy is imported when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dmdcli.cli.console import LEAST_FACE, Kit
from dmdcli.cli.late import LateKit, LateRestorer
from dmdcli.errors import PackageError, WeightsCorruptError, WeightsMissingError

if TYPE_CHECKING:
    from contextlib import ExitStack

    from dmdcli.faces.finder import FaceFinder
    from dmdcli.faces.identity import Curve
    from dmdcli.faces.kit import FaceKit
    from dmdcli.library import Library
    from dmdcli.library_files import Arrays
    from dmdcli.model.restorer import Precision, Restorer
    from dmdcli.shapes import ComponentBoxes, Pixels

NOT_COMMERCIAL = "-NC-"
"""In the short name of every Creative Commons licence that excludes commercial use."""
WEIGHTS_ID = 16
"""Digits of its file's SHA-256 that name a network, as in `Restorer.from_file`."""


def build_library() -> Library:
    """Open the library of enrolled people in DMD_HOME or, without it, in the platform's data folder."""
    from dmdcli.library import Library

    return Library(library_folder())


def library_folder() -> Path:
    """Return the folder of the enrolled people: DMD_HOME or, without it, the platform's data folder."""
    import platformdirs

    folder = os.environ.get("DMD_HOME")
    return Path(folder).expanduser() if folder else Path(platformdirs.user_data_dir("dmd", appauthor=False))


def build_finder(
    kit: Kit = Kit.AUTO,
    thorough: bool = False,
    min_face: float = LEAST_FACE,
    device: str = "auto",
    say: Callable[[str], None] | None = None,
    workers: int = 1,
    stack: ExitStack | None = None,
    late: bool = False,
) -> FaceFinder:
    """Load the networks that find and recognise faces, and say which and how to get more. min_face: in photo pixels.

    workers, stack: where more than one is wanted and a stack given, the embedded kit, which lets no other thread
    compute meanwhile, works in up to so many processes, for any number of threads; they end with the stack. What keeps
    them from starting is then raised when the finder, or its kit, is first asked for something.
    late: the embedded kit, or its processes, come when faces are first looked for, and so do errors about its files.
    Raises WeightsMissingError, WeightsCorruptError, PackageError and DeviceError; `auto` takes the embedded kit where
    the full one is not on the machine or its packages do not work.
    """
    from dmdcli.faces.finder import FaceFinder

    chosen, curve, sentence = build_kit(kit, thorough, device, workers, stack, late)
    if say is not None:
        say(sentence)
        if not curve.measured:
            say(
                f"Similarity: by {curve.source}, not yet measured with these very files. "
                "`dmd models calibrate` fits it to photographs of known people."
            )
        elif curve.fitted:
            say(f"Similarity: by your own calibration, {curve.source}.")
    return FaceFinder(chosen, min_face)


def build_kit(
    kit: Kit, thorough: bool, device: str, workers: int = 1, stack: ExitStack | None = None, late: bool = False
) -> tuple[FaceKit, Curve, str]:
    """Return the kit wanted, its similarity, and a sentence that says which it is and why.

    workers, stack, late: as in `build_finder`. Processes that start need not be waited for to know the similarity.
    The embedded kit computes on the processor, but a device that is not there is refused whatever the kit.
    """
    from dmdcli.faces import embedded
    from dmdcli.pipeline.calibrate import read_curve

    home = library_folder()
    more = "`dmd models fetch full` brings networks that see more."
    if kit is not Kit.EMBEDDED and (kit is Kit.FULL or not missing_of_full_kit()):
        from dmdcli.faces import full
        from dmdcli.model.restorer import choose_device

        require_full_kit()
        try:
            place = str(choose_device(device))
            curve = read_curve(home, full.kit_name()) or full.SIMILARITY
            found = full.FullKit(cache_folder(), place, thorough=thorough, similarity=curve)
            return found, curve, f"Faces: the full kit ({found.title}) on {place}."
        except WeightsCorruptError as error:
            raise WeightsCorruptError(f"{error} Until then --kit embedded does without.") from error
        except PackageError as error:
            if kit is Kit.FULL:
                raise
            more = f"The full kit cannot be used: {error}"
    if device not in ("auto", "cpu"):  # these are everywhere, and asking torch takes a second
        from dmdcli.model.restorer import choose_device

        choose_device(device)
    curve = read_curve(home, embedded.NAME) or embedded.SIMILARITY
    sentence = "Faces: the embedded kit (dlib)." + (f" {more}" if kit is Kit.AUTO else "")
    make = partial(embedded.EmbeddedKit, thorough, curve)

    def load() -> FaceKit:
        if workers == 1 or stack is None:
            return make()
        from dmdcli.faces.pool import KitPool

        return stack.enter_context(KitPool(make, workers))

    if late:
        return LateKit(load, embedded.NAME, curve, {"thorough": thorough}, embedded.TRUST), curve, sentence
    return load(), curve, sentence


def missing_of_full_kit() -> list[str]:
    """Name the networks the full kit cannot do without and that are not in the weights folder."""
    from dmdcli import weights

    def is_there(file: weights.NetworkFile) -> bool:
        return weights.is_there(weights.place(file, cache_folder()))

    return [file.title for file in weights.full_kit_files(is_there) if not is_there(file)]


def require_full_kit() -> None:
    """Raise WeightsMissingError, naming all that is missing, where the full kit is not in the weights folder."""
    missing = missing_of_full_kit()
    if missing:
        raise WeightsMissingError(
            f"The full kit is not on this machine; missing in {cache_folder()}: {', '.join(missing)}. "
            "Bring it with: dmd models fetch full"
        )


def build_restorer(
    model: str = "base",
    device: str = "auto",
    batch_size: int | None = None,
    precision: Precision = "auto",
    workers: int = 1,
) -> Restorer:
    """Load the network that restores: "base", "dmdnet", or the path of a file of weights.

    workers: what else computes meanwhile; the network leaves them their processor cores.
    Raises the errors of weights, and DeviceError when there is no such device.
    """
    from dmdcli import weights
    from dmdcli.model.restorer import Restorer

    threads = max(1, usable_cores() - workers + 1) if workers > 1 else None
    if model in ("base", "dmdnet"):
        file = weights.BASE if model == "base" else weights.DMDNET
        path = weights.verify(weights.locate(file, cache_folder()), file)
        return Restorer.from_file(path, device, batch_size, file.sha256, precision, threads)
    path = Path(model)
    if not path.is_file():
        raise WeightsMissingError(
            f"There are no weights in {path}. Give base, dmdnet or the path of a file of weights."
        )
    return Restorer.from_file(path, device, batch_size, precision=precision, threads=threads)


def build_late_restorer(
    model: str = "base",
    device: str = "auto",
    batch_size: int | None = None,
    precision: Precision = "auto",
    workers: int = 1,
) -> LateRestorer:
    """Find the network that restores, as `build_restorer`, and load it when it is first used; most errors come then.

    Raises WeightsMissingError where its file is not there.
    """
    from dmdcli import weights
    from dmdcli.journal import digest_of

    load = partial(build_restorer, model, device, batch_size, precision, workers)
    if model in ("base", "dmdnet"):
        file = weights.BASE if model == "base" else weights.DMDNET
        weights.locate(file, cache_folder())
        return LateRestorer(load, file.sha256[:WEIGHTS_ID])
    if not Path(model).is_file():
        load()  # says so
    return LateRestorer(load, digest_of(Path(model))[:WEIGHTS_ID])


def usable_cores() -> int:
    """How many processor cores this program may use: those it is bound to, and no more than its container has."""
    from dmdcli.doctor.devices import cores

    return cores()


def licence_of(model: str) -> str:
    """Say under which licence a network restores, where that restricts the use: " (CC ...: ...)", else nothing."""
    from dmdcli import weights

    licences = {file.name: file.licence for file in weights.FILES}
    licence = licences.get(model, "")
    return f" ({licence}: not for commercial use)" if NOT_COMMERCIAL in licence else ""


def stay_offline(wanted: bool) -> None:
    """Forbid every connection from here on, whatever library asks for one."""
    if wanted:
        from dmdcli.fetch import forbid_connections

        forbid_connections()


def cache_folder() -> Path:
    """Return the folder of fetched networks: DMD_CACHE or, without it, the platform's cache folder."""
    import platformdirs

    folder = os.environ.get("DMD_CACHE")
    return Path(folder).expanduser() if folder else Path(platformdirs.user_cache_dir("dmd", appauthor=False))


def build_memorize(restorer: Restorer | LateRestorer) -> Callable[[Pixels, ComponentBoxes], Arrays]:
    """Return what makes the arrays that the library keeps of a person's dictionary."""

    def memorize(crops: Pixels, boxes: ComponentBoxes) -> Arrays:
        return restorer.memorize(crops, boxes).to_arrays()

    return memorize
