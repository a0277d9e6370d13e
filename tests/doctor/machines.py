"""Machines on which everything works, for tests to break one thing of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dmdcli import weights
from dmdcli.doctor import packages
from dmdcli.doctor.finding import Finding
from dmdcli.doctor.places import Place
from dmdcli.doctor.probes import Probe

TORCH = {
    "version": "2.14.1",
    "cuda": None,
    "hip": None,
    "cuda_available": False,
    "mps_available": False,
    "threads": 2,
    "devices": [],
    "warnings": [],
}
"""What a torch for the processor says of itself."""
WELL = {
    package.module: Probe(package.module, "imported", facts=TORCH if package.module == "torch" else {})
    for package in packages.PACKAGES
    if package.module
}
"""Every package works."""
THERE = {package.distributions[0]: "99.0" for package in packages.PACKAGES} | {"torch": "2.14.1"}
"""Every distribution is installed."""
INTACT: dict[str, weights.State] = {file.name: "intact" for file in weights.FILES}
BARE: dict[str, weights.State] = {file.name: "intact" if file.package else "missing" for file in weights.FILES}
"""Every file is there; only those that come installed are."""


def one(findings: Any, subject: str) -> Finding:
    found = [finding for finding in findings if finding.subject == subject]
    assert len(found) == 1, found
    return found[0]


def judged(
    module: str, outcome: Any, reason: str = "", there: dict[str, str] | None = None, **others: Probe
) -> Finding:
    """What is said of one package that does not work."""
    package = next(package for package in packages.PACKAGES if package.module == module)
    found = WELL | others | {module: Probe(module, outcome, reason)}
    return packages.judge_package(package, THERE if there is None else there, {}, found)


def make_package(folder: Path, name: str, code: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(code)


def at(folder: Path, variable: Any = "DMD_HOME") -> Place:
    return Place(variable, folder, folder.parent / "default", "enrolled people")
