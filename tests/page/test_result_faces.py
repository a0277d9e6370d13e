"""What opening a result takes: points without a search, one search a photo at most, and that ahead of time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from dmdcli.corrections import Corrections
from dmdcli.decisions import Decision
from dmdcli.journal import digest_of
from dmdcli.page.result_faces import Remembered
from dmdcli.shapes import Pixels
from tests.page.album import LEFT, RIGHT, AlbumKit, eventually, shifted
from tests.page.test_result_desk import Album, album, lines_of, restored, told_confidence  # noqa: F401 (fixtures)


class CountingKit(AlbumKit):
    """Counts what it is asked for; answers for points only while `answers` is set."""

    def __init__(self) -> None:
        super().__init__({100: [LEFT, RIGHT], 140: [LEFT]})
        self.searches = self.looks = 0
        self.answers = threading.Event()
        self.answers.set()

    def detect(self, photos):
        self.searches += len(photos)
        return super().detect(photos)

    def landmarks(self, crops: Pixels):
        assert self.answers.wait(20)
        self.looks += len(crops)
        return super().landmarks(crops)


@pytest.fixture
def kit(album: Album) -> CountingKit:  # noqa: F811
    album.kit = CountingKit()
    return album.kit


def put_right(album: Album, face: str) -> None:  # noqa: F811
    """Move the points of a face on the page."""
    with album.desk() as desk:
        points = desk.detail(face).landmarks
        desk.save(face, Decision(landmarks=shifted(points, 6, 3)))


def test_a_face_that_was_found_is_described_from_the_journal_as_a_search_gives_it(
    album: Album,  # noqa: F811
    kit: CountingKit,
) -> None:
    put_right(album, "p2f1")
    kit.searches = 0
    with album.desk() as desk:
        known = desk.detail("p2f1", "described")
        again = desk._seen(desk._of("p2f1")).found
        assert (kit.searches, known.pending) == (0, False)
        searched = desk._networks._search("p2", desk._finders.served, desk._finders.precedence.serving)[0]
    assert again is not None
    assert known.found_box == searched.box == LEFT
    for name in ("rejected", "doubts", "confidence", "box"):
        assert getattr(again, name) == getattr(searched, name), name
    assert again.doubts, "it is one that a search finds doubtful"
    assert again.landmarks.points.tolist() == searched.landmarks.points.tolist()
    assert again.embedding.tolist() == searched.embedding.tolist()


def test_where_points_were_put_before_restoring_nothing_waits_for_the_search_but_what_needs_it(
    album: Album,  # noqa: F811
    kit: CountingKit,
) -> None:
    with album.desk() as desk:
        details = {face: desk.detail(face).landmarks for face in ("p1f1", "p1f2")}
    decisions = [
        Decision(box=box, landmarks=shifted(points, 6, 3))
        for box, points in zip((LEFT, RIGHT), details.values(), strict=True)
    ]
    Corrections(album.home).keep(digest_of(album.files[0].path), decisions)
    assert album.restore()["a.png"] == "restored"
    with album.desk() as desk:
        faces = [face for (photo, _), face in lines_of(desk).items() if photo == "a.png"]
        kit.searches = 0
        shown = [desk.detail(face, "described") for face in faces]
        assert all(one.pending and one.found_landmarks is None and len(one.landmarks) == 68 for one in shown)
        desk.preview(faces[0], Decision(landmarks=shown[0].landmarks))
        assert kit.searches == 0
        assert desk.detail(faces[0]).found_landmarks is not None
        again = desk.detail(faces[1], "described")
        assert (kit.searches, again.pending, again.found_box) == (1, False, desk.detail(faces[1]).found_box)


def test_the_outline_of_a_face_asks_no_network(album: Album, kit: CountingKit) -> None:  # noqa: F811
    with album.desk() as desk:
        kit.searches = kit.looks = 0
        outline = desk.detail("p1f1", "outline")
        assert (kit.searches, kit.looks, outline.pending, outline.landmarks) == (0, 0, True, ())
        whole = desk.detail("p1f1")
        assert (outline.box, outline.size, outline.photo_id) == (whole.box, whole.size, whole.photo_id)
        assert (outline.facts, outline.revision, whole.pending) == (whole.facts, whole.revision, False)


def test_a_face_is_prepared_ahead_while_nobody_is_served(album: Album, kit: CountingKit) -> None:  # noqa: F811
    with album.desk() as desk:
        kit.looks = 0
        with desk._finders.precedence.serving():
            desk.prepare("p1f1")
            desk.prepare("p1f2")  # in place of that, unless it began
            assert not eventually(lambda: kit.looks > 0, 0.2)
        assert eventually(lambda: "p1f2" in desk._networks._described)
        before = kit.looks
        assert len(desk.detail("p1f2").landmarks) == 68
        assert kit.looks == before
        desk.close()
        desk.prepare("p2f1")
        assert len(desk.detail("p2f1").landmarks) == 68, "after the end faces are described when they are asked for"


def test_who_opens_the_face_that_is_being_prepared_waits_for_that(album: Album, kit: CountingKit) -> None:  # noqa: F811
    with album.desk() as desk:
        kit.looks = 0
        kit.answers.clear()
        desk.prepare("p1f1")
        assert eventually(lambda: "p1f1" in desk._networks._described._running)
        opened = threading.Thread(target=desk.detail, args=("p1f1",))
        opened.start()
        kit.answers.set()
        opened.join(10)
        assert not opened.is_alive()
        assert kit.looks == 1
        desk.close()


def test_a_photo_that_is_gone_does_not_end_the_preparing(album: Album, tmp_path: Path) -> None:  # noqa: F811
    with album.desk() as desk:
        album.files[0].path.rename(tmp_path / "elsewhere.png")
        desk.prepare("p1f1")
        assert eventually(lambda: desk._networks._wanted is None)
        desk.prepare("p2f1")
        assert eventually(lambda: "p2f1" in desk._networks._described)
        assert desk.state().failures == []
        desk.close()


def test_of_what_was_worked_out_only_the_latest_is_remembered() -> None:
    remembered: Remembered[int] = Remembered(2)
    for number, key in enumerate("abac"):
        remembered.get(key, lambda number=number: number)
    assert [key for key in "abc" if key in remembered] == ["a", "c"]
    assert remembered.get("a", lambda: 9) == 0
    with pytest.raises(ZeroDivisionError):
        remembered.get("d", lambda: 1 // 0)
    assert remembered.get("d", lambda: 4) == 4
