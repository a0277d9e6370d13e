from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dmdcli.errors import ShapeError
from dmdcli.training.degrade import RANGES, Degradation, Severity, apply, degrade, draw, generator_for, truth_for

NOTHING = Degradation(blur=0, downscaling=1, noise=0, jpeg=100, noise_seed=0)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    small = np.random.default_rng(3).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((160, 120), Image.Resampling.BICUBIC))


def high_frequencies(picture: np.ndarray) -> float:
    return float(np.abs(np.diff(picture.astype(float), axis=1)).mean())


@pytest.mark.parametrize("severity", Severity)
def test_same_seed_and_name_give_the_same_bytes(pixels: np.ndarray, severity: Severity) -> None:
    first = degrade(pixels, severity, generator_for(7, "a.jpg"))
    assert first.shape == pixels.shape
    assert first.dtype == np.uint8
    assert np.array_equal(first, degrade(pixels, severity, generator_for(7, "a.jpg")))
    assert not np.array_equal(first, degrade(pixels, severity, generator_for(8, "a.jpg")))
    assert not np.array_equal(first, degrade(pixels, severity, generator_for(7, "b.jpg")))


def test_parameters_fill_their_ranges_and_stay_inside() -> None:
    for severity, ranges in RANGES.items():
        drawn = [draw(severity, generator_for(0, f"{number}.png")) for number in range(400)]
        for name in ("blur", "downscaling", "noise", "jpeg"):
            low, high = getattr(ranges, name)
            values = [getattr(one, name) for one in drawn]
            assert low <= min(values) < low + 0.05 * (high - low) + 1e-9
            assert high >= max(values) > high - 0.05 * (high - low) - 1e-9
            assert abs(np.mean(values) - (low + high) / 2) < 0.06 * (high - low)


def test_the_order_of_files_does_not_matter() -> None:
    names = ["b.jpg", "a.jpg", "c.jpg"]
    one_way = {name: draw(Severity.MODERATE, generator_for(1, name)) for name in names}
    assert {name: draw(Severity.MODERATE, generator_for(1, name)) for name in reversed(names)} == one_way


def test_each_parameter_does_its_own_damage(pixels: np.ndarray) -> None:
    plain = apply(pixels, NOTHING)
    assert np.abs(plain.astype(int) - pixels).mean() < 1.5
    assert high_frequencies(apply(pixels, dataclasses.replace(NOTHING, blur=4))) < 0.8 * high_frequencies(plain)
    assert high_frequencies(apply(pixels, dataclasses.replace(NOTHING, downscaling=8))) < 0.8 * high_frequencies(plain)
    noisy = apply(pixels, dataclasses.replace(NOTHING, noise=20)).astype(float) - plain
    assert 12 < noisy.std() < 21
    coarse = apply(pixels, dataclasses.replace(NOTHING, jpeg=5)).astype(float) - plain
    assert coarse.std() > 4


def test_noise_of_a_grey_photo_is_grey() -> None:
    grey = np.full((64, 64, 3), 128, dtype=np.uint8)
    one_noise = apply(grey, dataclasses.replace(NOTHING, noise=15, grey_noise=True))
    assert np.ptp(one_noise, axis=2).max() <= 2  # the colour space of JPEG rounds
    assert np.ptp(apply(grey, dataclasses.replace(NOTHING, noise=15)), axis=2).max() > 10


def test_scale_carries_damage_over_to_larger_and_smaller_faces() -> None:
    one = Degradation(blur=4, downscaling=2, noise=5, jpeg=70, noise_seed=1)
    old = draw(Severity.OLD, generator_for(0, "a.png"))
    assert old.aging is not None
    assert old.at_scale(2).aging == old.aging.at_scale(2)
    assert one.at_scale(2) == dataclasses.replace(one, blur=8, downscaling=4)
    assert one.at_scale(0.25) == dataclasses.replace(one, blur=1, downscaling=1)


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (37, 53)])
def test_any_size_keeps_its_size(size: tuple[int, int]) -> None:
    picture = np.full((*size, 3), 77, dtype=np.uint8)
    assert degrade(picture, Severity.SEVERE, generator_for(0, "x")).shape == (*size, 3)


def test_refuses_other_arrays() -> None:
    with pytest.raises(ShapeError, match="pixels"):
        apply(np.zeros((8, 8), dtype=np.uint8), NOTHING)
    with pytest.raises(ShapeError, match="uint8"):
        apply(np.zeros((8, 8, 3), dtype=np.float32), NOTHING)


@pytest.mark.parametrize("severity", Severity)
def test_a_degradation_can_be_written_down(severity: Severity) -> None:
    for number in range(20):
        one = draw(severity, generator_for(5, f"{number}.png"))
        assert Degradation.from_dict(json.loads(json.dumps(one.to_dict()))) == one


def test_what_an_old_print_adds_is_not_written_for_others() -> None:
    modern = draw(Severity.SEVERE, generator_for(5, "photo.png"))
    assert set(modern.to_dict()) == {"blur", "downscaling", "noise", "jpeg", "noise_seed", "grey_noise"}
    assert Degradation(**json.loads(json.dumps(modern.to_dict()))) == modern


def test_an_old_print_is_aged_and_the_answer_to_it_has_its_tone(pixels: np.ndarray) -> None:
    old = draw(Severity.OLD, generator_for(3, "photo.png"))
    assert old.aging is not None
    old = dataclasses.replace(old, aging=dataclasses.replace(old.aging, colour=0, whitest=(240, 220, 180)))
    wanted = truth_for(pixels, old)
    assert np.abs(apply(pixels, old).mean(axis=(0, 1)) - wanted.mean(axis=(0, 1))).max() < 12
    assert np.corrcoef(wanted[..., 0].ravel(), wanted[..., 2].ravel())[0, 1] > 0.99  # one colour
    assert wanted.mean(axis=(0, 1))[0] > wanted.mean(axis=(0, 1))[2] + 5
    assert np.ptp(pixels, axis=2).mean() > 20
    modern = dataclasses.replace(old, aging=None)
    assert np.array_equal(truth_for(pixels, modern), pixels)
    assert not np.array_equal(apply(pixels, modern), apply(pixels, old))


def test_a_second_jpeg_has_its_own_blocks(pixels: np.ndarray) -> None:
    once = apply(pixels, dataclasses.replace(NOTHING, jpeg=60))
    shifted = [apply(pixels, dataclasses.replace(NOTHING, jpeg=60, second_jpeg=60, noise_seed=n)) for n in (0, 27)]
    assert shifted[0].shape == shifted[1].shape == pixels.shape
    assert np.abs(shifted[0].astype(int) - once).mean() < 1  # the same blocks and tables again: only what was cut off
    assert np.abs(shifted[1].astype(int) - once).mean() > 1.2


def test_moderate_validation_crops_have_about_26_decibels(test_data: Path) -> None:
    from skimage.metrics import peak_signal_noise_ratio

    from dmdcli.training.data import read_faces

    faces = read_faces(test_data / "faces", "validation")
    values = [
        peak_signal_noise_ratio(crop, degrade(crop, Severity.MODERATE, generator_for(0, sample.crop)))  # type: ignore[no-untyped-call]
        for sample, crop in zip(faces.samples, faces.pixels, strict=True)
    ]
    assert 25 < float(np.mean(values)) < 27.5
