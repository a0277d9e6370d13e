from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from dmdcli.training.aging import BLURS, FREE, Aging
from dmdcli.training.degrade import Severity, apply, draw, generator_for, truth_for
from dmdcli.training.marks import field
from dmdcli.training.prints import age, blur, blur_kernel, tone

NOTHING = Aging(
    side=512,
    blur_kind="isotropic",
    blur=0,
    stretch=2,
    blur_angle=30,
    grain=0,
    grain_size=2,
    colour=1,
    screen=0,
    screen_angle=35,
    contrast=1,
    blackest=(0, 0, 0),
    whitest=(255, 255, 255),
    light=0,
    paper=0,
    paper_size=3,
    stains=0,
    stain_size=80,
    scratches=0,
    scratch_length=200,
    scratch_width=1.2,
    creases=0,
    crease_width=2,
    dust=0,
    dust_size=1.5,
    white_marks=0.7,
    order=FREE,
    seed=5,
)
STRONG = {"stains": 2.0, "scratches": 7.0, "creases": 1.5, "dust": 50.0, "paper": 0.04}


@pytest.fixture(scope="module")
def pixels() -> npt.NDArray[np.uint8]:
    """(512, 512, 3), soft shapes in many colours."""
    small = np.random.default_rng(3).integers(40, 216, (12, 12, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (512, 512), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def change(pixels: npt.NDArray[np.uint8], **damage: object) -> npt.NDArray[np.int64]:
    aging = dataclasses.replace(NOTHING, **damage)  # type: ignore[arg-type]
    return age(pixels, aging).astype(np.int64) - pixels


def flat(level: int, side: int = 512) -> npt.NDArray[np.uint8]:
    return np.full((side, side, 3), level, dtype=np.uint8)


def test_nothing_changes_nothing(pixels: npt.NDArray[np.uint8]) -> None:
    assert np.abs(change(pixels)).max() <= 1
    assert np.abs(tone(pixels, NOTHING).astype(int) - pixels).max() <= 1


@pytest.mark.parametrize(
    ("name", "value", "least", "most"),
    [
        ("blur", 3.5, 0.4, 6),
        ("grain", 13, 5, 14),
        ("screen", 5, 30, 120),
        ("light", 0.12, 3, 40),
        ("paper", 0.04, 2, 10),
        ("stains", 2, 0.2, 12),
        ("scratches", 7, 0.1, 4),
        ("creases", 1.5, 0.1, 5),
        ("dust", 50, 0.05, 3),
    ],
)
def test_each_damage_is_seen_and_leaves_a_picture(
    pixels: npt.NDArray[np.uint8], name: str, value: float, least: float, most: float
) -> None:
    changes = [np.abs(change(pixels, **{name: value}, seed=seed)).mean() for seed in range(12)]
    assert least < np.mean(changes) < most
    less = [np.abs(change(pixels, **{name: value / 4}, seed=seed)).mean() for seed in range(12)]
    if name != "screen":  # dots four times as near are not a quarter of the damage
        assert np.mean(less) < 0.7 * np.mean(changes)


@pytest.mark.parametrize("name", ["stains", "scratches", "creases", "dust"])
def test_marks_are_local(pixels: npt.NDArray[np.uint8], name: str) -> None:
    touched = [np.mean(np.abs(change(pixels, **{name: STRONG[name]}, seed=seed)).max(axis=2) > 3) for seed in range(12)]
    assert 0.001 < np.mean(touched) < 0.2
    assert max(touched) < 0.6


@pytest.mark.parametrize("name", FREE)
def test_marks_stay_in_their_places_in_any_order(pixels: npt.NDArray[np.uint8], name: str) -> None:
    alone = change(pixels, **{name: STRONG[name]})
    for order in (FREE, FREE[::-1]):
        others = {other: strength for other, strength in STRONG.items() if other != name}
        added = change(pixels, **STRONG, order=order) - change(pixels, **others, order=order)
        assert np.corrcoef(alone.ravel(), added.ravel())[0, 1] > 0.7
    forwards, backwards = (change(pixels, **STRONG, order=order) for order in (FREE, FREE[::-1]))
    assert not np.array_equal(forwards, backwards)


@pytest.mark.parametrize("name", [*FREE, "light"])
def test_marks_grow_with_the_face(pixels: npt.NDArray[np.uint8], name: str) -> None:
    strengths = {**STRONG, "light": 0.12}
    large = np.asarray(cv2.resize(pixels, (1024, 1024), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    added = change(large, side=1024, **{name: strengths[name]}).astype(np.float32)
    shrunk = cv2.resize(added, (512, 512), interpolation=cv2.INTER_AREA)
    if name == "paper":  # noise on a finer grid: another pattern of the same strength
        assert shrunk.std() == pytest.approx(change(pixels, paper=0.04).std(), rel=0.25)
    else:
        assert np.corrcoef(shrunk.ravel(), change(pixels, **{name: strengths[name]}).ravel())[0, 1] > 0.8


def test_a_photo_of_many_faces_has_marks_on_each() -> None:
    grey = flat(128, 1024)
    small_faces = dataclasses.replace(NOTHING, dust=20, seed=1, dust_size=2).at_scale(0.25)
    counts = []
    for aging in (dataclasses.replace(small_faces, side=512), small_faces):
        marked = np.abs(age(grey, aging).astype(int) - 128).max(axis=2) > 8
        counts.append(cv2.connectedComponents(marked.astype(np.uint8))[0] - 1)
    assert 40 < counts[0] < 110  # four crops
    assert counts[1] > 5 * counts[0]  # 64 crops, though their smallest specks are below a pixel


@pytest.mark.parametrize("kind", BLURS)
@pytest.mark.parametrize("sigma", [2.0, 6.0])
def test_blurs_are_as_wide_as_they_say(kind: str, sigma: float) -> None:
    if kind == "isotropic":
        point = np.zeros((81, 81), dtype=np.float32)
        point[40, 40] = 1
        kernel = blur(point, dataclasses.replace(NOTHING, blur=sigma, blur_kind=kind)).astype(float)
    else:
        kernel = blur_kernel(kind, sigma, NOTHING).astype(float)
        assert kernel.sum() == pytest.approx(1, abs=1e-5)
    y, x = np.mgrid[: len(kernel), : len(kernel)] - len(kernel) // 2
    angle = np.radians(NOTHING.blur_angle)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    wide, narrow = (np.sqrt((kernel * d**2).sum() / kernel.sum()) for d in (along, across))
    assert wide == pytest.approx(sigma, rel=0.12)
    expected = {"anisotropic": sigma / NOTHING.stretch, "motion": 0.45}.get(kind, sigma)
    assert narrow == pytest.approx(expected, rel=0.2)


def test_grain_is_strongest_in_the_middle_greys_and_one_for_all_channels() -> None:
    grains = {level: change(flat(level), grain=10) for level in (4, 128, 250)}
    assert grains[128][..., 0].std() == pytest.approx(10, rel=0.05)
    assert grains[250].std() < 0.6 * grains[128].std()
    assert np.ptp(grains[128], axis=2).max() <= 1
    coarse, fine = (change(flat(128), grain=10, grain_size=size)[..., 0] for size in (6, 1))
    assert np.abs(np.diff(coarse, axis=1)).mean() < 0.6 * np.abs(np.diff(fine, axis=1)).mean()


@pytest.mark.parametrize("size", [0.5, 1, 2.5, 7, 60])
def test_noise_has_the_strength_and_size_asked_for(size: float) -> None:
    noise = field((700, 500), size, np.random.default_rng(2))
    assert noise.shape == (700, 500)
    assert noise.dtype == np.float32
    assert noise.std() == pytest.approx(min(1, size), rel=0.25)
    assert abs(noise.mean()) < 0.3
    step = max(1, round(size / 3))
    near = np.corrcoef(noise[:, :-step].ravel(), noise[:, step:].ravel())[0, 1]
    far = np.corrcoef(noise[:, : -4 * step * 3].ravel(), noise[:, 4 * step * 3 :].ravel())[0, 1]
    assert abs(far) < 0.2
    if size >= 2:
        assert near > 0.6


@pytest.mark.parametrize("level", [40, 100, 128, 200])
def test_a_screen_keeps_the_mean_brightness_and_has_its_distance_of_dots(level: int) -> None:
    for scale in (1, 2):
        dots = age(flat(level), dataclasses.replace(NOTHING, colour=0, screen=6, screen_angle=0).at_scale(scale))
        assert dots.mean() == pytest.approx(level, abs=10)
        assert dots.std() > 20
        rows = dots[..., 0] - dots[..., 0].mean(axis=1, keepdims=True)
        spectrum = np.abs(np.fft.rfft(rows, axis=1)).sum(axis=0)
        assert 512 / spectrum.argmax() == pytest.approx(6 * scale, rel=0.05)


def test_a_screen_finer_than_the_pixels_is_not_drawn() -> None:
    tiny = dataclasses.replace(NOTHING, colour=0, screen=6).at_scale(0.25)
    assert np.array_equal(age(flat(100), tiny), flat(100))


def test_tone_is_what_all_damage_leaves_alone(pixels: npt.NDArray[np.uint8]) -> None:
    toned = dataclasses.replace(
        NOTHING, colour=0, contrast=1.2, blackest=(60, 45, 30), whitest=(245, 225, 190), light=0.1
    )
    clean = tone(pixels, toned)
    assert np.abs(age(pixels, toned).astype(int) - clean).max() <= 1
    worn = dataclasses.replace(toned, **STRONG, grain=10, blur=3, screen=5)  # type: ignore[arg-type]
    assert np.array_equal(tone(pixels, worn), clean)
    assert np.abs(age(pixels, worn).astype(int) - clean).mean() > 5
    unlit = tone(pixels, dataclasses.replace(toned, light=0)).astype(int)
    assert unlit.min() >= 30
    assert (unlit <= np.array(toned.whitest) + 1).all()
    assert (unlit >= np.array(toned.blackest) - 1).all()
    brightness = pixels.astype(float) @ (0.299, 0.587, 0.114)
    assert np.corrcoef(brightness.ravel(), unlit[..., 1].ravel())[0, 1] > 0.98


def test_faded_colours_are_paler_and_keep_their_hue(pixels: npt.NDArray[np.uint8]) -> None:
    paler = tone(pixels, dataclasses.replace(NOTHING, colour=0.4)).astype(int)
    assert np.ptp(paler, axis=2).mean() == pytest.approx(0.4 * np.ptp(pixels, axis=2).mean(), rel=0.05)
    clear = np.ptp(pixels, axis=2) > 60
    assert np.mean(paler[clear].argmax(axis=1) == pixels[clear].argmax(axis=1)) > 0.99


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (37, 53)])
def test_any_size_keeps_its_size(size: tuple[int, int]) -> None:
    picture = np.full((*size, 3), 120, dtype=np.uint8)
    for number in range(10):
        old = draw(Severity.OLD, generator_for(number, "x"))
        for scale in (0.01, 1, 20):
            assert apply(picture, old.at_scale(scale)).shape == picture.shape


@pytest.mark.slow
def test_old_prints_are_the_same_bytes_again_and_quick_enough_to_train_on(pixels: npt.NDArray[np.uint8]) -> None:
    drawn = [draw(Severity.OLD, generator_for(0, f"{number}.png")) for number in range(40)]
    begun = time.process_time()
    first = [apply(pixels, one) for one in drawn]
    taken = time.process_time() - begun
    assert taken / len(drawn) < 0.25  # a tenth of that on a desk; a busy machine must not fail
    for degraded, one in zip(first[:10], drawn, strict=False):
        assert np.array_equal(apply(pixels, one), degraded)


def test_validation_crops_in_their_tone_are_nearer_than_in_their_colours(test_data: Path) -> None:
    from dmdcli.training.data import read_faces

    def decibels(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
        return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))

    faces = read_faces(test_data / "faces", "validation")
    asked, coloured = [], []
    for sample, crop in zip(faces.samples, faces.pixels, strict=True):
        old = draw(Severity.OLD, generator_for(0, sample.crop))
        degraded = apply(crop, old)
        asked.append(decibels(degraded, truth_for(crop, old)))
        coloured.append(decibels(degraded, crop))
    assert 26 < np.mean(asked) < 32
    assert np.mean(asked) > np.mean(coloured) + 5
