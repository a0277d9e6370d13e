"""Finding photos, and where their results may go."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path, PurePath

import pytest

from dmdcli.errors import NothingToDoError, UsageError
from dmdcli.photos import PhotoFile, check_output_places, find_photos, output_path, plan_outputs, side_files

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
    files = [
        PhotoFile(tmp_path / name, PurePath(name)) for name in ("d/a.tif", "d/a.jpg", "d/a.png", "b.jpg", "c.x.TIF")
    ]
    out = Path("out")
    assert plan_outputs(files, out) == [out / file.relative for file in files]
    names = [path.relative_to(out).as_posix() for path in plan_outputs(files, out, ".PNG")]
    assert names == ["d/a.tif.png", "d/a.jpg.png", "d/a.png", "b.png", "c.x.png"]
    assert output_path(files[3], out, "webp") == out / "b.webp"
    with pytest.raises(UsageError, match="'gif' is no format"):
        output_path(files[0], out, "gif")


def test_outputs_are_all_different_even_where_the_long_name_exists(tmp_path: Path) -> None:
    names = ("a.tif", "a.jpg", "a.tif.png", "a.jpg.png")
    planned = plan_outputs([PhotoFile(tmp_path / name, PurePath(name)) for name in names], Path("o"), "png")
    assert len(set(planned)) == 4
    assert planned[2:] == [Path("o/a.tif.png"), Path("o/a.jpg.png")]


def check(inputs: list[Path], out: Path) -> None:
    files = find_photos(inputs)
    check_output_places(inputs, files, out, plan_outputs(files, out))


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
    files = find_photos([tmp_path])
    for ext in ("auto", "png", "jpg"):
        outputs = plan_outputs(files, tmp_path / "out", ext)
        assert len({str(path) for path in outputs}) == len(files) == present
