"""The desk of results: what is worst, what is shown, and that what is decided makes just those photos again."""

from __future__ import annotations

import copy
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePath

import numpy as np
import pytest
from PIL import Image

from dmdcli.corrections import Corrections
from dmdcli.decisions import Decision
from dmdcli.errors import UsageError
from dmdcli.faces.finder import FaceFinder
from dmdcli.journal import FaceRow, digest_of, open_journal, read_journal
from dmdcli.page.desk import ChangedElsewhereError
from dmdcli.page.keeping import Kept
from dmdcli.page.result_desk import ResultDesk
from dmdcli.page.result_facts import verdict_of
from dmdcli.page.turns import share
from dmdcli.photos import read_photo
from dmdcli.pipeline.blend import RestoreOptions
from dmdcli.pipeline.judge import RESTORED_ALREADY
from dmdcli.pipeline.people import People
from dmdcli.pipeline.restore import restore
from dmdcli.places import PICTURES, PhotoFile
from tests.faces.conftest import drawn_points
from tests.page.album import (
    LEFT,
    RIGHT,
    SIZE,
    AlbumKit,
    OneByOne,
    add_photo,
    desk_of,
    faces_of,
    people_of,
    shifted,
    told_confidence,  # noqa: F401 (a fixture)
)
from tests.pipeline.made_up import Brightener

OPTIONS = RestoreOptions(judge=False, already_good="restore", engravings="restore", evidence=True)

PHOTOS = {"a.png": 100, "b.png": 140, "none.png": 180}


class Album:
    """Three photos, of which one has no face, restored into a folder."""

    def __init__(self, folder: Path) -> None:
        self.home, self.out = folder / "home", folder / "out"
        self.files: list[PhotoFile] = [add_photo(folder / "in", name, grey) for name, grey in PHOTOS.items()]
        self.kit = AlbumKit({100: [LEFT, RIGHT], 140: [LEFT]})
        self.people: People[float] = people_of(alice=101.3)
        self.restore()

    def restore(self) -> dict[str, str]:
        """What became of each photo, by its name."""
        outputs = [self.out / file.relative for file in self.files]
        corrections = Corrections(self.home)
        with open_journal(self.out) as journal:
            results = restore(
                zip(self.files, outputs, strict=True),
                FaceFinder(self.kit),
                Both(),
                self.people,
                journal,
                OPTIONS,
                corrections=corrections,
            )
            return {result.photo.name: result.status for result in results}

    @contextmanager
    def desk(self) -> Iterator[ResultDesk[float]]:
        with read_journal(self.out) as journal:
            rows = [row for place in sorted(journal.places()) if (row := journal.row(place)) is not None]
        kept = Kept(Corrections(self.home))
        names = {one.id: name for name, one in self.people.enrolled.items()}
        yield ResultDesk(self.out, rows, share(FaceFinder(self.kit)), OneByOne(), self.people, kept, names)


class Both(Brightener):
    """Also where only the published answer is asked for."""

    def restore(self, crops, boxes, dictionaries, *, both=True):
        return super().restore(crops, boxes, dictionaries, both=True)


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Album, Path]:
    """An album, and a copy of its folder as it is at first."""
    folder = tmp_path_factory.mktemp("results")
    album = Album(folder / "album")
    return album, Path(shutil.copytree(folder / "album", folder / "at first"))


@pytest.fixture
def album(restored: tuple[Album, Path]) -> Album:
    made, at_first = restored
    folder = made.out.parent
    shutil.rmtree(folder)
    shutil.copytree(at_first, folder)
    made.files = [PhotoFile(folder / "in" / name, PurePath(name)) for name in PHOTOS]
    return made


def lines_of(desk: ResultDesk[float]) -> dict[tuple[str, int], str]:
    return {(line.photo, line.number): line.id for line in desk.summaries(0)[1]}


def test_a_face_is_shown_with_what_is_known_of_it(album: Album) -> None:
    with album.desk() as desk:
        faces = lines_of(desk)
        assert faces.keys() == {("a.png", 1), ("a.png", 2), ("b.png", 1)}
        alice, stranger = desk.detail(faces["a.png", 1]), desk.detail(faces["b.png", 1])
        assert (alice.summary.person, stranger.summary.person) == ("alice", None)
        assert (alice.size, alice.box, alice.others, len(alice.landmarks)) == (SIZE, LEFT, [RIGHT], 68)
        facts = dict(alice.facts)
        assert facts["Restored from"] == "their own dictionary"
        assert facts["Person"] == "alice (recognised)"
        assert dict(stranger.facts)["Restored from"] == "the generic dictionary"
        x0, y0, x1, y1 = map(int, LEFT)
        before, after = (
            np.asarray(Image.open(io.BytesIO(desk.view(alice.photo_id, LEFT, 1000, which)))).astype(int)
            for which in ("photo", "result")
        )
        assert before.shape == (y1 - y0, x1 - x0, 3)
        assert np.median((after - before)[60:100, 50:90]) == pytest.approx(51, abs=4)
        assert Image.open(io.BytesIO(desk.thumbnail(alice.summary.id))).size == (96, 96)


def test_thumbnails_need_no_report(album: Album) -> None:
    with album.desk() as desk:
        kept = desk.thumbnail("p1f1")
    for path in (album.out / PICTURES).rglob("*.jpg"):
        path.unlink()
    with album.desk() as desk:
        made = desk.thumbnail("p1f1")
        one, other = (np.asarray(Image.open(io.BytesIO(content))).astype(int) for content in (kept, made))
        assert np.abs(one - other).mean() < 3
        (album.out / "a.png").unlink()
    with album.desk() as desk:
        assert Image.open(io.BytesIO(desk.thumbnail("p1f1"))).getpixel((48, 48)) == (128, 128, 128)


def test_what_is_decided_makes_just_that_photo_again(album: Album) -> None:
    before = {path.name: path.read_bytes() for path in album.out.glob("*.png")}
    assert set(album.restore().values()) == {"skipped"}
    with album.desk() as desk:
        face = lines_of(desk)["b.png", 1]
        saved = desk.save(face, Decision(strength=0.5))
        assert (saved.summary.by_hand, saved.decision.strength) == (True, 0.5)
        assert desk.to_be_made_again() == ["b.png"]
        desk.save(lines_of(desk)["a.png", 1], Decision(accepted=True))
        assert desk.to_be_made_again() == ["b.png"], "accepting changes nothing"
        assert desk.decided() == {"given a strength": 1, "accepted": 1}
    assert {path.name: path.read_bytes() for path in album.out.glob("*.png")} == before, "not yet"
    assert album.restore() == {"a.png": "skipped", "b.png": "restored", "none.png": "skipped"}
    assert (album.out / "a.png").read_bytes() == before["a.png"]
    assert (album.out / "b.png").read_bytes() != before["b.png"]
    with album.desk() as desk:
        assert dict(desk.detail(face).facts)["Strength"] == "0.50"
        assert desk.to_be_made_again() == []
        assert desk.detail(lines_of(desk)["a.png", 1]).summary.accepted, "it is remembered"
        desk.reset(face)
        assert desk.to_be_made_again() == ["b.png"]
    album.restore()
    assert (album.out / "b.png").read_bytes() == before["b.png"]


def test_a_face_is_decided_by_hand_only_where_its_result_was_made_without_that(album: Album) -> None:
    Corrections(album.home).keep(digest_of(album.files[1].path), [Decision(box=LEFT, strength=0.5)], "b.png")
    album.restore()
    with album.desk() as desk:
        face = lines_of(desk)["b.png", 1]
        assert not desk.detail(face).summary.by_hand, "it is to be looked at as any other"
        assert desk.save(face, Decision(strength=0.25)).summary.by_hand
        assert not desk.save(face, Decision(strength=0.5)).summary.by_hand
        after = desk.reset(face)
        assert after is not None
        assert after.summary.by_hand


def test_a_photo_that_is_gone_is_not_made_again_and_one_that_moved_is_listed_once(album: Album) -> None:
    moved = album.files[1].path.rename(album.files[1].path.with_name("moved.png"))
    with album.desk() as desk:
        desk.save(lines_of(desk)["b.png", 1], Decision(strength=0.5))
        assert desk.to_be_made_again() == []
    album.files[1] = PhotoFile(moved, PurePath(moved.name))
    album.restore()
    with album.desk() as desk:
        assert lines_of(desk).keys() == {("a.png", 1), ("a.png", 2), ("moved.png", 1)}


@pytest.mark.parametrize(
    ("decision", "used"),
    [
        (Decision(stranger=True), "generic"),
        (Decision(leave_alone=True), "none"),
        (Decision(leave_alone=True, person="alice"), "none"),
        (Decision(not_a_face=True), "none"),
    ],
)
def test_the_next_run_does_as_decided(album: Album, decision: Decision, used: str) -> None:
    with album.desk() as desk:
        desk.save("p1f1", decision)
    assert album.restore()["a.png"] == "restored"
    with read_journal(album.out) as journal:
        row = journal.row("a.png")
    assert row is not None
    assert [face.result for face in row.faces] == [used, "generic"]
    assert row.faces[0].account["assigned_by"] == (
        "decision" if decision.person or decision.stranger or decision.not_a_face else "recognition"
    )
    with album.desk() as desk:
        line = desk.detail("p1f1").summary
        assert line.left == decision.leave_alone
        assert decision.person in (None, line.person)


def test_points_put_right_are_used_by_the_next_run(album: Album) -> None:
    with album.desk() as desk:
        points = shifted(desk.detail("p2f1").landmarks, 6, 3)
        saved = desk.save("p2f1", Decision(landmarks=points))
        assert (saved.landmarks, saved.found_box) == (points, LEFT)
        assert desk.preview("p2f1", Decision(landmarks=points)).verdict == "good"
    album.restore()
    with read_journal(album.out) as journal:
        row = journal.row("b.png")
    assert row is not None
    (face,) = row.faces
    pixels = read_photo(album.files[1].path).pixels
    wanted = FaceFinder(album.kit).describe_points(pixels, LEFT, np.array(points, np.float32))
    np.testing.assert_allclose(np.array(face.matrix), wanted.matrix, rtol=1e-6)
    with album.desk() as desk:
        assert desk.detail("p2f1").landmarks == points
        np.testing.assert_array_equal(desk.preview("p2f1", Decision(landmarks=points)).before, wanted.pixels)


AWAY = (230.0, 150.0, 310.0, 230.0)


@pytest.mark.parametrize("when", ["at once", "later", "when it was made again"])
def test_a_box_that_was_moved_far_is_taken_back(album: Album, when: str) -> None:
    with album.desk() as desk:
        before = desk.detail("p2f1")
        moved = desk.save("p2f1", Decision(box=AWAY))
        assert moved.found_box == before.box
        if when == "at once":
            assert desk.reset("p2f1").landmarks == before.landmarks
    if when == "when it was made again":
        album.restore()
    if when != "at once":
        with album.desk() as desk:
            (face,) = [face for (photo, _), face in lines_of(desk).items() if photo == "b.png"]
            again = desk.detail(face)
            assert (again.box, again.landmarks, again.summary.gone) == (AWAY, moved.landmarks, False)
            assert again.found_landmarks == before.landmarks
            kept = Corrections(album.home).faces(digest_of(album.files[1].path))
            desk.save(face, Decision(box=AWAY, landmarks=again.landmarks, strength=0.5))
            assert desk.save(face, Decision(landmarks=again.landmarks)).decision == again.decision
            assert Corrections(album.home).faces(digest_of(album.files[1].path)) == kept
            desk.reset(face)
    assert Corrections(album.home).faces(digest_of(album.files[1].path)) == ()
    assert album.restore()["b.png"] == ("restored" if when == "when it was made again" else "skipped")


def test_the_box_of_a_face_is_the_same_from_the_journal_and_from_a_search(album: Album, tmp_path: Path) -> None:
    box = (60.204998, *LEFT[1:])
    other = copy.copy(album)  # the album itself goes on to other tests
    other.kit, other.out, other.files = AlbumKit({140: [box]}), tmp_path / "out", album.files[1:2]
    other.restore()
    with other.desk() as desk:
        before = desk.detail("p1f1")
        points = shifted(before.landmarks, 5)
        assert desk.save("p1f1", Decision(landmarks=points)).found_box == before.found_box == (60.2, *LEFT[1:])
    with desk_of(other.files, other.kit, tmp_path / "no home") as photos:
        assert photos.detail(faces_of(photos)["b.png", 1].id).found_box == before.found_box


def test_a_photo_that_was_moved_says_what_to_do_and_can_be_accepted(album: Album, tmp_path: Path) -> None:
    moved = album.files[1].path.rename(tmp_path / "moved.png")
    with album.desk() as desk:
        face = lines_of(desk)["b.png", 1]
        detail = desk.detail(face)
        assert detail.landmarks == ()
        assert "run `dmd restore` on the place where it is now" in dict(detail.facts)["The photo"]
        with pytest.raises(UsageError, match="not there any more"):
            desk.view(detail.photo_id, None, 100)
        with pytest.raises(UsageError, match="not there any more"):
            desk.preview(face, Decision())
        assert desk.save(face, Decision(accepted=True)).summary.accepted
        assert desk.view(detail.photo_id, None, 100, "result")
    album.files[1] = PhotoFile(moved, album.files[1].relative)
    album.restore()
    with album.desk() as desk:
        assert len(desk.detail(face).landmarks) == 68


def test_a_tab_that_shows_a_result_as_it_was_decides_nothing(album: Album) -> None:
    with album.desk() as desk:
        stale = desk.detail("p1f1").revision
        saved = desk.save("p1f1", Decision(strength=0.5), stale)
        with pytest.raises(ChangedElsewhereError):
            desk.save("p1f1", Decision(accepted=True), stale)
        with pytest.raises(ChangedElsewhereError):
            desk.reset("p1f1", stale)
        assert desk.detail("p1f1") == saved
        assert desk.reset("p1f1", saved.revision).revision == stale


def test_a_preview_is_of_the_photo_with_the_strength_and_person_decided(album: Album) -> None:
    with album.desk() as desk:
        full, half = (desk.preview("p1f1", Decision(strength=one)) for one in (1.0, 0.5))
        changes = [np.median((one.after.astype(int) - one.before)[260:340, 240:280]) for one in (full, half)]
        assert full.used == "specific"
        assert changes == pytest.approx([51, 26], abs=2)
        assert desk.preview("p1f1", Decision(stranger=True)).used == "generic"
        with pytest.raises(UsageError, match="dmd check --edit"):
            desk.draw("p1", LEFT)


def test_a_preview_of_a_result_says_that_it_was_restored_already(album: Album) -> None:
    results = [PhotoFile(album.out / name, PurePath(name)) for name in ("a.png", "none.png")]
    with desk_of([*results, album.files[1]], album.kit, album.home) as desk:
        faces = faces_of(desk)
        told = desk.preview(faces["a.png", 1].id, Decision()).reasons
        assert [one for one in told if "leave this face alone" in one and RESTORED_ALREADY in one]
        for face, decision in ((faces["a.png", 1], Decision(strength=1.0)), (faces["b.png", 1], Decision())):
            assert not [one for one in desk.preview(face.id, decision).reasons if RESTORED_ALREADY in one]


def test_the_order_is_weaker_refused_doubted_and_the_least_similar_first() -> None:
    plain = FaceRow(box=LEFT, matrix=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)), result="generic", after=0.98)
    faces = {
        "weaker": replace(plain, reason=("with less strength: it would not be who it was",)),
        "refused": replace(plain, result="none", reason=("eyes, nose or mouth would move",), after=None),
        "doubted": replace(plain, reason=("the landmarks are unsure",)),
        "not to be used": replace(plain, result="none", reason=("the mouth is not below the eyes",), usable=False),
        "less alike": replace(plain, after=0.9),
        "good": plain,
    }
    ranked = {name: verdict_of(face) for name, face in faces.items()}
    assert sorted(ranked, key=lambda name: ranked[name][1]) == list(faces)
    assert [name for name, _ in ranked.values()] == ["doubtful", "unusable", "doubtful", "unusable", "good", "good"]
    assert verdict_of(replace(plain, result="none", reason=("already sharp",)))[0] == "good"
    assert verdict_of(replace(plain, result="none", reason=("as decided",)))[0] == "good"


def test_a_damaged_file_of_corrections_concerns_its_photo_alone(album: Album) -> None:
    digest = digest_of(album.files[0].path)
    (album.home / "corrections").mkdir(parents=True, exist_ok=True)
    (album.home / "corrections" / f"{digest}.toml").write_text("no such thing")
    with album.desk() as desk:
        assert {line.photo for line in desk.summaries(0)[1]} == {"b.png"}
        assert [one for one in desk.state().failures if one.startswith("a.png: ") and digest in one]
        assert desk.to_be_made_again() == []


def test_a_face_that_was_drawn_is_not_lost_by_taking_back_what_nobody_found(album: Album) -> None:
    digest = digest_of(album.files[2].path)
    points = tuple((float(x), float(y)) for x, y in drawn_points() * 0.27 + (340, 60))
    drawn = Decision(box=(340.0, 70.0, 470.0, 200.0), landmarks=points)
    Corrections(album.home).keep(digest, [drawn])
    assert album.restore()["none.png"] == "restored"
    with album.desk() as desk:
        (line,) = (line for line in desk.summaries(0)[1] if line.photo == "none.png")
        assert desk.detail(line.id).found_landmarks is None, "nobody but the user found it"
        with pytest.raises(UsageError, match="drawn by hand"):
            desk.reset(line.id)
        desk.save(line.id, Decision(accepted=True))
    (kept,) = Corrections(album.home).faces(digest)
    assert (kept.landmarks is not None, kept.accepted) == (True, True)
    assert album.restore()["none.png"] == "skipped", "what was accepted is not made again"
