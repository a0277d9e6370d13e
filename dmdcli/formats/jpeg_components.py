"""The components of a JPEG (luminance, colour, inks), each at its own resolution: decoded, and coded one at a time.

The usual decoders hand out components enlarged to the size of the picture. Here the enlarging is undone, so that coding
again with the same tables gives the same coefficients. Coding a component as a picture of its own and putting the scans
behind each other (ITU-T T.81, A.2.2: scans of one component) allows any sampling, any tables and any colour model.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

SOI, EOI, DHT, DQT, SOS = b"\xff\xd8", b"\xff\xd9", 0xC4, 0xDB, 0xDA
BASELINE, EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2
NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
STEPS = 12
"""Steps of undoing the enlargement; each at least halves what is left of the error."""

Plane = npt.NDArray[np.uint8]
"""(h, w) uint8, one component."""


@dataclass(frozen=True)
class Component:
    """identifier: its name in the file. across, down: samples per unit. table: which quantisation table it uses."""

    identifier: int
    across: int
    down: int
    table: int


@dataclass(frozen=True)
class Frame:
    """width, height in pixels."""

    width: int
    height: int
    progressive: bool
    components: tuple[Component, ...]

    def ratio(self, component: Component) -> tuple[int, int]:
        """How many pixels across and down share one sample of a component; 1, 1 for what is not a whole number."""
        most_across = max(one.across for one in self.components)
        most_down = max(one.down for one in self.components)
        whole = most_across % component.across == 0 and most_down % component.down == 0
        return (most_across // component.across, most_down // component.down) if whole else (1, 1)


def decode_components(bare: bytes, frame: Frame) -> npt.NDArray[np.uint8]:
    """(H, W, components) uint8 as the file means them; a sample shared by several pixels is repeated in them exactly.

    bare: the file without description, in which four components are marked as not transformed (Adobe's transform 0),
    so that the decoder leaves them alone.
    """
    size = (frame.width, frame.height)
    enlarged = _decode(bare, size)
    halved: npt.NDArray[np.uint8] | None = None
    for index, component in enumerate(frame.components):
        ratio = frame.ratio(component)
        if ratio == (1, 1):
            continue
        if ratio == (2, 2) and min(size) > 1:
            # Decoded at half size these come out at their own resolution.
            halved = _decode(bare, (size[0] // 2, size[1] // 2)) if halved is None else halved
            plane = halved[..., index]
        elif ratio == (2, 1) and frame.width > 4:
            plane = _undo_doubling(enlarged[..., index])
        elif ratio == (1, 2):
            plane = _undo_doubling(enlarged[..., index].T).T
        else:  # decoders repeat the sample
            plane = enlarged[:: ratio[1], :: ratio[0], index]
        enlarged[..., index] = plane.repeat(ratio[1], axis=0).repeat(ratio[0], axis=1)[: frame.height, : frame.width]
    return enlarged


def encode_components(
    planes: npt.NDArray[np.uint8], frame: Frame, tables: Sequence[Sequence[int]], progressive: bool
) -> bytes:
    """A JPEG without description of (H, W, components), sampled as `frame` says, a quantisation table for each."""
    coded = [
        _encode_alone(_shrink(planes[..., index], frame.ratio(component)), tables[index], progressive)
        for index, component in enumerate(frame.components)
    ]
    kind = PROGRESSIVE if progressive else EXTENDED if any(max(table) > 255 for table in tables) else BASELINE
    head = struct.pack(">BHHB", 8, frame.height, frame.width, len(frame.components))
    quantisation, scans = b"", b""
    for index, (component, file) in enumerate(zip(frame.components, coded, strict=True)):
        head += bytes([component.identifier, component.across << 4 | component.down, index])
        for marker, payload, behind in _parts(file):
            if marker == DQT:
                quantisation += _part(DQT, bytes([payload[0] & 0xF0 | index]) + payload[1:])
            elif marker == DHT:
                scans += _part(DHT, payload)
            elif marker == SOS:
                scans += _part(SOS, bytes([payload[0], component.identifier]) + payload[2:]) + behind
    return SOI + quantisation + _part(kind, head) + scans + EOI


def _decode(bare: bytes, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """(H, W, components) uint8 at full size or, if `size` is the half of it, at half size (rounded up)."""
    image = JpegImageFile(io.BytesIO(bare))
    image.draft("YCbCr", size)
    planes = np.array(image)
    # Pillow turns inks around, because Adobe's programs store them so.
    return np.asarray(255 - planes if image.mode == "CMYK" else planes, np.uint8)


def _undo_doubling(enlarged: Plane) -> Plane:
    """The (h, ceil(w / 2)) samples of which (h, w) were made by doubling with weights 3/4 and 1/4 (libjpeg's way).

    The mean of a pair is 6/8 of its sample and 1/8 of each neighbour; that is solved step by step. What rounding took
    away is below half a level but for rare samples.
    """
    width = enlarged.shape[1]
    even = enlarged if width % 2 == 0 else np.concatenate([enlarged, enlarged[:, -1:]], axis=1)
    pairs = (even[:, 0::2].astype(np.float32) + even[:, 1::2]) / 2
    samples = pairs.copy()
    for _ in range(STEPS):
        spread = np.pad(samples, ((0, 0), (1, 1)), mode="edge")
        samples += pairs - (spread[:, :-2] + 6 * samples + spread[:, 2:]) / 8
    whole: Plane = np.rint(samples).clip(0, 255).astype(np.uint8)
    return whole


def _shrink(plane: Plane, ratio: tuple[int, int]) -> Plane:
    """Means of `ratio` (across, down) pixels; an incomplete last column or row repeats its edge."""
    if ratio == (1, 1):
        return plane
    across, down = ratio
    height, width = plane.shape
    padded = np.pad(plane, ((0, -height % down), (0, -width % across)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // down, down, padded.shape[1] // across, across)
    means: Plane = np.rint(blocks.mean(axis=(1, 3), dtype=np.float32)).astype(np.uint8)
    return means


def _encode_alone(plane: Plane, table: Sequence[int], progressive: bool) -> bytes:
    buffer = io.BytesIO()
    height, width = plane.shape
    # Optimising needs the whole file in a buffer for which Pillow reserves two bytes a pixel: not for tiny pictures.
    roomy = width * height > 1024
    image = Image.fromarray(np.ascontiguousarray(plane))
    image.save(buffer, "JPEG", qtables=[list(table)], optimize=roomy, progressive=progressive)
    return buffer.getvalue()


def _part(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def _parts(file: bytes) -> list[tuple[int, bytes, bytes]]:
    """Every marker of a complete file with its payload and the coded samples behind it."""
    found = []
    position = len(SOI)
    while file[position : position + 2] != EOI:
        marker, length = struct.unpack_from(">xBH", file, position)
        end = position + 2 + length
        following = NEXT_MARKER.search(file, end)
        behind = following.start() if following else len(file)
        found.append((marker, file[position + 4 : end], file[end:behind]))
        position = behind
    return found
