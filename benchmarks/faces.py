"""What finding, aligning and pasting faces costs, and pasting beside facexlib's helper.

    python benchmarks/faces.py PHOTO [--megapixels 1,4,12,24] [--kit embedded] [--sides 512]
        [--counts 1,5,12] [--repeats 5] [--check] [--json FILE]

PHOTO shows faces, best several. The first table: the photo scaled to so many megapixels; detecting in milliseconds a
photo, the rest in milliseconds a face. "align" cuts the crop out of the photo; "paste" makes the mask and blends the
crop's change into the photo.

The second table: so many faces, at most twelve, pasted into the photo at 24 megapixels (6000 x 4000), `pipeline.blend`
beside `FaceRestoreHelper.paste_faces_to_input_image` of facexlib (without its networks: a square mask, enlargement 1),
which is what many programs paste with. Both make their masks. The helper gives back a changed copy of the whole photo;
ours copies what lies around the faces, which is all that the writer of a JPEG file takes. "with a copy" is ours with
the whole changed photo put together from that at the end, once, as writing to other formats needs it. "masks" are part
of ours. "at most" is what NumPy and OpenCV held beyond the photo itself, in MB; the photo has 72.

Both, and the parts of ours, are measured in turns, and the least of several turns is what is compared, since whatever
else runs only ever makes one slower. "slowest" is the most of them, and "in single turns" what the ratio was between in
each turn by itself. --check exits with 1 where pasting is less fast than docs/performance.md promises.
"""

from __future__ import annotations

import argparse
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from figures import Row, seconds_in_turns, seconds_of, show, write_json

from dmdcli.cli.build import build_finder
from dmdcli.cli.console import Kit
from dmdcli.faces.align import TEMPLATE, blend_mask, crop_face, crop_matrix, invert
from dmdcli.faces.face import Face, Landmarks
from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.kit import FaceKit
from dmdcli.photos import Canvas, Photo, read_photo
from dmdcli.pipeline.blend import blend_faces
from dmdcli.pipeline.judge import Judgement, Likeness, Plan, Subject
from dmdcli.shapes import CROP, Pixels, as_floats

LARGE = (6000, 4000)
"""Width and height of the photo with 24 megapixels."""
PROMISED = {1: 50.0, 12: 100.0}
"""Faces -> how many times as fast as the helper they are pasted into that photo, at least; crops of 512 pixels."""


def scaled(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """A picture scaled to a width and height."""
    smaller = size[0] < pixels.shape[1]
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def photo_of(pixels: Pixels) -> Photo:
    """Pixels (H, W, 3) as an upright sRGB photo that lies in no file."""
    return Photo(Path("made up"), pixels, pixels, "PNG", 1, b"", 0)


def paste(photo: Photo, faces: Sequence[Face], answers: Sequence[np.ndarray]) -> Canvas:
    """The photo with each face's answer blended in, as restoring does it."""
    subjects = [
        Subject(face, Plan(), [("generic", answer)], blend_mask(face.landmarks.points), 1.0, Likeness(None, _alike))
        for face, answer in zip(faces, answers, strict=True)
    ]
    return blend_faces(photo, subjects, [Judgement("generic", 1.0, answer) for answer in answers])


def paste_and_copy(photo: Photo, faces: Sequence[Face], answers: Sequence[np.ndarray]) -> np.ndarray:
    """The samples of the whole photo with each face's answer blended in."""
    return paste(photo, faces, answers).stored


def answer_for(face: Face) -> np.ndarray:
    """A made-up answer of the network: more contrast."""
    floats = as_floats(face.pixels)
    return np.clip(floats + 0.3 * (floats - cv2.GaussianBlur(floats, (0, 0), 4)), 0, 1)


def measure_stages(photo: Pixels, kit: FaceKit, megapixels: Sequence[float], repeats: int) -> list[Row]:
    """A row for each size of the photo."""
    rows: list[Row] = []
    for wanted in megapixels:
        factor = (wanted * 1e6 / (photo.shape[0] * photo.shape[1])) ** 0.5
        pixels = scaled(photo, (round(photo.shape[1] * factor), round(photo.shape[0] * factor)))
        faces = [face for face in FaceFinder(kit).find(pixels) if face.rejected is None]
        if not faces:
            print(f"{wanted:g} megapixels: no face was found")
            continue
        crops = np.stack([face.pixels for face in faces])
        landmarks = [face.landmarks for face in faces]
        answers = [answer_for(face) for face in faces]
        stages: dict[str, Callable[[], object]] = {
            "detect, a photo": partial(kit.detect, [pixels]),
            "landmarks": partial(kit.landmarks, crops),
            "embed": partial(kit.embed, crops, landmarks),
            "align": partial(_align, pixels, faces),
            "paste": partial(paste, photo_of(pixels), faces, answers),
        }
        row: Row = {"megapixels": float(wanted), "faces": len(faces)}
        for name, work in stages.items():
            share = 1 if "photo" in name else len(faces)
            row[f"{name}, ms"] = 1000 * seconds_of(work, repeats) / share
        rows.append(row)
    return rows


def measure_pasting(
    photo: Pixels, landmarks: Landmarks, sides: Sequence[float], counts: Sequence[int], repeats: int
) -> list[Row]:
    """A row for each side of a face's crop in photo pixels and each number of faces."""
    pixels = scaled(photo, LARGE)
    rows: list[Row] = []
    for side in sides:
        for count in counts:
            faces = [_face_at(pixels, landmarks, side, place) for place in range(count)]
            answers = [answer_for(face) for face in faces]
            source = photo_of(pixels)
            ours = partial(paste, source, faces, answers)
            theirs = partial(_paste_with_helper, pixels, faces, answers)
            copied = partial(paste_and_copy, source, faces, answers)
            turns = seconds_in_turns([theirs, ours, copied, partial(_masks, faces)], repeats)
            helper, whole, copy, masks = (1000 * min(taken) for taken in turns)
            ratios = [one / other for one, other in zip(turns[0], turns[1], strict=True)]
            rows.append({
                "faces": count, "side of a crop": side,
                "helper, ms": helper, "slowest helper, ms": 1000 * max(turns[0]),
                "ours, ms": whole, "slowest ours, ms": 1000 * max(turns[1]), "masks, ms": masks,
                "times as fast": helper / whole, "in single turns": f"{min(ratios):.0f} to {max(ratios):.0f}",
                "with a copy, ms": copy, "times as fast with a copy": helper / copy,
                "helper at most, MB": _held(theirs), "ours at most, MB": _held(ours),
            })  # fmt: skip
    return rows


def missed(pasting: Sequence[Row]) -> list[str]:
    """Which promises are not kept; one that was not measured is not."""
    found = {row["faces"]: row["times as fast"] for row in pasting if row["side of a crop"] == CROP}
    return [
        f"{count} face{'s' * (count > 1)}: {found.get(count, 0.0):.0f} times as fast, promised are {least:.0f}"
        for count, least in PROMISED.items()
        if found.get(count, 0.0) < least
    ]


def _masks(faces: Sequence[Face]) -> list[np.ndarray]:
    return [blend_mask(face.landmarks.points) for face in faces]


def _align(pixels: Pixels, faces: Sequence[Face]) -> list[Pixels]:
    return [crop_face(pixels, face.matrix) for face in faces]


def _face_at(pixels: Pixels, landmarks: Landmarks, side: float, place: int) -> Face:
    """A face in one of twelve places of the large photo, each turned a little otherwise."""
    angle = np.deg2rad(3.0 * (place - 5))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([LARGE[0] * (place % 6 + 0.5) / 6, LARGE[1] * (place // 6 + 0.5) / 2]) + 0.3
    points = (TEMPLATE - CROP / 2) * (side / CROP) @ turn.T + middle
    matrix = crop_matrix(points.astype(np.float32))
    box = (middle[0] - side / 3, middle[1] - side / 3, middle[0] + side / 3, middle[1] + side / 3)
    return Face(box, 1.0, matrix, crop_face(pixels, matrix), landmarks, np.zeros(1, np.float32))


def _paste_with_helper(pixels: Pixels, faces: Sequence[Face], answers: Sequence[np.ndarray]) -> np.ndarray:
    from facexlib.utils.face_restoration_helper import FaceRestoreHelper

    helper = FaceRestoreHelper.__new__(FaceRestoreHelper)  # its initialiser would load, and fetch, networks
    helper.upscale_factor, helper.use_parse, helper.face_size = 1, False, (CROP, CROP)
    helper.input_img = pixels
    helper.restored_faces = [np.rint(answer * 255).astype(np.uint8) for answer in answers]
    helper.inverse_affine_matrices = [invert(face.matrix).astype(np.float64) for face in faces]
    return helper.paste_faces_to_input_image()


def _held(work: Callable[[], object]) -> float:
    """The most memory, in MB, that arrays took during `work` beyond what there was before."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def _alike(embedding: np.ndarray) -> float:
    return float(embedding.size > 0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables; with --check exit with 1 where they say less than is promised."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photo", type=Path)
    parser.add_argument("--megapixels", type=lambda text: [float(one) for one in text.split(",")], default="1,4,12,24")
    parser.add_argument("--sides", type=lambda text: [float(one) for one in text.split(",")], default="512")
    parser.add_argument("--counts", type=lambda text: [int(one) for one in text.split(",")], default="1,5,12")
    parser.add_argument("--kit", type=Kit, default=Kit.EMBEDDED)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    pixels = read_photo(options.photo).pixels
    kit = build_finder(options.kit, device=options.device, say=print).kit
    stages = measure_stages(pixels, kit, options.megapixels, options.repeats)
    show("Milliseconds of each stage, of a face unless said otherwise", stages)
    largest = next((face for face in FaceFinder(kit).find(pixels) if face.rejected is None), None)
    pasting: list[Row] = []
    if largest is None:
        print("There is no usable face in this photo, so pasting was not measured. Give one that shows a face.")
    else:
        pasting = measure_pasting(pixels, largest.landmarks, options.sides, options.counts, options.repeats)
        show("Pasting into 24 megapixels, beside facexlib's helper", pasting)
    write_json(options.json, {"stages": stages, "pasting": pasting})
    if options.check and (failures := missed(pasting)):
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
