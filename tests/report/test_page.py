"""The page of a report in a real browser: that it opens and filters fast, can be worked by hand and keys, and is safe.

Pictures of the window go to the folder that DMD_SCREENSHOTS names, if it names one.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

import pytest

from dmdcli.decisions import read_decisions
from dmdcli.report.write import Told, write_report
from tests.report.made_up import EVIL, made_up_journal

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Chromium's debugging pipe is spoken to as on Unix"),
]
PHOTOS = 1000
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
def browser() -> Iterator[Any]:
    from tests.report import chromium

    if chromium.PROGRAM is None:
        pytest.skip("there is no chromium here; Debian's package chromium brings it")
    with chromium.chromium() as page:
        yield page


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    with made_up_journal(folder, PHOTOS) as journal:
        write_report(journal)
    return folder


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    browser.said.clear()
    browser.size(1600, 1000)
    yield browser
    said = [one for one in browser.said if "ERR_FILE_NOT_FOUND" not in one]  # the results that it shows are made up
    assert said == [], "the page said something on its console, or a script was stopped"


def shoot(page: Any, name: str) -> None:
    folder = os.environ.get("DMD_SCREENSHOTS")
    if folder:
        page.ask("new Promise((done) => setTimeout(done, 300))")
        page.picture(Path(folder) / f"{name}.png")


def number_of(out: Path, place: str) -> int:
    """The number of a photo in the page, from 1."""
    lines = (out / "report.jsonl").read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if f'"place": "{place}"' in line)


def test_a_thousand_photos_open_and_filter_fast(page: Any, out: Path) -> None:
    page.open(out / "report.html")
    page.open(out / "report.html")
    ready = page.ask("performance.getEntriesByName('ready')[0].startTime") / 1000
    loaded = page.ask("performance.timing.loadEventEnd - performance.timing.navigationStart") / 1000
    assert max(ready, loaded) < OPENS_WITHIN
    counts, slowest = [], 0.0
    steps = [("search", "1"), ("search", "photo 12"), ("search", ""), ("status", "restored"), ("used", "specific")]
    for field, value in [*steps, ("person", True), ("used", ""), ("status", ""), ("person", ""), ("reason", True)]:
        seconds, count = page.ask(f"{SET}({field!r}, {'true' if value is True else repr(value)})")
        slowest = max(slowest, seconds)
        counts.append(count)
    assert slowest < FILTERS_WITHIN
    assert counts[2] == counts[8] == "1,000 photos"
    assert counts[1] == "20 of 1,000 photos", "photos 12, 112, ... and 120 to 129"
    drawn = page.ask("document.querySelectorAll('.row').length")
    assert 0 < drawn < 60, "only what can be seen is there"
    print(f"\nopened in {max(ready, loaded):.3f} s, filtered in {slowest:.3f} s at most")


@pytest.mark.parametrize(("width", "height"), [(1600, 1000), (390, 844)])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_sticks_out_at_any_width(page: Any, out: Path, width: int, height: int, dark: bool) -> None:
    page.size(width, height, dark, touch=width < 800)
    for fragment in ("", "#overview", f"#photo-{number_of(out, 'album 0/photo 15.jpg')}"):
        page.open(out / "report.html", fragment)
        shoot(page, f"{width}{'-dark' if dark else ''}{fragment.replace('#', '-')}")
        wide = page.ask(
            "[...document.querySelectorAll('body, #shown, .browse, .face, .compare')]"
            ".filter((one) => one.scrollWidth > innerWidth).map((one) => one.className || one.id)"
        )
        assert wide == []
        assert page.ask("document.body.scrollWidth") <= width


def test_names_do_nothing(page: Any, out: Path) -> None:
    page.open(out / "report.html")
    names = page.ask("records.photos.map((one) => one.place.toWellFormed())")
    for place in EVIL:
        number = names.index(re.sub("[\udc80-\udcff]", "\ufffd", place)) + 1
        page.open(out / "report.html", f"#photo-{number}")
        assert page.ask("document.scripts.length") == 2
        assert page.ask("document.querySelectorAll('img[src=x]').length") == 0
    page.open(out / "report.html")
    shown = page.ask("[...document.querySelectorAll('.row .name')].map((one) => one.textContent)")
    assert "<img src=x onerror=alert(1)>.png" in shown
    assert "</script><script>alert(2)</script>.jpg" in page.ask("records.photos.map((one) => one.place)")
    addresses = dict(page.ask("records.photos.slice(0, 1000).map((one) => [one.place, fileAddress(one.place)])"))
    assert addresses["a b#c?d%20e.jpg"] == "a%20b%23c%3Fd%2520e.jpg"
    assert "bytes%20%ff%fe.tif" in addresses.values()


def test_what_decisions_need_can_be_copied(page: Any, out: Path) -> None:
    page.open(out / "report.html", f"#photo-{number_of(out, 'album 0/photo 15.jpg')}")
    place, *boxes = page.ask("[...document.querySelectorAll('#shown code')].map((one) => one.textContent)")
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


def test_keys_go_through_the_list_and_move_the_slider(page: Any, out: Path) -> None:
    page.open(out / "report.html")
    page.ask("document.getElementById('list').focus()")
    titles = []
    for _ in range(3):
        page.press("ArrowDown")
        titles.append(page.ask("[location.hash, document.activeElement.id]"))
    assert titles == [[f"#photo-{number}", "list"] for number in (1, 2, 3)]
    active = page.ask("document.getElementById(document.getElementById('list').getAttribute('aria-activedescendant'))")
    assert active is not None
    page.press("End")
    assert page.ask("location.hash") == f"#photo-{PHOTOS}"
    page.ask("new Promise((done) => setTimeout(done, 100))")
    assert page.ask("document.querySelector('h2').textContent === records.photos.at(-1).place")
    page.open(out / "report.html", f"#photo-{number_of(out, 'album 0/photo 15.jpg')}")
    page.ask("document.querySelector('.compare input').focus()")
    page.press("ArrowRight")
    page.press("ArrowRight")
    where = "document.querySelector('.compare').style.getPropertyValue('--at')"
    assert page.ask(where) == "52%"
    assert page.ask("document.querySelector('.compare input').getAttribute('aria-valuetext')").startswith("48 %")
    assert page.ask("getComputedStyle(document.querySelector('.compare')).outlineStyle") == "solid"


@pytest.mark.parametrize("touch", [False, True], ids=["mouse", "finger"])
def test_the_slider_follows(page: Any, out: Path, touch: bool) -> None:
    page.size(*((390, 844) if touch else (1600, 1000)), touch=touch)
    page.open(out / "report.html", f"#photo-{number_of(out, 'album 0/photo 15.jpg')}")
    page.ask("Promise.all([...document.querySelectorAll('.compare img')].map((one) => one.decode()))")
    left, top, width, height = page.ask(
        "(({ left, top, width, height }) => [left, top, width, height])"
        "(document.querySelector('.compare').getBoundingClientRect())"
    )
    middle = top + height / 2
    page.drag((left + width / 2, middle), (left + width / 4, middle), touch)
    at = page.ask("document.querySelector('.compare').style.getPropertyValue('--at')")
    assert float(at.rstrip("%")) == pytest.approx(25, abs=1)


def test_every_part_has_a_name_and_every_field_a_label(page: Any, out: Path) -> None:
    page.open(out / "report.html", f"#photo-{number_of(out, 'album 0/photo 15.jpg')}")
    page.call("Accessibility.enable")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "textbox", "searchbox", "combobox", "slider", "checkbox", "listbox", "option", "link", "region"}
    shown = [node for node in nodes if not node["ignored"] and node["role"]["value"] in roles]
    assert {node["role"]["value"] for node in shown} >= {"slider", "listbox", "option", "searchbox", "combobox"}
    assert [node["role"]["value"] for node in shown if not node.get("name", {}).get("value")] == []
    assert page.ask("[...document.images].every((one) => one.hasAttribute('alt'))")


def test_a_photo_is_found_and_left_again_on_a_telephone(page: Any, out: Path) -> None:
    page.size(390, 844, touch=True)
    page.open(out / "report.html")
    visible = "getComputedStyle(document.getElementById('list')).display !== 'none' && !!list.offsetParent"
    assert page.ask(visible)
    page.ask("document.querySelectorAll('.row')[3].click()")
    assert not page.ask(visible)
    page.ask("document.querySelector('.back').click()")
    assert page.ask(f"new Promise((done) => setTimeout(() => done({visible}), 100))")


def test_pictures_come_from_the_folder_or_from_the_page_itself(page: Any, tmp_path: Path) -> None:
    with made_up_journal(tmp_path, 30) as journal:
        for single in (False, True):
            write_report(journal, Told(single_file=single))
            fragment = f"#photo-{number_of(tmp_path, 'album 0/photo 15.jpg')}"
            page.open(tmp_path / "report.html", fragment)
            widths = page.ask(
                "Promise.all([...document.querySelectorAll('#shown img')].map((one) => {"
                "one.loading = 'eager'; return one.decode().then(() => one.naturalWidth); }))"
            )
            assert len(widths) > 4
            assert set(widths) == {192}
            assert page.ask("document.querySelector('.compare img').src.slice(0, 5)") == (
                "data:" if single else "file:"
            )
