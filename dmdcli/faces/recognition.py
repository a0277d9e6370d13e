"""dlib's recognition network, computed by NumPy: the same numbers from the same file in a sixth of the time.

dlib's packages are built without a library for matrix products, and its convolutions hold Python's lock. The network is
the residual one of D. King (dlib_face_recognition_resnet_model_v1, 2017): 29 convolutions after K. He et al., "Deep
residual learning for image recognition" (CVPR 2016), with half the filters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dmdcli.shapes import Pixels, check_shape

CHIP = 150
"""Side in pixels of the picture the network reads."""
NUMBERS = 128
"""Numbers in an embedding."""
MEAN = np.array([122.782, 117.001, 104.298], dtype=np.float32)
"""Of the pixels it was trained with, RGB; subtracted from 0..255 before a division by 256."""
STEM = 32
"""Filters of the first convolution, 7 x 7 with a step of 2."""
BLOCKS = (
    *((32, False),) * 3,
    (64, True), *((64, False),) * 3,
    (128, True), *((128, False),) * 2,
    (256, True), *((256, False),) * 2,
    (256, True),
)  # fmt: skip
"""(filters, whether the side is halved) of each residual block of two convolutions, 3 x 3."""

Maps = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Convolution:
    """kernel: (side * side * C, filters) float32, rows in the order y, x, channel. bias: (filters,). step: 1 or 2; with
    1 the input is surrounded by zeros so that its size stays, with 2 it is not.
    """

    kernel: Maps = field(repr=False)
    bias: Maps = field(repr=False)
    side: int
    step: int

    def __call__(self, maps: Maps) -> Maps:
        """(N, H, W, C) float32 -> (N, H', W', filters), as one matrix product."""
        if self.step == 1:
            around = self.side // 2
            maps = np.pad(maps, ((0, 0), (around, around), (around, around), (0, 0)))
        count, height, width, channels = maps.shape
        down, across = ((size - self.side) // self.step + 1 for size in (height, width))
        patches = np.empty((count, down, across, self.side**2, channels), dtype=np.float32)
        for place in range(self.side**2):
            patches[:, :, :, place] = _from(maps, *divmod(place, self.side), (down, across), self.step)
        answer: Maps = patches.reshape(count * down * across, len(self.kernel)) @ self.kernel
        answer += self.bias
        return answer.reshape(count, down, across, len(self.bias))


class RecognitionNetwork:
    """The network of a file whose hash was verified. Raises ValueError for a file of another network."""

    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        tensors = _tensors(content)
        channels = 3
        convolutions = []
        steps = [(STEM, 7, 2), *((size, 3, step) for size, halved in BLOCKS for step in (1 + halved, 1))]
        for filters, side, step in steps:
            parameters, scales = next(tensors), next(tensors)
            kernel = parameters[:-filters].reshape(filters, channels, side, side)
            # A scale and a shift for each filter follow every convolution: they are folded into it.
            scale, shift = scales.reshape(2, filters)
            rows = np.ascontiguousarray((kernel * scale[:, None, None, None]).transpose(2, 3, 1, 0))
            bias = parameters[-filters:] * scale + shift
            convolutions.append(Convolution(rows.reshape(-1, filters), bias, side, step))
            channels = filters
        self._first, *self._others = convolutions
        self._last = next(tensors).reshape(channels, NUMBERS)

    def embed(self, chips: Pixels) -> Maps:
        """(N, 128) float32, not of unit length, of faces (N, 150, 150, 3) uint8 RGB cut as dlib cuts them."""
        check_shape("chips", chips, (None, CHIP, CHIP, 3), np.uint8)
        maps = _highest(_rectified(self._first((chips - MEAN) / np.float32(256))))
        convolutions = iter(self._others)
        for _, halved in BLOCKS:
            inner = _rectified(next(convolutions)(maps))
            maps = _rectified(_sum(next(convolutions)(inner), _halved(maps) if halved else maps))
        answer: Maps = maps.mean(axis=(1, 2)) @ self._last
        return answer


def _rectified(maps: Maps) -> Maps:
    """The maps themselves, what is below zero set to it."""
    np.maximum(maps, 0, out=maps)
    return maps


def _from(maps: Maps, top: int, left: int, size: tuple[int, int], step: int) -> Maps:
    """View of every pixel, or every other one, from one on: (N, *size, C)."""
    down, across = size
    return maps[:, top : top + step * (down - 1) + 1 : step, left : left + step * (across - 1) + 1 : step]


def _highest(maps: Maps) -> Maps:
    """The highest of 3 x 3, with a step of 2."""
    size = ((maps.shape[1] - 3) // 2 + 1, (maps.shape[2] - 3) // 2 + 1)
    highest: Maps = _from(maps, 0, 0, size, 2).copy()
    for place in range(1, 9):
        np.maximum(highest, _from(maps, *divmod(place, 3), size, 2), out=highest)
    return highest


def _halved(maps: Maps) -> Maps:
    """The mean of 2 x 2, with a step of 2."""
    size = (maps.shape[1] // 2, maps.shape[2] // 2)
    parts = [_from(maps, *divmod(place, 2), size, 2) for place in range(4)]
    mean: Maps = (parts[0] + parts[1] + parts[2] + parts[3]) / np.float32(4)
    return mean


def _sum(one: Maps, other: Maps) -> Maps:
    """The sum of maps of which either may be larger, or have more channels: what the other lacks counts as zero."""
    if one.shape == other.shape:
        return one + other
    total = np.zeros(np.maximum(one.shape, other.shape), dtype=np.float32)
    for maps in (one, other):
        total[tuple(slice(size) for size in maps.shape)] += maps
    return total


def _tensors(content: bytes) -> Iterator[Maps]:
    """The parameters in a file that dlib serialized, one layer's after the other: (numbers,) float32.

    Each layer begins with its name behind its length; of the layers with parameters a tensor follows: its version, four
    dimensions, and the numbers themselves, little endian. The last one's inputs and outputs stand before it.
    """
    position = 0
    order = [name for _ in range(1 + 2 * len(BLOCKS)) for name in (b"\x05con_4", b"\x07affine_")]
    for name in [*order, b"\x04fc_2"]:
        position = content.index(name, position) + len(name)
        if name == b"\x04fc_2":
            for _ in range(2):
                _, position = _integer(content, position)
        header = []
        for _ in range(5):
            number, position = _integer(content, position)
            header.append(number)
        version, *dimensions = header
        if version != 2:
            raise ValueError(f"a tensor of version {version}; only 2 is known")
        count = int(np.prod(dimensions))
        yield np.frombuffer(content, "<f4", count, position)
        position += 4 * count


def _integer(content: bytes, position: int) -> tuple[int, int]:
    """A number that is not negative, and where the next one begins: how many bytes it has stands before them."""
    length = content[position]
    end = position + 1 + length
    if length > 8:
        raise ValueError(f"a number of {length} bytes at {position}")
    return int.from_bytes(content[position + 1 : end], "little"), end
