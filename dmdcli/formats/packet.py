"""An XMP packet as text: where its properties stand, and changes that leave every other character as it was.

XMP is RDF in XML (ISO 16684-1): below rdf:RDF stand rdf:Description elements, whose attributes and children are the
properties. defusedxml says whether a packet can be trusted; then its tags are found by a pattern, which tells their
places, as no parser does for attributes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import unescape
from typing import TypeAlias
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

Name: TypeAlias = tuple[str, str]
"""Namespace and local name."""

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
DESCRIPTION: Name = (RDF, "Description")
ABOUT: Name = (RDF, "about")
EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
    f'<rdf:RDF xmlns:rdf="{RDF}">\n</rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>'
)
"""A packet without properties."""

TAGS = re.compile(
    r"""<!--.*?-->|<\?.*?\?>|<!\[CDATA\[.*?\]\]>|
    <(?P<closing>/?)(?P<name>[^\s/>]+)(?P<attributes>(?:\s+[^\s=<>"'/]+\s*=\s*(?:"[^"]*"|'[^']*'))*)\s*(?P<empty>/?)>""",
    re.DOTALL | re.VERBOSE,
)
ATTRIBUTES = re.compile(r"""\s+([^\s=<>"'/]+)\s*=\s*("[^"]*"|'[^']*')""")
PACKET_END = "<?xpacket end"
AROUND = "\ufeff\0 \r\n\t"
"""What may stand before and behind a packet."""
NO_TEXT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot hold."""
NO_MATCH = "its tags do not match"
MOST_XMP = 4 << 20
"""Bytes of XMP that are read for tags and marks. A JPEG segment holds 64 KiB; histories that grew over years
make a few MB of it."""
MOST_PREFIXES = 1000
"""Declarations of prefixes in all of a packet, each of which copies those around it; programs write a dozen."""
DEEPEST = 100
"""Elements around an element; XMP that programs write has about ten."""


class BrokenPacket(Exception):
    """The bytes are no XMP that can be changed; the text says why."""


@dataclass(frozen=True)
class Attribute:
    """start, end: its place in the text, with the blanks before it. value: without escapes."""

    name: Name
    value: str
    start: int
    end: int


@dataclass(eq=False)
class Element:
    """start, opened: of its first tag. closed, end: of its last tag; the same as `opened` where there is but one tag.

    prefixes: prefix -> namespace inside it.
    """

    name: Name
    start: int
    opened: int
    closed: int
    end: int
    attributes: tuple[Attribute, ...]
    prefixes: Mapping[str, str] = field(repr=False)
    children: list[Element] = field(default_factory=list)

    @property
    def inner(self) -> list[Element | Attribute]:
        """Its attributes and children."""
        return [*self.attributes, *self.children]

    def all(self) -> Iterator[Element]:
        """The element and everything below it, in the order of the text."""
        waiting = [self]
        while waiting:
            element = waiting.pop()
            yield element
            waiting += reversed(element.children)


@dataclass(frozen=True)
class Change:
    """What stands between two places of a text becomes something else."""

    start: int
    end: int
    text: str = ""


@dataclass(frozen=True)
class Packet:
    """A packet that was read. root: its rdf:RDF. parsed: all of it, as a parser sees it, without places."""

    text: str = field(repr=False)
    encoding: str
    root: Element
    parsed: ElementTree.Element = field(repr=False, compare=False)

    @property
    def descriptions(self) -> list[Element]:
        """Where its properties stand."""
        return [one for one in self.root.children if one.name == DESCRIPTION]

    def properties(self, name: Name) -> list[Element | Attribute]:
        """The property of that name, in either form; more than one only in packets that are not as they should be."""
        return [one for described in self.descriptions for one in described.inner if one.name == name]

    def content(self, element: Element) -> str:
        """The text of an element without children."""
        return unescape(self.text[element.opened : element.closed]).strip()

    def values(self, below: Element, name: Name) -> list[str]:
        """The values of all attributes and elements of that name in an element, however deep."""
        return [
            one.value if isinstance(one, Attribute) else self.content(one)
            for element in below.all()
            for one in element.inner
            if one.name == name
        ]

    def value(self, name: Name) -> str | None:
        """The value of a property that is a text."""
        found = [one.value if isinstance(one, Attribute) else self.content(one) for one in self.properties(name)]
        return found[0] if found else None

    def without(self, unwanted: Sequence[Name], namespace: str) -> list[Change]:
        """The changes that take out properties of those names, and all of a namespace.

        A description with nothing else in it goes too.
        """
        changes = []
        for described in self.descriptions:
            own = [one for one in described.inner if one.name[0] not in ("", "xmlns") and one.name != ABOUT]
            out = [one for one in own if one.name in unwanted or one.name[0] == namespace]
            everything = out and len(out) == len(own)
            changes += [self.cut(one) for one in ([described] if everything else out)]
        return changes

    def inside(self, element: Element, added: str) -> Change:
        """The change that puts XML behind everything else in an element."""
        if element.closed < element.end:
            return Change(element.closed, element.closed, added)
        tag = self.text[element.start : element.end]
        name = re.split(r"[\s/>]", tag[1:], maxsplit=1)[0]
        return Change(element.end - 2, element.end, f">{added}</{name}>")

    def described(self, body: str, prefixes: Mapping[str, str]) -> Change:
        """The change that adds properties, as XML, in a description of their own. prefixes: those used in them."""
        about = next((one.value for each in self.descriptions for one in each.attributes if one.name == ABOUT), "")
        return self.inside(
            self.root, f"<rdf:Description rdf:about={quoteattr(about)}{self.bind(prefixes)}>{body}</rdf:Description>\n"
        )

    def bind(self, prefixes: Mapping[str, str], at: Element | None = None) -> str:
        """What binds prefixes, and rdf, in a tag below `at` (the root), as far as they are not bound alike there."""
        known = (at or self.root).prefixes
        wanted = {"rdf": RDF, **prefixes}
        return "".join(f' xmlns:{name}="{where}"' for name, where in wanted.items() if known.get(name) != where)

    def changed(self, changes: Sequence[Change]) -> bytes:
        """The packet with these changes; it takes from its padding what it grows by.

        A change inside of what another takes out is void.
        """
        pieces, end = [], 0
        for change in sorted(changes, key=lambda one: (one.start, one.end)):
            if change.start >= end:
                pieces += [self.text[end : change.start], change.text]
                end = change.end
        text = "".join((*pieces, self.text[end:]))
        growth = len(text) - len(self.text)
        end = text.rfind(PACKET_END)
        if growth > 0 and end > 0:
            start = len(text[:end].rstrip()) + 1
            text = text[:start] + text[start + min(growth, max(0, end - 1 - start)) :]
        return text.encode(self.encoding)

    def cut(self, one: Element | Attribute) -> Change:
        """The change that takes out an element, with the blanks before it, or an attribute."""
        start = one.start
        while isinstance(one, Element) and self.text[start - 1].isspace():
            start -= 1
        return Change(start, one.end)


def read_packet(content: bytes) -> Packet:
    """Read a packet in UTF-8 or UTF-16; BrokenPacket where it is not well-formed, not XMP, defines entities, or is
    larger than any that programs write: hostile ones would take all time and memory.
    """
    if len(content) > MOST_XMP:
        raise BrokenPacket(f"it is larger than {MOST_XMP >> 20} MB")
    encoding = "utf-8"
    if content[:2] in (b"\xff\xfe", b"<\0"):
        encoding = "utf-16-le"
    elif content[:2] in (b"\xfe\xff", b"\0<"):
        encoding = "utf-16-be"
    try:
        text = content.decode(encoding)
        parsed = fromstring(text.strip(AROUND), forbid_dtd=True)
    except (ElementTree.ParseError, DefusedXmlException, ValueError) as error:
        raise BrokenPacket(str(error) or type(error).__name__) from error
    for element in _elements(text):
        if element.name == (RDF, "RDF"):
            return Packet(text, encoding, element, parsed)
    raise BrokenPacket("it holds something else")


def as_text(value: object) -> str:
    """A value as it may stand between two tags."""
    return escape(NO_TEXT.sub("\ufffd", str(value)))


def _elements(text: str) -> list[Element]:
    """All elements of a well-formed text, in order; BrokenPacket where the tags found do not match all the same."""
    found: list[Element] = []
    around: list[tuple[str, Element]] = []
    declared = 0
    for tag in TAGS.finditer(text):
        if tag["name"] is None:
            continue
        if tag["closing"]:
            name, element = around.pop() if around else ("", None)
            if element is None or name != tag["name"]:
                raise BrokenPacket(NO_MATCH)
            element.closed, element.end = tag.span()
            continue
        declared += tag["attributes"].count("xmlns")
        if declared > MOST_PREFIXES:
            raise BrokenPacket(f"it declares more than {MOST_PREFIXES} prefixes")
        if len(around) >= DEEPEST:
            raise BrokenPacket(f"its elements lie more than {DEEPEST} deep in each other")
        element = _element(tag, around[-1][1].prefixes if around else {"xml": "xml"})
        found.append(element)
        if around:
            around[-1][1].children.append(element)
        if not tag["empty"]:
            around.append((tag["name"], element))
    if around:
        raise BrokenPacket(NO_MATCH)
    return found


def _element(tag: re.Match[str], outer: Mapping[str, str]) -> Element:
    pairs = [(one, one[1], unescape(one[2][1:-1])) for one in ATTRIBUTES.finditer(tag["attributes"])]
    bound = {name.partition(":")[2]: value for _, name, value in pairs if name.partition(":")[0] == "xmlns"}
    prefixes = {**outer, **bound} if bound else outer

    def resolved(name: str, default: str) -> Name:
        prefix, colon, local = name.rpartition(":")
        if prefix == "xmlns" or name == "xmlns":
            return "xmlns", local
        return prefixes.get(prefix, "") if colon else default, local

    start = tag.start("attributes")
    attributes = tuple(
        Attribute(resolved(name, ""), value, start + one.start(), start + one.end()) for one, name, value in pairs
    )
    name = resolved(tag["name"], prefixes.get("", ""))
    return Element(name, tag.start(), tag.end(), tag.end(), tag.end(), attributes, prefixes)
