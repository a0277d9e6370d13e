"""The desk of photos: what is found, in which order, what is kept of what somebody says, and what is undone."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dmdcli.decisions import Decision
from dmdcli.errors import UsageError
from dmdcli.faces.finder import NOT_FITTED
from dmdcli.page.desk import ChangedElsewhereError, NoSuchFaceError
from dmdcli.page.keeping import FACELESS
from dmdcli.pipeline.by_hand import NOT_A_FACE
from dmdcli.places import PhotoFile
from dmdcli.shapes import overlap
from tests.page.album import (
    FREE,
    LEFT,
    RIGHT,
    SIZE,
    AlbumKit,
    desk_of,
    faces_of,
    kept_of,
    people_of,
    shifted,
    shifted_box,
    told_confidence,  # noqa: F401 (a fixture)
)


def test_faces_come_in_the_order_in_which_they_want_to_be_looked_at(
    files: list[PhotoFile], kit: AlbumKit, home: Path
) -> None:
    with desk_of(files, kit, home) as desk:
        lines = sorted(desk.summaries(0)[1], key=lambda line: line.rank)
        assert [(one.photo, one.number, one.verdict, one.confidence) for one in lines] == [
            ("b.png", 1, "doubtful", 0.5),
            ("none.png", 0, "unusable", None),  # a face may be drawn
            ("b.png", 2, "unusable", None),  # it is only too small
            ("a.png", 1, "good", 0.97),
            ("a.png", 2, "good", 0.97),
        ]
        assert desk.preview(lines[0].id, Decision()).verdict == "doubtful"
        desk.save(lines[0].id, Decision(accepted=True))
        assert desk.preview(lines[0].id, Decision(accepted=True)).verdict == "good", "as it will be restored"
        desk.save(lines[3].id, Decision(not_a_face=True))
        again = sorted(desk.summaries(0)[1], key=lambda line: line.rank)
        assert [one.id for one in again[-2:]] == [lines[0].id, lines[3].id]
        assert (again[-1].gone, again[-1].reasons) == (True, (NOT_A_FACE,))
        assert desk.decided() == {"said to be no face": 1, "accepted": 1}, "nobody put the doubtful points right"
        points = shifted(desk.detail(lines[0].id).landmarks, 3)
        desk.save(lines[0].id, Decision(landmarks=points, accepted=True))
        assert desk.decided() == {"corrected": 1, "said to be no face": 1, "accepted": 1}


def test_what_was_changed_elsewhere_is_not_written_over(files: list[PhotoFile], kit: AlbumKit, home: Path) -> None:
    with desk_of(files, kit, home) as one, desk_of(files, kit, home) as other:
        first, second = faces_of(one)["a.png", 1].id, faces_of(one)["a.png", 2].id
        points = shifted(one.detail(first).landmarks, 5)
        one.save(first, Decision(landmarks=points, person="Anna"))
        other.save(second, Decision(accepted=True))
        with pytest.raises(ChangedElsewhereError, match="shown again as it is now"):
            other.save(first, Decision(accepted=True))
        assert kept_of(home, files[0]) == (
            Decision(box=LEFT, landmarks=points, person="Anna"),
            Decision(box=RIGHT, accepted=True),
        )
        now = other.detail(first)
        assert (now.landmarks, now.decision.person, now.summary.by_hand) == (points, "Anna", True)
        assert other.decided() == {"accepted": 1}
        other.save(first, replace(now.decision, accepted=True))
        assert Decision(box=LEFT, landmarks=points, person="Anna", accepted=True) in kept_of(home, files[0])
        with pytest.raises(ChangedElsewhereError):
            one.reset(first)
        one.reset(first)
        assert kept_of(home, files[0]) == (Decision(box=RIGHT, accepted=True),)


def test_a_tab_that_shows_a_face_as_it_was_decides_nothing(files: list[PhotoFile], kit: AlbumKit, home: Path) -> None:
    with desk_of(files, kit, home) as desk:
        face, empty = faces_of(desk)["a.png", 1].id, faces_of(desk)["none.png", 0].id
        stale = desk.detail(face)
        saved = desk.save(face, Decision(person="Anna"), stale.revision)
        for decide in (lambda: desk.save(face, Decision(accepted=True), stale.revision), lambda: desk.reset(face, "")):
            with pytest.raises(ChangedElsewhereError):
                decide()
        assert desk.detail(face) == saved
        assert kept_of(home, files[0]) == (Decision(box=LEFT, person="Anna"),)
        before = desk.detail(empty).revision
        drawn = desk.draw(saved.photo_id.replace("p1", "p3"), FREE)
        with pytest.raises(ChangedElsewhereError):
            desk.save(empty, Decision(accepted=True), before)
        assert desk.reset(drawn.summary.id, drawn.revision) is None
        assert desk.save(empty, Decision(accepted=True), before).summary.accepted, "it is as it was seen again"
        assert desk.decided() == {"said whose they are": 1, FACELESS: 1}, "a photo is no face"


def test_to_decide_about_a_face_ranks_nobody_before(
    files: list[PhotoFile], kit: AlbumKit, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with desk_of(files, kit, home) as desk:
        face, ranked = faces_of(desk)["a.png", 1].id, []
        seen = desk.detail(face).revision
        monkeypatch.setattr(desk._previews, "candidates", lambda _: ranked.append(1) or ())
        desk.save(face, Decision(accepted=True), seen)
        assert len(ranked) == 1, "for the answer alone"


def test_a_face_drawn_elsewhere_is_not_drawn_twice(files: list[PhotoFile], kit: AlbumKit, home: Path) -> None:
    with desk_of(files, kit, home) as one, desk_of(files, kit, home) as other:
        photo = one.detail(faces_of(one)["none.png", 0].id).photo_id
        drawn = one.draw(photo, FREE)
        with pytest.raises(ChangedElsewhereError):
            other.draw(photo, (FREE[0] + 5, *FREE[1:]))
        assert other.detail(faces_of(other)["none.png", 1].id).landmarks == drawn.landmarks
        assert len(kept_of(home, files[2])) == 1


def test_a_better_box_is_drawn_over_one_that_was_said_to_be_no_face(
    files: list[PhotoFile], kit: AlbumKit, home: Path
) -> None:
    with desk_of(files, kit, home) as desk:
        found = desk.detail(faces_of(desk)["a.png", 1].id)
        face = found.summary.id
        desk.save(face, Decision(not_a_face=True))
        drawn = desk.draw(found.photo_id, shifted_box(LEFT, 20))
        assert (drawn.summary.id, drawn.found_box, drawn.summary.gone) == (face, LEFT, False), "it is the same face"
        assert kept_of(home, files[0]) == (Decision(box=drawn.box, landmarks=drawn.landmarks, fitted=True),)
        assert desk.reset(face) == found
        desk.save(face, Decision(not_a_face=True))
        kit.score = 0.0
        drawn = desk.draw(found.photo_id, shifted_box(LEFT, 20))
        assert drawn.summary.reasons[0] == NOT_FITTED
        assert kept_of(home, files[0]) == (Decision(box=LEFT, not_a_face=True),), "until its points are put right"
        desk.save(face, Decision(landmarks=shifted(drawn.landmarks, 3)))
        assert [one.not_a_face for one in kept_of(home, files[0])] == [False]


def test_no_face_comes_back_into_the_place_of_another(files: list[PhotoFile], kit: AlbumKit, home: Path) -> None:
    with desk_of(files, kit, home) as desk:
        photo, gone = desk.detail(faces_of(desk)["a.png", 1].id).photo_id, faces_of(desk)["a.png", 1].id
        moved = faces_of(desk)["a.png", 2].id
        desk.save(gone, Decision(not_a_face=True))
        desk.save(moved, Decision(box=shifted_box(LEFT, 20)))
        desk.draw(photo, RIGHT)
        for face, decision in ((gone, Decision(person="Anna")), (moved, Decision(box=RIGHT)), (gone, None)):
            with pytest.raises(UsageError, match=r"Face \d is in that place already"):
                desk.reset(face) if decision is None else desk.save(face, decision)
        assert desk.detail(gone).summary.gone


def test_only_what_changed_is_told_again(files: list[PhotoFile], kit: AlbumKit, home: Path) -> None:
    with desk_of(files, kit, home) as desk:
        revision, lines = desk.summaries(0)
        assert desk.summaries(revision) == (revision, [])
        desk.save(lines[0].id, Decision(accepted=True))
        later, changed = desk.summaries(revision)
        assert [one.id for one in changed] == [lines[0].id]
        desk.save(lines[0].id, Decision(accepted=True))
        assert desk.summaries(later) == (later, [])


def test_points_put_right_are_kept_for_the_content_of_the_photo(
    files: list[PhotoFile], kit: AlbumKit, home: Path, tmp_path: Path
) -> None:
    with desk_of(files, kit, home) as desk:
        face = faces_of(desk)["a.png", 1]
        before = desk.detail(face.id)
        assert (before.box, before.size, before.others) == (LEFT, SIZE, [RIGHT])
        points = shifted(before.landmarks, 6, only=range(36, 48))
        after = desk.save(face.id, Decision(landmarks=points))
        assert (after.landmarks, after.found_landmarks) == (points, before.landmarks)
        assert (after.summary.by_hand, after.summary.verdict, after.summary.confidence) == (True, "good", 1.0)
        assert kept_of(home, files[0]) == (Decision(box=LEFT, landmarks=points),)
        desk.save(face.id, Decision(landmarks=points, accepted=True))
        assert desk.decided() == {"corrected": 1, "accepted": 1}
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == ["a.png", "b.png", "none.png"]
    renamed = PhotoFile(files[0].path.rename(tmp_path / "in" / "other.png"), files[0].relative)
    with desk_of([renamed], kit, home) as desk:
        detail = desk.detail(faces_of(desk)["a.png", 1].id)
        assert (detail.landmarks, detail.found_landmarks) == (points, before.landmarks)
        assert (detail.summary.accepted, desk.decided()) == (True, {})
        assert desk.reset(detail.summary.id) is not None
        assert kept_of(home, renamed) == ()
        assert desk.detail(detail.summary.id).landmarks == before.landmarks


def test_other_faces_of_the_photo_keep_what_was_said_of_them(files: list[PhotoFile], kit: AlbumKit, home: Path) -> None:
    with desk_of(files, kit, home) as desk:
        one, other = faces_of(desk)["a.png", 1], faces_of(desk)["a.png", 2]
        desk.save(one.id, Decision(person="Zoë"))
        desk.save(other.id, Decision(stranger=True, strength=0.5))
        assert kept_of(home, files[0]) == (
            Decision(box=LEFT, person="Zoë"),
            Decision(box=RIGHT, stranger=True, strength=0.5),
        )
        assert faces_of(desk)["a.png", 1].person == "Zoë", "though nobody is enrolled so"
        assert "Zoë" in desk.state().people
        desk.reset(one.id)
        assert kept_of(home, files[0]) == (Decision(box=RIGHT, stranger=True, strength=0.5),)


def test_people_are_recognised_named_and_offered(files: list[PhotoFile], kit: AlbumKit, home: Path) -> None:
    with desk_of(files, kit, home, people_of(alice=103.0, bob=255.0)) as desk:
        face = faces_of(desk)["b.png", 1]
        assert face.person is None
        assert [one.name for one in desk.detail(face.id).candidates] == ["alice", "bob"]
        assert desk.save(face.id, Decision(person="bob")).summary.person == "bob"
        assert desk.preview(face.id, Decision()).used == "specific"
        assert desk.preview(face.id, Decision(stranger=True)).used == "generic"
        assert desk.save(face.id, Decision(stranger=True)).summary.person is None


def test_a_box_that_was_moved_away_leaves_no_face_behind(files: list[PhotoFile], kit: AlbumKit, home: Path) -> None:
    away = (230.0, 120.0, 330.0, 220.0)
    with desk_of(files, kit, home) as desk:
        face = faces_of(desk)["a.png", 1]
        moved = desk.save(face.id, Decision(box=away))
        assert overlap(moved.box, away) == 1.0
        assert moved.landmarks != moved.found_landmarks
        assert kept_of(home, files[0]) == (
            Decision(box=LEFT, not_a_face=True),
            Decision(box=away, landmarks=moved.landmarks, found=LEFT, fitted=True),
        )
        desk.reset(face.id)
        assert kept_of(home, files[0]) == ()


def test_as_found_gives_back_what_was_found_also_where_the_box_was_moved(
    files: list[PhotoFile], kit: AlbumKit, home: Path
) -> None:
    near, away = (80.0, 60.0, 220.0, 200.0), (230.0, 160.0, 320.0, 250.0)
    with desk_of(files, kit, home) as desk:
        for name, box in (("a.png", near), ("a.png", away), ("b.png", away)):
            face = faces_of(desk)[name, 1]
            before, plain = desk.detail(face.id), desk.preview(face.id, Decision())
            as_found = Decision(box=before.box)  # as the page sends it: points as found are none
            assert desk.save(face.id, Decision(box=box)).landmarks != before.landmarks
            np.testing.assert_array_equal(desk.preview(face.id, as_found).before, plain.before)
            assert desk.save(face.id, as_found) == before
            desk.save(face.id, Decision(box=box))
            assert desk.save(face.id, replace(as_found, person="Anna")).landmarks == before.landmarks
            desk.save(face.id, Decision(box=box))
            accepted = desk.save(face.id, replace(as_found, accepted=True))
            assert (accepted.landmarks, accepted.summary.verdict) == (before.landmarks, "good")
            desk.reset(face.id)
        assert kept_of(home, files[0]) == kept_of(home, files[1]) == ()


def test_a_closed_eye_is_left_and_the_preview_says_why(files: list[PhotoFile], kit: AlbumKit, home: Path) -> None:
    with desk_of(files, kit, home) as desk:
        face = faces_of(desk)["a.png", 1].id
        points = list(desk.detail(face).landmarks)
        for lid, other in ((37, 41), (38, 40)):
            points[lid] = points[other]
        told = desk.preview(face, Decision(landmarks=tuple(points))).reasons
        assert "the left eye seems closed and is left as it was" in told


def test_points_on_one_spot_are_refused(files: list[PhotoFile], kit: AlbumKit, home: Path) -> None:
    with desk_of(files, kit, home) as desk:
        face = faces_of(desk)["a.png", 1].id
        for ask in (desk.preview, desk.save):
            with pytest.raises(UsageError, match="draw them apart"):
                ask(face, Decision(landmarks=((100.0, 100.0),) * 68))
        assert kept_of(home, files[0]) == ()


def test_a_preview_without_points_is_of_those_found(files: list[PhotoFile], kit: AlbumKit, home: Path) -> None:
    with desk_of(files, kit, home) as desk:
        face = faces_of(desk)["a.png", 1].id
        plain = desk.preview(face, Decision())
        desk.save(face, Decision(landmarks=shifted(desk.detail(face).landmarks, 12, only=range(36, 48))))
        assert desk.preview(face, Decision()).components == plain.components


def test_a_face_that_was_moved_is_taken_back_in_a_later_session_too(
    files: list[PhotoFile], kit: AlbumKit, home: Path
) -> None:
    away = (230.0, 120.0, 330.0, 220.0)
    with desk_of(files, kit, home) as desk:
        face = faces_of(desk)["a.png", 1]
        before = desk.detail(face.id)
        desk.save(face.id, Decision(box=away))
    with desk_of(files, kit, home) as desk:
        places = {desk.detail(line.id).box: line for line in faces_of(desk).values() if line.photo == "a.png"}
        assert places.keys() == {RIGHT, away}, "one face, not one that is none and one that was drawn"
        moved = desk.detail(places[away].id)
        assert (moved.found_box, moved.found_landmarks) == (LEFT, before.landmarks)
        desk.save(moved.summary.id, Decision(landmarks=moved.landmarks, person="Anna"))
        (left, kept) = kept_of(home, files[0])
        assert (left, kept.found, kept.person) == (Decision(box=LEFT, not_a_face=True), LEFT, "Anna")
        back = desk.reset(moved.summary.id)
        assert (back.box, back.landmarks, back.summary.gone) == (LEFT, before.landmarks, False)
        assert kept_of(home, files[0]) == ()


def test_a_box_is_not_put_onto_another_face(files: list[PhotoFile], kit: AlbumKit, home: Path) -> None:
    with desk_of(files, kit, home) as desk:
        face = faces_of(desk)["a.png", 1]
        with pytest.raises(UsageError, match="Face 2 is in that place already"):
            desk.save(face.id, Decision(box=RIGHT))
        with pytest.raises(UsageError, match="Face 2 is in that place already"):
            desk.draw(desk.detail(face.id).photo_id, RIGHT)
        assert kept_of(home, files[0]) == ()


def test_a_preview_is_of_the_points_given_and_keeps_nothing(files: list[PhotoFile], kit: AlbumKit, home: Path) -> None:
    with desk_of(files, kit, home) as desk:
        face = faces_of(desk)["a.png", 1]
        standing = desk.detail(face.id)
        plain = desk.preview(face.id, Decision())
        assert (plain.before.shape, plain.before.dtype, plain.used, plain.verdict) == (
            (512, 512, 3),
            np.uint8,
            "generic",
            "good",
        )
        unsure = desk.preview(faces_of(desk)["b.png", 1].id, Decision())
        assert (plain.left_out, unsure.left_out) == ((), (0, 1, 2))
        assert "the mouth is left as it was" in unsure.reasons
        change = plain.after.astype(int) - plain.before
        assert np.median(change[260:340, 240:280]) == pytest.approx(26, abs=2), "the 0.1 of the network"
        weaker = desk.preview(face.id, Decision(strength=0.5))
        assert np.median((weaker.after.astype(int) - weaker.before)[260:340, 240:280]) == pytest.approx(13, abs=2)
        eyes = shifted(standing.landmarks, 10, only=range(36, 48))
        moved = desk.preview(face.id, Decision(landmarks=eyes))
        assert moved.components != plain.components
        low = desk.preview(face.id, Decision(landmarks=shifted(standing.landmarks, 0, 30, only=range(36, 42))))
        assert "the box of the left eye is too large or too small" in low.reasons
        spot = tuple((100.0, 100.0) for _ in range(68))
        with pytest.raises(UsageError, match="on one spot"):
            desk.preview(face.id, Decision(landmarks=spot))
        mirrored = tuple((200 + 60 - x, y) for x, y in standing.landmarks)
        assert desk.preview(face.id, Decision(landmarks=mirrored)).verdict == "unusable", "it is said, and shown"
        assert kept_of(home, files[0]) == ()
        assert desk.decided() == {}


def test_the_search_waits_until_everything_about_a_preview_is_said(
    files: list[PhotoFile], kit: AlbumKit, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with desk_of(files, kit, home) as desk:
        face = faces_of(desk)["a.png", 1].id
        served = []
        monkeypatch.setattr(
            "dmdcli.page.previews.hints", lambda *_: (served.append(desk._finders.precedence._served), ())[1]
        )
        desk.preview(face, Decision())
        assert served == [1]


def test_views_and_thumbnails_are_jpegs_of_the_size_asked_for(
    files: list[PhotoFile], kit: AlbumKit, home: Path
) -> None:
    def size(content: bytes) -> tuple[int, int]:
        with Image.open(io.BytesIO(content)) as picture:
            assert picture.format == "JPEG"
            return picture.size

    with desk_of(files, kit, home) as desk:
        for line in desk.summaries(0)[1]:
            assert size(desk.thumbnail(line.id)) == (96, 96)
        photo = desk.detail(faces_of(desk)["a.png", 1].id).photo_id
        assert size(desk.view(photo, None, 280)) == (280, 150)
        assert size(desk.view(photo, None, 10_000)) == SIZE, "never enlarged"
        assert size(desk.view(photo, (10, 20, 110, 70), 50)) == (50, 25)
        assert size(desk.view(photo, (-10, -20, 110.5, 70), 500)) == (111, 70)
        with pytest.raises(UsageError, match="outside"):
            desk.view(photo, (600, 0, 700, 100), 100)
        with pytest.raises(NoSuchFaceError):
            desk.view("p99", None, 100)
        for ask in (desk.detail, desk.thumbnail, desk.reset):
            with pytest.raises(NoSuchFaceError):
                ask("f99")
