"""The desk of references: points put right in the library and for the photo, references removed and put back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from dmdcli.corrections import Corrections
from dmdcli.decisions import Decision
from dmdcli.errors import UsageError
from dmdcli.faces.align import invert, transform
from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.kit import Detection
from dmdcli.journal import digest_of
from dmdcli.library import Library, NewReference
from dmdcli.page.desk import ChangedElsewhereError, NoSuchFaceError
from dmdcli.page.keeping import Kept
from dmdcli.page.reference_desk import ReferenceDesk
from dmdcli.page.turns import share
from dmdcli.photos import read_photo
from dmdcli.shapes import Pixels
from tests.page.album import LEFT, AlbumKit, add_photo, shifted, told_confidence  # noqa: F401 (a fixture)

GREYS = (100, 140)


@pytest.fixture
def kit() -> AlbumKit:
    return AlbumKit({grey: [LEFT] for grey in GREYS})


@pytest.fixture
def library(tmp_path: Path, kit: AlbumKit) -> Library:
    """Alice, with a reference of each of two photos."""
    library, new = Library(tmp_path / "home"), []
    for grey in GREYS:
        photo = add_photo(tmp_path / "in", f"{grey}.png", grey).path
        (face,) = FaceFinder(kit).find(read_photo(photo).pixels)
        new.append(NewReference(face.pixels, face.landmarks.points, photo, 0.5, digest_of(photo)))
    library.add_references("Alice", new)
    return library


@contextmanager
def desk_of(library: Library, kit: AlbumKit) -> Iterator[ReferenceDesk]:
    kept = Kept(Corrections(library.home))
    desk = ReferenceDesk(library, library.person("Alice"), share(FaceFinder(kit)), kept)
    desk.start()
    try:
        yield desk
    finally:
        desk.close()


def test_corrected_points_are_the_references_and_the_photos(library: Library, kit: AlbumKit, tmp_path: Path) -> None:
    before = library.version(library.person("Alice"))
    with desk_of(library, kit) as desk:
        first = desk.summaries(0)[1][0].id
        detail = desk.detail(first)
        assert (detail.size, detail.photo_id, detail.found_landmarks) == ((512, 512), first, detail.landmarks)
        points = shifted(detail.landmarks, 5, 2, only=range(36, 48))
        after = desk.save(first, Decision(landmarks=points))
        assert (after.landmarks, after.found_landmarks) == (points, detail.landmarks)
        assert (after.summary.by_hand, after.summary.verdict) == (True, "good")
        assert desk.decided() == {"corrected": 1}
    person = library.person("Alice")
    assert [one.landmark_source for one in person.references] == ["corrected", "detected"]
    assert library.version(person) != before
    np.testing.assert_allclose(library.references(person)[1][0], np.array(points, np.float32), atol=0.006)
    (kept,) = Corrections(library.home).faces(person.references[0].digest)
    assert kept.box == LEFT
    (face,) = FaceFinder(kit).find(read_photo(tmp_path / "in" / "100.png").pixels)
    in_photo = transform(np.array(points, np.float32), invert(face.matrix))
    np.testing.assert_allclose(np.array(kept.landmarks), in_photo, atol=0.01)


def test_points_are_forgotten_with_the_person_whose_reference_was_removed(library: Library, kit: AlbumKit) -> None:
    kept = Corrections(library.home)
    with desk_of(library, kit) as desk:
        first = desk.summaries(0)[1][0].id
        desk.save(first, Decision(landmarks=shifted(desk.detail(first).landmarks, 5)))
        desk.save(first, Decision(not_a_face=True))
    assert [face.person for photo in kept for face in photo.faces] == ["Alice"]
    kept.forget("Alice", {one.digest for one in library.person("Alice").references})
    assert list(kept) == []


def test_a_face_that_is_said_to_be_somebodys_stays_theirs(library: Library, kit: AlbumKit) -> None:
    digest = library.person("Alice").references[0].digest
    Corrections(library.home).keep(digest, [Decision(box=LEFT, person="Bob")])
    with desk_of(library, kit) as desk:
        first = desk.summaries(0)[1][0].id
        desk.save(first, Decision(landmarks=shifted(desk.detail(first).landmarks, 5)))
    (face,) = Corrections(library.home).faces(digest)
    assert (face.person, face.landmarks is None) == ("Bob", False)


def test_points_go_back_to_those_found_in_a_later_session_too(library: Library, kit: AlbumKit) -> None:
    digest = library.person("Alice").references[0].digest
    with desk_of(library, kit) as desk:
        first = desk.summaries(0)[1][0].id
        found = desk.detail(first).landmarks
        desk.save(first, Decision(landmarks=shifted(found, 5)))
    with desk_of(library, kit) as desk:
        assert desk.detail(first).found_landmarks == found
        desk.save(first, Decision(landmarks=shifted(found, 7), accepted=True))
        assert desk.detail(first).summary.accepted
    assert len(Corrections(library.home).faces(digest)) == 1
    with desk_of(library, kit) as desk:
        reset = desk.reset(first)
        assert reset is not None
        assert (reset.landmarks, reset.summary.by_hand) == (found, False)
        assert library.person("Alice").references[0].landmark_source == "detected"
    assert Corrections(library.home).faces(digest) == ()


def test_a_photo_that_is_another_by_now_is_left_out(library: Library, kit: AlbumKit, tmp_path: Path) -> None:
    add_photo(tmp_path / "in", "100.png", 101)
    (tmp_path / "in" / "140.png").unlink()
    with desk_of(library, kit) as desk:
        for line in desk.summaries(0)[1]:
            desk.save(line.id, Decision(landmarks=shifted(desk.detail(line.id).landmarks, 5)))
        assert desk.state().failures == ()
    assert list(Corrections(library.home)) == []


def test_what_goes_wrong_with_one_photo_is_told_and_the_others_go_on(
    library: Library, kit: AlbumKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    detect = kit.detect

    def stumble(photos: Sequence[Pixels]) -> list[list[Detection]]:
        if photos[0][0, 0, 0] == GREYS[0]:
            raise RuntimeError("out of order")
        return detect(photos)

    monkeypatch.setattr(kit, "detect", stumble)
    with desk_of(library, kit) as desk:
        for line in desk.summaries(0)[1]:
            desk.save(line.id, Decision(landmarks=shifted(desk.detail(line.id).landmarks, 5)))
    (failure,) = desk.state().failures
    assert "100.png" in failure
    assert "out of order" in failure
    assert len(list(Corrections(library.home))) == 1, "the points of the other photo are kept"


def test_references_are_removed_and_put_back_but_never_the_last(library: Library, kit: AlbumKit) -> None:
    before = library.person("Alice")
    with desk_of(library, kit) as desk:
        one, other = (line.id for line in desk.summaries(0)[1])
        assert desk.save(one, Decision(not_a_face=True)).summary.gone
        assert [reference.id for reference in library.person("Alice").references] == [other]
        with pytest.raises(UsageError, match="last reference of Alice"):
            desk.save(other, Decision(not_a_face=True))
        assert desk.decided() == {"removed": 1}
        back = desk.reset(one)
        assert back is not None
        assert not back.summary.gone
        assert library.person("Alice") == before
        assert desk.decided() == {}


def test_a_removed_reference_comes_back_with_the_points_that_were_put_right(library: Library, kit: AlbumKit) -> None:
    with desk_of(library, kit) as desk:
        first = desk.summaries(0)[1][0].id
        points = shifted(desk.detail(first).landmarks, 5)
        desk.save(first, Decision(landmarks=points))
        corrected = library.person("Alice")
        for wanted in (points, shifted(points, 2)):
            desk.save(first, Decision(not_a_face=True))
            back = desk.save(first, Decision(landmarks=wanted))
            assert (back.landmarks, back.summary.gone, back.summary.by_hand) == (wanted, False, True)
            assert library.person("Alice") == corrected, "each where it was, and said to be corrected"


def test_a_preview_shows_what_the_dictionary_is_made_of(library: Library, kit: AlbumKit) -> None:
    with desk_of(library, kit) as desk:
        first = desk.summaries(0)[1][0].id
        points = desk.detail(first).landmarks
        plain = desk.preview(first, Decision())
        moved = desk.preview(first, Decision(landmarks=shifted(points, 12, only=range(48, 68))))
        assert [one != other for one, other in zip(plain.components, moved.components, strict=True)] == [0, 0, 1]
        assert (plain.before != plain.after).any(axis=2).mean() < 0.2, "drawn on the crop"
        assert library.person("Alice").references[0].landmark_source == "detected"


def test_a_tab_that_shows_a_reference_as_it_was_decides_nothing(library: Library, kit: AlbumKit) -> None:
    with desk_of(library, kit) as desk:
        first = desk.summaries(0)[1][0].id
        stale = desk.detail(first).revision
        saved = desk.save(first, Decision(landmarks=shifted(desk.detail(first).landmarks, 5)), stale)
        with pytest.raises(ChangedElsewhereError):
            desk.save(first, Decision(accepted=True), stale)
        with pytest.raises(ChangedElsewhereError):
            desk.reset(first, stale)
        assert desk.detail(first) == saved


def test_what_another_page_made_of_a_reference_is_not_written_over(library: Library, kit: AlbumKit) -> None:
    with desk_of(library, kit) as one, desk_of(library, kit) as other, desk_of(library, kit) as third:
        first = one.summaries(0)[1][0].id
        found = one.detail(first).landmarks
        points = shifted(found, 5)
        one.save(first, Decision(landmarks=points))
        before = library.version(library.person("Alice"))
        for desk, decision in ((other, Decision(landmarks=shifted(found, 9))), (third, Decision(not_a_face=True))):
            with pytest.raises(ChangedElsewhereError):
                desk.save(first, decision)
            assert library.version(library.person("Alice")) == before
            assert desk.detail(first).landmarks == points, "it is shown as it is now"
            assert (desk.detail(first).summary.by_hand, desk.decided()) == (True, {})
        one.save(first, Decision(not_a_face=True))
        with pytest.raises(ChangedElsewhereError):
            other.save(first, Decision(landmarks=shifted(found, 9)))
        assert other.detail(first).summary.gone
        other.save(first, Decision(landmarks=shifted(found, 9)))
        with pytest.raises(ChangedElsewhereError):
            one.reset(first)
        assert (one.detail(first).landmarks, one.detail(first).summary.gone) == (shifted(found, 9), False)
        assert len(library.person("Alice").references) == 2, "it came back once"


def test_what_a_reference_has_not_is_refused(library: Library, kit: AlbumKit) -> None:
    with desk_of(library, kit) as desk:
        first = desk.summaries(0)[1][0].id
        for decision in (Decision(person="Bob"), Decision(strength=0.5), Decision(leave_alone=True)):
            with pytest.raises(UsageError, match="only the points"):
                desk.save(first, decision)
        with pytest.raises(UsageError, match="one face"):
            desk.draw(first, LEFT)
        with pytest.raises(UsageError, match="no results"):
            desk.view(first, None, 100, "result")
        with pytest.raises(NoSuchFaceError):
            desk.detail("0123")
        assert desk.state().actions == ("landmarks", "accept", "remove")
