from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from dmdcli.cli import check as verb
from dmdcli.cli.main import app
from dmdcli.faces.embedded import rough_matrix
from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.kit import Detection
from tests.faces.conftest import FakeKit

RUNNER = CliRunner()
BOX = (60.0, 50.0, 200.0, 190.0)


@pytest.fixture(autouse=True)
def told_finder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every photo has one face, in BOX."""

    def build(kit: object, thorough: bool, min_face: float, *rest: object) -> FaceFinder:
        return FaceFinder(FakeKit([Detection(BOX, 1.0, rough_matrix(BOX))]), min_face)

    monkeypatch.setattr(verb, "build_finder", build)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "album" / "a photo é.png"
    path.parent.mkdir()
    Image.new("RGB", (300, 260), (120, 110, 100)).save(path)
    return path


@pytest.mark.parametrize("name", ["check", "check-landmarks"])
def test_json_is_one_object_a_photo(photo: Path, name: str) -> None:
    result = RUNNER.invoke(app, [name, str(photo), "--json"])
    assert result.exit_code == 0, result.output
    (record,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert (record["schema"], record["photo"], record["error"]) == (1, str(photo), None)
    (face,) = record["faces"]
    assert face["box"] == list(BOX)
    assert len(face["landmarks"]) == 68
    assert [len(box) for box in face["components"]] == [4, 4, 4]
    assert (face["verdict"], face["reasons"]) == ("good", [])
    assert face["confidence"] == {
        "face": 1.0,
        "components": {"left_eye": 1.0, "right_eye": 1.0, "mouth": 1.0},
        "good": 0.45,
        "source": "scores",
    }
    assert list(photo.parent.iterdir()) == [photo], "nothing is written without --out"


def test_pictures_go_to_the_folder_named(photo: Path, tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["check", str(photo), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "1 face in 1 photo: 1 good" in result.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a photo é.png.face1.png",
        "contact-sheet-1.png",
    ]


def test_a_doubtful_face_ends_with_3_only_if_strict(photo: Path) -> None:
    arguments = ["check", str(photo), "--min-face", "200"]
    lenient = RUNNER.invoke(app, arguments)
    assert lenient.exit_code == 0
    assert "unusable" in lenient.stdout
    assert RUNNER.invoke(app, [*arguments, "--strict"]).exit_code == 3


def test_unsure_landmarks_are_doubtful_and_end_with_3_if_strict(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kit = FakeKit([Detection(BOX, 1.0, rough_matrix(BOX))], score=0.4)
    monkeypatch.setattr(verb, "build_finder", lambda *rest: FaceFinder(kit))
    lenient = RUNNER.invoke(app, ["check", str(photo)])
    assert lenient.exit_code == 0
    assert "1 doubtful" in lenient.stdout
    assert "score 0.40" in " ".join(lenient.stdout.split())
    assert RUNNER.invoke(app, ["check", str(photo), "--strict"]).exit_code == 3


def test_a_broken_photo_is_told_and_the_rest_goes_on(photo: Path) -> None:
    (photo.parent / "broken.jpg").write_bytes(b"")
    result = RUNNER.invoke(app, ["check", str(photo.parent), "--json"])
    assert result.exit_code == 3
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert sorted(record["error"] is None for record in records) == [False, True]
    assert "broken.jpg" in result.stderr


def test_pictures_are_not_written_among_the_photos(photo: Path) -> None:
    result = RUNNER.invoke(app, ["check", str(photo.parent), "--out", str(photo.parent / "out")])
    assert result.exit_code == 2
    assert list(photo.parent.iterdir()) == [photo]
