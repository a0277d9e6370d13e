"""ICC profiles for tests, made of their numbers: curves and a matrix, a grey curve, and tables for four inks."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

D50 = np.array([0.9642, 1.0, 0.8249])
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
D65 = (0.3127, 0.3290)


def fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    described = {b"wtpt": b"XYZ \0\0\0\0" + fixed(*D50), b"cprt": b"text\0\0\0\0none\0", **tags}
    table, body = b"", b""
    start = 132 + 12 * len(described)
    for name, content in described.items():
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">4xI4s4s4s", 0x02400000, kind, space, connection)
    head += struct.pack(">6H4s", 2000, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + fixed(*D50) + bytes(48)
    whole = head + struct.pack(">I", len(described)) + table + body
    return struct.pack(">I", len(whole) + 4) + whole


def gamma(power: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(power * 256))


SRGB_CURVE = b"para\0\0\0\0\0\3\0\0" + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def matrix_profile(primaries: tuple[tuple[float, float], ...], curve: bytes) -> bytes:
    """primaries: x, y of red, green, blue; the white is D65, adapted to D50."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    white = np.array([D65[0] / D65[1], 1, (1 - sum(D65)) / D65[1]])
    columns = columns * np.linalg.solve(columns, white)
    scale = np.diag((BRADFORD @ D50) / (BRADFORD @ white))
    adapted = np.linalg.inv(BRADFORD) @ scale @ BRADFORD @ columns
    tags = {name: b"XYZ \0\0\0\0" + fixed(*adapted[:, index]) for index, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    return profile(b"mntr", b"RGB ", b"XYZ ", {**tags, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


def grey_profile(power: float) -> bytes:
    return profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": gamma(power)})


SRGB = matrix_profile(((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)), SRGB_CURVE)
ADOBE_RGB = matrix_profile(((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), gamma(563 / 256))
DISPLAY_P3 = matrix_profile(((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)), SRGB_CURVE)


def grid(size: int, channels: int) -> npt.NDArray[np.float64]:
    axes = np.meshgrid(*[np.linspace(0, 1, size)] * channels, indexing="ij")
    return np.stack(axes, axis=-1).reshape(-1, channels)


def lookup_table(size: int, inputs: int, values: npt.NDArray[np.float64]) -> bytes:
    """An 8-bit table (lut8Type) with straight curves. values: (size ** inputs, outputs) in 0..1."""
    outputs = values.shape[1]
    head = b"mft1\0\0\0\0" + bytes([inputs, outputs, size, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    straight = bytes(range(256))
    return head + straight * inputs + np.rint(values * 255).astype(np.uint8).tobytes() + straight * outputs


def lab_of(light: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Linear sRGB to CIE Lab as stored in 8-bit tables, 0..1."""
    from dmdcli.colour import SRGB_TO_XYZ

    t = (light @ SRGB_TO_XYZ.T) / D50
    f = np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
    lightness, a, b = 116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])
    return np.stack([lightness / 100, (a + 128) / 255, (b + 128) / 255], axis=1).clip(0, 1)


def light_of(lab: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    from dmdcli.colour import SRGB_TO_XYZ

    fy = (lab[:, 0] * 100 + 16) / 116
    f = np.stack([fy + (lab[:, 1] * 255 - 128) / 500, fy, fy - (lab[:, 2] * 255 - 128) / 200], axis=1)
    t = np.where(f > 6 / 29, f**3, (116 * f - 16) * 27 / 24389)
    return ((t * D50) @ np.linalg.inv(SRGB_TO_XYZ).T).clip(0, 1)


def ink_profile() -> bytes:
    """A printer of four inks that leave light as plain inks do; half of what is grey is printed with black."""
    inks = grid(9, 4)
    shown = lab_of(((1 - inks[:, :3]) * (1 - inks[:, 3:])) ** 2.2)
    wanted = light_of(grid(17, 3)) ** (1 / 2.2)
    black = 0.5 * (1 - wanted.max(axis=1, keepdims=True))
    back = np.concatenate([1 - wanted / (1 - black), black], axis=1).clip(0, 1)
    tags = {b"A2B0": lookup_table(9, 4, shown), b"B2A0": lookup_table(17, 3, back)}
    return profile(b"prtr", b"CMYK", b"Lab ", tags)
