"""Pasting to a fraction of a pixel, up to the picture's edge, and a mask in the photo."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dmdcli.faces.align import blend_mask, carry_mask, crop_face, paste_face, photo_mask, region_of_interest
from tests.faces.conftest import drawn_points
from tests.faces.test_align import similarity

ONES = np.ones((512, 512), dtype=np.float32)
TRANSFORMS = [(0.3, 3), (0.52, -94), (0.78, 171), (1.9, -8), (3.3, 95), (7.9, -33)]
"""Enlargements, and degrees turned."""


def around_the_middle(scale: float, degrees: float, side: int) -> np.ndarray:
    """The transform that brings the middle of a square photo to that of the crop."""
    matrix = similarity(scale, degrees, 0, 0)
    middle = np.full(2, side / 2 + 0.3)
    matrix[:, 2] = 256 - matrix[:, :2] @ middle
    return matrix


def texture(side: int, detail: float) -> np.ndarray:
    """(side, side, 3) float32: smooth random shapes with details of some pixels."""
    noise = np.random.default_rng(5).standard_normal((side, side)).astype(np.float32)
    shapes = cv2.GaussianBlur(noise, (0, 0), detail)
    return np.repeat(np.clip(0.5 + 0.12 * shapes / shapes.std(), 0, 1)[..., None], 3, axis=2)


def shift_between(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """By how many pixels x, y the second picture (H, W) lies to the right of and below the first.

    Phase correlation for shifts below half a pixel: a plane through the origin fitted to the phases of the cross power
    spectrum, weighted by its power.
    """
    window = np.outer(np.hanning(one.shape[0]), np.hanning(one.shape[1]))
    spectra = [np.fft.fft2((picture - picture.mean()) * window) for picture in (one, other)]
    cross = spectra[0] * np.conj(spectra[1])
    y, x = np.meshgrid(*(2 * np.pi * np.fft.fftfreq(length) for length in one.shape), indexing="ij")
    strength = np.sqrt(np.abs(cross)).ravel()
    unknown = np.stack([x.ravel(), y.ravel()], axis=1) * strength[:, None]
    return np.linalg.lstsq(unknown, np.angle(cross).ravel() * strength, rcond=None)[0]


@pytest.mark.parametrize(("scale", "degrees"), TRANSFORMS)
def test_there_and_back_shifts_nothing(scale: float, degrees: float) -> None:
    side = round((400 if scale < 1 else 560) / scale + 40)
    photo, matrix = texture(side, max(5 / scale, 1.6)), around_the_middle(scale, degrees, side)
    x0, y0, x1, y1 = region_of_interest(matrix, (side, side))
    region, crop = photo[y0:y1, x0:x1], crop_face(photo, matrix)
    np.testing.assert_array_equal(paste_face(region, (x0, y0), crop, matrix, ONES, reference_crop=crop), region)
    there = paste_face(region, (x0, y0), crop, matrix, ONES)
    middle = tuple(slice(round(0.3 * length), round(0.7 * length)) for length in region.shape[:2])
    assert np.abs(shift_between(region[middle][..., 0], there[middle][..., 0])).max() < 0.02


@pytest.mark.parametrize(("scale", "degrees"), TRANSFORMS)
def test_an_answer_that_is_shifted_lands_shifted_by_as_much(scale: float, degrees: float) -> None:
    """What is pasted over, and what is added as a change, both to a fiftieth of a photo pixel."""
    side = round((400 if scale < 1 else 560) / scale + 40)
    matrix = around_the_middle(scale, degrees, side)
    given, grey = texture(512, max(5.0, 1.6 * scale)), np.full((512, 512, 3), 0.5, np.float32)
    wanted = np.array([0.3, -0.2])  # photo pixels
    moved = matrix.astype(np.float64)[:, :2] @ wanted
    answer = cv2.warpAffine(given, np.hstack([np.eye(2), moved[:, None]]), (512, 512), flags=cv2.INTER_CUBIC)
    x0, y0, x1, y1 = region_of_interest(matrix, (side, side))
    region = np.full((y1 - y0, x1 - x0, 3), 0.5, np.float32)
    middle = tuple(slice(round(0.3 * length), round(0.7 * length)) for length in region.shape[:2])
    for reference in (None, grey):
        still, shifted = (
            paste_face(region, (x0, y0), crop, matrix, ONES, reference_crop=reference)[middle][..., 0]
            for crop in (given, answer)
        )
        # The shift of the answer is itself rounded to 1/32 of a crop pixel.
        np.testing.assert_allclose(shift_between(still, shifted), wanted, atol=0.02 + 1 / 32 / scale)


CUTS = {"left": (250, 0, 600, 600), "right": (0, 0, 330, 600), "top": (0, 300, 600, 600), "bottom": (0, 0, 600, 400)}
"""Which part of a photo is kept, x0, y0, x1, y1, so that it cuts the face at this side."""
EDGES = {"left": np.s_[:, 0], "right": np.s_[:, -1], "top": np.s_[0], "bottom": np.s_[-1]}


@pytest.mark.parametrize("side", CUTS)
def test_a_face_cut_by_the_pictures_edge_is_restored_up_to_it(side: str) -> None:
    """The mask does not fall there, and what is mirrored beyond the edge does not come back into the picture."""
    left, top, right, bottom = CUTS[side]
    photo = 0.2 + 0.6 * texture(600, 4.0)[top:bottom, left:right]
    matrix, mask = similarity(1.0, 7, 10, -60), blend_mask(drawn_points())
    matrix[:, 2] += matrix[:, :2] @ np.array([left, top], np.float32)
    x0, y0, x1, y1 = region_of_interest(matrix, (right - left, bottom - top))
    region, crop = photo[y0:y1, x0:x1], crop_face(photo, matrix)
    brighter = paste_face(region, (x0, y0), crop + np.float32(0.1), matrix, mask, reference_crop=crop)
    weight = photo_mask(mask, matrix, (x0, y0), (x1 - x0, y1 - y0))[EDGES[side]]
    assert weight.max() > 0.99
    np.testing.assert_allclose((brighter - region)[EDGES[side]][..., 0], 0.1 * weight, atol=0.25 / 255)
    replaced = paste_face(region, (x0, y0), crop, matrix, mask)
    assert np.abs(replaced - region)[EDGES[side]].max() < 0.03


@pytest.mark.parametrize(("right", "down"), [(-490.0, 0.0), (0.0, -490.0), (560.0, 0.0), (0.0, 560.0)])
def test_a_face_of_which_nothing_masked_is_in_the_picture_changes_nothing(right: float, down: float) -> None:
    photo, mask = texture(600, 4.0), np.zeros((512, 512), np.float32)
    mask[200:300, 200:300] = 1
    matrix = similarity(1.0, 0, right, down)
    crop = crop_face(photo, matrix)
    pasted = paste_face(photo, (0, 0), crop + np.float32(0.5), matrix, mask, reference_crop=crop)
    np.testing.assert_array_equal(pasted, photo)


def test_the_feather_grows_with_the_face() -> None:
    """From mask 0.9 to mask 0.1 it is the same part of the face, whatever the size of the face in the photo."""
    mask, widths = blend_mask(drawn_points()), []
    for scale in (0.4, 1.0, 4.0):
        side = round(512 / scale)
        row = photo_mask(mask, around_the_middle(scale, 0, side), (0, 0), (side, side))[round(250 / scale)]
        edge = row[: side // 2]
        widths.append(float(((edge > 0.1) & (edge < 0.9)).sum()) * scale)
    assert max(widths) - min(widths) <= 4
    assert 24 < np.mean(widths) < 36


def test_two_masks_that_overlap_leave_no_gap_and_are_not_added_twice() -> None:
    mask = blend_mask(drawn_points())
    one, other = similarity(1.0, 0, 0, 0), similarity(1.3, 10, -330, -120)
    second = mask * (1 - carry_mask(mask, one, other))
    weights = [photo_mask(part, matrix, (0, 0), (800, 600)) for part, matrix in ((mask, one), (second, other))]
    alone = np.maximum(weights[0], photo_mask(mask, other, (0, 0), (800, 600)))
    both = weights[0] + weights[1]
    assert (np.minimum(*weights) > 0.1).any(), "they do overlap"
    assert both.max() <= 1.005
    assert (both - alone).min() > -0.01, "no dark line between two cheeks"
