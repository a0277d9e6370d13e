"""JPEG: written back with the source's own tables, sampling and segments, so that untouched blocks stay as they are.

The samples handed out are grey, RGB or CMYK. Writing back goes through the source's own components (YCbCr, YCCK...)
wherever nothing changed: luminance never passes through RGB, and colour is taken at its own resolution, so quantising
again with the same tables gives (nearly always exactly) the same coefficients. See jpeg_components.py.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from dmdcli.formats.changed import Changed
from dmdcli.formats.jpeg_components import Component, Frame, decode_components, encode_components
from dmdcli.formats.location import strip_location
from dmdcli.formats.picture import (
    BROKEN,
    TRUNCATED_REASON,
    Metadata,
    Picture,
    Samples,
    Unreadable,
    check_size,
    eight_bit,
    orientation_of,
    samples_of,
    without_alpha,
)
from dmdcli.formats.thumbnails import Drawn, renew_exif, renew_jfif, renew_photoshop, shown

NEW_QUALITY = 95
"""For photos that were no JPEG before, where the caller asks for nothing else; with 4:4:4."""

EXIF = b"Exif\0\0"
XMP = b"http://ns.adobe.com/xap/1.0/\0"
ICC = b"ICC_PROFILE\0"
PHOTOSHOP = b"Photoshop 3.0\0"
MULTI_PICTURE = b"MPF\0"
LONGEST_PAYLOAD = 65533
LONGEST_XMP = LONGEST_PAYLOAD - len(XMP)
"""Bytes of the packet that other programs read first; a longer one is cut into segments that only some read."""
SOI, EOI, SOS, COM, APP0, APP1, APP2, APP13, APP14 = 0xD8, 0xD9, 0xDA, 0xFE, 0xE0, 0xE1, 0xE2, 0xED, 0xEE
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
PROGRESSIVE_FRAMES = (0xC2, 0xCA)
STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
FULL, HALF_ACROSS, HALF_BOTH = 0, 1, 2
"""Chroma sampling as Pillow counts it: 4:4:4, 4:2:2, 4:2:0."""


@dataclass(frozen=True)
class Segment:
    """One marker segment; payload excludes the marker and the length."""

    marker: int
    payload: bytes

    @property
    def bytes(self) -> bytes:
        """The segment as it stands in a file."""
        return struct.pack(">BBH", 0xFF, self.marker, len(self.payload) + 2) + self.payload

    @property
    def described(self) -> bool:
        """Whether it describes the picture (APPn and COM) instead of coding it."""
        return APP0 <= self.marker <= 0xEF or self.marker == COM


def split(source: bytes) -> tuple[list[Segment], bytes]:
    """The segments before the first scan, and everything from that scan's marker on."""
    segments: list[Segment] = []
    position = 2
    try:
        while True:
            if source[position] != 0xFF:
                raise Unreadable("is a damaged JPEG file")
            while source[position] == 0xFF:
                position += 1
            marker = source[position]
            if marker == SOS:
                return segments, source[position - 1 :]
            if marker == EOI:
                raise Unreadable("is a JPEG file without a picture in it")
            position += 1
            if marker in STANDALONE:
                continue
            (length,) = struct.unpack_from(">H", source, position)
            if length < 2 or position + length > len(source):
                raise Unreadable(TRUNCATED_REASON)
            segments.append(Segment(marker, source[position + 2 : position + length]))
            position += length
    except (IndexError, struct.error) as error:
        raise Unreadable(TRUNCATED_REASON) from error


def read_frame(segments: list[Segment]) -> Frame:
    """The frame header; Unreadable for what cannot be written back: 12 bits, no declared height."""
    for segment in segments:
        if segment.marker in FRAMES:
            try:
                bits, height, width, count = struct.unpack_from(">BHHB", segment.payload)
                parts = [struct.unpack_from(">BBB", segment.payload, 6 + 3 * index) for index in range(count)]
            except struct.error as error:
                raise Unreadable("is a damaged JPEG file") from error
            check_size(width, height)
            if bits != 8 or count not in (1, 3, 4):
                raise Unreadable(f"is a JPEG of {count} channels of {bits} bits, which is not supported")
            if not all(sampling >> 4 and sampling & 15 for _, sampling, _ in parts):
                raise Unreadable("is a damaged JPEG file")
            components = tuple(Component(name, sampling >> 4, sampling & 15, table) for name, sampling, table in parts)
            return Frame(width, height, segment.marker in PROGRESSIVE_FRAMES, components)
    raise Unreadable("is a damaged JPEG file")


def read(source: bytes) -> Picture:
    """Grey, RGB or CMYK, uint8, in stored orientation."""
    segments, scans = split(source)
    frame = read_frame(segments)
    try:
        samples = samples_of(JpegImageFile(io.BytesIO(_bare(segments, scans))))
    except BROKEN as error:
        reason = TRUNCATED_REASON if "truncated" in str(error) else "is a damaged JPEG file"
        raise Unreadable(reason) from error
    return Picture(samples, orientation_of(_first(segments, APP1, EXIF)), inks=len(frame.components) == 4)


def metadata(source: bytes) -> Metadata:
    """EXIF, XMP, ICC, Photoshop blocks and density of a JPEG that could be read."""
    segments, _ = split(source)
    profile_parts = [s.payload[len(ICC) :] for s in segments if s.marker == APP2 and s.payload.startswith(ICC)]
    profile = b"".join(part[2:] for part in sorted(profile_parts, key=lambda part: part[:1]))
    photoshop = [s.payload[len(PHOTOSHOP) :] for s in segments if s.marker == APP13 and s.payload.startswith(PHOTOSHOP)]
    density = None
    jfif = _first(segments, APP0, b"JFIF\0")
    if jfif is not None and len(jfif) >= 7:
        unit, across, down = struct.unpack_from(">BHH", jfif, 2)
        if unit in (1, 2) and across and down:
            scale = 1.0 if unit == 1 else 2.54
            density = (across * scale, down * scale)
    return Metadata(
        _first(segments, APP1, EXIF), _first(segments, APP1, XMP), profile or None, b"".join(photoshop) or None, density
    )


def rewrite(source: bytes, changed: Changed, quality: int | None = None) -> bytes:
    """The file with changed samples: same tables (unless `quality` 1..100 is given), sampling, APPn and COM segments.
    Thumbnails are drawn again.

    What stands behind the picture (a short film, a gain map) stays there. The only segment left out is the index of
    further pictures (MPF): it says where they begin, which changes.
    """
    segments, scans = split(source)
    frame = read_frame(segments)
    bare = _bare(segments, scans)
    if changed.differs:
        segments = _renewed(segments, shown(changed, len(frame.components) == 4))
    model = _colour_model(segments, frame)
    sampling = _sampling(frame)
    # Both need the whole file in a buffer for which Pillow reserves two bytes a pixel: not for noise in finest tables.
    roomy = 1.5 * len(scans) < 2 * frame.width * frame.height
    kept = [s for s in segments if s.described and not (s.marker == APP2 and s.payload.startswith(MULTI_PICTURE))]
    behind = scans.partition(b"\xff\xd9")[2]
    if model in ("CMYK", "YCCK") or (model == "YCbCr" and sampling is None):
        planes = _components(bare, changed, frame, model)
        tables = _tables(bare, frame) if quality is None else _new_tables(frame, quality)
        return _assemble(kept, encode_components(planes, frame, tables, frame.progressive and roomy)) + behind
    options: dict[str, Any] = {
        "subsampling": FULL if sampling is None else sampling,
        "optimize": roomy,
        "progressive": frame.progressive and roomy,
    }
    if quality is None:
        options["qtables"] = _as_named(_tables(bare, frame), frame)
    else:
        options["quality"] = quality
    if model == "YCbCr":
        planes = np.ascontiguousarray(_components(bare, changed, frame, model))
        image = Image.frombuffer(model, (frame.width, frame.height), planes, "raw", model, 0, 1)
        del planes  # the image is a copy
    else:
        image = Image.fromarray(eight_bit(changed.samples))
        options["keep_rgb"] = model == "RGB"
    return _assemble(kept, _encode(image, options)) + behind


def without_location(source: bytes) -> bytes:
    """The file without GPS in its EXIF and XMP."""
    return strip_location(source)


def with_xmp(source: bytes, packet: bytes) -> bytes:
    """The file with an XMP packet of up to LONGEST_XMP bytes in place of its own or, without one, behind its EXIF.

    Extended XMP, cut into segments of its own, stays; so does what the packet says of it.
    """
    added = Segment(APP1, XMP + packet).bytes
    place = position = 2
    while source[position] == 0xFF and source[position + 1] != SOS:
        marker = source[position + 1]
        if marker == 0xFF or marker in STANDALONE:
            position += 1 if marker == 0xFF else 2
            continue
        end = position + 2 + int.from_bytes(source[position + 2 : position + 4], "big")
        payload = source[position + 4 : end]
        if marker == APP1 and payload.startswith(XMP):
            return source[:position] + added + source[end:]
        if (marker == APP0 and place == position) or (marker == APP1 and payload.startswith(EXIF)):
            place = end
        position = end
    return source[:place] + added + source[place:]


def write(stored: Samples, metadata: Metadata, quality: int | None = None) -> bytes:
    """A new JPEG, 4:4:4. Metadata longer than a segment (64 kB; except ICC) is left out, as the format demands."""
    image = Image.fromarray(eight_bit(without_alpha(stored, "JPEG")))
    across, down = metadata.density or (0, 0)
    options = {"quality": quality or NEW_QUALITY, "subsampling": FULL, "dpi": (round(across), round(down))}
    encoded = _encode(image, options)
    jfif = [segment for segment in split(encoded)[0] if segment.described]
    parts = [(APP1, EXIF, metadata.exif), (APP1, XMP, metadata.xmp), (APP13, PHOTOSHOP, metadata.photoshop)]
    added = [Segment(marker, name + part) for marker, name, part in parts if part]
    profile, step = metadata.icc or b"", LONGEST_PAYLOAD - len(ICC) - 2
    pieces = [profile[start : start + step] for start in range(0, len(profile), step)]
    if len(pieces) <= 255:
        added += [Segment(APP2, ICC + bytes([i + 1, len(pieces)]) + piece) for i, piece in enumerate(pieces)]
    return _assemble(jfif + [s for s in added if len(s.payload) <= LONGEST_PAYLOAD], encoded)


def _first(segments: list[Segment], marker: int, name: bytes) -> bytes | None:
    return next((s.payload[len(name) :] for s in segments if s.marker == marker and s.payload.startswith(name)), None)


def _renewed(segments: list[Segment], picture: Drawn) -> list[Segment]:
    """The segments with the thumbnails in them drawn again."""
    renewed = []
    for segment in segments:
        payload = segment.payload
        if segment.marker == APP0:
            payload = renew_jfif(payload, picture)
        elif segment.marker == APP1 and payload.startswith(EXIF):
            payload = EXIF + renew_exif(payload[len(EXIF) :], picture)
        elif segment.marker == APP13 and payload.startswith(PHOTOSHOP):
            payload = PHOTOSHOP + renew_photoshop(payload[len(PHOTOSHOP) :], picture)
        renewed.append(Segment(segment.marker, payload))
    return renewed


def _bare(segments: list[Segment], scans: bytes) -> bytes:
    """The file without its description, so that no damaged metadata can disturb the decoder."""
    coding = [s for s in segments if not s.described or s.marker in (APP0, APP14)]
    return b"\xff\xd8" + b"".join(s.bytes for s in coding) + scans


def _assemble(described: list[Segment], encoded: bytes) -> bytes:
    segments, scans = split(encoded)
    coding = [segment for segment in segments if not segment.described]
    return b"\xff\xd8" + b"".join(s.bytes for s in described + coding) + scans


def _encode(image: Image.Image, options: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def _sampling(frame: Frame) -> int | None:
    """Pillow's number for the sampling; None for what it has no number for."""
    if len(frame.components) == 1:
        return FULL
    first, *chroma = frame.components
    if any((part.across, part.down) != (1, 1) for part in chroma):
        return FULL if all(frame.ratio(part) == (1, 1) for part in frame.components) else None
    return {(1, 1): FULL, (2, 1): HALF_ACROSS, (2, 2): HALF_BOTH}.get((first.across, first.down))


def _tables(bare: bytes, frame: Frame) -> list[list[int]]:
    """The quantisation table of each component."""
    known = JpegImageFile(io.BytesIO(bare)).quantization
    return [list(known[component.table]) for component in frame.components]


def _as_named(tables: list[list[int]], frame: Frame) -> list[list[int]]:
    """The tables without the last ones that repeat: the encoder repeats the last itself."""
    used = [component.table for component in frame.components]
    count = len(used)
    while count > 1 and used[count - 1] == used[count - 2]:
        count -= 1
    return tables[:count]


def _new_tables(frame: Frame, quality: int) -> list[list[int]]:
    """The usual tables of a quality 1..100: luminance's for components like the first, colour's for the others."""
    usual = JpegImageFile(io.BytesIO(_encode(Image.new("RGB", (8, 8)), {"quality": quality}))).quantization
    return [list(usual[0 if component.table == frame.components[0].table else 1]) for component in frame.components]


def _colour_model(segments: list[Segment], frame: Frame) -> str:
    """What the components are, by the rule of the common decoders: JFIF, then Adobe, then identifiers."""
    adobe = _first(segments, APP14, b"Adobe")
    transform = adobe[6] if adobe is not None and len(adobe) >= 7 else None
    if len(frame.components) == 1:
        return "L"
    if len(frame.components) == 4:
        return "YCCK" if transform == 2 else "CMYK"
    if _first(segments, APP0, b"JFIF\0") is not None:
        return "YCbCr"
    if transform is not None:
        return "YCbCr" if transform else "RGB"
    return "RGB" if tuple(component.identifier for component in frame.components) == tuple(b"RGB") else "YCbCr"


def _components(bare: bytes, changed: Changed, frame: Frame, model: str) -> npt.NDArray[np.uint8]:
    """(H, W, components) as in the file: the source's own values where nothing changed."""
    if model == "YCCK":
        segments, scans = split(bare)
        untouched = [Segment(APP14, s.payload[:11] + b"\0") if s.marker == APP14 else s for s in segments]
        bare = _bare(untouched, scans)
    planes = decode_components(bare, frame)
    for place, tile in changed.different():
        moved = (tile != changed.original[place]).any(axis=2)
        given = eight_bit(tile)
        if model == "CMYK":
            wanted = 255 - given
        else:
            wanted = np.asarray(Image.fromarray(np.ascontiguousarray(given[..., :3])).convert("YCbCr"))
            if model == "YCCK":
                wanted = np.dstack([wanted, 255 - given[..., 3]])
        planes[place][moved] = wanted[moved]
    return planes
