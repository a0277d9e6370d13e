"""Files beside a photo that belong to it come along to beside its result."""

from __future__ import annotations

from pathlib import Path

from dmdcli.errors import PhotoError
from dmdcli.files import write_file
from dmdcli.formats.location import doubt_about, strip_xmp
from dmdcli.photos import read_file
from dmdcli.places import side_files


def copy_side_files(photo: Path, output: Path, *, without_location: bool = False) -> tuple[str, ...]:
    """Copy what lies beside a photo (.xmp, .json) to beside its result; sentences about what was not copied.

    What is there already stays. without_location: XMP is stripped, JSON is not copied, for it has no fixed places.
    CannotGoOnError where nothing can be written.
    """
    notes: list[str] = []
    for source, target in side_files(photo, output):
        if target.exists():
            continue
        is_xmp = source.suffix.lower() == ".xmp"
        if without_location and not is_xmp:
            notes.append(f"has a side file {source.name}, which may say where it was taken; it was not copied")
            continue
        try:
            content, modified = read_file(source)
            if without_location:
                content = strip_xmp(content)
                doubt = doubt_about(content)
                notes += [] if doubt is None else [f"has a side file {source.name}, which {doubt}"]
            write_file(content, target, modified)
        except PhotoError as error:
            notes.append(f"has a side file {source.name}, which was not copied: it {error.reason}")
    return tuple(notes)
