"""Pairs of a true face and what damage made of it, with the photographs that may serve as references.

Everything about a pair depends on the seed and the crop's name alone, so one seed gives the same pairs everywhere.
Written out, they let any other program be measured on the same faces:

    manifest.json                 what each pair is made of
    references/CROP.png           all faces of the data, as they are
    truth/seed-N/CROP.png         what a perfect restoration would be
    degraded/seed-N/CROP.png      what another program is to restore; its results have the same names, seed-N/CROP.png
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from dmdcli.errors import CannotGoOnError, UsageError
from dmdcli.faces.face import component_boxes
from dmdcli.shapes import CROP, Pixels
from dmdcli.training.data import FaceData
from dmdcli.training.degrade import Degradation, Ranges, Severity, apply, draw, generator_for, truth_for

MANIFEST_FORMAT = 1
REFERENCES_DRAWN = "references of "
"""Stands before a crop's name where the order of its references is drawn, so that the damage stays what it was."""


@dataclass(frozen=True)
class Pair:
    """One degraded crop.

    position: of its sample in the data. degraded, truth: (512, 512, 3) uint8 RGB; the truth is the crop itself or, for
    an old print, the crop in the print's tone. references: positions of the person's other
    crops, in the order they are taken in where fewer are wanted. strangers: as many crops of one other person, fewer
    where nobody has so many; none where there are no references.
    """

    position: int
    seed: int
    degradation: Degradation
    degraded: Pixels = field(repr=False)
    truth: Pixels = field(repr=False)
    references: tuple[int, ...]
    strangers: tuple[int, ...]


def make_pairs(faces: FaceData, severity: Severity | Ranges, seeds: Iterable[int]) -> Iterator[Pair]:
    """Degrade each crop once for each seed, seed by seed, in the order of the index."""
    for seed in seeds:
        for position, sample in enumerate(faces.samples):
            degradation = draw(severity, generator_for(seed, sample.crop))
            generator = generator_for(seed, REFERENCES_DRAWN + sample.crop)
            others = faces.others(position)
            references = tuple(int(other) for other in generator.permutation(others)) if others else ()
            yield Pair(
                position=position,
                seed=seed,
                degradation=degradation,
                degraded=apply(faces.pixels[position], degradation),
                truth=truth_for(faces.pixels[position], degradation),
                references=references,
                strangers=_draw_strangers(faces, sample.identity, len(references), generator),
            )


def _draw_strangers(faces: FaceData, identity: str, count: int, generator: np.random.Generator) -> tuple[int, ...]:
    """`count` crops of one other person, drawn among those who have so many, else among those who have most."""
    strangers = {person: crops for person, crops in faces.people.items() if person != identity}
    if count == 0 or not strangers:
        return ()
    enough = min(count, max(map(len, strangers.values())))
    candidates = [crops for crops in strangers.values() if len(crops) >= enough]
    chosen = candidates[int(generator.integers(len(candidates)))]
    return tuple(int(crop) for crop in generator.permutation(chosen)[:enough])


class PairsFolder:
    """A new folder that pairs are written to, picture by picture; the manifest comes last, when all are there.

    Raises UsageError where the folder holds something already or lies inside the folder `source` of the faces,
    CannotGoOnError where it cannot be written.
    """

    def __init__(self, folder: Path, faces: FaceData, source: Path) -> None:
        self._folder = folder
        self._faces = faces
        self._written: list[Mapping[str, object]] = []
        require_new_folder(folder, source, "pairs")
        for position, sample in enumerate(faces.samples):
            write_picture(folder / "references" / png_name(sample.crop), faces.pixels[position])

    def add(self, pair: Pair) -> None:
        """Write one degraded crop and its truth."""
        faces = self._faces
        sample = faces.samples[pair.position]
        write_picture(self._folder / "truth" / result_name(pair, faces), pair.truth)
        write_picture(self._folder / "degraded" / result_name(pair, faces), pair.degraded)
        self._written.append(
            {
                "name": result_name(pair, faces),
                "truth": f"truth/{result_name(pair, faces)}",
                "degraded": f"degraded/{result_name(pair, faces)}",
                "identity": sample.identity,
                "seed": pair.seed,
                "degradation": pair.degradation.to_dict(),
                "references": self._crops(pair.references),
                "wrong_references": self._crops(pair.strangers),
                "boxes": component_boxes(sample.points).tolist(),
                "landmarks": sample.points.tolist(),
            }
        )

    def add_all(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        """Write each pair as it is asked for, and the manifest after the last."""
        for pair in pairs:
            self.add(pair)
            yield pair
        self.finish()

    def finish(self) -> None:
        """Write the manifest."""
        pairs = ",\n".join(json.dumps(pair) for pair in self._written)
        manifest = f'{{"format": {MANIFEST_FORMAT}, "pairs": [\n{pairs}\n]}}\n'
        try:
            (self._folder / "manifest.json").write_text(manifest, encoding="utf-8")
        except OSError as error:
            raise CannotGoOnError(f"{self._folder / 'manifest.json'} cannot be written: {error}") from error

    def _crops(self, positions: Sequence[int]) -> list[str]:
        return [f"references/{png_name(self._faces.samples[position].crop)}" for position in positions]


def png_name(crop: str) -> str:
    """The name of a crop as a PNG."""
    return f"{Path(crop).stem}.png"


def result_name(pair: Pair, faces: FaceData) -> str:
    """Where the degraded crop, or what another program made of it, lies inside its folder: seed-0/CROP.png."""
    return f"seed-{pair.seed}/{png_name(faces.samples[pair.position].crop)}"


def read_result(folder: Path, pair: Pair, faces: FaceData) -> Pixels:
    """What another program made of a pair: (512, 512, 3) uint8 RGB. Raises UsageError where there is none."""
    path = folder / result_name(pair, faces)
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist: results have the names that --pairs-out gave the pairs") from error
    except (OSError, SyntaxError) as error:
        raise UsageError(f"{path}: the result cannot be read, or is damaged: {error}") from error
    if pixels.shape != (CROP, CROP, 3):
        raise UsageError(f"{path} is {pixels.shape[1]} x {pixels.shape[0]}; results are {CROP} x {CROP}")
    return pixels


def require_new_folder(folder: Path, source: Path, what: str) -> None:
    """Raise UsageError where a folder that pictures go to holds something already, or lies inside `source`."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} holds something already; {what} go to a new or empty folder")
    if folder.resolve().is_relative_to(source.resolve()):
        raise UsageError(f"{folder} lies inside {source}, which is only read; {what} go to a folder outside of it")


def write_picture(path: Path, pixels: Pixels) -> None:
    """Write (H, W, 3) uint8 RGB, its folder made if missing. Raises CannotGoOnError where that is impossible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    except OSError as error:
        raise CannotGoOnError(f"{path} cannot be written: {error}") from error
