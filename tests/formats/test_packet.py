"""XMP packets as text: what is found in them, what changes, and that nothing else does."""

from __future__ import annotations

import time

import pytest

from dmdcli.formats.packet import EMPTY, MOST_XMP, RDF, BrokenPacket, _elements, read_packet

OWN = "http://example.org/own/"
DC = "http://purl.org/dc/elements/1.1/"
PLAIN = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<!-- <rdf:RDF> in a comment -->
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}" xmlns:own='{OWN}'>
<rdf:Description rdf:about="uuid:1" own:box='17 &lt; 18'
   own:kept = "yes &gt; &#233;">
 <dc:title xmlns:dc="{DC}"><rdf:Alt><rdf:li xml:lang="x-default">K\u00e5re &amp; S</rdf:li></rdf:Alt></dc:title>
 <own:line>one</own:line>
</rdf:Description>
<rdf:Description rdf:about="uuid:1" xmlns:other="{OWN}"><other:line>two</other:line><own:empty/></rdf:Description>
</rdf:RDF></x:xmpmeta>
{" " * 200}
<?xpacket end="w"?>"""


def test_properties_are_found_in_either_form_and_under_any_prefix() -> None:
    packet = read_packet(PLAIN.encode())
    assert packet.value((OWN, "box")) == "17 < 18"
    assert packet.value((OWN, "kept")) == "yes > \u00e9"
    assert [packet.content(one) for one in packet.properties((OWN, "line"))] == ["one", "two"]
    assert packet.values(packet.properties((DC, "title"))[0], (RDF, "li")) == ["K\u00e5re & S"]
    assert packet.value((DC, "creator")) is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_what_is_taken_out_is_gone_and_all_else_stays(encoding: str) -> None:
    packet = read_packet(PLAIN.encode(encoding))
    changed = packet.changed(packet.without([(OWN, "line"), (OWN, "box")], "urn:nobody"))
    wanted = PLAIN.replace(" own:box='17 &lt; 18'", "").replace("\n <own:line>one</own:line>", "")
    assert changed == wanted.replace("<other:line>two</other:line>", "").encode(encoding)
    assert packet.changed([]) == PLAIN.encode(encoding)


def test_a_description_with_nothing_else_in_it_goes_too() -> None:
    packet = read_packet(PLAIN.encode())
    changed = read_packet(packet.changed(packet.without([(OWN, "line"), (OWN, "empty")], "urn:nobody")))
    assert len(changed.descriptions) == 1
    assert changed.value((OWN, "kept")) == "yes > \u00e9"
    everything = packet.changed(packet.without([(DC, "title")], OWN))
    assert read_packet(everything).descriptions == []


def test_what_is_added_takes_its_room_from_the_padding() -> None:
    packet = read_packet(PLAIN.encode())
    added = packet.changed([packet.described("<own:new>1</own:new>", {"own": OWN, "dc": DC})])
    assert len(added) == len(PLAIN.encode())
    assert read_packet(added).value((OWN, "new")) == "1"
    head, tail = PLAIN.split("</rdf:RDF>")
    assert added.decode().startswith(head)
    assert added.decode().split("</rdf:RDF>")[1].replace(" ", "") == tail.replace(" ", "")
    assert 'rdf:about="uuid:1" xmlns:dc=' in added.decode()  # rdf and own are bound outside
    more = packet.changed([packet.described(f"<own:new>{'1' * 1000}</own:new>", {"own": OWN})])
    assert len(more) > len(PLAIN.encode())
    assert more.endswith(b'\n<?xpacket end="w"?>')


def test_a_single_tag_opens_to_take_something() -> None:
    packet = read_packet(PLAIN.encode())
    empty = packet.properties((OWN, "empty"))[0]
    assert b"<own:empty><own:a/></own:empty>" in packet.changed([packet.inside(empty, "<own:a/>")])
    bare = read_packet(f"<r:RDF xmlns:r='{RDF}'/>".encode())
    changed = read_packet(bare.changed([bare.described("<own:a>1</own:a>", {"own": OWN})]))
    assert changed.value((OWN, "a")) == "1"


def test_prefixes_that_mean_something_else_outside_are_bound_anew() -> None:
    odd = read_packet(f'<RDF xmlns="{RDF}" xmlns:rdf="urn:other" xmlns:own="urn:x"><Description/></RDF>'.encode())
    changed = read_packet(odd.changed([odd.described("<own:a>1</own:a>", {"own": OWN})]))
    assert changed.value((OWN, "a")) == "1"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no element"),
        (b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF", "not well-formed|unclosed"),
        (PLAIN.replace("own:kept", "nowhere:kept").encode(), "unbound prefix"),
        (PLAIN.encode()[:300], "unclosed|no element"),
        (b"<html/>", "something else"),
        (b"<!DOCTYPE r [<!ENTITY a 'b'>]>" + EMPTY.encode(), "DTD|syntax|XML"),
        (b"\xff\xfe\xff", "decode"),
        ("<a>\u00e9</a>".encode("latin-1"), "decode"),
    ],
)
def test_what_cannot_be_trusted_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(BrokenPacket, match=said):
        read_packet(content)


@pytest.mark.parametrize("text", ['<own:a >x="<own:b>"></own:b></own:a>', '<own:a >x="</own:a>">'])
def test_text_that_looks_like_an_attribute_is_text(text: str) -> None:
    odd = PLAIN.replace("<own:line>one", f"{text}<own:line>one")
    packet = read_packet(odd.encode())
    assert [packet.content(one) for one in packet.properties((OWN, "line"))] == ["one", "two"]
    changed = packet.changed(packet.without([(OWN, "a")], "urn:nobody"))
    assert b"own:a" not in changed
    assert read_packet(changed).value((OWN, "line")) == "one"


@pytest.mark.parametrize("text", ["<a></b>", "</a>", "<a>", "<a><b></a>"])
def test_tags_that_do_not_match_are_refused(text: str) -> None:
    """No parser lets such a text through; if one did, it would not end the run."""
    with pytest.raises(BrokenPacket, match="do not match"):
        _elements(text)


def test_more_than_programs_write_is_refused_before_it_takes_all_memory() -> None:
    many = "".join(f' xmlns:p{number}="urn:p"' for number in range(600))
    twice = PLAIN.replace("<own:line", f"<own:line{many}").encode()
    with pytest.raises(BrokenPacket, match="1000 prefixes"):
        read_packet(twice.replace(b"<other:line", f"<other:line{many}".encode()))
    assert read_packet(twice).value((OWN, "box")) == "17 < 18"
    deep = f"<own:line>{'<own:a>' * 200}{'</own:a>' * 200}"
    with pytest.raises(BrokenPacket, match="deep"):
        read_packet(PLAIN.replace("<own:line>", deep, 1).encode())
    with pytest.raises(BrokenPacket, match="larger than 4 MB"):
        read_packet(PLAIN.encode() + b" " * MOST_XMP)


def test_many_changes_take_time_by_their_number_only() -> None:
    count = 15_000
    packet = read_packet(PLAIN.replace("<own:line>", f"{'<x:a/>' * count}{' ' * (2 << 20)}<own:line>").encode())
    changes = packet.without([("adobe:ns:meta/", "a")], "urn:nobody")
    assert len(changes) == count
    began = time.process_time()
    assert read_packet(packet.changed(changes)).value((OWN, "line")) == "one"
    assert time.process_time() - began < 1, "copied whole for each change, 30 GB would have been moved"
