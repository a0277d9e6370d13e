"""What was saved and is taken back, in a real browser: a box that was moved, a reference that was removed."""

from __future__ import annotations

import pytest

from dmdcli.decisions import Decision
from tests.page.bench import Bench, Open
from tests.page.made_up_desk import MadeUpDesk


def test_as_found_takes_a_saved_box_back(open_bench: Open) -> None:
    bench: Bench = open_bench()
    bench.start()
    page = bench.page
    found = bench.points()
    page.locator(".face-box").focus()
    page.keyboard.press("ArrowRight")
    page.click("#refit")
    page.wait_for_selector("#refit", state="hidden")
    bench.wait_for_state("Saved")
    moved = bench.points()
    assert (moved - found)[:, 0].min() > 1
    page.click("#as-found")
    page.keyboard.press("s")
    assert bench.saved(2) == ("f8", Decision(box=bench.desk.detail("f8").found_box)), "points that are found again"
    bench.wait_for_state("Saved")
    assert bench.points() == pytest.approx(found, abs=0.1)
    assert page.is_disabled("#as-found")
    page.keyboard.press("u")
    assert bench.points() == pytest.approx(moved, abs=0.1)


@pytest.mark.slow
def test_a_removed_reference_comes_back_with_its_corrected_points(open_bench: Open) -> None:
    bench: Bench = open_bench(MadeUpDesk(6, "references"))
    bench.start()
    page = bench.page
    name, points = bench.title(), bench.points()
    bench.drag(points[8], points[8] + (20, 0))
    page.keyboard.press("s")
    bench.wait_for_state("Saved")
    corrected = bench.saved()[1].landmarks
    page.keyboard.press("x")
    bench.wait_for("save", 2)
    page.wait_for_function("(name) => document.getElementById('face-title').textContent !== name", arg=name)
    page.keyboard.press("p")
    bench.wait_for_face(name)
    page.keyboard.press("x")
    assert bench.saved(3)[1] == Decision(landmarks=corrected)
    bench.wait_for_state("Saved")
    assert page.get_attribute("#not-a-face", "aria-pressed") == "false"
