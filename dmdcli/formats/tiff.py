"""TIFF: changed strips go back into the file, everything else in it stays byte for byte.

A TIFF is a set of directories (one per page) whose entries point into the file. Uncompressed, LZW, deflated and
PackBits pictures of 8 or 16 bits are decoded here strip by strip, and only strips whose samples changed are coded
again: in place where they fit, else behind the end. A new first directory then replaces the old one; all other tags
keep pointing where they did. Other kinds (JPEG or fax inside TIFF, palettes, 1 bit) are decoded by Pillow and written
back deflated.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections import Counter
from contextlib import suppress

import numpy as np
from PIL.TiffImagePlugin import TiffImageFile

from dmdcli.formats import tiff_directory as tags
from dmdcli.formats.changed import Changed
from dmdcli.formats.location import strip_exif, strip_xmp
from dmdcli.formats.picture import BROKEN, Metadata, Picture, Samples, Unreadable, check_size, samples_of
from dmdcli.formats.thumbnails import renew_page, renew_photoshop, shown
from dmdcli.formats.tiff_directory import (
    Directory,
    Entry,
    append_directory,
    append_value,
    read_directory,
    replace_directory,
)
from dmdcli.formats.tiff_strips import DEFLATE, NO_PREDICTOR, Layout, compress, decode, encode, read_layout

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK = 0, 1, 2, 5
UNASSOCIATED_ALPHA = 2
REDUCED_COPY, PER_INCH, PER_CENTIMETRE = 1, 2, 3
STRIP_BYTES = 1 << 18
EMPTY = b"II*\0\0\0\0\0"
TYPE_BYTE, TYPE_SHORT, TYPE_LONG, TYPE_RATIONAL, TYPE_UNDEFINED, TYPE_LONG8 = 1, 3, 4, 5, 7, 16


def read(source: bytes) -> Picture:
    """Grey or RGB with or without alpha, or CMYK, uint8 or uint16, of the first page; white or most ink is largest."""
    directory = read_directory(source)
    check_size(directory.value(source, tags.WIDTH, 0), directory.value(source, tags.LENGTH, 0))
    photometric = directory.value(source, tags.PHOTOMETRIC, BLACK_IS_ZERO)
    if photometric == CMYK and directory.value(source, tags.SAMPLES_PER_PIXEL, 1) != 4:
        raise Unreadable("is stored in CMYK with further channels, which is not supported; save a copy without them")
    layout = read_layout(source, directory)
    samples = decode(source, layout) if layout is not None else _decode_foreign(source, directory)
    orientation = directory.value(source, tags.ORIENTATION, 1)
    pages = _count_pages(source, directory)
    notes = (f"has {pages} pages; only the first is used, the others are kept as they are",) if pages > 1 else ()
    return Picture(samples, orientation if 1 <= orientation <= 8 else 1, notes, photometric == CMYK)


def metadata(source: bytes) -> Metadata:
    """EXIF, XMP, ICC, Photoshop blocks and density of a TIFF that could be read."""
    directory = read_directory(source)
    density = None
    unit = directory.value(source, tags.RESOLUTION_UNIT, PER_INCH)
    across, down = directory.ratio(source, tags.X_RESOLUTION), directory.ratio(source, tags.Y_RESOLUTION)
    if across and down and unit in (PER_INCH, PER_CENTIMETRE):
        scale = 2.54 if unit == PER_CENTIMETRE else 1.0
        density = (across * scale, down * scale)
    return Metadata(
        _exif(source, directory),
        directory.content(source, tags.XMP),
        directory.content(source, tags.ICC),
        directory.content(source, tags.PHOTOSHOP),
        density,
    )


def rewrite(source: bytes, changed: Changed, _quality: int | None = None) -> bytes:
    """The file with changed samples on its first page; smaller copies of it and Photoshop's thumbnail drawn again."""
    if changed.differs:
        source = _renew_thumbnails(source, changed)
    stored = changed.samples
    directory = read_directory(source)
    layout = read_layout(source, directory)
    if layout is not None:
        content = _replace_strips(source, directory, layout, changed.original, stored)
        if _holds(content, stored):  # not so where strips of a damaged file overlap each other or a directory
            return content
    return _write_strips(source, directory, stored)


def without_location(source: bytes) -> bytes:
    """The file without GPS in its EXIF and XMP, on every page."""
    return strip_xmp(strip_exif(source))


def with_xmp(source: bytes, packet: bytes) -> bytes:
    """The file with an XMP packet on its first page, behind all else; the page's own stays in the file, unused."""
    content, directory = bytearray(source), read_directory(source)
    own = directory.entries.get(tags.XMP)
    kind = own.kind if own is not None and own.kind in (TYPE_BYTE, TYPE_UNDEFINED) else TYPE_BYTE
    entries = {**directory.entries, tags.XMP: append_value(content, directory, kind, packet)}
    return replace_directory(content, directory, entries)


def write(stored: Samples, metadata: Metadata, _quality: int | None = None) -> bytes:
    """A new deflated TIFF at the depth of the samples. The EXIF block, itself a small TIFF, becomes the file."""
    source, directory = EMPTY, Directory("<", False, {}, 0)
    if metadata.exif:
        try:
            directory = read_directory(metadata.exif)
            source = metadata.exif
        except Unreadable:
            pass
    content = bytearray(source)
    entries = {tag: entry for tag, entry in directory.entries.items() if tag not in tags.OF_THE_FILE}
    for tag, kind, value in (
        (tags.ICC, TYPE_UNDEFINED, metadata.icc),
        (tags.XMP, TYPE_BYTE, metadata.xmp),
        (tags.PHOTOSHOP, TYPE_BYTE, metadata.photoshop),
    ):
        if value:
            entries[tag] = append_value(content, directory, kind, value)
    if metadata.density:
        for tag, density in zip((tags.X_RESOLUTION, tags.Y_RESOLUTION), metadata.density, strict=True):
            ratio = struct.pack(directory.order + "II", round(density * 1000), 1000)
            entries[tag] = append_value(content, directory, TYPE_RATIONAL, ratio)
        entries[tags.RESOLUTION_UNIT] = directory.numbers(content, TYPE_SHORT, [PER_INCH])
    return _write_strips(bytes(content), Directory(directory.order, directory.big, entries, 0), stored)


def _renew_thumbnails(source: bytes, changed: Changed) -> bytes:
    directory = read_directory(source)
    picture = shown(changed, directory.value(source, tags.PHOTOMETRIC, BLACK_IS_ZERO) == CMYK)
    content = bytearray(source)
    below = _sub_directories(source, directory)
    if _count_pages(source, directory) == 1:  # a smaller copy among several pages may be of another page
        below += _following_pages(source, directory)
    for page in below:
        if page.value(source, tags.SUBFILE_TYPE, 0) & REDUCED_COPY:
            renew_page(content, page, picture)
    resources = directory.content(source, tags.PHOTOSHOP)
    if resources and len(resources) > directory.width:
        start = struct.unpack(directory.order + directory.place, directory.entries[tags.PHOTOSHOP].field)[0]
        content[start : start + len(resources)] = renew_photoshop(resources, picture)
    return bytes(content)


def _holds(content: bytes, stored: Samples) -> bool:
    """Whether a file reads as these samples."""
    try:
        return np.array_equal(read(content).samples, stored)
    except Unreadable:
        return False


def _replace_strips(source: bytes, directory: Directory, layout: Layout, original: Samples, stored: Samples) -> bytes:
    content = bytearray(source)
    offsets, lengths = list(layout.offsets), list(layout.lengths)
    shared = Counter(offsets)
    for index, place in enumerate(layout.places()):
        if np.array_equal(place.cut(original), place.cut(stored)):
            continue
        coded = encode(place.cut(stored), layout)
        if len(coded) > lengths[index] or shared[offsets[index]] > 1:
            content += b"\0" * (len(content) % 2)
            offsets[index] = len(content)
            content += coded
        else:
            content[offsets[index] : offsets[index] + len(coded)] = coded
        lengths[index] = len(coded)
    if offsets == list(layout.offsets) and lengths == list(layout.lengths):
        return bytes(content)
    kind = TYPE_LONG8 if directory.big else TYPE_LONG
    entries = dict(directory.entries)
    entries[layout.offset_tag] = directory.numbers(content, kind, offsets)
    entries[layout.length_tag] = directory.numbers(content, kind, lengths)
    return replace_directory(content, directory, entries)


def _write_strips(source: bytes, directory: Directory, stored: Samples) -> bytes:
    """`source` with all samples appended as new deflated strips, and a first directory that describes them."""
    content = bytearray(source)
    height, width = stored.shape[:2]
    channels = 1 if stored.ndim == 2 else stored.shape[2]
    rows = max(1, STRIP_BYTES // (width * channels * stored.dtype.itemsize))
    wide = stored.astype(f"{directory.order}u{stored.dtype.itemsize}", copy=False)
    offsets, lengths = [], []
    for top in range(0, height, rows):
        coded = compress(wide[top : top + rows].tobytes(), DEFLATE, 0, 0)
        offsets.append(len(content))
        lengths.append(len(coded))
        content += coded
    entries = {tag: entry for tag, entry in directory.entries.items() if tag not in tags.OF_THE_SAMPLES}
    inks = channels == 4 and directory.value(source, tags.PHOTOMETRIC, BLACK_IS_ZERO) == CMYK
    described = {
        tags.WIDTH: (TYPE_LONG, [width]),
        tags.LENGTH: (TYPE_LONG, [height]),
        tags.BITS: (TYPE_SHORT, [8 * stored.dtype.itemsize] * channels),
        tags.COMPRESSION: (TYPE_SHORT, [DEFLATE]),
        tags.PHOTOMETRIC: (TYPE_SHORT, [BLACK_IS_ZERO if channels < 3 else CMYK if inks else RGB]),
        tags.STRIP_OFFSETS: (TYPE_LONG8 if directory.big else TYPE_LONG, offsets),
        tags.SAMPLES_PER_PIXEL: (TYPE_SHORT, [channels]),
        tags.ROWS_PER_STRIP: (TYPE_LONG, [rows]),
        tags.STRIP_LENGTHS: (TYPE_LONG8 if directory.big else TYPE_LONG, lengths),
        tags.PLANAR: (TYPE_SHORT, [1]),
        tags.PREDICTOR: (TYPE_SHORT, [NO_PREDICTOR]),
    }
    if channels in (2, 4) and not inks:
        described[tags.EXTRA_SAMPLES] = (TYPE_SHORT, [UNASSOCIATED_ALPHA])
    for tag, (kind, values) in described.items():
        entries[tag] = directory.numbers(content, kind, values)
    return replace_directory(content, directory, entries)


def _decode_foreign(source: bytes, directory: Directory) -> Samples:
    """Decode through Pillow a copy of the file that has only the tags of the samples: no orientation, no metadata."""
    bits = directory.values(source, tags.BITS) or (1,)
    if max(bits) > 8:
        kind = "floating point" if directory.value(source, tags.SAMPLE_FORMAT, 1) == 3 else "an unusual kind"
        raise Unreadable(f"has {max(bits)} bits per channel of {kind}; save a copy with 8 or 16 bits, uncompressed")
    entries = {tag: entry for tag, entry in directory.entries.items() if tag in tags.OF_THE_SAMPLES}
    lone = Directory(directory.order, directory.big, directory.entries, 0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return samples_of(TiffImageFile(io.BytesIO(replace_directory(bytearray(source), lone, entries))))
    except BROKEN as error:
        raise Unreadable("is a damaged TIFF file, or one of a kind that is not supported") from error


def _count_pages(source: bytes, directory: Directory) -> int:
    """Pages that are pictures of their own, not smaller copies."""
    following = _following_pages(source, directory)
    return 1 + sum(not page.value(source, tags.SUBFILE_TYPE, 0) & REDUCED_COPY for page in following)


def _sub_directories(source: bytes, directory: Directory) -> list[Directory]:
    found = []
    for start in directory.values(source, tags.SUB_DIRECTORIES):
        with suppress(Unreadable):
            found.append(read_directory(source, start))
    return found


def _following_pages(source: bytes, directory: Directory) -> list[Directory]:
    """The pages after the first, as far as they can be read."""
    pages: list[Directory] = []
    following, seen = directory.following, set[int]()
    while following and following not in seen:
        seen.add(following)
        try:
            pages.append(read_directory(source, following))
        except Unreadable:
            break
        following = pages[-1].following
    return pages


def _exif(source: bytes, directory: Directory) -> bytes | None:
    """The directory without what describes the samples, as an EXIF block; None where nothing is left."""
    content = bytearray(struct.pack(directory.order + "2sHI", b"II" if directory.order == "<" else b"MM", 42, 0))
    target = Directory(directory.order, False, {}, 0)
    entries = _copy_entries(source, directory, content, target, (tags.EXIF, tags.GPS))
    return replace_directory(content, target, entries) if entries else None


def _copy_entries(
    source: bytes, directory: Directory, content: bytearray, target: Directory, branches: tuple[int, ...]
) -> dict[int, Entry]:
    """Copy all values, and those of the directories that `branches` point to, to the end of `content`."""
    entries: dict[int, Entry] = {}
    for tag, entry in directory.entries.items():
        value = directory.content(source, tag)
        if not value or tag in tags.OF_THE_FILE:
            continue
        if tag not in (tags.EXIF, tags.GPS, tags.INTEROPERABILITY):
            entries[tag] = append_value(content, target, entry.kind, value)
        elif tag in branches:
            try:
                branch = read_directory(source, directory.value(source, tag, 0))
            except Unreadable:
                continue
            below = _copy_entries(source, branch, content, target, (tags.INTEROPERABILITY,) if tag == tags.EXIF else ())
            entries[tag] = target.numbers(content, TYPE_LONG, [append_directory(content, target, below)])
    return entries
