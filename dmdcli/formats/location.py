"""Where a photo was taken, taken out of its metadata: EXIF's GPS directory and XMP's GPS properties.

Everything is overwritten in place and keeps its length, so that all else in a file stays byte for byte.
"""

from __future__ import annotations

import re
from typing import Literal
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from dmdcli.formats import tiff_directory as tags
from dmdcli.formats.picture import Unreadable
from dmdcli.formats.tiff_directory import SIZES, Directory, read_directory

LONGEST_BLOCK = 1 << 20
EXIF_START = re.compile(rb"II\*\0|MM\0\*")
"""What an EXIF block begins with. Should coded samples hold the same by chance, no GPS directory follows."""
PROPERTY = rb"[A-Za-z][\w.-]*:G[Pp][Ss]\w*"
XMP_PROPERTIES = re.compile(
    rb"""<(?P<name>%s)(?=[\s/>])[^<>]*?(?:/>|>.*?</(?P=name)\s*>)|(?<=\s)%s\s*=\s*(?:"[^"<]*"|'[^'<]*')"""
    % (PROPERTY, PROPERTY),
    re.DOTALL,
)
DOUBT = "may still say where it was taken: its XMP cannot be read"
LEFT = "still says where it was taken, in a form of XMP that cannot be overwritten"


def strip_location(content: bytes) -> bytes:
    """The file without places in any EXIF block or XMP packet in it. Not for PNG (check sums) and TIFF (strip_exif)."""
    changed = bytearray(content)
    for found in EXIF_START.finditer(content):
        block = slice(found.start(), found.start() + LONGEST_BLOCK)
        changed[block] = strip_exif(bytes(changed[block]))
    return strip_xmp(bytes(changed))


def strip_exif(block: bytes) -> bytes:
    """An EXIF block, or a TIFF file, of the same length without its GPS directories; as it was if it cannot be read."""
    content = bytearray(block)
    seen: set[int] = set()
    try:
        page = read_directory(block)
        while page.start not in seen:
            seen.add(page.start)
            if tags.GPS in page.entries:
                _clear(content, read_directory(block, page.value(block, tags.GPS, 0)))
                _take_out(content, page, tags.GPS)
            if not page.following:
                break
            page = read_directory(block, page.following)
    except Unreadable:
        pass
    return bytes(content)


def strip_xmp(packet: bytes) -> bytes:
    """XMP, or a file with XMP in it, of the same length: properties named GPS... are overwritten with blanks."""
    return XMP_PROPERTIES.sub(lambda found: b" " * len(found[0]), packet)


def doubt_about(xmp: bytes | None) -> str | None:
    """A sentence where stripped XMP still names a place, or cannot be read."""
    if not xmp:
        return None
    try:
        root = fromstring(xmp.strip(b"\0 \r\n\t"))
    except (ParseError, DefusedXmlException, ValueError):
        return DOUBT
    names = [name for element in root.iter() for name in (str(element.tag), *element.attrib)]
    return LEFT if any(name.rpartition("}")[2].upper().startswith("GPS") for name in names) else None


def _clear(content: bytearray, directory: Directory) -> None:
    """Overwrite a directory and its values with zeros."""
    for tag, entry in directory.entries.items():
        value = directory.content(bytes(content), tag)
        size = SIZES.get(entry.kind, 0) * entry.count
        if value is not None and size > directory.width:
            start = int.from_bytes(entry.field, _byte_order(directory))
            content[start : start + size] = bytes(size)
    content[directory.start : directory.end] = bytes(directory.end - directory.start)


def _take_out(content: bytearray, directory: Directory, tag: int) -> None:
    """Take one entry out of a directory; those behind it move up, and zeros fill the end."""
    head, step = (8, 20) if directory.big else (2, 12)
    order = _byte_order(directory)
    first = directory.start + head
    for position in range(first, directory.end, step):
        if int.from_bytes(content[position : position + 2], order) == tag:
            content[position : directory.end] = content[position + step : directory.end] + bytes(step)
            count = int.from_bytes(content[directory.start : first], order) - 1
            content[directory.start : first] = count.to_bytes(head, order)
            return


def _byte_order(directory: Directory) -> Literal["little", "big"]:
    return "little" if directory.order == "<" else "big"
