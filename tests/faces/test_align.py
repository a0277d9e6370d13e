"""The similarity transform, cropping, pasting back and the mask."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dmdcli.errors import ShapeError
from dmdcli.faces.align import (
    TEMPLATE,
    blend_mask,
    compose,
    crop_face,
    crop_matrix,
    five_points,
    invert,
    outlined_mask,
    paste_face,
    region_of_interest,
    scale_of,
    transform,
)
from tests.faces.conftest import drawn_points


def similarity(scale: float, degrees: float, right: float, down: float) -> np.ndarray:
    """(2, 3) float32, photo -> crop."""
    a, b = scale * np.cos(np.deg2rad(degrees)), scale * np.sin(np.deg2rad(degrees))
    return np.array([[a, -b, right], [b, a, down]], dtype=np.float32)


def waves(height: int, width: int, period: float) -> np.ndarray:
    """(H, W, 3) float32 in [0, 1]: smooth waves of one period in both directions, each channel shifted."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    channels = [np.sin(2 * np.pi * x / period + k) * np.cos(2 * np.pi * y / period - k) for k in range(3)]
    return (0.5 + 0.4 * np.stack(channels, axis=2)).astype(np.float32)


def wave_at(points: np.ndarray, period: float) -> np.ndarray:
    """What `waves` is at points (..., 2) between pixels."""
    x, y = points[..., 0].astype(np.float64), points[..., 1].astype(np.float64)
    channels = [np.sin(2 * np.pi * x / period + k) * np.cos(2 * np.pi * y / period - k) for k in range(3)]
    return 0.5 + 0.4 * np.stack(channels, axis=-1)


def crop_grid() -> np.ndarray:
    y, x = np.mgrid[:512, :512]
    return np.stack([x, y], axis=-1).reshape(-1, 2).astype(np.float32)


@pytest.mark.parametrize(
    "matrix", [similarity(0.31, 0, 5, -7), similarity(2.5, 33, -900, 12), similarity(1, 180, 512, 400)]
)
def test_crop_matrix_finds_the_transform_that_was_applied(matrix: np.ndarray) -> None:
    photo_points = transform(TEMPLATE.astype(np.float32), invert(matrix))
    np.testing.assert_allclose(crop_matrix(photo_points), matrix, rtol=1e-4, atol=2e-3)


def test_crop_matrix_is_the_least_squares_similarity() -> None:
    rng = np.random.default_rng(3)
    points = (TEMPLATE / 2 + rng.normal(0, 4, (5, 2))).astype(np.float32)
    matrix = crop_matrix(points)

    def error(candidate: np.ndarray) -> float:
        return float(((transform(points, candidate).astype(np.float64) - TEMPLATE) ** 2).sum())

    best = error(matrix)
    for scale, degrees, right, down in rng.normal(0, 1, (40, 4)) * [0.01, 0.5, 1, 1]:
        change = similarity(1 + scale, degrees, right, down)
        assert error(compose(matrix, change)) > best
    assert matrix[0, 0] == matrix[1, 1]
    assert matrix[0, 1] == -matrix[1, 0]


def test_crop_matrix_never_mirrors() -> None:
    mirrored = TEMPLATE.astype(np.float32).copy()
    mirrored[:, 0] = 512 - mirrored[:, 0]
    assert np.linalg.det(crop_matrix(mirrored)[:, :2]) > 0


def test_crop_matrix_refuses_points_that_coincide() -> None:
    with pytest.raises(ShapeError):
        crop_matrix(np.full((5, 2), 7, dtype=np.float32))
    with pytest.raises(ShapeError):
        crop_matrix(np.full((5, 2), np.nan, dtype=np.float32))


def test_five_points_are_eyes_nose_and_mouth_corners() -> None:
    expected = [[193, 240], [319, 240], [256, 314], [201, 371], [313, 371]]
    np.testing.assert_allclose(five_points(drawn_points()), expected, atol=0.01)


def test_the_identity_changes_nothing() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    np.testing.assert_array_equal(crop_face(pixels, similarity(1, 0, 0, 0)), pixels)


@pytest.mark.parametrize(
    ("matrix", "period"),
    [
        (similarity(1.0, 0, 0.5, 0.5), 24),
        (similarity(2.2, 20, 60, -150), 24),
        (similarity(0.6, -15, 40, 90), 60),
        (similarity(0.36, 8, 30, 20), 120),
    ],
    ids=["half a pixel", "enlarged", "reduced", "much reduced"],
)
def test_crops_show_what_is_at_their_place_in_the_photo(matrix: np.ndarray, period: float) -> None:
    """No shift by part of a pixel, in any mix of block means, Gaussian and cubic interpolation."""
    photo = waves(1500, 1600, period)
    crop = crop_face(photo, matrix).reshape(-1, 3)
    places = transform(crop_grid(), invert(matrix))
    inside = ((places > 20) & (places < [1580, 1480])).all(axis=1)
    assert inside.sum() > 50_000
    expected = wave_at(places[inside], period)
    got = crop[inside].astype(np.float64)
    assert np.abs(got - expected).max() < 0.03
    # A shift shows as a difference that goes with the slope; blur alone does not.
    slope = wave_at(places[inside] + [0.5, 0], period) - wave_at(places[inside] - [0.5, 0], period)
    shift = float(((got - expected) * slope).sum() / (slope**2).sum())
    assert abs(shift) < 0.03, f"shifted by {shift} photo pixels"


@pytest.mark.parametrize("scale", [0.75, 0.5, 0.34, 0.2])
def test_shrinking_leaves_nothing_to_alias(scale: float) -> None:
    """A chequerboard finer than a crop pixel becomes grey, where plain interpolation gives a false pattern."""
    side = round(512 / scale)
    chequers = ((np.indices((side, side)).sum(axis=0) % 2) * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    matrix = similarity(scale, 3, 0, 0)
    smooth = crop_face(chequers, matrix)[50:-50, 50:-50].astype(np.float64)
    plain = cv2.warpAffine(chequers, matrix.astype(np.float64), (512, 512), flags=cv2.INTER_CUBIC)
    assert smooth.std() < 0.55 * plain[50:-50, 50:-50].astype(np.float64).std()
    assert abs(smooth.mean() - 127.5) < 2
    if scale <= 0.5:
        assert smooth.std() < 12


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_crops_keep_dtype_and_range(dtype: type) -> None:
    top = 1.0 if dtype is np.float32 else np.iinfo(dtype).max
    photo = (waves(300, 300, 40) * top).astype(dtype)
    crop = crop_face(photo, similarity(1.7, 5, 10, 10))
    assert crop.dtype == dtype
    assert crop.shape == (512, 512, 3)
    assert crop.mean() == pytest.approx(top / 2, rel=0.1)


def test_beyond_the_edge_the_photo_is_mirrored() -> None:
    photo = np.full((100, 100, 3), 200, dtype=np.uint8)
    assert (crop_face(photo, similarity(1, 0, 200, 200)) == 200).all()
    assert (crop_face(photo, similarity(0.05, 0, 5000, 5000)) == 200).all()


def test_only_the_part_under_the_crop_is_read() -> None:
    photo = np.zeros((2000, 3000, 3), dtype=np.uint8)
    poisoned = photo.copy()
    poisoned[:, 1200:] = 255
    matrix = similarity(0.6, 10, 0, 0)
    np.testing.assert_array_equal(crop_face(photo, matrix)[:, :300], crop_face(poisoned, matrix)[:, :300])


def test_region_of_interest_is_the_crops_outline_inside_the_photo() -> None:
    assert region_of_interest(similarity(2, 0, -100, -200), (4000, 3000)) == (50, 100, 307, 357)
    assert region_of_interest(similarity(2, 0, 100, 200), (100, 3000)) == (0, 0, 100, 157)
    x0, y0, x1, y1 = region_of_interest(similarity(1, 0, 900, 900), (300, 300))
    assert x0 == x1 or y0 == y1


@pytest.mark.parametrize("scale", [2.7, 1.0, 0.37])
@pytest.mark.parametrize("with_reference", [False, True])
def test_cropping_and_pasting_gives_the_photo_back(scale: float, with_reference: bool) -> None:
    side = round(900 / scale)
    photo = waves(side, side, 60 / scale)
    matrix = similarity(scale, 12, -90, -200)
    x0, y0, x1, y1 = region_of_interest(matrix, (side, side))
    region = photo[y0:y1, x0:x1]
    crop = crop_face(photo, matrix)
    mask = blend_mask(drawn_points())
    pasted = paste_face(region, (x0, y0), crop, matrix, mask, reference_crop=crop if with_reference else None)
    assert pasted.shape == region.shape
    assert pasted.dtype == np.float32
    if with_reference:
        np.testing.assert_array_equal(pasted, region)
    else:
        assert np.abs(pasted - region).max() < 0.02


def test_a_paste_lands_where_the_crop_came_from() -> None:
    photo = np.zeros((700, 800, 3), dtype=np.float32)
    matrix = similarity(1.6, -20, 10, 30)
    y, x = np.mgrid[:512, :512]
    spot = np.exp(-((x - 280) ** 2 + (y - 301) ** 2) / (2 * 12.0**2)).astype(np.float32)[..., None].repeat(3, axis=2)
    x0, y0, x1, y1 = region_of_interest(matrix, (800, 700))
    pasted = paste_face(photo[y0:y1, x0:x1], (x0, y0), spot, matrix, np.ones((512, 512), dtype=np.float32))[..., 0]
    rows, columns = np.mgrid[: y1 - y0, : x1 - x0]
    centre = np.array([(columns * pasted).sum() + 0.0, (rows * pasted).sum()]) / pasted.sum() + [x0, y0]
    np.testing.assert_allclose(centre, transform(np.array([[280, 301]], np.float32), invert(matrix))[0], atol=0.05)


def test_strength_and_mask_limit_the_change() -> None:
    region = np.full((600, 600, 3), 0.25, dtype=np.float32)
    crop = np.full((512, 512, 3), 0.75, dtype=np.float32)
    mask = blend_mask(drawn_points())
    matrix = similarity(1.0, 0, -20.0, -30.0)
    full = paste_face(region, (0, 0), crop, matrix, mask)
    half = paste_face(region, (0, 0), crop, matrix, mask, strength=0.5)
    none = paste_face(region, (0, 0), crop, matrix, mask, strength=0)
    np.testing.assert_array_equal(none, region)
    np.testing.assert_allclose(half - region, (full - region) / 2, atol=1e-6)
    outside = np.pad(mask, ((30, 58), (20, 68))) == 0
    np.testing.assert_array_equal(full[outside], region[outside])
    assert full[30 + 300, 20 + 256] == pytest.approx(0.75, abs=1e-6)


def test_difference_pasting_keeps_detail_finer_than_the_crop() -> None:
    rng = np.random.default_rng(1)
    photo = (0.5 + 0.1 * rng.standard_normal((1600, 1600, 3))).clip(0, 1).astype(np.float32)
    matrix = similarity(0.32, 0, 0, 0)
    crop = crop_face(photo, matrix)
    brighter = np.clip(crop + np.float32(0.1), 0, 1)
    mask = np.ones((512, 512), dtype=np.float32)
    replaced = paste_face(photo, (0, 0), brighter, matrix, mask)
    added = paste_face(photo, (0, 0), brighter, matrix, mask, reference_crop=crop)
    middle = np.s_[400:1200, 400:1200]
    assert added[middle].std() > 0.95 * photo[middle].std()
    assert replaced[middle].std() < 0.5 * photo[middle].std()
    assert added[middle].mean() == pytest.approx(photo[middle].mean() + 0.1, abs=0.005)


def test_the_mask_is_whole_on_the_face_and_gone_before_the_edge() -> None:
    mask = blend_mask(drawn_points())
    assert mask.dtype == np.float32
    assert mask.min() == 0
    assert mask.max() == 1
    for x, y in drawn_points()[17:]:
        assert mask[int(y), int(x)] == 1
    assert mask[130, 256] > 0.9, "the forehead belongs to the face"
    border = np.ones((512, 512), dtype=bool)
    border[6:-6, 6:-6] = False
    assert (mask[border] == 0).all()
    assert np.abs(np.diff(mask, axis=0)).max() < 0.06, "no seam"
    assert np.abs(np.diff(mask, axis=1)).max() < 0.06


@pytest.mark.parametrize("right", [180.0, -180.0, 2000.0])
def test_the_mask_of_a_face_at_the_edge_still_ends_before_it(right: float) -> None:
    points = drawn_points()
    points[:, 0] += right
    mask = blend_mask(points)
    assert (mask[:, :6] == 0).all()
    assert (mask[:, -6:] == 0).all()
    assert np.isfinite(mask).all()


def test_scale_of_is_the_enlargement() -> None:
    assert scale_of(similarity(2.5, 77, 3, 4)) == pytest.approx(2.5, rel=1e-5)


def test_an_outline_takes_hair_and_hands_out_of_the_mask() -> None:
    mask = blend_mask(drawn_points())
    outline = np.ones((512, 512), dtype=np.float32)
    outline[:, :200] = 0
    within = outlined_mask(mask, outline)
    assert within.dtype == np.float32
    assert float(within[:, :160].max()) < 1e-4
    np.testing.assert_allclose(within[:, 240:], mask[:, 240:], atol=1e-5)
    assert (within <= mask).all()
    steps = np.abs(np.diff(within[300, 160:240]))
    assert float(steps.max()) < 0.06, "no hard edge"


def test_an_outline_that_saw_no_face_has_no_say() -> None:
    mask = blend_mask(drawn_points())
    assert outlined_mask(mask, None) is mask
    assert outlined_mask(mask, np.zeros((512, 512), dtype=np.float32)) is mask
