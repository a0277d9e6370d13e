"""What `dmd restore --ray` sends to the workers of a cluster, and how they make their tools of it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from dmdcli.cli.build import build_finder, build_library, build_memorize, build_restorer, cache_folder
from dmdcli.cli.console import Kit
from dmdcli.errors import UsageError

if TYPE_CHECKING:
    from dmdcli.library import Library
    from dmdcli.model.dictionary import Dictionary
    from dmdcli.model.restorer import Precision
    from dmdcli.pipeline.ray_run import RayCrew
    from dmdcli.pipeline.ray_worker import Files, Tools

PEOPLE = "people"
NETWORKS = "networks"
"""Folders of a worker: its library, and its fetched networks."""
MODEL = "model"
"""How the user's own file of weights is called there."""
ADDRESS = re.compile(r"(ray://)?(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+):(?P<port>[0-9]{1,5})")
LAST_PORT = 65535
MOST_SENT = 2_000_000_000
"""Bytes of the people sent to each worker: they lie in this program's memory, in each machine's object store, and in a
folder for each worker."""
Makers: TypeAlias = tuple[str, str]
"""How the caches begin that the networks of a run make: "embeddings-" and the kit, "dictionary-" and the weights."""


@dataclass(frozen=True)
class Toolmaker:
    """Makes a worker's tools as the options of the command say. only: people to look for, None for all."""

    kit: Kit
    thorough: bool
    min_face: float
    model: str
    device: str
    batch_size: int | None
    precision: Precision
    only: tuple[str, ...] | None

    def __call__(self, folder: Path) -> Tools[Dictionary]:
        """The finder, the network and the people of the files in a worker's folder; for a process of its own."""
        from dmdcli.pipeline.people import recall_people

        os.environ.update(DMD_HOME=str(folder / PEOPLE), DMD_CACHE=str(folder / NETWORKS))
        sent = next(folder.glob(f"{MODEL}*"), None)
        finder = build_finder(self.kit, self.thorough, self.min_face, self.device)
        model = self.model if sent is None else str(sent)
        restorer = build_restorer(model, self.device, self.batch_size, self.precision)
        return finder, restorer, recall_people(build_library(), finder, restorer, build_memorize(restorer), self.only)


def build_crew(
    address: str, toolmaker: Toolmaker, makers: Makers, most: int, tell: Callable[[str], None]
) -> RayCrew[Dictionary]:
    """The workers of the cluster at an address, at most so many; to be entered. tell: takes sentences for the user.

    Raises UsageError where there are more people than can be sent.
    """
    from dmdcli.pipeline.ray_run import RayCrew

    def files() -> Files:
        import numpy as np

        found = {**files_of_people(build_library(), makers, toolmaker.only), **files_of_networks(toolmaker)}
        return {name: np.fromfile(path, np.uint8) for name, path in found.items()}

    check_size(files_of_people(build_library(), makers, toolmaker.only).values())
    return RayCrew(address, files, toolmaker, most, graphics=toolmaker.device != "cpu", tell=tell)


def kit_called(name: str) -> Kit:
    """The kit that was taken, by its name in caches."""
    from dmdcli.faces import embedded

    return Kit.EMBEDDED if name == embedded.NAME else Kit.FULL


def check_ray(address: str, *, offline: bool, dry_run: bool) -> None:
    """Raise UsageError where an address is none of a cluster, or an option and --ray contradict each other."""
    from dmdcli.fetch import are_connections_forbidden

    found = ADDRESS.fullmatch(address)
    if address != "auto" and not (found and 1 <= int(found["port"]) <= LAST_PORT):
        raise UsageError(
            f"--ray {address!r} names no cluster. It joins one that runs already: give auto, HOST:PORT or ray://HOST:PORT."
        )
    if offline or are_connections_forbidden():
        raise UsageError("A cluster is reached through connections: leave out --ray, or --offline and DMD_OFFLINE.")
    if dry_run:
        raise UsageError("A dry run estimates what this machine would take: leave out --ray, or --dry-run.")


def files_of_people(library: Library, makers: Makers, only: Sequence[str] | None) -> dict[str, Path]:
    """The files of the people looked for, by their place in a worker's folder.

    Of what was made of references, only what these networks made. Corrections stay here: what was put right in a photo
    goes with the photo.
    """
    people = library.people() if only is None else [library.person(name) for name in only]
    home, made = library.home, {f"{name}.safetensors" for name in makers}
    found = [*home.glob("*.json")]
    for person in people:
        files = (path for path in library.folder(person).rglob("*") if path.is_file())
        found += [path for path in files if path.suffix != ".safetensors" or path.name in made]
    return {f"{PEOPLE}/{path.relative_to(home).as_posix()}": path for path in found}


def files_of_networks(toolmaker: Toolmaker) -> dict[str, Path]:
    """Likewise those of the networks that dmd does not bring along. The kit is not AUTO."""
    from dmdcli import weights

    model = toolmaker.model
    fetched = [weights.DMDNET] if model == weights.DMDNET.name else []
    if toolmaker.kit is Kit.FULL:
        fetched += weights.full_kit_files(lambda file: weights.is_there(weights.place(file, cache_folder())))
    found = {f"{NETWORKS}/{file.file}": weights.locate(file, cache_folder()) for file in fetched}
    if model not in (weights.BASE.name, weights.DMDNET.name):
        found[f"{MODEL}{Path(model).suffix}"] = Path(model)
    return found


def check_size(files: Iterable[Path]) -> None:
    """Raise UsageError where people take more than every worker can be sent."""
    size = sum(path.stat().st_size for path in files)
    if size > MOST_SENT:
        raise UsageError(
            f"The people looked for take {size / 1e9:.1f} GB, and every worker of a cluster would be sent all of it; "
            f"{MOST_SENT / 1e9:.0f} GB is the most. Say with --person who is to be looked for, or leave out --ray; "
            "--shard divides the work among computers that see the library."
        )
