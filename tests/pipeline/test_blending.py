"""Faces blended into photos: only the pixels under them are touched, band by band."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from dmdcli.errors import ShapeError
from dmdcli.faces import align
from dmdcli.faces.align import blend_mask, paste_face, region_of_interest
from dmdcli.formats.picture import Samples
from dmdcli.photos import Photo
from dmdcli.pipeline.blend import blend_faces
from dmdcli.pipeline.judge import Judgement, Likeness, Plan, Subject
from dmdcli.shapes import as_floats
from tests.pipeline.made_up import POINTS, STRANGER, face_at


def photo_of(stored: Samples) -> Photo:
    pixels = np.zeros((*stored.shape[:2], 3), np.uint8) if stored.dtype != np.uint8 or stored.ndim == 2 else stored
    return Photo(Path("made up"), stored, pixels, "PNG", 1, b"", 0)


def test_no_copy_of_the_whole_picture_is_made() -> None:
    """No more memory is taken than a few crops need."""
    pixels = np.full((4000, 4000, 3), 90, np.uint8)
    photo = photo_of(pixels)
    faces = [face_at(pixels, x, 500.5, 400, STRANGER) for x in (100.2, 1200.4, 2600.1)]
    mask = blend_mask(POINTS)
    answers = [as_floats(face.pixels) + np.float32(0.1) for face in faces]
    subjects = [
        Subject(face, Plan(), [("generic", answer)], mask, 1.0, Likeness(None, lambda _: 1.0))
        for face, answer in zip(faces, answers, strict=True)
    ]
    tracemalloc.start()
    try:
        canvas = blend_faces(photo, subjects, [Judgement("generic", 1.0, answer) for answer in answers])
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 20e6
    changed = canvas.stored != pixels
    for face in faces:
        x0, y0, x1, y1 = region_of_interest(face.matrix, (4000, 4000))
        assert changed[y0:y1, x0:x1].mean() > 0.3
        changed[y0:y1, x0:x1] = False
    assert not changed.any()


@pytest.mark.parametrize("size", [250, 512, 900])
def test_bands_meet_without_a_seam(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(size)
    region = generator.random((1000, 1000, 3), dtype=np.float32)
    face = face_at(np.zeros((1000, 1000, 3), np.uint8), 30.3, 20.7, size, STRANGER)
    crop = generator.random((512, 512, 3), dtype=np.float32)
    banded = paste_face(region, (0, 0), crop, face.matrix, blend_mask(POINTS))
    monkeypatch.setattr(align, "BAND", 10_000)
    whole = paste_face(region, (0, 0), crop, face.matrix, blend_mask(POINTS))
    assert np.abs(whole - region).max() > 0.5
    np.testing.assert_allclose(banded, whole, atol=0.5 / 255)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(90, 70), (90, 70, 3), (90, 70, 4)], ids=["grey", "colour", "transparent"])
def test_adding_a_change_is_putting_what_it_makes(shape: tuple[int, ...], dtype: type) -> None:
    generator = np.random.default_rng(5)
    photo = photo_of(generator.integers(0, np.iinfo(dtype).max, shape, dtype=dtype))
    change = generator.normal(0, 0.3, (50, 40, 3)).astype(np.float32)
    change[10:20] = 0
    added, put = photo.canvas(), photo.canvas()
    added.add(7, 5, change)
    put.put(7, 5, put.region(7, 5, 47, 55) + change)
    np.testing.assert_array_equal(added.stored, put.stored)
    assert (added.stored != photo.original).mean() > 0.1
    np.testing.assert_array_equal(added.stored[15:25], photo.original[15:25])
    with pytest.raises(ShapeError):
        added.add(0, 0, np.full((2, 2, 3), np.nan, np.float32))
