"""Restore every face of every photo, each enrolled person from their own dictionary, and leave the rest as it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from dmdcli.errors import PhotoError
from dmdcli.faces.align import blend_mask, carry_mask, outlined_mask, paste_face, region_of_interest
from dmdcli.faces.face import Face, component_boxes
from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.identity import THRESHOLD, Gallery, Match, match_faces
from dmdcli.faces.surface import is_engraved, keep_grain, keep_tone
from dmdcli.formats.picture import Samples
from dmdcli.library import Library, Memorize
from dmdcli.library_files import Arrays
from dmdcli.photos import (
    Canvas,
    Photo,
    copy_photo,
    copy_side_files,
    is_converted,
    location_doubt,
    read_photo,
    write_photo,
)
from dmdcli.pipeline.one_photo import only_this_photo
from dmdcli.places import PhotoFile
from dmdcli.shapes import Box, ComponentBoxes, FloatPixels, Matrix, Pixels

Status: TypeAlias = Literal["restored", "untouched", "skipped", "failed"]
Surface: TypeAlias = Literal["keep", "model"]
Used: TypeAlias = Literal["specific", "generic", "none"]

DictionaryT = TypeVar("DictionaryT")


class Restored(Protocol):
    """A restored crop; `best` is (512, 512, 3) float32 RGB in [0, 1]."""

    @property
    def best(self) -> FloatPixels:
        """The specific result where there is one, else the generic one."""


class CropRestorer(Protocol[DictionaryT]):
    """The network, as `model.restorer.Restorer`; what a dictionary is, is its own affair."""

    @property
    def weights_id(self) -> str:
        """Names the weights in caches."""

    def restore(
        self, crops: Pixels, boxes: ComponentBoxes, dictionaries: Sequence[DictionaryT | None], *, both: bool = True
    ) -> Sequence[Restored]:
        """Restore N crops (N, 512, 512, 3) with boxes (N, 3, 4)."""

    def recall(self, arrays: Arrays) -> DictionaryT:
        """Make a dictionary of the arrays the library keeps."""


@dataclass(frozen=True)
class RestoreOptions:
    """What the user asked for.

    strength: 0..1, how much of the change is taken. tone: "keep" leaves a print in one tone in it, "model" takes the
    network's colours. grain: "keep" gives restored faces the print's grain, "model" leaves them smooth. engravings:
    whether faces made of lines or dots are left alone. threshold:
    similarity from which a face is a person's. only: the people to look for, None for all; one name forces the match in
    a photo with a single face. ext, quality: of what is written, see `photos.write_photo`. only_restored: photos in
    which nothing was restored are not copied. overwrite: write again what is there. dry_run: read and recognise, but
    restore and write nothing. without_location: GPS is taken out of what is written.
    """

    strength: float = 1.0
    tone: Surface = "keep"
    grain: Surface = "keep"
    engravings: Literal["leave", "restore"] = "leave"
    threshold: float = THRESHOLD
    only: tuple[str, ...] | None = None
    ext: str = "auto"
    quality: int | None = None
    only_restored: bool = False
    overwrite: bool = False
    dry_run: bool = False
    without_location: bool = False


@dataclass(frozen=True)
class RestoredFace:
    """One face of a photo.

    box: in photo pixels. matrix: (2, 3) photo -> crop. person: who it was recognised as, with the similarity in [0, 1].
    used: the dictionary it was restored from, or "none". problems: what made it unsure, or why it was left alone.
    forced: the person was named by the user, not recognised.
    """

    box: Box
    matrix: Matrix = field(repr=False)
    person: str | None
    similarity: float | None
    used: Used
    problems: tuple[str, ...] = ()
    forced: bool = False


@dataclass(frozen=True)
class RestoredPhoto:
    """What became of one photo; output is None where nothing was (or would be) written. notes: worth telling."""

    photo: Path
    output: Path | None
    status: Status
    seconds: float
    faces: tuple[RestoredFace, ...] = ()
    error: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class People(Generic[DictionaryT]):
    """The enrolled people as restoring needs them: whom a face resembles, and each one's dictionary."""

    gallery: Gallery
    dictionary: Callable[[str], DictionaryT] = field(repr=False)


def recall_people(
    library: Library,
    finder: FaceFinder,
    restorer: CropRestorer[DictionaryT],
    memorize: Memorize,
    only: Sequence[str] | None = None,
) -> People[DictionaryT]:
    """Bring the enrolled people to mind; their dictionaries are read, or made anew, when a photo first needs them.

    memorize: makes the arrays that the library keeps of a dictionary. only: names to consider, None for everybody;
    UnknownPersonError for a name nobody has.
    """
    chosen = library.people() if only is None else [library.person(name) for name in only]
    by_name = {person.name: person for person in chosen}
    references = {name: library.embeddings(one, finder.kit_name, finder.embed) for name, one in by_name.items()}
    recalled: dict[str, DictionaryT] = {}

    def dictionary(name: str) -> DictionaryT:
        if name not in recalled:
            recalled[name] = restorer.recall(library.dictionary(by_name[name], restorer.weights_id, memorize))
        return recalled[name]

    return People(Gallery(references, finder.kit.similarity), dictionary)


def restore(
    files: Sequence[PhotoFile],
    outputs: Sequence[Path],
    finder: FaceFinder,
    restorer: CropRestorer[DictionaryT],
    people: People[DictionaryT],
    options: RestoreOptions,
) -> Iterator[RestoredPhoto]:
    """Restore one photo after the other and yield what became of each.

    outputs: where each photo's result goes, from `places.plan_outputs`. A photo in which no face is restored is copied
    byte for byte. A photo that fails is reported and the rest goes on; what is written appears whole or not at all.
    Raises CannotGoOnError where nothing can be written any more, and the errors of library and device.
    """
    for file, output in zip(files, outputs, strict=True):
        began = time.monotonic()
        if output.exists() and not options.overwrite:
            yield RestoredPhoto(file.path, output, "skipped", 0.0)
            continue
        try:
            with only_this_photo(file.path):
                result = _restore_photo(file.path, output, finder, restorer, people, options)
        except PhotoError as error:
            result = RestoredPhoto(file.path, None, "failed", 0.0, error=error.reason)
        yield replace(result, seconds=time.monotonic() - began)


def _restore_photo(
    path: Path,
    output: Path,
    finder: FaceFinder,
    restorer: CropRestorer[DictionaryT],
    people: People[DictionaryT],
    options: RestoreOptions,
) -> RestoredPhoto:
    photo = read_photo(path)
    faces = finder.find(photo.pixels)
    faces = [leave_engraving(face) for face in faces] if options.engravings == "leave" else faces
    usable = [index for index, face in enumerate(faces) if face.rejected is None and options.strength > 0]
    matches, forced = _who(faces, people.gallery, options)
    reported = tuple(
        _report(face, matches[index] if index in usable else None, index in usable, forced)
        for index, face in enumerate(faces)
    )
    status: Status = "restored" if usable else "untouched"
    written = output if usable or not options.only_restored else None
    notes = photo.notes
    if not options.dry_run:
        if usable:
            chosen, names = [faces[index] for index in usable], [matches[index] for index in usable]
            canvas = _restore_faces(photo, chosen, names, finder, restorer, people, options)
            _write(photo, canvas.stored, output, options)
        elif written is not None:
            _keep(photo, output, options)
        if written is not None:
            doubt = location_doubt(photo) if options.without_location else None
            notes += () if doubt is None else (doubt,)
            notes += copy_side_files(path, output, without_location=options.without_location)
    return RestoredPhoto(path, written, status, 0.0, reported, notes=notes)


def _who(faces: Sequence[Face], gallery: Gallery, options: RestoreOptions) -> tuple[list[Match | None], bool]:
    """Say who each face is, and whether that was forced: one person named, one usable face, and no match by itself."""
    matches = match_faces(faces, gallery, options.threshold, only=options.only)
    usable = [index for index, face in enumerate(faces) if face.rejected is None]
    if options.only is None or len(options.only) != 1 or len(usable) != 1 or matches[usable[0]] is not None:
        return matches, False
    matches[usable[0]] = gallery.rank(faces[usable[0]].embedding, options.only)[0]
    return matches, True


def _report(face: Face, match: Match | None, used: bool, forced: bool) -> RestoredFace:
    problems = face.doubts if face.rejected is None else (face.rejected, *face.doubts)
    if forced and match is not None:
        problems = (f"forced: it resembles {match.person} by {match.similarity:.2f} only", *problems)
    return RestoredFace(
        box=face.box,
        matrix=face.matrix,
        person=None if match is None else match.person,
        similarity=None if match is None else match.similarity,
        used="none" if not used else "generic" if match is None else "specific",
        problems=problems,
        forced=forced and match is not None,
    )


def _restore_faces(
    photo: Photo,
    faces: Sequence[Face],
    matches: Sequence[Match | None],
    finder: FaceFinder,
    restorer: CropRestorer[DictionaryT],
    people: People[DictionaryT],
    options: RestoreOptions,
) -> Canvas:
    """Return the photo with all `faces` restored and blended in.

    Only the change the network made goes back into the photo, so its own finer detail and depth stay. Where two
    faces overlap, the first has the say. Where the kit knows the face's outline, hair and hands stay as they were; it
    is seen in the restored face, which is the clearer picture.
    """
    restored = restorer.restore(
        np.stack([face.pixels for face in faces]),
        np.stack([component_boxes(face.landmarks.points) for face in faces]),
        [None if match is None else people.dictionary(match.person) for match in matches],
        both=False,
    )
    best = [result.best for result in restored]
    outlines = finder.kit.outlines(np.stack([np.rint(crop * 255).astype(np.uint8) for crop in best]))
    canvas = photo.canvas()
    size = (photo.pixels.shape[1], photo.pixels.shape[0])
    pasted: list[tuple[Matrix, npt.NDArray[np.float32]]] = []
    for index, face in enumerate(faces):
        mask = outlined_mask(blend_mask(face.landmarks.points), None if outlines is None else outlines[index])
        for matrix, before in pasted:
            mask = mask * (1 - carry_mask(before, matrix, face.matrix))
        x0, y0, x1, y1 = region_of_interest(face.matrix, size)
        given = as_floats(face.pixels)
        region = canvas.region(x0, y0, x1, y1)
        changed = keep_tone(best[index], given) if options.tone == "keep" else best[index]
        if options.grain == "keep":
            changed = keep_grain(changed, given, mask)
        canvas.put(x0, y0, paste_face(region, (x0, y0), changed, face.matrix, mask, options.strength, given))
        pasted.append((face.matrix, mask))
    return canvas


def leave_engraving(face: Face) -> Face:
    """Return the face, refused where it is made of lines or dots."""
    if face.rejected is None and is_engraved(as_floats(face.pixels), blend_mask(face.landmarks.points)):
        return replace(face, rejected="it is made of lines or dots, as engravings and coarse prints are")
    return face


def as_floats(pixels: Pixels) -> FloatPixels:
    """Return uint8 pixels as float32 in [0, 1]."""
    floats: FloatPixels = pixels.astype(np.float32) / np.float32(255)
    return floats


def _keep(photo: Photo, output: Path, options: RestoreOptions) -> None:
    """Put a photo without restored faces to the output: its very bytes, unless another format is wanted."""
    if is_converted(photo, options.ext):
        _write(photo, photo.original, output, options)
    else:
        copy_photo(photo.path, output, without_location=options.without_location)


def _write(photo: Photo, stored: Samples, output: Path, options: RestoreOptions) -> None:
    write_photo(
        photo,
        stored,
        output,
        quality=options.quality,
        ext=options.ext,
        without_location=options.without_location,
    )
