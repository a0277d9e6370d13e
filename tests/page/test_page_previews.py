"""What stands beside the photo: the face before and after, in a real browser; and what a telephone has room for."""

from __future__ import annotations

import pytest

from dmdcli.page.desk import Mode
from tests.browser import shoot
from tests.page.bench import Bench, Open
from tests.page.made_up_desk import MadeUpDesk

FRAMED = """() => [".pictures rect", "#stage .read"].map((which) => [...document.querySelectorAll(which)].map(
  (one) => getComputedStyle(one).strokeDasharray !== "none"))"""
READ = """[...document.querySelectorAll("#stage .read")].filter((one) => one.checkVisibility()).map(
  (one) => one.getAttribute("d"))"""
CAPTION = "before, with what the network reads"


def test_parts_that_are_left_as_they_are_have_dashed_boxes(open_bench: Open) -> None:
    bench: Bench = open_bench()
    bench.start()
    page = bench.page
    page.wait_for_selector("#beside .pictures rect", state="attached")
    bench.rest()
    caption = page.locator("#beside figcaption").first
    assert page.evaluate(FRAMED) == [[False, True, False]] * 2
    assert caption.inner_text() == f"{CAPTION}; dashed: left as it is"
    shoot(page, "page-left-out")
    points = bench.points()
    bench.drag(points[8], points[8] + (20, 0))
    bench.wait_for("preview", 2)
    page.wait_for_function("(text) => document.querySelector('#beside figcaption').textContent === text", arg=CAPTION)
    bench.rest()
    assert page.evaluate(FRAMED) == [[False, False, False]] * 2


def test_boxes_lie_where_they_lay_once_saved_points_are_undone(open_bench: Open) -> None:
    bench: Bench = open_bench()
    bench.start()
    page = bench.page
    page.wait_for_selector("#beside .pictures rect", state="attached")
    bench.rest()
    before, points = page.evaluate(READ), bench.points()
    assert len(before) == 3
    eyes = points[42:48].mean(axis=0, keepdims=True)
    bench.drag(eyes[0], eyes[0] + (30, 25))
    bench.wait_for_state("Saved.")
    bench.wait_for("preview", 2)
    page.keyboard.press("u")
    bench.wait_for("preview", 3)  # the points it is of are kept as undone only later
    page.wait_for_function("() => !document.querySelector('.preview').classList.contains('old')")
    bench.rest()
    assert page.evaluate(READ) == before


def test_in_a_moved_box_no_boxes_are_drawn_where_its_points_are_not(open_bench: Open) -> None:
    bench: Bench = open_bench()
    bench.start()
    page = bench.page
    page.wait_for_selector("#beside .pictures rect", state="attached")
    page.locator(".face-box").focus()
    page.keyboard.press("ArrowRight")
    bench.wait_for("preview", 2)
    page.wait_for_function("() => !document.querySelector('.preview').classList.contains('old')")
    bench.rest()
    assert page.evaluate(READ) == [], "the points that the preview found are not in the photo yet"


def test_a_reference_is_shown_once(open_bench: Open) -> None:
    bench: Bench = open_bench(MadeUpDesk(6, "references"))
    bench.start()
    bench.page.wait_for_selector("#beside .frame img >> visible=true")
    assert bench.page.locator("#beside figure:visible figcaption").all_inner_texts() == ["what is learned from it"]


@pytest.mark.parametrize(("mode", "most"), [("photos", 100), pytest.param("results", 60, marks=pytest.mark.slow)])
def test_buttons_leave_room_on_a_telephone(open_bench: Open, mode: Mode, most: int) -> None:
    bench: Bench = open_bench(MadeUpDesk(30, mode), width=390, height=844, touch=True)
    page = bench.page
    page.locator(".row").first.click()
    page.wait_for_selector("#decisions button")
    if mode == "results":
        page.click("#view-points")
    shoot(page, f"page-{mode}-390-buttons")
    bar, hint = page.locator(".decide").bounding_box(), page.locator("#edit-hint").bounding_box()
    assert bar is not None
    assert hint is not None
    assert bar["height"] < most
    if mode == "photos":
        assert hint["y"] + hint["height"] <= bar["y"], "what can be done with the points is in sight"
        points = bench.points()
        bench.drag(points[8], points[8] + (20, 0))
        assert page.inner_text("#saved").strip() == "Changed."
        assert page.locator(".decide").bounding_box() == bar
