"""A real browser for tests: Debian's chromium without a window, driven by playwright.

`DMD_CHROMIUM` names another program. Where either is missing the tests skip. `DMD_SCREENSHOTS` names a folder for
pictures of the window; without it none are taken.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PROGRAM = os.environ.get("DMD_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
SCREENSHOTS = os.environ.get("DMD_SCREENSHOTS")
FLAGS = ["--disable-gpu", "--disable-dev-shm-usage"]
STILL = """Promise.all([
  ...[...document.images].filter((one) => one.src && one.checkVisibility()).map((one) => one.decode().catch(() => {})),
  ...document.getAnimations().map((one) => one.finished),
]).then(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))))"""


class OpenPage(Protocol):
    """Opens a tab with a profile of its own; touch: a telephone, with fingers."""

    def __call__(self, width: int = 1600, height: int = 1000, *, dark: bool = False, touch: bool = False) -> Page: ...


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The program, started once for all tests."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.skip("the package playwright is not installed; pip install -e '.[dev]' brings it")
    if PROGRAM is None:
        pytest.skip("there is no chromium here; Debian's package chromium brings it")
    sandbox = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=[*FLAGS, *sandbox])
        yield browser
        browser.close()


@pytest.fixture
def may_say() -> tuple[str, ...]:
    """Parts of what a page may say on its console; a module with such pages has a fixture of this name."""
    return ()


@pytest.fixture
def open_page(chromium: Browser, may_say: tuple[str, ...]) -> Iterator[OpenPage]:
    """Opens tabs. In the end they are closed, and the test fails where one said something on its console."""
    contexts, said = [], []

    def open_page(width: int = 1600, height: int = 1000, *, dark: bool = False, touch: bool = False) -> Page:
        contexts.append(
            chromium.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if dark else "light",
                has_touch=touch,
                is_mobile=touch,
            )
        )
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(str(error)))
        return page

    yield open_page
    for context in contexts:
        context.close()
    unexpected = [one for one in said if not any(part in one for part in may_say)]
    assert unexpected == [], f"the page said something on its console, or a script was stopped: {unexpected}"


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    """One tab, 1600 x 1000, light, with a mouse."""
    return open_page()


def shoot(page: Page, name: str) -> None:
    """Write what is in the window to NAME.png in the folder for pictures, once nothing in it moves or is missing."""
    if SCREENSHOTS:
        page.evaluate(STILL)
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png")
