"""Faces that people named in other programs, as XMP keeps them: MWG regions and Microsoft's.

MWG ("Guidelines for Handling Image Metadata" 2.0, 5.9; digiKam, Lightroom, Picasa, immich, PhotoPrism): the middle and
the size of an area, in parts of the picture or in pixels of the size that is noted beside it. Microsoft (Windows Photo
Gallery; digiKam writes it too): "left, top, width, height" in parts of the picture. Both mean the picture as it is
stored: the guidelines say so of the first, and programs that write both write the same place twice.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from dmdcli.formats.packet import MOST_XMP
from dmdcli.formats.picture import Unreadable
from dmdcli.shapes import Box, overlap, turn_box

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
MWG = "{http://www.metadataworkinggroup.com/schemas/regions/}"
AREA = "{http://ns.adobe.com/xmp/sType/Area#}"
DIMENSIONS = "{http://ns.adobe.com/xap/1.0/sType/Dimensions#}"
MICROSOFT = "{http://ns.microsoft.com/photo/1.2/}"
MICROSOFT_INFO = "{http://ns.microsoft.com/photo/1.2/t/RegionInfo#}"
MICROSOFT_REGION = "{http://ns.microsoft.com/photo/1.2/t/Region#}"
IGNORED = "ffffffffffffffff"
"""What Windows Photo Gallery and Picasa have in place of a name for a face that nobody wants to name."""
SAME_PLACE = 0.5
"""Overlap (intersection over union) from which two regions are one face, noted twice."""
SAME_SHAPE = 0.01
"""Part by which the sides of a picture may differ from those of another size of it, besides two pixels."""
MOST_REGIONS = 1000
"""Faces marked in one photo. Each is compared with each: 1,000 take a third of a second, 4,000 five seconds."""

Area: TypeAlias = Box
"""x0, y0, x1, y1 in parts of a picture's width and height, [0, 1] inside it."""


@dataclass(frozen=True)
class Region:
    """A face that somebody, or some program, marked.

    name: NFC; None where nobody is named. area: in the picture as stored. size: width and height in pixels of the
    picture it was drawn in, None where that is not said.
    """

    name: str | None
    area: Area
    size: tuple[float, float] | None = None


def read_regions(packet: bytes) -> tuple[Region, ...]:
    """The faces in an XMP packet or side file, in its order; Unreadable where it is no XML, longer than MOST_XMP,
    or marks more than MOST_REGIONS.

    A face that is noted in both ways is one: the area is MWG's, the name too, unless it has none. Regions that are no
    faces, and those without a sensible area, are left out.
    """
    if len(packet) > MOST_XMP:
        raise Unreadable(f"its XMP is larger than {MOST_XMP >> 20} MB")
    try:
        root = fromstring(packet.strip(b"\0 \r\n\t"))
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise Unreadable(f"its XMP cannot be read ({error})") from error
    return regions_below(root)


def regions_below(root: Element) -> tuple[Region, ...]:
    """The faces in XMP that was parsed; otherwise as `read_regions`."""
    try:
        return without_repetitions(few_enough((*_mwg_regions(root), *_microsoft_regions(root))))
    except RecursionError as error:
        raise Unreadable(f"its XMP cannot be read ({error})") from error


def few_enough(regions: Sequence[Region]) -> Sequence[Region]:
    """The regions; Unreadable where they are more than MOST_REGIONS."""
    if len(regions) > MOST_REGIONS:
        raise Unreadable(f"more than {MOST_REGIONS} faces are marked")
    return regions


def without_repetitions(regions: Iterable[Region]) -> tuple[Region, ...]:
    """The regions, each face once: the first that marks it, with the name of a later one where it has none."""
    kept: list[Region] = []
    for region in regions:
        for number, other in enumerate(kept):
            if overlap(region.area, other.area) >= SAME_PLACE:
                kept[number] = replace(other, name=other.name or region.name)
                break
        else:
            kept.append(region)
    return tuple(kept)


def upright_area(region: Region, width: int, height: int, orientation: int) -> Area | None:
    """Where a region is in the picture as seen; None where it was drawn in a picture of another shape.

    width, height: pixels as stored. orientation: EXIF, 1..8, as stored samples are turned to be seen. A region whose
    noted size has the sides of the picture as seen, not as stored, was drawn by a program that departs from the
    guidelines, and is where it says.
    """
    as_seen = orientation >= 5 and _has_shape(region.size, height, width) and not _has_shape(region.size, width, height)
    if as_seen:
        return region.area
    if not _has_shape(region.size, width, height):
        return None
    return turn_box(region.area, orientation, (1, 1))


def clean_name(text: str | None) -> str | None:
    """A name as it is compared: NFC, single blanks; None for nothing, and for what says that nobody is named."""
    name = " ".join(unicodedata.normalize("NFC", text or "").split())
    return None if not name or name == IGNORED else name


def _mwg_regions(root: Element) -> Iterator[Region]:
    for regions in root.iter(f"{MWG}Regions"):
        info = _properties(regions)
        size = _size(_properties(info.get(f"{MWG}AppliedToDimensions")))
        for entry in _items(info.get(f"{MWG}RegionList")):
            fields = _properties(entry)
            if (_text(fields.get(f"{MWG}Type")) or "Face").lower() != "face":
                continue
            area = _middle_area(_properties(fields.get(f"{MWG}Area")), size)
            if area is not None:
                yield Region(clean_name(_text(fields.get(f"{MWG}Name"))), area, size)


def _microsoft_regions(root: Element) -> Iterator[Region]:
    for info in root.iter(f"{MICROSOFT}RegionInfo"):
        for entry in _items(_properties(info).get(f"{MICROSOFT_INFO}Regions")):
            fields = _properties(entry)
            numbers = _numbers((_text(fields.get(f"{MICROSOFT_REGION}Rectangle")) or "").split(","))
            if numbers is None or len(numbers) != 4:
                continue
            x, y, width, height = numbers
            area = _sensible((x, y, x + width, y + height))
            if area is not None:
                yield Region(clean_name(_text(fields.get(f"{MICROSOFT_REGION}PersonDisplayName"))), area)


Value: TypeAlias = Element | str | None


def _properties(value: Value) -> dict[str, Value]:
    """The properties of a structure, by qualified name, however RDF writes it: attributes, elements, a description."""
    if not isinstance(value, Element):
        return {}
    found: dict[str, Value] = {str(name): text for name, text in value.attrib.items() if not name.startswith(RDF)}
    for child in value:
        if child.tag in (f"{RDF}Description", f"{RDF}value"):
            found.update(_properties(child))
        else:
            found[str(child.tag)] = child
    return found


def _items(value: Value) -> Iterator[Element]:
    """The entries of a list."""
    if isinstance(value, Element):
        for container in value:
            if container.tag in (f"{RDF}Bag", f"{RDF}Seq", f"{RDF}Alt"):
                yield from (item for item in container if item.tag == f"{RDF}li")


def _text(value: Value) -> str | None:
    if isinstance(value, Element):
        inner = value.find(f"{RDF}value")
        inner = value.find(f"{RDF}Description/{RDF}value") if inner is None else inner
        return (value if inner is None else inner).text
    return value


def _size(fields: dict[str, Value]) -> tuple[float, float] | None:
    numbers = _numbers([_text(fields.get(f"{DIMENSIONS}{side}")) for side in "wh"])
    if numbers is None or min(numbers) < 1:
        return None
    return numbers[0], numbers[1]


def _middle_area(fields: dict[str, Value], size: tuple[float, float] | None) -> Area | None:
    """An area given by its middle. In pixels it needs the size they belong to; without w and h it is a point."""
    numbers = _numbers([_text(fields.get(f"{AREA}{side}")) for side in "xywh"])
    if numbers is None:
        return None
    x, y, width, height = numbers
    if (_text(fields.get(f"{AREA}unit")) or "normalized").lower() == "pixel":
        if size is None:
            return None
        x, y, width, height = x / size[0], y / size[1], width / size[0], height / size[1]
    return _sensible((x - width / 2, y - height / 2, x + width / 2, y + height / 2))


def _numbers(texts: list[str] | list[str | None]) -> list[float] | None:
    try:
        numbers = [float(text or "") for text in texts]
    except ValueError:
        return None
    return numbers if all(math.isfinite(number) for number in numbers) else None


def _sensible(area: Area) -> Area | None:
    """The part of an area inside the picture, None where there is none."""
    x0, y0, x1, y1 = (min(max(edge, 0.0), 1.0) for edge in area)
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def _has_shape(size: tuple[float, float] | None, width: int, height: int) -> bool:
    """Whether a noted size, if there is one, is that of a picture in whatever resolution."""
    if size is None:
        return True
    wanted = size[0] * height / size[1]
    return abs(wanted - width) <= 2 + SAME_SHAPE * width
