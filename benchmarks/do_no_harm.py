"""What the judgement of restored faces spares: damaged crops of known people, published with and without it.

    python benchmarks/do_no_harm.py FACES [--split validation] [--severity mild,moderate,severe] [--seeds 1]

Each crop is damaged, recognised among everybody's other photographs, restored and judged as `dmd restore` does. Of
what would be published without a judgement (the dictionary of whoever was recognised, all of the strength) and what is
published with it, prints the change in similarity to the true face, by the embedded kit with the landmarks of the true
face, and in PSNR inside the blend mask (dB): means, and in brackets the worst. Severity "clean" is the crop as it is.

--json prints one object a face. --model as for `dmd restore`.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from dmdcli.cli.build import build_finder, build_restorer
from dmdcli.cli.console import Kit
from dmdcli.evaluation.measures import psnr
from dmdcli.faces.align import blend_mask
from dmdcli.faces.confidence import confidences
from dmdcli.faces.face import Face, Landmarks, component_boxes
from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.identity import Gallery, Match, match_faces
from dmdcli.faces.kit import FaceKit
from dmdcli.model.dictionary import Dictionary
from dmdcli.model.restorer import Restorer
from dmdcli.pipeline.blend import RestoreOptions, plan_restoring, restore_crops
from dmdcli.pipeline.judge import ALREADY_GOOD, Judgement, Plan, judge_faces, published, take_first
from dmdcli.pipeline.people import People
from dmdcli.shapes import ComponentBoxes, Embedding, Pixels
from dmdcli.training.data import FaceData, read_faces
from dmdcli.training.degrade import Severity, apply, draw, generator_for

CLEAN = "clean"
WIDTH = 300.0
"""Side in photo pixels of the face's box, which a crop does not say: large enough for all of the strength."""


@dataclass(frozen=True)
class Outcome:
    """One damaged crop.

    known: it was recognised, and as whom it shows. used, strength, reasons: what was published. before, without, gated:
    similarity in [0, 1] to the true face of the damaged crop, of what would be published without and with the
    judgement; *_psnr: dB inside the blend mask, against the true crop.
    """

    crop: str
    severity: str
    seed: int
    known: bool
    used: str
    strength: float
    reasons: tuple[str, ...]
    before: float
    without: float
    gated: float
    before_psnr: float
    without_psnr: float
    gated_psnr: float


@dataclass(frozen=True)
class Everybody:
    """The crops of a split, and what the kit sees in each: landmarks, and embeddings (N, D)."""

    faces: FaceData
    landmarks: Sequence[Landmarks]
    embeddings: np.ndarray

    @classmethod
    def look_at(cls, faces: FaceData, kit: FaceKit) -> Everybody:
        """Look at each crop as it is."""
        landmarks = [kit.landmarks(pixels[None])[0] for pixels in faces.pixels]
        embeddings = [kit.embed(pixels[None], [one])[0] for pixels, one in zip(faces.pixels, landmarks, strict=True)]
        return cls(faces, landmarks, np.stack(embeddings))

    @cached_property
    def boxes(self) -> ComponentBoxes:
        """(N, 3, 4) int64."""
        return np.stack([component_boxes(one.points) for one in self.landmarks])

    def gallery(self, without: int, kit: FaceKit) -> Gallery:
        """Everybody with their crops, all but one."""
        people = {
            person: self.embeddings[[crop for crop in crops if crop != without]]
            for person, crops in self.faces.people.items()
        }
        return Gallery(people, kit.similarity)


def outcomes(
    everybody: Everybody,
    positions: Sequence[int],
    severities: Sequence[str],
    seeds: Sequence[int],
    finder: FaceFinder,
    restorer: Restorer,
) -> Iterator[Outcome]:
    """Damage, recognise, restore and judge each crop."""
    faces, kit, options = everybody.faces, finder.kit, RestoreOptions()
    boxes = everybody.boxes
    for severity in severities:
        for seed in seeds:
            for position in positions:
                sample, truth = faces.samples[position], faces.pixels[position]
                damage = None if severity == CLEAN else draw(Severity(severity), generator_for(seed, sample.crop))
                face = as_found(truth if damage is None else apply(truth, damage), kit)
                gallery = everybody.gallery(position, kit)
                (match,) = match_faces([face], gallery)
                others = list(faces.people[match.person]) if match is not None else []
                others = [other for other in others if other != position]
                dictionary = restorer.memorize(faces.pixels[others], boxes[others]) if others else None
                recalled = dict.fromkeys(faces.people, dictionary)
                people: People[Dictionary | None] = People(gallery, recalled.__getitem__, enrolled={})
                plan = plan_restoring(face, finder, options)
                without, gated = pictures(face, match, plan, kit, restorer, people, options)
                seen = kit.embed(np.stack([face.pixels, without, gated[0]]), [everybody.landmarks[position]] * 3)
                distances = np.linalg.norm(seen.astype(np.float64) - everybody.embeddings[position], axis=1)
                inside = blend_mask(face.landmarks.points) > 0.5
                yield Outcome(
                    sample.crop,
                    severity,
                    seed,
                    match is not None and match.person == sample.identity,
                    gated[1].used,
                    gated[1].strength,
                    gated[1].reasons,
                    *(float(one) for one in kit.similarity(distances)),
                    *(psnr(one[inside], truth[inside]) for one in (face.pixels, without, gated[0])),
                )


def as_found(crop: Pixels, kit: FaceKit) -> Face:
    """A crop as the face of a photo."""
    (landmarks,) = kit.landmarks(crop[None])
    embedding: Embedding = kit.embed(crop[None], [landmarks])[0]
    matrix = np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float32)
    (sure,) = confidences(kit, crop[None], [landmarks])
    return Face((0, 0, WIDTH, WIDTH), 1.0, matrix, crop, landmarks, embedding, confidence=sure)


def pictures(
    face: Face,
    match: Match | None,
    plan: Plan,
    kit: FaceKit,
    restorer: Restorer,
    people: People[Dictionary | None],
    options: RestoreOptions,
) -> tuple[Pixels, tuple[Pixels, Judgement]]:
    """The crop as published without a judgement, and with it."""
    (plain,) = restore_crops([(face, match, Plan())], kit, restorer, people, options)
    first = take_first(plain)
    without = face.pixels if first.answer is None else published(plain, first.answer, first.strength)
    if plan.strength == 0:
        return without, (face.pixels, Judgement("none", 0.0, reasons=plan.reasons))
    subject = plain if plan == Plan() else restore_crops([(face, match, plan)], kit, restorer, people, options)[0]
    (judged,) = judge_faces([subject], kit)
    picture = face.pixels if judged.answer is None else published(subject, judged.answer, judged.strength)
    return without, (picture, judged)


def table(found: Sequence[Outcome]) -> Iterator[str]:
    """A Markdown table: a row for each severity and kind of face."""
    columns = ("severity", "faces", "specific, generic, lowered, left alone", "similarity of the input")
    changes = ("similarity, without", "with", "PSNR, without", "with")
    yield f"| {' | '.join((*columns, *changes))} |"
    yield "|---" * len((*columns, *changes)) + "|"
    for severity in dict.fromkeys(one.severity for one in found):
        for kind in ("recognised", "not recognised"):
            chosen = [one for one in found if one.severity == severity and one.known == (kind == "recognised")]
            if not chosen:
                continue
            shares = Counter(share(one) for one in chosen)
            cells = [
                f"{severity}, {kind}",
                str(len(chosen)),
                ", ".join(str(shares[name]) for name in ("specific", "generic", "lowered", "none")),
                f"{np.mean([one.before for one in chosen]):.3f}",
                mean_and_worst([one.without - one.before for one in chosen], 3),
                mean_and_worst([one.gated - one.before for one in chosen], 3),
            ]
            if severity == CLEAN:  # nothing can be nearer to the truth than the truth
                cells += ["-", "-"]
            else:
                cells += [mean_and_worst([one.without_psnr - one.before_psnr for one in chosen], 2)]
                cells += [mean_and_worst([one.gated_psnr - one.before_psnr for one in chosen], 2)]
            yield f"| {' | '.join(cells)} |"


def mean_and_worst(changes: Sequence[float], digits: int) -> str:
    """The mean of some changes, and the worst of them in brackets."""
    return f"{np.mean(changes):+.{digits}f} ({min(changes):+.{digits}f})"


def share(one: Outcome) -> str:
    """Under what a face is counted."""
    if one.used == "none":
        return "none"
    return "lowered" if one.strength < 1 else one.used


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, or an object a face."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--severity", default="mild,moderate,severe")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--crops", default="", help="Only crops whose names begin so, with commas between.")
    parser.add_argument("--model", default="base")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    finder, restorer = build_finder(Kit.EMBEDDED), build_restorer(options.model)
    everybody = Everybody.look_at(read_faces(options.faces, options.split), finder.kit)
    begin = tuple(options.crops.split(","))
    positions = [place for place, one in enumerate(everybody.faces.samples) if one.crop.startswith(begin)]
    found = []
    for one in outcomes(everybody, positions, options.severity.split(","), range(options.seeds), finder, restorer):
        found.append(one)
        if options.json:
            print(json.dumps(asdict(one)), flush=True)
    if options.json:
        return
    for line in table(found):
        print(line)
    good = sum(ALREADY_GOOD in one.reasons for one in found)
    least = min(one.gated - one.before for one in found)
    print(f"{good} of {len(found)} were {ALREADY_GOOD}; the most that what is published loses: {max(0.0, -least):.3f}")


if __name__ == "__main__":
    main()
