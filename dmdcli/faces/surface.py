"""What a print is made of: tone and grain, which a restored face is to have again, its detail, an engraver's lines."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from dmdcli.shapes import CROP, ComponentBoxes, FloatPixels, check_shape

LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""ITU-R BT.601 luma weights of R, G, B."""

ONE_TONE = 0.009
"""Root mean square distance (of 1) of a crop's colours from one curve over luminance, up to which it is a print in one
tone: grey, sepia, blue, hand-tinted as a whole. Toned prints have 0 to 0.007, the palest colour portraits 0.011."""
CURVE_DEGREE = 2
FLAT_TONE = 0.03
"""Standard deviation of a crop's luminance below which it shows too few tones for a curve."""
LOOKED_AT = 64
"""Side in pixels of the reduced crop whose colours are looked at: grain and JPEG's colour noise average out."""

GRAIN_BANDS = (0.7, 1.4, 2.8)
"""Standard deviations in crop pixels of the Gaussians that part one band of grain from the next coarser one; in photo
pixels where the crop is an enlargement."""
MOST_ENLARGED = 4.0
"""Enlargement from which the bands grow no further: they would reach the size of the cells and of the features."""
MOST_GRAIN = 2.0 / 255
"""Most grain of one band that is put back: film has 0.3 to 2 levels, more is noise, halftone or an engraver's line."""
CELL = 16
"""Side in crop pixels of the cells in which grain is measured."""
GRAIN_REACH = 1.5
"""Standard deviation in cells over which the strength of grain is smoothed: eyes have the grain of the skin around."""
FLAT = 1 / 3
"""Share of the face's cells, those with the least detail after restoring, where only grain can differ."""
FEWEST_CELLS = 8

LINES = 2.4 / 255
"""Root mean square of the middle band from which even the calm parts of a face are lines or dots. Measured, of 255:
engravings and coarse screens 2.5 to 10, old photographs 0.2 to 2.3, modern ones 0.5 to 2.3, moderately degraded up to
1.9."""
CALM = 0.15
"""Share of the face's cells that count as its calm parts."""
NOISE = 0.3
"""Share of the face's cells calmer than the one whose fine detail is taken for noise and grain."""
BLACK, WHITE = 0.08, 0.97
"""Mean luminance of cells without a say, because nothing can be seen in them."""


def keep_tone(restored: FloatPixels, given: FloatPixels) -> FloatPixels:
    """Return the restored crop in the tone of the given one where that is a print in one tone, else as it is.

    Both (512, 512, 3) float32 RGB in [0, 1]. The luminance is the restored one; the colours change along the curve
    over luminance that the print's own colours follow, and what departs from the curve stays where it was.
    """
    curve = tone_curve(given)
    if curve is None:
        return restored
    old, new = given @ LUMINANCE, restored @ LUMINANCE
    steps = np.stack([new**power - old**power for power in range(1, CURVE_DEGREE + 1)], axis=-1)
    kept: FloatPixels = steps @ curve[1:]
    kept += given
    return np.clip(kept, 0, 1, out=kept)


def tone_curve(crop: FloatPixels) -> npt.NDArray[np.float32] | None:
    """The colours of a print in one tone as a polynomial of its luminance, or None for a picture in colours.

    crop: (H, W, 3) float32 RGB in [0, 1]. Returns (CURVE_DEGREE + 1, 3) float32, rows by power: colour is the sum of
    row k times luminance to the power of k. Its own luminance is luminance again, up to what is not on the curve.
    """
    seen = cv2.resize(crop, (LOOKED_AT, LOOKED_AT), interpolation=cv2.INTER_AREA).reshape(-1, 3).astype(np.float64)
    powers = np.stack([(seen @ LUMINANCE) ** power for power in range(CURVE_DEGREE + 1)], axis=1)
    curve = np.linalg.lstsq(powers, seen, rcond=None)[0]
    if float(np.std(powers[:, 1])) < FLAT_TONE:  # a curve through one point has any slope
        curve = np.zeros_like(curve)
        curve[0], curve[1] = (seen - powers[:, 1:2]).mean(axis=0), 1
    distance = float(np.sqrt(np.square(seen - powers @ curve).mean()))
    return curve.astype(np.float32) if distance <= ONE_TONE else None


def keep_grain(
    restored: FloatPixels, given: FloatPixels, mask: npt.NDArray[np.float32], enlargement: float = 1.0
) -> FloatPixels:
    """Return the restored crop with as much grain as the given one has on skin.

    restored, given: (512, 512, 3) float32 RGB in [0, 1]. mask: (512, 512) float32 in [0, 1], where the face is.
    enlargement: crop pixels to a photo pixel; above 1 the photo's grain is that much coarser in the crop. In the cells
    of the face that are flattest after restoring, the energy of each band is compared; what is missing is added as
    Gaussian noise of these bands, alike in the three channels. The noise depends on the given crop alone. Grain finer
    than a crop pixel is none of its business: the photo keeps it, since only a change is pasted. Nothing is added to
    the coarsest band of an enlargement: blotches of that size are no grain, and those at the outline would be seen.
    """
    check_shape("mask", mask, (CROP, CROP), np.float32)
    size = min(max(enlargement, 1.0), MOST_ENLARGED)
    before, after = ([cell_energy(band) for band in bands(crop @ LUMINANCE, size)] for crop in (given, restored))
    flat = flat_cells(after, mask)
    if flat is None:
        return restored
    missing = [
        min(MOST_GRAIN**2, max(0.0, float(np.median(old[flat]) - np.median(new[flat]))))
        for old, new in zip(before, after, strict=True)
    ]
    if size > 1:
        missing[-1] = 0.0
    if not any(missing):
        return restored
    from scipy.optimize import nnls  # takes longer to import than everything else here

    shares = np.sqrt(nnls(noise_energies(size), missing)[0]).astype(np.float32)
    generator = np.random.default_rng(zlib.crc32(np.rint(given * 255).astype(np.uint8).tobytes()))
    grain = np.zeros((CROP, CROP), dtype=np.float32)
    for band, share in enumerate(shares):
        if share > 0:
            grain += one_band(generator.standard_normal((CROP, CROP), dtype=np.float32) * share, band, size)
    grain *= grain_map(before, after, flat)
    grained: FloatPixels = cv2.add(restored, cv2.merge([grain, grain, grain]))
    return np.clip(grained, 0, 1, out=grained)


def is_engraved(crop: FloatPixels, mask: npt.NDArray[np.float32]) -> bool:
    """Say whether a face is made of lines or dots: an engraving, a woodcut, a coarse printing screen.

    crop: (512, 512, 3) float32 RGB in [0, 1]. mask: (512, 512) float32 in [0, 1], where the face is. The network was
    trained on photographs and turns such lines into blotches. Paintings and pencil drawings are not recognised.
    """
    luminance = crop @ LUMINANCE
    tone = cell_mean(luminance)
    seen = face_cells(mask) & (tone > BLACK) & (tone < WHITE)
    if int(seen.sum()) < FEWEST_CELLS:
        return False
    return bool(np.quantile(cell_energy(bands(luminance)[1])[seen], CALM) > LINES**2)


def fine_detail(crop: FloatPixels, mask: npt.NDArray[np.float32], boxes: ComponentBoxes) -> tuple[float, float]:
    """How strong the fine and the coarse detail of eyes and mouth is: root mean square of their bands, of 1.

    crop: (512, 512, 3) float32 RGB in [0, 1]. mask: (512, 512) float32 in [0, 1], where the face is. boxes: (3, 4) of
    its components. The fine one is the middle band without what the calmer cells of the face have of it too, which is
    noise and grain; the coarse one is the band above it. Their ratio does not depend on the picture's contrast.
    """
    _, middle, coarse = bands(crop @ LUMINANCE)
    middle, coarse = np.square(middle), np.square(coarse)
    inside = np.zeros((CROP, CROP), dtype=np.bool_)
    for x0, y0, x1, y1 in boxes:
        inside[y0:y1, x0:x1] = True
    cells = cell_mean(middle)[face_cells(mask)]
    noise = float(np.quantile(cells, NOISE)) if cells.size else 0.0
    fine = max(0.0, float(middle[inside].mean()) - noise)
    return fine**0.5, float(coarse[inside].mean()) ** 0.5


def grain_map(
    before: Sequence[npt.NDArray[np.float32]],
    after: Sequence[npt.NDArray[np.float32]],
    flat: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
) -> npt.NDArray[np.float32]:
    """How strong the grain of each pixel is (512, 512) float32, 1 as in the `flat` cells.

    before, after: the energies of the cells of the given and of the restored crop, band by band. Black, white and
    backgrounds out of focus have less grain than skin, and where nothing was taken away nothing is missing.
    """
    lost = np.sum(before, axis=0) - np.sum(after, axis=0)
    usual = float(np.median(lost[flat]))
    if usual <= 0:
        return np.zeros((CROP, CROP), dtype=np.float32)
    around = cv2.GaussianBlur(np.clip(lost, 0, 2 * usual).astype(np.float32), (0, 0), GRAIN_REACH)
    strength = cv2.resize(np.sqrt(around / usual), (CROP, CROP), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip(strength, 0, 1.2), dtype=np.float32)


def bands(luminance: npt.NDArray[np.float32], size: float = 1.0) -> list[npt.NDArray[np.float32]]:
    """A picture (H, W) taken apart into bands, finest first: differences of Gaussians (Burt and Adelson 1983).

    size: of the Gaussians, as a multiple of GRAIN_BANDS.
    """
    blurred = [luminance, *(cv2.GaussianBlur(luminance, (0, 0), size * sigma) for sigma in GRAIN_BANDS)]
    return [finer - coarser for finer, coarser in pairwise(blurred)]


def one_band(luminance: npt.NDArray[np.float32], band: int, size: float = 1.0) -> npt.NDArray[np.float32]:
    """The band with this number of what `bands` gives."""
    coarser = cv2.GaussianBlur(luminance, (0, 0), size * GRAIN_BANDS[band])
    finer = luminance if band == 0 else cv2.GaussianBlur(luminance, (0, 0), size * GRAIN_BANDS[band - 1])
    return np.asarray(finer - coarser, dtype=np.float32)


def noise_energies(size: float = 1.0) -> npt.NDArray[np.float64]:
    """Mean square in each band (rows) of white noise of variance 1 of which only one band (columns) was left; (3, 3).

    The bands overlap. What filters leave of white noise is the sum of their squared weights; a Gaussian in the plane is
    one along each axis, so that the product of two such filters' weights is the square of what it is along one axis.
    """
    widths = [2 * round(4 * size * sigma) + 1 for sigma in GRAIN_BANDS]
    gaussians = [np.ones(1)]
    gaussians += [cv2.getGaussianKernel(n, size * sigma)[:, 0] for n, sigma in zip(widths, GRAIN_BANDS, strict=True)]
    reach = len(gaussians[-1]) - 1
    twice = np.zeros((len(gaussians), len(gaussians), 2 * reach + 1))  # one Gaussian after another, along one axis
    for place in np.ndindex(twice.shape[:2]):
        both = np.convolve(gaussians[place[0]], gaussians[place[1]])
        twice[place][reach - len(both) // 2 : reach + len(both) // 2 + 1] = both
    products = np.einsum("abl,cdl->abcd", twice, twice) ** 2
    parts = np.eye(len(GRAIN_BANDS), len(gaussians)) - np.eye(len(GRAIN_BANDS), len(gaussians), 1)
    found: npt.NDArray[np.float64] = np.einsum("ja,kb,jc,kd,abcd->jk", parts, parts, parts, parts, products)
    return found


def cell_energy(band: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Mean square of each cell of a band (512, 512): (32, 32) float32."""
    return cell_mean(np.square(band))


def cell_mean(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Mean of each cell of (512, 512) float32: (32, 32) float32."""
    cells = cv2.resize(values, (CROP // CELL, CROP // CELL), interpolation=cv2.INTER_AREA)
    return np.asarray(cells, dtype=np.float32)


def face_cells(mask: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """The cells that lie in the face as a whole: (32, 32) bool."""
    cells = mask.reshape(CROP // CELL, CELL, CROP // CELL, CELL)
    return np.asarray(cells.min(axis=(1, 3)) > 0.9)


def flat_cells(
    energies: list[npt.NDArray[np.float32]], mask: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
    """Rows and columns of the face's cells with the least detail; None where the face has too few cells."""
    rows, columns = np.nonzero(face_cells(mask))
    order = np.argsort(np.sum(energies, axis=0)[rows, columns], kind="stable")
    chosen = order[: max(FEWEST_CELLS, round(FLAT * len(order)))]
    return (rows[chosen], columns[chosen]) if len(chosen) >= FEWEST_CELLS else None
