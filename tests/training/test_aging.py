from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from dmdcli.training.aging import BLURS, FREE, Aging, draw_aging
from dmdcli.training.severity import AgingRanges, Chance

RANGES = AgingRanges()
CHANCES = [name for name, value in vars(RANGES).items() if isinstance(value, Chance) and name in Aging.__annotations__]
PAIRS = [
    name
    for name, value in vars(RANGES).items()
    if isinstance(value, tuple) and name in Aging.__annotations__ and name != "colour"
]


@pytest.fixture(scope="module")
def drawn() -> list[Aging]:
    return [draw_aging(RANGES, np.random.default_rng([1, number])) for number in range(1500)]


def fills(values: list[float], low: float, high: float) -> bool:
    margin = 0.05 * (high - low)
    return low <= min(values) < low + margin and high - margin < max(values) <= high


@pytest.mark.parametrize("name", CHANCES)
def test_each_damage_comes_as_often_and_as_strong_as_its_range_says(drawn: list[Aging], name: str) -> None:
    chance = getattr(RANGES, name)
    strengths = [getattr(one, name) for one in drawn if getattr(one, name) > 0]
    deviation = np.sqrt(chance.share * (1 - chance.share) / len(drawn))
    assert abs(len(strengths) / len(drawn) - chance.share) < 4 * deviation
    assert fills(strengths, chance.lowest, chance.highest)


@pytest.mark.parametrize("name", PAIRS)
def test_sizes_fill_their_ranges(drawn: list[Aging], name: str) -> None:
    assert fills([getattr(one, name) for one in drawn], *getattr(RANGES, name))


def test_every_kind_of_damage_has_a_range() -> None:
    assert {"blur", "grain", "screen", "light", "paper", "stains", "scratches", "creases", "dust"} == set(CHANCES)
    assert set(FREE) <= set(CHANCES)


def test_colour_is_kept_by_some_prints_and_by_none_of_a_press(drawn: list[Aging]) -> None:
    kept = [one.colour for one in drawn if one.colour > 0]
    assert fills(kept, *RANGES.colour)
    grey_prints = [one for one in drawn if not one.screen]
    assert abs(np.mean([one.colour == 0 for one in grey_prints]) - RANGES.grey) < 0.05
    assert all(one.colour == 0 for one in drawn if one.screen)


def test_black_and_white_fade_towards_each_other(drawn: list[Aging]) -> None:
    ends = np.array([(one.blackest, one.whitest) for one in drawn])
    assert ends.min() >= 0
    assert ends.max() <= 255
    assert (ends[:, 1] - ends[:, 0]).min() > 70  # the picture can still be seen
    red, _, blue = ends[:, 1].T
    assert (red - blue > 20).mean() > 0.2  # sepia and yellow
    assert (blue - red > 5).mean() > 0.08


def test_kinds_of_blur_and_orders_are_all_drawn(drawn: list[Aging]) -> None:
    assert {one.blur_kind for one in drawn} == set(BLURS)
    orders = {one.order for one in drawn}
    assert all(sorted(order) == sorted(FREE) for order in orders)
    assert len(orders) == 120
    assert drawn[7] == draw_aging(RANGES, np.random.default_rng([1, 7]))


def test_ranges_of_ones_own_are_kept() -> None:
    ranges = dataclasses.replace(RANGES, dust=Chance(1, 5, 6), grain=Chance(0, 1, 2), grey=0)
    own = [draw_aging(ranges, np.random.default_rng(seed)) for seed in range(50)]
    assert all(5 <= one.dust <= 6 for one in own)
    assert all(one.grain == 0 for one in own)
    assert all(one.colour > 0 for one in own if not one.screen)


def test_it_can_be_written_down_and_carried_to_another_size(drawn: list[Aging]) -> None:
    for one in drawn[:50]:
        assert Aging.from_dict(json.loads(json.dumps(dataclasses.asdict(one)))) == one
    assert drawn[0].at_scale(2.5) == dataclasses.replace(drawn[0], side=1280)
    assert drawn[0].at_scale(2.5).scale == 2.5
