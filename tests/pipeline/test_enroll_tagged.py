"""Whom tags name, and the photos proposed to learn them from; then the same checks as for every other reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dmdcli.errors import NothingToDoError, PhotoError
from dmdcli.formats import png
from dmdcli.library import Library
from dmdcli.marks import Mark, MarkedFace, put_mark
from dmdcli.pipeline.enroll import EnrolledPhoto, LookedAt, enroll
from dmdcli.pipeline.enroll_tagged import Proposal, propose
from dmdcli.places import find_photos
from tests.pipeline.test_enroll import FakeFinder, portrait
from tests.test_tags import packet


def tagged_photo(path: Path, people: Sequence[tuple[int, str | None]], number: int, blur: float = 0) -> None:
    """A photo with the people side by side, and a side file that names them."""
    squares = [portrait(person, number) for person, _ in people]
    if blur:
        squares = [cv2.GaussianBlur(square, (0, 0), blur) for square in squares]
        for square, (person, _) in zip(squares, people, strict=True):
            square[:, 0] = person
    Image.fromarray(np.concatenate(squares, axis=1)).save(path)
    width = 1 / len(people)
    regions = "".join(
        f"<rdf:li><rdf:Description mwg-rs:Name='{name}'><mwg-rs:Area stArea:x='{(place + 0.5) * width}' stArea:y='0.5' "
        f"stArea:w='{0.9 * width}' stArea:h='0.9'/></rdf:Description></rdf:li>"
        for place, (_, name) in enumerate(people)
        if name is not None
    )
    path.with_suffix(".xmp").write_bytes(packet(regions))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tagged")
    for number in range(4):
        tagged_photo(path / f"both{number}.png", [(1, "Alice"), (20, "Bob" if number else "BOB")], number)
    tagged_photo(path / "blurred.png", [(1, "alice")], 9, blur=6)
    tagged_photo(path / "twice.png", [(1, "Alice"), (30, "Alice")], 5)
    tagged_photo(path / "nobody.png", [(40, None)], 6)
    (path / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    return path


def proposals(folder: Path, library: Library, **more: object) -> tuple[dict[str, Proposal], list[PhotoError]]:
    files = find_photos([folder])
    events = list(propose(files, library, FakeFinder(), **more))
    assert [one.count for one in events if isinstance(one, LookedAt)] == list(range(1, len(files) + 1))
    found = {one.name: one for one in events if isinstance(one, Proposal)}
    return found, [one for one in events if isinstance(one, PhotoError)]


def test_everybody_named_is_proposed_from_the_best_photos(folder: Path, tmp_path: Path) -> None:
    found, errors = proposals(folder, Library(tmp_path / "home"), most=3)
    assert sorted(name.lower() for name in found) == ["alice", "bob"]
    alice = next(one for name, one in found.items() if name.lower() == "alice")
    assert (alice.tagged, alice.references, len(alice.chosen)) == (6, 0, 3)
    assert [one.quality for one in alice.chosen] == sorted((one.quality for one in alice.chosen), reverse=True)
    assert {path.name: reason.split(":")[0] for path, reason in alice.refused} == {
        "blurred.png": "blurred",
        "twice.png": "2 faces have the name",
    }
    assert [error.path.name for error in errors] == ["damaged.png"]
    bob = next(one for name, one in found.items() if name.lower() == "bob")
    assert all(one.box[0] == 512 for one in bob.chosen), "the right half"


def test_the_face_with_the_name_is_the_one_enrolled(folder: Path, tmp_path: Path) -> None:
    """Both are in all the photos: only the tags say who is who."""
    library = Library(tmp_path / "home")
    found, _ = proposals(folder, library, only=["bob"])
    (bob,) = found.values()
    places = {one.file.path: one.box for one in bob.chosen}
    outcomes = [
        one
        for one in enroll("Bob", [one.file for one in bob.chosen], library, FakeFinder(), places=places)
        if isinstance(one, EnrolledPhoto)
    ]
    assert [one.used for one in outcomes] == [True] * 4
    crops, _ = library.references(library.person("bob"))
    assert set(crops[:, 0, 0, 0].tolist()) == {20}, "Bob's number"
    again, _ = proposals(folder, library)
    assert again["Bob"].references == 4
    assert again["Bob"].chosen == ()
    assert again["Bob"].refused == ()


def test_tags_do_not_get_around_the_checks(tmp_path: Path) -> None:
    """Bob's faces, and one of somebody who is nothing like him, under his name."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number, person in enumerate((20, 20, 20, 60)):
        tagged_photo(folder / f"{number}.png", [(person, "Bob")], number)
    library = Library(tmp_path / "home")
    found, _ = proposals(folder, library)
    chosen = found["Bob"].chosen
    places = {one.file.path: one.box for one in chosen}
    events = list(enroll("Bob", [one.file for one in chosen], library, FakeFinder(), places=places))
    refused = [one for one in events if isinstance(one, EnrolledPhoto) and not one.used]
    assert [one.photo.name for one in refused] == ["3.png"]
    assert "somebody else" in str(refused[0].reason)


def test_restored_photos_are_refused_whether_people_or_dmd_named_the_faces(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    tagged_photo(folder / "a.png", [(20, "Bob")], 0)
    tagged_photo(folder / "b.png", [(20, "Bob")], 1)
    faces = tuple(MarkedFace((10.0, 10.0, 500.0, 500.0), "specific", 1.0, person=name) for name in ("BOB", "Alice"))
    mark, _ = put_mark(None, Mark("1", "base", "0", "kit", (512, 512), 2, faces), 1 << 20)
    (folder / "b.png").write_bytes(png.with_xmp((folder / "b.png").read_bytes(), mark or b""))
    found, errors = proposals(folder, Library(tmp_path / "home"))
    assert errors == []
    assert [one.file.path.name for one in found["Bob"].chosen] == ["a.png"]
    refused = ((folder / "b.png", "faces in it were restored by dmd; enroll the original"),)
    assert (found["Bob"].tagged, found["Bob"].refused) == (2, refused)
    assert (found["Alice"].tagged, found["Alice"].chosen, found["Alice"].refused) == (1, (), refused)


def test_nobody_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NothingToDoError, match="Zoë"):
        proposals(folder, Library(tmp_path / "home"), only=["Zoë"])
    finder = FakeFinder()
    finder.find = lambda pixels: pytest.fail("faces are looked for only where somebody is named")
    with pytest.raises(NothingToDoError, match="nobody"):
        list(propose([one for one in find_photos([folder]) if one.path.stem == "nobody"], Library(tmp_path), finder))
