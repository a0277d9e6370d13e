"""Aligned faces on disk, and the training samples made of them.

A data folder holds aligned_crops/ (512 x 512 pictures), index.csv (crop, identity, split, enlarged, source, licence)
and landmarks.json (crop name without its ending -> 68 points in crop pixels).

Training sample number n depends on the seed and n alone: however many workers there are and wherever a run is resumed,
the network sees the same samples.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, UnidentifiedImageError
from torch.utils.data import DataLoader, Dataset

from dmdcli.errors import FaceDataError
from dmdcli.faces.face import component_boxes
from dmdcli.shapes import CROP, ComponentBoxes, Pixels, Points
from dmdcli.training.augment import Variation, draw_colour, jitter_points, mirror, recolour, vary
from dmdcli.training.degrade import RANGES, Ranges, Severity, apply, draw, truth_for

COLUMNS = ("crop", "identity", "split", "enlarged", "source", "licence")
NEVER_EMPTY = ("crop", "identity")
SHARP_UP_TO = 1.15
"""A crop enlarged from its source by more than this is soft: its finest detail was made up by the enlargement."""

WIDE = Ranges(blur=(0, 16), downscaling=(1, 16), noise=(0, 20), jpeg=(30, 100))
"""Everything between mild and severe in one range."""

OTHER_PHOTO = Variation(colour=0.2, grey=0.15, rotation=2, scale=0.05, shift=0.05, mirror=0.5)
"""How a true other photo of the person is varied before it serves as a reference."""
SAME_PHOTO = Variation(colour=0.3, grey=0.15, rotation=5, scale=0.08, shift=0.06, blur=1.5, mirror=0.5)
"""How the target itself is varied where the person has no other photo: strongly, for it gives the answer away."""


@dataclass(frozen=True)
class Sample:
    """One line of index.csv with its landmarks.

    crop: file name. identity: who it is. enlarged: scale from the source to the crop. points: (68, 2) float32 in crop
    pixels.
    """

    crop: str
    identity: str
    split: str
    enlarged: float
    source: str
    licence: str
    points: Points = field(repr=False, compare=False)


@dataclass(frozen=True)
class FaceData:
    """The crops of one split, decoded.

    samples: in the order of index.csv. pixels: (N, 512, 512, 3) uint8 RGB, one per sample.
    people: identity -> positions of their samples, in order.
    """

    samples: tuple[Sample, ...]
    pixels: npt.NDArray[np.uint8] = field(repr=False)
    people: dict[str, tuple[int, ...]] = field(repr=False)

    def others(self, position: int) -> tuple[int, ...]:
        """The positions of the same person's other crops."""
        return tuple(other for other in self.people[self.samples[position].identity] if other != position)


def read_samples(folder: Path, split: str) -> tuple[Sample, ...]:
    """Read the index and landmarks of one split; raises FaceDataError where the folder is not as it should be."""
    index = folder / "index.csv"
    try:
        with index.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except FileNotFoundError as error:
        raise FaceDataError(
            f"{index} does not exist: a data folder holds aligned_crops/, index.csv and landmarks.json"
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FaceDataError(f"{index} cannot be read: {error}") from error
    crops: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        missing = [
            column for column in COLUMNS if row.get(column) is None or (column in NEVER_EMPTY and not row[column])
        ]
        if missing:
            raise FaceDataError(f"{index}, line {number}: no {', '.join(missing)}; wanted {', '.join(COLUMNS)}")
        crop = row["crop"]
        other = crops.get(Path(crop).stem)
        if other is not None:
            also = "is there twice" if other == crop else f"and {other} have one name, so they would share landmarks"
            raise FaceDataError(f"{index}, line {number}: the crop {crop} {also}; a crop is one face of one person")
        crops[Path(crop).stem] = crop
    chosen = [row for row in rows if row["split"] == split]
    if not chosen:
        there = ", ".join(sorted({row["split"] for row in rows})) or "nothing"
        raise FaceDataError(f"{index} has no crop in the split {split!r}; there is {there}")
    landmarks = _read_landmarks(folder / "landmarks.json")
    return tuple(_sample(row, index, folder / "landmarks.json", landmarks) for row in chosen)


def read_faces(folder: Path, split: str) -> FaceData:
    """Read and decode all crops of one split into memory (0.79 MB each).

    Raises FaceDataError where index or landmarks are missing or wrong, or a crop is missing, damaged or not 512 x 512.
    """
    samples = read_samples(folder, split)
    pixels = np.empty((len(samples), CROP, CROP, 3), dtype=np.uint8)
    people: dict[str, tuple[int, ...]] = {}
    for position, sample in enumerate(samples):
        pixels[position] = _read_crop(folder / "aligned_crops" / sample.crop)
        people[sample.identity] = (*people.get(sample.identity, ()), position)
    return FaceData(samples, pixels, people)


def require_people(faces: FaceData) -> None:
    """Raise FaceDataError where fewer than two people are there to learn from."""
    if len(faces.people) < 2:
        raise FaceDataError(f"training wants at least two people, found only {', '.join(faces.people) or 'nobody'}")


@dataclass(frozen=True)
class SampleOptions:
    """How training samples are made; the five shares of severities are divided by their sum.

    max_references: most references of one sample; 1 to so many are drawn. specific_fraction: share of samples whose
    person has another photo. wrong_person: share of samples whose references show somebody else. soft_weight: weight of
    a target that was enlarged from a small source. mild, moderate, severe: shares of the named severities; wide: share
    drawn from everything between them; old: share of old prints, whose targets are in the tone of the print. colour,
    grey: see Variation, for the target before it is degraded. mirror: share of targets mirrored.
    """

    max_references: int = 4
    specific_fraction: float = 0.5
    wrong_person: float = 0.1
    soft_weight: float = 0.5
    mild: float = 0.15
    moderate: float = 0.6
    severe: float = 0.1
    wide: float = 0.15
    old: float = 0.0
    colour: float = 0.15
    grey: float = 0.25
    mirror: float = 0.5


class TrainingSample(NamedTuple):
    """One target, what became of it, and its references (R of them, at least one).

    target, degraded: (512, 512, 3) uint8 RGB. boxes: (3, 4) int64, as found on the degraded face. target_boxes: (3, 4)
    int64, the true ones. references: (R, 512, 512, 3) uint8 RGB. reference_boxes: (R, 3, 4) int64.
    own_references: other photos of the same person. wrong_person: photos of somebody else. self_reference: variations
    of the target itself. Exactly one of the three is true. sharpness_weight: 1 for a sharp target, less for a soft one.
    """

    number: int
    target: Pixels
    degraded: Pixels
    boxes: ComponentBoxes
    target_boxes: ComponentBoxes
    references: npt.NDArray[np.uint8]
    reference_boxes: npt.NDArray[np.int64]
    own_references: bool
    wrong_person: bool
    self_reference: bool
    sharpness_weight: float


class Batch(NamedTuple):
    """B training samples as tensors, their N references one after the other.

    targets, degraded: (B, 512, 512, 3) uint8. boxes, target_boxes: (B, 3, 4) int64. references: (N, 512, 512, 3) uint8.
    reference_boxes: (N, 3, 4) int64. reference_counts: (B,) int64, summing to N; torch.split takes them as a list.
    own_references, wrong_person, self_reference: (B,) bool. sharpness_weights: (B,) float32. numbers: (B,) int64.
    """

    numbers: torch.Tensor
    targets: torch.Tensor
    degraded: torch.Tensor
    boxes: torch.Tensor
    target_boxes: torch.Tensor
    references: torch.Tensor
    reference_boxes: torch.Tensor
    reference_counts: torch.Tensor
    own_references: torch.Tensor
    wrong_person: torch.Tensor
    self_reference: torch.Tensor
    sharpness_weights: torch.Tensor


class TrainingSamples(Dataset[TrainingSample]):
    """`count` training samples; number n is the same for the same faces, options and seed, whoever asks for it.

    Raises FaceDataError where fewer than two people are there: nobody could play the wrong person.
    """

    def __init__(self, faces: FaceData, options: SampleOptions, seed: int, count: int) -> None:
        require_people(faces)
        self.faces = faces
        self.options = options
        self.seed = seed
        self.count = count
        positions = range(len(faces.samples))
        self._with_others = tuple(position for position in positions if faces.others(position))
        self._alone = tuple(position for position in positions if not faces.others(position))
        self._identities = tuple(faces.people)
        self._severities = [
            (RANGES[Severity.MILD], options.mild),
            (RANGES[Severity.MODERATE], options.moderate),
            (RANGES[Severity.SEVERE], options.severe),
            (WIDE, options.wide),
            (RANGES[Severity.OLD], options.old),
        ]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> TrainingSample:
        """Make sample `number`, 0 <= number < count."""
        if not 0 <= number < self.count:
            raise IndexError(f"sample {number} of {self.count}")
        generator = np.random.default_rng([self.seed, number])
        options, faces = self.options, self.faces
        position = self._choose_target(generator)
        sample = faces.samples[position]
        target, points = faces.pixels[position], sample.points
        if generator.random() < options.mirror:
            target, points = mirror(target, points)
        colours, grey = draw_colour(Variation(colour=options.colour, grey=options.grey), generator)
        target = recolour(target, colours)
        shares = np.array([share for _, share in self._severities])
        ranges, _ = self._severities[generator.choice(len(shares), p=shares / shares.sum())]
        degradation = draw(ranges, generator)
        degradation = replace(degradation, grey_noise=bool(grey and generator.random() < 0.7))

        sources = faces.others(position)
        wrong_person = bool(generator.random() < options.wrong_person)
        if wrong_person:
            sources = faces.people[self._choose_other_person(sample.identity, generator)]
        self_reference = not sources
        references = self._references(sources or (position,), SAME_PHOTO if self_reference else OTHER_PHOTO, generator)
        return TrainingSample(
            number=number,
            target=truth_for(target, degradation),
            degraded=apply(target, degradation),
            boxes=component_boxes(jitter_points(points, generator)),
            target_boxes=component_boxes(points),
            references=np.stack([pixels for pixels, _ in references]),
            reference_boxes=np.stack([component_boxes(points) for _, points in references]),
            own_references=not wrong_person and not self_reference,
            wrong_person=wrong_person,
            self_reference=self_reference,
            sharpness_weight=1.0 if sample.enlarged <= SHARP_UP_TO else options.soft_weight,
        )

    def _choose_target(self, generator: np.random.Generator) -> int:
        wanted, rest = self._with_others, self._alone
        if generator.random() >= self.options.specific_fraction:
            wanted, rest = rest, wanted
        positions = wanted or rest
        return positions[generator.integers(len(positions))]

    def _choose_other_person(self, identity: str, generator: np.random.Generator) -> str:
        own = self._identities.index(identity)
        step = int(generator.integers(1, len(self._identities)))
        return self._identities[(own + step) % len(self._identities)]

    def _references(
        self, sources: Sequence[int], variation: Variation, generator: np.random.Generator
    ) -> list[tuple[Pixels, Points]]:
        """One to max_references pictures: each source once in a drawn order, then again, never varied the same way."""
        wanted = int(generator.integers(1, self.options.max_references, endpoint=True))
        order = generator.permutation(len(sources))
        chosen = [sources[order[turn % len(sources)]] for turn in range(wanted)]
        return [
            vary(self.faces.pixels[position], self.faces.samples[position].points, variation, generator)
            for position in chosen
        ]


def collate(samples: Sequence[TrainingSample]) -> Batch:
    """Put samples together into one batch."""
    return Batch(
        numbers=torch.tensor([sample.number for sample in samples]),
        targets=torch.from_numpy(np.stack([sample.target for sample in samples])),
        degraded=torch.from_numpy(np.stack([sample.degraded for sample in samples])),
        boxes=torch.from_numpy(np.stack([sample.boxes for sample in samples])),
        target_boxes=torch.from_numpy(np.stack([sample.target_boxes for sample in samples])),
        references=torch.from_numpy(np.concatenate([sample.references for sample in samples])),
        reference_boxes=torch.from_numpy(np.concatenate([sample.reference_boxes for sample in samples])),
        reference_counts=torch.tensor([len(sample.references) for sample in samples]),
        own_references=torch.tensor([sample.own_references for sample in samples]),
        wrong_person=torch.tensor([sample.wrong_person for sample in samples]),
        self_reference=torch.tensor([sample.self_reference for sample in samples]),
        sharpness_weights=torch.tensor([sample.sharpness_weight for sample in samples], dtype=torch.float32),
    )


def batches(
    samples: TrainingSamples, batch_size: int, workers: int, first: int = 0, pin_memory: bool = False, every: int = 1
) -> Iterator[Batch]:
    """Each `every`-th sample from number `first` on, in batches of `batch_size`; an incomplete last one is left out.

    workers: processes that make them; 0 makes them here. Where processes can be forked they share the decoded crops.
    """
    fork = workers > 0 and sys.platform == "linux"
    loader = DataLoader(
        samples,
        batch_size=batch_size,
        sampler=range(first, len(samples), every),
        num_workers=workers,
        collate_fn=collate,
        drop_last=True,
        pin_memory=pin_memory,
        worker_init_fn=_start_worker,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="fork" if fork else None,
    )
    yield from loader


def _start_worker(_worker: int) -> None:
    cv2.setNumThreads(0)


def _read_landmarks(path: Path) -> dict[str, object]:
    try:
        landmarks = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_each_once)
    except FileNotFoundError as error:
        raise FaceDataError(f"{path} does not exist: it maps each crop to its 68 points") from error
    except (OSError, ValueError) as error:
        raise FaceDataError(f"{path} cannot be read: {error}") from error
    if not isinstance(landmarks, dict):
        raise FaceDataError(f"{path} does not map each crop to its 68 points")
    return landmarks


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object as a dict; ValueError for a name that is there twice, of which json would keep the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the crop {twice} has two sets of landmarks; a crop shows one face")
    return found


def _sample(row: dict[str, str], index: Path, path: Path, landmarks: dict[str, object]) -> Sample:
    crop = row["crop"]
    if Path(crop).stem not in landmarks:
        raise FaceDataError(f"{path} has no landmarks for the crop {crop}")
    try:
        points = np.array(landmarks[Path(crop).stem], dtype=np.float32)
        enlarged = float(row["enlarged"])
    except (TypeError, ValueError) as error:
        raise FaceDataError(f"{index} or {path.name}: a number of the crop {crop} cannot be read: {error}") from error
    if points.ndim > 1 and points.shape[-1] == 2 and points.size > 136 and points.size % 136 == 0:
        raise FaceDataError(f"{path}: the crop {crop} has the points of {points.size // 136} faces; a crop shows one")
    if points.shape != (68, 2):
        raise FaceDataError(f"{path}: the crop {crop} wants 68 points x, y, but there is an array of {points.shape}")
    if not np.isfinite(points).all():
        raise FaceDataError(f"{path}: a point of the crop {crop} has no place: it is not finite")
    if not 0 < enlarged < np.inf:
        raise FaceDataError(f"{index}: the crop {crop} is said to be enlarged {enlarged} times; wanted is above 0")
    return Sample(crop, row["identity"], row["split"], enlarged, row["source"], row["licence"], points)


def _read_crop(path: Path) -> Pixels:
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
    except FileNotFoundError as error:
        raise FaceDataError(f"{path}: the crop is in index.csv but not on disk") from error
    except UnidentifiedImageError as error:
        raise FaceDataError(f"{path}: the crop is no picture") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise FaceDataError(f"{path}: the crop cannot be read, or is damaged: {error}") from error
    if pixels.shape != (CROP, CROP, 3):
        raise FaceDataError(f"{path} is {pixels.shape[1]} x {pixels.shape[0]}; crops are {CROP} x {CROP}")
    return pixels
