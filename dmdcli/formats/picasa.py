"""Faces in Picasa's `.picasa.ini`, one file for all photos of a folder.

    [Contacts2]
    d10a8325c557b085=Ada Lovelace;;
    [photo.jpg]
    faces=rect64(3f845bcb59418507),d10a8325c557b085;rect64(...),ffffffffffffffff

A rectangle is left, top, right and bottom, 16 bits each, in parts of the picture times 65535; leading zeros may be
missing. Nobody wrote the format down. What the numbers mean in photos that are turned or cropped is not sure, so the
reader of photos takes only those of photos that are not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

from dmdcli.formats.face_tags import Region, clean_name, few_enough

Sections: TypeAlias = Mapping[str, Mapping[str, str]]
"""Section -> key -> value."""

FACE = re.compile(r"rect64\(([0-9a-fA-F]{1,16})\)\s*,\s*([0-9a-fA-F]*)")
CONTACTS = "contacts2"
TURNED = ("rotate", "crop")
"""Entries of photos that Picasa shows otherwise than they are stored."""


def read_picasa(content: bytes, photo: str) -> tuple[tuple[Region, ...], bool]:
    """As `faces_of`, of the content of a file."""
    return faces_of(read_sections(content), photo)


def faces_of(sections: Sections, photo: str) -> tuple[tuple[Region, ...], bool]:
    """The faces of the photo named `photo` in the same folder, and whether Picasa shows it as it is stored.

    Unreadable where they are too many.
    """
    contacts = {contact: clean_name(value.split(";")[0]) for contact, value in sections.get(CONTACTS, {}).items()}
    fields = sections.get(photo.lower(), {})
    rotated = any(fields.get(key, "rotate(0)") != "rotate(0)" for key in TURNED)
    regions = []
    for rectangle, contact in FACE.findall(fields.get("faces", "")):
        numbers = int(rectangle, 16)
        x0, y0, x1, y1 = ((numbers >> shift & 0xFFFF) / 0xFFFF for shift in (48, 32, 16, 0))
        if x1 > x0 and y1 > y0:
            regions.append(Region(contacts.get(contact.lower()), (x0, y0, x1, y1)))
    return tuple(few_enough(regions)), not rotated


def read_sections(content: bytes) -> Sections:
    """Read a file; sections and keys in small letters, lines that are neither are passed over."""
    text = content.decode("utf-8-sig", "replace")
    sections: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("[") and line.rstrip().endswith("]"):
            current = sections.setdefault(line.strip()[1:-1].lower(), {})
        elif "=" in line:
            key, _, value = line.partition("=")
            current[key.strip().lower()] = value.strip()
    return sections
