"""Before and after, for eyes: what each row made of a face, side by side, with the figures that go with it.

    seed-N/CROP.png    input, the rows, the true face
    sheet.png          the same, smaller, of several people

Degraded crops are named as `pairs` names them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dmdcli.evaluation.measures import Quality
from dmdcli.evaluation.pairs import Pair, require_new_folder, result_name, write_picture
from dmdcli.faces.draw import picture_rows
from dmdcli.shapes import CROP, Pixels
from dmdcli.training.data import FaceData

CELL = 256
"""Side in pixels of a face on the sheet: half a crop."""
ON_SHEET = 12
"""Faces on the sheet."""


class StripsFolder:
    """A new folder that a strip is written to for each face; `finish` adds the sheet.

    rows: what is compared, in the order of the strips; `input` comes first and the truth last. Raises UsageError where
    the folder holds something already or lies inside the folder `source` of the faces.
    """

    def __init__(self, folder: Path, faces: FaceData, source: Path, rows: Sequence[str]) -> None:
        require_new_folder(folder, source, "strips")
        self._folder = folder
        self._faces = faces
        self._rows = ("input", *rows)
        self._wanted = set(faces_on_sheet(faces))
        self._sheet: list[Pixels] = []

    def add(self, pair: Pair, pictures: Mapping[str, Pixels], qualities: Mapping[str, Quality]) -> None:
        """Write the strip of one face. Raises CannotGoOnError.

        pictures: row -> (512, 512, 3) uint8 RGB. A row that made nothing of this face, as that of a person without
        other photographs, is left grey.
        """
        sample = self._faces.samples[pair.position]
        shown = [*map(pictures.get, self._rows), pair.truth]
        labels = [(row, _figures(qualities.get(row))) for row in self._rows]
        labels.append(("truth", f"{sample.identity}, seed {pair.seed}"))
        write_picture(self._folder / result_name(pair, self._faces), picture_rows([shown], [labels], CROP))
        if pair.position in self._wanted:
            self._wanted.remove(pair.position)
            self._sheet.append(picture_rows([shown], [labels], CELL))

    def finish(self) -> None:
        """Write the sheet. Raises CannotGoOnError."""
        if self._sheet:
            write_picture(self._folder / "sheet.png", np.concatenate(self._sheet))


def faces_on_sheet(faces: FaceData) -> tuple[int, ...]:
    """The positions of the first faces of up to ON_SHEET people, spread evenly over those who have several, if any."""
    people = [crops for crops in faces.people.values() if len(crops) > 1] or list(faces.people.values())
    count = min(ON_SHEET, len(people))
    return tuple(people[place * len(people) // count][0] for place in range(count))


def _figures(quality: Quality | None) -> str:
    if quality is None:
        return "not of this face"
    identity = "" if quality.similarity is None else f", identity {quality.similarity:.3f}"
    return f"{quality.psnr:.2f} dB{identity}"
