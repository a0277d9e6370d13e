"""Imports run one way, cli -> pipeline -> library -> faces and photos, and heavy packages stay in their places."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "dmdcli"
FREE = {"dmdcli", "dmdcli.devices", "dmdcli.errors", "dmdcli.shapes", "dmdcli.tensors"}
"""May be imported by anyone."""

PHOTOS = {"photos", "canvas", "files", "places", "report_files", "formats", "colour", "tags"}
FACES = {"faces", "weights"}
LIBRARY = {"library", "library_catalogue", "library_files", "library_exchange", "person"}
ALLOWED: dict[str, set[str]] = {
    "devices": {"errors"},
    "errors": set(),
    "tensors": {"errors"},
    "shapes": set(),
    "weights": set(),
    "weights_folder": {"weights"},
    "fetch": {"weights", "weights_folder"},
    "bundle": {"weights", "weights_folder"},
    "files": set(),
    "memory": set(),
    "side_files": {"photos", "places", "files", "formats"},
    "places": set(),
    "report_files": {"files", "places"},
    "formats": set(),
    "colour": {"formats"},
    "canvas": {"formats", "colour"},
    "photos": {"files", "places", "formats", "colour", "canvas"},
    "marks": {"formats"},
    "tags": {"photos", "places", "formats", "marks"},
    "decisions": {"files", "formats"},
    "corrections": {"decisions", "library", "library_files", "person"},
    "model": set(),
    "faces": {"memory", "weights"},
    "library_files": set(),
    "library_catalogue": set(),
    "shards": set(),
    "journal_file": {"shards"},
    "journal_copying": {"journal_file", "shards"},
    "journal_division": {"journal_file", "shards"},
    "journal_renames": {"journal_file"},
    "journal": {"journal_file", "journal_copying", "journal_division", "journal_renames", "shards"},
    "journal_merging": {"journal", "journal_file", "journal_copying", "journal_division", "files", "shards"},
    "journal_forgetting": {"journal_file"},
    "person": set(),
    "library": {"library_catalogue", "library_files", "person", *FACES, *PHOTOS},
    "library_exchange": {"library", "library_files", "person"},
    "pipeline": {
        *LIBRARY,
        "memory",
        "side_files",
        "journal",
        "journal_forgetting",
        "decisions",
        "corrections",
        "marks",
        *FACES,
        *PHOTOS,
        "training",
    },
    "report": {"journal", *PHOTOS},
    "training": {"model", *FACES, *PHOTOS},
    "doctor": {*LIBRARY, "weights"},
    "evaluation": {"model", "faces", "library", *PHOTOS, "training"},
    "cli": {
        "pipeline",
        "memory",
        "report",
        *LIBRARY,
        "journal",
        "journal_file",
        "journal_merging",
        "journal_renames",
        "shards",
        "marks",
        "decisions",
        "corrections",
        *FACES,
        *PHOTOS,
        "model",
        "training",
        "evaluation",
        "page",
        "weights_folder",
        "fetch",
        "bundle",
        "doctor",
    },
    "page": {"pipeline", "decisions", "corrections", "journal", "marks", "report", *LIBRARY, *FACES, *PHOTOS},
    "__main__": {"cli"},
}
"""Part of the package -> the other parts it may import. `model` stands alone."""

FULL_KIT = ("faces/full.py", "faces/full_networks.py")

ONLY_IN: dict[str, tuple[str, ...]] = {
    "typer": ("cli/",),
    "rich": ("cli/",),
    "torch": ("model/", "training/", "evaluation/compare.py", "tensors.py", *FULL_KIT),
    "spandrel": ("evaluation/compare.py",),
    "skimage": ("evaluation/filters.py",),
    "torchvision": FULL_KIT,
    "dlib": ("faces/embedded.py",),
    "_dlib_pybind11": ("faces/embedded.py",),
    "facexlib": FULL_KIT,
    "face_alignment": FULL_KIT,
    "face_recognition_models": ("faces/embedded.py",),
    "urllib": (),
    "urllib3": (),
    "http": (),
    "http.server": ("page/",),
    "socketserver": ("page/",),
    "requests": ("fetch.py",),
    "socket": ("fetch.py", "page/"),
    "ray": ("pipeline/ray_run.py",),
}
"""Package or module -> the only files that may import it."""

TORCH_ELSEWHERE = {"cli/train.py": "sets the number of threads before the network is made"}
"""Files outside the places above that import torch inside a function, and why."""

FILES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Yield every imported module with its line; imports for type checking only do not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            assert node.module is not None
            if node.module == "dmdcli" or (PACKAGE.parent / node.module.replace(".", "/")).is_dir():
                yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield node.module, node.lineno


def part_of(module: str) -> str:
    """Return the part of the package a module belongs to: "faces" for "dmdcli.faces.align"."""
    return module.split(".")[1]


def place(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", FILES, ids=place)
def test_imports_run_one_way(path: Path) -> None:
    own = place(path).split("/")[0].removesuffix(".py")
    if own == "__init__":
        assert not [module for module, _ in imports(path) if module.startswith("dmdcli")]
        return
    assert own in ALLOWED, f"say in ALLOWED what {own} may import"
    for module, line in imports(path):
        free = module in FREE or module.rpartition(".")[0] in FREE - {"dmdcli"} or module == "dmdcli.__version__"
        if module.split(".")[0] != "dmdcli" or free or part_of(module) == own:
            continue
        assert part_of(module) in ALLOWED[own], f"{path}:{line}: {own} may not import {module}"


@pytest.mark.parametrize("path", FILES, ids=place)
def test_packages_stay_in_their_places(path: Path) -> None:
    for module, line in imports(path):
        package = module.split(".")[0]
        if package == "torch" and place(path) in TORCH_ELSEWHERE:
            continue
        homes = ONLY_IN.get(module, ONLY_IN.get(package))
        assert homes is None or place(path).startswith(homes), f"{path}:{line} imports {module}"


def test_the_rules_catch_what_they_are_for(tmp_path: Path) -> None:
    source = "from dmdcli import library\nfrom dmdcli.faces import align\nimport torch.nn\ndef f():\n    import typer\n"
    (tmp_path / "sample.py").write_text(source)
    found = [module for module, _ in imports(tmp_path / "sample.py")]
    assert found == ["dmdcli.library", "dmdcli.faces.align", "torch.nn", "typer"]
    assert [part_of(module) for module in found[:2]] == ["library", "faces"]
