"""Faces drawn on the desk of photos, and points that were only fitted: when they count as right."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmdcli.decisions import Decision
from dmdcli.errors import UsageError
from dmdcli.faces.finder import NOT_FITTED, FaceFinder
from dmdcli.page.seen import DRAWN_THERE, NO_FACE
from dmdcli.photos import read_photo
from dmdcli.pipeline.by_hand import find_faces
from dmdcli.places import PhotoFile
from tests.page.album import (
    FREE,
    LEFT,
    SIZE,
    AlbumKit,
    desk_of,
    faces_of,
    kept_of,
    shifted,
    shifted_box,
    told_confidence,  # noqa: F401 (a fixture)
)


def test_a_missed_face_is_drawn_and_taken_away_again(files: list[PhotoFile], kit: AlbumKit, home: Path) -> None:
    with desk_of(files, kit, home) as desk:
        empty = faces_of(desk)["none.png", 0]
        photo = desk.detail(empty.id)
        assert (photo.box, photo.landmarks, photo.found_box) == ((0.0, 0.0, *map(float, SIZE)), (), None)
        with pytest.raises(UsageError, match="no face yet"):
            desk.save(empty.id, Decision(person="alice"))
        with pytest.raises(UsageError, match="no face yet"):
            desk.save(empty.id, Decision(strength=0.0, accepted=True))
        drawn = desk.draw(photo.photo_id, FREE)
        assert (drawn.found_box, drawn.found_landmarks, len(drawn.landmarks)) == (None, None, 68)
        assert kept_of(home, files[2]) == (Decision(box=drawn.box, landmarks=drawn.landmarks, fitted=True),)
        line = faces_of(desk)["none.png", 0]
        assert (line.verdict, line.reasons, line.by_hand, line.gone) == ("good", (DRAWN_THERE,), True, False)
        assert desk.decided() == {"with points fitted in a box": 1}
        with desk_of(files, kit, home) as again:
            assert faces_of(again).keys() >= {("none.png", 1)}
            assert again.detail(faces_of(again)["none.png", 1].id).landmarks == drawn.landmarks
        assert desk.reset(drawn.summary.id) is None
        assert kept_of(home, files[2]) == ()
        assert (faces_of(desk)["none.png", 0].reasons, faces_of(desk)["none.png", 0].by_hand) == ((NO_FACE,), False)
        assert faces_of(desk)["none.png", 1].gone
        assert desk.decided() == {}
        assert desk.save(empty.id, Decision(accepted=True)).summary.accepted


def test_points_that_were_only_fitted_are_no_surer_than_found_ones(
    files: list[PhotoFile], kit: AlbumKit, home: Path
) -> None:
    def in_restoring() -> tuple[str, float]:
        pixels = read_photo(files[2].path).pixels
        (face,) = find_faces(FaceFinder(kit), pixels, kept_of(home, files[2]))
        return face.landmarks.source, face.confidence.face

    with desk_of(files, kit, home) as desk:
        drawn = desk.draw(desk.detail(faces_of(desk)["none.png", 0].id).photo_id, FREE)
        assert (drawn.summary.verdict, drawn.summary.confidence, in_restoring()) == ("doubtful", 0.5, ("detected", 0.5))
    with desk_of(files, kit, home) as desk:
        face = faces_of(desk)["none.png", 1]
        assert (face.verdict, face.confidence) == ("doubtful", 0.5)
        desk.save(face.id, Decision(landmarks=drawn.landmarks, person="alice"))
        assert in_restoring() == ("detected", 0.5), "whose it is makes no point righter"
        assert desk.preview(face.id, Decision(landmarks=drawn.landmarks)).verdict == "doubtful"
        accepted = desk.save(face.id, Decision(landmarks=drawn.landmarks, accepted=True))
        assert (accepted.summary.verdict, in_restoring()) == ("good", ("corrected", 1.0))
        assert accepted.landmarks == drawn.landmarks
        moved = desk.save(face.id, Decision(box=shifted_box(drawn.box, -20)))
        assert in_restoring() == ("detected", 0.5)
        desk.save(face.id, Decision(landmarks=shifted(moved.landmarks, 2)))
        assert in_restoring() == ("corrected", 1.0)


def test_a_face_whose_points_were_only_fitted_is_still_to_be_looked_at(
    files: list[PhotoFile], kit: AlbumKit, home: Path
) -> None:
    with desk_of(files, kit, home) as desk:
        drawn = desk.draw(desk.detail(faces_of(desk)["none.png", 0].id).photo_id, FREE)
        moved = desk.save(faces_of(desk)["b.png", 1].id, Decision(box=shifted_box(LEFT, 20)))
        for detail in (drawn, moved):
            face, points = detail.summary.id, detail.landmarks
            assert (detail.summary.verdict, detail.summary.by_hand) == ("doubtful", False)
            assert desk.save(face, Decision(landmarks=points, person="alice")).summary.by_hand
            assert not desk.save(face, Decision(landmarks=points)).summary.by_hand
        assert desk.decided() == {"with points fitted in a box": 2}
        for detail in (drawn, moved):
            assert desk.save(detail.summary.id, Decision(landmarks=detail.landmarks, accepted=True)).summary.by_hand
        assert desk.decided() == {"corrected": 2, "accepted": 2}


def test_accepting_a_doubtful_face_makes_its_points_right(files: list[PhotoFile], kit: AlbumKit, home: Path) -> None:
    with desk_of(files, kit, home) as desk:
        doubtful, good = faces_of(desk)["b.png", 1], faces_of(desk)["a.png", 1]
        for _ in range(2):
            after = desk.save(doubtful.id, Decision(accepted=True))
            assert (after.summary.verdict, after.summary.confidence) == ("good", 1.0)
            assert kept_of(home, files[1]) == (Decision(box=LEFT, landmarks=after.found_landmarks, accepted=True),)
        desk.save(good.id, Decision(accepted=True))
        assert kept_of(home, files[0]) == (Decision(box=LEFT, accepted=True),), "there was nothing to make sure of"
        again = desk.reset(doubtful.id)
        assert again is not None
        assert again.summary.verdict == "doubtful"


def test_a_box_in_which_nothing_is_found_changes_no_points(files: list[PhotoFile], kit: AlbumKit, home: Path) -> None:
    with desk_of(files, kit, home) as desk:
        face = faces_of(desk)["a.png", 1]
        before = desk.save(face.id, Decision(person="alice"))
        kit.score = 0.0
        for decision in (Decision(box=shifted_box(LEFT, 20)), Decision(box=shifted_box(LEFT, 20), accepted=True)):
            with pytest.raises(UsageError, match="No face could be made out in that box"):
                desk.save(face.id, decision)
        assert desk.detail(face.id) == before
        assert kept_of(home, files[0]) == (Decision(box=LEFT, person="alice"),)


def test_average_points_are_kept_only_once_somebody_looked_at_them(
    files: list[PhotoFile], kit: AlbumKit, home: Path
) -> None:
    with desk_of(files, kit, home) as desk:
        kit.score = 0.0
        drawn = desk.draw(desk.detail(faces_of(desk)["none.png", 0].id).photo_id, FREE)
        assert drawn.summary.verdict == "doubtful"
        assert drawn.summary.reasons[0] == NOT_FITTED
        assert kept_of(home, files[2]) == ()
        with pytest.raises(UsageError, match="or accept them, before"):
            desk.save(drawn.summary.id, Decision(landmarks=drawn.landmarks, person="alice"))
        points = shifted(drawn.landmarks, 3)
        desk.save(drawn.summary.id, Decision(landmarks=points))
        assert kept_of(home, files[2]) == (Decision(box=drawn.box, landmarks=points),)
