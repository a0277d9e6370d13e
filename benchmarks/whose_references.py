"""What references gain, and whether somebody else's would do as well.

    python benchmarks/whose_references.py FACES [--weights FILE] [--split validation] [--seed 0]

Restores each moderately damaged crop of a data folder three times: from the generic dictionary, with the person's other
photographs, and with a photograph of somebody else. Prints mean PSNR of eyes and mouth, and the paired differences with
95 % intervals (1.96 standard errors over crops). Boxes come from the true landmarks.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from dmdcli.faces.face import component_boxes
from dmdcli.model.restorer import BASE_WEIGHTS, Restorer
from dmdcli.shapes import FloatPixels, Pixels
from dmdcli.training.data import FaceData, read_faces
from dmdcli.training.degrade import Severity, apply, draw, generator_for


def component_psnr(answer: FloatPixels, truth: Pixels, boxes: np.ndarray) -> float:
    """PSNR in dB over the pixels of the three boxes together; answer in [0, 1], truth uint8."""
    inside = np.zeros(truth.shape[:2], bool)
    for x1, y1, x2, y2 in boxes:
        inside[y1:y2, x1:x2] = True
    return float(-10 * np.log10(np.mean((answer - truth / 255)[inside] ** 2)))


def measure(faces: FaceData, restorer: Restorer, seed: int) -> np.ndarray:
    """Component PSNR (N, 3) in dB: generic, own references, somebody else's; crops without others are left out."""
    boxes = np.stack([component_boxes(sample.points) for sample in faces.samples])
    rows = []
    for position, sample in enumerate(faces.samples):
        own = list(faces.others(position))
        strangers = [other for other, one in enumerate(faces.samples) if one.identity != sample.identity]
        if not own or not strangers:
            continue
        generator = generator_for(seed, sample.crop)
        damaged = apply(faces.pixels[position], draw(Severity.MODERATE, generator))
        people = [own, [strangers[int(generator.integers(len(strangers)))]]]
        dictionaries = [restorer.memorize(faces.pixels[who], boxes[who]) for who in people]
        answers = restorer.restore(
            np.repeat(damaged[None], 3, axis=0),
            np.repeat(boxes[position][None], 3, axis=0),
            [None, *dictionaries],
            both=False,
        )
        rows.append([component_psnr(one.best, faces.pixels[position], boxes[position]) for one in answers])
    return np.array(rows)


def main() -> None:
    """Print the means and the paired differences."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("--weights", type=Path, default=BASE_WEIGHTS)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    faces = read_faces(options.faces, options.split)
    scores = measure(faces, Restorer.from_file(options.weights, options.device, 3), options.seed)
    for name, mean in zip(("generic", "own references", "somebody else's"), scores.mean(axis=0), strict=True):
        print(f"{name:24} {mean:6.2f} dB in eyes and mouth, {len(scores)} faces")
    generic, own, wrong = scores.T
    pairs = {
        "own over generic": own - generic,
        "somebody else's over generic": wrong - generic,
        "own over else's": own - wrong,
    }
    for name, difference in pairs.items():
        error = 1.96 * difference.std(ddof=1) / np.sqrt(len(difference))
        print(f"{name:29} {difference.mean():+.2f} +- {error:.2f} dB")


if __name__ == "__main__":
    main()
