"""The mark in a photo's XMP: what is written, what was there before, what is read again."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dmdcli.formats import jpeg
from dmdcli.formats.packet import EMPTY, read_packet
from dmdcli.marks import (
    HISTORY,
    NO_PLACE,
    NO_ROOM,
    PREFIXES,
    REGIONS,
    Mark,
    MarkedFace,
    put_mark,
    read_mark,
    source_type_of,
    stored_box,
)
from dmdcli.photos import upright
from dmdcli.shapes import turn_box
from tests.collection import PACKET
from tests.formats.pictures import photograph

ALICE = MarkedFace((10.0, 20.0, 110.0, 140.0), "specific", 0.75, 0.91, 0.93, "the mouth is left as it was", "Åse & <B>")
STRANGER = MarkedFace((300.0, 40.0, 380.0, 130.0), "generic", 1.0, None, 0.97)
MARK = Mark("1.2.3", "base", "0123456789abcdef", "embedded", (400, 200), 2, (ALICE, STRANGER))
PLENTY = 1 << 20


def of(*properties: str, prefixes: str = "") -> bytes:
    """A packet with these properties."""
    bound = "".join(f' xmlns:{name}="{where}"' for name, where in PREFIXES.items() if name != "dmd")
    described = f'<rdf:Description rdf:about=""{bound}{prefixes}>{"".join(properties)}</rdf:Description>'
    return EMPTY.replace("</rdf:RDF>", f"{described}</rdf:RDF>").encode()


def put(existing: bytes | None, mark: Mark = MARK, room: int = PLENTY) -> bytes:
    packet, notes = put_mark(existing, mark, room)
    assert notes == ()
    assert packet is not None
    return packet


def source_type(name: str) -> str:
    return f"<Iptc4xmpExt:DigitalSourceType>{name}</Iptc4xmpExt:DigitalSourceType>"


@pytest.mark.parametrize("existing", [None, b"", PACKET, PACKET.decode().encode("utf-16-le")])
def test_a_mark_is_read_as_it_was_written(existing: bytes | None) -> None:
    packet = read_packet(put(existing))
    assert read_mark(packet) == MARK
    assert source_type_of(packet) == "compositeWithTrainedAlgorithmicMedia"
    assert packet.values(packet.properties(HISTORY)[0], (PREFIXES["stEvt"], "softwareAgent")) == ["dmd 1.2.3"]


def test_the_photos_own_packet_stays_in_one_piece() -> None:
    head, tail = PACKET.split(b"</rdf:RDF>")
    marked = put(PACKET)
    assert marked.startswith(head)
    assert marked.endswith(b"</rdf:RDF>" + tail)


def test_a_second_mark_takes_the_place_of_the_first() -> None:
    again = replace(MARK, version="2", count=1, faces=(STRANGER,))
    packet = read_packet(put(put(of(source_type("digsrctype:print"))), again))
    assert read_mark(packet) == replace(again, source_type="print")
    assert len(packet.properties((PREFIXES["dmd"], "version"))) == 1
    agents = packet.values(packet.properties(HISTORY)[0], (PREFIXES["stEvt"], "softwareAgent"))
    assert agents == ["dmd 1.2.3", "dmd 2"]
    assert put(put(None, again), again).count(b"compositeWith") == 1


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        ("http://cv.iptc.org/newscodes/digitalsourcetype/negativeFilm", None, "negativeFilm"),
        ("digitalCapture", None, "digitalCapture"),
        ("http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia", "trainedAlgorithmicMedia", None),
        ("digsrctype:compositeSynthetic", "compositeSynthetic", None),
    ],
)
def test_a_source_type_is_replaced_unless_it_says_more(before: str, after: str | None, kept: str | None) -> None:
    for existing in (of(source_type(before)), of(prefixes=f' Iptc4xmpExt:DigitalSourceType="{before}"')):
        packet = read_packet(put(existing))
        assert len(packet.properties((PREFIXES["Iptc4xmpExt"], "DigitalSourceType"))) == 1
        assert source_type_of(packet) == (after or "compositeWithTrainedAlgorithmicMedia")
        found = read_mark(packet)
        assert found is not None
        assert found.source_type == kept


def test_a_history_goes_on_and_the_tool_that_made_the_photo_stays() -> None:
    existing = of(
        '<xmpMM:History><rdf:Seq><rdf:li stEvt:action="created" stEvt:softwareAgent="Scanner"/></rdf:Seq>',
        "</xmpMM:History>",
        "<tool:CreatorTool>Scanner</tool:CreatorTool>",
        prefixes=' xmlns:tool="http://ns.adobe.com/xap/1.0/"',
    )
    packet = read_packet(put(existing))
    assert len(packet.properties(HISTORY)) == 1
    assert packet.values(packet.properties(HISTORY)[0], (PREFIXES["stEvt"], "action")) == ["created", "edited"]
    assert packet.value(("http://ns.adobe.com/xap/1.0/", "CreatorTool")) == "Scanner"
    assert existing.split(b"<rdf:Seq>")[0] in put(existing)


def region(name: str, x: float, y: float, w: float, h: float) -> str:
    area = f'<mwg-rs:Area stArea:x="{x}" stArea:y="{y}" stArea:w="{w}" stArea:h="{h}" stArea:unit="normalized"/>'
    return f'<rdf:li><rdf:Description mwg-rs:Name="{name}" mwg-rs:Type="Face">{area}</rdf:Description></rdf:li>'


def regions(*items: str) -> str:
    return (
        '<mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:RegionList><rdf:Bag>'
        f"{''.join(items)}</rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>"
    )


def names_in(marked: bytes) -> list[str]:
    packet = read_packet(marked)
    return [name for one in packet.properties(REGIONS) for name in packet.values(one, (PREFIXES["mwg-rs"], "Name"))]


def test_named_faces_become_regions_beside_those_that_are_there() -> None:
    assert names_in(put(None)) == ["Åse & <B>"]
    packet = read_packet(put(None))
    areas = {name: packet.values(packet.properties(REGIONS)[0], (PREFIXES["stArea"], name)) for name in "xywh"}
    assert {name: float(value[0]) for name, value in areas.items()} == {"x": 0.15, "y": 0.4, "w": 0.25, "h": 0.6}
    assert packet.values(packet.properties(REGIONS)[0], (PREFIXES["stDim"], "w")) == ["400"]
    other = regions(region("Bob", 0.8, 0.4, 0.2, 0.4))
    assert names_in(put(of(other))) == ["Bob", "Åse & <B>"]
    assert names_in(put(of(regions()))) == ["Åse & <B>"]
    assert names_in(put(None, replace(MARK, faces=(STRANGER,)))) == []


def test_a_face_that_has_a_region_gets_no_second_one() -> None:
    there = of(regions(region("somebody else", 0.16, 0.42, 0.2, 0.5)))
    assert names_in(put(there)) == ["somebody else"]
    microsoft = (
        '<MP:RegionInfo><rdf:Description><MPRI:Regions><rdf:Bag><rdf:li MPReg:Rectangle="0.03, 0.12, 0.24, 0.58"/>'
        "</rdf:Bag></MPRI:Regions></rdf:Description></MP:RegionInfo>"
    )
    bound = (
        ' xmlns:MP="http://ns.microsoft.com/photo/1.2/" xmlns:MPRI="http://ns.microsoft.com/photo/1.2/t/RegionInfo#"'
        ' xmlns:MPReg="http://ns.microsoft.com/photo/1.2/t/Region#"'
    )
    assert names_in(put(of(microsoft, prefixes=bound))) == []
    assert names_in(put(put(None))) == ["Åse & <B>"]


def test_regions_of_an_earlier_mark_go_with_it_and_those_of_people_stay() -> None:
    unnamed = replace(MARK, faces=(replace(ALICE, person=None, box=(14.0, 22.0, 118.0, 144.0)), STRANGER))
    assert names_in(put(put(None), unnamed)) == []
    other = regions(region("Åse &amp; &lt;B>", 0.16, 0.42, 0.2, 0.5), region("Bob", 0.8, 0.4, 0.2, 0.4))
    both = ["Åse & <B>", "Bob"]
    assert names_in(put(put(of(other)), unnamed)) == both, "the name is ours, the place is not"
    corrected = put(None).replace("Name>Åse &amp; &lt;B&gt;<".encode(), b"Name>Anna<")
    assert names_in(put(corrected)) == ["Anna"]
    (item,) = re.findall(r"<rdf:li [^>]*><mwg-rs:Name>.*?</rdf:li>\s*(?=</rdf:Bag>)", put(None).decode())
    nested = put(None).decode().replace(item, f"<rdf:li><rdf:Bag>{item}</rdf:Bag></rdf:li>")
    assert names_in(put(nested.encode(), unnamed)) == [], "an item in an item is taken out once"


def test_regions_are_where_tags_have_them() -> None:
    """In pixels of a picture of another size; drawn in the picture as seen; of a pet; more than anybody reads."""
    size = '<mwg-rs:AppliedToDimensions stDim:w="{}" stDim:h="{}" stDim:unit="pixel"/><mwg-rs:RegionList>'
    pixels = region("Bob", 120, 160, 200, 240).replace("normalized", "pixel")
    in_pixels = regions(pixels).replace("<mwg-rs:RegionList>", size.format(800, 400))
    assert names_in(put(of(in_pixels))) == ["Bob"]
    turned = regions(region("Bob", 0.6, 0.15, 0.6, 0.25)).replace("<mwg-rs:RegionList>", size.format(200, 400))
    assert names_in(put_mark(of(turned), MARK, PLENTY, 6)[0] or b"") == ["Bob"]
    assert names_in(put_mark(of(turned), MARK, PLENTY, 8)[0] or b"") == ["Bob", "Åse & <B>"]
    pet = regions(region("Rex", 0.15, 0.4, 0.25, 0.6).replace("Face", "Pet"))
    assert names_in(put(of(pet))) == ["Rex", "Åse & <B>"]
    many = regions(*(region("Bob", 0.9, 0.9, 0.1, 0.1) for _ in range(1001)))
    assert names_in(put(of(many))) == ["Bob"] * 1001


def test_what_may_stand_in_extended_xmp_is_not_added() -> None:
    packet = read_packet(
        put(of(prefixes=' xmlns:n="http://ns.adobe.com/xmp/note/" n:HasExtendedXMP="0123456789ABCDEF0123456789ABCDEF"'))
    )
    assert read_mark(packet) == MARK
    assert packet.properties(HISTORY) == packet.properties(REGIONS) == []


def test_a_mark_that_does_not_fit_gets_shorter_and_then_stays_away() -> None:
    whole = len(put(PACKET))
    packet, notes = put_mark(PACKET, MARK, whole - 1)
    assert notes == (NO_ROOM,)
    assert packet is not None
    assert len(packet) < whole
    assert read_mark(read_packet(packet)) == replace(MARK, faces=())
    assert put_mark(PACKET, MARK, len(PACKET) + 100) == (None, (NO_PLACE,))
    assert put_mark(None, MARK, 0) == (None, (NO_PLACE,))


def test_broken_xmp_is_left_alone_and_said() -> None:
    packet, (note,) = put_mark(PACKET[:400], MARK, PLENTY)
    assert packet is None
    assert "broken XMP" in note


@pytest.mark.parametrize(
    "damage", [(b">400<", b">wide<"), (b">400<", b">0<"), (b">10.0 20.0 ", b">10.0 "), (b"dmd:strength>", b"dmd:weak>")]
)
def test_a_damaged_mark_is_none(damage: tuple[bytes, bytes]) -> None:
    marked = put(None)
    assert damage[0] in marked
    assert read_mark(read_packet(marked.replace(*damage))) is None
    assert read_mark(read_packet(PACKET)) is None


def test_characters_that_xml_cannot_hold_are_replaced() -> None:
    odd = replace(MARK, faces=(replace(ALICE, person="a\x00b\udcffc\n"),))
    found = read_mark(read_packet(put(None, odd)))
    assert found is not None
    assert found.faces[0].person == "a\ufffdb\ufffdc"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_turn_with_the_picture(orientation: int) -> None:
    stored = np.zeros((30, 50), np.uint8)
    seen = upright(stored, orientation)
    seen[4:9, 6:18] = 1
    x0, y0, x1, y1 = stored_box((6, 4, 18, 9), orientation, (50, 30))
    rows, columns = np.nonzero(stored)
    assert (x0, y0, x1, y1) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert turn_box((x0, y0, x1, y1), orientation, (50, 30)) == (6, 4, 18, 9)
    assert stored_box((-9, -9, 99, 99), orientation, (50, 30)) == (0, 0, 50, 30)


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed (libimage-exiftool-perl)")
def test_exiftool_reads_regions_and_mark_and_what_it_writes_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg.with_xmp(jpeg.write(photograph((400, 200)), jpeg.Metadata()), put(PACKET)))
    ask = ["exiftool", "-s3", "-struct", "-validate", "-a", "-warning", "-RegionInfo", "-XMP-dmd:Model", str(path)]
    said = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
    assert "Name=Åse & <B>" in said
    assert "X=0.15" in said
    assert said.splitlines()[0] == "OK"
    assert said.splitlines()[-1] == "base"
    subprocess.run(["exiftool", "-q", "-XMP-dc:Title=new", str(path)], check=True)
    packet = read_packet(jpeg.metadata(path.read_bytes()).xmp or b"")
    assert read_mark(packet) == MARK
    assert "Image::ExifTool" in packet.text
