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
from dmdcli.faces.face import Confidence, Face, VerdictName, component_boxes, verdict
from dmdcli.faces.finder import FaceFinder
from dmdcli.files import write_file
from dmdcli.photos import PhotoFile, read_photo
from dmdcli.pipeline.by_hand import NOT_A_FACE, corrections_of, find_faces, no_face_in
from dmdcli.pipeline.one_photo import only_this_photo
from dmdcli.places import output_path
from dmdcli.shapes import CROP, Box, ComponentBoxes, Pixels, Points

SHEET_FACES = 60
"""Faces on one contact sheet: ten rows of six."""
WORST_FIRST: tuple[VerdictName, ...] = ("unusable", "doubtful", "good")
"""The order of verdicts on contact sheets."""


@dataclass(frozen=True)
class CheckedFace:
    """What is known of one face.

    box: in photo pixels. landmarks: (68, 2) float32 in photo pixels. components: (3, 4) int64 in crop pixels.
    reasons: why the verdict is not "good". confidence: in the landmarks, or None. overlay: the picture written for it,
    or None.
    """

    box: Box
    landmarks: Points = field(repr=False)
    components: ComponentBoxes = field(repr=False)
    verdict: VerdictName
    reasons: tuple[str, ...]
    confidence: Confidence | None = None
    overlay: Path | None = None

    @property
    def is_none(self) -> bool:
        """Whether somebody decided that it is no face, so that nothing is doubtful about it."""
        return NOT_A_FACE in self.reasons


@dataclass(frozen=True)
class CheckedPhoto:
    """What is known of one photo. error: why it could not be read, or None. faces: the largest first.

    has_none: no face was found, and somebody said that there is none.
    """

    photo: Path
    faces: tuple[CheckedFace, ...] = ()
    error: str | None = None
    has_none: bool = False

    @property
    def is_sure(self) -> bool:
        """Whether the photo was read, and its faces are all good, but those that are none as decided.

        A photo without a face is sure where somebody said so.
        """
        faces = [face for face in self.faces if not face.is_none]
        is_searched = self.error is None and (bool(self.faces) or self.has_none)
        return is_searched and all(face.verdict == "good" for face in faces)


def check(
    files: Sequence[PhotoFile], finder: FaceFinder, out: Path | None = None, corrections: Corrections | None = None
) -> Iterator[CheckedPhoto]:
    """Look at the faces of `files`, one photo after the other, and write pictures of them into `out` if it is given.

    Each face's picture goes where the photo would (tree mirrored), as NAME.face1.png, the largest face first; when all
    photos are seen, contact sheets contact-sheet-1.png ... show them together, the worst first. Pictures of an earlier
    check are written anew. corrections: what was put right by hand. A photo that cannot be read, or whose pictures
    cannot be written, is reported in `error` and the rest goes on.
    Raises CannotGoOnError if nothing can be written, PhotoWriteError if a contact sheet cannot.
    """
    drawn: list[_Drawn] = []
    for file in files:
        try:
            with only_this_photo(file.path):
                photo = read_photo(file.path)
                said = corrections_of(file.path, hashlib.sha256(photo.source).hexdigest(), corrections)
                faces = find_faces(finder, photo.pixels, said)
                checked = tuple(
                    _check_face(face, number, file, out, drawn) for number, face in enumerate(faces, start=1)
                )
        except PhotoError as error:
            yield CheckedPhoto(file.path, error=error.reason)
            continue
        size = (photo.pixels.shape[1], photo.pixels.shape[0])
        yield CheckedPhoto(file.path, checked, has_none=not checked and no_face_in(size) in said)
    if out is not None:
        _write_sheets(drawn, out)


@dataclass(frozen=True)
class _Drawn:
    """A picture of a face on its way to a contact sheet."""

    overlay: Path
    label: str
    verdict: VerdictName
    confidence: float

    @property
    def place(self) -> tuple[int, float]:
        """Orders faces, the worst first."""
        return WORST_FIRST.index(self.verdict), self.confidence


def _write_sheets(drawn: Sequence[_Drawn], out: Path) -> None:
    """Write contact sheets, with one sheet's pictures in memory at a time."""
    ordered = sorted(drawn, key=lambda one: one.place)
    for number, first in enumerate(range(0, len(ordered), SHEET_FACES), start=1):
        chosen = ordered[first : first + SHEET_FACES]
        pictures = [_read_crop(one.overlay) for one in chosen]
        sheet = contact_sheet(pictures, [one.label for one in chosen], [one.verdict for one in chosen])
        _write_png(sheet, out / f"contact-sheet-{number}.png")


def _check_face(face: Face, number: int, file: PhotoFile, out: Path | None, drawn: list[_Drawn]) -> CheckedFace:
    """What is known of the face, its picture written into `out` and added to `drawn` where it is given."""
    name, reasons = verdict(face)
    points, sure = face.landmarks.points, face.confidence
    boxes = component_boxes(points)
    overlay = None
    if out is not None:
        picture = draw_face(face.pixels, points, boxes, name, reasons, sure)
        place = output_path(file, out)
        overlay = place.with_name(f"{place.name}.face{number}.png")
        _write_png(picture, overlay)
        prefix = "" if sure is None else f"{sure.text}, "
        label = f"{prefix}{file.relative.as_posix()} {number}"
        if NOT_A_FACE not in reasons:
            drawn.append(_Drawn(overlay, label, name, 0.0 if sure is None else sure.face))
    return CheckedFace(face.box, transform(points, invert(face.matrix)), boxes, name, reasons, sure, overlay)


def _read_crop(overlay: Path) -> Pixels:
    """The crop of an overlay, without the strips above it."""
    with Image.open(overlay) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.uint8)[-CROP:]


def _write_png(pixels: Pixels, path: Path) -> None:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    write_file(content.getvalue(), path)
