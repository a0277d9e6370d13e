"""The page at both widths, in the light and in the dark, for eyes, keys, fingers and screen readers; pictures of it."""

from __future__ import annotations

from typing import Any

import pytest

from dmdcli.page.desk import Mode
from tests.browser import shoot
from tests.page.bench import Bench, Open
from tests.page.made_up_desk import MadeUpDesk

pytestmark = pytest.mark.slow
NAMELESS = """() => [...document.querySelectorAll("button, input, select, a, [tabindex], [role]")].filter((one) => {
  if (!one.checkVisibility() || ["presentation", "status", "alert"].includes(one.getAttribute("role"))) return false;
  const labels = [...(one.labels || [])].map((label) => label.textContent.trim());
  return ![one.getAttribute("aria-label"), one.textContent.trim(), ...labels].some(Boolean) && one.tagName !== "MAIN";
}).map((one) => one.outerHTML)"""
SMALL = """() => [...document.querySelectorAll("button, select, summary, a.quiet, input")].filter((one) => {
  const around = { radio: "label", checkbox: "label", range: ".compare" }[one.type];
  const edge = ((around && one.closest(around)) || one).getBoundingClientRect();
  return one.checkVisibility() && (edge.width < 24 || edge.height < 24);
}).map((one) => one.outerHTML)"""
COLOURS = """(names) => Object.fromEntries(names.map((name) =>
  [name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()]))"""
NAMES = ("ink", "soft", "good", "warn", "bad", "accent", "accent-ink", "edge", "bad-ground")
GROUNDS = ("surface", "ground", "accent-ground")
FOCUSED = "(document.activeElement.getAttribute('aria-label') || document.activeElement.id).trim()"


@pytest.mark.parametrize(("width", "height"), [(1600, 1000), (390, 844)])
@pytest.mark.parametrize("mode", ["photos", "references", "results"])
def test_each_mode_at_both_widths(open_bench: Open, mode: Mode, width: int, height: int) -> None:
    bench: Bench = open_bench(MadeUpDesk(30, mode, 45), width=width, height=height, touch=width < 600)
    page = bench.page
    page.wait_for_selector(".row img.small[src]")
    shoot(page, f"page-{mode}-{width}-list")
    looked_at(page)
    page.locator(".row").first.click()
    page.wait_for_selector("#face")
    page.wait_for_selector(".compare img.after" if mode == "results" else "#beside .frame img >> visible=true")
    shoot(page, f"page-{mode}-{width}")
    looked_at(page)
    if mode == "results":
        page.click("#view-points")
    page.keyboard.press("e")
    page.keyboard.press("z")
    shoot(page, f"page-{mode}-{width}-eye")
    looked_at(page)
    page.locator("#shown").evaluate("(shown) => { shown.scrollTop = shown.scrollHeight; }")
    shoot(page, f"page-{mode}-{width}-below")
    if mode == "photos":
        page.keyboard.press("d")
        shoot(page, f"page-{mode}-{width}-draw")
        looked_at(page)
        page.keyboard.press("Escape")
    page.keyboard.press("?")
    shoot(page, f"page-{mode}-{width}-keys")
    looked_at(page)


def looked_at(page: Any) -> None:
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate(SMALL) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it is wider than the window"
    assert page.evaluate("document.getElementById('shown').scrollWidth <= document.getElementById('shown').clientWidth")


@pytest.mark.parametrize("dark", [False, True])
def test_texts_stand_out(open_bench: Open, dark: bool) -> None:
    bench: Bench = open_bench(dark=dark)
    bench.start()
    bench.page.wait_for_selector("#beside .frame img")
    shoot(bench.page, f"page-photos-1600-{'dark' if dark else 'light'}")
    colours = bench.page.evaluate(COLOURS, [*NAMES, *GROUNDS])
    pairs = [(text, ground) for text in ("ink", "soft", "good", "warn", "bad", "accent") for ground in GROUNDS]
    pairs += [("accent-ink", "accent"), ("ink", "bad-ground")]
    found = {pair: round(contrast(*(colours[one] for one in pair)), 2) for pair in pairs}
    assert {pair: value for pair, value in found.items() if value < 4.5} == {}
    assert contrast(colours["edge"], colours["surface"]) >= 3


def contrast(one: str, other: str) -> float:
    """Of two colours, "#rrggbb", as WCAG 2 defines it."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_letters_can_be_switched_off_and_rest_in_text_fields(open_bench: Open) -> None:
    bench: Bench = open_bench()
    bench.start()
    page = bench.page
    page.fill("#search", "")
    page.locator("#search").press_sequentially("nax?")
    assert page.input_value("#search") == "nax?"
    page.fill("#search", "")
    page.locator("#face-title").focus()
    page.keyboard.press("?")
    page.wait_for_selector("#keys[open]")
    page.keyboard.press("a")  # says nothing while the keys are shown
    page.uncheck("#letters")
    page.keyboard.press("Escape")
    page.locator("#face-title").focus()
    for key in "nasx":
        page.keyboard.press(key)
    page.wait_for_timeout(200)
    assert bench.title() == "photo 2.jpg, face 3"
    assert bench.asked("save") == []


def test_tab_reaches_everything_and_leaves_the_editor_again(open_bench: Open) -> None:
    bench: Bench = open_bench()
    bench.start()
    page = bench.page
    page.locator("#face-title").focus()
    reached = []
    for _ in range(32):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(FOCUSED))
    assert [one for one in reached if "point " in one] == []  # the points only where they are wanted
    wanted = [
        "Next face",
        "Points of the face",
        "Jaw, 17 points",
        "Mouth, 20 points",
        "part",
        "Name, enrolled or new",
        "accept",
        "save",
    ]
    places = [next(place for place, one in enumerate(reached) if one.startswith(name)) for name in wanted]
    assert places == sorted(places)
    page.keyboard.press("e")
    reached = []
    for _ in range(7):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(FOCUSED).partition(", at")[0])
    assert reached == [*(f"Left eye, point {number} of 6" for number in range(1, 7)), "Right eye, 6 points"]


def test_there_is_one_of_each_landmark_and_a_way_past_the_list(open_bench: Open) -> None:
    bench: Bench = open_bench()
    page = bench.page
    assert [page.locator(one).count() for one in ("main", "h1", "header", "[role=search]", "[role=listbox]")] == [
        1,
        1,
        1,
        1,
        1,
    ]
    assert page.get_attribute("html", "lang") == "en"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    bench.wait_for_face("photo 2.jpg, face 3")


def test_less_motion_where_less_is_wanted(open_bench: Open) -> None:
    bench: Bench = open_bench()
    bench.page.emulate_media(reduced_motion="reduce")
    bench.start()
    bench.page.wait_for_selector("#beside .frame img")
    assert (
        bench.page.evaluate("getComputedStyle(document.querySelector('#beside .frame img')).transitionProperty")
        == "none"
    )


def test_on_a_telephone_labels_stand_beside_their_boxes_and_the_preview_comes_first(open_bench: Open) -> None:
    bench: Bench = open_bench(MadeUpDesk(6, "results"), width=390, height=844, touch=True)
    page = bench.page
    page.locator(".row").first.click()
    page.wait_for_selector("#beside .preview")
    beside = """[...document.querySelectorAll("label.line")].filter((one) => one.checkVisibility()).map((one) => {
      const range = document.createRange(), box = one.querySelector("input");
      range.setStartAfter(box);
      range.setEndAfter(one.lastChild);
      return range.getBoundingClientRect().left >= box.getBoundingClientRect().right;
    })"""
    page.click("#show-keys")
    found = page.evaluate(beside)
    assert len(found) == 5
    assert all(found)
    shoot(page, "page-keys-390")
    widths = page.evaluate("[...document.querySelectorAll('#key-table thead th')].map((one) => one.offsetWidth)")
    assert widths[1] > 1.7 * widths[0]
    page.click("#close-keys")
    tops = page.evaluate("[...document.querySelectorAll('#beside > *')].map((one) => one.getBoundingClientRect().top)")
    preview = page.evaluate("document.querySelector('#beside > .preview').getBoundingClientRect().top")
    assert preview == min(tops)
