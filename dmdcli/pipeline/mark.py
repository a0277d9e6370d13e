"""The mark of a restored photo, made of what became of its faces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dmdcli import __version__
from dmdcli.marks import Mark, MarkedFace, put_mark, stored_box
from dmdcli.photos import Photo, room_for_xmp
from dmdcli.pipeline.blend import RestoreOptions
from dmdcli.pipeline.standing import Circumstances
from dmdcli.weights import FILES

if TYPE_CHECKING:
    from dmdcli.pipeline.outcome import RestoredFace

OTHER = "other"
"""The model's name where its weights are none of ours: a path may say more than its owner wants to."""


def marked_packet(
    photo: Photo, faces: Sequence[RestoredFace], circumstances: Circumstances, options: RestoreOptions
) -> tuple[bytes | None, tuple[str, ...]]:
    """The photo's XMP with a mark of the faces that were restored, and sentences about what could not be done.

    None where it is to be written as it is: no mark is wanted, or there is no place for one.
    """
    if not options.mark:
        return None, ()
    height, width = photo.original.shape[:2]
    restored = [face for face in faces if face.used != "none"]
    weights = circumstances.weights
    mark = Mark(
        version=__version__,
        model=next((file.name for file in FILES if weights and file.sha256.startswith(weights)), OTHER),
        weights=weights,
        kit=circumstances.kit,
        size=(width, height),
        count=len(restored),
        faces=tuple(
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
        ),
    )
    return put_mark(photo.metadata.xmp, mark, room_for_xmp(photo, options.ext), photo.orientation)
