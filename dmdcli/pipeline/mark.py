"""The mark of a restored photo, made of what became of its faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dmdcli import __version__
from dmdcli.marks import Mark, MarkedFace, mark_in, put_mark, stored_box
from dmdcli.photos import Photo, room_for_xmp
from dmdcli.pipeline.blend import RestoreOptions
from dmdcli.pipeline.standing import Circumstances
from dmdcli.shapes import SAME_FACE, Box, overlap
from dmdcli.weights import FILES

if TYPE_CHECKING:
    from dmdcli.pipeline.outcome import RestoredFace

OTHER = "other"
"""The model's name where its weights are none of ours: a path may say more than its owner wants to."""
SAME_SHAPE = 0.02
"""Difference of width over height up to which a picture was at most scaled since it was marked."""


def earlier_mark(photo: Photo) -> Mark | None:
    """The mark that a photo came with, its boxes in the picture as it is stored today.

    Without faces where nobody knows which they are: there was no room for them, or the picture was cropped or turned.
    """
    mark = mark_in(photo.metadata.xmp)
    if mark is None:
        return None
    height, width = photo.original.shape[:2]
    before = mark.size[0] * height
    if abs(mark.size[1] * width - before) > SAME_SHAPE * before:
        return replace(mark, faces=())
    across, down = width / mark.size[0], height / mark.size[1]
    scaled = [
        replace(face, box=(x0 * across, y0 * down, x1 * across, y1 * down))
        for face in mark.faces
        for x0, y0, x1, y1 in (face.box,)
    ]
    return replace(mark, size=(width, height), faces=tuple(scaled))


def is_marked(box: Box, orientation: int, mark: Mark | None) -> bool:
    """Whether a face, in upright pixels, is one that was restored before; any may be where the mark names none.

    orientation: of the photo, as in EXIF. mark: as `earlier_mark` gives it.
    """
    if mark is None or not mark.faces:
        return mark is not None
    stored = stored_box(box, orientation, mark.size)
    return any(overlap(stored, face.box) >= SAME_FACE for face in mark.faces)


def marked_packet(
    photo: Photo, faces: Sequence[RestoredFace], circumstances: Circumstances, options: RestoreOptions
) -> tuple[bytes | None, tuple[str, ...]]:
    """The photo's XMP with a mark of the faces that were restored, and sentences about what could not be done.

    Faces that an earlier mark tells of, and that were left alone now, stay in it. None where it is to be written as it
    is: no mark is wanted, or there is no place for one.
    """
    if not options.mark:
        return None, ()
    height, width = photo.original.shape[:2]
    restored = [face for face in faces if face.used != "none"]
    marked = [
        MarkedFace(
            box=stored_box(face.box, photo.orientation, (width, height)),
            used=face.used,
            strength=face.strength,
            before=face.similarity,
            after=face.similarity_after,
            reason=face.reason,
            person=face.person if options.write_names else None,
        )
        for face in restored
    ]
    earlier = earlier_mark(photo)
    kept = [
        replace(face, person=face.person if options.write_names else None)
        for face in (() if earlier is None else earlier.faces)
        if all(overlap(face.box, one.box) < SAME_FACE for one in marked)
    ]
    weights = circumstances.weights
    mark = Mark(
        version=__version__,
        model=next((file.name for file in FILES if weights and file.sha256.startswith(weights)), OTHER),
        weights=weights,
        kit=circumstances.kit,
        size=(width, height),
        count=len(marked) + len(kept),
        faces=(*marked, *kept),
    )
    return put_mark(photo.metadata.xmp, mark, room_for_xmp(photo, options.ext), photo.orientation)
