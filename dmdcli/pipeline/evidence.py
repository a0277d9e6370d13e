"""What the report shows of each photo: small pictures of its faces before, between and after, and what was measured.

Pictures are named by their content below `places.PICTURES`: made again they replace themselves, and a picture that
several faces share (a reference) is there once. Which of them are still in use, the journal's accounts say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from dmdcli.errors import DMDError
from dmdcli.faces.align import crop_face, region_of_interest
from dmdcli.faces.face import Face, component_boxes
from dmdcli.faces.identity import Match
from dmdcli.files import write_file
from dmdcli.library_files import read_crop
from dmdcli.photos import Canvas, Photo
from dmdcli.pipeline.judge import Judgement, Seen, refusal
from dmdcli.pipeline.people import DictionaryT, People
from dmdcli.shapes import FloatPixels, Pixels

FACE_SIDE = 192
"""Pixels of the picture of a face's crop."""
LONG_SIDE = 1000
"""Pixels of the longer side of the pictures of a whole photo, before and after."""
SMALL_SIDE = 144
"""Likewise of the one in the list."""
BAND = 256
"""Rows of a face's surroundings that are converted at a time."""
QUALITY = 85
"""JPEG quality of all of them."""
PICTURED = ("photo", "pictures", "reference")
"""What in an account names pictures."""


class Evidence:
    """Makes the accounts of a run's photos.

    keep: takes a picture, by its name below the folder of pictures, with "/", and its JPEG file; raises DMDError where
    it cannot be kept. None: no pictures are made.
    """

    def __init__(self, keep: Callable[[str, bytes], None] | None) -> None:
        self.keep = keep
        self._references: dict[Path, str] = {}

    def accounts(
        self,
        photo: Photo,
        canvas: Canvas | None,
        faces: Sequence[Face],
        judgements: Sequence[Judgement],
        matches: Sequence[Match | None],
        people: People[DictionaryT],
    ) -> tuple[list[dict[str, object]], str | None]:
        """An account of each face, as JSON can say it, and a sentence where pictures could not be kept.

        canvas: the photo with its restored faces, None where no face was. docs/report.md describes the accounts;
        that of the first face names the pictures of the whole photo.
        """
        accounts = [_facts(*each) for each in zip(faces, judgements, matches, strict=True)]
        if self.keep is None or not faces:
            return accounts, None
        try:
            published = photo.pixels if canvas is None else _published(photo, canvas, faces, judgements)
            accounts[0]["photo"] = self._of_photo(photo.pixels, published, restored=canvas is not None)
            for account, face, judgement, match in zip(accounts, faces, judgements, matches, strict=True):
                account["pictures"] = self._of_face(face, judgement, published)
                if match is not None and people.crops is not None:
                    row = people.gallery.nearest(face.embedding, match.person)
                    account["reference"] = self._reference(people.crops(match.person)[row])
        except DMDError as error:
            return accounts, without_pictures(error)
        return accounts, None

    def _of_photo(self, before: Pixels, after: Pixels, *, restored: bool) -> dict[str, object]:
        height, width = before.shape[:2]
        kept: dict[str, object] = {"size": [width, height], "small": self._keep(_smaller(after, SMALL_SIDE))}
        if restored:
            kept["before"], kept["after"] = (self._keep(_smaller(one, LONG_SIDE)) for one in (before, after))
        return kept

    def _of_face(self, face: Face, judgement: Judgement, after: Pixels) -> dict[str, str]:
        answers: dict[str, FloatPixels] = {seen.used: seen.answer for seen in judgement.seen}
        if judgement.answer is not None:
            answers[judgement.used] = judgement.answer
        pictures = {name: np.rint(answer * 255).clip(0, 255).astype(np.uint8) for name, answer in answers.items()}
        pictures["original"] = face.pixels
        if judgement.used != "none":
            pictures["published"] = crop_face(after, face.matrix)
        return {name: self._keep(_smaller(picture, FACE_SIDE)) for name, picture in sorted(pictures.items())}

    def _reference(self, path: Path) -> dict[str, str]:
        if path not in self._references:
            self._references[path] = self._keep(_smaller(read_crop(path), FACE_SIDE))
        return {"id": path.stem, "picture": self._references[path]}

    def _keep(self, pixels: Pixels) -> str:
        """Have a picture kept, and return its name."""
        assert self.keep is not None
        _, encoded = cv2.imencode(".jpg", pixels[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
        content = encoded.tobytes()
        digest = hashlib.sha256(content).hexdigest()
        name = f"{digest[:2]}/{digest[2:32]}.jpg"
        self.keep(name, content)
        return name


def without_pictures(error: DMDError) -> str:
    """What is told of a photo whose pictures cannot be kept."""
    return f"the report has no pictures of it: {error}"


def leave_out(account: Mapping[str, object], lost: Collection[str]) -> dict[str, object]:
    """An account without what needs a picture that was not kept, by its name, as if it had been made here."""
    return {
        key: told
        for key, told in account.items()
        if not (key in PICTURED and isinstance(told, Mapping) and not set(lost).isdisjoint(map(str, told.values())))
    }


def write_picture(folder: Path, name: str, content: bytes) -> None:
    """Keep a picture in the folder of pictures, unless it is there."""
    if not (folder / name).is_file():
        # Whatever a power cut damages of it, results and journal do not depend on it.
        write_file(content, folder / name, lasting=False)


def _facts(face: Face, judgement: Judgement, match: Match | None) -> dict[str, object]:
    """What was measured, without pictures."""
    before = None if match is None else match.similarity
    facts: dict[str, object] = {"why": list(judgement.reasons), "doubts": list(face.doubts)}
    if face.rejected is None:
        facts["components"] = component_boxes(face.landmarks.points).tolist()
    if face.confidence is not None:
        facts["confidence"] = face.confidence.record()
    if judgement.seen:
        facts["answers"] = {seen.used: {**_measured(seen), "refused": refusal(seen, before)} for seen in judgement.seen}
    if judgement.shown is not None:
        facts["published"] = _measured(judgement.shown)
    return facts


def _measured(seen: Seen) -> dict[str, float]:
    return {
        "similarity": round(seen.similarity, 4),
        "moved": round(seen.moved, 4),
        "detail": round(seen.kept, 3),
    }


def _published(photo: Photo, canvas: Canvas, faces: Sequence[Face], judgements: Sequence[Judgement]) -> Pixels:
    """The photo as it was published, (H, W, 3) uint8 sRGB, upright."""
    shown: Pixels = photo.pixels.copy()
    for face, judgement in zip(faces, judgements, strict=True):
        if judgement.used != "none":
            x0, y0, x1, y1 = region_of_interest(face.matrix, (shown.shape[1], shown.shape[0]))
            for top in range(y0, y1, BAND):
                bottom = min(top + BAND, y1)
                shown[top:bottom, x0:x1] = np.rint(canvas.region(x0, top, x1, bottom) * 255).astype(np.uint8)
    return shown


def _smaller(pixels: Pixels, side: int) -> Pixels:
    """The picture with its longer side no longer than `side`."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small: Pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return small
