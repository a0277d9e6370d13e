"""The file of decisions: read back as written, found again; mistakes are told with their line."""

from __future__ import annotations

from pathlib import Path, PurePath

import pytest

from dmdcli.decisions import (
    Decision,
    Decisions,
    FacePoints,
    PhotoDecisions,
    combined,
    find,
    read_decisions,
    write_decisions,
)
from dmdcli.errors import DecisionsFormatError, UsageError

DIGEST = "ab" * 32
BOX = (10.0, 20.0, 110.0, 120.5)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    photos = (
        PhotoDecisions(
            DIGEST,
            'a "quoted" \\ place/Ünïcode 山\n\x7f.jpg',
            (
                Decision(box=BOX, person='山田 "T" \\太郎', strength=0.1 + 0.2, judge=True),
                Decision(number=4, stranger=True, strength=0.0),
            ),
        ),
        PhotoDecisions(
            place="b.png", faces=(Decision(number=1, not_a_face=True), Decision(box=BOX, person="a", leave_alone=True))
        ),
        PhotoDecisions(sha256=DIGEST),
    )
    path = tmp_path / "decisions.toml"
    write_decisions(path, photos)
    read = read_decisions(path)
    assert read.photos == photos
    assert [face.line for face in read] == [6, 11, 18, 21], "the lines of [[photo.face]]"
    assert [child.name for child in tmp_path.iterdir()] == [path.name], "nothing unfinished beside it"


def test_a_file_as_people_write_it(tmp_path: Path) -> None:
    path = tmp_path / "d.toml"
    path.write_text(
        "\ufeff# grandmother's album\r\nformat = 1\r\n[[photo]]\r\nplace = './album/Zoe\u0308.jpg'\r\n"
        "[[ photo . face ]]\r\nbox = [1, 2, 3, 4]\r\nperson = 'Zoe\u0308'\r\n"
        "[[photo]]\r\nsha256 = '" + DIGEST.upper() + "'\r\nface = [{number = 1, strength = 1}]\r\n",
        encoding="utf-8",
        newline="",
    )
    decisions = read_decisions(path)
    assert decisions.about("", PurePath("album/Zo\u00eb.jpg"))[0].person == "Zo\u00eb"
    assert decisions.about(DIGEST, PurePath("elsewhere.jpg")) == (Decision(number=1, strength=1.0),)
    assert [face.line for face in decisions] == [5, 8]


def test_the_content_has_the_say_over_the_place() -> None:
    decisions = Decisions((PhotoDecisions(DIGEST, "a.jpg", (Decision(number=1, stranger=True),)),))
    assert decisions.about(DIGEST, PurePath("moved/b.jpg"))
    assert not decisions.about("cd" * 32, PurePath("a.jpg")), "another photo by now"
    assert decisions.find(DIGEST, PurePath("a.jpg"), [BOX, BOX]) == [Decision(number=1, stranger=True), None]


def test_each_face_has_one_decision_and_each_decision_one_face() -> None:
    left, right = (0.0, 0.0, 100.0, 100.0), (60.0, 0.0, 160.0, 100.0)
    near_right = Decision(box=(50.0, 0.0, 150.0, 100.0), person="a")
    near_left = Decision(box=(5.0, 0.0, 100.0, 90.0), person="b")
    far = Decision(box=(500.0, 0.0, 600.0, 100.0), person="c")
    assert find([near_right, near_left, far], [left, right]) == [near_left, near_right]
    assert find([near_right, near_right], [right]) == [near_right]
    first, second = Decision(number=1, person="a"), Decision(number=1, person="b")
    assert find([first, second, Decision(number=8, person="c")], [left]) == [second], "the later has the say"
    assert find([Decision(number=2, person="a"), Decision(number=0, person="b")], [left, right]) == [
        None,
        Decision(number=2, person="a"),
    ]
    assert find([Decision(box=left, person="box"), first], [left, right])[0] == Decision(box=left, person="box")
    assert find([], [left]) == [None]


@pytest.mark.parametrize(
    ("lines", "number", "word"),
    [
        (["[[photo]]", "place = 'a'", "[[photo.face]]", "box = [1, 2, 3]", "stranger = true"], 4, "box"),
        (["[[photo]]", "place = 'a'", "[[photo.face]]", "box = [nan, 2, 3, 4]", "stranger = true"], 4, "box"),
        (["[[photo]]", "place = 'a'", "[[photo.face]]", "number = -1", "stranger = true"], 4, "number"),
        (
            ["[[photo]]", "place = 'a'", "[[photo.face]]", "number = 0", "stranger = true"],
            4,
            "faces are counted from 1",
        ),
        (["[[photo]]", "place = 'a'", "[[photo.face]]", "stranger = true"], 4, "either its box or its number"),
        (["[[photo]]", "place = 'a'", "[[photo.face]]", "number = 1"], 4, "nothing is decided"),
        (["[[photo]]", "place = 'a'", "[[photo.face]]", "number = 1", "strength = 1.5"], 4, "0 to 1"),
        (["[[photo]]", "place = 'a'", "[[photo.face]]", "number = 1", "strength = true"], 4, "0 to 1"),
        (["[[photo]]", "place = 'a'", "[[photo.face]]", "number = 1", "persom = 'a'"], 4, "persom"),
        (["[[photo]]", "place = 'a'", "[[photo.face]]", "number = 1", "person = ''"], 4, "name"),
        (["[[photo]]", "place = 'a'", "[[photo.face]]", "number = 1", "person = 'a'", "stranger = true"], 4, "one of"),
        (["[[photo]]", "place = 'a'", "[[photo.face]]", "number = 1", "leave_alone = 1"], 4, "true or false"),
        (
            ["[[photo]]", "place = 'a'", "[[photo.face]]", "number = 1", "leave_alone = true", "strength = 1"],
            4,
            "alone",
        ),
        (
            ["[[photo]]", "place = 'a'", "[[photo.face]]", "number = 1", "leave_alone = true", "not_a_face = true"],
            4,
            "only one of",
        ),
        (["[[photo]]", "place = 'a'", "[[photo]]", "sha256 = 'abc'"], 4, "64"),
        (["[[photo]]", "[[photo.face]]", "number = 1", "stranger = true"], 2, "sha256 or its place"),
        (["[photo]", "place = 'a'"], 1, "[[photo]]"),
        (["[[foto]]"], 1, "foto"),
        (["[[photo]]", "place = ", "x = 1"], 3, "no TOML"),
    ],
)
def test_mistakes_are_told_with_file_and_line(tmp_path: Path, lines: list[str], number: int, word: str) -> None:
    path = tmp_path / "d.toml"
    path.write_text("\n".join(["format = 1", *lines]))
    with pytest.raises(UsageError) as raised:
        read_decisions(path)
    assert str(path) in str(raised.value)
    assert f"line {number}" in str(raised.value)
    assert word in str(raised.value)


def test_a_newer_format_and_no_format(tmp_path: Path) -> None:
    path = tmp_path / "d.toml"
    path.write_text("format = 2\nanything = 'else'")
    with pytest.raises(DecisionsFormatError, match="format 2; this version of dmd reads up to format 1") as raised:
        read_decisions(path)
    assert raised.value.exit_code == 7
    for text in ("", "format = true", "format = '1'", "format = 0"):
        path.write_text(text)
        with pytest.raises(UsageError, match="format = 1"):
            read_decisions(path)
    path.write_bytes(b"format = 1\n# \xff")
    with pytest.raises(UsageError, match="UTF-8"):
        read_decisions(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_decisions(tmp_path)


def test_decisions_about_a_photo_keep_the_order_of_the_file() -> None:
    def about(number: int, **photo: str) -> PhotoDecisions:
        return PhotoDecisions(faces=(Decision(number=number, stranger=True),), **photo)

    places = (about(0, place="a.png"), about(1, sha256="aa"), about(2, place="a.png"), about(3, place="b.png"))
    decisions = Decisions(places)
    assert [one.number for one in decisions.about("aa", PurePath("a.png"))] == [0, 1, 2]
    assert [one.number for one in decisions.about("bb", PurePath("b.png"))] == [3]
    assert decisions.about("bb", PurePath("c.png")) == ()


def points(seed: float = 0.0) -> FacePoints:
    return tuple((10 + seed + number / 3, 20.126 + number) for number in range(68))


def test_landmarks_are_kept_to_hundredths_and_what_was_looked_at_too(tmp_path: Path) -> None:
    path = tmp_path / "d.toml"
    drawn = Decision(box=BOX, landmarks=points(), found=OTHER, person="Alice")
    write_decisions(path, [PhotoDecisions(DIGEST, None, (drawn, Decision(box=BOX, accepted=True)))])
    first, second = read_decisions(path)
    assert first.landmarks is not None
    assert first.landmarks[:2] == ((10.0, 20.13), (10.33, 21.13))
    assert (first.person, first.found, second) == ("Alice", OTHER, Decision(box=BOX, accepted=True))
    again = tmp_path / "again.toml"
    write_decisions(again, [PhotoDecisions(DIGEST, None, (first, second))])
    assert again.read_bytes() == path.read_bytes(), "read and written again it stays the same"


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("number = 1\nlandmarks = [" + "[1, 2], " * 68 + "]", "need the box"),
        ("box = [1, 2, 3, 4]\nnot_a_face = true\nlandmarks = [" + "[1, 2], " * 68 + "]", "need the box"),
        ("box = [1, 2, 3, 4]\nlandmarks = [" + "[1, 2], " * 67 + "]", "68 points"),
        ("box = [1, 2, 3, 4]\nlandmarks = [" + "[1, 2], " * 67 + "[1, nan]]", "68 points"),
        ("box = [1, 2, 3, 4]\nlandmarks = [" + "[1, 2], " * 67 + "[1, 2, 3]]", "68 points"),
        ("box = [1, 2, 3, 4]\nlandmarks = 7", "68 points"),
        ("box = [1, 2, 3, 4]\nstranger = true\nfitted = true", "fitted is said of landmarks"),
        ("box = [1, 2, 3, 4]\nstranger = true\nfound = [1, 2, 3, 4]", "found is said of landmarks"),
        ("box = [1, 2, 3, 4]\nfound = [1, 2, 3]\nlandmarks = [" + "[1, 2], " * 68 + "]", "found has to be"),
        ("box = [1, 2, 3, 4]\naccepted = 1", "true or false"),
        ("box = [1, 2, 3, 4]\naccepted = false", "nothing is decided"),
    ],
)
def test_mistakes_in_landmarks_are_told(tmp_path: Path, line: str, word: str) -> None:
    path = tmp_path / "d.toml"
    path.write_text(f"format = 1\n[[photo]]\nplace = 'a'\n[[photo.face]]\n{line}\n")
    with pytest.raises(UsageError, match=f"line 4.*{word}"):
        read_decisions(path)


OTHER = (11.0, 20.0, 111.0, 121.0)


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        (
            Decision(box=BOX, person="a"),
            Decision(box=OTHER, landmarks=points(), stranger=True, strength=0.5, judge=True, accepted=True),
            Decision(box=OTHER, landmarks=points(), person="a", strength=0.5, judge=True, accepted=True),
        ),
        (
            Decision(box=BOX, landmarks=points(1), strength=0.2),
            Decision(box=OTHER, landmarks=points(), person="b", strength=0.5, judge=True),
            Decision(box=BOX, landmarks=points(1), person="b", strength=0.2),
        ),
        (
            Decision(box=BOX, not_a_face=True),
            Decision(box=OTHER, landmarks=points(), person="b", strength=0.5, judge=True),
            Decision(box=BOX, not_a_face=True),
        ),
        (
            Decision(box=BOX, leave_alone=True),
            Decision(box=OTHER, landmarks=points(), strength=0.5),
            Decision(box=OTHER, landmarks=points(), leave_alone=True),
        ),
        (Decision(box=BOX, strength=0.3), Decision(box=OTHER, leave_alone=True), Decision(box=BOX, strength=0.3)),
        (
            Decision(box=BOX, person="a"),
            Decision(box=OTHER, leave_alone=True, person="b"),
            Decision(box=BOX, leave_alone=True, person="a"),
        ),
        (
            Decision(box=BOX, leave_alone=True),
            Decision(box=OTHER, strength=0.5, stranger=True),
            Decision(box=BOX, leave_alone=True, stranger=True),
        ),
        (
            Decision(box=BOX, leave_alone=True),
            Decision(box=OTHER, not_a_face=True),
            Decision(box=BOX, leave_alone=True),
        ),
        (
            Decision(box=BOX, not_a_face=True),
            Decision(box=OTHER, leave_alone=True, person="b"),
            Decision(box=BOX, not_a_face=True),
        ),
        (
            Decision(box=BOX, landmarks=points(), fitted=True, person="a"),
            Decision(box=OTHER, landmarks=points(1), found=BOX),
            Decision(box=OTHER, landmarks=points(1), found=BOX, person="a"),
        ),
        (
            Decision(box=BOX, landmarks=points(), fitted=True),
            Decision(box=OTHER, landmarks=points(1), fitted=True),
            Decision(box=BOX, landmarks=points(), fitted=True),
        ),
        (
            Decision(box=BOX, landmarks=points()),
            Decision(box=OTHER, not_a_face=True),
            Decision(box=BOX, landmarks=points()),
        ),
        (
            Decision(box=BOX, accepted=True),
            Decision(box=OTHER, leave_alone=True),
            Decision(box=BOX, leave_alone=True, accepted=True),
        ),
    ],
)
def test_of_two_decisions_about_a_face_the_first_has_the_say_field_by_field(
    first: Decision, second: Decision, both: Decision
) -> None:
    assert combined(first, second) == both
    assert combined(both, both) == both
