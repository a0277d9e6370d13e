"""Colour spaces that AVIF and HEIC name by numbers (ITU-T H.273, in the colr box of ISO/IEC 14496-12)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

UNSPECIFIED = 2
SRGB_PRIMARIES, P3_PRIMARIES = (1, UNSPECIFIED), 12
SRGB_CURVES = (1, UNSPECIFIED, 6, 13, 14, 15)
"""sRGB's own, and those of television, which photos are shown with as if it were sRGB's."""
NOTE = (
    "names a colour space (primaries {}, transfer {}) that is kept, but cannot be used; its colours are taken as sRGB"
)
FOLDERS = {b"meta": 4, b"iprp": 0, b"ipco": 0}
"""Boxes that lead to a picture's properties, and the bytes in front of what is in them."""

P3_COLUMNS = {
    b"rXYZ": (0.51512, 0.2412, -0.00105), b"gXYZ": (0.29198, 0.69225, 0.04189), b"bXYZ": (0.1571, 0.06657, 0.78407),
}  # fmt: skip
"""XYZ of the primaries (0.680, 0.320), (0.265, 0.690), (0.150, 0.060) with white D65, adapted to D50 by Bradford."""
D65_TO_D50 = (1.04788, 0.02292, -0.05022, 0.02959, 0.99048, -0.01707, -0.00925, 0.01508, 0.75168)
D50 = (0.9642, 1.0, 0.8249)
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


@dataclass(frozen=True)
class Nclx:
    """primaries, transfer: what the samples mean. matrix, full_range: how the file codes them."""

    primaries: int
    transfer: int
    matrix: int
    full_range: bool

    @property
    def profile(self) -> bytes | None:
        """An ICC profile that says the same, None where sRGB is meant or nothing known here."""
        return display_p3() if self.primaries == P3_PRIMARIES and self.transfer in SRGB_CURVES else None

    @property
    def doubt(self) -> str | None:
        """A sentence where it is neither sRGB nor has a profile."""
        is_known = self.primaries in (*SRGB_PRIMARIES, P3_PRIMARIES) and self.transfer in SRGB_CURVES
        return None if is_known else NOTE.format(self.primaries, self.transfer)


def read_nclx(content: bytes) -> Nclx | None:
    """What the first colour box of a file says, None where none has numbers."""
    for place in _places(content, 0, len(content)):
        primaries, transfer, matrix, full_range = struct.unpack_from(">3HB", content, place)
        return Nclx(primaries, transfer, matrix, full_range >= 128)
    return None


def with_meaning(content: bytes, nclx: Nclx) -> bytes:
    """The file with primaries and transfer in its colour boxes; how it codes its samples stays as it is."""
    changed = bytearray(content)
    for place in _places(content, 0, len(content)):
        struct.pack_into(">2H", changed, place, nclx.primaries, nclx.transfer)
    return bytes(changed)


def display_p3() -> bytes:
    """An ICC profile of Display P3: the primaries of SMPTE EG 432-1 with the curve of IEC 61966-2-1."""
    curve = b"para\0\0\0\0\0\3\0\0" + _fixed(*SRGB_CURVE)
    parts = {
        b"desc": _text("Display P3"), b"cprt": _text("No copyright"), b"wtpt": b"XYZ \0\0\0\0" + _fixed(*D50),
        b"chad": b"sf32\0\0\0\0" + _fixed(*D65_TO_D50), b"rTRC": curve, b"gTRC": curve, b"bTRC": curve,
        **{name: b"XYZ \0\0\0\0" + _fixed(*column) for name, column in P3_COLUMNS.items()},
    }  # fmt: skip
    table, body = struct.pack(">I", len(parts)), b""
    for name, part in parts.items():
        table += struct.pack(">4sII", name, 132 + 12 * len(parts) + len(body), len(part))
        body += part + bytes(-len(part) % 4)
    head = struct.pack(">4xI4s4s4s6H4s28x12s48x", 0x04000000, b"mntr", b"RGB ", b"XYZ ", 2020, 1, 1, 0, 0, 0, b"acsp",
                       _fixed(*D50))  # fmt: skip
    return struct.pack(">I", 128 + len(table) + len(body)) + head + table + body


def _places(content: bytes, start: int, end: int) -> Iterator[int]:
    """Where the numbers of each colour box are."""
    while start + 8 <= end:
        length, kind = struct.unpack_from(">I4s", content, start)
        inside = start + 8
        if length == 1 and start + 16 <= end:
            (length,) = struct.unpack_from(">Q", content, inside)
            inside += 8
        stop = start + length if length else end
        if stop < inside or stop > end:
            return
        if kind in FOLDERS:
            yield from _places(content, inside + FOLDERS[kind], stop)
        elif kind == b"colr" and content[inside : inside + 4] == b"nclx" and inside + 11 <= stop:
            yield inside + 4
        start = stop


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _text(text: str) -> bytes:
    """A multiLocalizedUnicodeType of one text."""
    coded = text.encode("utf-16-be")
    return struct.pack(">4s4xII4sII", b"mluc", 1, 12, b"enUS", len(coded), 28) + coded
