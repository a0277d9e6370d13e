from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dmdcli.cli.main import app
from dmdcli.training.degrade import Degradation, Severity, apply, draw, generator_for

RUNNER = CliRunner()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """a.png in colour, below/b.jpg grey, and c.png that is no picture."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    small = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(small).resize((160, 120), Image.Resampling.BICUBIC)
    picture.save(folder / "a.png")
    picture.convert("L").save(folder / "below" / "b.jpg", quality=90)
    return folder


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_writes_bad_copies_and_leaves_the_photos_alone(photos: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in photos.rglob("*.*")}
    result = RUNNER.invoke(app, ["degrade", str(photos), "-o", str(tmp_path / "out"), "--seed", "3"])
    assert result.exit_code == 0, result.output
    assert {path: path.read_bytes() for path in photos.rglob("*.*")} == before
    truth = read(photos / "a.png")
    wanted = apply(truth, draw(Severity.MODERATE, generator_for(3, "a.png")))
    assert np.array_equal(read(tmp_path / "out" / "a.png"), wanted)
    grey = read(tmp_path / "out" / "below" / "b.png")
    assert grey.shape == (120, 160)
    assert not np.array_equal(grey, read(photos / "below" / "b.jpg"))


def test_records_what_was_done_and_keeps_what_is_there(photos: Path, tmp_path: Path) -> None:
    arguments = ["degrade", str(photos / "a.png"), "-o", str(tmp_path / "out"), "--severity", "severe", "--json"]
    (first,) = [json.loads(line) for line in RUNNER.invoke(app, arguments).stdout.splitlines()]
    assert first["status"] == "degraded"
    assert first["degradation"] == draw(Severity.SEVERE, generator_for(0, "a.png")).to_dict()
    written = Path(first["output"]).read_bytes()
    (second,) = [json.loads(line) for line in RUNNER.invoke(app, [*arguments, "--seed", "1"]).stdout.splitlines()]
    assert second["status"] == "skipped"
    assert Path(first["output"]).read_bytes() == written
    RUNNER.invoke(app, [*arguments, "--seed", "1", "--overwrite"])
    assert Path(first["output"]).read_bytes() != written


def test_old_prints_are_described_whole(photos: Path, tmp_path: Path) -> None:
    arguments = [
        "degrade",
        str(photos),
        "-o",
        str(tmp_path / "out"),
        "--severity",
        "old",
        "--crop-side",
        "128",
        "--json",
    ]
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    colour, grey = (json.loads(line) for line in result.stdout.splitlines())
    described = Degradation.from_dict(colour["degradation"])
    assert described == draw(Severity.OLD, generator_for(0, "a.png")).at_scale(128 / 512)
    assert described.aging is not None
    assert described.aging.side == 128
    assert np.array_equal(read(tmp_path / "out" / "a.png"), apply(read(photos / "a.png"), described))
    assert Degradation.from_dict(grey["degradation"]).grey_noise
    assert read(tmp_path / "out" / "below" / "b.png").shape == (120, 160)


def test_damage_follows_the_size_of_faces(photos: Path, tmp_path: Path) -> None:
    arguments = ["degrade", str(photos / "a.png"), "-o", str(tmp_path / "out"), "--crop-side", "1024", "--json"]
    (record,) = [json.loads(line) for line in RUNNER.invoke(app, arguments).stdout.splitlines()]
    assert record["degradation"] == draw(Severity.MODERATE, generator_for(0, "a.png")).at_scale(2).to_dict()


def test_a_bad_file_is_reported_and_the_others_are_done(photos: Path, tmp_path: Path) -> None:
    (photos / "c.png").write_bytes(b"no picture")
    result = RUNNER.invoke(app, ["degrade", str(photos), "-o", str(tmp_path / "out")])
    assert result.exit_code == 3
    assert "c.png" in result.stderr
    assert (tmp_path / "out" / "a.png").is_file()
    assert not (tmp_path / "out" / "c.png").exists()


def test_a_picture_too_wide_for_jpeg_is_reported_and_the_others_are_done(photos: Path, tmp_path: Path) -> None:
    Image.new("L", (200_000, 2)).save(photos / "a ribbon.png")
    result = RUNNER.invoke(app, ["degrade", str(photos), "-o", str(tmp_path / "out"), "--severity", "mild"])
    assert result.exit_code == 3, result.output
    assert "a ribbon.png: cannot be worked on; a library says: " in result.stderr
    assert (tmp_path / "out" / "below" / "b.png").is_file()


def test_never_writes_into_the_photos(photos: Path) -> None:
    result = RUNNER.invoke(app, ["degrade", str(photos), "-o", str(photos / "out")])
    assert result.exit_code == 2
    assert not (photos / "out").exists()
    assert RUNNER.invoke(app, ["degrade", str(photos), "-o", "x", "--severity", "awful"]).exit_code == 2
