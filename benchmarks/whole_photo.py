"""What restoring gains inside whole photographs whose truth is known.

    python benchmarks/whole_photo.py PHOTOS WORK [--severity moderate] [--seed 0]

Damages each photo with `dmd degrade` in proportion to its largest face, restores the damaged ones with `dmd restore`
(nobody enrolled, so from the generic dictionary), and prints the PSNR of the face against the true photo before and
after. The face is what the blend mask covers by more than half; landmarks and alignment are those of the true photo.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from dmdcli.faces.align import blend_mask, crop_face, scale_of
from dmdcli.faces.embedded import EmbeddedKit
from dmdcli.faces.finder import FaceFinder
from dmdcli.photos import find_photos, read_photo
from dmdcli.shapes import CROP

DMD = (sys.executable, "-m", "dmdcli.cli.main")


def face_psnr(picture: Path, truth: np.ndarray, matrix: np.ndarray, mask: np.ndarray) -> float:
    """PSNR in dB of the face in a picture, against the true crop."""
    crop = crop_face(np.asarray(Image.open(picture).convert("RGB")), matrix)
    error = (crop.astype(np.float64) - truth)[mask > 0.5]
    return float(-10 * np.log10(np.mean((error / 255) ** 2)))


def measure(photos: Path, work: Path, severity: str, seed: int) -> dict[str, tuple[float, float]]:
    """Photo -> PSNR of its face damaged and restored, in dB."""
    finder = FaceFinder(EmbeddedKit())
    faces = {}
    for file in find_photos([photos]):
        face = finder.find(read_photo(file.path).pixels)[0]
        place = work / "damaged" / file.relative.parent
        side = max(1, round(CROP / scale_of(face.matrix)))
        options = ["--severity", severity, "--seed", str(seed), "--crop-side", str(side), "--quiet"]
        damage = ["degrade", str(file.path), "--out", str(place), *options]
        subprocess.run([*DMD, *damage], check=True, stdout=subprocess.DEVNULL)
        faces[file.relative.with_suffix(".png")] = face
    home = {**os.environ, "DMD_HOME": str(work / "nobody")}
    arguments = ["restore", str(work / "damaged"), "--out", str(work / "restored"), "--quiet", "--overwrite"]
    subprocess.run([*DMD, *arguments], check=True, env=home, stdout=subprocess.DEVNULL)
    return {
        str(name): tuple(
            face_psnr(work / kind / name, face.pixels, face.matrix, blend_mask(face.landmarks.points))
            for kind in ("damaged", "restored")
        )
        for name, face in faces.items()
    }


def main(arguments: Sequence[str] | None = None) -> float:
    """Print a line a photo and the mean; return the mean gain in dB."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--severity", default="moderate")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    results = measure(options.photos, options.work, options.severity, options.seed)
    for name, (before, after) in results.items():
        print(f"{name:40} {before:6.2f} {after:6.2f} {after - before:+6.2f} dB")
    gain = float(np.mean([after - before for before, after in results.values()]))
    print(f"mean gain in the face, {len(results)} photos: {gain:+.2f} dB")
    return gain


if __name__ == "__main__":
    main()
