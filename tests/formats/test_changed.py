"""Samples that are changed in places."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dmdcli.canvas import as_stored, stored_box, upright
from dmdcli.formats.changed import TILE, Changed
from tests.formats.pictures import picture


@pytest.mark.parametrize(("mode", "depth"), [("L", 16), ("RGB", 8), ("RGBA", 16)])
@pytest.mark.parametrize("seed", range(4))
def test_parts_written_anywhere_are_what_is_read_and_put_together(mode: str, depth: int, seed: int) -> None:
    original = picture(mode, depth, (2 * TILE + 37, TILE + 90))
    kept, expected, changed = original.copy(), original.copy(), Changed(original)
    generator = np.random.default_rng(seed)
    for _ in range(12):
        x0, x1 = np.sort(generator.integers(0, original.shape[1] + 1, 2)).tolist()
        y0, y1 = np.sort(generator.integers(0, original.shape[0] + 1, 2)).tolist()
        samples = generator.integers(0, 255, original[y0:y1, x0:x1].shape).astype(original.dtype)
        changed.write((x0, y0, x1, y1), samples)
        expected[y0:y1, x0:x1] = samples
        other = tuple(np.sort(generator.integers(0, TILE, (2, 2)), axis=0).ravel().tolist())
        np.testing.assert_array_equal(changed.part(other), expected[other[1] : other[3], other[0] : other[2]])
    np.testing.assert_array_equal(changed.samples, expected)
    np.testing.assert_array_equal(changed.original, kept)
    rebuilt = kept
    for place, tile in changed.different():
        rebuilt[place] = tile
    np.testing.assert_array_equal(rebuilt, expected)


def test_what_is_written_as_it_was_does_not_differ() -> None:
    original = picture(size=(3 * TILE, 2 * TILE))
    changed = Changed(original)
    assert changed.samples is original
    changed.write((10, 10, 600, 300), original[10:300, 10:600])
    assert not changed.differs
    changed.write((TILE, TILE, TILE + 1, TILE + 1), original[TILE : TILE + 1, TILE : TILE + 1] ^ 1)
    places = [place for place, _ in changed.different()]
    assert places == [(slice(TILE, 2 * TILE), slice(TILE, 2 * TILE))]
    changed.write((TILE, TILE, TILE + 1, TILE + 1), original[TILE : TILE + 1, TILE : TILE + 1])
    assert not changed.differs


def test_only_what_lies_around_a_change_is_copied() -> None:
    original = np.zeros((4000, 4000, 3), np.uint8)
    tracemalloc.start()
    try:
        changed = Changed(original)
        changed.write((1000, 1000, 1400, 1400), np.ones((400, 400, 3), np.uint8))
        assert changed.differs
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_and_pictures_are_turned_alike(orientation: int) -> None:
    stored: npt.NDArray[Any] = picture()
    seen = upright(stored, orientation)
    np.testing.assert_array_equal(as_stored(seen, orientation), stored)
    x0, y0, x1, y1 = stored_box(stored, orientation, (5, 8, 31, 40))
    np.testing.assert_array_equal(upright(stored[y0:y1, x0:x1], orientation), seen[8:40, 5:31])
