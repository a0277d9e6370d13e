"""The page of a report in a real browser: it opens and filters fast, can be worked by hand and keys, and is safe."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import pytest

from dmdcli.decisions import read_decisions
from dmdcli.report.write import Told, write_report
from tests.browser import OpenPage, shoot
from tests.report.made_up import EVIL, made_up_journal

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
PHOTOS = 1000
RECORDS = "JSON.parse(document.getElementById('records').textContent)"
OPENS_WITHIN, FILTERS_WITHIN = 2.0, 0.1
"""Seconds."""
SET = """((field, value) => {
  const began = performance.now();
  const element = document.getElementById(field);
  element.value = value === true ? element.options[1].value : value;
  element.dispatchEvent(new Event("input", { bubbles: true }));
  document.getElementById("list").getBoundingClientRect();
  return [(performance.now() - began) / 1000, document.getElementById("count").textContent];
})"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    with made_up_journal(folder, PHOTOS) as journal:
        write_report(journal)
    return folder


@pytest.fixture
def may_say() -> tuple[str, ...]:
    return ("ERR_FILE_NOT_FOUND",)  # the results that it shows are made up


def open_report(page: Page, out: Path, fragment: str = "") -> None:
    """Open a report as a double click does, also where it is open at another place already."""
    page.goto("about:blank")
    page.goto((out / "report.html").absolute().as_uri() + fragment)


def number_of(out: Path, place: str) -> int:
    """The number of a photo in the page, from 1."""
    lines = (out / "report.jsonl").read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if f'"place": "{place}"' in line)


def test_a_thousand_photos_open_and_filter_fast(page: Page, out: Path) -> None:
    open_report(page, out)
    open_report(page, out)
    ready = page.evaluate("performance.getEntriesByName('ready')[0].startTime") / 1000
    loaded = page.evaluate("performance.timing.loadEventEnd - performance.timing.navigationStart") / 1000
    assert max(ready, loaded) < OPENS_WITHIN
    counts, slowest = [], 0.0
    steps = [("search", "1"), ("search", "photo 12"), ("search", ""), ("status", "restored"), ("used", "specific")]
    for field, value in [*steps, ("person", True), ("used", ""), ("status", ""), ("person", ""), ("reason", True)]:
        seconds, count = page.evaluate(f"{SET}({field!r}, {'true' if value is True else repr(value)})")
        slowest = max(slowest, seconds)
        counts.append(count)
    assert slowest < FILTERS_WITHIN
    assert counts[2] == counts[8] == "1,000 photos"
    assert counts[1] == "20 of 1,000 photos", "photos 12, 112, ... and 120 to 129"
    drawn = page.evaluate("document.querySelectorAll('.row').length")
    assert 0 < drawn < 60, "only what can be seen is there"
    print(f"\nopened in {max(ready, loaded):.3f} s, filtered in {slowest:.3f} s at most")


@pytest.mark.parametrize(("width", "height"), [(1600, 1000), (390, 844)])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_sticks_out_at_any_width(open_page: OpenPage, out: Path, width: int, height: int, dark: bool) -> None:
    page = open_page(width, height, dark=dark, touch=width < 800)
    for fragment in ("", "#overview", f"#photo-{number_of(out, 'album 0/photo 15.jpg')}"):
        open_report(page, out, fragment)
        shoot(page, f"{width}{'-dark' if dark else ''}{fragment.replace('#', '-')}")
        wide = page.evaluate(
            "[...document.querySelectorAll('body, #shown, .browse, .face, .compare')]"
            ".filter((one) => one.scrollWidth > innerWidth).map((one) => one.className || one.id)"
        )
        assert wide == []
        assert page.evaluate("document.body.scrollWidth") <= width


def test_names_do_nothing(page: Page, out: Path) -> None:
    open_report(page, out)
    names = page.evaluate(f"{RECORDS}.photos.map((one) => one.place.toWellFormed())")
    addresses = {}
    for place in EVIL:
        number = names.index(re.sub("[\udc80-\udcff]", "\ufffd", place)) + 1
        open_report(page, out, f"#photo-{number}")
        assert page.evaluate("document.scripts.length") == 2
        assert page.evaluate("document.querySelectorAll('img[src=x]').length") == 0
        addresses[place] = page.evaluate("document.querySelector('.title a[target]')?.getAttribute('href')")
    open_report(page, out)
    shown = page.evaluate("[...document.querySelectorAll('.row .name')].map((one) => one.textContent)")
    assert "<img src=x onerror=alert(1)>.png" in shown
    assert "</script><script>alert(2)</script>.jpg" in page.evaluate(f"{RECORDS}.photos.map((one) => one.place)")
    assert addresses["a b#c?d%20e.jpg"] == "a%20b%23c%3Fd%2520e.jpg"
    assert "bytes%20%ff%fe.tif" in addresses.values()


def test_what_decisions_need_can_be_copied(page: Page, out: Path) -> None:
    open_report(page, out, f"#photo-{number_of(out, 'album 0/photo 15.jpg')}")
    place, *boxes = page.evaluate("[...document.querySelectorAll('#shown code')].map((one) => one.textContent)")
    assert (place, len(boxes)) == ('place = "album 0/photo 15.jpg"', 3)
    path = out / "decisions.toml"
    text = "".join(f"[[photo.face]]\n{box}\nstranger = true\n" for box in boxes)
    path.write_text(f"format = 1\n[[photo]]\n{place}\n{text}")
    said = read_decisions(path)
    path.unlink()
    rows = map(json.loads, (out / "report.jsonl").read_text(encoding="utf-8").splitlines())
    photo = next(row for row in rows if row["place"] == "album 0/photo 15.jpg")
    found = said.find("", PurePath(photo["original"]), [tuple(face["box"]) for face in photo["faces"]])
    assert found == list(said), "each is about the face on whose card it stands"


def test_keys_go_through_the_list_and_move_the_slider(page: Page, out: Path) -> None:
    open_report(page, out)
    page.evaluate("document.getElementById('list').focus()")
    titles = []
    for _ in range(3):
        page.keyboard.press("ArrowDown")
        titles.append(page.evaluate("[location.hash, document.activeElement.id]"))
    assert titles == [[f"#photo-{number}", "list"] for number in (1, 2, 3)]
    active = page.evaluate(
        "document.getElementById(document.getElementById('list').getAttribute('aria-activedescendant'))"
    )
    assert active is not None
    page.keyboard.press("End")
    assert page.evaluate("location.hash") == f"#photo-{PHOTOS}"
    page.evaluate("new Promise((done) => setTimeout(done, 100))")
    assert page.evaluate(f"document.querySelector('h2').textContent === {RECORDS}.photos.at(-1).place")
    open_report(page, out, f"#photo-{number_of(out, 'album 0/photo 15.jpg')}")
    page.evaluate("document.querySelector('.compare input').focus()")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    where = "document.querySelector('.compare').style.getPropertyValue('--at')"
    assert page.evaluate(where) == "52%"
    assert page.evaluate("document.querySelector('.compare input').getAttribute('aria-valuetext')").startswith("48 %")
    assert page.evaluate("getComputedStyle(document.querySelector('.compare')).outlineStyle") == "solid"


def drag(page: Page, start: tuple[float, float], end: tuple[float, float], touch: bool) -> None:
    if touch:
        fingers = page.context.new_cdp_session(page)
        for kind, places in (("touchStart", [start]), ("touchMove", [end]), ("touchEnd", [])):
            points = [{"x": x, "y": y} for x, y in places]
            fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    else:
        page.mouse.move(*start)
        page.mouse.down()
        page.mouse.move(*end)
        page.mouse.up()


@pytest.mark.parametrize("touch", [False, True], ids=["mouse", "finger"])
def test_the_slider_follows(open_page: OpenPage, out: Path, touch: bool) -> None:
    page = open_page(*((390, 844) if touch else (1600, 1000)), touch=touch)
    open_report(page, out, f"#photo-{number_of(out, 'album 0/photo 15.jpg')}")
    page.evaluate("Promise.all([...document.querySelectorAll('.compare img')].map((one) => one.decode()))")
    left, top, width, height = page.evaluate(
        "(({ left, top, width, height }) => [left, top, width, height])"
        "(document.querySelector('.compare').getBoundingClientRect())"
    )
    middle = top + height / 2
    drag(page, (left + width / 2, middle), (left + width / 4, middle), touch)
    at = page.evaluate("document.querySelector('.compare').style.getPropertyValue('--at')")
    assert float(at.rstrip("%")) == pytest.approx(25, abs=1)


def test_every_part_has_a_name_and_every_field_a_label(page: Page, out: Path) -> None:
    open_report(page, out, f"#photo-{number_of(out, 'album 0/photo 15.jpg')}")
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "textbox", "searchbox", "combobox", "slider", "checkbox", "listbox", "option", "link", "region"}
    shown = [node for node in nodes if not node["ignored"] and node["role"]["value"] in roles]
    assert {node["role"]["value"] for node in shown} >= {"slider", "listbox", "option", "searchbox", "combobox"}
    assert [node["role"]["value"] for node in shown if not node.get("name", {}).get("value")] == []
    assert page.evaluate("[...document.images].every((one) => one.hasAttribute('alt'))")


def test_a_photo_is_found_and_left_again_on_a_telephone(open_page: OpenPage, out: Path) -> None:
    page = open_page(390, 844, touch=True)
    open_report(page, out)
    visible = "getComputedStyle(document.getElementById('list')).display !== 'none' && !!list.offsetParent"
    assert page.evaluate(visible)
    page.evaluate("document.querySelectorAll('.row')[3].click()")
    assert not page.evaluate(visible)
    page.evaluate("document.querySelector('.back').click()")
    assert page.evaluate(f"new Promise((done) => setTimeout(() => done({visible}), 100))")


def test_pictures_come_from_the_folder_or_from_the_page_itself(page: Page, tmp_path: Path) -> None:
    with made_up_journal(tmp_path, 30) as journal:
        for single in (False, True):
            write_report(journal, Told(single_file=single))
            fragment = f"#photo-{number_of(tmp_path, 'album 0/photo 15.jpg')}"
            open_report(page, tmp_path, fragment)
            widths = page.evaluate(
                "Promise.all([...document.querySelectorAll('#shown img')].map((one) => {"
                "one.loading = 'eager'; return one.decode().then(() => one.naturalWidth); }))"
            )
            assert len(widths) > 4
            assert set(widths) == {192}
            assert page.evaluate("document.querySelector('.compare img').src.slice(0, 5)") == (
                "data:" if single else "file:"
            )
