"""Two people made one: how alike they were, and what it means for photos that were restored before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath

import numpy as np
import pytest
from PIL import Image

from dmdcli.journal import open_journal
from dmdcli.library import Library
from dmdcli.library_exchange import merge_people
from dmdcli.pipeline.blend import RestoreOptions
from dmdcli.pipeline.people import recall_people
from dmdcli.pipeline.resemblance import resemblance
from dmdcli.pipeline.restore import restore
from dmdcli.places import PhotoFile
from tests.pipeline.made_up import STRANGER, Brightener, MadeUpFinder
from tests.references import reference


class ByColour(MadeUpFinder):
    """References embed as their first landmark says: seed, 0."""

    def __init__(self, where: tuple[float, float]) -> None:
        super().__init__((20, 20, 150, where, None))

    def embed(self, crops: np.ndarray, landmarks: Sequence[object]) -> np.ndarray:
        return np.array([(one.points[0, 0] - 100, 0) for one in landmarks], np.float32)  # type: ignore[attr-defined]


class Remembering(Brightener):
    def recall(self, arrays: object) -> float:
        return 0.2


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = Library(tmp_path / "home")
    library.add_references("Alice", [reference(1), reference(2)])
    library.add_references("Alicia", [reference(2), reference(4), reference(5)])
    library.add_references("Bob", [reference(50)])
    return library


def test_one_picture_that_both_have_does_not_make_them_alike(library: Library) -> None:
    alice, alicia = library.person("Alice"), library.person("Alicia")
    finder = ByColour(STRANGER)
    assert resemblance(library, finder, alice, alicia) == 0, "1, 0 and 0"
    assert resemblance(library, finder, alicia, alice) == 0.5, "0 and 1"


@pytest.mark.slow
def test_photos_of_both_are_restored_again_and_no_others(library: Library, tmp_path: Path) -> None:
    where = {"alice": (1.1, 0.0), "alicia": (4.1, 0.0), "bob": (50.1, 0.0), "stranger": STRANGER}
    for who in where:
        Image.new("RGB", (190, 190), (90, 80, 70)).save(tmp_path / f"{who}.png")

    def run() -> dict[str, tuple[str, str | None]]:
        found = {}
        for who, embedding in where.items():
            finder, restorer = ByColour(embedding), Remembering()
            people = recall_people(library, finder, restorer, lambda crops, boxes: {})
            file = PhotoFile(tmp_path / f"{who}.png", PurePath(f"{who}.png"))
            with open_journal(tmp_path / "out") as journal:
                options = RestoreOptions(engravings="restore", already_good="restore")
                out = tmp_path / "out" / file.relative
                (one,) = restore([(file, out)], finder, restorer, people, journal, options)
            if one.status != "skipped":
                found[who] = (",".join(str(face.person) for face in one.faces), one.reason)
        return found

    assert {who: name for who, (name, _) in run().items()} == {
        "alice": "Alice", "alicia": "Alicia", "bob": "Bob", "stranger": "None",
    }  # fmt: skip
    merge_people(library, "Alice", "Alicia")
    assert run() == {
        "alice": ("Alice", "other references of Alice"),
        "alicia": ("Alice", "other references of Alice"),
    }
    assert run() == {}
