"""Marks as `restore` writes them, and what `explain` makes of them and of the journal."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features
from typer.testing import CliRunner

from dmdcli.cli.main import app
from dmdcli.formats import heif, jpeg
from dmdcli.formats.packet import read_packet
from dmdcli.formats.picture import Metadata
from dmdcli.journal import open_journal
from dmdcli.marks import Mark, put_mark, read_mark
from dmdcli.photos import find_photos, read_metadata, read_photo
from dmdcli.pipeline.blend import RestoreOptions
from dmdcli.pipeline.explain import Explained, explain
from dmdcli.pipeline.outcome import RestoredPhoto
from dmdcli.pipeline.restore import restore
from dmdcli.places import stream_outputs, survey_photos
from dmdcli.report.write import write_report
from dmdcli.shapes import Pixels
from dmdcli.weights import BASE
from tests.collection import PACKET
from tests.pipeline.made_up import ALICE, STRANGER, Brightener, MadeUpFinder, people_of

FACES = ((10, 20, 100, ALICE, None), (160, 30, 120, STRANGER, None), (5, 5, 9, STRANGER, "too small"))
FAST = {"judge": False, "engravings": "restore", "tone": "model", "grain": "model", "already_good": "restore"}
"""Where similarities do not matter."""


class Alike(Brightener):
    """Has our own weights, by its word."""

    weights_id = BASE.sha256[:16]
    gathers = 1

    def __init__(self) -> None:
        pass

    def restore(self, crops: Pixels, boxes: np.ndarray, dictionaries: Sequence[float | None], *, both: bool = True):
        return super().restore(crops, boxes, dictionaries)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder, with names."""
    return run(make_folder(tmp_path_factory.mktemp("result")), write_names=True, strength=0.8)[1]


@pytest.fixture
def out(result: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(result, tmp_path / "copied"))


def make_folder(top: Path) -> Path:
    """Two photos, one of them turned and described."""
    folder = top / "in"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(108, 114, (200, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise.swapaxes(0, 1)[::-1].copy()).save(folder / "b.jpg", exif=exif.tobytes(), quality=95)
    (folder / "b.jpg").write_bytes(jpeg.with_xmp((folder / "b.jpg").read_bytes(), PACKET))
    return folder


def run(folder: Path, **options: object) -> tuple[list[RestoredPhoto], Path]:
    out = folder.parent / "out"
    pairs = stream_outputs(survey_photos([folder]), out, str(options.get("ext", "auto")), pytest.fail)
    with open_journal(out) as journal:
        results = restore(
            pairs,
            MadeUpFinder(*FACES),
            Alike(),
            people_of(alice=(0.1, 0.0)),
            journal,
            RestoreOptions(**options),  # type: ignore[arg-type]
        )
        return list(results), out


def mark_of(path: Path) -> Mark | None:
    _, found = read_metadata(path)
    return None if found.xmp is None else read_mark(read_packet(found.xmp))


def test_a_restored_photo_says_what_was_done(result: Path) -> None:
    for name, size in (("a.png", (300, 200)), ("b.jpg", (200, 300))):
        mark = mark_of(result / name)
        assert mark is not None
        assert (mark.model, mark.weights, mark.kit, mark.count) == ("base", BASE.sha256[:16], "made-up", 2)
        assert (mark.size, mark.source_type) == (size, None)
        first, second = mark.faces
        assert (first.used, first.strength, first.before, first.after) == ("specific", 0.8, 0.9, 0.9)
        assert (second.used, second.before, second.after, second.reason) == ("generic", None, 1.0, None)
        before, after = (read_photo(folder / name).original for folder in (result.parent / "in", result))
        x0, y0, x1, y1 = (round(edge) for edge in first.box)
        change = np.abs(after.astype(int) - before)[y0:y1, x0:x1]
        assert change[40:60, 40:60].min() > 30, "the box is where the face was restored, as stored"
    assert PACKET.split(b"</rdf:RDF>")[0] in (result / "b.jpg").read_bytes()


def test_names_are_written_where_they_are_wanted(out: Path) -> None:
    mark = mark_of(out / "a.png")
    assert mark is not None
    assert [face.person for face in mark.faces] == ["alice", None]
    assert (out / "a.png").read_bytes().count(b"<mwg-rs:Name>alice</mwg-rs:Name>") == 1


def test_a_name_that_was_written_is_no_tag_next_time(out: Path) -> None:
    results, again = run(out, write_names=True, **FAST)
    for result in results:
        assert [(face.person, face.assigned_by) for face in result.faces[:2]] == [
            ("alice", "recognition"),
            (None, None),
        ]
    assert (again / "b.jpg").read_bytes().count(b"<mwg-rs:Name>alice</mwg-rs:Name>") == 1
    _, again = run(out, **FAST)
    assert b"alice" not in (again / "b.jpg").read_bytes(), "no name is asked for any more"


def test_no_mark_is_left_where_none_is_wanted_or_nothing_was_restored(folder: Path) -> None:
    _, out = run(folder, **FAST)
    assert b"alice" not in (out / "a.png").read_bytes(), "names are asked for"
    _, out = run(folder, mark=False, **FAST)
    assert mark_of(out / "a.png") is None
    assert read_metadata(out / "b.jpg")[1].xmp == PACKET
    assert b"dmd" not in (out / "a.png").read_bytes(), "a result from before, with a mark, is replaced"
    shutil.rmtree(out)
    results, out = run(folder, strength=0.0)
    assert {result.status for result in results} == {"untouched"}
    assert (out / "b.jpg").read_bytes() == (folder / "b.jpg").read_bytes()


def test_the_same_photo_comes_out_as_the_same_bytes(folder: Path, result: Path) -> None:
    (folder / "a.png").unlink()
    _, out = run(folder, write_names=True, strength=0.8)
    assert (out / "b.jpg").read_bytes() == (result / "b.jpg").read_bytes()


@pytest.mark.parametrize("ext", ["jpg", "png", "tif", "webp", "jp2"])
def test_a_photo_in_another_format_has_one_mark_and_its_own_xmp(folder: Path, ext: str) -> None:
    (folder / "a.png").unlink()
    _, out = run(folder, ext=ext, **FAST)
    (written,) = (path for path in out.iterdir() if path.is_file())
    content, found = read_metadata(written)
    assert found.xmp is not None
    assert PACKET.split(b"</rdf:RDF>")[0] in found.xmp
    assert content.count(b"<dmd:version>") == 1


@pytest.mark.parametrize("codec", [heif.AVIF, heif.HEIC])
def test_what_is_written_anew_is_coded_once_with_its_mark(folder: Path, codec: str) -> None:
    if codec == heif.HEIC:
        pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    elif not features.check("avif"):
        pytest.skip("this build of Pillow has no AVIF")
    with Image.open(folder / "a.png") as image:
        content = heif.encode(codec, np.array(image), Metadata(xmp=PACKET))
    for path in folder.iterdir():
        path.unlink()
    (folder / "a.heic").write_bytes(content)
    _, out = run(folder, **FAST)
    found = read_metadata(out / "a.heic")[1].xmp
    assert found is not None
    assert found.startswith(PACKET.split(b"</rdf:RDF>")[0])
    mark = read_mark(read_packet(found))
    assert mark is not None
    assert mark.count == 2


def test_what_cannot_be_marked_is_written_all_the_same_and_said(folder: Path) -> None:
    broken = jpeg.with_xmp((folder / "b.jpg").read_bytes(), PACKET[:300])
    (folder / "b.jpg").write_bytes(broken)
    with Image.open(folder / "a.png") as image:
        image.save(folder / "a.bmp")
    results, out = run(folder, **FAST)
    notes = {result.photo.name: "; ".join(result.notes) for result in results}
    assert notes.keys() == {"a.bmp", "a.png", "b.jpg"}
    assert notes["a.png"] == ""
    assert "no place for a mark" in notes["a.bmp"]
    assert "has broken XMP" in notes["b.jpg"]
    assert {result.status for result in results} == {"restored"}
    assert read_metadata(out / "b.jpg")[1].xmp == PACKET[:300]


def told(*paths: Path) -> list[Explained]:
    return list(explain(find_photos(paths)))


def test_explain_knows_mark_and_journal(out: Path, tmp_path: Path) -> None:
    one, other = told(out)
    assert (one.photo, one.out, one.changed, one.source_type) == (
        out / "a.png", out, False, "compositeWithTrainedAlgorithmicMedia"
    )  # fmt: skip
    assert (one.orientation, other.orientation) == (1, 6)
    assert one.row is not None
    assert [face.result for face in one.row.faces] == ["specific", "generic", "none"]
    moved = tmp_path / "elsewhere" / "renamed.png"
    moved.parent.mkdir()
    shutil.copy(out / "a.png", moved)
    (alone,) = told(moved)
    assert (alone.mark, alone.out, alone.row) == (one.mark, None, None)
    (out / "a.png").write_bytes(make_folder(tmp_path).joinpath("a.png").read_bytes())
    (changed,) = told(out / "a.png")
    assert (changed.mark, changed.changed) == (None, True)


def test_explain_reads_a_journal_without_writing_to_it(out: Path) -> None:
    path = out / ".dmd" / "journal.sqlite"
    before = path.read_bytes()
    with open_journal(out):
        assert told(out / "a.png")[0].row is not None, "a run may have the folder"
    assert path.read_bytes() == before
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    (one,) = told(out / "a.png")
    assert one.mark is not None
    assert "format 99" in one.notes[0]
    path.write_bytes(b"no journal")
    (one,) = told(out / "a.png")
    assert "cannot be read" in one.notes[0]


def test_the_command_prints_a_line_a_face(out: Path, folder: Path) -> None:
    answer = CliRunner().invoke(app, ["explain", str(out / "b.jpg"), str(folder / "a.png")])
    assert answer.exit_code == 0, answer.output
    assert "b.jpg: 2 faces restored by dmd" in answer.stdout
    lines = [line.split() for line in answer.stdout.splitlines()]
    assert ["1", "10,20", "to", "110,120", "specific", "0.80", "0.90", "0.90", "alice"] in lines
    assert ["3", "5,5", "to", "14,14", "left", "alone", "-", "-", "-", "-", "too", "small"] in lines
    assert "a.png: has no mark of dmd" in answer.stdout


def test_faces_are_numbered_and_called_as_in_the_report(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "FACES", FACES[::-1])  # the one left alone comes first
    _, out = run(folder, strength=0.8)
    with open_journal(out) as journal:
        write_report(journal)
    answer = CliRunner().invoke(app, ["explain", str(out / "b.jpg")])
    assert [line.split()[:4] + line.split()[-2:] for line in answer.stdout.splitlines() if " to " in line] == [
        ["1", "5,5", "to", "14,14", "too", "small"],
        ["2", "160,30", "to", "280,150", "1.00", "-"],
        ["3", "10,20", "to", "110,120", "person", "1"],
    ]
    answer = CliRunner().invoke(app, ["explain", str(out / "b.jpg"), "--json"])
    told = json.loads(answer.stdout)
    reported = json.loads((out / "report.jsonl").read_text().splitlines()[1])
    assert reported["place"] == "b.jpg"
    for one, other in zip(told["journal"]["faces"], reported["faces"], strict=True):
        assert {key: one[key] for key in ("number", "box", "person")} == {
            key: other[key] for key in ("number", "box", "person")
        }
    assert [face["number"] for face in told["mark"]["faces"]] == [2, 3]
    moved = Path(shutil.copy(out / "b.jpg", folder / "moved.jpg"))
    answer = CliRunner().invoke(app, ["explain", str(moved), "--json"])
    assert [face["number"] for face in json.loads(answer.stdout)["mark"]["faces"]] == [1, 2], "there is no other order"


def test_the_command_speaks_json(out: Path) -> None:
    (out / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    answer = CliRunner().invoke(app, ["explain", str(out), "--json"])
    assert answer.exit_code == 3
    records = [json.loads(line) for line in answer.stdout.splitlines()]
    assert [record["schema"] for record in records] == [1, 1, 1]
    assert [record["error"] is None for record in records] == [True, True, False]
    first, second, _ = records
    assert first.keys() == second.keys()
    assert first["mark"]["faces"][0]["box"] == first["journal"]["faces"][0]["box"] == [10, 20, 110, 120]
    assert second["mark"]["faces"][0]["box"] == [20, 190, 120, 290], "as stored"
    assert second["journal"]["faces"][0]["box"] == [10, 20, 110, 120], "as seen"
    assert first["journal"]["faces"][2]["problems"] == ["too small"]


def test_explaining_imports_no_torch(folder: Path) -> None:
    program = (
        "import sys; from dmdcli.cli.main import app; app(['explain', sys.argv[1]], standalone_mode=False);"
        "assert not {'torch', 'dlib', 'safetensors'} & set(sys.modules), 'slow to start'"
    )
    subprocess.run([sys.executable, "-c", program, str(folder / "a.png")], check=True)


def test_a_mark_without_faces_is_explained(out: Path, tmp_path: Path) -> None:
    content, found = read_metadata(out / "b.jpg")
    mark = mark_of(out / "b.jpg")
    assert mark is not None
    short, _ = put_mark(found.xmp, replace(mark, faces=()), 1 << 20)
    path = tmp_path / "short.jpg"
    path.write_bytes(jpeg.with_xmp(content, short or b""))
    answer = CliRunner().invoke(app, ["explain", str(path)])
    assert "2 faces restored" in answer.stdout
    assert "no room" in answer.stdout


@pytest.fixture
def again(result: Path, tmp_path: Path) -> Path:
    """The results as photos, to be restored once more."""
    (tmp_path / "again").mkdir()
    return Path(shutil.copytree(result, tmp_path / "again" / "in", ignore=shutil.ignore_patterns(".dmd")))


def test_results_that_are_restored_again_are_copied_and_it_is_said(again: Path) -> None:
    results, out = run(again, strength=0.8)
    for one in results:
        assert one.status == "untouched"
        assert one.notes == ("was restored by dmd already (2 faces)",)
        assert [face.reason for face in one.faces] == ["restored by dmd already"] * 2 + ["too small"]
        assert not one.faces[0].unsure
        assert (out / one.photo.name).read_bytes() == one.photo.read_bytes()
    results, _ = run(again, strength=0.8, already_good="restore")
    assert [face.used for face in results[1].faces] == ["specific", "generic", "none"]


def test_a_face_restored_later_does_not_hide_those_from_before(again: Path) -> None:
    """The mark of b, which is turned, tells of one face; the picture was enlarged since."""
    (again / "a.png").unlink()
    mark, found = mark_of(again / "b.jpg"), read_metadata(again / "b.jpg")[1]
    assert mark is not None
    (x0, y0, x1, y1), (width, height) = mark.faces[0].box, mark.size
    face = replace(mark.faces[0], box=(x0 / 2, y0 / 2, x1 / 2, y1 / 2))
    smaller = replace(mark, size=(width // 2, height // 2), count=1, faces=(face,))
    packet = put_mark(found.xmp, smaller, 1 << 20)[0] or b""
    (again / "b.jpg").write_bytes(jpeg.with_xmp((again / "b.jpg").read_bytes(), packet))
    (one,), out = run(again, strength=0.8)
    assert [face.used for face in one.faces] == ["none", "generic", "none"]
    assert one.notes == ("was restored by dmd already (1 face)",)
    after = mark_of(out / "b.jpg")
    assert after is not None
    assert (after.count, [face.used for face in after.faces]) == (2, ["generic", "specific"])
    assert after.faces[1] == replace(mark.faces[0], person=None), "names are asked for"


@pytest.mark.parametrize("size", [(200, 300), (300, 300)])
def test_where_nobody_knows_which_were_restored_all_are_left_alone(again: Path, size: tuple[int, int]) -> None:
    """There was no room for the faces, or the picture has another shape than it had."""
    (again / "a.png").unlink()
    mark, found = mark_of(again / "b.jpg"), read_metadata(again / "b.jpg")[1]
    assert mark is not None
    elsewhere = () if size == (200, 300) else (replace(mark.faces[0], box=(0.0, 0.0, 9.0, 9.0)),)
    packet = put_mark(found.xmp, replace(mark, faces=elsewhere), 1 << 20)[0] or b""
    packet = packet.replace(b"<dmd:width>200<", f"<dmd:width>{size[0]}<".encode())
    (again / "b.jpg").write_bytes(jpeg.with_xmp((again / "b.jpg").read_bytes(), packet))
    (one,), _ = run(again, strength=0.8)
    assert [face.reason for face in one.faces] == ["restored by dmd already"] * 2 + ["too small"]
