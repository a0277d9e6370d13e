"""The best setting of each plain filter that `dmd evaluate` compares with.

    python benchmarks/tune_filters.py FACES [--filter NAME] [--crops 64] [--severity moderate] [--seed 0]

Degrades crops of the train split, spread evenly over it, applies each filter at each setting of a grid, and prints mean
PSNR, best first. `dmdcli/evaluation/filters.py` holds the best ones.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np

from dmdcli.evaluation.filters import apply_filter
from dmdcli.evaluation.measures import psnr
from dmdcli.training.data import read_faces
from dmdcli.training.degrade import Severity, apply, draw, generator_for

GRID: dict[str, dict[str, tuple[float, ...]]] = {
    "bicubic": {},
    "unsharp": {"sigma": (2, 4, 8, 16, 32), "amount": (0.1, 0.25, 0.5, 1)},
    "nlm": {"strength": (1, 2, 3, 4, 6, 8)},
    "bilateral": {"sigma_colour": (10, 15, 20, 30), "sigma_space": (3, 5, 8, 12)},
    "richardson-lucy": {"sigma": (1, 2, 3, 4, 6, 8), "steps": (1, 2, 3, 5, 8)},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("--filter", choices=GRID, help="this filter only")
    parser.add_argument("--crops", type=int, default=64)
    parser.add_argument("--severity", type=Severity, default=Severity.MODERATE)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    faces = read_faces(options.faces, "train")
    chosen = np.linspace(0, len(faces.samples) - 1, min(options.crops, len(faces.samples))).round().astype(int)
    pairs = []
    for position in chosen:
        degradation = draw(options.severity, generator_for(options.seed, faces.samples[position].crop))
        pairs.append((faces.pixels[position], apply(faces.pixels[position], degradation), degradation))
    mean = np.mean([psnr(degraded, truth) for truth, degraded, _ in pairs])
    print(f"{'input':16} {mean:.3f} dB, {len(pairs)} crops")
    for name, axes in GRID.items():
        if options.filter not in (None, name):
            continue
        scores = []
        for values in itertools.product(*axes.values()):
            settings = dict(zip(axes, values, strict=True))
            scores.append(
                (
                    float(np.mean([psnr(apply_filter(name, bad, how, settings), truth) for truth, bad, how in pairs])),
                    settings,
                )
            )
        for mean, settings in sorted(scores, key=lambda score: -score[0])[:3]:
            print(f"{name:16} {mean:.3f} dB {settings}", flush=True)


if __name__ == "__main__":
    main()
