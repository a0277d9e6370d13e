"""Cutting an aligned 512 x 512 face out of a photo, and putting it back: one similarity transform, both directions.

The crop follows the FFHQ-512 convention: the similarity transform that brings five points (two eyes, nose tip, two
mouth corners) nearest to TEMPLATE. Left and right are the picture's. Coordinates have the centre of the first pixel at
(0, 0), in the photo and in the crop alike, so that warping with the identity changes nothing. Only the part of the
photo under the crop is read or filtered, whatever the size of the photo.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from dmdcli.errors import ShapeError
from dmdcli.shapes import CROP, FloatPixels, Matrix, Pixels, Points, check_shape

TEMPLATE: npt.NDArray[np.float64] = np.array(
    [[192.98, 239.95], [318.90, 240.19], [256.63, 314.02], [201.26, 371.41], [313.09, 371.15]], dtype=np.float64
)
"""Left eye, right eye, nose tip, left and right mouth corner in crop pixels (FFHQ-512 convention)."""

MASK_MARGIN = 14.0
"""Crop pixels around the outline of the face that are still restored fully: the outline runs along the skin's edge."""
MASK_FEATHER = 44.0
"""Crop pixels over which the mask falls from 1 to 0: wide enough that no seam shows where the skin is smooth."""
MASK_EDGE = (6.0, 30.0)
"""Crop pixels from the crop's edge within which the mask is 0, and from which on the edge has no say."""
FOREHEAD = 0.75
"""Height of the forehead above the brows, as a part of the distance from the eyes to the mouth: up to the hair."""
OUTLINE_FEATHER = 8.0
"""Standard deviation in crop pixels of the blur at the edge of hair and hands: narrower than at the face's own edge, so
that no restored skin shines through."""
BAND = 128
"""Rows of a photo in which a face is pasted at a time: what is computed stays in the processor's cache."""
OUTLINED = 0.4
"""Part of the mask that an outline must leave: below it the parsing network has not understood the picture."""

Array = TypeVar("Array", bound="npt.NDArray[Any]")


def five_points(points: Points) -> Points:
    """The five points of TEMPLATE, (5, 2) float32, from 68 iBUG points (68, 2) float32, in the same frame."""
    check_shape("points", points, (68, 2), np.float32)
    left_eye, right_eye = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    return np.stack([left_eye, right_eye, points[30], points[48], points[54]]).astype(np.float32)


def crop_matrix(points5: Points, template: npt.NDArray[np.float64] = TEMPLATE) -> Matrix:
    """The similarity transform photo -> crop, (2, 3) float32, that brings five points nearest to `template`.

    points5: (5, 2) float32 in photo pixels, in the order of TEMPLATE. template: (5, 2) float64, likewise, in crop
    pixels. Least squares without reflection (Umeyama 1991, equations 34 to 42, in the closed form it has in the plane),
    computed in float64. Raises ShapeError where the points coincide.
    """
    check_shape("points5", points5, (5, 2), np.float32)
    source = points5.astype(np.float64)
    source_mean, target_mean = source.mean(axis=0), template.mean(axis=0)
    source, target = source - source_mean, template - target_mean
    spread = float((source**2).sum())
    if not math.isfinite(spread) or spread < 1e-6:
        raise ShapeError("points5: the five points coincide or are not finite")
    # In the plane the best rotation times scale is [[a, -b], [b, a]], linear in a and b.
    a = float((source * target).sum()) / spread
    b = float((source[:, 0] * target[:, 1] - source[:, 1] * target[:, 0]).sum()) / spread
    linear = np.array([[a, -b], [b, a]])
    shift = target_mean - linear @ source_mean
    return np.hstack([linear, shift[:, None]]).astype(np.float32)


def scale_of(matrix: Matrix) -> float:
    """How many crop pixels one photo pixel becomes: above 1 the crop is an enlargement."""
    linear = matrix[:, :2].astype(np.float64)
    return math.sqrt(abs(float(linear[0, 0] * linear[1, 1] - linear[0, 1] * linear[1, 0])))


def invert(matrix: Matrix) -> Matrix:
    """The transform (2, 3) float32 in the other direction."""
    square = np.vstack([matrix.astype(np.float64), [0.0, 0.0, 1.0]])
    inverse: Matrix = np.linalg.inv(square)[:2].astype(np.float32)
    return inverse


def compose(first: Matrix, second: Matrix) -> Matrix:
    """The transform (2, 3) float32 that applies `first` and then `second`."""
    squares = [np.vstack([matrix.astype(np.float64), [0.0, 0.0, 1.0]]) for matrix in (first, second)]
    both: Matrix = (squares[1] @ squares[0])[:2].astype(np.float32)
    return both


def transform(points: Points, matrix: Matrix) -> Points:
    """`points` (N, 2) float32 taken through `matrix`."""
    linear = matrix.astype(np.float64)
    moved: Points = (points.astype(np.float64) @ linear[:, :2].T + linear[:, 2]).astype(np.float32)
    return moved


def crop_face(pixels: Array, matrix: Matrix, size: int = CROP) -> Array:
    """The aligned face, (size, size, 3), dtype and range as `pixels` (H, W, 3) uint8, uint16 or float32.

    Antialiased where the photo is larger than the crop, bicubic where it is smaller; beyond the photo's edge the photo
    is mirrored.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ShapeError(f"pixels: wanted (H, W, 3), got {pixels.shape}")
    check_shape("matrix", matrix, (2, 3), np.float32)
    return _warp(pixels, matrix, size, size, cv2.INTER_CUBIC)


def region_of_interest(matrix: Matrix, photo_size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The smallest box x0, y0, x1, y1 (end excluded) of whole photo pixels that holds the crop, inside the photo.

    photo_size: width, height. Empty (x0 == x1 or y0 == y1) where the crop lies outside the photo.
    """
    return _source_box(matrix, CROP, CROP, photo_size, margin=0)


def paste_face(
    region: FloatPixels,
    origin: tuple[int, int],
    crop: FloatPixels,
    matrix: Matrix,
    mask: npt.NDArray[np.float32],
    strength: float = 1.0,
    reference_crop: FloatPixels | None = None,
) -> FloatPixels:
    """A part of the photo with the restored face blended in, (h, w, 3) float32 RGB in [0, 1].

    region: (h, w, 3) float32, the photo at `region_of_interest`. origin: x0, y0 of its first pixel in the photo.
    crop: (512, 512, 3) float32, the restored face. matrix: (2, 3) photo -> crop. mask: (512, 512) float32 in [0, 1].
    strength: 0 leaves the region as it was.
    reference_crop: the face as the network was given it. With it only the *change* (crop - reference_crop) is added, so
    that what is finer than a crop pixel (the detail and grain of a face larger than 512 pixels) stays in the photo, and
    the loss of warping back and forth does not enter. Without it the restored face replaces the photo under the mask.
    Where the warped mask is 0 the result equals `region` exactly.
    """
    check_shape("region", region, (None, None, 3), np.float32)
    check_shape("crop", crop, (CROP, CROP, 3), np.float32)
    check_shape("matrix", matrix, (2, 3), np.float32)
    check_shape("mask", mask, (CROP, CROP), np.float32)
    height, width = region.shape[:2]
    if height == 0 or width == 0 or strength == 0:
        unchanged: FloatPixels = region.copy()
        return unchanged
    if reference_crop is None:
        weight = np.clip(photo_mask(mask, matrix, origin, (width, height)) * np.float32(strength), 0, 1)[..., None]
        there = _warp(crop, _to_region(matrix, origin), width, height, cv2.INTER_CUBIC)
        replaced: FloatPixels = np.where(weight > 0, np.clip(region + weight * (there - region), 0, 1), region)
        return replaced
    check_shape("reference_crop", reference_crop, (CROP, CROP, 3), np.float32)
    pasted: FloatPixels = region.copy()
    for rows, columns, change in carry_change(crop, reference_crop, mask, matrix, origin, (width, height), strength):
        np.clip(region[rows, columns] + change, 0, 1, out=pasted[rows, columns])
    return pasted


def carry_change(
    restored: FloatPixels,
    given: FloatPixels | Pixels,
    mask: npt.NDArray[np.float32],
    matrix: Matrix,
    origin: tuple[int, int],
    size: tuple[int, int],
    strength: float = 1.0,
) -> Iterator[tuple[slice, slice, FloatPixels]]:
    """The change of a face from `given` to `restored`, weighed by its mask, as it lies in a part of the photo.

    restored, given: (512, 512, 3) float32 in [0, 1]; given may be uint8. mask: (512, 512) float32 in [0, 1]. matrix:
    (2, 3) photo -> crop. origin: x0, y0 of the part's first pixel in the photo. size: its width and height. strength:
    the mask is multiplied by it. Yields, from top to bottom, rows and columns of the part, and the change there,
    (h, w, 3) float32, the taker's own. Left out is nothing but places where the mask is 0.
    """
    left, top, width, height = cv2.boundingRect((mask > 0).view(np.uint8))
    if not width:
        return
    inside = (slice(top, top + height), slice(left, left + width))
    weight = mask[inside] * np.float32(strength)
    scale = -1 / 255 if given.dtype == np.uint8 else -1.0
    change = cv2.addWeighted(restored[inside], 1, given[inside], scale, 0, dtype=cv2.CV_32F)
    weighed = cv2.multiply(change, cv2.merge([weight, weight, weight]), dst=change)
    from_crop = compose(np.array([[1, 0, left], [0, 1, top]], dtype=np.float32), _to_region(matrix, origin))
    # Cubic interpolation reaches two crop pixels beyond the mask.
    x0, y0, x1, y1 = _source_box(invert(from_crop), width, height, size, margin=math.ceil(2 / scale_of(matrix)))
    if x0 == x1 or y0 == y1:  # what is masked lies beyond the photo's edge
        return
    part, to_part, border = _prepare(weighed, from_crop, *size, cv2.BORDER_CONSTANT)
    for first in range(y0, y1, BAND):
        rows, columns = slice(first, min(first + BAND, y1)), slice(x0, x1)
        shift = np.array([[0, 0, x0], [0, 0, first]])
        width_height = (x1 - x0, rows.stop - first)
        yield (
            rows,
            columns,
            cv2.warpAffine(part, to_part - shift, width_height, flags=cv2.INTER_CUBIC, borderMode=border),
        )


def photo_mask(
    mask: npt.NDArray[np.float32], matrix: Matrix, origin: tuple[int, int], size: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """A mask of a crop (512, 512) float32 in [0, 1] as it lies in a part of the photo, (height, width) likewise.

    matrix: (2, 3) photo -> crop. origin: x0, y0 of the part's first pixel. size: width, height of the part. Where the
    photo ends, the mask does not: a face cut by the picture's edge is restored up to it.
    """
    check_shape("mask", mask, (CROP, CROP), np.float32)
    return _warp(mask, _to_region(matrix, origin), *size, cv2.INTER_LINEAR, border=cv2.BORDER_CONSTANT)


def blend_mask(points: Points) -> npt.NDArray[np.float32]:
    """How much of each crop pixel is taken from the restored face, (512, 512) float32 in [0, 1].

    points: (68, 2) float32 in crop pixels. 1 on the face and its forehead, falling smoothly to exactly 0 before the
    crop's edge.
    """
    check_shape("points", points, (68, 2), np.float32)
    eyes, mouth = points[36:48].mean(axis=0), points[48:68].mean(axis=0)
    forehead = points[17:27] + FOREHEAD * (eyes - mouth)
    hull = cv2.convexHull(np.concatenate([points, forehead]))
    outside = np.full((CROP, CROP), 1, dtype=np.uint8)
    cv2.fillConvexPoly(outside, np.rint(hull).astype(np.int32), 0)
    mask = np.zeros((CROP, CROP), dtype=np.float32)
    if outside.all():
        return mask
    reach = math.ceil(MASK_MARGIN + MASK_FEATHER) + 1
    (x0, y0), (x1, y1) = (np.clip(side, 0, CROP) for side in (hull.min((0, 1)) - reach, hull.max((0, 1)) + reach))
    there = (slice(math.floor(y0), math.ceil(y1)), slice(math.floor(x0), math.ceil(x1)))
    distance = cv2.distanceTransform(outside[there], cv2.DIST_L2, cv2.DIST_MASK_5)
    distance -= np.float32(MASK_MARGIN)
    distance /= np.float32(MASK_FEATHER)
    mask[there] = _inner()[there] * (1 - _smooth_step(distance))
    return mask


def outlined_mask(mask: npt.NDArray[np.float32], outline: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32]:
    """The blend mask without hair, hats and hands in front of the face; both (512, 512) float32 in [0, 1].

    outline: as `FaceKit.outlines` gives it, or None. An outline that leaves less than OUTLINED of the mask has not seen
    the face, and has no say.
    """
    if outline is None:
        return mask
    check_shape("outline", outline, (CROP, CROP), np.float32)
    seen = cv2.GaussianBlur(outline, (0, 0), OUTLINE_FEATHER).astype(np.float32, copy=False)
    within = mask * np.clip(seen, 0, 1)
    return within if float(within.sum()) >= OUTLINED * float(mask.sum()) else mask


def carry_mask(mask: npt.NDArray[np.float32], matrix: Matrix, other: Matrix) -> npt.NDArray[np.float32]:
    """A mask of one face's crop as it lies in another face's crop, both (512, 512) float32; 0 where they do not meet.

    matrix: (2, 3) photo -> the crop of `mask`. other: (2, 3) photo -> the crop wanted.
    """
    check_shape("mask", mask, (CROP, CROP), np.float32)
    between = compose(invert(matrix), other)
    carried = _warp(mask, between, CROP, CROP, cv2.INTER_LINEAR, border=cv2.BORDER_CONSTANT)
    return np.clip(carried, 0, 1)


def _to_region(matrix: Matrix, origin: tuple[int, int]) -> Matrix:
    """(2, 3): crop -> the part of the photo whose first pixel is at origin; matrix: photo -> crop."""
    shift = np.array([[1, 0, -origin[0]], [0, 1, -origin[1]]], dtype=np.float32)
    return compose(invert(matrix), shift)


@lru_cache(maxsize=1)
def _inner() -> npt.NDArray[np.float32]:
    """How far each crop pixel is from the crop's edge, (512, 512) float32: 0 near it, 1 far from it."""
    along = np.minimum(np.arange(CROP), np.arange(CROP)[::-1]).astype(np.float32)
    edge = np.minimum(along[:, None], along[None, :])
    inner = _smooth_step((edge - np.float32(MASK_EDGE[0])) / np.float32(MASK_EDGE[1] - MASK_EDGE[0]))
    inner.flags.writeable = False
    return inner


def _smooth_step(value: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """0 below 0, 1 above 1, and a cubic without corners between."""
    bounded = np.clip(value, 0, 1)
    return bounded * bounded * (3 - 2 * bounded)


def _source_box(
    matrix: Matrix, width: int, height: int, source_size: tuple[int, int], margin: int
) -> tuple[int, int, int, int]:
    """The source pixels, end excluded, under a target of width x height, widened by `margin` and kept in the source."""
    corners = np.array(
        [[-0.5, -0.5], [width - 0.5, -0.5], [-0.5, height - 0.5], [width - 0.5, height - 0.5]], dtype=np.float32
    )
    inside = transform(corners, invert(matrix))
    low = np.floor(inside.min(axis=0) + 0.5).astype(int) - margin
    high = np.ceil(inside.max(axis=0) + 0.5).astype(int) + margin
    x0, x1 = np.clip([low[0], high[0]], 0, source_size[0])
    y0, y1 = np.clip([low[1], high[1]], 0, source_size[1])
    return int(x0), int(y0), int(x1), int(y1)


def _reaches_far_out(
    matrix: npt.NDArray[np.float64], width: int, height: int, part_width: int, part_height: int
) -> bool:
    """Whether the target reaches farther beyond a part of the source than that part is large.

    There mirroring would go back and forth, in OpenCV one step at a time for every pixel: minutes for a small part.
    """
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], dtype=np.float32)
    inside = transform(corners, invert(matrix.astype(np.float32)))
    size = np.array([part_width, part_height])
    return bool((inside < -size).any() or (inside > 2 * size).any())


def _warp(
    source: Array, matrix: Matrix, width: int, height: int, interpolation: int, border: int = cv2.BORDER_REFLECT_101
) -> Array:
    """`source` taken through `matrix` (source -> target) into (height, width, ...), dtype kept, antialiased."""
    part, whole, border = _prepare(source, matrix, width, height, border)
    warped: Array = cv2.warpAffine(part, whole, (width, height), flags=interpolation, borderMode=border)
    if source.dtype == np.float32:
        return warped
    depth = cv2.CV_8U if source.dtype == np.uint8 else cv2.CV_16U
    rounded: Array = cv2.add(warped, 0, dtype=depth)  # and clipped, in one pass
    return rounded


def _prepare(
    source: npt.NDArray[Any], matrix: Matrix, width: int, height: int, border: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64], int]:
    """The part of `source` under a target of width x height, float32, ready to be interpolated; the transform (2, 3)
    from its pixels to the target's; and how OpenCV is to go on beyond its edge.

    matrix: source -> target. Where the target is smaller, the source pixels under one target pixel are averaged first:
    a mean over whole blocks for the whole part of the factor and a Gaussian for the rest, so that nothing finer than a
    target pixel is left to alias.
    """
    shrink = 1 / max(scale_of(matrix), 1e-6)
    block = max(1, math.floor(shrink))
    source_height, source_width = source.shape[:2]
    # Eight target pixels of surroundings: more than cubic interpolation and the Gaussian reach.
    margin = math.ceil(8 * max(shrink, 1))
    x0, y0, x1, y1 = _source_box(matrix, width, height, (source_width, source_height), margin)
    if x0 == x1 or y0 == y1:
        x0, y0 = min(x0, source_width - 1), min(y0, source_height - 1)
        x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    part: npt.NDArray[Any] = source[y0:y1, x0:x1]
    if block > 1:
        bottom, right = -part.shape[0] % block, -part.shape[1] % block
        part = cv2.copyMakeBorder(part, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
        reduced = (part.shape[1] // block, part.shape[0] // block)
        part = cv2.resize(part, reduced, interpolation=cv2.INTER_AREA)
    part = part.astype(np.float32, copy=False)
    rest = shrink / block
    if rest > 1.01:
        part = cv2.GaussianBlur(part, (0, 0), 0.5 * math.sqrt(rest * rest - 1), borderType=cv2.BORDER_REFLECT_101)
    # Pixel i of the reduced part has its centre at block * i + (block - 1) / 2 of the part.
    centre = (block - 1) / 2
    to_source = np.array([[block, 0, x0 + centre], [0, block, y0 + centre]], dtype=np.float32)
    whole = compose(to_source, matrix).astype(np.float64)
    if border == cv2.BORDER_REFLECT_101 and _reaches_far_out(whole, width, height, part.shape[1], part.shape[0]):
        border = cv2.BORDER_REPLICATE
    return part, whole, border
