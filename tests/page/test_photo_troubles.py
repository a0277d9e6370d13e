"""The desk of photos where something else goes on: photos that change, damage, faults, a search under way."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from pathlib import Path

import pytest

from dmdcli.corrections import Corrections
from dmdcli.decisions import Decision
from dmdcli.errors import UsageError
from dmdcli.faces.face import Face
from dmdcli.faces.finder import FaceFinder
from dmdcli.page.desk import ChangedElsewhereError
from dmdcli.page.keeping import Kept
from dmdcli.page.photo_desk import PhotoDesk
from dmdcli.page.turns import Precedence, share
from dmdcli.pipeline.check import check
from dmdcli.places import PhotoFile
from tests.page.album import (
    FREE,
    LEFT,
    AlbumKit,
    add_photo,
    desk_of,
    eventually,
    faces_of,
    kept_of,
    people_of,
    shifted,
    told_confidence,  # noqa: F401 (a fixture)
)
from tests.pipeline.made_up import Brightener

ACCEPTED = Decision(accepted=True)


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


def test_a_photo_more_is_no_more_work_for_the_many_before(
    files: list[PhotoFile], kit: AlbumKit, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with desk_of(files, kit, home) as desk:
        face = faces_of(desk)["b.png", 1].id
        walks: list[object] = []

        class Walked(dict[str, object]):
            def values(self):  # type: ignore[no-untyped-def]
                walks.append(self)
                return super().values()

        for name in ("_faces", "_photos", "_faceless"):
            monkeypatch.setattr(desk, name, Walked(getattr(desk, name)))
        desk.save(face, Decision(accepted=True))
        assert not walks


def test_a_photo_that_is_renamed_while_it_is_looked_at_can_be_corrected(
    files: list[PhotoFile], kit: AlbumKit, home: Path
) -> None:
    with desk_of(files, kit, home) as desk:
        detail = desk.detail(faces_of(desk)["a.png", 1].id)
        desk.view(detail.photo_id, None, 100)
        renamed = PhotoFile(files[0].path.rename(files[0].path.with_name("z.png")), files[0].relative)
        desk.preview(detail.summary.id, Decision())
        points = shifted(detail.landmarks, 4)
        assert desk.save(detail.summary.id, Decision(landmarks=points)).landmarks == points
        assert kept_of(home, renamed) == (Decision(box=LEFT, landmarks=points),), "by its content"


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


def test_a_photo_without_a_face_can_be_decided_about_after_a_change_elsewhere(
    files: list[PhotoFile], kit: AlbumKit, home: Path
) -> None:
    digest = hashlib.sha256(files[2].path.read_bytes()).hexdigest()
    with desk_of(files, kit, home) as desk:
        empty = faces_of(desk)["none.png", 0].id
        desk.save(empty, Decision(accepted=True))
        (said,) = kept_of(home, files[2])
        for elsewhere, answer in (([], lambda: desk.reset(empty)), ([said], lambda: desk.save(empty, ACCEPTED))):
            Corrections(home).keep(digest, elsewhere)
            with pytest.raises(ChangedElsewhereError):
                answer()
            assert desk.detail(empty).decision.accepted == bool(elsewhere)
            assert desk.decided() == {}
            answer()
        drawn = desk.draw(desk.detail(empty).photo_id, FREE)
        with pytest.raises(UsageError, match="take back face 1 first"):
            desk.save(empty, ACCEPTED)
        desk.reset(drawn.summary.id)
        assert desk.save(empty, ACCEPTED).summary.accepted


def test_that_there_is_no_face_stands_until_one_is_kept(files: list[PhotoFile], kit: AlbumKit, home: Path) -> None:
    with desk_of(files, kit, home) as desk:
        empty = faces_of(desk)["none.png", 0].id
        photo = desk.save(empty, ACCEPTED).photo_id
        said = kept_of(home, files[2])
        kit.score = 0.0
        drawn = desk.draw(photo, FREE)
        assert kept_of(home, files[2]) == said, "nothing was found in that box"
        assert desk.reset(drawn.summary.id) is None
        assert desk.detail(empty).decision.accepted
        drawn = desk.draw(photo, FREE)
        Corrections(home).keep(hashlib.sha256(files[2].path.read_bytes()).hexdigest(), [])
        for refused in (True, False):  # somebody else took it back meanwhile
            with pytest.raises(ChangedElsewhereError) if refused else nullcontext():
                desk.save(drawn.summary.id, Decision(landmarks=shifted(drawn.landmarks, 3)))
            assert not desk.detail(empty).decision.accepted
        assert [one.landmarks is None for one in kept_of(home, files[2])] == [False]


def test_what_is_drawn_is_kept_in_one_step(
    files: list[PhotoFile], kit: AlbumKit, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with desk_of(files, kit, home) as desk:
        photo = desk.save(faces_of(desk)["none.png", 0].id, ACCEPTED).photo_id
        steps: list[object] = []
        monkeypatch.setattr(Corrections, "change", lambda *asked: steps.append(asked))
        desk.draw(photo, FREE)
        assert len(steps) == 1


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
