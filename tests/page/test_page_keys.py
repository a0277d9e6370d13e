"""Keys and clicks that come faster than the program answers, in a real browser: none reaches the wrong face."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest

from dmdcli.decisions import Decision
from dmdcli.page.desk import Depth, Detail, Mode
from tests.browser import shoot
from tests.page.bench import ERRORS_ANSWERED, Bench, Open
from tests.page.made_up_desk import MadeUpDesk

FIRST, SECOND, THIRD = "photo 2.jpg, face 3", "photo 5.jpg, face 3", "photo 8.jpg, face 3"


@pytest.fixture
def may_say() -> tuple[str, ...]:
    return ERRORS_ANSWERED


class SlowDesk(MadeUpDesk):
    """Answers only while `answers` is set: opens no face, saves none, and does not end."""

    def __init__(self, **more: Any) -> None:
        self.answers = threading.Event()
        self.answers.set()
        super().__init__(30, **more)

    def detail(self, face: str, depth: Depth = "searched") -> Detail:
        assert self.answers.wait(20)
        return super().detail(face, depth)

    def decided(self) -> Mapping[str, int]:
        assert self.answers.wait(20)
        return super().decided()

    def save(self, face: str, decision: Decision, seen: str | None = None) -> Detail:
        self.asked.append(("sent", (face, decision)))
        assert self.answers.wait(20)
        return super().save(face, decision, seen)


def test_keys_while_the_next_face_is_on_its_way_decide_nothing(open_bench: Open) -> None:
    desk = SlowDesk()
    bench: Bench = open_bench(desk)
    bench.start()
    page = bench.page
    desk.answers.clear()
    page.keyboard.press("n")
    points = bench.points()
    for key in "xaldsu":
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    page.locator("#accept").click(force=True)
    bench.drag(points[8], points[8] + (20, 0))
    page.wait_for_timeout(100)
    assert bench.asked("sent") == []
    desk.answers.set()
    bench.wait_for_face(SECOND)
    assert page.locator("#face > [inert]").count() == 0
    page.keyboard.press("x")
    bench.wait_for_face(THIRD)
    assert bench.saved() == ("f17", Decision(not_a_face=True))


def test_a_key_pressed_twice_decides_once_and_is_sent_once(open_bench: Open) -> None:
    desk = SlowDesk()
    bench: Bench = open_bench(desk)
    bench.start()
    desk.answers.clear()
    bench.page.keyboard.press("x")
    bench.page.keyboard.press("x")
    desk.answers.set()
    bench.wait_for_face(SECOND)
    assert bench.asked("sent") == [("f8", Decision(not_a_face=True))]


def test_a_double_click_decides_about_one_face(open_bench: Open) -> None:
    """The next face is there before the second click, and nobody has looked at it."""
    bench: Bench = open_bench()
    bench.start()
    page = bench.page
    page.locator("#accept").dblclick(delay=50)
    bench.wait_for_face(SECOND)
    page.wait_for_timeout(300)
    assert bench.asked("save") == [("f8", Decision(accepted=True))]
    page.click("#accept")
    assert bench.saved(2) == ("f17", Decision(accepted=True))


def test_a_key_that_is_held_decides_about_one_face(open_bench: Open) -> None:
    bench: Bench = open_bench()
    bench.start()
    page = bench.page
    for key, told in (("a", Decision(accepted=True)), ("Enter", Decision(accepted=True))):
        before, title = len(bench.asked("save")), bench.title()
        for _ in range(4):
            page.keyboard.down(key)
            page.wait_for_timeout(100)
        page.keyboard.up(key)
        assert [decision for _, decision in bench.asked("save")[before:]] == [told]
        assert bench.title() != title


def test_a_double_click_finishes_once(open_bench: Open) -> None:
    desk = SlowDesk()
    page = open_bench(desk).page
    ended: list[str] = []
    page.on("request", lambda request: ended.append(request.url) if request.url.endswith("finish") else None)
    desk.answers.clear()
    page.locator("#finish").dblclick(delay=50)
    page.wait_for_timeout(100)
    desk.answers.set()
    page.wait_for_selector("text=Nothing was decided.")
    page.wait_for_timeout(200)
    assert len(ended) == 1
    assert page.inner_text("#trouble") == ""


@pytest.mark.slow
def test_a_face_that_does_not_open_leaves_the_one_before(open_bench: Open) -> None:
    bench: Bench = open_bench()
    bench.start()
    page = bench.page
    page.focus("#next")
    page.route("**/api/faces/f17*", lambda route: route.fulfill(status=404, json={"error": "It is gone."}))
    page.keyboard.press("Enter")
    page.wait_for_selector("#trouble >> text=It is gone.")
    assert page.get_attribute("#face-f8", "aria-selected") == "true"
    assert page.evaluate("document.activeElement.id") == "next"
    page.keyboard.press("a")
    assert bench.saved() == ("f8", Decision(accepted=True))


def test_points_being_found_are_waited_for_and_are_one_step(open_bench: Open) -> None:
    """The box is moved and its points are asked for; before they are there the user goes on."""
    desk = SlowDesk()
    bench: Bench = open_bench(desk)
    bench.start()
    page = bench.page
    page.locator(".face-box").focus()
    page.keyboard.press("ArrowRight")
    desk.answers.clear()
    page.click("#refit")
    assert page.inner_text("#refit") == "Finding the points…"
    assert page.is_disabled("#refit")
    box = page.get_attribute(".face-box", "aria-label")
    page.keyboard.press("u")
    bench.rest()
    assert page.is_disabled("#undo")
    assert page.get_attribute(".face-box", "aria-label") == box
    shoot(page, "page-finding-points")
    page.keyboard.press("n")
    page.wait_for_timeout(50)
    desk.answers.set()
    bench.wait_for_face(SECOND)
    assert [decision.landmarks for _, decision in bench.asked("sent")] == [None]
    page.keyboard.press("p")
    bench.wait_for_face(FIRST)
    page.locator(".face-box").focus()
    page.keyboard.press("ArrowRight")
    page.click("#refit")
    page.wait_for_selector("#refit", state="hidden")
    assert page.is_enabled("#undo")
    moved = page.get_attribute(".face-box", "aria-label")
    page.click("#undo")
    bench.rest()
    assert page.get_attribute(".face-box", "aria-label") == moved  # the points are taken back, and not the box
    page.click("#undo")
    bench.rest()
    assert page.get_attribute(".face-box", "aria-label") != moved


@pytest.mark.parametrize("mode", ["photos", "results"])
def test_only_keys_that_do_something_are_shown(open_bench: Open, mode: Mode) -> None:
    bench: Bench = open_bench(MadeUpDesk(6, mode))
    keys = bench.page.locator("#key-table tbody th").all_text_contents()
    assert {"A", "L"} <= set(keys)
    assert ("C" in keys, "V" in keys) == ((True, True) if mode == "results" else (False, False))
