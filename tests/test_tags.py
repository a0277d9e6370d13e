"""Face tags as ExifTool writes them are read as ExifTool reads them, and point at what they point at in every way a
photo can be turned."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dmdcli.formats.face_tags import Region, read_regions, upright_area
from dmdcli.formats.packet import MOST_XMP
from dmdcli.formats.picasa import read_picasa
from dmdcli.formats.picture import Unreadable
from dmdcli.marks import Mark, MarkedFace, put_mark
from dmdcli.photos import read_photo, upright
from dmdcli.tags import read_side_tags, read_tags

NAMES = ("Ada Lovelace", "Zoë Müller-Łuczak", "山田 太郎", "محمد علي", "Анна Иванова", 'O\'Neil <&> "Bo", Jr.')
WIDTH, HEIGHT = 300, 200

exiftool_wanted = pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")


def exiftool(*arguments: object) -> str:
    done = subprocess.run(["exiftool", *map(str, arguments)], capture_output=True, check=True)
    return done.stdout.decode()


def escaped(text: str) -> str:
    """As ExifTool wants texts in structures."""
    return "".join(f"|{character}" if character in "{[|,}]" else character for character in text)


def mwg(areas: Sequence[tuple[str | None, tuple[float, float, float, float]]], unit: str = "normalized") -> str:
    regions = ",".join(
        f"{{Area={{X={x},Y={y},W={w},H={h},Unit={unit}}},Type=Face{'' if name is None else ',Name=' + escaped(name)}}}"
        for name, (x, y, w, h) in areas
    )
    return f"-RegionInfo={{AppliedToDimensions={{W={WIDTH},H={HEIGHT},Unit=pixel}},RegionList=[{regions}]}}"


def microsoft(areas: Sequence[tuple[str, tuple[float, float, float, float]]]) -> str:
    regions = ",".join(
        f"{{PersonDisplayName={escaped(name)},Rectangle={escaped(f'{x}, {y}, {w}, {h}')}}}"
        for name, (x, y, w, h) in areas
    )
    return f"-RegionInfoMP={{Regions=[{regions}]}}"


def as_exiftool_reads(path: Path) -> list[tuple[str | None, list[float]]]:
    """Names and edges in parts of the stored picture, as ExifTool gives the numbers."""
    (found,) = json.loads(exiftool("-struct", "-json", "-RegionInfo", "-RegionInfoMP", path))
    regions: list[tuple[str | None, list[float]]] = []
    for one in found.get("RegionInfo", {}).get("RegionList", []):
        area = one["Area"]
        x, y, w, h = (float(area[key]) for key in "XYWH")
        if area["Unit"] == "pixel":
            x, y, w, h = x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT
        regions.append((one.get("Name"), [x - w / 2, y - h / 2, x + w / 2, y + h / 2]))
    for one in found.get("RegionInfoMP", {}).get("Regions", []):
        x, y, w, h = (float(number) for number in one["Rectangle"].split(","))
        regions.append((one["PersonDisplayName"], [x, y, x + w, y + h]))
    return regions


def spread(names: Sequence[str | None]) -> list[tuple[Any, tuple[float, float, float, float]]]:
    return [(name, (0.1 + 0.15 * place, 0.3 + 0.08 * place, 0.12, 0.14)) for place, name in enumerate(names)]


def packet(regions: str, size: str = "") -> bytes:
    """XMP with MWG regions written by hand."""
    return f"""<?xpacket begin='\ufeff' id='W5M0MpCehiHzreSzNTczkc9d'?>
    <x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>
    <rdf:Description rdf:about='' xmlns:mwg-rs='http://www.metadataworkinggroup.com/schemas/regions/'
     xmlns:stArea='http://ns.adobe.com/xmp/sType/Area#' xmlns:stDim='http://ns.adobe.com/xap/1.0/sType/Dimensions#'>
    <mwg-rs:Regions rdf:parseType='Resource'>{size}<mwg-rs:RegionList><rdf:Bag>{regions}</rdf:Bag></mwg-rs:RegionList>
    </mwg-rs:Regions></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end='w'?>""".encode()


@exiftool_wanted
@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp", "xmp"])
def test_what_exiftool_wrote_is_read_as_exiftool_reads_it(tmp_path: Path, ending: str) -> None:
    photo = tmp_path / f"a.{'jpg' if ending == 'xmp' else ending}"
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), 90, np.uint8)).save(photo)
    written = photo if ending != "xmp" else tmp_path / "a.jpg.xmp"
    more = [("Grandmother", (0.02, 0.01, 0.1, 0.12)), ("Ärzte, Die", (0.8, 0.02, 0.1, 0.1))]
    regions = mwg([*spread(NAMES[:5]), (None, (0.9, 0.9, 0.1, 0.1))])
    exiftool("-q", "-overwrite_original", regions, microsoft(more), written)
    if ending in ("webp", "png"):  # ExifTool 12.57 packs nothing here, so what it wrote is where readers look
        assert b"RegionList" in written.read_bytes()
    tags = read_tags(read_photo(photo))
    assert not tags.notes
    expected = as_exiftool_reads(written)
    assert [tag.name for tag in tags.faces] == [name for name, _ in expected]
    assert len(expected) == 8
    scale = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])
    found = np.array([tag.box for tag in tags.faces])
    np.testing.assert_allclose(found, np.clip([area for _, area in expected], 0, 1) * scale, atol=1e-6 * WIDTH)


@exiftool_wanted
def test_regions_in_pixels_and_names_with_every_sign(tmp_path: Path) -> None:
    side = tmp_path / "b.xmp"
    exiftool("-q", mwg([(NAMES[5], (150, 50, 60, 40)), ("x", (20, 150, 30, 40))], unit="pixel"), side)
    regions = read_regions(side.read_bytes())
    expected = as_exiftool_reads(side)
    assert [(region.name, pytest.approx(region.area)) for region in regions] == expected
    assert regions[0].name == NAMES[5]
    assert regions[0].size == (WIDTH, HEIGHT)


@exiftool_wanted
@pytest.mark.parametrize("kind", ["mwg", "microsoft", "pixel"])
def test_a_tag_points_at_the_same_face_however_the_photo_is_turned(tmp_path: Path, kind: str) -> None:
    """A white block in the stored picture is marked; in the upright one the tag's box is the block."""
    samples = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
    samples[20:60, 210:270] = 255
    x, y, w, h = 210 / WIDTH, 20 / HEIGHT, 60 / WIDTH, 40 / HEIGHT
    arguments = {
        "mwg": mwg([("Ada", (x + w / 2, y + h / 2, w, h))]),
        "microsoft": microsoft([("Ada", (x, y, w, h))]),
        "pixel": mwg([("Ada", (240, 40, 60, 40))], unit="pixel"),
    }
    plain = tmp_path / "plain.png"
    Image.fromarray(samples).save(plain)
    exiftool("-q", "-overwrite_original", arguments[kind], plain)
    each = [("-q", f"-Orientation#={number}", "-o", tmp_path / f"{number}.png", plain) for number in range(1, 9)]
    exiftool(*(word for one in each for word in (*one, "-execute")))
    for orientation in range(1, 9):
        photo = read_photo(tmp_path / f"{orientation}.png")
        assert photo.orientation == orientation
        assert np.array_equal(photo.pixels, upright(samples, orientation))
        (tag,) = read_tags(photo).faces
        x0, y0, x1, y1 = (round(edge) for edge in tag.box)
        assert (photo.pixels[y0:y1, x0:x1] == 255).all()
        assert (y1 - y0) * (x1 - x0) == 60 * 40


def test_a_region_drawn_in_the_picture_as_seen_is_where_it_says() -> None:
    region = Region("Ada", (0.1, 0.2, 0.3, 0.4), (200, 300))
    assert upright_area(region, 300, 200, 6) == region.area
    assert upright_area(region, 300, 200, 1) is None, "turned since, and nobody knows which way"
    stored = Region("Ada", region.area, (1500, 1000))
    assert upright_area(stored, 300, 200, 6) == pytest.approx((0.6, 0.1, 0.8, 0.3))
    assert upright_area(Region("Ada", region.area, (300, 150)), 300, 200, 1) is None, "cropped since"


def test_every_way_rdf_has_to_write_a_structure() -> None:
    size = "<mwg-rs:AppliedToDimensions stDim:w='300' stDim:h='200' stDim:unit='pixel'/>"
    area = "stArea:x='0.5' stArea:y='0.5' stArea:w='0.2' stArea:h='0.4' stArea:unit='normalized'"
    fields = "mwg-rs:Name='Ada' mwg-rs:Type='Face'"
    attributes = f"<rdf:li><rdf:Description {fields}><mwg-rs:Area {area}/></rdf:Description></rdf:li>"
    elements = """<rdf:li rdf:parseType='Resource'><mwg-rs:Name>Ada</mwg-rs:Name><mwg-rs:Type>Face</mwg-rs:Type>
        <mwg-rs:Area rdf:parseType='Resource'><stArea:x>0.5</stArea:x><stArea:y>0.5</stArea:y><stArea:w>0.2</stArea:w>
        <stArea:h>0.4</stArea:h></mwg-rs:Area></rdf:li>"""
    short = f"<rdf:li mwg-rs:Name='Ada'><mwg-rs:Area><rdf:Description {area}/></mwg-rs:Area></rdf:li>"
    for written in (attributes, elements, short):
        (region,) = read_regions(packet(written, size))
        assert (region.name, region.size) == ("Ada", (300, 200))
        assert region.area == pytest.approx((0.4, 0.3, 0.6, 0.7))


def test_only_faces_with_a_place_count_and_a_face_without_a_name_is_one() -> None:
    def entry(fields: str, area: str = "stArea:x='0.5' stArea:y='0.5' stArea:w='0.2' stArea:h='0.4'") -> str:
        return f"<rdf:li><rdf:Description {fields}><mwg-rs:Area {area}/></rdf:Description></rdf:li>"

    assert read_regions(packet(entry("mwg-rs:Type='Pet' mwg-rs:Name='Rex'"))) == ()
    assert read_regions(packet(entry("mwg-rs:Name='a'", "stArea:x='0,5' stArea:y='1' stArea:w='1' stArea:h='1'"))) == ()
    assert read_regions(packet(entry("mwg-rs:Name='a'", "stArea:x='0.5' stArea:y='0.5'"))) == ()
    assert read_regions(packet(entry("mwg-rs:Name='a'", "stArea:x='2' stArea:y='2' stArea:w='1' stArea:h='1'"))) == ()
    assert read_regions(packet(entry("mwg-rs:Name='a'", "stArea:x='nan' stArea:y='2' stArea:w='1' stArea:h='1'"))) == ()
    for nobody in ("", "mwg-rs:Name=''", "mwg-rs:Name='  '", "mwg-rs:Name='ffffffffffffffff'"):
        assert [region.name for region in read_regions(packet(entry(nobody)))] == [None]
    decomposed = "Zoe\u0308  M"
    assert read_regions(packet(entry(f"mwg-rs:Name='{decomposed}'")))[0].name == "Zo\u00eb M"
    other = entry("mwg-rs:Name='Ada'", "stArea:x='0.2' stArea:y='0.2' stArea:w='0.1' stArea:h='0.1'")
    twice = read_regions(packet(entry("mwg-rs:Name='Ada'") + other + entry("mwg-rs:Name='Ada'")))
    assert [region.name for region in twice] == ["Ada", "Ada"], "one name twice, but each place once"


@pytest.mark.parametrize(
    "broken",
    [
        b"<x:xmpmeta",
        b"\xff\xfe\x00",
        b"<?xml version='1.0' encoding='nonsense'?><a/>",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        packet("<rdf:li>" + "<rdf:Description>" * 5000 + "</rdf:Description>" * 5000 + "</rdf:li>"),
    ],
)
def test_broken_xml_is_a_note_and_never_a_failure(tmp_path: Path, broken: bytes) -> None:
    with pytest.raises(Unreadable):
        read_regions(broken)
    photo = tmp_path / "a.png"
    Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(photo)
    (tmp_path / "a.xmp").write_bytes(broken)
    (tmp_path / "a.png.XMP").mkdir()
    tags = read_tags(read_photo(photo))
    assert tags.faces == ()
    assert any("a.xmp" in note for note in tags.notes)


def test_a_side_file_has_the_say_and_names_what_the_photo_does_not(tmp_path: Path) -> None:
    def li(name: str, x: float) -> str:
        area = f"stArea:x='{x}' stArea:y='0.5' stArea:w='0.2' stArea:h='0.4'"
        return f"<rdf:li><rdf:Description mwg-rs:Name='{name}'><mwg-rs:Area {area}/></rdf:Description></rdf:li>"

    photo = tmp_path / "a.webp"
    Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(photo, xmp=packet(li("Old", 0.2) + li("Bob", 0.5)))
    (tmp_path / "a.webp.xmp").write_bytes(packet(li("New", 0.21) + li("", 0.5)))
    (tmp_path / "a.xmp").write_bytes(packet(li("Third", 0.8)))
    assert sorted(str(tag.name) for tag in read_tags(read_photo(photo)).faces) == ["Bob", "New", "Third"]


def test_what_dmd_wrote_is_no_tag_and_what_people_drew_is(tmp_path: Path) -> None:
    def li(name: str, x: float, width: float = 0.2) -> str:
        area = f"stArea:x='{x}' stArea:y='0.5' stArea:w='{width}' stArea:h='0.4'"
        return f"<rdf:li><rdf:Description mwg-rs:Name='{name}'><mwg-rs:Area {area}/></rdf:Description></rdf:li>"

    def marked(xmp: bytes | None, **boxes: tuple[float, float, float, float]) -> bytes:
        faces = tuple(MarkedFace(box, "specific", 1.0, person=name) for name, box in boxes.items())
        return put_mark(xmp, Mark("1", "base", "0", "kit", (300, 200), len(faces), faces), 1 << 20)[0] or b""

    photo = tmp_path / "a.webp"
    people = packet(li("Bob", 0.2) + li("Cid", 0.5))
    picture = Image.fromarray(np.full((200, 300, 3), 90, np.uint8))
    result = marked(people, Bob=(36.0, 64.0, 84.0, 132.0), Ada=(210.0, 60.0, 270.0, 140.0))
    picture.save(photo, xmp=result)
    assert b"<mwg-rs:Name>Ada</mwg-rs:Name>" in result
    assert [tag.name for tag in read_tags(read_photo(photo)).faces] == ["Bob", "Cid"]
    picture.save(photo, xmp=result.replace(b"Name>Ada<", b"Name>Anna<"))
    assert [tag.name for tag in read_tags(read_photo(photo)).faces] == ["Bob", "Cid", "Anna"], "somebody set it right"
    (tmp_path / "a.xmp").write_bytes(packet(li("Ada", 0.8)))
    assert {tag.name for tag in read_tags(read_photo(photo)).faces} == {"Bob", "Cid", "Ada"}, "dmd writes no side file"


def test_picasa() -> None:
    ini = (
        "\ufeff[Picasa]\nname=x\n[Contacts2]\nd10a8325c557b085=Zoë Müller;;\nABC=Bob;b@x;\n"
        "[Photo.JPG]\nfaces=rect64(3f845bcb59418507),d10a8325c557b085;rect64(1000200030004000),abc;"
        "rect64(28003fff4fff),ffffffffffffffff\nbackuphash=1\n[turned.jpg]\nrotate=rotate(1)\n"
        "faces=rect64(3f845bcb59418507),d10a8325c557b085\n"
    ).encode()
    regions, straight = read_picasa(ini, "photo.jpg")
    assert straight
    assert [region.name for region in regions] == ["Zoë Müller", "Bob", None]
    assert regions[0].area == pytest.approx((0x3F84 / 65535, 0x5BCB / 65535, 0x5941 / 65535, 0x8507 / 65535))
    assert regions[2].area == pytest.approx((0, 0x2800 / 65535, 0x3FFF / 65535, 0x4FFF / 65535)), "leading zeros"
    assert read_picasa(ini, "turned.jpg")[1] is False
    assert read_picasa(b"\xff\xfe[nonsense\n=\nfaces=rect64(zz)", "photo.jpg") == ((), True)


def test_picasa_only_where_it_is_sure_what_is_meant(tmp_path: Path) -> None:
    (tmp_path / ".picasa.ini").write_text("[Contacts2]\nabc=Bob;;\n[a.jpg]\nfaces=rect64(1000200030004000),abc\n")
    photo = tmp_path / "a.jpg"
    picture = Image.fromarray(np.full((20, 30, 3), 90, np.uint8))
    picture.save(photo)
    (tag,) = read_tags(read_photo(photo)).faces
    assert tag.name == "Bob"
    assert tag.box == pytest.approx((30 / 16, 20 / 8, 90 / 16, 20 / 4), abs=0.01)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(photo, exif=exif)
    tags = read_tags(read_photo(photo))
    assert tags.faces == ()
    assert "Picasa" in tags.notes[0]
    assert read_side_tags(tmp_path / "other.jpg").straight == ()


def test_hostile_tags_are_a_note_and_take_no_time(tmp_path: Path) -> None:
    area = "<mwg-rs:Area stArea:x='{}' stArea:y='0.5' stArea:w='0.0001' stArea:h='0.1'/>"
    many = "".join(
        f"<rdf:li><rdf:Description>{area.format(number / 4000)}</rdf:Description></rdf:li>" for number in range(4000)
    )
    started = "<rdf:li rdf:parseType='Resource'><mwg-rs:Type><mwg-rs:Regions><mwg-rs:RegionList><rdf:Bag>"
    ended = "</rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions></mwg-rs:Type></rdf:li>"
    photo = tmp_path / "a.png"
    Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(photo)
    (tmp_path / "a.png.xmp").write_bytes(packet(many))
    (tmp_path / "a.xmp").write_bytes(packet("") + b" " * MOST_XMP)
    faces = ";".join(f"rect64({number << 48 | 0xFFFF_FFFF:x}),b" for number in range(1, 4000))
    (tmp_path / ".picasa.ini").write_text(f"[a.png]\nfaces={faces}\n")
    began = time.process_time()
    tags = read_tags(read_photo(photo))
    assert tags.faces == ()
    beside, side, picasa = tags.notes
    assert "more than 1000 faces" in beside
    assert "4 MB" in side
    assert "more than 1000 faces" in picasa
    assert read_regions(packet(started * 8000 + ended * 8000)) == (), "each region inside the type of another"
    assert time.process_time() - began < 2
