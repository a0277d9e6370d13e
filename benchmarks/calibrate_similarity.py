"""Fit a logistic curve from the embedded kit's distances to similarities on modern portraits: what DISTANCE_SLOPE and
MIDDLE_DISTANCE of embedded.py are compared with, which are stricter for the sake of old photographs.

    python benchmarks/calibrate_similarity.py FACES [--crops N]

FACES is a folder with aligned_crops/ and index.csv (columns crop, identity, split). Pairs of crops of one person and
pairs of two people, from the train split alone, weigh the same in total: a priori a face is as
likely the person as not.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from dmdcli.faces.embedded import DISTANCE_SLOPE, MIDDLE_DISTANCE, EmbeddedKit


def read_embeddings(faces: Path, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (N, 128) of people with several crops, and the number of the person of each (N,)."""
    with (faces / "index.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    crops_of = Counter(row["identity"] for row in rows)
    rows = [row for row in rows if crops_of[row["identity"]] > 1][:most]
    kit = EmbeddedKit()
    embeddings = []
    for row in rows:
        name = row["crop"].removesuffix(".jpg")
        picture = cv2.imread(str(faces / "aligned_crops" / f"{name}.jpg"))
        crop = np.ascontiguousarray(picture[:, :, ::-1])
        embeddings.append(kit.embed(crop[None], kit.landmarks(crop[None]))[0])
    people = {name: number for number, name in enumerate(crops_of)}
    return np.stack(embeddings), np.array([people[row["identity"]] for row in rows])


def fit(distances: np.ndarray, same: np.ndarray) -> tuple[float, float]:
    """Slope and middle of 1 / (1 + exp(slope * (distance - middle))), both classes weighing the same (Newton's
    method)."""
    features = np.stack([np.ones_like(distances), distances], axis=1)
    weights = np.where(same, 0.5 / same.sum(), 0.5 / (~same).sum())
    solution = np.zeros(2)
    for _ in range(100):
        chance = 1 / (1 + np.exp(-features @ solution))
        # A touch of regularisation keeps the slope finite where the classes do not overlap.
        gradient = features.T @ (weights * (same - chance)) - 1e-6 * solution
        curvature = (features * (weights * chance * (1 - chance))[:, None]).T @ features + 1e-6 * np.eye(2)
        solution = solution + np.linalg.solve(curvature, gradient)
    return float(-solution[1]), float(-solution[0] / solution[1])


def main() -> None:
    """Print the fitted curve and where both kinds of pairs lie."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("--crops", type=int, default=1000)
    arguments = parser.parse_args()
    embeddings, people = read_embeddings(arguments.faces, arguments.crops)
    first, second = np.triu_indices(len(people), 1)
    distances = np.linalg.norm(embeddings[first].astype(np.float64) - embeddings[second], axis=1)
    same = people[first] == people[second]
    slope, middle = fit(distances, same)
    print(
        f"{same.sum()} pairs of one person: distances at 50, 95, 100 %",
        np.percentile(distances[same], [50, 95, 100]).round(3),
    )
    print(
        f"{(~same).sum()} pairs of two: at 0, 0.1, 1, 50 %", np.percentile(distances[~same], [0, 0.1, 1, 50]).round(3)
    )
    print(f"fitted slope {slope:.1f}, middle {middle:.3f}; in use {DISTANCE_SLOPE:.1f}, {MIDDLE_DISTANCE:.3f}")


if __name__ == "__main__":
    main()
