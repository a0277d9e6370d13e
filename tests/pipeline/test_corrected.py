"""What was put right by hand is what restoring, checking and enrolling use from then on, wherever the photo lies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dmdcli.cli.explain import BY_HAND
from dmdcli.cli.main import app
from dmdcli.cli.restored import as_record
from dmdcli.corrections import Corrections
from dmdcli.decisions import Decision, Decisions, PhotoDecisions, read_decisions
from dmdcli.journal import digest_of, open_journal
from dmdcli.pipeline.blend import RestoreOptions
from dmdcli.pipeline.by_hand import NOT_A_FACE
from dmdcli.pipeline.check import check
from dmdcli.pipeline.outcome import RestoredPhoto
from dmdcli.pipeline.restore import NOTHING_DECIDED, restore
from dmdcli.pipeline.said import Said
from dmdcli.pipeline.standing import SAID_CHANGED
from dmdcli.places import PhotoFile
from dmdcli.shapes import Pixels
from tests.pipeline.made_up import ALICE, STRANGER, Answer, Brightener, MadeUpFinder, MadeUpKit, people_of
from tests.pipeline.test_by_hand import LEFT, RIGHT, box_of, drawn

QUICKLY = RestoreOptions(already_good="restore", tone="model", grain="model", engravings="restore", judge=False)
MISSED = (250.0, 290.0, 70.0)


class Marker(Brightener):
    """Brightens what lies in the boxes of eyes and mouth, and nothing else."""

    def restore(self, crops: Pixels, boxes: np.ndarray, dictionaries: Sequence[float | None], *, both: bool = True):
        answers = []
        for crop, three in zip(crops.astype(np.float32) / 255, boxes, strict=True):
            for x0, y0, x1, y1 in three:
                crop[y0:y1, x0:x1] += 0.2
            answers.append(Answer(np.clip(crop, 0, 1)))
        return answers


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "a.png"
    path.parent.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(100, 120, (400, 600, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def corrections(tmp_path: Path) -> Corrections:
    return Corrections(tmp_path / "home")


@pytest.fixture
def finder() -> MadeUpFinder:
    return MadeUpFinder((*LEFT, STRANGER, None), (*RIGHT, STRANGER, None))


def run(
    photo: Path,
    finder: MadeUpFinder,
    corrections: Corrections | None,
    decisions: Decisions = NOTHING_DECIDED,
    out: str = "out",
) -> RestoredPhoto:
    folder = photo.parents[1] / out
    with open_journal(folder) as journal:
        (result,) = restore(
            [(PhotoFile(photo, PurePath(photo.name)), folder / photo.name)],
            finder,
            Marker(),
            people_of(alice=ALICE),
            journal,
            QUICKLY,
            decisions,
            corrections,
        )
    return result


def pixels(path: Path | None) -> np.ndarray:
    assert path is not None
    return np.asarray(Image.open(path)).astype(int)


def with_eye_lower(place: tuple[float, float, float], **more: object) -> Decision:
    """The left eye of a face and its brow are lower than found, by a seventh of the face."""
    decision = drawn(place, **more)
    by = place[2] / 7
    moved = [
        (x, y + by) if n in {*range(36, 42), *range(17, 22)} else (x, y) for n, (x, y) in enumerate(decision.landmarks)
    ]
    return replace(decision, landmarks=tuple(moved))


def test_points_put_right_change_that_face_and_nothing_else_also_once_renamed(
    photo: Path, finder: MadeUpFinder, corrections: Corrections
) -> None:
    before = pixels(run(photo, finder, corrections).output)
    assert run(photo, finder, corrections).status == "skipped"
    corrections.keep(digest_of(photo), [with_eye_lower(LEFT)], "a.png")
    again = run(photo, finder, corrections)
    assert (again.status, again.reason, again.corrected) == ("restored", SAID_CHANGED, True)
    assert {face.landmarks: face.box for face in again.faces} == {
        "corrected": box_of(*LEFT),
        "detected": box_of(*RIGHT),
    }
    after = pixels(again.output)
    rows, columns = np.nonzero((before != after).any(axis=2))
    assert len(rows) > 500, "the eye is restored elsewhere"
    assert (columns.min() >= 20, columns.max() < 220, rows.min() >= 40, rows.max() < 240) == (True,) * 4
    assert run(photo, finder, corrections).status == "skipped", "once is enough"
    renamed = photo.with_name("grandmother.png")
    photo.rename(renamed)
    assert np.array_equal(pixels(run(renamed, finder, corrections).output), after)
    corrections.keep(digest_of(renamed), [])
    assert np.array_equal(pixels(run(renamed, finder, corrections).output), before), "taken back"


def test_a_missed_face_that_was_drawn_is_restored(photo: Path, finder: MadeUpFinder, corrections: Corrections) -> None:
    before = pixels(run(photo, finder, corrections).output)
    corrections.keep(digest_of(photo), [drawn(MISSED, person="alice")])
    result = run(photo, finder, corrections)
    face = next(face for face in result.faces if face.landmarks == "corrected")
    assert (face.used != "none", face.person, face.assigned_by) == (True, "alice", "decision")
    rows, columns = np.nonzero((before != pixels(result.output)).any(axis=2))
    assert len(rows) > 100
    assert (columns.min() >= 250, columns.max() < 320, rows.min() >= 290, rows.max() < 360) == (True,) * 4


def test_that_a_face_is_right_makes_nothing_again(photo: Path, finder: MadeUpFinder, corrections: Corrections) -> None:
    run(photo, finder, None)
    assert run(photo, finder, corrections).status == "skipped", "nobody had corrected anything"
    corrections.keep(digest_of(photo), [Decision(box=box_of(*LEFT), accepted=True)])
    assert run(photo, finder, corrections).status == "skipped"
    corrections.keep(digest_of(photo), [Decision(box=box_of(*LEFT), not_a_face=True)])
    result = run(photo, finder, corrections)
    assert {face.box: face.reason for face in result.faces if face.used == "none"} == {box_of(*LEFT): NOT_A_FACE}


def test_carried_to_another_library_they_give_the_same_result(
    photo: Path, finder: MadeUpFinder, corrections: Corrections, tmp_path: Path
) -> None:
    corrections.keep(digest_of(photo), [with_eye_lower(LEFT), drawn(MISSED, strength=0.5)], "a.png")
    first = run(photo, finder, corrections)
    corrections.export(tmp_path / "corrections.toml")
    carried = read_decisions(tmp_path / "corrections.toml")
    there = Corrections(tmp_path / "another home")
    there.merge(carried)
    for given in (there, None):
        second = run(photo, finder, given, Decisions() if given else carried, out=f"out {given is None}")
        assert np.array_equal(pixels(second.output), pixels(first.output))
        assert [face.strength for face in second.faces] == [face.strength for face in first.faces]
    assert run(photo, finder, there, out="out").status == "skipped", "nothing is made again for it"


def test_the_file_of_decisions_has_the_say_field_by_field(
    photo: Path, finder: MadeUpFinder, corrections: Corrections
) -> None:
    corrections.keep(digest_of(photo), [with_eye_lower(LEFT, person="alice"), drawn(MISSED, leave_alone=True)])
    file = Decisions(
        (PhotoDecisions(place="a.png", faces=(Decision(number=2, strength=0.5), Decision(number=3, strength=0.25))),)
    )
    result = run(photo, finder, corrections, file)
    right, left, missed = result.faces
    assert (right.landmarks, left.landmarks, missed.landmarks) == ("detected", "corrected", "corrected")
    assert (left.person, left.strength, missed.strength) == ("alice", 0.5, 0.25)
    assert result.heard == result.said == file.photos[0].faces, "numbers count the faces as they are put right"


def test_of_landmarks_in_both_those_in_the_file_count() -> None:
    ours, theirs, else_ours = drawn(LEFT), with_eye_lower(LEFT), drawn(MISSED)
    said = Said((theirs, Decision(number=1, strength=1.0)), (else_ours, ours))
    assert said.drawn() == (theirs, else_ours)
    assert said.about([box_of(*LEFT)]) == [theirs]


def test_corrections_that_cannot_be_read_fail_their_photo_alone(
    photo: Path, finder: MadeUpFinder, corrections: Corrections, tmp_path: Path
) -> None:
    before = pixels(run(photo, finder, corrections).output)
    corrections.keep(digest_of(photo), [with_eye_lower(LEFT)])
    damaged = tmp_path / "home" / "corrections" / f"{digest_of(photo)}.toml"
    damaged.write_text("half a fi")
    result = run(photo, finder, corrections)
    assert result.status == "failed"
    assert str(damaged) in str(result.error)
    assert np.array_equal(pixels(photo.parents[1] / "out" / "a.png"), before), "what was made stays"
    (checked,) = check([PhotoFile(photo, PurePath("a.png"))], finder, None, corrections)
    assert str(damaged) in str(checked.error)


def test_check_sees_faces_as_they_were_put_right(photo: Path, finder: MadeUpFinder, corrections: Corrections) -> None:
    moved = with_eye_lower(LEFT)
    said = [moved, Decision(box=box_of(*RIGHT), not_a_face=True), drawn(MISSED)]
    corrections.keep(digest_of(photo), said)
    (checked,) = check([PhotoFile(photo, PurePath("a.png"))], finder, None, corrections)
    assert [(face.box, face.verdict) for face in checked.faces] == [
        (box_of(*RIGHT), "unusable"),
        (box_of(*LEFT), "good"),
        (box_of(*MISSED), "good"),
    ]
    assert checked.faces[0].reasons == (NOT_A_FACE,)
    assert np.allclose(checked.faces[1].landmarks, moved.landmarks, atol=0.02)


def test_the_journal_and_explain_say_whose_landmarks_were_put_right(
    photo: Path, finder: MadeUpFinder, corrections: Corrections
) -> None:
    corrections.keep(digest_of(photo), [drawn(LEFT)])
    result = run(photo, finder, corrections)
    assert "landmark_source" in json.dumps(as_record(result, "base", "made-up", MadeUpKit.similarity))
    answer = CliRunner().invoke(app, ["explain", str(result.output)])
    assert answer.stdout.count(BY_HAND) == 1
    answer = CliRunner().invoke(app, ["explain", str(result.output), "--json"])
    faces = json.loads(answer.stdout)["journal"]["faces"]
    assert {tuple(face["box"]): face["landmark_source"] for face in faces} == {
        box_of(*LEFT): "corrected",
        box_of(*RIGHT): "detected",
    }
