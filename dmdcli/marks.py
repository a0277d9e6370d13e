"""The mark: what a restored photo itself says of its faces, as XMP; see docs/marks.md.

It goes into the photo's own packet, of which everything else stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from dmdcli.formats.face_tags import Area, Region, clean_name, regions_below, upright_area
from dmdcli.formats.packet import (
    EMPTY,
    RDF,
    BrokenPacket,
    Change,
    Element,
    Name,
    Packet,
    as_text,
    read_packet,
)
from dmdcli.formats.picture import Unreadable
from dmdcli.shapes import SAME_FACE, Box, overlap, turn_box

FORMAT = 1
"""Version of what is below NAMESPACE."""
NAMESPACE = "urn:uuid:15a02fad-d904-43f8-a297-a113c0d9ff21#"
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
RESTORED = "compositeWithTrainedAlgorithmicMedia"
SAYS_MORE = frozenset({RESTORED, "trainedAlgorithmicMedia", "compositeSynthetic"})
"""Source types that are not replaced: the same, or a picture that was made or put together by such software."""
PREFIXES = {
    "dmd": NAMESPACE,
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
    "stEvt": "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "stArea": "http://ns.adobe.com/xmp/sType/Area#",
    "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
}
SOURCE_TYPE: Name = (PREFIXES["Iptc4xmpExt"], "DigitalSourceType")
HISTORY: Name = (PREFIXES["xmpMM"], "History")
REGIONS: Name = (PREFIXES["mwg-rs"], "Regions")
EXTENDED: Name = ("http://ns.adobe.com/xmp/note/", "HasExtendedXMP")
OURS = 0.9
"""Overlap from which a region with the same name is the one that was written with the mark. Programs that write it anew
may round it to pixels; people, and other finders, draw boxes that differ by more."""
NO_ROOM = "has no room for the whole mark in its XMP; it says how many faces were restored, but not which"
NO_PLACE = "has no place for a mark that faces in it were restored by software"


@dataclass(frozen=True)
class MarkedFace:
    """A face that was restored.

    box: x0, y0, x1, y1 in pixels of the picture as it is stored. used: the dictionary. strength: of the blending.
    before, after: similarity in [0, 1], of a known person to the references; for a stranger only after, to the face as
    it was. reason: why it is not restored with the strength asked for. person: the name, where names are wanted.
    """

    box: Box
    used: str
    strength: float
    before: float | None = None
    after: float | None = None
    reason: str | None = None
    person: str | None = None


@dataclass(frozen=True)
class Mark:
    """What a photo says of its faces.

    version: of dmd. model, weights: name and id of the network. kit: that found the faces. size: width and height of
    the picture as it is stored. count: faces restored; `faces` is empty where there was no room for them. source_type:
    what the photo said of its origin before.
    """

    version: str
    model: str
    weights: str
    kit: str
    size: tuple[int, int]
    count: int
    faces: tuple[MarkedFace, ...] = ()
    source_type: str | None = None
    format: int = field(default=FORMAT)


def stored_box(box: Box, orientation: int, size: tuple[int, int]) -> Box:
    """A box of the upright photo in the picture as it is stored, cut off at its edges.

    orientation: EXIF, 1..8. size: width and height as stored.
    """
    width, height = size
    back = {6: 8, 8: 6}.get(orientation, orientation)
    x0, y0, x1, y1 = turn_box(box, back, size if orientation < 5 else (height, width))
    return max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)


def put_mark(
    existing: bytes | None, mark: Mark, room: int, orientation: int = 1
) -> tuple[bytes | None, tuple[str, ...]]:
    """Return the packet with the mark in it, and sentences about what could not be done.

    existing: the photo's own packet. room: bytes that fit into the file. orientation: EXIF, 1..8, as the
    stored picture is turned to be seen. The packet is None where there is no place for
    a mark or the photo's own is broken: then that stays as it is.
    """
    if room <= 0:
        return None, (NO_PLACE,)
    try:
        packet = read_packet(existing or EMPTY.encode())
    except BrokenPacket as broken:
        return None, (f"has broken XMP ({broken}), so that no mark was added; it stays as it is",)
    content = packet.changed(_changes(packet, mark, orientation))
    if len(content) <= room:
        return content, ()
    content = packet.changed(_changes(packet, replace(mark, faces=()), orientation))
    return (content, (NO_ROOM,)) if len(content) <= room else (None, (NO_PLACE,))


def read_mark(packet: Packet) -> Mark | None:
    """The mark in a packet, None where there is none or it is damaged."""

    def text(name: str) -> str:
        return packet.value((NAMESPACE, name)) or ""

    try:
        faces = tuple(_face(packet, one) for one in _items(packet, (NAMESPACE, "faces")))
        size = (int(text("width")), int(text("height")))
        if min(size) < 1:
            return None
        return Mark(
            version=text("version"),
            model=text("model"),
            weights=text("weights"),
            kit=text("kit"),
            size=size,
            count=int(text("count")),
            faces=faces,
            source_type=packet.value((NAMESPACE, "sourceType")),
            format=int(text("format")),
        )
    except ValueError:
        return None


def mark_in(xmp: bytes | None) -> Mark | None:
    """The mark in a photo's XMP, None where there is none or it cannot be read."""
    try:
        return read_mark(read_packet(xmp)) if xmp else None
    except BrokenPacket:
        return None


def of_others(regions: Iterable[Region], mark: Mark | None) -> tuple[Region, ...]:
    """The regions without those that were written with the mark: they say what it says, and nobody looked at them."""
    ours = [(clean_name(face.person), _area(face, mark.size)) for face in mark.faces if face.person] if mark else []
    return tuple(
        region
        for region in regions
        if not any(region.name == name and overlap(region.area, area) >= OURS for name, area in ours)
    )


def source_type_of(packet: Packet) -> str | None:
    """The last part of the IPTC digital source type, as "digitalCapture"."""
    found = packet.value(SOURCE_TYPE)
    return re.split(r"[/:]", found)[-1] if found else None


def _changes(packet: Packet, mark: Mark, orientation: int) -> list[Change]:
    """All changes that put a mark, in place of an earlier one, into a packet."""
    before, earlier = source_type_of(packet), read_mark(packet)
    unwanted, body = [], ""
    if before not in SAYS_MORE:
        unwanted.append(SOURCE_TYPE)
        body += f"\n<Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPES}{RESTORED}</Iptc4xmpExt:DigitalSourceType>"
        mark = replace(mark, source_type=before)
    elif earlier is not None:
        mark = replace(mark, source_type=earlier.source_type)
    changes = packet.without(unwanted, NAMESPACE) + _without_regions(packet, earlier)
    is_extended = bool(packet.properties(EXTENDED))  # what is not here may be there
    if mark.faces:
        history = _lists(packet, HISTORY)
        if history:
            changes.append(packet.inside(history[0], _event(mark, packet.bind(_some("stEvt"), history[0]))))
        elif not packet.properties(HISTORY) and not is_extended:
            body += f"\n<xmpMM:History><rdf:Seq>{_event(mark)}</rdf:Seq></xmpMM:History>"
        named = _unmarked(packet, mark, orientation, earlier)
        regions = _lists(packet, REGIONS)
        if named and regions:
            binding = packet.bind(_some("mwg-rs", "stArea"), regions[0])
            changes.append(packet.inside(regions[0], "".join(_region(face, mark.size, binding) for face in named)))
        elif named and not packet.properties(REGIONS) and not is_extended:
            body += _regions(named, mark.size)
    body += _own(mark)
    used = [prefix for prefix in PREFIXES if f"{prefix}:" in body]
    changes.append(packet.described(f"{body}\n", _some(*used)))
    return changes


def _event(mark: Mark, binding: str = "") -> str:
    """An item of the photo's history; without a date, so that the same photo always comes out as the same bytes."""
    return (
        f'<rdf:li rdf:parseType="Resource"{binding}><stEvt:action>edited</stEvt:action>'
        f"<stEvt:softwareAgent>dmd {as_text(mark.version)}</stEvt:softwareAgent>"
        f"<stEvt:parameters>faces restored: {mark.count}</stEvt:parameters></rdf:li>"
    )


def _own(mark: Mark) -> str:
    """The mark's properties below NAMESPACE, as XML."""
    width, height = mark.size
    values = [
        ("format", mark.format), ("version", mark.version), ("model", mark.model), ("weights", mark.weights),
        ("kit", mark.kit), ("width", width), ("height", height), ("count", mark.count),
        ("sourceType", mark.source_type),
    ]  # fmt: skip
    faces = ""
    for face in mark.faces:
        area = _area(face, mark.size)
        said = [
            ("box", " ".join(f"{edge:.1f}" for edge in face.box)), ("area", " ".join(f"{edge:.5f}" for edge in area)),
            ("used", face.used), ("strength", f"{face.strength:.3f}"), ("before", _number(face.before)),
            ("after", _number(face.after)), ("reason", face.reason), ("person", face.person),
        ]  # fmt: skip
        faces += f'\n<rdf:li rdf:parseType="Resource">{_texts(said)}</rdf:li>'
    listed = f"\n<dmd:faces><rdf:Seq>{faces}</rdf:Seq></dmd:faces>" if faces else ""
    return _texts(values, "\n") + listed


def _texts(values: Sequence[tuple[str, object]], between: str = "") -> str:
    return "".join(f"{between}<dmd:{name}>{as_text(value)}</dmd:{name}>" for name, value in values if value is not None)


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


def _face(packet: Packet, item: Element) -> MarkedFace:
    def text(name: str) -> str | None:
        found = packet.values(item, (NAMESPACE, name))
        return found[0] if found else None

    def number(name: str) -> float | None:
        found = text(name)
        return None if found is None else float(found)

    x0, y0, x1, y1 = (float(edge) for edge in (text("box") or "").split())
    return MarkedFace(
        box=(x0, y0, x1, y1),
        used=text("used") or "",
        strength=float(text("strength") or ""),
        before=number("before"),
        after=number("after"),
        reason=text("reason"),
        person=text("person"),
    )


def _region(face: MarkedFace, size: tuple[int, int], binding: str = "") -> str:
    """A face as the Metadata Working Group describes it: the middle and the size, over those of the picture."""
    (x0, y0, x1, y1), (width, height) = face.box, size
    numbers = {
        "x": (x0 + x1) / 2 / width, "y": (y0 + y1) / 2 / height, "w": (x1 - x0) / width, "h": (y1 - y0) / height,
    }  # fmt: skip
    area = "".join(f"<stArea:{name}>{number:.5f}</stArea:{name}>" for name, number in numbers.items())
    return (
        f'\n<rdf:li rdf:parseType="Resource"{binding}><mwg-rs:Name>{as_text(face.person)}</mwg-rs:Name>'
        f'<mwg-rs:Type>Face</mwg-rs:Type><mwg-rs:Area rdf:parseType="Resource">{area}'
        "<stArea:unit>normalized</stArea:unit></mwg-rs:Area></rdf:li>"
    )


def _regions(named: Sequence[MarkedFace], size: tuple[int, int]) -> str:
    """Regions for a photo that has none."""
    return (
        '\n<mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:AppliedToDimensions rdf:parseType="Resource">'
        f"<stDim:w>{size[0]}</stDim:w><stDim:h>{size[1]}</stDim:h><stDim:unit>pixel</stDim:unit>"
        "</mwg-rs:AppliedToDimensions><mwg-rs:RegionList><rdf:Bag>"
        f"{''.join(_region(face, size) for face in named)}</rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>"
    )


def _without_regions(packet: Packet, earlier: Mark | None) -> list[Change]:
    """The changes that take out the regions written with an earlier mark: without it they would pass for a person's."""
    changes = []
    for item in _items(packet, REGIONS) if earlier else ():
        names = packet.values(item, (PREFIXES["mwg-rs"], "Name"))
        sides = [packet.values(item, (PREFIXES["stArea"], side)) for side in "xywh"]
        try:
            x, y, w, h = (float(side[0]) for side in sides)
        except (ValueError, IndexError):
            continue
        region = Region(clean_name(names[0]) if names else None, (x - w / 2, y - h / 2, x + w / 2, y + h / 2))
        if not of_others([region], earlier):
            changes.append(packet.cut(item))
    return changes


def _unmarked(packet: Packet, mark: Mark, orientation: int, earlier: Mark | None) -> list[MarkedFace]:
    """The faces with names that no region of others covers yet, whatever that says."""
    width, height = mark.size
    try:
        regions = of_others(regions_below(packet.parsed), earlier)
    except Unreadable:  # too many to say that none covers a face
        return []
    areas = [upright_area(region, width, height, orientation) for region in regions]

    def covered(face: MarkedFace) -> bool:
        seen = turn_box(_area(face, mark.size), orientation, (1, 1))
        return any(area is not None and overlap(seen, area) >= SAME_FACE for area in areas)

    return [face for face in mark.faces if face.person and not covered(face)]


def _area(face: MarkedFace, size: tuple[int, int]) -> Area:
    """The box of a face over the size of the picture."""
    (x0, y0, x1, y1), (width, height) = face.box, size
    return x0 / width, y0 / height, x1 / width, y1 / height


def _lists(packet: Packet, name: Name) -> list[Element]:
    """The lists in a property."""
    return [
        below
        for one in packet.properties(name)
        if isinstance(one, Element)
        for below in one.all()
        if below.name in ((RDF, "Seq"), (RDF, "Bag"))
    ]


def _items(packet: Packet, name: Name) -> list[Element]:
    """The items of the lists in a property."""
    return [item for one in _lists(packet, name) for item in one.children if item.name == (RDF, "li")]


def _some(*prefixes: str) -> dict[str, str]:
    return {prefix: PREFIXES[prefix] for prefix in prefixes}
