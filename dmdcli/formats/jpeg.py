"""JPEG: written back with the source's own tables, sampling and segments, so that untouched blocks stay as they are.

The samples handed out are RGB. Writing back goes through the YCbCr samples of the source wherever the RGB did not
change: luminance never passes through RGB, and for 4:2:0 the colour planes are taken at their own resolution, so
quantising again with the same tables gives (nearly always exactly) the same coefficients.
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

from dmdcli.formats.picture import (
    BROKEN,
    CMYK_REASON,
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

NEW_QUALITY = 95
"""For photos that were no JPEG before, where the caller asks for nothing else; with 4:4:4."""

EXIF = b"Exif\0\0"
XMP = b"http://ns.adobe.com/xap/1.0/\0"
ICC = b"ICC_PROFILE\0"
PHOTOSHOP = b"Photoshop 3.0\0"
MULTI_PICTURE = b"MPF\0"
LONGEST_PAYLOAD = 65533
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


@dataclass(frozen=True)
class Frame:
    """width, height in pixels; components: (identifier, samples across, samples down, table) each."""

    width: int
    height: int
    progressive: bool
    components: tuple[tuple[int, int, int, int], ...]


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
    """The frame header; Unreadable for what cannot be written back: CMYK, 12 bits, no declared height."""
    for segment in segments:
        if segment.marker in FRAMES:
            try:
                bits, height, width, count = struct.unpack_from(">BHHB", segment.payload)
                parts = [struct.unpack_from(">BBB", segment.payload, 6 + 3 * index) for index in range(count)]
            except struct.error as error:
                raise Unreadable("is a damaged JPEG file") from error
            check_size(width, height)
            if count == 4:
                raise Unreadable(CMYK_REASON)
            if bits != 8 or count not in (1, 3):
                raise Unreadable(f"is a JPEG of {count} channels of {bits} bits, which is not supported")
            components = tuple((name, sampling >> 4, sampling & 15, table) for name, sampling, table in parts)
            return Frame(width, height, segment.marker in PROGRESSIVE_FRAMES, components)
    raise Unreadable("is a damaged JPEG file")


def read(source: bytes) -> Picture:
    """Grey or RGB, uint8, in stored orientation."""
    segments, scans = split(source)
    read_frame(segments)
    try:
        samples = samples_of(JpegImageFile(io.BytesIO(_bare(segments, scans))))
    except BROKEN as error:
        reason = TRUNCATED_REASON if "truncated" in str(error) else "is a damaged JPEG file"
        raise Unreadable(reason) from error
    return Picture(samples, orientation_of(_first(segments, APP1, EXIF)))


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


def rewrite(source: bytes, original: Samples, stored: Samples, quality: int | None = None) -> bytes:
    """The file with changed samples: same tables (unless `quality` 1..100 is given), sampling, APPn and COM segments.

    What stands behind the picture (a short film, a gain map) stays there. The only segment left out is the index of
    further pictures (MPF): it says where they begin, which changes.
    Sampling other than 4:4:4, 4:2:2 and 4:2:0 becomes 4:4:4.
    """
    segments, scans = split(source)
    frame = read_frame(segments)
    bare = _bare(segments, scans)
    sampling = _sampling(frame)
    # Both need the whole file in a buffer for which Pillow reserves two bytes a pixel: not for noise in finest tables.
    roomy = 1.5 * len(scans) < 2 * frame.width * frame.height
    options: dict[str, Any] = {
        "subsampling": sampling,
        "optimize": roomy,
        "progressive": frame.progressive and roomy,
    }
    if quality is None:
        options["qtables"] = _tables(bare, frame)
    else:
        options["quality"] = quality
    if len(frame.components) == 1:
        image = Image.fromarray(eight_bit(stored))
    elif _is_luminance_chroma(segments, frame):
        image = _luminance_chroma(bare, original, stored, frame, sampling)
    else:
        image = Image.fromarray(eight_bit(stored))
        options["keep_rgb"] = True
    kept = [s for s in segments if s.described and not (s.marker == APP2 and s.payload.startswith(MULTI_PICTURE))]
    behind = scans.partition(b"\xff\xd9")[2]
    return _assemble(kept, _encode(image, options)) + behind


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


def _sampling(frame: Frame) -> int:
    """Pillow's number for the sampling; 4:4:4 for everything it has no number for."""
    if len(frame.components) == 1:
        return FULL
    (_, across, down, _), *chroma = frame.components
    if any(part[1:3] != (1, 1) for part in chroma):
        return FULL
    return {(2, 1): HALF_ACROSS, (2, 2): HALF_BOTH}.get((across, down), FULL)


def _tables(bare: bytes, frame: Frame) -> list[list[int]]:
    """One quantisation table per component; where the last two share one it is named once, the encoder repeats it."""
    known = JpegImageFile(io.BytesIO(bare)).quantization
    used = [part[3] for part in frame.components]
    while len(used) > 1 and used[-1] == used[-2]:
        used.pop()
    return [list(known[table]) for table in used]


def _is_luminance_chroma(segments: list[Segment], frame: Frame) -> bool:
    """Whether three components are YCbCr, by the rule of the common decoders: JFIF, then Adobe, then identifiers."""
    if _first(segments, APP0, b"JFIF\0") is not None:
        return True
    adobe = _first(segments, APP14, b"Adobe")
    if adobe is not None and len(adobe) >= 7:
        return adobe[6] != 0
    return tuple(part[0] for part in frame.components) != tuple(b"RGB")


def _luminance_chroma(bare: bytes, original: Samples, stored: Samples, frame: Frame, sampling: int) -> Image.Image:
    """The picture in YCbCr: the source's own values where nothing changed, converted RGB elsewhere."""
    planes = _decode_planes(bare, (frame.width, frame.height))
    if sampling == HALF_BOTH and min(frame.width, frame.height) > 1:
        # Decoded at half size, the colour planes come out at their own resolution, not enlarged.
        half = _decode_planes(bare, (frame.width // 2, frame.height // 2))[..., 1:]
        planes[..., 1:] = half.repeat(2, axis=0).repeat(2, axis=1)[: frame.height, : frame.width]
    changed = (stored != original).any(axis=2)
    planes[changed] = np.array(Image.fromarray(eight_bit(stored)).convert("YCbCr"))[changed]
    return Image.frombytes("YCbCr", (frame.width, frame.height), planes.tobytes())


def _decode_planes(bare: bytes, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint8 YCbCr, decoded at full size or, if `size` is the half of it, at half size (rounded up)."""
    image = JpegImageFile(io.BytesIO(bare))
    image.draft("YCbCr", size)
    return np.array(image)
