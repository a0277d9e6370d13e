"""Photos read, changed and written back: orientation, depth, mode, and files that are refused."""

from __future__ import annotations

import io
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image, ImageOps

from dmdcli.errors import PhotoReadError, PhotoWriteError, ShapeError
from dmdcli.formats import png
from dmdcli.formats.changed import Changed
from dmdcli.formats.picture import Metadata
from dmdcli.photos import Photo, read_photo, upright, write_photo
from tests.formats.pictures import changed_to, encoded, exif_with_orientation, photograph, picture

BOX = (7, 5, 33, 29)
PALETTE_PNG = encoded(Image.fromarray(picture()).quantize(9), "PNG")
MODES = ("L", "LA", "RGB", "RGBA")


def lossless_files() -> list[Any]:
    """Every mode and depth of every lossless format."""
    cases = []
    for mode in MODES:
        for depth in (8, 16):
            samples = picture(mode, depth)
            cases.append(pytest.param(samples, png.write(samples, Metadata()), id=f"png-{mode}-{depth}"))
            for order in "<>":
                buffer = io.BytesIO()
                extra = [2] if mode.endswith("A") else None
                photometric = "rgb" if mode.startswith("RGB") else "minisblack"
                tifffile.imwrite(buffer, samples, photometric=photometric, extrasamples=extra, byteorder=order)
                cases.append(pytest.param(samples, buffer.getvalue(), id=f"tiff-{mode}-{depth}{order}"))
    for mode in ("L", "RGB"):
        cases.append(pytest.param(picture(mode), encoded(picture(mode), "BMP"), id=f"bmp-{mode}"))
    for mode in ("RGB", "RGBA"):
        content = encoded(picture(mode), "WEBP", lossless=True, exact=True)
        cases.append(pytest.param(picture(mode), content, id=f"webp-{mode}"))
    return cases


def read_bytes(tmp_path: Path, content: bytes, name: str = "photo") -> Photo:
    (tmp_path / name).write_bytes(content)
    return read_photo(tmp_path / name)


def rewritten(photo: Photo, stored: npt.NDArray[Any], tmp_path: Path, **options: Any) -> Photo:
    write_photo(photo, changed_to(photo.original, stored), tmp_path / "out" / "written", **options)
    return read_photo(tmp_path / "out" / "written")


@pytest.mark.parametrize(("samples", "content"), lossless_files())
def test_lossless_round_trip_changes_the_region_alone(
    tmp_path: Path, samples: npt.NDArray[Any], content: bytes
) -> None:
    photo = read_bytes(tmp_path, content)
    assert photo.original.dtype == samples.dtype
    assert np.array_equal(photo.original, samples)
    canvas = photo.canvas()
    x0, y0, x1, y1 = BOX
    canvas.put(x0, y0, canvas.region(*BOX) * 0.5)
    again = rewritten(photo, canvas.stored, tmp_path)
    assert (again.mode, again.depth, again.format) == (photo.mode, photo.depth, photo.format)
    assert np.array_equal(again.original, canvas.stored)
    changed = (again.original != samples).reshape(*samples.shape[:2], -1).any(axis=2)
    assert changed[y0:y1, x0:x1].all()
    changed[y0:y1, x0:x1] = False
    assert not changed.any()
    if photo.alpha is not None:
        assert np.array_equal(again.original[..., -1], samples[..., -1])


@pytest.mark.parametrize(("samples", "content"), lossless_files())
def test_putting_back_what_was_taken_out_changes_nothing(
    tmp_path: Path, samples: npt.NDArray[Any], content: bytes
) -> None:
    photo = read_bytes(tmp_path, content)
    canvas = photo.canvas()
    canvas.put(0, 0, photo.region(0, 0, 61, 47))
    assert np.array_equal(canvas.stored, samples)


def test_every_16_bit_value_survives_region_and_put() -> None:
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    for samples in (every, np.stack([every, every[::-1], every.T], axis=2)):
        photo = Photo(Path("x"), samples, np.zeros((256, 256, 3), np.uint8), "PNG", 1, b"", 0)
        canvas = photo.canvas()
        canvas.put(0, 0, photo.region(0, 0, 256, 256))
        assert np.array_equal(canvas.stored, samples)


def test_16_bit_pixels_are_scaled_and_rounded(tmp_path: Path) -> None:
    samples = np.array([[0, 128, 129, 257, 65535, 65407, 65406]], np.uint16)
    photo = read_bytes(tmp_path, png.write(samples, Metadata()))
    assert photo.pixels[0, :, 0].tolist() == [0, 0, 1, 1, 255, 255, 254]


def test_grey_takes_luminance_and_values_are_clipped_and_rounded(tmp_path: Path) -> None:
    photo = read_bytes(tmp_path, encoded(np.zeros((2, 3), np.uint8), "PNG"))
    canvas = photo.canvas()
    canvas.put(0, 1, np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 1]]], np.float32))
    canvas.put(0, 0, np.array([[[2, 2, 2], [-1, -1, -1], [0.4999 / 255] * 3]], np.float32))
    assert canvas.stored.tolist() == [[255, 0, 0], [76, 150, 29]]


def test_regions_outside_and_not_finite_are_refused(tmp_path: Path) -> None:
    photo = read_bytes(tmp_path, encoded(picture(), "PNG"))
    for box in ((-1, 0, 5, 5), (0, 0, 62, 5), (5, 0, 4, 5), (0, 40, 5, 48)):
        with pytest.raises(ShapeError, match="not inside the photo of 61 x 47"):
            photo.region(*box)
    with pytest.raises(ShapeError, match="finite"):
        photo.canvas().put(0, 0, np.full((2, 2, 3), np.nan, np.float32))
    with pytest.raises(ShapeError, match="are not the samples of"):
        write_photo(photo, Changed(photo.original[1:]), tmp_path / "out.png")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_orientation(tmp_path: Path, format_name: str, orientation: int) -> None:
    options: dict[str, Any] = {"lossless": True} if format_name == "WEBP" else {}
    samples = photograph((64, 48)) if format_name == "JPEG" else picture()
    content = encoded(samples, format_name, exif=exif_with_orientation(orientation), **options)
    photo = read_bytes(tmp_path, content)
    assert photo.orientation == orientation
    with Image.open(io.BytesIO(content)) as image:
        seen = np.array(ImageOps.exif_transpose(image))
    assert np.array_equal(photo.pixels, seen)
    assert np.array_equal(np.rint(photo.region(3, 2, 40, 30) * 255), seen[2:30, 3:40])
    canvas = photo.canvas()
    canvas.put(5, 9, np.zeros((20, 8, 3), np.float32))
    expected = seen.copy()
    expected[9:29, 5:13] = 0
    assert np.array_equal(upright(canvas.stored, orientation), expected)
    again = rewritten(photo, canvas.stored, tmp_path)
    assert again.orientation == orientation
    assert again.original.shape == photo.original.shape
    if format_name != "JPEG":
        assert np.array_equal(again.pixels, expected)


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "BMP"])
@pytest.mark.parametrize("kind", ["1", "P", "grey palette", "P transparent"])
def test_palette_and_1_bit_are_read_and_written_as_grey_or_rgb(tmp_path: Path, format_name: str, kind: str) -> None:
    colour = Image.fromarray(picture())
    image = {
        "1": lambda: colour.convert("1"),
        "P": lambda: colour.quantize(12),
        "grey palette": lambda: Image.fromarray(picture("L") // 40 * 40).quantize(8),
        "P transparent": lambda: colour.quantize(12),
    }[kind]()
    options = {"transparency": 3} if kind == "P transparent" and format_name == "PNG" else {}
    expected = np.array(image.convert("RGB"))
    photo = read_bytes(tmp_path, encoded(image, format_name, **options))
    mode = {"1": "L", "grey palette": "L"}.get(kind, "RGBA" if options else "RGB")
    assert (photo.mode, photo.depth) == (mode, 8)
    assert np.array_equal(photo.pixels, expected)
    canvas = photo.canvas()
    canvas.put(2, 3, np.full((9, 8, 3), 0.3, np.float32))
    again = rewritten(photo, canvas.stored, tmp_path)
    assert again.mode == mode
    assert np.array_equal(again.original, canvas.stored)


def declared_png(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"".join(
        [png.SIGNATURE]
        + [
            png.Chunk(name, body).bytes
            for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
        ]
    )


def declared_jpeg(width: int, height: int) -> bytes:
    content = bytearray(encoded(picture(), "JPEG"))
    start = content.index(b"\xff\xc0")
    struct.pack_into(">HH", content, start + 5, height, width)
    return bytes(content)


def declared_tiff(width: int, height: int) -> bytes:
    return (
        encoded(picture(), "TIFF")
        .replace(struct.pack("<HHII", 256, 4, 1, 61), struct.pack("<HHII", 256, 4, 1, width))
        .replace(struct.pack("<HHII", 257, 4, 1, 47), struct.pack("<HHII", 257, 4, 1, height))
    )


def declared_bmp(width: int, height: int) -> bytes:
    content = bytearray(encoded(picture(), "BMP"))
    struct.pack_into("<ii", content, 18, width, height)
    return bytes(content)


@pytest.mark.parametrize("make", [declared_png, declared_jpeg, declared_tiff, declared_bmp])
def test_absurd_sizes_fail_from_the_header(tmp_path: Path, make: Any) -> None:
    start = time.perf_counter()
    with pytest.raises(PhotoReadError, match=r"declares 50000 x 50000 pixels \(2,500 megapixels\); the limit is 200"):
        read_bytes(tmp_path, make(50000, 50000))
    assert time.perf_counter() - start < 0.5
    with pytest.raises(PhotoReadError, match="declares 0 x 47 pixels"):
        read_bytes(tmp_path, make(0, 47))


FORMATS = {"JPEG": {}, "PNG": {}, "TIFF": {"compression": "tiff_lzw"}, "WEBP": {"lossless": True}, "BMP": {}}


@pytest.mark.parametrize("format_name", FORMATS)
def test_one_pixel_is_read_and_written(tmp_path: Path, format_name: str) -> None:
    content = encoded(np.full((1, 1, 3), 90, np.uint8), format_name, **FORMATS[format_name])
    photo = read_bytes(tmp_path, content)
    assert photo.pixels.tolist() == [[[90, 90, 90]]]
    canvas = photo.canvas()
    canvas.put(0, 0, np.full((1, 1, 3), 200 / 255, np.float32))
    assert np.abs(rewritten(photo, canvas.stored, tmp_path).pixels.astype(int) - 200).max() <= 1


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("share", [0.002, 0.02, 0.3, 0.6, 0.95])
def test_truncated_files_are_refused(tmp_path: Path, format_name: str, share: float) -> None:
    content = encoded(photograph(), format_name, **FORMATS[format_name])
    with pytest.raises(PhotoReadError, match=r"truncated|damaged|is no picture in JPEG"):
        read_bytes(tmp_path, content[: int(len(content) * share)])


def test_truncated_16_bit_png_is_refused(tmp_path: Path) -> None:
    content = png.write(picture("RGB", 16), Metadata())
    with pytest.raises(PhotoReadError, match="truncated"):
        read_bytes(tmp_path, content[:-400])
    half = zlib.compress(b"\0" * 500)
    chunks = [png.Chunk(c.name, half) if c.name == b"IDAT" else c for c in png.split(content)]
    with pytest.raises(PhotoReadError, match="damaged"):
        read_bytes(tmp_path, png.SIGNATURE + b"".join(chunk.bytes for chunk in chunks))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"Dear diary, today we went to the sea.", "is no picture in JPEG, PNG"),
        (encoded(picture(), "GIF"), "is no picture in JPEG, PNG"),
        (encoded(Image.fromarray(picture()).convert("LAB"), "TIFF"), "is stored as 'LAB'.*save a copy"),
        (encoded(picture("L").astype(np.float32), "TIFF"), "32 bits per channel of floating point"),
        (encoded(picture("L").astype(np.int32), "TIFF"), "32 bits per channel"),
        (encoded(picture(), "PNG", save_all=True, append_images=[Image.new("RGB", (61, 47))]), "is an animation"),
        (encoded(picture(), "WEBP", save_all=True, append_images=[Image.new("RGB", (61, 47))]), "is an animation"),
        (png.SIGNATURE + b"".join(c.bytes for c in png.split(PALETTE_PNG) if c.name != b"PLTE"), "palette is missing"),
        (b"BM", "truncated"),
        (b"\xff\xd8\xff", "truncated"),
        (b"II*\0", "truncated"),
        (b"RIFF\0\0\0\0WEBP", "damaged"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else "",
)
def test_what_cannot_be_used_is_refused_with_a_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(PhotoReadError, match=reason) as caught:
        read_bytes(tmp_path, content, "letter äöü 1.jpg")
    assert str(caught.value).startswith(str(tmp_path / "letter äöü 1.jpg"))


@pytest.mark.parametrize("format_name", FORMATS)
def test_random_damage_never_raises_anything_else(tmp_path: Path, format_name: str) -> None:
    content = encoded(photograph((96, 80)), format_name, **FORMATS[format_name])
    random = np.random.default_rng(11)
    outcomes = set()
    for _ in range(60):
        damaged = bytearray(content)
        for _ in range(4):
            damaged[int(random.integers(2, min(len(content), 700)))] = int(random.integers(256))
        try:
            photo = read_bytes(tmp_path, bytes(damaged))
            rewritten(photo, photo.original // 2, tmp_path)
            outcomes.add("read")
        except (PhotoReadError, PhotoWriteError):
            outcomes.add("refused")
    assert outcomes == {"read", "refused"} or format_name in ("PNG", "BMP")


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(PhotoReadError, match="cannot be read: No such file"):
        read_photo(tmp_path / "gone.jpg")
    with pytest.raises(PhotoReadError, match="cannot be read: Is a directory"):
        read_photo(tmp_path)


def test_content_decides_not_the_ending(tmp_path: Path) -> None:
    photo = read_bytes(tmp_path, encoded(picture("L"), "PNG"), "scan.jpg")
    assert (photo.format, photo.mode) == ("PNG", "L")
    write_photo(photo, Changed(photo.original), tmp_path / "out.jpg")
    assert read_photo(tmp_path / "out.jpg").format == "PNG"
