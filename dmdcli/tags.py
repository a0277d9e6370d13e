"""Who other programs say is in a photo: face tags in its own XMP and beside it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from dmdcli.formats.face_tags import Region, read_regions, upright_area, without_repetitions
from dmdcli.formats.packet import MOST_XMP
from dmdcli.formats.picasa import Sections, faces_of, read_sections
from dmdcli.formats.picture import Unreadable
from dmdcli.marks import mark_in, of_others
from dmdcli.photos import Photo
from dmdcli.places import side_files
from dmdcli.shapes import Box

PICASA = (".picasa.ini", "Picasa.ini")


@dataclass(frozen=True)
class FaceTag:
    """A face that somebody marked. name: None where nobody is named. box: in upright photo pixels."""

    name: str | None
    box: Box


@dataclass(frozen=True)
class Tags:
    """The marked faces of a photo. notes: sentences about what could not be used, to follow the photo's name."""

    faces: tuple[FaceTag, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SideTags:
    """What lies beside a photo. regions: in the picture as stored. straight: those that hold only for photos that are
    not turned. notes: as of `Tags`.
    """

    regions: tuple[Region, ...] = ()
    straight: tuple[Region, ...] = ()
    notes: tuple[str, ...] = ()


def read_tags(photo: Photo, beside: SideTags | None = None) -> Tags:
    """The faces marked in a photo: in its side files, then in its own XMP, each face once.

    Where both name a face, the side file has the say: programs that write one leave the photo as it was. What cannot be
    read is a note, and so are tags drawn in a picture of another shape, which was cropped or turned since. What
    dmd itself wrote into a result is no tag.
    beside: from `read_side_tags`, where they were read already.
    """
    beside = read_side_tags(photo.path) if beside is None else beside
    notes = [*beside.notes]
    regions = beside.regions
    if photo.metadata.xmp:
        try:
            regions += of_others(read_regions(photo.metadata.xmp), mark_in(photo.metadata.xmp))
        except Unreadable as error:
            notes.append(f"has face tags that were not looked for: {error}")
    if photo.orientation == 1:
        regions += beside.straight
    elif beside.straight:
        notes.append("has face tags of Picasa, which are used only in photos that are stored upright")
    height, width = photo.original.shape[:2]
    seen_height, seen_width = photo.pixels.shape[:2]
    faces, strange = [], 0
    for region in without_repetitions(regions):
        area = upright_area(region, width, height, photo.orientation)
        if area is None:
            strange += 1
            continue
        x0, y0, x1, y1 = area
        faces.append(FaceTag(region.name, (x0 * seen_width, y0 * seen_height, x1 * seen_width, y1 * seen_height)))
    if strange:
        notes.append(
            "has face tags for a picture of another shape, as it was before it was cropped or turned: not used"
        )
    return Tags(tuple(faces), tuple(notes))


def read_side_tags(path: Path) -> SideTags:
    """The faces marked in the files beside a photo: photo.jpg.xmp, photo.xmp, .picasa.ini."""
    notes: list[str] = []
    regions: list[Region] = []
    straight: list[Region] = []
    for source, _ in side_files(path, Path(path.name)):
        if source.suffix.lower() == ".xmp":
            try:
                with source.open("rb") as file:
                    regions += read_regions(file.read(MOST_XMP + 1))
            except (OSError, Unreadable) as error:
                notes.append(f"has a side file {source.name} whose face tags are not used: {_reason(error)}")
    for name in PICASA:
        try:
            found, as_stored = faces_of(_sections_of(path.with_name(name)), path.name)
        except FileNotFoundError:
            continue
        except (OSError, Unreadable) as error:
            notes.append(f"has {name} beside it, whose face tags are not used: {_reason(error)}")
            continue
        straight += found if as_stored else ()
        if found and not as_stored:
            notes.append("has face tags of Picasa, which turns or crops it: not used")
    return SideTags(without_repetitions(regions), tuple(straight), tuple(notes))


def _sections_of(path: Path) -> Sections:
    """A Picasa file, which is one for all photos of a folder, read once while it stays the same."""
    status = path.stat()
    return _read_sections(path, (status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=4)
def _read_sections(path: Path, _stamp: tuple[int, int]) -> Sections:
    return read_sections(path.read_bytes())


def _reason(error: OSError | Unreadable) -> str:
    return str((error.strerror or error) if isinstance(error, OSError) else error)
