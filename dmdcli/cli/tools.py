"""What `dmd restore` works with, as its options say: the kit, the network, and who else works."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dmdcli.cli.build import build_finder, build_late_restorer, build_restorer, licence_of, usable_cores
from dmdcli.cli.cluster import Toolmaker, build_crew, kit_called
from dmdcli.cli.late import LateRestorer

if TYPE_CHECKING:
    from dmdcli.faces.finder import FaceFinder
    from dmdcli.model.dictionary import Dictionary
    from dmdcli.model.restorer import Restorer
    from dmdcli.pipeline.ray_run import RayCrew


@dataclass(frozen=True)
class Tools:
    """at_once: photos worked on at the same time, here. crew: the machines of a cluster that work instead, if any.
    network: which it is and where, as the beginning of a sentence.
    """

    finder: FaceFinder
    restorer: Restorer | LateRestorer
    at_once: int
    crew: RayCrew[Dictionary] | None
    network: str


def build_tools(
    wanted: Toolmaker,
    *,
    photos: int,
    workers: int | None,
    ray: str | None,
    has_results: bool,
    processes: ExitStack,
    cluster: ExitStack,
    say: Callable[[str], None],
) -> Tools:
    """Make them. photos: how many there are. ray: address of the cluster, if any. has_results: of earlier runs.

    processes, cluster: what they are to end with. Raises the errors of kits, weights, devices and clusters.
    """
    # Where results are already, there may be nothing to do. Elsewhere everything that is wrong is said at once.
    # Where others do the work, this machine may need neither kit nor network, and the device is theirs.
    device = wanted.device if ray is None else "auto"
    late = ray is not None or (has_results and device in ("auto", "cpu"))
    at_once = max(1, min(workers or usable_cores(), photos))
    finder = build_finder(wanted.kit, wanted.thorough, wanted.min_face, device, say, at_once, processes, late=late)
    build = build_late_restorer if late else build_restorer
    restorer = build(wanted.model, device, wanted.batch_size, wanted.precision, at_once)
    network = f"{wanted.model}{licence_of(wanted.model)}"
    if ray is not None:
        theirs = replace(wanted, kit=kit_called(finder.kit_name))
        makers = f"embeddings-{finder.kit_name}", f"dictionary-{restorer.weights_id}"
        waiting = build_crew(ray, theirs, makers, min(workers or photos, photos), say)
        say(f"Looking for the Ray cluster ({ray})...")
        crew = cluster.enter_context(waiting)
        network += f" on {crew.workers} worker{'s' * (crew.workers != 1)} of the Ray cluster"
        return Tools(finder, restorer, at_once, crew, network)
    place = ", loaded when a photo needs it" if isinstance(restorer, LateRestorer) else f" on {restorer.device}"
    return Tools(finder, restorer, at_once, None, network + place)
