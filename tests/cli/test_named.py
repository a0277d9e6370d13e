"""Tags and decisions from the command line, with the embedded kit, a real face and a small network."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from skimage.data import astronaut
from typer.testing import CliRunner, Result

from dmdcli.cli.main import app
from dmdcli.library import Library
from tests.cli.test_restore import records, run, weights
from tests.test_tags import packet

RUNNER = CliRunner()
FACE = "stArea:x='0.44' stArea:y='0.22' stArea:w='0.26' stArea:h='0.34'"
__all__ = ["weights"]


def named(name: str) -> bytes:
    return packet(f"<rdf:li><rdf:Description mwg-rs:Name='{name}'><mwg-rs:Area {FACE}/></rdf:Description></rdf:li>")


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """One photo, with a side file that says who is in it."""
    folder = tmp_path / "album"
    folder.mkdir()
    Image.fromarray(astronaut()).save(folder / "a.png")
    (folder / "a.xmp").write_bytes(named("Eileen Collins"))
    return folder


def enroll(*arguments: object, answer: str | None = None) -> Result:
    return RUNNER.invoke(app, ["enroll", "--from-tags", *map(str, arguments)], input=answer)


@pytest.mark.slow
def test_from_tags_to_decisions(weights: Path, album: Path, tmp_path: Path, own_home: Path) -> None:
    library = Library(own_home / "library")
    shown = enroll(album, "-n")
    assert shown.exit_code == 0, shown.output
    assert "Eileen Collins" in shown.stdout
    assert library.people() == []
    refused = enroll(album, "--model", weights, answer="n\n")
    assert (refused.exit_code, library.people()) == (2, [])
    enrolled = enroll(album, "--model", weights, "--person", "eileen collins", answer="y\n")
    assert enrolled.exit_code == 0, enrolled.output
    assert "Eileen Collins has 1 reference" in enrolled.stdout

    (album / "a.xmp").write_bytes(named("Grace Hopper"))
    out = tmp_path / "out"
    first = run(weights, album, "--out", out, "--json")
    (face,) = records(first)[0]["faces"]
    assert (face["person"], face["assigned_by"], face["used"], face["number"]) == (None, "tag", "generic", 1)
    assert face["problems"][0].startswith("tagged as Grace Hopper, who is not enrolled; recognised as Eileen Collins")
    told = run(weights, album, "--out", tmp_path / "again", "--strict")
    assert told.exit_code == 3, "a conflict is a doubt"
    assert "1 tag at odds with recognition" in told.stdout

    (out / "decisions.toml").write_text(
        "format = 1\n[[photo]]\nplace = 'a.png'\n"
        "[[photo.face]]\nnumber = 1\nperson = 'EILEEN COLLINS'\nstrength = 0.5\n"
        "[[photo.face]]\nbox = [0, 0, 9, 9]\nstranger = true\n"
        "[[photo]]\nplace = 'b.png'\n[[photo.face]]\nnumber = 1\nperson = 'Eileen Colins'\n"
    )
    decided = run(weights, album, "--out", out, "--json", "--strict")
    record = records(decided)[0]
    (face,) = record["faces"]
    assert record["reason"] == "what was said of its faces changed"
    assert (face["person"], face["assigned_by"], face["used"]) == ("Eileen Collins", "decision", "specific")
    assert (face["strength"], face["problems"]) == (0.5, [])
    assert decided.exit_code == 3
    assert "decisions.toml, line 8: " in decided.stderr
    assert "line 13: the photo it is about is not among those given" in decided.stderr
    assert "Did you mean Eileen Collins?" in decided.stderr
    assert run(weights, album, "--out", out, "--json").exit_code == 0


def test_files_of_decisions_that_cannot_be_used(weights: Path, album: Path, tmp_path: Path) -> None:
    newer = tmp_path / "newer.toml"
    newer.write_text("format = 9")
    result = run(weights, album, "--out", tmp_path / "out", "--decisions", newer)
    assert result.exit_code == 7
    assert "format 9" in result.stderr
    missing = run(weights, album, "--out", tmp_path / "out", "--decisions", tmp_path / "no.toml")
    assert missing.exit_code == 2
    newer.write_text("format = 1\n[[photo]]\nplace = 3")
    mistaken = run(weights, album, "--out", tmp_path / "out", "--decisions", newer)
    assert mistaken.exit_code == 2
    assert "newer.toml, line 2" in mistaken.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--from-tags", "a.png", "--face", "1"], "--face"),
        (["Ada", "a.png", "--person", "Ada"], "--person goes with --from-tags"),
        (["Ada"], "no photos to enrol from"),
    ],
)
def test_forms_that_make_no_sense(words: list[str], sentence: str) -> None:
    result = RUNNER.invoke(app, ["enroll", *words])
    assert result.exit_code == 2
    assert sentence in str(result.exception) + result.stderr
