"""Every file as it was: a collection of all formats and kinds of metadata goes through `restore`."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from dmdcli.faces.align import region_of_interest
from dmdcli.journal import open_journal
from dmdcli.photos import read_photo, upright
from dmdcli.pipeline.blend import RestoreOptions
from dmdcli.pipeline.outcome import RestoredPhoto
from dmdcli.pipeline.restore import restore
from dmdcli.places import stream_outputs, survey_photos
from tests.collection import MODIFIED, PACKET, Sample, make_collection
from tests.pipeline.made_up import STRANGER, Brightener, MadeUpFinder, face_at, people_of

FACE = (96.0, 64.0, 90.0)
LEAST_JPEG = 55.0
"""Decibels outside of changed blocks."""
BLOCK, BLEED = 32, 2
"""Pixels: the widest block of a JPEG, and how far enlarged colour reaches into the next."""
FEW = (
    "jpeg-75-420",
    "jpeg-411",
    "jpeg-ycck",
    "gedreht-6",
    "png-16-alpha",
    "tiff-adobe-16",
    "webp-lossless",
    "jpeg2000.jp2",
)
"""What fits into the fast tests."""
INVERSE = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
"""Orientation that turns an upright picture back as it is stored."""
OF_THE_SAMPLES = (
    "StripOffsets", "StripByteCounts", "TileOffsets", "TileByteCounts", "RowsPerStrip", "Compression", "Predictor",
    "BitsPerSample", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "ExtraSamples", "FileSize",
    "ThumbnailLength", "ThumbnailImage", "PhotoshopThumbnail", "FileAccessDate", "FileInodeChangeDate", "Directory",
    "ColorType", "BitDepth", "Palette", "Interlace", "NumColors", "FillOrder", "T6Options", "YCbCrSubSampling",
    "YCbCrCoefficients", "ReferenceBlackWhite", "JPEGTables", "SourceFile", "FilePermissions", "ColorMap", "VP8Version",
    "HorizontalScale", "VerticalScale", "Filter", "SignificantBits", "YCbCrPositioning", "BMPVersion",
    "NumImportantColors", "ImageLength", "PixelsPerMeterX", "PixelsPerMeterY", "SubfileType", "AlphaIsUsed",
    "ChromaFormat", "CompatibleBrands", "ImageSpatialExtent",
    "AV1ConfigurationVersion", "MediaDataSize", "MediaDataOffset", "T4Options", "Software",
    "ThumbnailOffset", "PreviewImage", "PreviewImageStart", "PreviewImageLength",
)  # fmt: skip
"""What may change because samples do; all else must read the same."""
OF_THE_MARK = (
    "XMP-dmd:", "XMP-iptcExt:DigitalSourceType", "XMP-xmpMM:History", "IFD0:ApplicationNotes", "RIFF:WebP_Flags",
)  # fmt: skip
"""How tags that only restored photos have begin. The last two are how a file may say, too, that there is XMP in it."""
TAGS_OF_A_MARK = {".bmp": 0, ".j2k": 0}
"""How many a file has, by how its name ends, where it is not 11 in XMP: two formats have no place for any."""


def run(folder: Path, out: Path, **options: Any) -> list[RestoredPhoto]:
    finder, people = MadeUpFinder((*FACE, STRANGER, None)), people_of(alice=(9.0, 9.0))
    pairs = stream_outputs(survey_photos([folder]), out, options.get("ext", "auto"), pytest.fail)
    with open_journal(out) as journal:
        return list(
            restore(
                pairs,
                finder,
                Brightener(),
                people,
                journal,
                RestoreOptions(engravings="restore", **options),
            )
        )


def changed_region(path: Path) -> npt.NDArray[np.bool_]:
    """(H, W) of the stored picture: where the made-up face may change samples."""
    photo = read_photo(path)
    allowed = np.zeros(photo.original.shape[:2], bool)
    face = face_at(photo.pixels, *FACE, STRANGER)
    x0, y0, x1, y1 = region_of_interest(face.matrix, (photo.pixels.shape[1], photo.pixels.shape[0]))
    upright(allowed, photo.orientation)[y0:y1, x0:x1] = True
    return allowed


def blocks_of(allowed: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The region with the JPEG blocks it touches."""
    rows, columns = np.flatnonzero(allowed.any(axis=1)), np.flatnonzero(allowed.any(axis=0))
    whole = np.zeros_like(allowed)
    top, left = (int(one[0]) // BLOCK * BLOCK for one in (rows, columns))
    bottom, right = ((int(one[-1]) // BLOCK + 1) * BLOCK for one in (rows, columns))
    whole[max(top - BLEED, 0) : bottom + BLEED, max(left - BLEED, 0) : right + BLEED] = True
    return whole


def decibels(difference: npt.NDArray[Any]) -> float:
    error = float((difference.astype(np.float64) ** 2).mean())
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


def read_by_exiftool(top: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Every tag of every file in each folder below; structure and times of access left out."""
    command = ["exiftool", "-a", "-G1", "-j", "-struct", "-r", "--icc_profile:ProfileID", str(top)]
    done = subprocess.run(command, capture_output=True, check=False)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for one in json.loads(done.stdout):
        path = Path(one["SourceFile"])
        tags = {key: value for key, value in one.items() if key.rpartition(":")[2] not in OF_THE_SAMPLES}
        if tags.get("File:FileType") == "Extended WEBP":  # with more than a picture in it, a mark for instance
            tags["File:FileType"] = "WEBP"
        found.setdefault(path.parent.name, {})[path.name] = tags
    return found


def without_mark(tags: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in tags.items() if key in before or not key.startswith(OF_THE_MARK)}


def warnings_of(top: Path) -> dict[str, set[str]]:
    """What ExifTool has to say against each file's metadata."""
    command = ["exiftool", "-validate", "-a", "-G1", "-warning", "-error", str(top)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found: dict[str, set[str]] = {}
    name = ""
    for line in done.stdout.splitlines():
        if line.startswith("======== "):
            name = Path(line[9:]).name
        elif "Warning  " in line or "Error  " in line:
            found.setdefault(name, set()).add(line.partition(":")[2].strip())
    return found


def check(source: Path, result: Path, sample: Sample) -> None:
    before, after = read_photo(source), read_photo(result)
    assert after.original.shape == before.original.shape, sample.name
    assert (after.mode, after.depth, after.orientation) == (before.mode, before.depth, before.orientation), sample.name
    assert after.metadata.icc == before.metadata.icc, sample.name
    assert result.stat().st_mtime_ns == MODIFIED, sample.name
    allowed = changed_region(source)
    difference = after.original.astype(int) - before.original
    assert np.abs(difference[allowed]).mean() > 1, f"{sample.name}: nothing was restored"
    if sample.lossless:
        assert not difference[~allowed].any(), sample.name
    elif before.format == "JPEG":
        outside = ~blocks_of(allowed)
        assert outside.mean() > 0.2
        assert decibels(difference[outside]) >= LEAST_JPEG, sample.name


@dataclass(frozen=True)
class Runs:
    """The collection, and what came of it: restored, left alone, and both without places."""

    folder: Path
    samples: list[Sample]
    restored: list[RestoredPhoto]
    alone: list[RestoredPhoto]
    placeless: list[RestoredPhoto]

    def out(self, name: str) -> Path:
        return self.folder.parent / name


@pytest.fixture(params=["some", pytest.param("all", marks=pytest.mark.slow)], scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """A few files of the collection, or all of them made from a real photograph."""
    top = tmp_path_factory.mktemp("collection")
    folder = top / "in"
    if request.param == "all":
        photos = request.getfixturevalue("test_data") / "faces/photos/people"
        samples = make_collection(folder, sorted(photos.rglob("*.jpg"))[5])
    else:
        every = make_collection(folder)
        samples = [sample for sample in every if sample.name.startswith(FEW)]
        for sample in every:
            if sample not in samples:
                (folder / sample.name).unlink()
    restored = run(folder, top / "restored")
    alone = run(folder, top / "alone", strength=0.0)
    placeless = run(folder, top / "placeless", without_location=True)
    run(folder, top / "alone-placeless", strength=0.0, without_location=True)
    return Runs(folder, samples, restored, alone, placeless)


def test_strength_0_gives_the_same_bytes(runs: Runs) -> None:
    assert {one.status for one in runs.alone} == {"untouched"}
    assert len(runs.alone) == len(runs.samples)
    for sample in runs.samples:
        assert (runs.out("alone") / sample.name).read_bytes() == sample.content, sample.name
        assert (runs.out("alone") / sample.name).stat().st_mtime_ns == MODIFIED


def test_only_faces_change(runs: Runs) -> None:
    assert [(one.photo.name, one.error) for one in runs.restored if one.status != "restored"] == []
    for sample in runs.samples:
        check(runs.folder / sample.name, runs.out("restored") / sample.name, sample)


def test_side_files_come_along(runs: Runs) -> None:
    side = runs.out("restored") / "jpeg-75-420.xmp"
    assert side.read_bytes() == PACKET
    assert side.stat().st_mtime_ns == MODIFIED
    assert (runs.out("restored") / "tiff-lzw.tif.json").exists() == (len(runs.samples) > 20)
    assert not (runs.out("placeless") / "tiff-lzw.tif.json").exists()
    assert b"GPS" not in (runs.out("placeless") / "jpeg-75-420.xmp").read_bytes()
    notes = [note for one in runs.placeless for note in one.notes if ".json" in note]
    assert len(notes) == (len(runs.samples) > 20)


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed (libimage-exiftool-perl)")
def test_exiftool_reads_the_same_metadata_and_no_place_where_asked(runs: Runs) -> None:
    found = read_by_exiftool(runs.folder.parent)
    assert any("GPS" in key for tags in found["in"].values() for key in tags)
    for sample in runs.samples:
        before = found["in"][sample.name]
        placeless = {key: value for key, value in before.items() if "GPS" not in key}
        assert without_mark(found["restored"][sample.name], before) == before, sample.name
        assert without_mark(found["placeless"][sample.name], placeless) == placeless, sample.name
        marked = sum(key.startswith(OF_THE_MARK[:3]) for key in found["restored"][sample.name])
        wanted = [count for ending, count in TAGS_OF_A_MARK.items() if sample.name.endswith(ending)]
        assert [marked] == (wanted or [11]), sample.name
        assert found["alone-placeless"][sample.name] == placeless, sample.name
        assert (runs.out("alone-placeless") / sample.name).stat().st_size == len(sample.content), sample.name


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed (libimage-exiftool-perl)")
def test_exiftool_has_nothing_against_the_mark(runs: Runs) -> None:
    before, after = warnings_of(runs.folder), warnings_of(runs.out("restored"))
    for sample in runs.samples:
        added = after.get(sample.name, set()) - before.get(sample.name, set())
        assert not {one for one in added if "Compression" not in one}, sample.name  # deflate, for ExifTool


def test_thumbnails_show_the_new_face(runs: Runs) -> None:
    looked_at = 0
    for sample in runs.samples:
        for read in (exif_thumbnail, photoshop_thumbnail):
            before = read(sample.content)
            after = read((runs.out("restored") / sample.name).read_bytes())
            assert (before is None) == (after is None), sample.name
            if before is None or after is None:
                continue
            assert after.shape == before.shape
            photo = read_photo(runs.out("restored") / sample.name)
            small = Image.fromarray(upright(photo.pixels, INVERSE[photo.orientation])).resize(after.shape[1::-1])
            assert np.abs(after.astype(int) - np.array(small)).mean() < 8, sample.name
            assert (after.astype(int) - before).max() > 15, sample.name
            looked_at += 1
    assert looked_at >= 6


def exif_thumbnail(content: bytes) -> npt.NDArray[np.uint8] | None:
    """The one in exif_block, whose JPEG begins soon behind the maker's note."""
    note = content.find(b"MAKER\0")
    place = content.find(b"\xff\xd8\xff", note, note + 800)
    return None if note < 0 or place < 0 else opened(content[place:])


def photoshop_thumbnail(content: bytes) -> npt.NDArray[np.uint8] | None:
    place = content.find(b"8BIM\x04\x0c")
    return None if place < 0 else opened(content[place + 12 + 28 :])


def opened(content: bytes) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(content)) as image:
        return np.array(image.convert("RGB"))
