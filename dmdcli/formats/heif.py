"""AVIF and HEIC, which keep a picture in the same kind of container: read, and written anew with next to no loss.

AVIF is read by Pillow, HEIC by the extra package pillow-heif. Both hand out EXIF, XMP and ICC and take them back, and
a colour space named by numbers stays; what else such a file may hold (a film, a depth map, more than 8 bits) is left
out when a face is restored.
"""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, features

from dmdcli.formats.changed import Changed
from dmdcli.formats.location import strip_location
from dmdcli.formats.nclx import Nclx, read_nclx, with_meaning
from dmdcli.formats.picture import (
    BROKEN,
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
from dmdcli.formats.tiff_directory import ORIENTATION, read_directory

QUALITY = 95
FULL = 444
"""Colour at full size."""
NOBODYS_TAG = 0xFFFE
AVIF, HEIC = "AVIF", "HEIF"
"""Pillow's names."""
AVIF_BRANDS = (b"avif", b"avis")
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
MISSING = {
    AVIF: "is an AVIF photo, which this build of Pillow cannot read; install a newer Pillow",
    HEIC: "is a HEIC photo, which needs one more package: pip install 'dmdcli[heic]'",
}


@dataclass(frozen=True)
class _Described:
    """What a file says beside its picture; nclx: its colour space where it has no ICC profile."""

    metadata: Metadata
    nclx: Nclx | None
    chroma: int
    is_grey: bool


def codec_of(source: bytes) -> str | None:
    """AVIF, HEIC or None, by the brands the file names."""
    if source[4:8] != b"ftyp":
        return None
    length = int.from_bytes(source[:4], "big")
    brands = [source[8:12], *(source[place : place + 4] for place in range(16, min(length, 400), 4))]
    if any(brand in AVIF_BRANDS for brand in brands):
        return AVIF
    return HEIC if any(brand in HEIC_BRANDS for brand in brands) else None


def read(source: bytes) -> Picture:
    """RGB with or without alpha, uint8."""
    with _opened(source) as image:
        check_size(*image.size)
        if getattr(image, "n_frames", 1) > 1 and codec_of(source) == AVIF:
            raise Unreadable("is an animation, not a photo")
        try:
            samples = samples_of(image)
        except BROKEN as error:
            raise Unreadable("is a damaged file") from error
    described = _describe(source)
    doubt = described.nclx.doubt if described.nclx else None
    notes = () if doubt is None else (doubt,)
    return Picture(samples, orientation_of(described.metadata.exif), notes)


def metadata(source: bytes) -> Metadata:
    """EXIF, XMP and ICC; the orientation that EXIF says here is the one the samples need.

    A colour space named by numbers, if it is not sRGB, is an ICC profile here, for other formats have no such numbers.
    """
    described = _describe(source)
    made = described.nclx.profile if described.nclx and not described.is_grey else None
    return replace(described.metadata, icc=described.metadata.icc or made)


def rewrite(source: bytes, changed: Changed, quality: int | None = None, packet: bytes | None = None) -> bytes:
    """A new file of the same kind with the source's EXIF, XMP and colour space; the thumbnail in EXIF is drawn again.

    packet: XMP instead of the source's: putting it in afterwards would code the picture once more.
    """
    described = _describe(source)
    found = described.metadata
    exif = found.exif
    if exif and changed.differs:
        exif = renew_exif(exif, shown(changed))
    written = Metadata(exif, packet or found.xmp, found.icc)
    return encode(codec_of(source) or AVIF, changed.samples, written, quality, described.nclx, described.chroma)


def without_location(source: bytes) -> bytes:
    """The file without GPS in its EXIF and XMP."""
    return strip_location(source)


def write(stored: Samples, metadata: Metadata, quality: int | None = None) -> bytes:
    """A new AVIF of 8 bits."""
    return encode(AVIF, stored, metadata, quality)


def _has(codec: str) -> bool:
    """Whether a codec is there; HEIC's makes itself known to Pillow when it is first asked for."""
    if codec == AVIF:
        return bool(features.check("avif"))
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def _opened(source: bytes) -> Image.Image:
    codec = codec_of(source) or AVIF
    if not _has(codec):
        raise Unreadable(MISSING[codec])
    try:
        with warnings.catch_warnings():  # about damaged EXIF
            warnings.simplefilter("ignore")
            return Image.open(io.BytesIO(source), formats=(codec,))
    except BROKEN as error:
        raise Unreadable("is a damaged file") from error


def _describe(source: bytes) -> _Described:
    with _opened(source) as image:
        described, is_grey = dict(image.info), image.mode in ("L", "LA")
    exif, xmp, icc = described.get("exif"), described.get("xmp"), described.get("icc_profile") or None
    found = Metadata(
        exif.removeprefix(b"Exif\0\0") if exif else None, xmp.encode() if isinstance(xmp, str) else xmp or None, icc
    )
    nclx = None
    if icc is None and codec_of(source) == AVIF:  # Pillow does not tell
        nclx = read_nclx(source)
    elif icc is None and "nclx_profile" in described:
        told = described["nclx_profile"]
        nclx = Nclx(
            int(told["color_primaries"]),
            int(told["transfer_characteristics"]),
            int(told["matrix_coefficients"]),
            bool(told["full_range_flag"]),
        )
    return _Described(found, nclx, described.get("chroma", FULL), is_grey)


def encode(
    codec: str,
    stored: Samples,
    metadata: Metadata,
    quality: int | None = None,
    nclx: Nclx | None = None,
    chroma: int = FULL,
) -> bytes:
    """A new file of either kind.

    nclx: its colour space where it has no ICC profile, None for sRGB. chroma: 420, 422 or 444, of HEIC; AVIF has its
    colour at full size.
    """
    if not _has(codec):
        raise Unwritable(MISSING[codec].replace("is a", "would be a", 1))
    samples = eight_bit(stored)
    if samples.ndim == 2 or samples.shape[2] == 2:  # neither has grey; alpha stays the last channel
        spread = samples.reshape(*samples.shape[:2], -1)
        samples = spread[..., [0, 0, 0, *range(1, spread.shape[2])]]
    exif, profile = metadata.exif or b"", metadata.icc or b""
    if exif[:2] not in (b"II", b"MM"):  # what is no EXIF Pillow refuses, here and when it reads the file
        exif = b""
    hidden = _without_orientation(exif) if codec == AVIF else exif
    options: dict[str, Any] = {"exif": hidden} if hidden else {}  # libheif refuses an empty one
    options |= {"xmp": metadata.xmp} if metadata.xmp else {}
    if profile and profile[16:20] != b"GRAY":  # an empty one would stand in place of the numbers
        options["icc_profile"] = profile
    if codec == AVIF:
        options["subsampling"] = "4:4:4"
    else:
        options["chroma"] = chroma
        if nclx is not None:
            options |= {
                "color_primaries": nclx.primaries,
                "transfer_characteristics": nclx.transfer,
                "matrix_coefficients": nclx.matrix,
                "full_range_flag": int(nclx.full_range),
            }
    buffer = io.BytesIO()
    with warnings.catch_warnings():  # about damaged EXIF
        warnings.simplefilter("ignore")
        Image.fromarray(np.ascontiguousarray(samples)).save(buffer, codec, quality=quality or QUALITY, **options)
    content = buffer.getvalue() if hidden == exif else buffer.getvalue().replace(hidden, exif)
    return with_meaning(content, nclx) if codec == AVIF and nclx is not None else content


def _without_orientation(exif: bytes) -> bytes:
    """The block with the tag of an orientation of 1 renamed, that it can be found and named rightly again in a file.

    Pillow writes blocks with this tag anew, and so loses places that makers' notes depend on.
    """
    try:
        directory = read_directory(exif)
    except Unreadable:
        return exif
    if directory.big or directory.value(exif, ORIENTATION, 0) != 1:
        return exif
    order = directory.order
    for place in range(directory.start + 2, directory.end, 12):
        if exif[place : place + 2] == struct.pack(order + "H", ORIENTATION):
            return exif[:place] + struct.pack(order + "H", NOBODYS_TAG) + exif[place + 2 :]
    return exif
