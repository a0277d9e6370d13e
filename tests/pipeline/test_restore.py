"""Restoring with a finder and a network that are made up: who gets which dictionary, what is written, what goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath

import cv2
import numpy as np
import pytest
from PIL import Image

from dmdcli.errors import CannotGoOnError
from dmdcli.faces.align import invert, transform
from dmdcli.faces.face import Face
from dmdcli.journal import copy_journal, open_journal
from dmdcli.pipeline import standing
from dmdcli.pipeline.blend import RestoreOptions, Surface
from dmdcli.pipeline.outcome import RestoredPhoto
from dmdcli.pipeline.people import People
from dmdcli.pipeline.restore import restore
from dmdcli.places import PhotoFile
from dmdcli.shapes import Matrix, Pixels
from tests.pipeline.made_up import ALICE, STRANGER, Answer, Brightener, MadeUpFinder, MadeUpKit, people_of


class OutliningKit(MadeUpKit):
    """Sees hair in the left half of every crop."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def outlines(self, crops: Pixels) -> np.ndarray | None:
        self.seen.append(crops)
        outlines = np.ones(crops.shape[:3], dtype=np.float32)
        outlines[:, :, :256] = 0
        return outlines


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "a.png"
    path.parent.mkdir()
    noise = np.random.default_rng(0).integers(108, 114, (400, 600, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def run(
    photo: Path,
    finder: object,
    people: People[float],
    options: RestoreOptions | None = None,
    restorer: object = None,
) -> tuple[RestoredPhoto, Path]:
    output = photo.parent.parent / "out" / photo.name
    files = [PhotoFile(photo, PurePath(photo.name))]
    options = options or RestoreOptions()
    with (copy_journal if options.dry_run else open_journal)(output.parent) as journal:
        (result,) = restore(
            zip(files, [output], strict=True), finder, restorer or Brightener(), people, journal, options
        )
    return result, output


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture).astype(int)


def test_a_known_face_gets_its_dictionary_and_a_stranger_the_generic_one(photo: Path) -> None:
    finder = MadeUpFinder((20, 40, 200, ALICE, None), (320, 60, 240, STRANGER, None))
    result, output = run(photo, finder, people_of(alice=(0.1, 0.0)))
    assert result.status == "restored"
    assert [(face.person, face.used) for face in result.faces] == [("alice", "specific"), (None, "generic")]
    assert result.faces[0].similarity == pytest.approx(0.9)
    change = pixels(output) - pixels(photo)
    assert np.median(change[120:160, 100:140]) == pytest.approx(51, abs=1)  # alice's 0.2
    assert np.median(change[160:200, 420:460]) == pytest.approx(26, abs=1)  # the generic 0.1


def test_pixels_outside_the_faces_are_those_of_the_photo(photo: Path) -> None:
    _, output = run(photo, MadeUpFinder((200, 100, 200, STRANGER, None)), people_of())
    change = pixels(output) - pixels(photo)
    inside = np.zeros(change.shape[:2], bool)
    inside[100:300, 200:400] = True
    assert np.abs(change[inside]).max() > 20
    assert not change[~inside].any()
    edge = np.abs(change[100:300, 200:400]).max(axis=2)
    assert max(edge[0].max(), edge[-1].max(), edge[:, 0].max(), edge[:, -1].max()) == 0, "the mask ends before the crop"


def test_hair_seen_by_the_kit_stays_as_it_was(photo: Path) -> None:
    finder = MadeUpFinder((200, 100, 200, STRANGER, None))
    finder.kit = kit = OutliningKit()
    _, output = run(photo, finder, people_of())
    change = np.abs(pixels(output) - pixels(photo)).max(axis=2)
    assert not change[:, :285].any()
    assert np.median(change[180:220, 310:340]) > 20
    (seen,) = kit.seen
    assert (seen.dtype, seen.shape) == (np.uint8, (1, 512, 512, 3))
    assert seen.mean() > 110 + 20, "the outline is seen in the restored face"


def test_strength_scales_the_change(photo: Path) -> None:
    finder = MadeUpFinder((200, 100, 200, STRANGER, None))
    _, output = run(photo, finder, people_of(), RestoreOptions(strength=0.5))
    assert np.median((pixels(output) - pixels(photo))[180:220, 280:320]) == pytest.approx(13, abs=1)


@pytest.mark.parametrize("why", ["no face", "rejected", "strength"])
def test_a_photo_in_which_nothing_is_restored_is_copied_byte_for_byte(photo: Path, why: str) -> None:
    finder = (
        MadeUpFinder() if why == "no face" else MadeUpFinder((9, 9, 99, ALICE, "tiny" if why == "rejected" else None))
    )
    result, output = run(photo, finder, people_of(), RestoreOptions(strength=0.0 if why == "strength" else 1.0))
    assert result.status == "untouched"
    assert output.read_bytes() == photo.read_bytes()
    assert all(face.used == "none" for face in result.faces)
    if why == "rejected":
        assert result.faces[0].problems == ("tiny",)


def test_only_restored_leaves_the_others_out(photo: Path) -> None:
    result, output = run(photo, MadeUpFinder(), people_of(), RestoreOptions(only_restored=True))
    assert (result.status, result.output) == ("untouched", None)
    assert not output.exists()


def test_one_person_named_and_one_face_forces_the_match(photo: Path) -> None:
    finder = MadeUpFinder((200, 100, 200, STRANGER, None))
    people = people_of(alice=(0.0, 0.0), bob=(1.0, 1.0))
    result, _ = run(photo, finder, people, RestoreOptions(only=("bob",)))
    assert [(face.person, face.used) for face in result.faces] == [("bob", "specific")]
    assert "forced" in result.faces[0].problems[0]


def test_two_faces_or_two_names_force_nothing(photo: Path) -> None:
    people = people_of(alice=(0.0, 0.0), bob=(1.0, 1.0))
    two_faces = MadeUpFinder((20, 40, 200, STRANGER, None), (320, 60, 240, STRANGER, None))
    assert {face.used for face in run(photo, two_faces, people, RestoreOptions(only=("bob",)))[0].faces} == {"generic"}
    one_face = MadeUpFinder((20, 40, 200, STRANGER, None))
    options = RestoreOptions(only=("bob", "alice"), overwrite=True)
    assert run(photo, one_face, people, options)[0].faces[0].used == "generic"


def test_existing_results_are_kept_unless_overwritten(photo: Path) -> None:
    finder = MadeUpFinder((200, 100, 200, STRANGER, None))
    _, output = run(photo, finder, people_of())
    output.write_bytes(b"mine")
    result, _ = run(photo, finder, people_of())
    assert (result.status, finder.calls) == ("skipped", 1)
    assert output.read_bytes() == b"mine"
    assert run(photo, finder, people_of(), RestoreOptions(overwrite=True))[0].status == "restored"
    assert output.read_bytes() != b"mine"


def test_a_dry_run_says_what_would_happen_and_writes_nothing(photo: Path) -> None:
    finder = MadeUpFinder((20, 40, 200, ALICE, None))
    result, output = run(photo, finder, people_of(alice=(0.0, 0.1)), RestoreOptions(dry_run=True))
    assert (result.status, result.output, result.faces[0].used) == ("restored", output, "specific")
    assert not output.parent.exists()


def test_a_bad_photo_is_reported_and_the_rest_goes_on(photo: Path) -> None:
    bad = photo.with_name("bad.png")
    bad.write_bytes(photo.read_bytes()[:500])
    files = [PhotoFile(bad, PurePath("bad.png")), PhotoFile(photo, PurePath("a.png"))]
    outputs = [photo.parent.parent / "out" / file.relative for file in files]
    finder = MadeUpFinder((20, 40, 200, ALICE, None))
    with open_journal(outputs[0].parent) as journal:
        first, second = restore(
            zip(files, outputs, strict=True), finder, Brightener(), people_of(), journal, RestoreOptions()
        )
    assert (first.status, first.output, second.status) == ("failed", None, "restored")
    assert first.error
    assert not outputs[0].exists()


def test_what_ends_the_run_is_not_swallowed(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise CannotGoOnError("the disk is full")

    monkeypatch.setattr(standing, "write_file", full)
    with pytest.raises(CannotGoOnError):
        run(photo, MadeUpFinder((20, 40, 200, ALICE, None)), people_of())


def test_overlapping_faces_are_not_changed_twice(photo: Path) -> None:
    finder = MadeUpFinder((150, 100, 200, STRANGER, None), (190, 100, 200, STRANGER, None))
    _, output = run(photo, finder, people_of())
    change = pixels(output) - pixels(photo)
    assert 24 <= change.max() <= 28, "the change of 0.1 of 255 is there once"


@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_the_stored_orientation_stays(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "in" / "turned.jpg"
    path.parent.mkdir()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.full((300, 500, 3), 90, np.uint8)).save(path, exif=exif, quality=95)
    seen: list[tuple[int, ...]] = []

    class Upright(MadeUpFinder):
        def find(self, pixels: Pixels) -> list[Face]:
            seen.append(pixels.shape)
            return super().find(pixels)

    _, output = run(path, Upright((20, 30, 200, STRANGER, None)), people_of())
    with Image.open(output) as result:
        assert result.size == (500, 300)
        assert result.getexif()[0x0112] == orientation
    assert seen == [(300, 500, 3) if orientation == 1 else (500, 300, 3)]


def test_sixteen_bits_and_transparency_stay(tmp_path: Path) -> None:
    import cv2

    path = tmp_path / "in" / "deep.png"
    path.parent.mkdir()
    stored = np.random.default_rng(1).integers(20000, 21000, (300, 300, 4), dtype=np.uint16)
    cv2.imwrite(str(path), stored)
    _, output = run(path, MadeUpFinder((40, 40, 200, STRANGER, None)), people_of())
    result = cv2.imread(str(output), cv2.IMREAD_UNCHANGED)
    assert result.dtype == np.uint16
    assert np.array_equal(result[..., 3], stored[..., 3])
    assert np.array_equal(result[:40], stored[:40])
    change = result[120:160, 120:160, :3].astype(int) - stored[120:160, 120:160, :3]
    assert np.median(change) == pytest.approx(6554, abs=60)


def test_the_matrix_reported_leads_from_photo_to_crop(photo: Path) -> None:
    result, _ = run(photo, MadeUpFinder((100, 50, 256, STRANGER, None)), people_of())
    matrix: Matrix = result.faces[0].matrix
    corner = transform(np.array([[0, 0]], np.float32), invert(matrix))[0]
    np.testing.assert_allclose(corner, (100, 50), atol=0.5)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("cannot allocate\n2 GB"), "cannot be worked on; a library says: cannot allocate 2 GB"),
        (MemoryError(), "does not fit into memory; use a smaller copy"),
    ],
)
def test_what_a_library_says_of_one_photo_does_not_stop_the_rest(photo: Path, error: Exception, said: str) -> None:
    class Fussy(Brightener):
        def restore(self, crops: Pixels, boxes: np.ndarray, dictionaries: Sequence[float | None], *, both: bool = True):
            raise error

    finder = MadeUpFinder((20, 40, 200, STRANGER, None))
    result, output = run(photo, finder, people_of(), restorer=Fussy())
    assert result.status == "failed"
    assert result.error == said
    assert not output.exists()


@pytest.mark.parametrize("tint", [0, 40])
@pytest.mark.parametrize("tone", ["keep", "model"])
def test_a_print_in_one_tone_keeps_it_unless_asked(tmp_path: Path, tint: int, tone: Surface) -> None:
    class Reddener(Brightener):
        def restore(self, crops: Pixels, boxes: np.ndarray, dictionaries: Sequence[object], *, both: bool = True):
            return [Answer(np.clip(crop.astype(np.float32) / 255 + np.float32([0.2, 0, 0]), 0, 1)) for crop in crops]

    path = tmp_path / "in" / "print.png"
    path.parent.mkdir()
    grey = np.random.default_rng(2).integers(100, 106, (300, 300, 1), dtype=np.uint8)
    Image.fromarray(np.repeat(grey, 3, axis=2) + np.array([tint, 0, 0], np.uint8)).save(path)
    finder = MadeUpFinder((40, 40, 200, STRANGER, None))
    _, output = run(path, finder, people_of(), restorer=Reddener(), options=RestoreOptions(tone=tone))
    change = (pixels(output) - pixels(path))[120:160, 120:160]
    if tone == "model":
        assert np.median(change[..., 0]) == pytest.approx(51, abs=1)
        assert not change[..., 1:].any()
    else:
        assert np.median(change) == pytest.approx(51 * 0.299, abs=1)
        assert np.ptp(np.median(change, axis=(0, 1))) <= 1, "brighter, and no redder"


@pytest.mark.parametrize("grain", ["keep", "model"])
def test_a_face_has_the_grain_of_its_print_unless_asked(tmp_path: Path, grain: Surface) -> None:
    class Smoother(Brightener):
        def restore(self, crops: Pixels, boxes: np.ndarray, dictionaries: Sequence[object], *, both: bool = True):
            return [Answer(np.full((512, 512, 3), crop.mean() / 255, dtype=np.float32)) for crop in crops]

    path = tmp_path / "in" / "grainy.png"
    path.parent.mkdir()
    noise = cv2.GaussianBlur(np.random.default_rng(2).normal(0, 7, (600, 600)), (0, 0), 1)
    Image.fromarray(np.rint(np.repeat(120 + noise[..., None], 3, axis=2)).astype(np.uint8)).save(path)
    finder = MadeUpFinder((40, 40, 540, STRANGER, None))
    _, output = run(path, finder, people_of(), restorer=Smoother(), options=RestoreOptions(grain=grain))
    before, after = (pixels(which)[250:350, 250:350].std() for which in (path, output))
    assert (0.5 < after / before < 1.2) if grain == "keep" else after / before < 0.4
