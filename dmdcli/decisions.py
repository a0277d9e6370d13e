"""What the user decided about faces: this is Alice, this is nobody enrolled, no face, leave it alone, that strength.

One TOML file for a collection, described in docs/decisions.md. People write it, and programs: what is written here is
read back the same. Nothing is ever written into the folders of the photos.
"""

from __future__ import annotations

import math
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePath
from typing import TypeAlias

from dmdcli.errors import DecisionsFormatError, UsageError
from dmdcli.files import write_file
from dmdcli.formats.face_tags import clean_name
from dmdcli.shapes import Box, pair

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FORMAT = 1
FILE_NAME = "decisions.toml"
"""Its name in an output folder, where it is found without being named."""
PHOTO_KEYS = frozenset({"sha256", "place", "face"})
OUTCOMES = ("person", "stranger", "not_a_face", "leave_alone")
WHOSE = ("person", "stranger", "not_a_face")
"""Of these a face has one at most."""
FLAGS = ("stranger", "not_a_face", "leave_alone", "judge", "fitted", "accepted")
FACE_KEYS = frozenset({"box", "number", "person", "landmarks", "found", "strength", *FLAGS})
FacePoints: TypeAlias = tuple[tuple[float, float], ...]
"""The 68 iBUG points of a face as x, y in upright photo pixels; the centre of the first pixel is (0, 0)."""


@dataclass(frozen=True)
class Decision:
    """What was decided about one face, told by its box or its number.

    box: in upright photo pixels. number: in the report and in `dmd restore --json`, from 1. person: whose it is, NFC;
    at most one of `person`, `stranger` and `not_a_face`. leave_alone: it is a face, and stays as it is. strength: in
    [0, 1], in place of --strength, and kept unless `judge` says that less may be published. landmarks: put right by
    hand, to hundredths of a pixel, and only with a box; where no face is found in the box, they make one. fitted: the
    program fitted these landmarks in a box given by hand, and nobody moved or accepted them, so that they are no surer
    than those of a face that is found.
    found: with landmarks, the box in which the program had found the face that was moved away from there; it changes
    nothing, and tells what to go back to.
    accepted: somebody looked at the face and found it right, which changes nothing. line: where it stands in the file
    it was read from, 0 in none.
    """

    box: Box | None = None
    number: int | None = None
    person: str | None = None
    stranger: bool = False
    not_a_face: bool = False
    leave_alone: bool = False
    strength: float | None = None
    judge: bool = False
    landmarks: FacePoints | None = None
    found: Box | None = None
    fitted: bool = False
    accepted: bool = False
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class PhotoDecisions:
    """What was decided about the faces of one photo.

    sha256: of its content, in hexadecimal. place: its path below the input folder, "/" between folders. Where both are
    given the content has the say, and the place is for people to read. line: as of `Decision`.
    """

    sha256: str | None = None
    place: str | None = None
    faces: tuple[Decision, ...] = ()
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Decisions:
    """All decisions about a collection. path: of their file, None without one."""

    photos: tuple[PhotoDecisions, ...] = ()
    path: Path | None = None

    def about(self, digest: str, relative: PurePath) -> tuple[Decision, ...]:
        """The decisions about a photo, in the order of the file. digest: SHA-256 of its content, in hexadecimal."""
        place = unicodedata.normalize("NFC", relative.as_posix())
        found = sorted({*self._by_digest.get(digest, ()), *self._by_place.get(place, ())})
        return tuple(face for number in found for face in self.photos[number].faces)

    @cached_property
    def _by_digest(self) -> dict[str, list[int]]:
        """SHA-256 -> positions in `photos`."""
        found: dict[str, list[int]] = {}
        for number, photo in enumerate(self.photos):
            if photo.sha256:
                found.setdefault(photo.sha256, []).append(number)
        return found

    @cached_property
    def _by_place(self) -> dict[str | None, list[int]]:
        """Path -> positions in `photos`, of those that name no content."""
        found: dict[str | None, list[int]] = {}
        for number, photo in enumerate(self.photos):
            if not photo.sha256:
                found.setdefault(photo.place, []).append(number)
        return found

    def find(self, digest: str, relative: PurePath, boxes: Sequence[Box]) -> list[Decision | None]:
        """The decision about each of the faces with these boxes (upright photo pixels), the largest face first."""
        return find(self.about(digest, relative), boxes)

    def __iter__(self) -> Iterator[Decision]:
        return (face for photo in self.photos for face in photo.faces)


def find(decisions: Sequence[Decision], boxes: Sequence[Box]) -> list[Decision | None]:
    """Which of the decisions about a photo is about each face. A face has one decision, a decision one face.

    Boxes go to the face they overlap most, the surest first; then numbers. Of two for one face the later has the say.
    """
    found: list[Decision | None] = [None] * len(boxes)
    placed = [(decision, decision.box) for decision in decisions if decision.box is not None]
    for order, place in pair([box for _, box in placed], boxes).items():
        found[place] = placed[order][0]
    for decision in reversed(decisions):
        number = decision.number
        if number is not None and 1 <= number <= len(boxes) and decision.box is None and found[number - 1] is None:
            found[number - 1] = decision
    return found


def combined(first: Decision, second: Decision) -> Decision:
    """What two decisions say of one face; where both say something, `first` has the say.

    Whose it is, or that it is none, is one thing; how strongly it is restored, or that it stays, another; its
    landmarks, with the box they lie in, the third; fitted ones give way to those of a hand. Whoever says that a face
    stays, how strongly it is restored, or where its landmarks are, says that it is one.
    """
    is_a_face = first.leave_alone or first.strength is not None or first.landmarks is not None
    outcome = first if _said_of(WHOSE, first) else replace(second, not_a_face=second.not_a_face and not is_a_face)
    is_kept = first.leave_alone or (second.leave_alone and first.strength is None)
    outcome = replace(outcome, leave_alone=is_kept and not outcome.not_a_face)
    stays = outcome.not_a_face or outcome.leave_alone
    strong = first if first.strength is not None else second
    drawn = min(first, second, key=lambda one: (one.landmarks is None, one.fitted))
    landmarks = None if outcome.not_a_face else drawn.landmarks
    box = drawn.box if landmarks is not None else first.box or second.box
    return replace(
        outcome,
        box=box,
        number=first.number if box is None else None,
        strength=None if stays else strong.strength,
        judge=not stays and strong.judge,
        landmarks=landmarks,
        found=None if landmarks is None else drawn.found,
        fitted=landmarks is not None and drawn.fitted,
        accepted=first.accepted or second.accepted,
        line=first.line,
    )


def says_nothing(decision: Decision) -> bool:
    """Whether nothing is decided, so that no file may hold it."""
    said = _said_of(OUTCOMES, decision) or decision.accepted
    return not said and decision.strength is None and decision.landmarks is None


def contradiction(decision: Decision) -> str | None:
    """What cannot be true of one face at once, None where all of it can."""
    if _said_of(WHOSE, decision) > 1:
        return f"only one of {', '.join(WHOSE)} can be true of a face"
    if decision.not_a_face and decision.leave_alone:
        return "what is no face stays as it is anyway; only one of not_a_face, leave_alone can be true"
    if decision.strength is not None and (decision.not_a_face or decision.leave_alone):
        return "a face that is left alone has no strength"
    return None


def _said_of(keys: Iterable[str], decision: Decision) -> int:
    """How many of some fields are decided."""
    return sum(bool(getattr(decision, key)) for key in keys)


def read_decisions(path: Path) -> Decisions:
    """Read the decisions file `path`.

    Raises DecisionsFormatError for a newer format, UsageError, with the line, for whatever else is not as it should be.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"The decisions in {path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"The decisions in {path} are not UTF-8 text; save the file as UTF-8.") from error
    return parse_decisions(text, path)


def parse_decisions(text: str, path: Path) -> Decisions:
    """The decisions in the text of the file `path`; errors as of `read_decisions`."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"The decisions in {path} are no TOML: {error}. docs/decisions.md shows the format."
        ) from error
    version = content.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise DecisionsFormatError(
            f"The decisions in {path} have format {version}; this version of dmd reads up to format {FORMAT}. "
            "Install a newer dmd."
        )
    if version != FORMAT or isinstance(version, bool):
        raise UsageError(f"{path}: the first line has to be: format = {FORMAT}")
    return Decisions(tuple(_Reader(path, text).photos(content)), path)


def person_in(entry: str) -> str | None:
    """Whose a face is by its table `[[photo.face]]`, cut out of a file; None by one that does not say, and all else."""
    try:
        content = tomllib.loads(entry)
    except tomllib.TOMLDecodeError:
        return None
    match content:
        case {"photo": {"face": [{"person": str(name)}]}}:
            return clean_name(name)
    return None


def write_decisions(path: Path, decisions: Iterable[PhotoDecisions]) -> None:
    """Write a decisions file whole or not at all; `read_decisions` reads the same back.

    PhotoWriteError where it cannot be written, CannotGoOnError where nothing can.
    """
    write_file(format_decisions(decisions).encode(), path)


def format_decisions(decisions: Iterable[PhotoDecisions]) -> str:
    """The text of a decisions file."""
    lines = [f"format = {FORMAT}"]
    for photo in decisions:
        lines += ["", "[[photo]]"]
        lines += [f"{key} = {_quoted(text)}" for key in ("sha256", "place") if (text := getattr(photo, key))]
        for face in photo.faces:
            lines += ["[[photo.face]]"]
            for key, box in (("box", face.box), ("found", face.found)):
                if box is not None:
                    lines.append(f"{key} = [{', '.join(repr(float(edge)) for edge in box)}]")
            if face.number is not None:
                lines.append(f"number = {face.number}")
            if face.person is not None:
                lines.append(f"person = {_quoted(face.person)}")
            lines += [f"{key} = true" for key in FLAGS if getattr(face, key)]
            if face.strength is not None:
                lines.append(f"strength = {float(face.strength)!r}")
            if face.landmarks is not None:
                points = [f"[{round(x, 2)}, {round(y, 2)}]" for x, y in face.landmarks]
                lines += ["landmarks = [", *(f"  {', '.join(points[at : at + 6])}," for at in range(0, 68, 6)), "]"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A TOML basic string."""
    return '"' + re.sub(r'[\x00-\x1f"\\\x7f]', lambda found: f"\\u{ord(found[0]):04x}", text) + '"'


class _Reader:
    """Checks what was read, and knows the lines of the tables."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        lines = text.splitlines()
        heads = [re.match(r"\s*\[\[\s*photo\s*(\.\s*face\s*)?\]\]", line) for line in lines]
        self.photo_lines = [number for number, head in enumerate(heads, 1) if head and not head[1]]
        self.face_lines: list[list[int]] = [[] for _ in self.photo_lines]
        for number, head in enumerate(heads, 1):
            if head and head[1]:
                place = sum(line < number for line in self.photo_lines) - 1
                if place >= 0:
                    self.face_lines[place].append(number)

    def photos(self, content: Mapping[str, object]) -> Iterator[PhotoDecisions]:
        self.check_keys(content, {"format", "photo"}, 1)
        for place, entry in enumerate(self.tables(content.get("photo", []), 1)):
            line = self.photo_lines[place] if place < len(self.photo_lines) else 1
            self.check_keys(entry, PHOTO_KEYS, line)
            sha256, where = entry.get("sha256"), entry.get("place")
            if sha256 is not None and not (isinstance(sha256, str) and re.fullmatch("[0-9a-fA-F]{64}", sha256)):
                raise self.mistake(line, "sha256 has to be 64 hexadecimal digits")
            if where is not None and not (isinstance(where, str) and where):
                raise self.mistake(line, "place has to be the path of a photo, relative to the folder it is found in")
            if sha256 is None and where is None:
                raise self.mistake(line, "a photo needs its sha256 or its place")
            heads = self.face_lines[place] if place < len(self.face_lines) else []
            faces = [
                self.face(face, heads[index] if index < len(heads) else line)
                for index, face in enumerate(self.tables(entry.get("face", []), line))
            ]
            where = None if where is None else unicodedata.normalize("NFC", PurePath(str(where)).as_posix())
            yield PhotoDecisions(None if sha256 is None else str(sha256).lower(), where, tuple(faces), line)

    def face(self, entry: Mapping[str, object], line: int) -> Decision:
        self.check_keys(entry, FACE_KEYS, line)
        for key in FLAGS:
            if not isinstance(entry.get(key, False), bool):
                raise self.mistake(line, f"{key} has to be true or false")
        person = entry.get("person")
        name = clean_name(person) if isinstance(person, str) else None
        if person is not None and name is None:
            raise self.mistake(line, "person has to be a name in quotes")
        decision = Decision(
            box=self.box("box", entry.get("box"), line),
            number=self.number(entry.get("number"), line),
            person=name,
            strength=self.strength(entry.get("strength"), line),
            landmarks=self.landmarks(entry.get("landmarks"), line),
            found=self.box("found", entry.get("found"), line),
            line=line,
            **{key: bool(entry.get(key, False)) for key in FLAGS},
        )
        if (decision.box is None) == (decision.number is None):
            raise self.mistake(line, "a face needs either its box or its number")
        if (why := contradiction(decision)) is not None:
            raise self.mistake(line, why)
        if decision.landmarks is not None and (decision.box is None or decision.not_a_face):
            raise self.mistake(line, "landmarks need the box of their face, and no other word that it is none")
        if (decision.fitted or decision.found) and decision.landmarks is None:
            key = "fitted" if decision.fitted else "found"
            raise self.mistake(line, f"{key} is said of landmarks, and there are none")
        if says_nothing(decision):
            raise self.mistake(line, f"nothing is decided; give one of {', '.join(OUTCOMES)}, strength or landmarks")
        return decision

    def box(self, key: str, value: object, line: int) -> Box | None:
        if value is None:
            return None
        match [_as_number(one) for one in value] if isinstance(value, list) else []:
            case [float(x0), float(y0), float(x1), float(y1)] if x0 < x1 and y0 < y1:
                return x0, y0, x1, y1
        raise self.mistake(line, f"{key} has to be [left, top, right, bottom] in pixels of the photo as it is seen")

    def number(self, value: object, line: int) -> int | None:
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise self.mistake(line, "number has to be a whole number; faces are counted from 1, as in the report")
        return value

    def strength(self, value: object, line: int) -> float | None:
        strength = _as_number(value)
        if value is not None and (strength is None or not 0 <= strength <= 1):
            raise self.mistake(line, "strength has to be a number from 0 to 1")
        return strength

    def landmarks(self, value: object, line: int) -> FacePoints | None:
        if value is None:
            return None
        rows = [[_as_number(one) for one in row] if isinstance(row, list) else [] for row in _as_list(value)]
        points = tuple((x, y) for x, y in (row for row in rows if len(row) == 2) if x is not None and y is not None)
        if len(points) != 68 or len(rows) != 68:
            raise self.mistake(line, "landmarks has to be 68 points [x, y] in pixels of the photo as it is seen")
        return points

    def tables(self, value: object, line: int) -> list[Mapping[str, object]]:
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise self.mistake(line, "photos are written [[photo]], and their faces [[photo.face]]")
        return value

    def check_keys(self, entry: Mapping[str, object], known: Iterable[str], line: int) -> None:
        for key in entry.keys() - set(known):
            raise self.mistake(line, f"{key!r} is not known here; known are {', '.join(sorted(known))}")

    def mistake(self, line: int, sentence: str) -> UsageError:
        return UsageError(f"{self.path}, line {line}: {sentence}. docs/decisions.md shows the format.")


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _as_number(value: object) -> float | None:
    """A finite number, or None for all else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
