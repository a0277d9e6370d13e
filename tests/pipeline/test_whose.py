"""Whose a face is: a decision before a tag, a tag before recognition; and what that makes stale."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path, PurePath
from types import MappingProxyType

import numpy as np
import pytest
from PIL import Image

from dmdcli.decisions import Decision, Decisions, PhotoDecisions
from dmdcli.formats.face_tags import Region
from dmdcli.journal import digest_of, open_journal
from dmdcli.journal_file import journal_path
from dmdcli.pipeline import standing
from dmdcli.pipeline.blend import RestoreOptions
from dmdcli.pipeline.outcome import RestoredPhoto
from dmdcli.pipeline.people import People
from dmdcli.pipeline.restore import restore
from dmdcli.pipeline.said import Said
from dmdcli.pipeline.standing import Enrolled
from dmdcli.pipeline.whose import Owner, digest_of_said, find_owners, match_tags
from dmdcli.places import PhotoFile
from dmdcli.tags import FaceTag, SideTags
from tests.pipeline.made_up import ALICE, STRANGER, Brightener, MadeUpFinder, face_at, people_of
from tests.test_tags import packet

BOB = (2.0, 0.0)
LEFT, RIGHT = (20, 40, 200), (320, 60, 240)
OPTIONS = RestoreOptions()
QUICKLY = RestoreOptions(already_good="restore", tone="model", grain="model", engravings="restore")
"""Little work."""


def area(name: str, x: float, y: float, size: float) -> str:
    """A region of the made-up face at x, y in a photo of 600 x 400."""
    middle = f"stArea:x='{(x + size / 2) / 600}' stArea:y='{(y + size / 2) / 400}'"
    sides = f"stArea:w='{size / 600}' stArea:h='{size / 400}'"
    return f"<rdf:li><rdf:Description mwg-rs:Name='{name}'><mwg-rs:Area {middle} {sides}/></rdf:Description></rdf:li>"


def tag(name: str | None, place: tuple[float, float, float]) -> FaceTag:
    x, y, size = place
    return FaceTag(name, (x, y, x + size, y + size))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "album" / "a.png"
    path.parent.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(108, 114, (400, 600, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def run(
    photo: Path,
    finder: object,
    people: People[float],
    options: RestoreOptions = OPTIONS,
    decisions: tuple[PhotoDecisions, ...] = (),
) -> RestoredPhoto:
    out = photo.parents[2] / "out"
    file = PhotoFile(photo, PurePath("album") / photo.name)
    with open_journal(out) as journal:
        (result,) = restore(
            [(file, out / file.relative)], finder, Brightener(), people, journal, options, Decisions(decisions)
        )
    return result


def whose(embeddings: list[tuple[float, ...]], tags: list[FaceTag], **more: object) -> list[Owner]:
    pixels = np.full((400, 600, 3), 110, np.uint8)
    faces = [face_at(pixels, *place, one) for place, one in zip((LEFT, RIGHT), embeddings, strict=False)]
    gallery = people_of(alice=ALICE, bob=BOB).gallery
    return find_owners(faces, gallery, more.pop("options", OPTIONS), tags, Said(more.pop("decisions", ())))


def test_a_tag_outranks_recognition_and_says_where_they_disagree() -> None:
    first, second = whose([(0.1, 0.0), (0.2, 0.0)], [tag("BOB", RIGHT)])
    assert (first.match.person, first.by, first.conflict) == ("alice", "recognition", None)
    assert (second.match.person, second.by) == ("bob", "tag")
    assert second.match.similarity == 0, "as it is, however little"
    assert second.conflict[1] == "tagged as bob, whom it hardly resembles (0.00)", "alice is the first face"
    (only,) = whose([(0.1, 0.0)], [tag("Bob", LEFT)])
    assert only.conflict[1] == "tagged as Bob; recognised as alice (0.90)"
    (agreed,) = whose([(0.1, 0.0)], [tag("Alice", LEFT)])
    assert (agreed.match.person, agreed.by, agreed.conflict) == ("alice", "tag", None)


def test_a_name_nobody_is_enrolled_under_makes_a_stranger() -> None:
    (owner,) = whose([(0.1, 0.0)], [tag("Zoë", LEFT)])
    assert (owner.match, owner.by) == (None, "tag")
    assert owner.conflict[1] == "tagged as Zoë, who is not enrolled; recognised as alice (0.90)"
    (owner,) = whose([(0.1, 0.0)], [tag("Zoë", LEFT)], options=RestoreOptions(only=("alice",)))
    assert owner.conflict[1] == "tagged as Zoë, who is not looked for; recognised as alice (0.90)", "enrolled or not"
    (nobody,) = whose([(0.1, 0.0)], [tag(None, LEFT)])
    assert (nobody.match.person, nobody.by) == ("alice", "recognition"), "a face that nobody named"


def test_who_was_named_is_nobody_else_in_the_photo() -> None:
    first, second = whose([(0.1, 0.0), STRANGER], [tag("alice", RIGHT)])
    assert (first.match, first.by) == (None, None)
    assert second.by == "tag"


def test_a_decision_outranks_a_tag() -> None:
    decisions = (Decision(number=1, person="bob"), Decision(number=2, stranger=True))
    first, second = whose([(0.1, 0.0), BOB], [tag("alice", LEFT), tag("bob", RIGHT)], decisions=decisions)
    assert (first.match.person, first.by, first.conflict) == ("bob", "decision", None)
    assert (second.match, second.by, second.conflict) == (None, "decision", None)


def test_forcing_gives_way_to_what_was_said() -> None:
    only = RestoreOptions(only=("bob",))
    assert whose([STRANGER], [], options=only)[0].by == "forced"
    assert whose([STRANGER], [tag("Zoë", LEFT)], options=only)[0].by == "tag"
    assert whose([STRANGER], [], options=only, decisions=(Decision(number=1, stranger=True),))[0].by == "decision"
    aside = (Decision(number=1, not_a_face=True),)
    assert [one.by for one in whose([ALICE, STRANGER], [], options=only, decisions=aside)] == ["decision", "forced"]


def test_tags_go_to_the_face_they_fit_best_and_each_face_has_one() -> None:
    boxes = [(0.0, 0.0, 100.0, 100.0), (90.0, 0.0, 190.0, 100.0)]
    assert match_tags([FaceTag("b", (70, 0, 200, 130)), FaceTag("a", (-20, -40, 120, 110))], boxes) == ["a", "b"]
    assert match_tags([FaceTag("a", boxes[0]), FaceTag("b", boxes[0])], boxes) == ["a", None]
    assert match_tags([FaceTag("group", (-400, -400, 600, 600))], boxes) == [None, None], "too large for a face"
    assert match_tags([FaceTag("beside", (60, 0, 160, 100))], [boxes[0]]) == [None]


def test_a_tagged_face_gets_its_dictionary_and_the_journal_no_name(photo: Path) -> None:
    photo.with_name("a.png.xmp").write_bytes(packet(area("Bob", *LEFT)))
    finder, people = MadeUpFinder((*LEFT, (0.3, 0.0), None)), people_of(alice=(0.2, 0.0), bob=BOB)
    result = run(photo, finder, people)
    (face,) = result.faces
    assert (face.person, face.used, face.assigned_by) == ("bob", "specific", "tag")
    assert face.unsure
    journal = journal_path(photo.parents[2] / "out").read_bytes()
    assert b"specific" in journal
    assert b"tagged as somebody else than recognised" in journal
    assert b"recognised as" not in journal, "that sentence has names"
    ignored = run(photo, finder, people, RestoreOptions(tags="ignore"))
    assert (ignored.reason, ignored.faces[0].person) == ("other settings: --tags", "alice")
    assert (ignored.faces[0].assigned_by, ignored.faces[0].conflict) == ("recognition", None)


def test_what_is_said_makes_just_its_photo_stale(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finder, people = MadeUpFinder((*LEFT, ALICE, None)), people_of(alice=(0.2, 0.0), bob=BOB)
    other = photo.with_name("b.png")
    Image.fromarray(np.random.default_rng(1).integers(0, 9, (400, 600, 3), dtype=np.uint8)).save(other)
    decided = (PhotoDecisions(sha256=digest_of(photo), faces=(Decision(number=1, person="bob"),)),)

    def again(decisions: tuple[PhotoDecisions, ...] = ()) -> list[str | None]:
        return [run(one, finder, people, QUICKLY, decisions).reason for one in (photo, other)]

    assert again() == [None, None]
    monkeypatch.setattr(standing, "digest_of", lambda path: pytest.fail(f"{path} was read"))
    assert again(decided) == ["what was said of its faces changed", None]
    assert again(decided) == [None, None]
    assert run(photo, finder, people, QUICKLY, decided).heard == decided[0].faces
    assert again() == ["what was said of its faces changed", None]
    photo.with_suffix(".xmp").write_bytes(packet(area("Bob", *LEFT)))
    assert again() == ["what was said of its faces changed", None]
    photo.with_suffix(".xmp").write_bytes(packet(area("Bob", *LEFT)) + b"   ")
    assert again() == [None, None], "the same faces"
    photo.with_suffix(".xmp").unlink()
    assert again() == ["what was said of its faces changed", None]


def test_enrolling_somebody_who_was_named_makes_the_photo_stale(photo: Path) -> None:
    photo.with_suffix(".xmp").write_bytes(packet(area("Bob", *LEFT)))
    finder = MadeUpFinder((*LEFT, (0.3, 0.0), None))
    first = run(photo, finder, people_of(alice=(0.2, 0.0)))
    assert (first.faces[0].person, first.faces[0].assigned_by) == (None, "tag")
    then = run(photo, finder, people_of(alice=(0.2, 0.0), bob=BOB))
    assert then.reason == "what was said of its faces changed"
    assert then.faces[0].person == "bob"


def test_decided_strength_is_kept_and_left_alone_is_left_alone(photo: Path) -> None:
    finder, people = MadeUpFinder((*LEFT, ALICE, None), (*RIGHT, STRANGER, None)), people_of(alice=(0.2, 0.0))
    decided = (
        PhotoDecisions(
            place="album/a.png",
            faces=(Decision(number=1, strength=0.3), Decision(number=2, leave_alone=True)),
        ),
    )
    result = run(photo, finder, people, RestoreOptions(strength=0.0), decisions=decided)
    first, second = result.faces
    assert (first.used, first.strength, first.person, first.assigned_by) == ("specific", 0.3, "alice", "recognition")
    assert (second.used, second.reason) == ("none", None), "nothing was asked for"
    assert result.heard == decided[0].faces
    result = run(photo, finder, people, decisions=decided)
    assert [face.strength for face in result.faces] == [0.3, 0.0]
    assert result.faces[1].reason == "as decided"
    assert not result.faces[1].unsure
    nothing = (PhotoDecisions(place="album/a.png", faces=(Decision(number=1, not_a_face=True),)),)
    first = run(photo, finder, people, decisions=nothing).faces[0]
    assert (first.used, first.person, first.reason, first.assigned_by) == (
        "none",
        None,
        "it is no face, as decided",
        "decision",
    )


def test_no_strength_at_all_is_leaving_alone_and_somebodys_face_stays_theirs(photo: Path) -> None:
    finder, people = MadeUpFinder((*LEFT, STRANGER, None)), people_of(bob=BOB)
    faces = (Decision(number=1, strength=0.0, person="bob"),)
    face = run(photo, finder, people, decisions=(PhotoDecisions(place="album/a.png", faces=faces),)).faces[0]
    assert (face.person, face.used, face.reason) == ("bob", "none", "as decided")
    assert not face.unsure


def test_decisions_about_the_content_of_a_photo_that_fails_are_about_a_photo_that_was_given(photo: Path) -> None:
    photo.write_bytes(b"no photo")
    decided = (PhotoDecisions(sha256=digest_of(photo), faces=(Decision(number=1, stranger=True),)),)
    result = run(photo, MadeUpFinder(), people_of(), decisions=decided)
    assert (result.status, result.said) == ("failed", decided[0].faces)


def test_written_names_that_are_others_today_make_their_photos_stale(photo: Path) -> None:
    finder, people = MadeUpFinder((*LEFT, ALICE, None)), people_of(alice=ALICE)
    with_names = replace(QUICKLY, write_names=True)
    assert run(photo, finder, people, with_names).status == "restored"
    assert run(photo, finder, people, with_names).standing == "current"
    renamed = replace(
        people,
        gallery=people_of(Alicia=ALICE).gallery,
        dictionary=lambda _: people.dictionary("alice"),
        enrolled={"Alicia": people.enrolled["alice"]},
    )
    assert run(photo, finder, renamed, with_names).reason == "names are to be written into it otherwise than before"
    assert b"Alicia" in (photo.parents[2] / "out" / "album" / "a.png").read_bytes()
    assert run(photo, finder, renamed, QUICKLY).reason == "names are to be written into it otherwise than before"
    assert b"Alicia" not in (photo.parents[2] / "out" / "album" / "a.png").read_bytes()


def test_the_judge_lowers_a_decided_strength_only_where_the_decision_says_so(photo: Path) -> None:
    """The face has almost the size of the smallest: its strength would be about half of what is asked for."""
    finder, people = MadeUpFinder((*LEFT, STRANGER, None)), people_of()
    finder.min_face = 200.0

    def strength(judge: bool) -> float:
        faces = (Decision(number=1, strength=0.8, judge=judge),)
        return (
            run(photo, finder, people, decisions=(PhotoDecisions(place="album/a.png", faces=faces),)).faces[0].strength
        )

    assert strength(judge=False) == 0.8
    assert strength(judge=True) == pytest.approx(0.4)


def test_decisions_that_found_no_face_are_known(photo: Path) -> None:
    finder, people = MadeUpFinder((*LEFT, ALICE, None)), people_of()
    faces = (Decision(number=1, stranger=True), Decision(box=(500.0, 300.0, 600.0, 400.0), person="alice"))
    decided = (PhotoDecisions(place="album/a.png", faces=faces), PhotoDecisions(place="c.png", faces=faces[:1]))
    for _ in range(2):  # restored, then up to date
        result = run(photo, finder, people, decisions=decided)
        assert result.said == faces
        assert result.heard == faces[:1]


def digest_said(
    *decided: Decision, corrected: tuple[Decision, ...] = (), enrolled: object = MappingProxyType({})
) -> str:
    return digest_of_said(SideTags(), Said(decided, corrected), enrolled)


def test_the_digest_of_what_is_said_holds_ids_not_names() -> None:
    enrolled = {"Alice": Enrolled("1", "v", 1)}
    said = Decision(number=1, person="ALICE")
    digest = digest_said(said, enrolled=enrolled)
    assert digest == digest_said(Decision(number=1, person="alice"), enrolled=enrolled)
    assert digest != digest_said(said)
    assert digest_said(Decision(number=1, person="x")) == digest_said(Decision(number=1, person="y")), "two strangers"
    assert digest_of_said(SideTags(regions=(Region(None, (0, 0, 1, 1)),)), Said(), enrolled) is None
    assert json.dumps(digest)


def test_what_was_said_before_there_were_corrections_has_the_digest_it_had() -> None:
    """Else everything would be made again."""
    tags = SideTags(regions=(Region("Alice", (0.1, 0.2, 0.3, 0.4)),))
    decided = (
        Decision(box=(1.0, 2.0, 3.0, 4.5), person="Alice", strength=0.5, line=7),
        Decision(number=2, not_a_face=True),
    )
    digest = digest_of_said(tags, Said(decided), {"alice": Enrolled("a1", "v", 1)})
    assert digest == "09472656da8a1734e05a6724888c1a70b5849db94ac330950c746279f57299d7"


def test_in_which_order_faces_were_put_right_changes_nothing() -> None:
    """A page keeps at the end what was said last; accepting one of two faces must not make the photo again."""
    points = tuple((float(number), 0.5) for number in range(68))
    one = Decision(box=(1.0, 2.0, 3.0, 4.5), landmarks=points)
    other = replace(one, box=(11.0, 2.0, 13.0, 4.5))
    assert digest_said(corrected=(one, other)) == digest_said(corrected=(other, replace(one, accepted=True)))
    assert digest_said(corrected=(one, other)) != digest_said(corrected=(one,))


def test_what_was_put_right_by_hand_is_in_the_digest_and_that_it_was_looked_at_is_not() -> None:
    points = tuple((float(number), 0.5) for number in range(68))
    drawn = Decision(box=(1.0, 2.0, 3.0, 4.5), landmarks=points)
    digests = [
        digest_said(drawn),
        digest_said(corrected=(drawn,)),
        digest_said(corrected=(replace(drawn, landmarks=((0.01, 0.5), *points[1:])),)),
        digest_said(corrected=(replace(drawn, landmarks=None, stranger=True),)),
    ]
    assert len({*digests, None}) == 5
    looked_at = Decision(box=(5.0, 6.0, 7.0, 8.0), accepted=True)
    assert digest_said(looked_at, corrected=(looked_at,)) is None
    moved = replace(drawn, accepted=True, found=(9.0, 9.0, 9.5, 9.5))
    assert digest_said(corrected=(moved, looked_at)) == digests[1]
