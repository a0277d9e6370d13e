"""How well closed eyes can be told from open ones by the landmarks, with eyes that are closed by warping the lids.

    python benchmarks/closed_eyes.py FACES [--crops 70] [--look FILE.png]

Prints the shares of eyes with less than each openness (height over width): of all training crops as they are listed, of
some of them with their eyes closed, and of those after moderate damage (seed 0). The test crops have no closed eyes, so
they are made: the lid is stretched down to the lower one, with a dark line for the lashes. --look writes a few.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from dmdcli.cli.build import build_finder
from dmdcli.cli.console import Kit
from dmdcli.faces.face import openness_of_eyes
from dmdcli.shapes import CROP, Pixels, Points
from dmdcli.training.data import read_faces
from dmdcli.training.degrade import Severity, apply, draw, generator_for

LEVELS = (0.12, 0.13, 0.14, 0.15, 0.16, 0.18, 0.2)
LID = 12.0
"""Crop pixels of skin above the eye that are stretched over it."""


def close_eyes(crop: Pixels, points: Points) -> Pixels:
    """A crop with both lids down."""
    down, across = np.mgrid[:CROP, :CROP].astype(np.float32)
    lashes = np.zeros((CROP, CROP), dtype=np.float32)
    for first in (36, 42):
        eye = points[first : first + 6].astype(np.float64)
        places = [eye[0, 0], eye[1, 0], eye[2, 0], eye[3, 0]]
        columns = np.arange(int(eye[0, 0]) - 4, int(eye[3, 0]) + 5)
        upper = np.interp(columns, places, [eye[0, 1], eye[1, 1] - 3, eye[2, 1] - 3, eye[3, 1]]) - LID
        lower = np.interp(columns, places, [eye[0, 1], eye[5, 1] + 3, eye[4, 1] + 3, eye[3, 1]])
        for column, above, below in zip(columns, upper, lower, strict=True):
            rows = np.arange(int(above), int(below) + 1)
            down[rows, column] = above + (rows - above) * LID / max(LID, below - above)
            lashes[int(below) - 1 : int(below) + 2, column] = 1
    lidded = cv2.remap(crop.astype(np.float32), across, down, cv2.INTER_CUBIC)
    line = 0.75 * cv2.GaussianBlur(lashes, (0, 0), 1.0)[..., None]
    return np.clip(lidded * (1 - line) + np.array([50, 38, 32], np.float32) * line, 0, 255).astype(np.uint8)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each kind of eyes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("--crops", type=int, default=70)
    parser.add_argument("--look", type=Path)
    options = parser.parse_args(arguments)
    kit, faces = build_finder(Kit.EMBEDDED).kit, read_faces(options.faces, "train")
    found: dict[str, list[float]] = {"open": [], "closed": [], "closed, damaged": []}
    looks = []
    for position in range(len(faces.samples)):
        found["open"] += openness_of_eyes(np.asarray(faces.samples[position].points, dtype=np.float32))
    for position in np.linspace(0, len(faces.samples) - 1, options.crops).round().astype(int):
        crop = faces.pixels[position]
        closed = close_eyes(crop, kit.landmarks(crop[None])[0].points)
        damaged = apply(closed, draw(Severity.MODERATE, generator_for(0, faces.samples[position].crop)))
        for name, picture in (("closed", closed), ("closed, damaged", damaged)):
            found[name] += openness_of_eyes(kit.landmarks(picture[None])[0].points)
        looks.append(np.hstack([picture[190:290, 130:390] for picture in (crop, closed, damaged)]))
    for name, eyes in found.items():
        shares = ", ".join(f"{np.mean(np.array(eyes) < level):.1%} below {level}" for level in LEVELS)
        print(f"{name} ({len(eyes)} eyes): {shares}")
    if options.look is not None:
        cv2.imwrite(str(options.look), cv2.cvtColor(np.vstack(looks[:8]), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
