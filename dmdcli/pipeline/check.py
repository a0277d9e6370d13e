"""Show what the network would be given of each face in photos, and how far it can be trusted; nothing is restored."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from dmdcli.corrections import Corrections
from dmdcli.errors import PhotoError
from dmdcli.faces.align import invert, transform
from dmdcli.faces.draw import contact_sheet, draw_face
from dmdcli.faces.face import Face, VerdictName, component_boxes, verdict
from dmdcli.faces.finder import FaceFinder
from dmdcli.files import write_file
from dmdcli.photos import PhotoFile, read_photo
from dmdcli.pipeline.by_hand import corrections_of, find_faces
from dmdcli.pipeline.one_photo import only_this_photo
from dmdcli.places import output_path
from dmdcli.shapes import CROP, Box, ComponentBoxes, Pixels, Points

SHEET_FACES = 60
"""Faces on one contact sheet: ten rows of six."""
SHEET_CELL = 320
"""Side in pixels to which overlays are reduced while they wait for their sheet."""


@dataclass(frozen=True)
class CheckedFace:
    """What is known of one face.

    box: in photo pixels. landmarks: (68, 2) float32 in photo pixels. components: (3, 4) int64 in crop pixels.
    reasons: why the verdict is not "good". overlay: the picture written for it, or None.
    """

    box: Box
    landmarks: Points = field(repr=False)
    components: ComponentBoxes = field(repr=False)
    verdict: VerdictName
    reasons: tuple[str, ...]
    overlay: Path | None = None


@dataclass(frozen=True)
class CheckedPhoto:
    """What is known of one photo. error: why it could not be read, or None. faces: the largest first."""

    photo: Path
    faces: tuple[CheckedFace, ...] = ()
    error: str | None = None

    @property
    def is_sure(self) -> bool:
        """Whether the photo was read, has a face, and all its faces are good."""
        return self.error is None and bool(self.faces) and all(face.verdict == "good" for face in self.faces)


def check(
    files: Sequence[PhotoFile], finder: FaceFinder, out: Path | None = None, corrections: Corrections | None = None
) -> Iterator[CheckedPhoto]:
    """Look at the faces of `files`, one photo after the other, and write pictures of them into `out` if it is given.

    Each face's picture goes where the photo would (tree mirrored), as NAME.face1.png, the largest face first; when all
    photos are seen, contact sheets contact-sheet-1.png ... show them together. Pictures of an earlier check are written
    anew. corrections: what was put right by hand. A photo that cannot be read, or whose pictures cannot be written, is
    reported in `error` and the rest goes on.
    Raises CannotGoOnError if nothing can be written, PhotoWriteError if a contact sheet cannot.
    """
    sheet = _Sheet(out) if out is not None else None
    for file in files:
        try:
            with only_this_photo(file.path):
                photo = read_photo(file.path)
                said = corrections_of(file.path, hashlib.sha256(photo.source).hexdigest(), corrections)
                faces = find_faces(finder, photo.pixels, said)
                checked = tuple(
                    _check_face(face, number, file, out, sheet) for number, face in enumerate(faces, start=1)
                )
        except PhotoError as error:
            yield CheckedPhoto(file.path, error=error.reason)
            continue
        yield CheckedPhoto(file.path, checked)
    if sheet is not None:
        sheet.finish()


class _Sheet:
    """Overlays on their way to contact sheets in a folder; at most one sheet's worth is in memory."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._count = 0
        self._pictures: list[Pixels] = []
        self._labels: list[str] = []
        self._verdicts: list[VerdictName] = []

    def add(self, picture: Pixels, label: str, verdict: VerdictName) -> None:
        small = Image.fromarray(picture)
        small.thumbnail((SHEET_CELL, SHEET_CELL), Image.Resampling.BOX)
        self._pictures.append(_pixels(small))
        self._labels.append(label)
        self._verdicts.append(verdict)
        if len(self._pictures) == SHEET_FACES:
            self.finish()

    def finish(self) -> None:
        if self._pictures:
            self._count += 1
            sheet = contact_sheet(self._pictures, self._labels, self._verdicts)
            _write_png(sheet, self._out / f"contact-sheet-{self._count}.png")
            self._pictures, self._labels, self._verdicts = [], [], []


def _check_face(face: Face, number: int, file: PhotoFile, out: Path | None, sheet: _Sheet | None) -> CheckedFace:
    """What is known of the face, its picture written into `out` and added to `sheet` where they are given."""
    name, reasons = verdict(face)
    points = face.landmarks.points
    boxes = component_boxes(points)
    overlay = None
    if out is not None and sheet is not None:
        picture = draw_face(face.pixels, points, boxes, name, reasons)
        place = output_path(file, out)
        overlay = place.with_name(f"{place.name}.face{number}.png")
        _write_png(picture, overlay)
        sheet.add(picture[-CROP:], f"{file.relative.as_posix()} {number}", name)
    return CheckedFace(face.box, transform(points, invert(face.matrix)), boxes, name, reasons, overlay)


def _pixels(picture: Image.Image) -> Pixels:
    return np.asarray(picture.convert("RGB"), dtype=np.uint8)


def _write_png(pixels: Pixels, path: Path) -> None:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    write_file(content.getvalue(), path)
