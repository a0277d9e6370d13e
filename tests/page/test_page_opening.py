"""A face that takes long to open, in a real browser: its name and picture are there at once, and waiting is seen."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from dmdcli.decisions import Decision
from dmdcli.errors import UsageError
from dmdcli.page.desk import Depth, Detail
from tests.browser import shoot
from tests.page.bench import ERRORS_ANSWERED, Bench, Open
from tests.page.made_up_desk import MadeUpDesk

FIRST, SECOND = "photo 2.jpg, face 3", "photo 5.jpg, face 3"
SAID = "(text) => document.getElementById('said').textContent.includes(text)"


@pytest.fixture
def may_say() -> tuple[str, ...]:
    return ERRORS_ANSWERED


class DeepDesk(MadeUpDesk):
    """Results whose outlines are there at once, whose points while `describes` is set, the rest while `searches` is."""

    def __init__(self, **more: Any) -> None:
        self.describes, self.searches = threading.Event(), threading.Event()
        self.fails = False
        for event in (self.describes, self.searches):
            event.set()
        super().__init__(30, "results", **more)

    def detail(self, face: str, depth: Depth = "searched") -> Detail:
        detail = super().detail(face)
        if depth == "outline":
            return replace(detail, landmarks=(), found_box=None, found_landmarks=None, candidates=(), pending=True)
        assert self.describes.wait(20)
        if self.fails:
            raise UsageError("The disk is gone.")
        if depth == "searched":
            assert self.searches.wait(20)
        if self.searches.is_set():
            return detail
        return replace(detail, found_box=None, found_landmarks=None, pending=True)


@pytest.mark.parametrize("width", [390, 1600])
def test_name_and_picture_are_there_before_the_points(open_bench: Open, width: int) -> None:
    desk = DeepDesk()
    bench: Bench = open_bench(desk, width=width)
    page = bench.page
    desk.describes.clear()
    page.locator("#face-f8").click()
    page.wait_for_selector(".compare img.after")
    assert bench.title() == FIRST
    assert page.locator("#beside dl").inner_text().startswith("Published")
    page.wait_for_function(SAID, arg=f"Loading {FIRST}…")
    assert page.is_visible("#loading")
    assert page.get_attribute("#face", "aria-busy") == "true"
    shoot(page, f"page-loading-{width}")
    page.evaluate("document.querySelector('.compare').dataset.same = 'yes'")
    desk.describes.set()
    page.wait_for_function(SAID, arg=f"{FIRST} is there.")
    assert not page.is_visible("#loading")
    assert page.get_attribute("#face", "aria-busy") is None
    assert page.get_attribute(".compare", "data-same") == "yes"  # it does not flicker
    assert page.locator("#face > [inert]").count() == 0
    assert page.inner_text("#trouble") == ""


def test_what_is_quick_shows_no_sign_of_waiting(open_bench: Open) -> None:
    bench: Bench = open_bench(DeepDesk())
    page = bench.page
    page.evaluate(
        """() => { window.waited = 0;
          const face = document.getElementById("face");
          new MutationObserver(() => { window.waited += face.classList.contains("waiting"); })
            .observe(face, { attributes: true }); }"""
    )
    page.clock.install()  # however slow this machine is, no time passes here
    page.locator("#begin").click()
    bench.wait_for_face(FIRST)
    page.keyboard.press("n")
    bench.wait_for_face(SECOND)
    assert page.evaluate("window.waited") == 0


def test_a_key_that_cannot_be_heard_yet_is_answered(open_bench: Open) -> None:
    desk = DeepDesk()
    bench: Bench = open_bench(desk)
    bench.page.locator("#face-f8").click()
    bench.wait_for_face(FIRST)
    desk.describes.clear()
    bench.page.keyboard.press("n")
    bench.page.keyboard.press("a")
    bench.page.wait_for_function(SAID, arg=f"Loading {SECOND}…")
    bench.page.keyboard.press("n")  # the page itself goes on
    bench.page.wait_for_function("() => document.getElementById('face-title').textContent.startsWith('photo 8')")
    desk.describes.set()
    bench.wait_for_face("photo 8.jpg, face 3")
    assert bench.asked("save") == []


def test_what_the_search_finds_follows_and_nothing_waits_for_it(open_bench: Open) -> None:
    desk = DeepDesk()
    points = tuple((x + 9, y) for x, y in desk.detail("f8").landmarks)
    desk.save("f8", Decision(landmarks=points))
    bench: Bench = open_bench(desk)
    page = bench.page
    desk.searches.clear()
    page.select_option("#filter", "all")
    page.locator("#face-f8").click()
    bench.wait_for_face(FIRST)
    page.keyboard.press("v")
    assert page.is_disabled("#as-found")
    where = bench.points()
    bench.drag(where[8], where[8] + (20, 0))
    assert page.inner_text("#saved").startswith("Changed.")
    desk.searches.set()
    page.wait_for_function("() => !document.getElementById('as-found').disabled")
    assert page.inner_text("#saved").startswith("Changed."), "what was changed meanwhile stays"
    page.keyboard.press("s")
    assert bench.saved(2)[1].landmarks[8][0] > points[8][0]  # type: ignore[index]
    page.click("#as-found")
    page.keyboard.press("s")
    bench.wait_for("reset")


def test_the_next_face_in_the_order_shown_is_prepared(open_bench: Open) -> None:
    bench: Bench = open_bench(DeepDesk())
    bench.wait_for("prepare")
    bench.page.locator("#face-f8").click()
    bench.wait_for_face(FIRST)
    bench.wait_for("prepare", 2)
    bench.page.keyboard.press("n")
    bench.wait_for("prepare", 3)
    assert bench.asked("prepare") == [("f8",), ("f17",), ("f26",)]


def test_a_result_that_does_not_open_leaves_the_one_before(open_bench: Open) -> None:
    desk = DeepDesk()
    bench: Bench = open_bench(desk)
    page = bench.page
    desk.fails = True
    page.locator("#begin").click()
    page.wait_for_selector("#trouble >> text=The disk is gone.")
    assert page.is_visible("#start")
    desk.fails = False
    page.click("#trouble button")
    bench.wait_for_face(FIRST)
    desk.fails = True
    page.keyboard.press("n")
    page.wait_for_selector("#trouble >> text=The disk is gone.")
    bench.wait_for_face(FIRST)
    page.keyboard.press("a")
    assert bench.saved() == ("f8", Decision(accepted=True))
