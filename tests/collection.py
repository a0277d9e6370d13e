"""A collection of small photographs in every format, depth, colour, orientation and with every kind of metadata.

Made from one real photograph, or from numbers where there is none. Names are in several scripts, some differ in their
ending alone.
"""

from __future__ import annotations

import io
import os
import struct
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image, features
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import IFDRational

from dmdcli.formats import jpeg2000, png, tiff
from dmdcli.formats import tiff_directory as tags
from dmdcli.formats.jpeg import APP1, APP2, APP13, PHOTOSHOP, XMP, Segment, split
from dmdcli.formats.jpeg_components import Component, Frame, encode_components
from dmdcli.formats.picture import Metadata
from dmdcli.formats.tiff_directory import append_directory, append_value, read_directory, replace_directory
from tests.formats import profiles

SIZE = (320, 240)
TAKEN = "1962:05:19 12:00:00"
MODIFIED = 10**18 + 12300

PACKET = b"""<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
 exif:GPSLatitude="59,54.75N" xmlns:own="http://example.org/own/" own:box='17'>
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">The wedding of K\xc3\xa5re &amp; Signe</rdf:li></rdf:Alt>
</dc:description>
<exif:GPSLongitude>10,45.5E</exif:GPSLongitude>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


@dataclass(frozen=True)
class Sample:
    """name: of the file. lossless: whether samples outside of faces must come back exactly."""

    name: str
    content: bytes
    lossless: bool = True


def photograph_of(path: Path | None) -> npt.NDArray[np.uint8]:
    """(240, 320, 3) uint8: a real photograph made small, or waves and grain."""
    if path is not None:
        with Image.open(path) as image:
            return np.array(image.convert("RGB").resize(SIZE, Image.Resampling.LANCZOS))
    from tests.formats.pictures import photograph

    return photograph(SIZE)


def exif_block(picture: npt.NDArray[np.uint8], orientation: int = 1, thumbnail: bool = True, order: str = ">") -> bytes:
    """A TIFF structure with times, a maker's note, a place, and a thumbnail."""
    exif = Image.Exif()
    exif.endian = order
    exif[0x010E], exif[0x010F], exif[0x0112], exif[0x0132] = "a wedding", "Maker", orientation, TAKEN
    details = exif.get_ifd(0x8769)
    details[0x9003], details[0x9004] = TAKEN, TAKEN
    details[0x927C] = b"MAKER\0\1\2" + bytes(range(200))
    details[0x9286] = b"ASCII\0\0\0The church of Aker"
    place = exif.get_ifd(0x8825)
    place[1], place[2] = "N", (IFDRational(59), IFDRational(54), IFDRational(4501, 100))
    place[3], place[4] = "E", (IFDRational(10), IFDRational(45), IFDRational(3003, 100))
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    return with_thumbnail(block, picture) if thumbnail else block


def with_thumbnail(block: bytes, picture: npt.NDArray[np.uint8]) -> bytes:
    """The block with a second directory that holds a small JPEG of the picture."""
    small = encoded(Image.fromarray(picture).resize((80, 60)), "JPEG", quality=85)
    order = "<" if block[:2] == b"II" else ">"
    (first,) = struct.unpack_from(order + "I", block, 4)
    (count,) = struct.unpack_from(order + "H", block, first)
    content = bytearray(block + bytes(len(block) % 2))
    struct.pack_into(order + "I", content, first + 2 + 12 * count, len(content))
    start = len(content) + 2 + 3 * 12 + 4
    content += struct.pack(order + "H", 3)
    for tag, kind, value in ((0x0103, 3, 6), (0x0201, 4, start), (0x0202, 4, len(small))):
        field = struct.pack(order + "HH", value, 0) if kind == 3 else struct.pack(order + "I", value)
        content += struct.pack(order + "HHI", tag, kind, 1) + field
    content += bytes(4) + small
    return bytes(content)


def photoshop_blocks(picture: npt.NDArray[np.uint8]) -> bytes:
    """Photoshop's resources: an IPTC record with a caption, and a thumbnail."""
    caption = "Brudeparet Kåre og Signe".encode()
    iptc = b"\x1c\x01\x5a\0\3\x1b%G" + b"\x1c\x02\x78" + struct.pack(">H", len(caption)) + caption
    small = encoded(Image.fromarray(picture).resize((80, 60)), "JPEG", quality=80)
    head = struct.pack(">IIIIIIHH", 1, 80, 60, 240, 240 * 60, len(small), 24, 1)
    return b"".join(
        b"8BIM" + struct.pack(">HHI", number, 0, len(body)) + body + bytes(len(body) % 2)
        for number, body in ((1028, iptc), (1036, head[:28] + small))
    )


def encoded(image: npt.NDArray[Any] | Image.Image, format_name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(buffer, format_name, **options)
    return buffer.getvalue()


def with_segments(jpeg: bytes, *segments: Segment) -> bytes:
    own, scans = split(jpeg)
    return b"\xff\xd8" + b"".join(one.bytes for one in [*own[:1], *segments, *own[1:]]) + scans


def described(picture: npt.NDArray[np.uint8], orientation: int = 1) -> list[Segment]:
    return [
        Segment(APP1, b"Exif\0\0" + exif_block(picture, orientation)),
        Segment(APP1, XMP + PACKET),
        Segment(APP13, PHOTOSHOP + photoshop_blocks(picture)),
        Segment(0xE7, b"a segment of nobody's\0" + bytes(range(50))),
        Segment(0xFE, "ein Kommentar: Großmutter".encode()),
    ]


def ycck(colour: Image.Image) -> bytes:
    """Inks as Photoshop stores them at low quality: luminance and colour of three, colour at half size, and black."""
    inks = np.array(colour.convert("CMYK"))
    inks[..., 3] = inks[..., :3].min(axis=2) // 2
    planes = np.dstack([Image.fromarray(inks[..., :3]).convert("YCbCr"), 255 - inks[..., 3]])
    sampling = ((2, 2), (1, 1), (1, 1), (2, 2))
    parts = tuple(Component(1 + index, *one, 0) for index, one in enumerate(sampling))
    coded = encode_components(planes, Frame(*colour.size, False, parts), [[6] * 64] * 4, False)
    adobe = Segment(0xEE, b"Adobe\0d\0\0\0\0\2")
    return coded[:2] + adobe.bytes + coded[2:]


def jpegs(picture: npt.NDArray[np.uint8]) -> list[Sample]:
    colour = Image.fromarray(picture)
    samples = []

    def add(name: str, content: bytes, *segments: Segment) -> None:
        samples.append(Sample(name, with_segments(content, *segments) if segments else content, lossless=False))

    for quality, sampling in ((35, 2), (75, 2), (88, 1), (94, 0)):
        content = encoded(colour, "JPEG", quality=quality, subsampling=sampling)
        add(f"jpeg-{quality}-{('444', '422', '420')[sampling]}.jpg", content, *described(picture))
    for name in ("411", "440"):
        sampling = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{name}")
        options = [cv2.IMWRITE_JPEG_QUALITY, 85, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
        add(f"jpeg-{name}.jpeg", cv2.imencode(".jpg", picture[..., ::-1], options)[1].tobytes(), *described(picture))
    add("hochzeit-größe.jpg", encoded(colour, "JPEG", quality=80, progressive=True), *described(picture))
    add("jpeg-grey.jpe", encoded(colour.convert("L"), "JPEG", quality=80, icc_profile=profiles.grey_profile(2.2)))
    for name, profile in (("adobe", profiles.ADOBE_RGB), ("p3", profiles.DISPLAY_P3), ("srgb", profiles.SRGB)):
        add(f"jpeg-{name}.jpg", encoded(colour, "JPEG", quality=90, icc_profile=profile), *described(picture))
    inks = encoded(colour.convert("CMYK"), "JPEG", quality=90, icc_profile=profiles.ink_profile())
    add("jpeg-cmyk.jpg", inks, *described(picture))
    add("jpeg-ycck.jpg", ycck(colour), *described(picture))
    add("jpeg-rgb.jpg", encoded(colour, "JPEG", quality=85, keep_rgb=True))
    for orientation in range(2, 9):
        add(f"gedreht-{orientation}.jpg", encoded(colour, "JPEG", quality=85), *described(picture, orientation))
    damaged = Segment(APP1, b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    add("jpeg-damaged-exif.jpg", encoded(colour, "JPEG"), damaged, Segment(APP2, b"ICC_PROFILE\0\1\1 no profile"))
    add("jpeg-behind.jpg", encoded(colour, "JPEG") + b"a short film behind the picture" * 20)
    return samples


def pngs(picture: npt.NDArray[np.uint8]) -> list[Sample]:
    colour, grey = Image.fromarray(picture), picture[..., 1]
    alpha = np.dstack([picture, np.indices(grey.shape)[1] % 256]).astype(np.uint8)
    text = PngInfo()
    text.add_text("Title", "A wedding")
    text.add_itxt("XML:com.adobe.xmp", PACKET.decode())
    text.add_itxt("Comment", "婚礼")
    options = {"pnginfo": text, "exif": b"Exif\0\0" + exif_block(picture, 6)}
    made = {
        "png-rgb.png": encoded(colour, "PNG", **options, icc_profile=profiles.ADOBE_RGB),
        "png-grey.png": encoded(grey, "PNG", icc_profile=profiles.grey_profile(2.2)),
        "png-alpha.png": encoded(alpha, "PNG", **options),
        "png-grey-alpha.png": encoded(np.ascontiguousarray(alpha[..., [1, 3]]), "PNG"),
        "png-palette.png": encoded(colour.quantize(60), "PNG", pnginfo=text),
        "png-bits.png": encoded(colour.convert("1"), "PNG"),
        "png-16.png": png.write(deepened(picture), Metadata(exif=exif_block(picture), xmp=PACKET)),
        "png-16-grey.png": png.write(deepened(grey), Metadata(icc=profiles.grey_profile(1.8))),
        "png-16-alpha.png": png.write(deepened(alpha), Metadata(icc=profiles.DISPLAY_P3)),
        "фото.png": encoded(colour, "PNG"),
        "写真.png": encoded(colour, "PNG"),
        unicodedata.normalize("NFD", "fête.png"): encoded(colour, "PNG"),
        unicodedata.normalize("NFC", "fête.png"): encoded(colour, "PNG", **options),
        "a b & <c> 'd'.png": encoded(colour, "PNG"),
    }
    return [Sample(name, content) for name, content in made.items()]


def deepened(samples: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
    """16 bits with noise in the lower ones."""
    noise = np.random.default_rng(5).integers(0, 200, samples.shape)
    return np.minimum(samples.astype(np.uint32) * 257 + noise, 65535).astype(np.uint16)


def described_tiff(content: bytes, picture: npt.NDArray[np.uint8], orientation: int) -> bytes:
    """A TIFF with the metadata of an EXIF block, XMP and Photoshop's resources."""
    directory, changed = read_directory(content), bytearray(content)
    block = exif_block(picture, orientation, False, directory.order)
    described = read_directory(block)
    entries = dict(directory.entries)
    for tag, entry in described.entries.items():
        if tag not in (tags.EXIF, tags.GPS):
            entries[tag] = append_value(changed, directory, entry.kind, described.content(block, tag) or b"")
    for tag in (tags.EXIF, tags.GPS):
        below = read_directory(block, described.value(block, tag, 0))
        copied = {
            one: append_value(changed, directory, entry.kind, below.content(block, one) or b"")
            for one, entry in below.entries.items()
        }
        entries[tag] = directory.numbers(changed, 4, [append_directory(changed, directory, copied)])
    entries[tags.XMP] = append_value(changed, directory, 1, PACKET)
    entries[tags.PHOTOSHOP] = append_value(changed, directory, 1, photoshop_blocks(picture))
    return replace_directory(changed, directory, entries)


def tiffs(picture: npt.NDArray[np.uint8]) -> list[Sample]:
    colour = Image.fromarray(picture)
    cmyk, inks = colour.convert("CMYK"), profiles.ink_profile()
    everything = Metadata(exif_block(picture, 3, False), PACKET, profiles.ADOBE_RGB, photoshop_blocks(picture))

    def by_tifffile(samples: npt.NDArray[Any], **options: Any) -> bytes:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, samples, metadata=None, **options)
        return buffer.getvalue()

    pages = [colour.convert("L"), colour.convert("1")]
    alpha = np.dstack([picture, picture[..., 0]])
    made = {
        "tiff-lzw.tif": described_tiff(encoded(colour, "TIFF", compression="tiff_lzw"), picture, 8),
        "tiff-adobe-16.tif": tiff.write(deepened(picture), everything),
        "tiff-grey-16.tif": tiff.write(deepened(picture[..., 0]), Metadata(icc=profiles.grey_profile(1.8))),
        "tiff-pages.tif": encoded(colour, "TIFF", save_all=True, append_images=pages, compression="tiff_deflate"),
        "tiff-big.tif": by_tifffile(picture, bigtiff=True, photometric="rgb", tile=(48, 64)),
        "tiff-big-endian.tiff": by_tifffile(deepened(picture), byteorder=">", photometric="rgb", compression="zlib"),
        "tiff-alpha.tif": by_tifffile(alpha, photometric="rgb", extrasamples=[2]),
        "tiff-planes.tif": by_tifffile(np.moveaxis(picture, 2, 0), photometric="rgb", planarconfig="separate"),
        "tiff-cmyk.tif": described_tiff(encoded(cmyk, "TIFF", icc_profile=inks), picture, 1),
        "tiff-cmyk-plain.tif": encoded(cmyk, "TIFF", compression="tiff_lzw"),
        "tiff-jpeg.tif": described_tiff(encoded(colour, "TIFF", compression="jpeg"), picture, 6),
        "tiff-bits.tif": encoded(colour.convert("1"), "TIFF", compression="group4"),
        "tiff-palette.tif": encoded(colour.quantize(40), "TIFF"),
    }
    return [Sample(name, content) for name, content in made.items()]


def others(picture: npt.NDArray[np.uint8]) -> list[Sample]:
    colour = Image.fromarray(picture)
    described = {"exif": exif_block(picture, 6), "xmp": PACKET, "icc_profile": profiles.DISPLAY_P3}
    bitmap = encoded(colour, "BMP", dpi=(300, 300))
    alpha = np.dstack([picture, picture[..., 0]])
    everything = Metadata(exif_block(picture, 6), PACKET, profiles.ADOBE_RGB)
    avif = [Sample("avif.avif", encoded(colour, "AVIF", quality=80, **described), lossless=False)]
    return [
        *(avif if features.check("avif") else []),
        Sample("webp-lossless.webp", encoded(colour, "WEBP", lossless=True, exact=True, **described)),
        Sample("webp-lossy.webp", encoded(colour, "WEBP", quality=80, **described), lossless=False),
        Sample("webp-plain.webp", encoded(colour, "WEBP", lossless=True)),
        Sample("jpeg2000.jp2", jpeg2000.write(picture, everything)),
        Sample("jpeg2000-lossy.jp2", encoded(colour, "JPEG2000", irreversible=True, quality_layers=[20])),
        Sample("jpeg2000-alpha.jp2", encoded(Image.fromarray(alpha), "JPEG2000")),
        Sample("jpeg2000-bare.j2k", encoded(colour.convert("L"), "JPEG2000", no_jp2=True)),
        Sample("bmp-24.bmp", bitmap),
        Sample("bmp-grey.bmp", encoded(colour.convert("L"), "BMP")),
        Sample("bmp-palette.bmp", encoded(colour.quantize(30), "BMP")),
        Sample("tiff-lzw.png", encoded(colour, "PNG")),
        Sample("tiff-lzw.bmp", bitmap),
    ]


KINDS: tuple[Callable[[npt.NDArray[np.uint8]], list[Sample]], ...] = (jpegs, pngs, tiffs, others)


def make_collection(folder: Path, photograph: Path | None = None) -> list[Sample]:
    """Write the collection, with two side files, and say what is in it; all files have the time MODIFIED."""
    picture = photograph_of(photograph)
    samples = [sample for kind in KINDS for sample in kind(picture)]
    folder.mkdir(parents=True, exist_ok=True)
    for sample in samples:
        (folder / sample.name).write_bytes(sample.content)
    (folder / "jpeg-75-420.xmp").write_bytes(PACKET)
    (folder / "tiff-lzw.tif.json").write_text('{"geoData": {"latitude": 59.9}}', encoding="utf-8")
    for path in folder.iterdir():
        os.utime(path, ns=(MODIFIED, MODIFIED))
    return samples
