"""Photos: found, read, changed in places, and written so that everything else in the file stays as it was.

What is shown and changed is sRGB; what is stored stays in the photo's own colour space, see colour.py. No torch here,
and nothing about faces.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType

import numpy as np

from dmdcli.canvas import Canvas, colours_in, stored_box, upright
from dmdcli.colour import AsStored, Colours, colours_of
from dmdcli.errors import PhotoReadError, PhotoWriteError, ShapeError
from dmdcli.files import write_file
from dmdcli.formats import bmp, heif, jpeg, jpeg2000, png, tiff, webp
from dmdcli.formats.changed import Changed
from dmdcli.formats.location import doubt_about, strip_xmp
from dmdcli.formats.picture import Metadata, Samples, Unreadable, Unwritable, eight_bit, mode_of
from dmdcli.formats.thumbnails import renew_exif, shown
from dmdcli.places import (
    ENDINGS,
    EXTENSIONS,
    FoundPhotos,
    PhotoFile,
    check_extension,
    find_photos,
    output_path,
)
from dmdcli.shapes import FloatPixels, Pixels

__all__ = [
    "ENDINGS",
    "EXTENSIONS",
    "Canvas",
    "FoundPhotos",
    "Photo",
    "PhotoFile",
    "decode_photo",
    "encode_photo",
    "find_photos",
    "is_converted",
    "location_doubt",
    "output_path",
    "read_file",
    "read_metadata",
    "read_photo",
    "room_for_xmp",
    "upright",
    "without_place",
    "write_photo",
]

MODULES: dict[str, ModuleType] = {
    "JPEG": jpeg, "PNG": png, "TIFF": tiff, "WEBP": webp, "BMP": bmp, "JPEG2000": jpeg2000, "AVIF": heif, "HEIC": heif,
}  # fmt: skip
FORMATS = {
    "jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "tif": "TIFF", "tiff": "TIFF", "webp": "WEBP", "bmp": "BMP",
    "jp2": "JPEG2000", "avif": "AVIF",
}  # fmt: skip
"""Extension as in EXTENSIONS -> format."""

COLOUR_CHANNELS = {"L": 1, "LA": 1, "RGB": 3, "RGBA": 3, "CMYK": 4}
"""Mode -> channels that are not transparency."""

MOST_XMP = 1 << 26
"""Bytes; far more than any photo has."""
NO_PICTURE = "is no picture in JPEG, PNG, TIFF, WebP, BMP, JPEG 2000, AVIF or HEIC"


@dataclass(frozen=True, eq=False)
class Photo:
    """One photo in memory.

    original: (H, W[, C]) uint8 or uint16 as stored: mode, depth and orientation of the file, so width and height may
    be swapped against `pixels`. Palette and 1-bit photos stand here as grey or RGB.
    pixels: (H, W, 3) uint8 sRGB, upright, for finding and cropping: 16 bits scaled and rounded, transparency ignored.
    orientation: EXIF, 1..8. format: a key of MODULES, by content, whatever the ending says.
    source: the bytes of the file. modified: its time, in nanoseconds. notes: sentences that the user should see.
    metadata: EXIF, XMP, ICC, Photoshop blocks (with IPTC) and density; empty where they cannot be read.
    inks: four channels are CMYK. colours: the photo's colour space.
    """

    path: Path
    original: Samples = field(repr=False)
    pixels: Pixels = field(repr=False)
    format: str
    orientation: int
    source: bytes = field(repr=False)
    modified: int
    notes: tuple[str, ...] = ()
    metadata: Metadata = field(default=Metadata(), repr=False)
    inks: bool = False
    colours: Colours = field(default=AsStored(), repr=False)

    @property
    def mode(self) -> str:
        """'L', 'LA', 'RGB', 'RGBA' or 'CMYK'."""
        return mode_of(self.original, self.inks)

    @property
    def depth(self) -> int:
        """Bits per channel: 8 or 16."""
        return 8 * self.original.dtype.itemsize

    @property
    def alpha(self) -> Samples | None:
        """(H, W) as stored, upright; None for an opaque photo."""
        return upright(self.original[..., -1], self.orientation) if self.mode in ("LA", "RGBA") else None

    def region(self, x0: int, y0: int, x1: int, y1: int) -> FloatPixels:
        """(y1 - y0, x1 - x0, 3) float32 sRGB in [0, 1] at full depth; end excluded, upright photo pixels, inside it."""
        left, top, right, bottom = stored_box(self.original, self.orientation, (x0, y0, x1, y1))
        part = colours_in(self.original[top:bottom, left:right], COLOUR_CHANNELS[self.mode])
        return self.colours.to_srgb(upright(part, self.orientation)).clip(0, 1)

    def canvas(self) -> Canvas:
        """The photo, to change regions of; it stays as it is itself."""
        return Canvas(self.original, self.orientation, self.colours, COLOUR_CHANNELS[self.mode])


def read_photo(path: Path) -> Photo:
    """Read a photo of any format in MODULES, told apart by content.

    Raises PhotoReadError with the reason in plain words.
    """
    return decode_photo(path, *read_file(path))


def decode_photo(path: Path, source: bytes, modified: int) -> Photo:
    """The photo in the bytes of a file that was read already; the file at `path` is not touched.

    modified: its time, in nanoseconds. Raises as `read_photo`.
    """
    if not source:
        raise PhotoReadError(path, "is empty (0 bytes)")
    name = _recognize(source)
    if name is None:
        raise PhotoReadError(path, NO_PICTURE)
    try:
        picture = MODULES[name].read(source)
        metadata, trouble = _metadata(name, source)
        samples = np.ascontiguousarray(picture.samples)
        mode = mode_of(samples, picture.inks)
        colours, doubt = colours_of(metadata.icc, mode.removesuffix("A"))
        seen = upright(samples[..., : COLOUR_CHANNELS[mode]] if samples.ndim == 3 else samples, picture.orientation)
        pixels = colours.seen(eight_bit(seen[..., 0] if mode == "LA" else seen))
    except Unreadable as error:
        raise PhotoReadError(path, str(error)) from error
    except MemoryError as error:
        raise PhotoReadError(path, "does not fit into memory; use a smaller copy") from error
    notes = (*picture.notes, *(note for note in (trouble, doubt) if note is not None))
    return Photo(
        path, samples, pixels, name, picture.orientation, source, modified, notes, metadata, picture.inks, colours
    )


def is_converted(photo: Photo, ext: str = "auto") -> bool:
    """Whether writing with `ext` changes the photo's format, so that copying the file would not do."""
    extension = check_extension(ext)
    return extension != "auto" and FORMATS[extension] != photo.format


def encode_photo(
    photo: Photo,
    changed: Changed,
    path: Path,
    *,
    quality: int | None = None,
    ext: str = "auto",
    without_location: bool = False,
    packet: bytes | None = None,
) -> bytes:
    """The file that `write_photo` writes to `path`; PhotoWriteError if this photo cannot be written.

    changed: of a Canvas of this very photo, or its samples as they are; ShapeError for those of another.
    packet: XMP instead of the photo's own, no longer than `room_for_xmp` says.
    """
    if changed.original is not photo.original:
        raise ShapeError(f"what is to be written are not the samples of {photo.path}")
    try:
        if is_converted(photo, ext):
            name = FORMATS[check_extension(ext)]
            metadata, stored = _renewed(photo, changed), changed.samples
            if packet is not None:
                metadata = replace(metadata, xmp=packet)
            if photo.inks:
                stored, metadata = _without_inks(photo, stored), replace(metadata, icc=None)
            if name == "BMP":  # has no place for the orientation
                stored = upright(stored, photo.orientation)
            content: bytes = MODULES[name].write(np.ascontiguousarray(stored), metadata, quality)
        elif photo.format in ("AVIF", "HEIC"):
            name = photo.format
            content = heif.rewrite(photo.source, changed, quality, packet)
        else:
            name = photo.format
            content = MODULES[name].rewrite(photo.source, changed, quality)
            content = content if packet is None else MODULES[name].with_xmp(content, packet)
        if without_location:
            content = MODULES[name].without_location(content)
    except Unwritable as error:
        raise PhotoWriteError(path, str(error)) from error
    except (Unreadable, OSError, ValueError, struct.error) as error:
        raise PhotoWriteError(path, f"cannot be written: {error}") from error
    return content


def room_for_xmp(photo: Photo, ext: str = "auto") -> int:
    """Bytes of XMP that fit into the file written with `ext`; 0 where the format has no place for any."""
    name = FORMATS[check_extension(ext)] if is_converted(photo, ext) else photo.format
    if name == "BMP" or (name == "JPEG2000" == photo.format and photo.source.startswith(jpeg2000.CODESTREAM)):
        return 0
    return jpeg.LONGEST_XMP if name == "JPEG" else MOST_XMP


def read_metadata(path: Path) -> tuple[bytes, Metadata]:
    """The bytes of a photo's file, and the metadata in them; the picture is not decoded. PhotoReadError."""
    content, _ = read_file(path)
    name = _recognize(content)
    if name is None:
        raise PhotoReadError(path, NO_PICTURE)
    found, trouble = _metadata(name, content)
    if trouble is not None:
        raise PhotoReadError(path, trouble)
    return content, found


def write_photo(
    photo: Photo,
    changed: Changed,
    path: Path,
    *,
    quality: int | None = None,
    ext: str = "auto",
    without_location: bool = False,
) -> None:
    """Write `changed` (of a Canvas) to `path`, with everything else of the photo kept, and its time.

    "auto" keeps the format; `ext` as in EXTENSIONS changes it, with EXIF, XMP, ICC and density where the format has a
    place for them; CMYK then becomes sRGB. quality: 1..100 for JPEG and lossy WebP instead of the source's own.
    without_location: GPS is taken out. Thumbnails are drawn again where samples changed. The file appears whole or not
    at all; missing folders are made. PhotoWriteError if this photo cannot be written, CannotGoOnError if none can: disk
    full, folder not writable.
    """
    content = encode_photo(photo, changed, path, quality=quality, ext=ext, without_location=without_location)
    write_file(content, path, photo.modified)


def _without_inks(photo: Photo, stored: Samples) -> Samples:
    """CMYK as sRGB of the same depth."""
    seen: Samples = AsStored().from_srgb(photo.colours.to_srgb(stored), stored)
    return seen


def _renewed(photo: Photo, changed: Changed) -> Metadata:
    """The photo's metadata, with the thumbnail drawn again where samples changed."""
    if photo.metadata.exif is None or not changed.differs:
        return photo.metadata
    return replace(photo.metadata, exif=renew_exif(photo.metadata.exif, shown(changed, photo.inks)))


def without_place(content: bytes, target: Path) -> bytes:
    """A photo's file without GPS in EXIF and XMP, all else byte for byte; PhotoWriteError of `target`."""
    name = _recognize(content)
    try:
        return content if name is None else bytes(MODULES[name].without_location(content))
    except (Unreadable, struct.error) as error:
        raise PhotoWriteError(target, f"cannot be written without its place: it {error}") from error


def location_doubt(photo: Photo) -> str | None:
    """A sentence where taking out the location would not be sure to take out all of it."""
    return doubt_about(photo.metadata.xmp and strip_xmp(photo.metadata.xmp))


def read_file(path: Path) -> tuple[bytes, int]:
    """The bytes of a file, and its time in nanoseconds; PhotoReadError."""
    try:
        return path.read_bytes(), path.stat().st_mtime_ns
    except OSError as error:
        raise PhotoReadError(path, f"cannot be read: {error.strerror or error}") from error


def _recognize(source: bytes) -> str | None:
    if source.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if source.startswith(png.SIGNATURE):
        return "PNG"
    if source[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if source.startswith(b"RIFF") and source[8:12] == b"WEBP":
        return "WEBP"
    if source.startswith((jpeg2000.SIGNATURE, jpeg2000.CODESTREAM)):
        return "JPEG2000"
    codec = heif.codec_of(source)
    if codec is not None:
        return "AVIF" if codec == heif.AVIF else "HEIC"
    return "BMP" if source.startswith(b"BM") else None


def _metadata(name: str, source: bytes) -> tuple[Metadata, str | None]:
    """The metadata of a photo, and a sentence where they cannot be read."""
    try:
        found: Metadata = MODULES[name].metadata(source)
    except (Unreadable, struct.error) as error:
        return Metadata(), f"has metadata that cannot be read ({error}); they are kept as they are"
    return found, None
