"""Directories of a TIFF or BigTIFF file, as the TIFF 6.0 specification (section 2) lays them out."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from dmdcli.formats.picture import TRUNCATED_REASON, Unreadable

SUBFILE_TYPE, OLD_SUBFILE_TYPE = 254, 255
WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, ORIENTATION, SAMPLES_PER_PIXEL, ROWS_PER_STRIP, STRIP_LENGTHS = 273, 274, 277, 278, 279
X_RESOLUTION, Y_RESOLUTION, PLANAR, RESOLUTION_UNIT, PREDICTOR = 282, 283, 284, 296, 317
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_LENGTHS = 322, 323, 324, 325
SUB_DIRECTORIES, EXTRA_SAMPLES, SAMPLE_FORMAT, XMP, IPTC, PHOTOSHOP, ICC = 330, 338, 339, 700, 33723, 34377, 34675
EXIF, GPS, INTEROPERABILITY = 34665, 34853, 40965

OF_THE_SAMPLES = frozenset(
    {WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIP_OFFSETS, SAMPLES_PER_PIXEL, ROWS_PER_STRIP}
    | {STRIP_LENGTHS, PLANAR, PREDICTOR, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_LENGTHS, EXTRA_SAMPLES}
    | {SAMPLE_FORMAT, 263, 264, 265, 280, 281, 290, 291, 292, 293, 320, 321, 332, 333, 334, 336, 340, 341, 347}
    | {*range(512, 522), 529, 530, 531, 532}
)
"""Tags that say how the samples are coded, and only that."""
OF_THE_FILE = OF_THE_SAMPLES | {SUBFILE_TYPE, OLD_SUBFILE_TYPE, SUB_DIRECTORIES, XMP, IPTC, PHOTOSHOP, ICC}
"""Tags that mean nothing in an EXIF block, or stand elsewhere in files that are no TIFF."""

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Type of a value -> bytes."""
NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
"""Type of a whole number -> its letter for struct."""


@dataclass(frozen=True)
class Entry:
    """One tag's value: its type, how many, and the 4 (BigTIFF: 8) bytes that hold it or its place in the file."""

    kind: int
    count: int
    field: bytes


@dataclass(frozen=True)
class Directory:
    """order: '<' or '>'. big: BigTIFF. following: place of the next directory, 0 for none.

    start, end: where it lies in the file, from its count to behind the place of the next; 0 for one that is only made.
    """

    order: str
    big: bool
    entries: dict[int, Entry]
    following: int
    start: int = 0
    end: int = 0

    @property
    def width(self) -> int:
        """Bytes of an entry's field."""
        return 8 if self.big else 4

    @property
    def place(self) -> str:
        """Letter for struct of a place in the file."""
        return "Q" if self.big else "I"

    def content(self, source: bytes, tag: int) -> bytes | None:
        """The bytes of a tag's value; None where there is none or it lies outside the file."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in SIZES:
            return None
        size = SIZES[entry.kind] * entry.count
        if size <= self.width:
            return entry.field[:size]
        (start,) = struct.unpack(self.order + self.place, entry.field)
        return source[start : start + size] if start + size <= len(source) else None

    def values(self, source: bytes, tag: int) -> tuple[int, ...]:
        """A tag's whole numbers; empty where there are none."""
        content = self.content(source, tag)
        if content is None or self.entries[tag].kind not in NUMBERS:
            return ()
        entry = self.entries[tag]
        return struct.unpack(f"{self.order}{entry.count}{NUMBERS[entry.kind]}", content)

    def value(self, source: bytes, tag: int, default: int) -> int:
        """A tag's first whole number, or the default."""
        values = self.values(source, tag)
        return values[0] if values else default

    def ratio(self, source: bytes, tag: int) -> float | None:
        """A tag's first ratio of two whole numbers; None where there is none or it divides by zero."""
        content = self.content(source, tag)
        if content is None or len(content) < 8:
            return None
        above, below = struct.unpack_from(self.order + "II", content)
        return above / below if below else None

    def numbers(self, content: bytearray, kind: int, values: Sequence[int]) -> Entry:
        """An entry of whole numbers; what does not fit into it goes to the end of `content`."""
        packed = struct.pack(f"{self.order}{len(values)}{NUMBERS[kind]}", *values)
        return append_value(content, self, kind, packed)


def read_directory(source: bytes, start: int | None = None) -> Directory:
    """The directory at `start`, or the first one. Entries keep their raw bytes. Raises Unreadable."""
    order = {b"II": "<", b"MM": ">"}.get(source[:2])
    if order is None:
        raise Unreadable("is a damaged TIFF file")
    try:
        (version,) = struct.unpack_from(order + "H", source, 2)
        big = version == 43
        if start is None:
            (start,) = struct.unpack_from(order + ("Q" if big else "I"), source, 8 if big else 4)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), source, start)
        position = start + (8 if big else 2)
        step, field = (20, 12) if big else (12, 8)
        if start < 8 or position + step * count > len(source):
            raise Unreadable(TRUNCATED_REASON)
        entries: dict[int, Entry] = {}
        for _ in range(count):
            tag, kind, length = struct.unpack_from(order + ("HHQ" if big else "HHI"), source, position)
            entries[tag] = Entry(kind, length, source[position + field : position + step])
            position += step
        following = struct.unpack_from(order + ("Q" if big else "I"), source.ljust(position + 8, b"\0"), position)[0]
    except (struct.error, OverflowError) as error:
        raise Unreadable(TRUNCATED_REASON) from error
    return Directory(order, big, entries, following, start, position + (8 if big else 4))


def append_value(content: bytearray, directory: Directory, kind: int, packed: bytes) -> Entry:
    """An entry for packed bytes; more than its field holds goes to the end of `content`."""
    count = len(packed) // SIZES[kind]
    if len(packed) <= directory.width:
        return Entry(kind, count, packed.ljust(directory.width, b"\0"))
    content += b"\0" * (len(content) % 2)
    field = struct.pack(directory.order + directory.place, len(content))
    content += packed
    return Entry(kind, count, field)


def append_directory(content: bytearray, directory: Directory, entries: dict[int, Entry], following: int = 0) -> int:
    """Append `entries` as a directory, in the byte order and width of `directory`; its place in the file."""
    order, big = directory.order, directory.big
    content += b"\0" * (len(content) % 2)
    place = len(content)
    content += struct.pack(order + ("Q" if big else "H"), len(entries))
    for tag in sorted(entries):
        entry = entries[tag]
        content += struct.pack(order + ("HHQ" if big else "HHI"), tag, entry.kind, entry.count) + entry.field
    content += struct.pack(order + directory.place, following)
    return place


def replace_directory(content: bytearray, directory: Directory, entries: dict[int, Entry]) -> bytes:
    """The file with `entries` as its first directory, appended; what followed the old one follows the new one."""
    place = append_directory(content, directory, entries, directory.following)
    struct.pack_into(directory.order + directory.place, content, 8 if directory.big else 4, place)
    return bytes(content)
