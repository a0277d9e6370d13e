"""Whether restoring leaves a face of an old photograph who it was.

    python benchmarks/old_photos.py FACES PHOTOS [--json] [--keep DIR] [--model base|PATH] [--seeds 8]

The measure: sharp validation crops of FACES (enlarged up to 1.15) against their own moderately damaged copies, eight
seeds. The 5th percentile of their similarity is the line. Each photo of PHOTOS is restored as
`dmd restore --engravings restore` does where nobody is enrolled, and each restored face is compared with the same place
of the photo as it was; it should lie at or above the line. Similarity is the embedded kit's. Both pictures of a pair
are embedded with the landmarks found in the first (the sharp crop, the photo as it was), so that nothing but the pixels
differs.

--json prints one object a face and the summary last. --keep leaves the restored photos in an empty or new folder.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from dmdcli.cli.build import build_finder, build_restorer
from dmdcli.cli.console import Kit
from dmdcli.faces.align import crop_face
from dmdcli.faces.face import Landmarks
from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.identity import Gallery
from dmdcli.faces.kit import FaceKit
from dmdcli.journal import open_journal
from dmdcli.model.dictionary import Dictionary
from dmdcli.model.restorer import Restorer
from dmdcli.photos import read_photo
from dmdcli.pipeline.blend import RestoreOptions
from dmdcli.pipeline.people import People
from dmdcli.pipeline.restore import restore
from dmdcli.places import stream_outputs, survey_photos
from dmdcli.shapes import Pixels
from dmdcli.training.data import SHARP_UP_TO, FaceData, read_faces
from dmdcli.training.degrade import Severity, apply, draw, generator_for

PERCENTILE = 5
"""Of the similarities of sharp crops to their damaged copies: what restoring may cost at most."""


@dataclass(frozen=True)
class Kept:
    """How much one face of a photo is still the one it was.

    face: its number in the photo, the largest first. similarity: in [0, 1], after restoring to before; distance: the
    Euclidean distance it comes from. width: of the face's box in photo pixels.
    """

    photo: str
    face: int
    similarity: float
    distance: float
    width: int


def similarities_to_damaged(faces: FaceData, kit: FaceKit, seeds: Sequence[int]) -> list[float]:
    """The similarity of each sharp crop to each of its moderately damaged copies."""
    found = []
    for pixels, sample in zip(faces.pixels, faces.samples, strict=True):
        if sample.enlarged > SHARP_UP_TO:
            continue
        (landmarks,) = kit.landmarks(pixels[None])
        copies = [apply(pixels, draw(Severity.MODERATE, generator_for(seed, sample.crop))) for seed in seeds]
        found += [float(kit.similarity(distance)) for distance in distances(pixels, copies, landmarks, kit)]
    return found


def distances(crop: Pixels, others: Sequence[Pixels], landmarks: Landmarks, kit: FaceKit) -> np.ndarray:
    """Identity distances (N,) of other pictures of one face to its crop, all with the crop's landmarks."""
    embeddings = kit.embed(np.stack([crop, *others]), [landmarks] * (1 + len(others))).astype(np.float64)
    return np.linalg.norm(embeddings[1:] - embeddings[0], axis=1)


def restored_faces(photos: Path, out: Path, finder: FaceFinder, restorer: Restorer) -> Iterator[Kept]:
    """Restore all photos into `out` with nobody enrolled, and compare each restored face with what it was."""
    nobody: People[Dictionary] = People(Gallery({}, finder.kit.similarity), dictionary=_nobody, enrolled={})
    options = RestoreOptions(engravings="restore", already_good="restore", judge=False)
    with open_journal(out) as journal:
        pairs = stream_outputs(survey_photos([photos]), out, "auto", print)
        for result in restore(pairs, finder, restorer, nobody, journal, options):
            if result.status != "restored" or result.output is None:
                raise SystemExit(f"{result.photo}: {result.status}, {result.error or 'no usable face'}")
            faces = [face for face in finder.find(read_photo(result.photo).pixels) if face.rejected is None]
            after = read_photo(result.output).pixels
            for number, face in enumerate(faces, start=1):
                (distance,) = distances(face.pixels, [crop_face(after, face.matrix)], face.landmarks, finder.kit)
                similarity = float(finder.kit.similarity(distance))
                width = round(face.box[2] - face.box[0])
                yield Kept(result.output.relative_to(out).as_posix(), number, similarity, float(distance), width)


def _nobody(name: str) -> Dictionary:
    raise KeyError(name)


def summary(line: float, pairs: int, kept: Sequence[Kept]) -> Mapping[str, object]:
    """What is said of all faces together."""
    below = [f"{one.photo}, face {one.face}" for one in kept if one.similarity < line]
    return {"line": line, "pairs": pairs, "faces": len(kept), "at_or_above": len(kept) - len(below), "below": below}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line a face, the least similar first, and how many lie at or above the line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--model", default="base")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if options.keep is not None and options.keep.is_dir() and any(options.keep.iterdir()):
        parser.error(f"{options.keep} holds something already")  # restoring would leave what is there as it is
    finder, restorer = build_finder(Kit.EMBEDDED), build_restorer(options.model)
    damaged = similarities_to_damaged(read_faces(options.faces, "validation"), finder.kit, range(options.seeds))
    line = float(np.percentile(damaged, PERCENTILE))
    with tempfile.TemporaryDirectory() as scratch:
        kept = list(restored_faces(options.photos, options.keep or Path(scratch), finder, restorer))
    said = summary(line, len(damaged), kept)
    if options.json:
        for one in kept:
            print(json.dumps(asdict(one)))
        print(json.dumps({"summary": said}))
        return
    for one in sorted(kept, key=lambda one: one.similarity):
        mark = " " if one.similarity >= line else "below"
        print(f"{one.photo:44} face {one.face}  {one.similarity:.4f}  {mark}".rstrip())
    least, middle = np.percentile(damaged, [0, 50])
    print(
        f"sharp validation crops to their moderate copies, {len(damaged)} pairs: "
        f"{PERCENTILE}th percentile {line:.4f}, least {least:.4f}, median {middle:.4f}"
    )
    print(f"{said['at_or_above']} of {len(kept)} faces lie at or above the {PERCENTILE}th percentile")


if __name__ == "__main__":
    main()
