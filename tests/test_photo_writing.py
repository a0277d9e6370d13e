"""Photos written: whole or not at all, with their time, and in other formats."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dmdcli.errors import CannotGoOnError, PhotoWriteError
from dmdcli.files import write_file
from dmdcli.formats import bmp, heif, jpeg, jpeg2000, png, tiff, webp
from dmdcli.formats.changed import Changed
from dmdcli.photos import Photo, is_converted, read_photo, write_photo
from dmdcli.side_files import copy_side_files
from tests.formats.pictures import changed_to, encoded, exif_with_orientation, photograph, picture


def read_bytes(tmp_path: Path, content: bytes, name: str = "photo") -> Photo:
    (tmp_path / name).write_bytes(content)
    return read_photo(tmp_path / name)


def rewritten(photo: Photo, stored: npt.NDArray[Any], tmp_path: Path, **options: Any) -> Photo:
    write_photo(photo, changed_to(photo.original, stored), tmp_path / "out" / "written", **options)
    return read_photo(tmp_path / "out" / "written")


def test_files_get_the_bytes_and_time_asked_for_in_new_folders(tmp_path: Path) -> None:
    content = os.urandom(5000)
    target = tmp_path / "new" / "folder" / "ü.jpg"
    write_file(content, target, 10**18 + 12300)
    assert target.read_bytes() == content
    assert target.stat().st_mtime_ns == 10**18 + 12300
    assert [path.name for path in target.parent.iterdir()] == ["ü.jpg"]


def test_written_photos_keep_the_time_and_overwrite_whole_files(tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    source.write_bytes(encoded(picture(), "PNG"))
    os.utime(source, ns=(10**18, 10**18))
    photo = read_photo(source)
    target = tmp_path / "out.png"
    target.write_bytes(b"old")
    write_photo(photo, Changed(photo.original), target)
    assert target.stat().st_mtime_ns == 10**18
    assert np.array_equal(read_photo(target).original, photo.original)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.ENAMETOOLONG])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_trouble_with_the_disk_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, call: str
) -> None:
    photo = read_bytes(tmp_path, encoded(picture(), "PNG"))
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").write_bytes(b"old")

    def fail(*args: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), fail)
    expected: type[Exception] = CannotGoOnError if code not in (errno.EIO, errno.ENAMETOOLONG) else PhotoWriteError
    sentence = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk is full", errno.EROFS: "cannot be written to"}
    for write in (
        lambda: write_photo(photo, Changed(photo.original), out / "a.png"),
        lambda: write_file(photo.source, out / "a.png"),
    ):
        with pytest.raises(expected, match=sentence.get(code, "cannot be written")):
            write()
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {"a.png": b"old"}


def test_a_stop_while_writing_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = read_bytes(tmp_path, encoded(picture(), "PNG"))

    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        write_photo(photo, Changed(photo.original), tmp_path / "out" / "a.png")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_encoder_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = read_bytes(tmp_path, encoded(picture(), "JPEG"))

    def fail(*args: Any, **options: Any) -> None:
        raise OSError("encoder error -2 when writing image file")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(PhotoWriteError, match="encoder error"):
        write_photo(photo, Changed(photo.original), tmp_path / "out" / "a.jpg")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("setpriv"), reason="not root")
def test_a_folder_without_write_permission_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(picture(), "JPEG"))
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    code = (
        "import sys; from pathlib import Path; from dmdcli.errors import CannotGoOnError\n"
        "from dmdcli.files import write_file; folder = Path(sys.argv[1])\n"
        "try: write_file((folder / 'a.jpg').read_bytes(), folder / 'b.jpg')\n"
        "except CannotGoOnError as error: print(error)"
    )
    command = ["setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-B", "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False)
    if "No module named" in done.stderr:
        pytest.skip("nobody may not read this checkout")
    assert f"the folder {tmp_path} cannot be written to (Permission denied)" in done.stdout, done.stderr


ICC = bytes(128) + os.urandom(300)


@pytest.mark.parametrize("ext", ["jpg", "png", "tif", "webp", "bmp", "jp2", "avif"])
@pytest.mark.parametrize("source", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_other_formats_keep_what_they_have_a_place_for(tmp_path: Path, source: str, ext: str) -> None:
    options: dict[str, Any] = {"exif": exif_with_orientation(6), "icc_profile": ICC, "dpi": (300, 150)}
    if source == "PNG":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta/>")
        options["pnginfo"] = text
    elif source == "TIFF":
        exif = Image.Exif()
        exif.load(options["exif"])
        exif[700] = b"<x:xmpmeta/>"
        options["exif"] = exif
    else:
        options["xmp"] = b"<x:xmpmeta/>"
    samples = photograph((64, 48))
    photo = read_bytes(tmp_path, encoded(samples, source, **options))
    assert is_converted(photo, ext) == (ext not in {"JPEG": "jpg", "TIFF": "tif"}.get(source, source.lower()))
    again = rewritten(photo, photo.original, tmp_path, ext=ext)
    difference = np.abs(again.pixels.astype(int) - photo.pixels)
    assert np.median(difference) <= (1 if ext in ("jpg", "avif") else 0)
    assert ext in ("jpg", "avif") or difference.max() == 0 or source == ext.upper() == "WEBP"
    if ext == "bmp":
        assert again.orientation == 1
        return
    found = again.metadata
    assert again.orientation == 6
    assert (found.icc, found.xmp) == (ICC, b"<x:xmpmeta/>")
    exif = Image.Exif()
    exif.load(found.exif)
    assert exif[0x010E] == "a wedding"
    assert exif.get_ifd(0x8769)[0x9003] == "1962:05:19 12:00:00"
    if source != "WEBP" and ext not in ("webp", "jp2", "avif"):
        assert found.density == pytest.approx((300, 150), rel=1e-3)


def test_side_files_are_copied_once_and_never_over_others(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    for name in ("a.jpg", "a.xmp", "a.jpg.json", "a.jpg.XMP"):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, ns=(10**18, 10**18))
    output = tmp_path / "out" / "b.png"
    output.parent.mkdir()
    (output.parent / "b.xmp").write_text("somebody's")
    assert copy_side_files(photo, output) == ()
    found = {path.name: path.read_text() for path in output.parent.iterdir()}
    assert found == {"b.xmp": "somebody's", "b.png.json": "a.jpg.json", "b.png.XMP": "a.jpg.XMP"}
    assert (output.parent / "b.png.json").stat().st_mtime_ns == 10**18
    notes = copy_side_files(photo, tmp_path / "other" / "a.jpg", without_location=True)
    assert "has a side file a.jpg.json, which may say where it was taken; it was not copied" in notes
    assert sum("its XMP cannot be read" in note for note in notes) == 2


def test_a_side_file_that_cannot_be_read_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.xmp").write_text("<x/>")
    read = Path.read_bytes

    def fail(path: Path) -> bytes:
        if path.suffix == ".xmp":
            raise PermissionError(errno.EACCES, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", fail)
    (note,) = copy_side_files(tmp_path / "a.jpg", tmp_path / "out" / "a.jpg")
    assert note == "has a side file a.xmp, which was not copied: it cannot be read: Permission denied"


def test_transparent_photos_cannot_become_jpeg(tmp_path: Path) -> None:
    photo = read_bytes(tmp_path, encoded(picture("RGBA"), "PNG"))
    with pytest.raises(PhotoWriteError, match="transparent parts, which JPEG cannot hold"):
        write_photo(photo, Changed(photo.original), tmp_path / "a.jpg", ext="jpg")
    opaque = photo.original.copy()
    opaque[..., 3] = 255
    assert rewritten(photo, opaque, tmp_path, ext="jpg").mode == "RGB"


def test_every_format_has_the_same_five_functions() -> None:
    for module in (bmp, heif, jpeg, jpeg2000, png, tiff, webp):
        assert all(
            callable(getattr(module, name)) for name in ("read", "metadata", "rewrite", "write", "without_location")
        )
