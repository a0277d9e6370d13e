"""Photos of grey squares in which a kit that needs no network finds faces, and a desk with them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath

import numpy as np
import pytest
from PIL import Image

from dmdcli.corrections import Corrections
from dmdcli.decisions import Decision, FacePoints
from dmdcli.faces.embedded import rough_matrix
from dmdcli.faces.face import Confidence
from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.identity import Gallery
from dmdcli.faces.kit import Detection
from dmdcli.page.desk import Summary
from dmdcli.page.keeping import Kept
from dmdcli.page.photo_desk import PhotoDesk
from dmdcli.page.turns import share
from dmdcli.pipeline.people import People
from dmdcli.pipeline.standing import Enrolled
from dmdcli.places import PhotoFile
from dmdcli.shapes import Box, Pixels
from tests.faces.conftest import FakeKit
from tests.pipeline.made_up import Brightener

LEFT: Box = (60.0, 50.0, 200.0, 190.0)
RIGHT: Box = (330.0, 60.0, 460.0, 190.0)
SMALL: Box = (300.0, 200.0, 322.0, 222.0)
FREE: Box = (330.0, 60.0, 470.0, 200.0)
SIZE = (560, 300)


@pytest.fixture(autouse=True)
def told_confidence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faces in dark photos are sure, those in bright ones are not; all the altered crops would take a while."""

    def confidences(_kit: object, crops: Pixels, _landmarks: object) -> list[Confidence]:
        return [Confidence(one, (one,) * 3) for one in (0.97 if crop.mean() < 130 else 0.5 for crop in crops)]

    for place in ("faces.finder", "page.reference_desk"):
        monkeypatch.setattr(f"dmdcli.{place}.confidences", confidences)


class AlbumKit(FakeKit):
    """Finds the faces that it was told of for each grey of a photo's first pixel."""

    settings: Mapping[str, object] = {}

    def __init__(self, faces: dict[int, Sequence[Box]]) -> None:
        super().__init__([])
        self.faces = faces

    def detect(self, photos: Sequence[Pixels]) -> list[list[Detection]]:
        boxes = [self.faces.get(int(pixels[0, 0, 0]), ()) for pixels in photos]
        return [[Detection(box, 1.0, rough_matrix(box)) for box in those] for those in boxes]


def add_photo(folder: Path, name: str, grey: int) -> PhotoFile:
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.full((SIZE[1], SIZE[0], 3), grey, np.uint8)
    pixels[:, :, 1] += (np.arange(SIZE[0]) // 16 % 2 * 8).astype(np.uint8)
    pixels[:, SIZE[0] // 2 :] += 20
    Image.fromarray(pixels).save(folder / name)
    return PhotoFile(folder / name, PurePath(name))


def people_of(**greys: float) -> People[float]:
    """People whose faces are as bright as said, restored brighter by a fifth."""
    kit = FakeKit([])
    references = {name: np.array([[grey, 1.0]], np.float32) for name, grey in greys.items()}
    enrolled = {name: Enrolled(f"{name}'s id", "1", 1) for name in greys}
    return People(Gallery(references, kit.similarity), lambda _: 0.2, enrolled)


class OneByOne(Brightener):
    """As the network, which is not asked for what is not shown."""

    def restore(self, crops, boxes, dictionaries, *, both=True):
        assert not both
        return super().restore(crops, boxes, dictionaries, both=True)


@contextmanager
def desk_of(
    files: Sequence[PhotoFile],
    kit: AlbumKit,
    home: Path,
    people: People[float] | None = None,
    failures: Sequence[str] = (),
) -> Iterator[PhotoDesk[float]]:
    """A desk that has searched all its photos."""
    finders = share(FaceFinder(kit))
    kept = Kept(Corrections(home))
    desk = PhotoDesk(files, finders, OneByOne(), people or people_of(), kept, "Faces in album", failures)
    desk.start()
    desk.wait()
    try:
        yield desk
    finally:
        desk.close()


def faces_of(desk: PhotoDesk[float]) -> dict[tuple[str, int], Summary]:
    return {(one.photo, one.number): one for one in desk.summaries(0)[1]}


def shifted(points: FacePoints, right: float, down: float = 0.0, only: range = range(68)) -> FacePoints:
    return tuple(
        (round(x + right, 2), round(y + down, 2)) if number in only else (x, y) for number, (x, y) in enumerate(points)
    )


def eventually(is_so: Callable[[], bool], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def shifted_box(box: Box, right: float) -> Box:
    return box[0] + right, box[1], box[2] + right, box[3]


def kept_of(home: Path, file: PhotoFile) -> tuple[Decision, ...]:
    return Corrections(home).faces(hashlib.sha256(file.path.read_bytes()).hexdigest())
