"""What grows with the number of photos, of enrolled people, and of references for a person (Linux).

    python benchmarks/growth.py photos [--count 10000] [--every 500]
    python benchmarks/growth.py people [--counts 1,10,100,1000,10000] [--references 5]
    python benchmarks/growth.py references [--counts 1,2,5,10,20,50,100]
    python benchmarks/growth.py large PHOTOS... [--count 200] [-- OPTIONS OF RESTORE]

each with [--json FILE].

photos: small JPEGs with a face each through the real command, with its reader, writer, journal and report; made up are
the network, which makes faces brighter, and the kit, which sees a face in the middle of every photo. Memory of the
process after every 500 photos, and the growth of each photo after the first 500 (least squares).

people: enrolled with five references each, 400 KB as real ones have; their embeddings are random and kept already. What
starting takes until all are known, the first time and when nothing has changed since, memory that the latter adds, and
how long it takes to say who a face is.

references: of one person, crops of noise. The kept dictionary, reading it, and restoring one face with it, with `base`.

large: the real command on so many photos of 24 megapixels, made of those given, in a process of its own: most memory of
it and all its children together.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
from figures import Row, seconds_of, show, write_json
from watching import Watch, memory_of

from dmdcli.faces.align import TEMPLATE, crop_matrix
from dmdcli.faces.face import Face, Landmarks, component_boxes
from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.identity import Curve, match_faces
from dmdcli.faces.kit import Detection, Trust
from dmdcli.library import Library
from dmdcli.library_catalogue import SETTLED
from dmdcli.library_files import (
    cache_header,
    digest_of_references,
    encode_crop,
    encode_json,
    encode_points,
    read_cache,
    write_cache,
)
from dmdcli.person import Person, Reference, person_fields
from dmdcli.pipeline.people import People, recall_people
from dmdcli.shapes import CROP, FloatPixels, Pixels

SMALL = (192, 144)
"""Width and height of a small photo."""
LARGE = 24_000_000
REFERENCE_BYTES = 400_000
"""What the crop of a reference takes on disk."""
PLAIN = ("--no-judge", "--grain=model", "--tone=model", "--engravings=restore", "--already-good=restore")
"""What spares the time of a photo that is not needed to see what grows."""
WARM_UP = 500
"""Photos after which growth counts: by then everything that is loaded once is loaded."""


def face_points() -> np.ndarray:
    """(68, 2) float32: points of a face as it stands in a crop, about where those of faces are."""
    points = np.zeros((68, 2), np.float32)
    jaw = np.linspace(0, np.pi, 17)
    points[:17] = np.stack([256 - 165 * np.cos(jaw), 240 + 220 * np.sin(jaw)], axis=1)
    points[17:27] = np.stack([np.linspace(130, 380, 10), np.full(10, 195)], axis=1)
    points[27:36] = np.stack([np.full(9, TEMPLATE[2, 0]), np.linspace(240, 330, 9)], axis=1)
    points[30] = TEMPLATE[2]
    around = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    for first, eye in ((36, TEMPLATE[0]), (42, TEMPLATE[1])):
        points[first : first + 6] = eye + np.stack([22 * np.cos(around), 9 * np.sin(around)], axis=1)
    points[48:68] = np.linspace(TEMPLATE[3], TEMPLATE[4], 20)
    points[48:68, 1] += 12 * np.sin(np.linspace(0, 2 * np.pi, 20))
    points[[48, 54]] = TEMPLATE[3:]
    return points


@dataclass
class OneFaceKit:
    """Sees a face in the middle of every photo; `seen` is called with the number of photos by now."""

    seen: Callable[[int], None]
    count: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    name = "made-up"
    similarity = Curve(0.5, 20.0, source="made up", measured=True)
    settings: dict[str, object] = field(default_factory=dict)
    trust = Trust(weak=0, lost=0, turned=0)

    def detect(self, photos: Sequence[Pixels]) -> list[list[Detection]]:
        with self.lock:
            for _ in photos:
                self.count += 1
                self.seen(self.count)
        return [[self._detection(pixels.shape[1], pixels.shape[0])] for pixels in photos]

    def _detection(self, width: int, height: int) -> Detection:
        side = 0.9 * height
        left, top = (width - side) / 2, (height - side) / 2
        matrix = crop_matrix((TEMPLATE * side / CROP + (left, top)).astype(np.float32))
        box = (left + 0.2 * side, top + 0.25 * side, left + 0.8 * side, top + 0.9 * side)
        return Detection(box, 1.0, matrix, aligned=True)

    def landmarks(self, crops: Pixels) -> list[Landmarks]:
        return [Landmarks(face_points()) for _ in crops]

    def embed(self, crops: Pixels, landmarks: Sequence[Landmarks]) -> np.ndarray:
        return np.ones((len(crops), 128), np.float32)

    def outlines(self, crops: Pixels) -> None:
        return None


@dataclass(frozen=True)
class Answer:
    generic: FloatPixels
    specific: None = None

    @property
    def best(self) -> FloatPixels:
        return self.generic


class Brightener:
    """Stands where the network does."""

    weights_id, device, batch_size, gathers = "made-up", "cpu", 1, 1

    def restore(
        self, crops: Pixels, boxes: np.ndarray, dictionaries: Sequence[object], *, both: bool = True
    ) -> list[Answer]:
        return [Answer(np.clip(crop.astype(np.float32) / 255 + 0.1, 0, 1)) for crop in crops]


def in_new_process(work: Callable[..., Row | list[Row]], *arguments: object) -> list[Row]:
    """What `work` gives in a process that has done nothing else."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        found = process.submit(work, *arguments).result()
    return found if isinstance(found, list) else [found]


def measure_photos(count: int, every: int) -> list[Row]:
    """A row after every so many photos, one for the end with the report written, and one for the growth."""
    from dmdcli.cli import restore as command
    from dmdcli.cli import tools
    from dmdcli.cli.main import app

    rows: list[Row] = []

    def seen(done: int) -> None:
        if done % every == 1 and done > 1:
            rows.append({"photos": done - 1, "memory, MB": memory_of(os.getpid()), "seconds": time.monotonic() - began})

    with tempfile.TemporaryDirectory() as work:
        os.environ["DMD_HOME"] = str(Path(work, "library"))
        make_small_photos(Path(work, "photos"), count)
        finder = FaceFinder(OneFaceKit(seen))
        began = time.monotonic()
        with (
            patch.object(tools, "build_finder", lambda *_, **__: finder),
            patch.object(tools, "build_restorer", lambda *_, **__: Brightener()),
            patch.object(command, "build_memorize", lambda _: None),
            Path(os.devnull).open("w") as nowhere,  # what is printed must not be kept
            contextlib.redirect_stdout(nowhere),
            Watch() as watch,
        ):
            try:
                app(
                    ["restore", str(Path(work, "photos")), "--out", str(Path(work, "out")), "--quiet", "--json", *PLAIN]
                )
            except SystemExit as end:
                if end.code:
                    raise
        faces = sum(1 for _ in Path(work, "out").glob("*.jpg"))
    if faces != count:
        raise RuntimeError(f"{count} photos were to be written, there are {faces}")
    rows.append({"photos": f"{count}, report written", "memory, MB": memory_of(os.getpid()), "seconds": watch.seconds})
    late = [(row["photos"], row["memory, MB"]) for row in rows[:-1] if int(str(row["photos"])) >= WARM_UP]
    if len(late) > 1:
        slope = float(np.polyfit(*np.array(late, dtype=np.float64).T, 1)[0])
        rows.append({"photos": f"growth, KB a photo after {WARM_UP}", "memory, MB": 1000 * slope, "seconds": ""})
    rows.append({"photos": "the most at any time", "memory, MB": watch.peak, "seconds": ""})
    return rows


def make_small_photos(folder: Path, count: int) -> None:
    """Smooth pictures, none like another, as JPEG."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(count):
        pixels = cv2.resize(
            generator.integers(40, 200, (6, 8, 3), dtype=np.uint8), SMALL, interpolation=cv2.INTER_CUBIC
        )
        (folder / f"{number:06}.jpg").write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())


def measure_people(count: int, references: int) -> Row:
    """Start-up, memory and matching with so many enrolled people, of so many references each."""
    kit = OneFaceKit(lambda _: None)
    generator = np.random.default_rng(count)
    with tempfile.TemporaryDirectory() as work:
        enroll_made_up(Library(Path(work)), count, references, kit.name, generator)
        time.sleep(2 * SETTLED / 1e9)

        def start() -> People[object]:
            return recall_people(Library(Path(work)), FaceFinder(kit), Brightener(), lambda *_: {})

        first = seconds_of(start, 1)
        before, began, computed = memory_of(os.getpid()), time.perf_counter(), time.process_time()
        people = start()
        started, computed = time.perf_counter() - began, time.process_time() - computed
        took = memory_of(os.getpid()) - before
    face = Face(
        (0, 0, 100, 100), 1.0, np.eye(2, 3, dtype=np.float32), np.zeros((CROP, CROP, 3), np.uint8),
        Landmarks(face_points()), generator.standard_normal(128).astype(np.float32),
    )  # fmt: skip
    matching = seconds_of(lambda: match_faces([face], people.gallery), 5)
    return {
        "people": count,
        "references": count * references,
        "first start, s": first,
        "start, s": started,
        "start, processor s": computed,
        "memory, MB": took,
        "to match a face, ms": 1000 * matching,
    }


def enroll_made_up(library: Library, count: int, references: int, kit: str, generator: np.random.Generator) -> None:
    """People with their embeddings kept; all crops are links to one file, all landmarks to another."""
    people = library.home / "people"
    people.mkdir(parents=True)
    (library.home / "library.json").write_bytes(encode_json({"format": 1}))
    picture = cv2.GaussianBlur(generator.integers(0, 256, (CROP, CROP, 3), dtype=np.uint8), (0, 0), 1.5)
    crop = library.home / "crop.png"
    crop.write_bytes(encode_crop(picture)[:REFERENCE_BYTES].ljust(REFERENCE_BYTES, b"\0"))
    points = library.home / "points.txt"
    points.write_bytes(encode_points(face_points()))
    header = cache_header(
        "embeddings", kit, digest_of_references([(crop.read_bytes(), points.read_bytes())] * references)
    )
    for number in range(count):
        listed = tuple(
            Reference(secrets.token_hex(8), f"/photos/{number}.jpg", "2020-01-01T00:00:00+00:00", 1.0, "detected", "0")
            for _ in range(references)
        )
        person = Person(secrets.token_hex(8), f"Person {number}", listed)
        folder = people / person.id
        (folder / "references").mkdir(parents=True)
        for reference in listed:
            (folder / "references" / f"{reference.id}.png").hardlink_to(crop)
            (folder / "references" / f"{reference.id}.txt").hardlink_to(points)
        (folder / "person.json").write_bytes(encode_json(person_fields(person)))
        embeddings = {"embeddings": generator.standard_normal((references, 128)).astype(np.float32)}
        with patch("os.fsync"):  # thousands of files that nobody will miss
            write_cache(folder / f"embeddings-{kit}.safetensors", embeddings, header)


def measure_references(count: int) -> Row:
    """The dictionary of a person with so many references."""
    from dmdcli.model.restorer import BASE_WEIGHTS, Restorer

    restorer = Restorer.from_file(BASE_WEIGHTS, "cpu")
    generator = np.random.default_rng(count)
    crops = generator.integers(0, 256, (count, CROP, CROP, 3), dtype=np.uint8)
    boxes = np.repeat(component_boxes(face_points())[None], count, axis=0)
    began = time.perf_counter()
    arrays = restorer.memorize(crops, boxes).to_arrays()
    made = time.perf_counter() - began
    header = cache_header("dictionary", "base", "0")
    with tempfile.TemporaryDirectory() as work:
        path = Path(work, "dictionary.safetensors")
        write_cache(path, arrays, header)
        size = path.stat().st_size

        def read() -> object:
            return restorer.recall(read_cache(path, header) or {})

        reading = seconds_of(read, 5)
        dictionary = read()
    restoring = seconds_of(lambda: restorer.restore(crops[:1], boxes[:1], [dictionary], both=False), 3)
    return {
        "references": count,
        "dictionary, MB": size / 1e6,
        "to make, s": made,
        "to read, ms": 1000 * reading,
        "to restore a face, ms": 1000 * restoring,
    }


def measure_large(photos: Sequence[Path], count: int, flags: Sequence[str]) -> Row:
    """The real command on photos of 24 megapixels."""
    from dmdcli.photos import read_photo
    from dmdcli.places import find_photos

    with tempfile.TemporaryDirectory() as work:
        folder = Path(work, "photos")
        folder.mkdir()
        made: list[Path] = []
        for number, file in zip(range(min(count, 8)), find_photos(list(photos)), strict=False):
            pixels = read_photo(file.path).pixels
            scale = (LARGE / (pixels.shape[0] * pixels.shape[1])) ** 0.5
            pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
            made.append(folder / f"{number:05}.jpg")
            made[-1].write_bytes(cv2.imencode(".jpg", pixels[..., ::-1])[1].tobytes())
        for number in range(len(made), count):
            (folder / f"{number:05}.jpg").hardlink_to(made[number % len(made)])
        command = [sys.executable, "-m", "dmdcli", "restore", str(folder), "--out", str(Path(work, "out")), "--json"]
        environment = {**os.environ, "DMD_HOME": str(Path(work, "library"))}
        with subprocess.Popen([*command, *flags], stdout=subprocess.PIPE, env=environment, text=True) as program:
            assert program.stdout is not None
            with Watch(program.pid) as watch:
                told = [json.loads(line) for line in program.stdout]
    if program.returncode:
        sys.exit(f"dmd restore ended with {program.returncode}")
    return {
        "photos": len(told),
        "faces": sum(len(one["faces"]) for one in told),
        "restored": sum(face["used"] != "none" for one in told for face in one["faces"]),
        "seconds": watch.seconds,
        "peak memory, MB": watch.peak,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table asked for."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    split = given.index("--") if "--" in given else len(given)
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    what = parser.add_subparsers(dest="what", required=True)
    kinds = {name: what.add_parser(name) for name in ("photos", "people", "references", "large")}
    kinds["photos"].add_argument("--count", type=int, default=10_000)
    kinds["photos"].add_argument("--every", type=int, default=500)
    kinds["people"].add_argument("--counts", type=numbers, default="1,10,100,1000,10000")
    kinds["people"].add_argument("--references", type=int, default=5)
    kinds["references"].add_argument("--counts", type=numbers, default="1,2,5,10,20,50,100")
    kinds["large"].add_argument("photos", type=Path, nargs="+")
    kinds["large"].add_argument("--count", type=int, default=200)
    for kind in kinds.values():
        kind.add_argument("--json", type=Path)
    options = parser.parse_args(given[:split])
    rows: list[Row] = []
    if options.what == "photos":
        rows = in_new_process(measure_photos, options.count, options.every)
    elif options.what == "large":
        rows = [measure_large(options.photos, options.count, given[split + 1 :])]
    else:
        for count in options.counts:
            if options.what == "people":
                rows += in_new_process(measure_people, count, options.references)
            else:
                rows += in_new_process(measure_references, count)
    show(f"Growth: {options.what}", rows)
    write_json(options.json, {options.what: rows})


def numbers(text: str) -> list[int]:
    return [int(one) for one in text.split(",")]


if __name__ == "__main__":
    main()
