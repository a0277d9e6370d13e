"""A folder of photos that is restored into another as often as is wanted, with made-up people and networks."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from PIL import Image

from dmdcli.faces.face import Face
from dmdcli.journal import copy_journal, open_journal
from dmdcli.pipeline.blend import RestoreOptions
from dmdcli.pipeline.outcome import RestoredPhoto
from dmdcli.pipeline.people import People
from dmdcli.pipeline.restore import restore
from dmdcli.places import PhotoFile
from dmdcli.shapes import Pixels
from tests.pipeline.made_up import Brightener, MadeUpFinder, face_at, people_of

ALICE, BOB, STRANGER, RATHER_ALICE = (0.0, 0.0), (5.0, 5.0), (0.0, 9.0), (0.0, 0.7)
"""Embeddings; alice's and bob's references are (0.0, 0.1) and (5.0, 5.1), and the last is alice by 0.4."""
WHO = {"alice": 200, "bob": 201, "stranger": 202, "rather alice": 203, "nobody": 204}
"""The photos, and how wide they are."""
FACES = {200: ALICE, 201: BOB, 202: STRANGER, 203: RATHER_ALICE}
FACE = face_at(np.zeros((190, 200, 3), np.uint8), 20, 20, 150, STRANGER)


class ByWidth(MadeUpFinder):
    """Finds in each photo of WHO its face."""

    def find(self, pixels: Pixels) -> list[Face]:
        self.calls += 1
        embedding = FACES.get(pixels.shape[1])
        return [] if embedding is None else [replace(FACE, embedding=np.array(embedding, np.float32))]


@dataclass
class Album:
    """A folder with the photos of WHO, restored by `run` into another."""

    folder: Path
    out: Path
    finder: ByWidth = field(default_factory=ByWidth)
    people: People[float] = field(default_factory=lambda: people_of(alice=(0.0, 0.1), bob=(5.0, 5.1)))
    restorer: Brightener = field(default_factory=Brightener)
    who: Sequence[str] = tuple(WHO)

    @property
    def files(self) -> list[PhotoFile]:
        return [PhotoFile(self.folder / f"{who}.png", PurePath(f"{who}.png")) for who in self.who]

    def run(self, **options: Any) -> dict[str, RestoredPhoto]:
        files = self.files
        outputs = [self.out / file.relative for file in files]
        chosen = RestoreOptions(**options)
        with (copy_journal if chosen.dry_run else open_journal)(self.out) as journal:
            results = restore(
                zip(files, outputs, strict=True), self.finder, self.restorer, self.people, journal, chosen
            )
            return {one.photo.stem: one for one in results}

    def done(self, **options: Any) -> dict[str, str | None]:
        """Which photos a run does, and why."""
        return {who: one.reason for who, one in self.run(**options).items() if one.status != "skipped"}

    def place(self, who: str) -> Path:
        return self.out / f"{who}.png"

    def results(self) -> dict[str, bytes]:
        return {path.relative_to(self.out).as_posix(): path.read_bytes() for path in self.out.rglob("[!.]*.png")}

    def rows(self) -> list[tuple[Any, ...]]:
        """What the journal says, apart from times and numbers."""
        with closing(sqlite3.connect(self.out / ".dmd" / "journal.sqlite")) as database:
            what = "place, input_digest, output_digest, replaced_digest, settings, weights, kit, known, result, reason"
            photos = database.execute(f"SELECT {what}, finished IS NULL FROM photos ORDER BY place").fetchall()
            faces = database.execute(
                "SELECT place, faces.* FROM faces JOIN photos ON photos.number = faces.photo ORDER BY place"
            ).fetchall()
            near = database.execute(
                "SELECT place, person, version, similarity FROM likenesses AS near "
                "JOIN photos ON photos.number = near.photo ORDER BY place"
            ).fetchall()
        return [*photos, *((place, *rest) for place, _, *rest in faces), *near]


def change_pixels(path: Path) -> None:
    with Image.open(path) as picture:
        Image.fromarray(255 - np.asarray(picture)).save(path)
