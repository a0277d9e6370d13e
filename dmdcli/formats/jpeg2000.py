"""JPEG 2000: written back without loss, whatever the source was, with its own boxes byte for byte around the picture.

A JP2 file is a row of boxes (ISO/IEC 15444-1, annex I), one of which holds the codestream; a bare codestream has none.
Pictures of 8 bits go through Pillow; those of 16, of which Pillow keeps no colour, through OpenCV.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

from dmdcli.formats.changed import Changed
from dmdcli.formats.location import strip_location
from dmdcli.formats.picture import (
    BROKEN,
    TRUNCATED_REASON,
    Metadata,
    Picture,
    Samples,
    Unreadable,
    Unwritable,
    check_size,
    eight_bit,
    orientation_of,
    samples_of,
)
from dmdcli.formats.thumbnails import renew_exif, shown

SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
CODESTREAM = b"\xff\x4f\xff\x51"
END_OF_CODESTREAM = b"\xff\xd9"
EXIF_UUID = b"JpgTiffExif->JP2"
XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
BY_PROFILE = 2
CHANGES_SAMPLES = (b"pclr", b"cmap", b"bpcc")
SIXTEEN = b"\x0f\1\1"
"""How a codestream describes a component of 16 bits, unsigned and at full size."""


@dataclass(frozen=True)
class Box:
    """name: four letters; body without length and name."""

    name: bytes
    body: bytes

    @property
    def bytes(self) -> bytes:
        """The box as it stands in a file."""
        if len(self.body) + 8 < 1 << 32:
            return struct.pack(">I", len(self.body) + 8) + self.name + self.body
        return struct.pack(">I", 1) + self.name + struct.pack(">Q", len(self.body) + 16) + self.body


def split(source: bytes) -> list[Box]:
    """The boxes of a JP2 file or of a box's body."""
    boxes, position = [], 0
    while position + 8 <= len(source):
        length, name = struct.unpack_from(">I4s", source, position)
        start = position + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", source.ljust(start + 8, b"\0"), start)
            start += 8
        end = position + length if length else len(source)
        if end < start or end > len(source):
            raise Unreadable(TRUNCATED_REASON)
        boxes.append(Box(name, source[start:end]))
        position = end
    return boxes


def read(source: bytes) -> Picture:
    """Grey or RGB with or without alpha, uint8 or uint16."""
    depth = _check_codestream(_codestream(source))
    try:
        samples = _decode_16(source) if depth == 16 else samples_of(Jpeg2KImageFile(io.BytesIO(source)))
    except (*BROKEN, cv2.error) as error:
        raise Unreadable("is a damaged JPEG 2000 file") from error
    return Picture(samples, orientation_of(metadata(source).exif))


def metadata(source: bytes) -> Metadata:
    """EXIF, XMP and ICC; a bare codestream has none."""
    exif = xmp = icc = None
    for box in [] if source.startswith(CODESTREAM) else split(source):
        if box.name == b"uuid" and box.body.startswith(EXIF_UUID):
            exif = box.body[len(EXIF_UUID) :].removeprefix(b"Exif\0\0")
        elif box.name == b"uuid" and box.body.startswith(XMP_UUID):
            xmp = box.body[len(XMP_UUID) :]
        elif box.name == b"jp2h":
            profiles = [one.body[3:] for one in split(box.body) if one.name == b"colr" and one.body[:1] == b"\2"]
            icc = profiles[0] if profiles else None
    return Metadata(exif, xmp, icc)


def rewrite(source: bytes, changed: Changed, _quality: int | None = None) -> bytes:
    """The file with changed samples, coded without loss; the thumbnail in EXIF is drawn again."""
    encoded = split(_encode(changed.samples))
    codestream = next(box for box in encoded if box.name == b"jp2c")
    if source.startswith(CODESTREAM):
        return codestream.body
    header = next(box for box in encoded if box.name == b"jp2h")
    differs = changed.differs
    parts: list[Box] = []
    for box in split(source):
        if box.name == b"jp2c":
            parts.append(codestream)
        elif box.name == b"jp2h":
            parts.append(box if _fits(box, _codestream(source), codestream.body) else header)
        elif differs and box.name == b"uuid" and box.body.startswith(EXIF_UUID):
            start = len(EXIF_UUID)
            parts.append(Box(box.name, EXIF_UUID + renew_exif(box.body[start:], shown(changed))))
        else:
            parts.append(box)
    return b"".join(box.bytes for box in parts)


def without_location(source: bytes) -> bytes:
    """The file without GPS in its EXIF and XMP."""
    return strip_location(source)


def with_xmp(source: bytes, packet: bytes) -> bytes:
    """The file with an XMP packet in place of its own or before the picture; a bare codestream has no place for one."""
    added = Box(b"uuid", XMP_UUID + packet).bytes
    position, place = 0, len(source)
    for box in split(source):
        length, _ = struct.unpack_from(">I4s", source, position)
        end = position + len(box.body) + (16 if length == 1 else 8)
        if box.name == b"uuid" and box.body.startswith(XMP_UUID):
            return source[:position] + added + source[end:]
        if box.name == b"jp2c":
            place = min(place, position)
        position = end
    return source[:place] + added + source[place:]


def write(stored: Samples, metadata: Metadata, _quality: int | None = None) -> bytes:
    """A new JP2 without loss at the depth of the samples, with EXIF, XMP and ICC."""
    parts: list[Box] = []
    for box in split(_encode(stored)):
        if box.name == b"jp2h" and metadata.icc:
            profile = Box(b"colr", bytes([BY_PROFILE, 0, 0]) + metadata.icc)
            inner = [profile if one.name == b"colr" else one for one in split(box.body)]
            box = Box(box.name, b"".join(one.bytes for one in inner))
        if box.name == b"jp2c":
            parts += [Box(b"uuid", EXIF_UUID + metadata.exif)] if metadata.exif else []
            parts += [Box(b"uuid", XMP_UUID + metadata.xmp)] if metadata.xmp else []
        parts.append(box)
    return b"".join(box.bytes for box in parts)


def _codestream(source: bytes) -> bytes:
    if source.startswith(CODESTREAM):
        return source
    return next((box.body for box in split(source) if box.name == b"jp2c"), b"")


def _components(codestream: bytes) -> bytes:
    """Depth and sampling of every component, three bytes each (SIZ marker, annex A.5.1)."""
    (count,) = struct.unpack_from(">H", codestream, 40)
    return codestream[42 : 42 + 3 * count]


def _check_codestream(codestream: bytes) -> int:
    """Bits per channel: up to 8, or 16; Unreadable for what cannot be written back."""
    if not codestream.startswith(CODESTREAM) or len(codestream) < 45:
        raise Unreadable("is a damaged JPEG 2000 file")
    right, bottom, left, top = struct.unpack_from(">4I", codestream, 8)
    check_size(right - left, bottom - top)
    components = _components(codestream)
    depth = max((code & 127) + 1 for code in components[0::3])
    if depth <= 8:
        return depth
    if components not in (SIXTEEN, 3 * SIXTEEN, 4 * SIXTEEN):
        raise Unreadable(
            f"is a JPEG 2000 of {depth} bits per channel, of a kind that is not supported; save a copy as TIFF or PNG "
            "of 16 bits"
        )
    return depth


def _decode_16(source: bytes) -> Samples:
    """(H, W), (H, W, 3) or (H, W, 4) uint16."""
    header = b"" if source.startswith(CODESTREAM) else next(box.body for box in split(source) if box.name == b"jp2h")
    if _is_translated(header):
        raise Unreadable(
            "is a JPEG 2000 of 16 bits in YCC or with a palette, which is not supported; save a copy as TIFF"
        )
    if END_OF_CODESTREAM not in _codestream(source)[-16:]:  # OpenCV would fill up what is missing
        raise Unreadable(TRUNCATED_REASON)
    decoded = cv2.imdecode(np.frombuffer(source, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16:
        raise Unreadable("is a damaged JPEG 2000 file")
    return _turned(decoded)


def _encode_16(stored: npt.NDArray[np.uint16]) -> bytes:
    if stored.ndim == 3 and stored.shape[2] == 2:  # OpenCV writes no grey with alpha
        stored = stored[..., [0, 0, 0, 1]]
    done, coded = cv2.imencode(".jp2", _turned(stored), [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000])
    content = bytes(coded)
    if not done or not np.array_equal(_decode_16(content), stored):
        raise Unwritable("cannot be written as JPEG 2000 of 16 bits without loss by this build of OpenCV; choose tif")
    return content


def _turned(samples: Samples) -> Samples:
    """Red and blue exchanged, as OpenCV has them."""
    if samples.ndim == 2:
        return np.ascontiguousarray(samples)
    return np.ascontiguousarray(samples[..., [2, 1, 0, 3][: samples.shape[2]]])


def _is_translated(header: bytes) -> bool:
    """Whether the samples are not those of the components: the body of a jp2h box with a palette, or YCC."""
    boxes = split(header)
    ycc = any(box.name == b"colr" and box.body[:1] == b"\1" and box.body[3:7] == b"\0\0\0\x12" for box in boxes)
    return ycc or any(box.name in CHANGES_SAMPLES for box in boxes)


def _fits(header: Box, before: bytes, after: bytes) -> bool:
    """Whether the source's header describes the new codestream too: no palette, no YCC, the same components."""
    return not _is_translated(header.body) and _components(before) == _components(after)


def _encode(stored: Samples) -> bytes:
    """A JP2 without loss."""
    if stored.dtype == np.uint16:
        return _encode_16(stored.astype(np.uint16, copy=False))
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(eight_bit(stored)))
    image.save(buffer, "JPEG2000", irreversible=False, no_jp2=False)
    return buffer.getvalue()
