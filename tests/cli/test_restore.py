"""`dmd restore` as its user runs it, with the real kit and a small network: results, trouble, exit codes."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sqlite3
import struct
import subprocess
import sys
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image
from skimage.data import astronaut
from typer.testing import CliRunner

import dmdcli.files
from dmdcli.cli.main import app
from dmdcli.journal import open_journal
from dmdcli.journal_file import journal_path
from dmdcli.library import Library
from dmdcli.model import checkpoint
from dmdcli.model.dmdnet import DMDConfig, DMDNet

RUNNER = CliRunner()
ANYWAY = ("--no-judge", "--already-good", "restore")
"""Publish what the small network makes, which no judgement would let pass."""


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A residual network of width 4 with random weights: it changes faces visibly, and needs no time."""
    torch.manual_seed(0)
    net = DMDNet(DMDConfig(4, 2, residual=True))
    for parameter in (*net.memory_key.values(), *net.memory_value.values()):
        parameter.data.normal_(0, 0.3)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    checkpoint.save(net, path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with one photo of Eileen Collins, 512 x 512."""
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(astronaut()).save(folder / "collins.png")
    return folder


def run(weights: Path, *arguments: object) -> Any:
    return RUNNER.invoke(app, ["restore", *map(str, arguments), "--model", str(weights), *ANYWAY])


def records(result: Any) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.slow
def test_the_enrolled_person_is_recognised_and_the_tree_is_mirrored(
    weights: Path, photos: Path, tmp_path: Path
) -> None:
    (photos / "below").mkdir()
    shutil.copy(photos / "collins.png", photos / "below" / "größere fotos.png")
    Image.fromarray(np.full((90, 120), 200, np.uint8)).save(photos / "below" / "größere fotos.tif")
    enrolled = RUNNER.invoke(app, ["enroll", "Eileen Collins", str(photos / "collins.png"), "--model", str(weights)])
    assert enrolled.exit_code == 0, enrolled.output
    result = run(weights, photos, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    found = {Path(str(one["photo"])).relative_to(photos).as_posix(): one for one in records(result)}
    assert set(found) == {"collins.png", "below/größere fotos.png", "below/größere fotos.tif"}
    for name, one in found.items():
        assert set(one) >= {"schema", "photo", "output", "status", "error", "seconds", "model", "kit", "faces"}
        assert one["schema"] == 1
        assert Path(str(one["output"])) == tmp_path / "out" / name
        assert Path(str(one["output"])).is_file()
        assert one["status"] == ("restored" if name.endswith("png") else "untouched")
    (face,) = found["collins.png"]["faces"]
    assert (face["person"], face["used"]) == ("Eileen Collins", "specific")
    assert face["similarity"] == face["similarity_before"] > 0.9
    assert (face["strength"], face["similarity_after"], face["reason"]) == (1.0, None, None)
    assert "confidence" in face
    assert np.array(face["matrix"]).shape == (2, 3)
    report = (tmp_path / "out" / "report.jsonl").read_text()
    assert "Eileen" not in report
    (face,) = json.loads(next(line for line in report.splitlines() if "/collins.png" in line))["faces"]
    assert face["person"] == "person 1"
    assert all((tmp_path / "out" / "report_files" / name).is_file() for name in face["pictures"].values())
    blank = photos / "below" / "größere fotos.tif"
    assert (tmp_path / "out" / "below" / blank.name).read_bytes() == blank.read_bytes()


def test_without_json_there_is_a_table_and_with_it_nothing_else(weights: Path, photos: Path, tmp_path: Path) -> None:
    result = run(weights, photos, "--out", tmp_path / "out", "--dry-run")
    assert result.exit_code == 0
    assert "would be restored" in result.stdout
    assert "Nothing was written" in result.stdout
    said = r"about \d+ s and [\d.]+ MB, judged by 1 face restored for it; [\d,]+ MB are free"
    assert re.search(said, result.stdout)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_batch_survives_every_kind_of_bad_file(weights: Path, photos: Path, tmp_path: Path) -> None:
    whole = (photos / "collins.png").read_bytes()
    (photos / "cut.png").write_bytes(whole[: len(whole) // 2])
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "letter.jpg").write_text("Dear grandmother")
    Image.new("LAB", (60, 60)).save(photos / "print.tif")
    (photos / "huge.png").write_bytes(png_header(50_000, 50_000))
    fine = {
        "one.png": Image.new("RGB", (1, 1)),
        "bits.png": Image.new("1", (40, 40)),
        "palette.png": Image.new("P", (40, 40)),
    }
    for name, picture in fine.items():
        picture.save(photos / name)
    result = run(weights, photos, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 3
    statuses = {Path(str(one["photo"])).name: one["status"] for one in records(result)}
    failed = {"cut.png", "empty.jpg", "letter.jpg", "print.tif", "huge.png"}
    assert {name for name, status in statuses.items() if status == "failed"} == failed
    assert statuses["collins.png"] == "restored"
    for name in failed:
        lines = [line for line in result.stderr.splitlines() if name in line]
        assert len(lines) == 1, f"{name}: one line on stderr"
        assert lines[0].startswith("dmd: ")
        assert not (tmp_path / "out" / name).exists()
    for name in fine:
        assert (tmp_path / "out" / name).read_bytes() == (photos / name).read_bytes()


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds no such picture."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("place", ["same", "inside", "link to it", "link inside"])
def test_an_output_folder_in_the_input_is_refused(weights: Path, photos: Path, tmp_path: Path, place: str) -> None:
    link = tmp_path / "link"
    link.symlink_to(photos)
    out = {"same": photos, "inside": photos / "out", "link to it": link, "link inside": link / "out"}[place]
    before = sorted(photos.iterdir())
    result = run(weights, photos, "--out", out)
    assert result.exit_code == 2
    assert "input folder" in result.stderr
    assert sorted(photos.iterdir()) == before


def test_an_output_that_is_an_input_is_refused(weights: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    os.link(photos / "collins.png", out / "collins.png")
    before = (photos / "collins.png").read_bytes()
    result = run(weights, photos / "collins.png", "--out", out, "--overwrite")
    assert result.exit_code == 2
    assert "same file" in result.stderr
    assert (photos / "collins.png").read_bytes() == before


@pytest.mark.slow
def test_the_same_stem_under_two_endings_does_not_collide(weights: Path, photos: Path, tmp_path: Path) -> None:
    for name in ("old photo.tif", "old photo.bmp"):
        Image.new("RGB", (50, 40)).save(photos / name)
    result = run(weights, photos, "--out", tmp_path / "out", "--ext", "png")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == [
        "collins.png",
        "old photo.bmp.png",
        "old photo.tif.png",
    ]


def test_nothing_to_do_and_nothing_there(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert run(weights, tmp_path / "empty", "--out", tmp_path / "out").exit_code == 4
    missing = run(weights, tmp_path / "no such folder", "--out", tmp_path / "out")
    assert missing.exit_code == 2
    assert "no such folder" in missing.stderr
    assert not (tmp_path / "out").exists()


def test_an_unknown_person_is_refused_with_near_names(weights: Path, photos: Path, tmp_path: Path) -> None:
    RUNNER.invoke(app, ["enroll", "Eileen Collins", str(photos / "collins.png"), "--model", str(weights)])
    result = run(weights, photos, "--out", tmp_path / "out", "--person", "Eileen Colins")
    assert result.exit_code == 2
    assert "Did you mean Eileen Collins?" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_device_that_is_not_there(weights: Path, photos: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    result = run(weights, photos, "--out", tmp_path / "out", "--device", "cuda")
    assert result.exit_code == 2
    assert "no device 'cuda' here" in result.stderr


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [(None, 6, "no weights"), (b"", 7, "damaged"), (b"{" * 200, 7, "damaged"), ("shape", 6, "head.0.bias")],
)
def test_weights_that_cannot_be_used(
    weights: Path, photos: Path, tmp_path: Path, content: object, code: int, words: str
) -> None:
    path = tmp_path / "w.safetensors"
    if content == "shape":
        from safetensors.torch import load_file, save_file

        tensors = load_file(weights)
        save_file(tensors | {"head.0.bias": torch.zeros(9)}, path, metadata={"format": "1"})
    elif isinstance(content, bytes):
        path.write_bytes(content)
    result = run(path, photos, "--out", tmp_path / "out")
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_library_of_a_newer_version_is_refused(weights: Path, photos: Path, tmp_path: Path) -> None:
    home = Path(os.environ["DMD_HOME"])
    home.mkdir(parents=True)
    (home / "library.json").write_text('{"format": 99}')
    result = run(weights, photos, "--out", tmp_path / "out")
    assert result.exit_code == 7
    assert "99" in result.stderr


@pytest.mark.slow
def test_a_locked_library_is_said(weights: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Library.__init__.__kwdefaults__, "lock_seconds", 0.1)
    RUNNER.invoke(app, ["enroll", "Eileen Collins", str(photos / "collins.png"), "--model", str(weights)])
    home = Path(os.environ["DMD_HOME"])
    (lock,) = home.glob("*lock*")
    for cache in home.rglob("dictionary-*"):
        cache.unlink()
    with FileLock(lock):
        result = RUNNER.invoke(app, ["people", "rename", "Eileen Collins", "Eileen"])
    assert result.exit_code == 8, result.output
    assert "Eileen Collins" in RUNNER.invoke(app, ["people", "list"]).stdout


@pytest.mark.slow
def test_a_full_disk_ends_the_run_and_leaves_no_half_photo(
    weights: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(dmdcli.files.os, "fsync", full)
    result = run(weights, photos, "--out", tmp_path / "out")
    assert result.exit_code == 8
    assert "disk is full" in result.stderr
    assert [path.name for path in (tmp_path / "out").glob("[!.]*")] == ["report_files"]
    assert not list((tmp_path / "out").rglob(".dmd-*"))


def test_a_folder_that_cannot_be_written_ends_the_run(
    weights: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "replace", denied)
    result = run(weights, photos, "--out", tmp_path / "out")
    assert result.exit_code == 8
    assert "cannot be written" in result.stderr


@pytest.mark.slow
def test_stopping_keeps_what_was_finished(
    weights: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dmdcli.pipeline import seen as seen_module

    shutil.copy(photos / "collins.png", photos / "second.png")
    read, seen = seen_module.read_file, []

    def interrupted(path: Path) -> object:
        seen.append(path)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return read(path)

    monkeypatch.setattr(seen_module, "read_file", interrupted)
    result = run(weights, photos, "--out", tmp_path / "out", "--workers", 1)
    assert result.exit_code == 130
    assert "is kept" in result.stderr
    assert [path.name for path in (tmp_path / "out").glob("*.png")] == ["collins.png"]
    assert "collins.png" in (tmp_path / "out" / "report.jsonl").read_text()
    monkeypatch.setattr(seen_module, "read_file", read)
    again = run(weights, photos, "--out", tmp_path / "out", "--json")
    assert {Path(str(one["photo"])).name: one["status"] for one in records(again)} == {
        "collins.png": "skipped",
        "second.png": "restored",
    }


@pytest.mark.slow
def test_the_same_command_again_says_what_it_finds(weights: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "collins.png").unlink()
    for name in ("one.png", "two.png"):
        Image.new("L", (40, 40), 99).save(photos / name)
    out = tmp_path / "out"
    assert [one["standing"] for one in records(run(weights, photos, "--out", out, "--json"))] == ["new", "new"]
    (out / "one.png").write_bytes(b"mine")
    again = records(run(weights, photos, "--out", out, "--json", "--strength", "0.5"))
    found = {Path(str(one["photo"])).stem: (one["status"], one["standing"], one["reason"]) for one in again}
    assert found == {
        "one": ("skipped", "foreign", "it was changed since it was made"),
        "two": ("untouched", "stale", "other settings: --strength"),
    }
    said = run(weights, photos, "--out", out, "--strength", "0.5").stdout
    assert re.search(r"two.png +up to date", said)
    assert "2 photos: 1 up to date, 1 skipped;" in said
    assert "Left as it was, not made by dmd or changed since: 1 file." in said


def test_a_folder_in_use_a_newer_journal_and_a_damaged_one(weights: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (photos / "collins.png").unlink()
    Image.new("L", (40, 40), 99).save(photos / "blank.png")
    with open_journal(out):
        taken = run(weights, photos, "--out", out)
    assert (taken.exit_code, "Another dmd is at work in" in taken.stderr) == (8, True)
    with closing(sqlite3.connect(journal_path(out))) as database:
        database.execute("PRAGMA user_version = 9")
    newer = run(weights, photos, "--out", out)
    assert (newer.exit_code, "has format 9" in newer.stderr) == (7, True)
    journal_path(out).write_bytes(b"no journal at all")
    damaged = run(weights, photos, "--out", out)
    assert (damaged.exit_code, "was damaged" in damaged.stderr) == (0, True)


@pytest.mark.slow
def test_restoring_needs_no_torchvision(weights: Path, photos: Path, tmp_path: Path) -> None:
    """Where importing torchvision fails, as beside a CPU build of torch, the embedded kit works all the same."""
    blocked = "import sys; sys.modules['torchvision'] = None; from dmdcli.cli.main import main; main()"
    arguments = ["restore", str(photos), "--out", str(tmp_path / "out"), "--model", str(weights), *ANYWAY]
    done = subprocess.run([sys.executable, "-c", blocked, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "collins.png").read_bytes() != (photos / "collins.png").read_bytes()
