"""A page with a made-up desk behind it, worked by hand and by keys in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dmdcli.decisions import Decision
from dmdcli.page.server import serving
from tests.page.made_up_desk import MadeUpDesk

if TYPE_CHECKING:
    from playwright.sync_api import Page

Open = Callable[..., "Bench"]
ERRORS_ANSWERED = ("Failed to load resource",)
"""What a browser says of each answer that is an error."""
READ_POINTS = """[...document.querySelectorAll("#stage .point")].map((dot) => {
  const edge = document.getElementById("stage").getBoundingClientRect();
  return [Number(dot.getAttribute("cx")) + edge.left, Number(dot.getAttribute("cy")) + edge.top];
})"""
AT_REST = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


class Bench:
    """A page that is open. desk: behind it."""

    def __init__(self, page: Page, desk: MadeUpDesk) -> None:
        self.page, self.desk = page, desk

    def start(self, face: str | None = None) -> None:
        """Open a face; the first one of the list where none is named."""
        self.page.locator("#begin").click() if face is None else self.page.locator(f"#face-{face}").click()
        self.page.wait_for_function(
            "() => document.getElementById('face').checkVisibility() && !document.querySelector('#face > [inert]')"
        )
        self.page.wait_for_function(
            "() => document.querySelector('#stage > img').complete && document.querySelector('#stage > img').src"
        )
        self.rest()

    def rest(self) -> None:
        """Until what was done is drawn."""
        self.page.evaluate(AT_REST)

    def points(self) -> np.ndarray:
        """(68, 2): where the points are in the window."""
        self.rest()
        return np.array(self.page.evaluate(READ_POINTS))

    def drag(self, start: Any, end: Any) -> None:
        mouse = self.page.mouse
        mouse.move(*(float(value) for value in start))
        mouse.down()
        mouse.move(*((float(one) + float(other)) / 2 for one, other in zip(start, end, strict=True)))
        mouse.move(*(float(value) for value in end))
        mouse.up()
        self.rest()

    def title(self) -> str:
        return self.page.inner_text("#face-title")

    def wait_for_face(self, name: str) -> None:
        """Until that face is open; its name is there before it."""
        self.page.wait_for_function(
            """(name) => document.getElementById("face-title").textContent === name
              && !document.querySelector("#face > [inert]")""",
            arg=name,
        )

    def wait_for_state(self, text: str) -> None:
        """Until what stands beside the buttons begins so."""
        self.page.wait_for_function("(text) => document.getElementById('saved').textContent.startsWith(text)", arg=text)

    def asked(self, name: str) -> list[Any]:
        """What the desk was asked to do by that name."""
        return [arguments for asked, arguments in self.desk.asked if asked == name]

    def saved(self, times: int = 1) -> tuple[str, Decision]:
        """The face saved last, once so many were, and as what: the page goes on before the desk has kept it."""
        self.wait_for("save", times)
        face, decision = self.asked("save")[-1]
        return face, decision

    def wait_for(self, name: str, times: int = 1) -> None:
        """Until the desk was asked to do that so often."""
        for _ in range(500):
            if len(self.asked(name)) >= times:
                return
            self.page.wait_for_timeout(10)
        pytest.fail(f"{name} was asked {len(self.asked(name))} times, not {times}")


@contextmanager
def benches(open_page: Callable[..., Page]) -> Iterator[Open]:
    """Opens pages, each before a desk of its own, and ends their servers."""
    with ExitStack() as servers:

        def open_bench(desk: MadeUpDesk | None = None, **window: Any) -> Bench:
            desk = desk or MadeUpDesk(30)
            server = servers.enter_context(serving(desk))
            page = open_page(**window)
            servers.callback(page.goto, "about:blank")  # before its server ends
            page.set_default_timeout(10_000)
            page.goto(server.address)
            page.wait_for_function("() => performance.getEntriesByName('ready').length > 0")
            return Bench(page, desk)

        yield open_bench
