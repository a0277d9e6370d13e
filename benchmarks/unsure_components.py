"""What leaving out eyes and mouths whose landmarks are unsure does to restored faces.

    python benchmarks/unsure_components.py FACES [--split validation] [--severity moderate,severe] [--seeds 1]

Each crop is damaged, recognised among everybody's other photographs, restored and judged as `dmd restore` does, once as
it is and once as if all landmarks were sure. Prints how many components of the faces that are restored were left out,
how many of those were wrong (as `benchmarks/landmark_confidence.py` says) and how many of those that were kept; and,
for the faces where something was left out, the mean change in similarity to the true face and in PSNR inside the blend
mask (dB) over the damaged crop, with the worst in brackets. --good sets another line between sure and unsure.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from do_no_harm import Everybody, as_found, mean_and_worst, pictures

from dmdcli.cli.build import build_finder, build_restorer
from dmdcli.cli.console import Kit
from dmdcli.evaluation.measures import psnr
from dmdcli.faces.align import blend_mask
from dmdcli.faces.confidence import COMPONENT_POINTS
from dmdcli.faces.face import GOOD, RIGHT, Face, eye_distance
from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.identity import match_faces
from dmdcli.model.dictionary import Dictionary
from dmdcli.model.restorer import Restorer
from dmdcli.pipeline.blend import RestoreOptions, plan_restoring
from dmdcli.pipeline.judge import Judgement
from dmdcli.pipeline.people import People
from dmdcli.shapes import COMPONENTS, Pixels
from dmdcli.training.data import read_faces
from dmdcli.training.degrade import Severity, apply, draw, generator_for


@dataclass(frozen=True)
class Outcome:
    """One damaged crop.

    restored: something of it was published, with all components. unsure: of the three components, whether they were
    left out. wrong: whether their landmarks are. similarity, decibels: change towards the true face over the damaged
    crop, with the unsure components left out, and with all.
    """

    severity: str
    restored: bool
    unsure: tuple[bool, ...]
    wrong: tuple[bool, ...]
    similarity: tuple[float, float]
    decibels: tuple[float, float]


def outcomes(
    everybody: Everybody,
    severities: Sequence[str],
    seeds: int,
    good: float,
    finder: FaceFinder,
    restorer: Restorer,
) -> Iterator[Outcome]:
    """Damage each crop, and restore it twice."""
    faces = everybody.faces
    for severity in severities:
        for seed in range(seeds):
            for position in range(len(faces.samples)):
                truth = faces.pixels[position]
                damage = draw(Severity(severity), generator_for(seed, faces.samples[position].crop))
                found = as_found(apply(truth, damage), finder.kit)
                assert found.confidence is not None
                found = replace(found, confidence=replace(found.confidence, good=good))
                (all_in, judged), (left_out, _) = restored(everybody, position, found, finder, restorer)
                seen = finder.kit.embed(np.stack([found.pixels, left_out, all_in]), [everybody.landmarks[position]] * 3)
                distances = np.linalg.norm(seen.astype(np.float64) - everybody.embeddings[position], axis=1)
                before, *after = (float(one) for one in finder.kit.similarity(distances))
                inside = blend_mask(everybody.landmarks[position].points) > 0.5
                noise, *left = (psnr(one[inside], truth[inside]) for one in (found.pixels, left_out, all_in))
                true_points = everybody.landmarks[position].points
                errors = np.linalg.norm(found.landmarks.points - true_points, axis=1) / eye_distance(true_points)
                unsure = found.confidence.unsure_components()
                yield Outcome(
                    severity,
                    judged.used != "none",
                    tuple(name in unsure for name in COMPONENTS),
                    tuple(bool(errors[part].mean() >= RIGHT) for part in COMPONENT_POINTS),
                    (after[0] - before, after[1] - before),
                    (left[0] - noise, left[1] - noise),
                )


def restored(
    everybody: Everybody, position: int, face: Face, finder: FaceFinder, restorer: Restorer
) -> list[tuple[Pixels, Judgement]]:
    """What is published of a face were all its landmarks sure, and as it is."""
    faces, kit, options = everybody.faces, finder.kit, RestoreOptions()
    gallery = everybody.gallery(position, kit)
    (match,) = match_faces([face], gallery)
    others = [] if match is None else [other for other in faces.people[match.person] if other != position]
    boxes = everybody.boxes
    dictionary = restorer.memorize(faces.pixels[others], boxes[others]) if others else None
    people: People[Dictionary | None] = People(gallery, dict.fromkeys(faces.people, dictionary).__getitem__, {})
    published: list[tuple[Pixels, Judgement]] = []
    plans = [plan_restoring(one, finder, options) for one in (replace(face, confidence=None), face)]
    for index, plan in enumerate(plans):
        if index and plan == plans[0]:
            published.append(published[0])
            continue
        published.append(pictures(face, match, plan, kit, restorer, people, options)[1])
    return published


def table(found: Sequence[Outcome]) -> Iterator[str]:
    """A Markdown table, a line a severity."""
    yield (
        "| | faces restored | components | left out | of these wrong | of the kept wrong | faces with some left out "
        "| similarity, all in | left out | PSNR, all in | left out |"
    )
    yield "|---" * 11 + "|"
    for severity in dict.fromkeys(one.severity for one in found):
        chosen = [one for one in found if one.severity == severity and one.restored]
        unsure, wrong = (np.array([getattr(one, name) for one in chosen]) for name in ("unsure", "wrong"))
        touched = [one for one in chosen if any(one.unsure)]
        cells = [severity, len(chosen), unsure.size, unsure.sum(), (unsure & wrong).sum(), (~unsure & wrong).sum()]
        cells.append(len(touched))
        for name, digits in (("similarity", 3), ("decibels", 2)):
            for which in (1, 0):
                changes = [getattr(one, name)[which] for one in touched]
                cells.append(mean_and_worst(changes, digits) if changes else "-")
        yield f"| {' | '.join(str(cell) for cell in cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--severity", default="moderate,severe")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--good", type=float, default=GOOD)
    parser.add_argument("--model", default="base")
    options = parser.parse_args(arguments)
    finder, restorer = build_finder(Kit.EMBEDDED), build_restorer(options.model)
    everybody = Everybody.look_at(read_faces(options.faces, options.split), finder.kit)
    severities = options.severity.split(",")
    found = list(outcomes(everybody, severities, options.seeds, options.good, finder, restorer))
    for line in table(found):
        print(line)


if __name__ == "__main__":
    main()
