"""Fit the curve from distance to similarity of a kit to aligned portraits, and print it beside the one in use.

    python benchmarks/calibrate_similarity.py FACES [--kit embedded|full] [--crops N]

FACES is a folder with aligned_crops/ and index.csv (columns crop, identity, split). Pairs of crops of one person and
pairs of two people, from the train split alone, weigh the same in total: a priori a face is as likely the person as
not. `dmd models calibrate` does the same for whole photographs, in folders named by the people in them.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from dmdcli.cli.build import build_finder
from dmdcli.cli.console import Kit
from dmdcli.faces.kit import FaceKit
from dmdcli.pipeline.calibrate import LabelledPhoto, calibrate

AT_ONCE = 32
"""Crops handed to a kit at a time."""


def read_embeddings(faces: Path, kit: FaceKit, most: int) -> list[LabelledPhoto]:
    """The embeddings of the train people's crops, of people with several."""
    with (faces / "index.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    crops_of = Counter(row["identity"] for row in rows)
    rows = [row for row in rows if crops_of[row["identity"]] > 1][:most]
    paths = [faces / "aligned_crops" / f"{row['crop'].removesuffix('.jpg')}.jpg" for row in rows]
    labelled = []
    for start in range(0, len(rows), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        crops = np.stack([cv2.imread(str(path))[:, :, ::-1] for path in paths[part]])
        embeddings = kit.embed(crops, kit.landmarks(crops))
        labelled += [
            LabelledPhoto(path, row["identity"], embedding)
            for path, row, embedding in zip(paths[part], rows[part], embeddings, strict=True)
        ]
    return labelled


def main() -> None:
    """Print the fitted curve and where both kinds of pairs lie."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("--kit", type=Kit, default=Kit.EMBEDDED)
    parser.add_argument("--crops", type=int, default=1000)
    arguments = parser.parse_args()
    kit = build_finder(arguments.kit).kit
    found = calibrate(read_embeddings(arguments.faces, kit, arguments.crops), kit.name)
    print(
        f"{len(found.same)} pairs of one person: distances at 50, 95, 100 %",
        np.percentile(found.same, [50, 95, 100]).round(3),
    )
    print(
        f"{len(found.different)} pairs of two: at 0, 0.1, 1, 50 %",
        np.percentile(found.different, [0, 0.1, 1, 50]).round(3),
    )
    fitted, in_use = found.curve, kit.similarity
    print(
        f"fitted slope {fitted.slope:.1f}, middle {fitted.middle:.3f}; "
        f"in use {in_use.slope:.1f}, {in_use.middle:.3f} ({in_use.source})"
    )


if __name__ == "__main__":
    main()
