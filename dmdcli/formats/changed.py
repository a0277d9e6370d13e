"""The samples of a picture of which some are changed, kept so that only what lies around the changes is copied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from dmdcli.formats.picture import Samples

TILE = 256
"""Side in samples of the squares that are copied when something in them changes."""

Box: TypeAlias = tuple[int, int, int, int]
"""x0, y0, x1, y1 in stored samples, end excluded, inside the picture."""
Place: TypeAlias = tuple[slice, slice]
"""Rows and columns."""


class Changed:
    """A picture in stored orientation, changed in places; tiles of it are copied when they are first written to.

    original: (H, W[, C]) uint8 or uint16, the picture before; never written to.
    """

    def __init__(self, original: Samples) -> None:
        self.original = original
        self._tiles: dict[tuple[int, int], Samples] = {}

    @property
    def samples(self) -> Samples:
        """The whole picture as it is now, as `original`; put together each time, and not to be written to."""
        if not self._tiles:
            return self.original
        whole: Samples = self.original.copy()
        for key, tile in self._tiles.items():
            whole[_place(key)] = tile
        return whole

    @property
    def differs(self) -> bool:
        """Whether any sample is another than before."""
        return next(self.different(), None) is not None

    def different(self) -> Iterator[tuple[Place, Samples]]:
        """The tiles in which any sample is another than before, and their places, from top to bottom."""
        for key, tile in sorted(self._tiles.items(), key=lambda one: one[0]):
            if not np.array_equal(tile, self.original[_place(key)]):
                yield _place(key), tile

    def part(self, box: Box) -> Samples:
        """A copy of a part as it is now, (h, w[, C]), dtype as `original`."""
        x0, y0, x1, y1 = box
        found: Samples = self.original[y0:y1, x0:x1].copy()
        for key in _under(box):
            if key in self._tiles:
                mine, there = _meeting(key, box)
                found[there] = self._tiles[key][mine]
        return found

    def write(self, box: Box, samples: Samples) -> None:
        """Put samples (h, w[, C]), dtype as `original`, in the place of those in a box."""
        for key in _under(box):
            if key not in self._tiles:
                self._tiles[key] = self.original[_place(key)].copy()
            mine, there = _meeting(key, box)
            self._tiles[key][mine] = samples[there]


def _place(key: tuple[int, int]) -> Place:
    top, left = key[0] * TILE, key[1] * TILE
    return slice(top, top + TILE), slice(left, left + TILE)


def _under(box: Box) -> Iterator[tuple[int, int]]:
    """The tiles that a box reaches into, each by its row and column."""
    x0, y0, x1, y1 = box
    if x0 < x1 and y0 < y1:
        for row in range(y0 // TILE, (y1 - 1) // TILE + 1):
            for column in range(x0 // TILE, (x1 - 1) // TILE + 1):
                yield row, column


def _meeting(key: tuple[int, int], box: Box) -> tuple[Place, Place]:
    """Where a tile and a box meet: the place in the tile, and in the box."""
    top, left = key[0] * TILE, key[1] * TILE
    x0, y0, x1, y1 = max(box[0], left), max(box[1], top), min(box[2], left + TILE), min(box[3], top + TILE)
    mine = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    return mine, (slice(y0 - box[1], y1 - box[1]), slice(x0 - box[0], x1 - box[0]))
