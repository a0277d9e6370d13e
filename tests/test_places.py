"""Finding photos, and where their results may go."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tracemalloc
import unicodedata
from pathlib import Path, PurePath

import pytest

from dmdcli.errors import NothingToDoError, UsageError
from dmdcli.places import (
    PhotoFile,
    check_output_folder,
    find_photos,
    natural_key,
    natural_order,
    output_path,
    side_files,
    stream_outputs,
    stream_photos,
    survey_photos,
)

NOBODY = 65534


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def places(inputs: list[Path]) -> list[str]:
    return [file.relative.as_posix() for file in find_photos(inputs)]


def test_one_folder_is_mirrored_in_natural_order(tmp_path: Path) -> None:
    make(
        tmp_path, "img10.jpg", "img2.JPG", "sub dir/Ünïcode 名.TIFF", "sub dir/deep/a.webp", "b.jfif", "c.jpe", "d.bmp"
    )
    make(tmp_path, "notes.txt", ".hidden.jpg", ".thumbs/a.jpg", "no_ending")
    assert places([tmp_path]) == [
        "b.jfif", "c.jpe", "d.bmp", "img2.JPG", "img10.jpg", "sub dir/deep/a.webp", "sub dir/Ünïcode 名.TIFF",
    ]  # fmt: skip
    assert all(file.path == tmp_path / file.relative for file in find_photos([tmp_path]))


def test_several_folders_go_under_their_names(tmp_path: Path) -> None:
    first = make(tmp_path / "x" / "album", "a.jpg")
    second = make(tmp_path / "y" / "album", "a.jpg")
    third = make(tmp_path / "z", "a.jpg", "b.jpg")
    assert places([first, second, third]) == ["album/a.jpg", "album-2/a.jpg", "z/a.jpg", "z/b.jpg"]
    assert places([third, third / "a.jpg", first / "a.jpg"]) == ["a.jpg", "b.jpg", "a-2.jpg"]


def test_single_files_keep_their_names_and_any_ending(tmp_path: Path) -> None:
    make(tmp_path, "one/face.jpg", "two/face.jpg", "scan.xyz")
    files = [tmp_path / "one/face.jpg", tmp_path / "two/face.jpg", tmp_path / "scan.xyz", tmp_path / "one/face.jpg"]
    assert places(files) == ["face.jpg", "face-2.jpg", "scan.xyz"]


def test_the_current_folder_is_mirrored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a.jpg", "sub/b.jpg")
    monkeypatch.chdir(tmp_path)
    assert places([Path()]) == ["a.jpg", "sub/b.jpg"]


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    make(tmp_path, "sub/a.jpg")
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    (tmp_path / "twin").symlink_to(tmp_path / "sub")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert places([tmp_path]) == ["sub/a.jpg", "twin/a.jpg"]


@pytest.mark.skipif(sys.platform == "win32", reason="no FIFO there")
def test_what_is_no_file_is_skipped(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing")
    assert places([tmp_path]) == ["a.jpg", "gone.png"]


def test_missing_paths_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="missing: there is no such file"):
        find_photos([tmp_path / "missing"])
    with pytest.raises(NothingToDoError, match="No photo found in"):
        find_photos([make(tmp_path, "readme.txt")])


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("setpriv"), reason="not root")
@pytest.mark.parametrize("blocked", ["sub", "."])
def test_unreadable_folders_are_named(tmp_path: Path, blocked: str) -> None:
    """As root every folder is readable, so the search runs as nobody."""
    make(tmp_path, "a.jpg", "sub/b.jpg")
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    (tmp_path / blocked).chmod(0o311)
    code = (
        "import sys; from pathlib import Path; from dmdcli.errors import UsageError\n"
        "from dmdcli.places import find_photos\n"
        "try: found = find_photos([Path(sys.argv[1])])\n"
        "except UsageError as error: sys.exit(f'usage {error}')\n"
        "print([str(file.relative) for file in found], [str(error) for error in found.unreadable])"
    )
    command = ["setpriv", f"--reuid={NOBODY}", "--clear-groups", sys.executable, "-B", "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False)
    if "No module named" in done.stderr or "can't open" in done.stderr:
        pytest.skip("nobody may not read this checkout")
    if blocked == "sub":
        assert done.stdout.startswith("['a.jpg']"), done.stderr
        assert "sub: the folder cannot be read: Permission denied" in done.stdout
    else:
        assert done.stderr.startswith(f"usage The folder {tmp_path} cannot be read: Permission denied")


def test_outputs_keep_endings_or_take_the_new_one(tmp_path: Path) -> None:
    make(tmp_path, "d/a.tif", "d/a.jpg", "d/a.png", "b.jpg", "c.x.TIF")
    assert planned([tmp_path]) == planned([tmp_path], "AUTO") == places([tmp_path])
    assert planned([tmp_path], ".PNG") == ["b.png", "c.x.png", "d/a.jpg.png", "d/a.png", "d/a.tif.png"]
    photo = PhotoFile(tmp_path / "b.jpg", PurePath("b.jpg"))
    assert output_path(photo, Path("out"), "webp") == Path("out/b.webp")
    with pytest.raises(UsageError, match="'gif' is no format"):
        output_path(photo, Path("out"), "gif")
    with pytest.raises(UsageError, match="'gif' is no format"):
        planned([tmp_path], "gif")


def test_outputs_are_all_different_even_where_the_long_name_exists(tmp_path: Path) -> None:
    make(tmp_path, "a.tif", "a.jpg", "a.tif.png", "a.jpg.png")
    assert planned([tmp_path], "png") == ["a.jpg-2.png", "a.jpg.png", "a.tif-2.png", "a.tif.png"]


def test_files_beside_a_folder_give_way_to_what_is_in_it(tmp_path: Path) -> None:
    album = make(tmp_path / "album", "a.tif", "b.png", "c.jpg/x.jpg")
    alone = make(tmp_path / "alone", "a.png", "b.jpg", "b.tif", "c.jpg", "d.bmp")
    inputs = [*sorted(alone.iterdir()), album, album / "b.png"]
    assert places(inputs) == ["a.tif", "b.png", "c.jpg/x.jpg", "a.png", "b.jpg", "b.tif", "c-2.jpg", "d.bmp"]
    assert planned(inputs, "png") == [
        "a.png", "b.png", "c.jpg/x.png", "a.png.png", "b.jpg.png", "b.tif.png", "c-2.png", "d.png",
    ]  # fmt: skip


@pytest.mark.parametrize("order", [("all", "all/sub"), ("all/sub", "all"), ("all/sub/b.jpg", "all", "all/sub", "all")])
def test_a_photo_in_several_inputs_comes_once(tmp_path: Path, order: tuple[str, ...]) -> None:
    make(tmp_path / "all", "a.jpg", "sub/b.jpg", "sub/deep/c.jpg", "z.jpg")
    inputs = [tmp_path / name for name in order]
    found = [file.path for file in find_photos(inputs)]
    assert sorted(path.name for path in found) == ["a.jpg", "b.jpg", "c.jpg", "z.jpg"]
    assert survey_photos(inputs).photos == 4


def test_the_survey_counts_and_the_stream_is_lazy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a.jpg", "b/b.jpg", "c/c.jpg", "c/notes.txt")
    assert survey_photos([tmp_path]).photos == 3
    walked: list[str] = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (walked.append(Path(path).name), scan(path))[1])
    stream = stream_photos([tmp_path], pytest.fail)
    assert walked == []
    assert next(stream).relative == PurePath("a.jpg")
    assert next(stream).relative == PurePath("b/b.jpg")
    assert walked == [tmp_path.name, "b"]


def test_of_photos_nothing_is_remembered(tmp_path: Path) -> None:
    """Ten folders of 200 names, one in memory at a time."""
    make(tmp_path, *(f"{folder}/{'x' * 100}{number}.jpg" for folder in range(10) for number in range(200)))
    survey = survey_photos([tmp_path])
    pairs = stream_outputs(survey, tmp_path.parent / "out", "png", pytest.fail)
    for _ in range(400):
        next(pairs)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    peak = max(tracemalloc.get_traced_memory()[0] - before for _ in pairs)
    tracemalloc.stop()
    assert survey.photos == 2000
    assert peak < 200 * 500, "less than what one folder's names take"


def planned(inputs: list[Path], ext: str = "auto") -> list[str]:
    out = inputs[0].parent / "planned"
    pairs = stream_outputs(survey_photos(inputs), out, ext, pytest.fail)
    return [output.relative_to(out).as_posix() for _, output in pairs]


def check(inputs: list[Path], out: Path) -> None:
    survey = survey_photos(inputs)
    check_output_folder(survey, out)
    list(stream_outputs(survey, out, "auto", pytest.fail))


@pytest.mark.parametrize("out", ["photos", "photos/restored/today", "link", "link/new", "photos/../photos/sub"])
def test_out_in_the_input_is_refused(tmp_path: Path, out: str) -> None:
    photos = make(tmp_path / "photos", "a.jpg", "sub/b.jpg")
    (tmp_path / "link").symlink_to(photos / "sub")
    with pytest.raises(UsageError, match="lies inside, the input folder"):
        check([photos], tmp_path / out)


def test_out_beside_or_above_the_input_is_fine(tmp_path: Path) -> None:
    photos = make(tmp_path / "photos", "a.jpg")
    check([photos], tmp_path / "photos-restored")
    check([photos], tmp_path)


@pytest.mark.parametrize("kind", ["itself", "symlink", "hardlink", "folder"])
def test_an_output_that_is_an_input_is_refused(tmp_path: Path, kind: str) -> None:
    photo = make(tmp_path / "in", "a.jpg") / "a.jpg"
    out = tmp_path / "out"
    if kind == "folder":
        out.symlink_to(photo.parent)
    elif kind == "itself":
        out = photo.parent
    else:
        out.mkdir()
        (out / "a.jpg").symlink_to(photo) if kind == "symlink" else (out / "a.jpg").hardlink_to(photo)
    with pytest.raises(UsageError, match="is the same file as the photo"):
        check([photo], out)


def test_out_that_is_a_file_is_refused(tmp_path: Path) -> None:
    photo = make(tmp_path, "a.jpg", "b") / "a.jpg"
    with pytest.raises(UsageError, match="is a file"):
        check([photo], tmp_path / "b")


def test_side_files_of_both_customs_and_any_form_of_letters(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "fête") for form in ("NFC", "NFD"))
    for name in (f"{apart}.xmp", f"{composed}.jpg.xmp", f"{composed}.jpg.supplemental-metadata.json", "other.xmp"):
        (tmp_path / name).touch()
    found = side_files(tmp_path / f"{composed}.jpg", tmp_path / "out" / "new.png")
    assert {(source.name, target.name) for source, target in found} == {
        (f"{apart}.xmp", "new.xmp"),
        (f"{composed}.jpg.xmp", "new.png.xmp"),
        (f"{composed}.jpg.supplemental-metadata.json", "new.png.supplemental-metadata.json"),
    }


def test_names_that_differ_only_in_ending_or_in_form_stay_apart(tmp_path: Path) -> None:
    names = ["a.jpg", "a.png", "a.tif", *(unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD"))]
    for name in names:
        (tmp_path / name).touch()
    present = len(list(tmp_path.iterdir()))  # some file systems take the two forms for one
    for ext in ("auto", "png", "jpg"):
        assert len({*planned([tmp_path], ext)}) == len(find_photos([tmp_path])) == present


def test_an_output_folder_that_leads_into_the_photos_is_refused(tmp_path: Path) -> None:
    """By a name, by a link in the output folder, by a link among the photos; there is nothing to overwrite yet."""
    photos = make(tmp_path / "photos", "photos/a.jpg", "sub/b.jpg")
    with pytest.raises(UsageError, match="which is an input folder"):
        check([photos], tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    (out / "photos").symlink_to(photos / "sub")
    with pytest.raises(UsageError, match="which is an input folder"):
        check([photos], out)
    elsewhere = make(tmp_path / "elsewhere", "c.jpg")
    (photos / "link").symlink_to(elsewhere)
    with pytest.raises(UsageError, match="lies inside, the input folder"):
        check([photos], elsewhere / "new")
    with pytest.raises(UsageError, match="is the same file as the photo"):
        check([make(tmp_path / "x", "c.jpg") / "c.jpg", elsewhere / "c.jpg"], elsewhere)


def test_places_sort_in_the_database_as_anywhere() -> None:
    names = [
        "a",
        "a1",
        "a2",
        "a10",
        "a007b",
        "A7",
        "b/a",
        "b",
        "b 1/x10",
        "b 1/x9",
        "b/1",
        "é",
        "e\u0301",
        "z\udcff",
        "1",
        "02",
    ]
    assert sorted(names, key=natural_key) == sorted(
        names, key=lambda place: [natural_order(part) for part in place.split("/")]
    )
