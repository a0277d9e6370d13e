"""The desk of photos: what is found, in which order, what is kept of what somebody says, and what is undone."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dmdcli.corrections import Corrections
from dmdcli.decisions import Decision
from dmdcli.errors import UsageError
from dmdcli.faces.face import Face
from dmdcli.faces.finder import NOT_FITTED, FaceFinder
from dmdcli.page.desk import ChangedElsewhereError, NoSuchFaceError
from dmdcli.page.keeping import Kept
from dmdcli.page.photo_desk import PhotoDesk
from dmdcli.page.turns import Precedence, share
from dmdcli.photos import read_photo
from dmdcli.pipeline.by_hand import NOT_A_FACE, find_faces
from dmdcli.pipeline.check import check
from dmdcli.places import PhotoFile
from dmdcli.shapes import Box, overlap
from tests.page.album import (
    LEFT,
    RIGHT,
    SIZE,
    AlbumKit,
    add_photo,
    desk_of,
    eventually,
    faces_of,
    people_of,
    shifted,
    told_confidence,  # noqa: F401 (a fixture)
)
from tests.pipeline.made_up import Brightener

SMALL = (300.0, 200.0, 322.0, 222.0)
FREE = (330.0, 60.0, 470.0, 200.0)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def files(tmp_path: Path) -> list[PhotoFile]:
    return [
        add_photo(tmp_path / "in", name, grey) for name, grey in (("a.png", 100), ("b.png", 140), ("none.png", 180))
    ]


@pytest.fixture
def kit() -> AlbumKit:
    return AlbumKit({100: [LEFT, RIGHT], 140: [LEFT, SMALL]})


def shifted_box(box: Box, right: float) -> Box:
    return box[0] + right, box[1], box[2] + right, box[3]


def kept_of(home: Path, file: PhotoFile) -> tuple[Decision, ...]:
    return Corrections(home).faces(hashlib.sha256(file.path.read_bytes()).hexdigest())


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
        desk.save(lines[0].id, Decision(accepted=True))
        desk.save(lines[3].id, Decision(not_a_face=True))
        again = sorted(desk.summaries(0)[1], key=lambda line: line.rank)
        assert [one.id for one in again[-2:]] == [lines[0].id, lines[3].id]
        assert (again[-1].gone, again[-1].reasons) == (True, (NOT_A_FACE,))
        assert desk.decided() == {"corrected": 1, "said to be no face": 1, "accepted": 1}, (
            "doubtful points became right"
        )


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
        face = faces_of(desk)["a.png", 1]
        desk.save(face.id, Decision(not_a_face=True))
        desk.draw(desk.detail(face.id).photo_id, (LEFT[0] + 20, *LEFT[1:]))
        assert len(kept_of(home, files[0])) == 2


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
            Decision(box=away, landmarks=moved.landmarks, fitted=True),
        )
        desk.reset(face.id)
        assert kept_of(home, files[0]) == ()


def test_a_box_is_not_put_onto_another_face(files: list[PhotoFile], kit: AlbumKit, home: Path) -> None:
    with desk_of(files, kit, home) as desk:
        face = faces_of(desk)["a.png", 1]
        with pytest.raises(UsageError, match="Face 2 is in that place already"):
            desk.save(face.id, Decision(box=RIGHT))
        with pytest.raises(UsageError, match="Face 2 is in that place already"):
            desk.draw(desk.detail(face.id).photo_id, RIGHT)
        assert kept_of(home, files[0]) == ()


def test_a_missed_face_is_drawn_and_taken_away_again(files: list[PhotoFile], kit: AlbumKit, home: Path) -> None:
    with desk_of(files, kit, home) as desk:
        empty = faces_of(desk)["none.png", 0]
        photo = desk.detail(empty.id)
        assert (photo.box, photo.landmarks, photo.found_box) == ((0.0, 0.0, *map(float, SIZE)), (), None)
        with pytest.raises(UsageError, match="no face yet"):
            desk.save(empty.id, Decision(person="alice"))
        drawn = desk.draw(photo.photo_id, FREE)
        assert (drawn.found_box, drawn.found_landmarks, len(drawn.landmarks)) == (None, None, 68)
        assert kept_of(home, files[2]) == (Decision(box=drawn.box, landmarks=drawn.landmarks, fitted=True),)
        assert faces_of(desk)["none.png", 0].gone
        assert desk.decided() == {"corrected": 1}
        with desk_of(files, kit, home) as again:
            assert faces_of(again).keys() >= {("none.png", 1)}
            assert again.detail(faces_of(again)["none.png", 1].id).landmarks == drawn.landmarks
        assert desk.reset(drawn.summary.id) is None
        assert kept_of(home, files[2]) == ()
        assert not faces_of(desk)["none.png", 0].gone
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


def test_a_face_found_while_another_is_drawn_takes_nobodys_place(
    files: list[PhotoFile], kit: AlbumKit, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = FaceFinder.fit
    with desk_of(files[2:], kit, home) as desk:

        def fit_meanwhile(*asked: object) -> Face:
            desk._look_at("p9", files[0])  # as the search in the background may at any moment
            return fit(*asked)

        monkeypatch.setattr(FaceFinder, "fit", fit_meanwhile)
        monkeypatch.setattr(Precedence, "wait", lambda _: None)  # the step that had begun before somebody was served
        drawn = desk.draw(desk.detail(faces_of(desk)["none.png", 0].id).photo_id, FREE)
        assert len({line.id for line in faces_of(desk).values()}) == 4
        assert [desk.detail(line.id).photo_id for line in faces_of(desk).values() if line.photo == "a.png"] == [
            "p9"
        ] * 2
        assert drawn.summary.id == faces_of(desk)["none.png", 1].id


@pytest.mark.parametrize("how", ["gone", "changed"])
def test_a_photo_that_is_another_meanwhile_is_a_sentence(
    files: list[PhotoFile], kit: AlbumKit, home: Path, how: str, tmp_path: Path
) -> None:
    with desk_of(files, kit, home) as desk:
        face = faces_of(desk)["a.png", 1]
        detail = desk.detail(face.id)
        if how == "gone":
            files[0].path.unlink()
        else:
            add_photo(tmp_path / "in", "a.png", 90)
        for ask in (
            lambda: desk.preview(face.id, Decision()),
            lambda: desk.view(detail.photo_id, None, 100),
            lambda: desk.save(face.id, Decision(landmarks=shifted(detail.landmarks, 4))),
        ):
            with pytest.raises(UsageError, match=r"a\.png is not (there any more|what it was)"):
                ask()
        assert desk.save(face.id, Decision(accepted=True)).summary.accepted, "which needs no pixels"


def test_copies_are_shown_once_and_broken_photos_named(kit: AlbumKit, home: Path, tmp_path: Path) -> None:
    files = [add_photo(tmp_path / "in", name, 100) for name in ("a.png", "copy.png")]
    (tmp_path / "in" / "broken.jpg").write_bytes(b"no picture")
    files.append(PhotoFile(tmp_path / "in" / "broken.jpg", files[0].relative.with_name("broken.jpg")))
    with desk_of(files, kit, home, failures=["sub: cannot be read"]) as desk:
        state = desk.state()
        assert {photo for photo, _ in faces_of(desk)} == {"a.png"}
        assert (state.looked_at, state.photos) == (3, 3)
        assert state.failures[0] == "sub: cannot be read"
        assert state.failures[1].startswith("broken.jpg: is no picture")


def test_that_there_is_no_face_is_remembered(files: list[PhotoFile], kit: AlbumKit, home: Path) -> None:
    assert not next(iter(check(files[2:], FaceFinder(kit), None, Corrections(home)))).is_sure
    with desk_of(files, kit, home) as desk:
        desk.save(faces_of(desk)["none.png", 0].id, Decision(accepted=True))
    assert next(iter(check(files[2:], FaceFinder(kit), None, Corrections(home)))).is_sure
    with desk_of(files, kit, home) as desk:
        empty = faces_of(desk)["none.png", 0]
        assert empty.accepted
        drawn = desk.draw(desk.detail(empty.id).photo_id, (20.0, 20.0, 540.0, 290.0))
        assert [one.landmarks is not None for one in kept_of(home, files[2])] == [True], "that outdates it"
        assert drawn.summary.photo == "none.png"


def test_a_damaged_file_of_corrections_concerns_its_photo_alone(
    files: list[PhotoFile], kit: AlbumKit, home: Path
) -> None:
    digest = hashlib.sha256(files[0].path.read_bytes()).hexdigest()
    Corrections(home).keep(digest, [Decision(box=LEFT, stranger=True)])
    (home / "corrections" / f"{digest}.toml").write_text("no such thing")
    with desk_of(files, kit, home) as desk:
        assert {photo for photo, _ in faces_of(desk)} == {"b.png", "none.png"}
        (failure,) = desk.state().failures
        assert failure.startswith("a.png: ")
        assert f"{digest}.toml" in failure


def test_a_fault_ends_the_search_aloud(
    files: list[PhotoFile], kit: AlbumKit, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[object] = []
    monkeypatch.setattr("threading.excepthook", lambda hook: raised.append(hook.exc_type))
    monkeypatch.setattr(kit, "embed", lambda *_: {}["no such key"])
    with desk_of(files, kit, home) as desk:
        state = desk.state()
        assert "ended because of a fault in the program" in state.failures[0]
        assert state.looked_at == state.photos, "nothing is being searched for any more"
    assert raised == [KeyError]


def test_the_search_waits_while_somebody_is_served_and_ends_when_told(
    files: list[PhotoFile], kit: AlbumKit, home: Path
) -> None:
    finders = share(FaceFinder(kit))
    desk = PhotoDesk(files, finders, Brightener(), people_of(), Kept(Corrections(home)), "Faces")
    with finders.precedence.serving():
        desk.start()
        assert not eventually(lambda: desk.state().looked_at > 0, 0.05)
    assert eventually(lambda: desk.state().looked_at == 3)
    desk.close()
    waiting = PhotoDesk(files, finders, Brightener(), people_of(), Kept(Corrections(home)), "Faces")
    waiting.start()
    waiting.wait()
    assert waiting.state().looked_at == 0, "what was ended does not begin again"


@pytest.mark.parametrize(
    ("decision", "why"),
    [
        (Decision(person="alice", stranger=True), "Only one"),
        (Decision(strength=1.5), "from 0 to 1"),
        (Decision(box=(3.0, 0.0, 3.0, 9.0)), "width and a height"),
        (Decision(landmarks=((0.0, 0.0),) * 67), "68 points"),
        (Decision(landmarks=((0.0, float("nan")),) * 68), "68 points"),
        (Decision(person=" \n"), "no name"),
    ],
)
def test_what_cannot_be_kept_is_refused(
    files: list[PhotoFile], kit: AlbumKit, home: Path, decision: Decision, why: str
) -> None:
    with desk_of(files, kit, home) as desk:
        face = faces_of(desk)["a.png", 1]
        with pytest.raises(UsageError, match=why):
            desk.save(face.id, decision)
        assert kept_of(home, files[0]) == ()
