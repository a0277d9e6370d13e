"""Real pages in a real browser: the page's own requests are answered, those of others are not, even with the secret."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from dmdcli.page.server import PageServer, serving
from tests.browser import OpenPage
from tests.page.made_up_desk import MadeUpDesk

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
STATIC = {
    "page.html": b"<!doctype html><html lang='en'><title>page</title><link rel='icon' href='data:,'>"
    b"<link rel='stylesheet' href='page.css'><script type='module' src='page.js'></script>"
    b"<img alt='' src='faces/f1.jpg?v=1'><a href='{elsewhere}'>elsewhere</a>",
    "page.css": b"a { color: rgb(1, 2, 3); }",
    "page.js": b"""
        const state = await (await fetch("api/state")).json();
        const headers = { "Content-Type": "application/json" };
        const saved = await fetch("api/faces/f1", { method: "POST", headers, body: '{"accepted": true}' });
        document.title = `${state.mode} ${saved.status}`;
    """,
}
TRIES = """async ([own, secret]) => {
  const found = {};
  const load = (element, address) => new Promise((done) => {
    element.onload = () => done("loaded");
    element.onerror = () => done("refused");
    element[element.tagName === "LINK" ? "href" : "src"] = address;
    document.head.append(element);
  });
  found.image = await load(document.createElement("img"), `${own}/${secret}/faces/f1.jpg`);
  found.script = await load(document.createElement("script"), `${own}/${secret}/page.js`);
  const sheet = Object.assign(document.createElement("link"), { rel: "stylesheet" });
  found.style = await load(sheet, `${own}/${secret}/page.css`);
  const headers = { "Content-Type": "text/plain" };
  const order = { method: "POST", body: '{"not_a_face": true}' };
  const answer = (promise) => promise.then((one) => one.type, () => "refused");
  const face = `${own}/${secret}/api/faces/f1`;
  found.read = await answer(fetch(`${own}/${secret}/api/state`));
  found.json = await answer(fetch(face, { ...order, headers: { "Content-Type": "application/json" } }));
  found.text = await answer(fetch(face, { ...order, headers, mode: "no-cors" }));
  found.beacon = navigator.sendBeacon(face, order.body);
  found.socket = await new Promise((done) => {
    const socket = new WebSocket(`${own.replace("http", "ws")}/${secret}/api/state`);
    socket.onopen = () => done("open");
    socket.onerror = () => done("refused");
  });
  const frame = document.createElement("iframe");
  frame.name = "frame";
  document.body.append(frame);
  const form = Object.assign(document.createElement("form"), { action: face, method: "post", target: "frame" });
  form.enctype = "text/plain";
  const field = { name: '{"not_a_face": true, "person": "', value: '"}' };
  form.append(Object.assign(document.createElement("input"), field));
  document.body.append(form);
  const framed = new Promise((done) => { frame.onload = done; });
  form.submit();
  await framed;
  await new Promise((done) => setTimeout(done, 200));
  return found;
}"""


@pytest.fixture
def desk() -> MadeUpDesk:
    return MadeUpDesk(6)


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str | None]]]:
    """The address of an empty page on another port, and the Referer of each request to it."""
    referers: list[str | None] = []

    class Empty(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            referers.append(self.headers["Referer"])
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>elsewhere</title><link rel='icon' href='data:,'><body>")

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Empty) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{other.server_port}", referers
        other.shutdown()
        thread.join()


@pytest.fixture
def server(desk: MadeUpDesk, elsewhere: tuple[str, list[str | None]]) -> Iterator[PageServer]:
    """Tests name it before their tab, which is closed first then, and asks nothing of a server that has ended."""
    page = STATIC["page.html"].replace(b"{elsewhere}", elsewhere[0].encode())
    with serving(desk, {**STATIC, "page.html": page}) as running:
        yield running


@pytest.fixture
def may_say() -> tuple[str, ...]:
    return ("403", "ERR_BLOCKED_BY_RESPONSE", "blocked by CORS", "WebSocket connection", "ERR_FAILED", "MIME type")


def wait_for_script(page: Page) -> None:
    from playwright.sync_api import expect

    expect(page).to_have_title("photos 200")  # `wait_for_function` evaluates text, which the page's policy forbids


def own_page(page: Page, server: PageServer) -> str:
    """Follow the link, wait for the page's script, and return the secret."""
    page.goto(server.address)
    wait_for_script(page)
    return page.url.rstrip("/").rpartition("/")[2]


def test_the_page_itself_is_answered_and_its_address_is_told_nobody(
    server: PageServer, page: Page, desk: MadeUpDesk, elsewhere: tuple[str, list[str | None]]
) -> None:
    secret = own_page(page, server)
    assert [name for name, _ in desk.asked] == ["save"]
    assert page.evaluate("document.images[0].decode().then(() => document.images[0].naturalWidth)") == 96
    assert page.evaluate("getComputedStyle(document.links[0]).color") == "rgb(1, 2, 3)"
    assert page.evaluate("opener") is None
    page.reload()
    wait_for_script(page)
    page.click("a")
    page.wait_for_url(f"{elsewhere[0]}/")
    assert elsewhere[1] == [None], "no Referer"
    page.goto(server.address)
    assert "This link was used already" in page.inner_text("p")
    assert secret not in page.content()


def test_a_refusal_is_readable_on_a_telephone(server: PageServer, open_page: OpenPage) -> None:
    page = open_page(390, 844, touch=True)
    page.goto(server.address.replace("/open/", "/other/"))
    assert "answers only the browser that opened it" in page.inner_text("p")
    assert page.evaluate("innerWidth") == 390, "and not a page for a desk, made small"


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "evil.localhost"])
def test_a_page_from_elsewhere_gets_and_does_nothing_even_if_it_knows_the_secret(
    server: PageServer, open_page: OpenPage, desk: MadeUpDesk, elsewhere: tuple[str, list[str | None]], name: str
) -> None:
    page = open_page()
    secret = own_page(page, server)
    before = list(desk.asked)
    hostile = page.context.new_page()  # in the same browser, with the same profile
    hostile.goto(elsewhere[0].replace("127.0.0.1", name))
    found = hostile.evaluate(TRIES, [f"http://127.0.0.1:{server.port}", secret])
    assert found.pop("text") in ("opaque", "refused"), "it is not told what became of it"
    assert found.pop("beacon") in (True, False)
    assert found == dict.fromkeys(("image", "script", "style", "read", "json", "socket"), "refused")
    assert desk.asked == before
    inside = next(frame for frame in hostile.frames if frame.name == "frame")
    assert "album" not in inside.content()


def test_a_name_that_was_made_to_lead_here_gets_nothing(server: PageServer, page: Page) -> None:
    secret = own_page(page, server)
    for path in (secret, f"{secret}/api/state", "open/x"):
        answer = page.goto(f"http://evil.localhost:{server.port}/{path}")
        assert answer is not None
        assert answer.status == 403
        assert "answers only the browser that opened it" in page.inner_text("p")
