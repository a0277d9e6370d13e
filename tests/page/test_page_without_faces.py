"""Photos in which no face was found, in a real browser: gone past, accepted, and a face drawn in them."""

from __future__ import annotations

import pytest

from dmdcli.decisions import Decision
from tests.browser import shoot
from tests.page.bench import Bench, Open
from tests.page.made_up_desk import FacelessDesk

EMPTY, BESIDE = "photo 0.jpg", "photo 1.jpg, face 2"


def test_keys_lead_past_the_box_that_nobody_touched(open_bench: Open) -> None:
    bench: Bench = open_bench(FacelessDesk(2))
    bench.start()
    page = bench.page
    page.keyboard.press("n")
    bench.wait_for_face(EMPTY)
    page.wait_for_selector("#draw-tools")
    assert page.inner_text("#beside") == "", "there is no face that a strength or a name could be given to"
    page.keyboard.press("n")
    bench.wait_for_face(BESIDE)
    page.keyboard.press("p")
    bench.wait_for_face(EMPTY)
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.getElementById('said').textContent.startsWith('Move the box')")
    assert bench.asked("draw") == []
    page.keyboard.press("a")
    assert bench.saved() == ("f0", Decision(accepted=True))
    bench.wait_for_face(BESIDE)
    page.keyboard.press("p")
    bench.wait_for_face(EMPTY)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("n")
    assert bench.title() == EMPTY, "a box that was moved is not lost"
    page.keyboard.press("Enter")
    bench.wait_for("draw")


def test_a_photo_without_a_face_is_counted_as_what_it_is(open_bench: Open) -> None:
    bench: Bench = open_bench(FacelessDesk(2))
    page = bench.page
    told = "2 faces and 1 photo where none was found"
    assert (page.inner_text("#start-title"), page.inner_text("#count")) == (told, f"{told}, the worst first")
    assert page.inner_text("#progress") == "0 of 2 faces looked at, 0 of 1 photo where none was found"
    assert page.inner_text("#begin") == "Start with the first face"
    shoot(page, "page-counts")
    bench.start("f0")
    page.keyboard.press("a")
    bench.wait_for_face(BESIDE)
    page.wait_for_function(
        "(text) => document.getElementById('progress').textContent === text",
        arg="0 of 2 faces looked at, 1 of 1 photo where none was found",
    )
    assert page.inner_text("#said").startswith(f"{EMPTY}: there is no face. Now {BESIDE}")


def test_where_no_photo_has_a_face_none_is_counted(open_bench: Open) -> None:
    page = open_bench(FacelessDesk()).page
    assert page.inner_text("#start-title") == "1 photo where no face was found"
    assert page.inner_text("#begin") == "Start with the first photo"


@pytest.mark.slow
def test_the_list_keeps_its_keys_beside_a_photo_without_a_face(open_bench: Open) -> None:
    bench: Bench = open_bench(FacelessDesk(2))
    bench.start("f0")
    page = bench.page
    page.keyboard.press("p")
    bench.wait_for_face("photo 1.jpg, face 1")
    page.locator("#list").focus()
    page.keyboard.press("ArrowDown")
    bench.wait_for_face(EMPTY)
    page.keyboard.press("ArrowDown")
    bench.wait_for_face(BESIDE)
