"""The whole examination: everything is looked at first, side by side, and judged afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from dmdcli.doctor import devices, networks, packages, places, surroundings
from dmdcli.doctor.finding import Finding
from dmdcli.doctor.places import Place
from dmdcli.doctor.probes import GROUPS, LIBRARY, PATIENCE, probe_all

STEPS = sum(len(group) for group in GROUPS) + 1
"""How often `advance` is called."""


def examine(
    home: Place,
    cache: Place,
    environment: Mapping[str, str],
    encoding: str | None,
    *,
    patience: float = PATIENCE,
    advance: Callable[[], None] = lambda: None,
) -> Iterator[Finding]:
    """Look at this machine, seconds long, and yield what was found, group after group.

    home, cache: the folders of the enrolled people and of fetched networks. environment: the variables this process
    was started with. encoding: that of stdout. patience: seconds the import of one package may take. advance: called
    after each of STEPS steps. Nothing is changed, but for a small file written into the two folders and removed.
    """
    with ThreadPoolExecutor(1) as reading:
        files = reading.submit(networks.states, cache.folder)
        files.add_done_callback(lambda _: advance())
        probes = {}
        for probe in probe_all(home.folder, patience):
            probes[probe.module] = probe
            advance()
        states = files.result()
    yield from packages.judge(packages.installed(), packages.bounds(), probes)
    yield from devices.judge(probes.get("torch"), environment)
    yield from networks.judge(states, cache.folder, probes)
    yield from places.judge((home, cache), probes.get(LIBRARY))
    yield from surroundings.judge(environment, encoding)
