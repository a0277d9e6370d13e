"""The page's server: nobody but its own browser gets anything of it."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, TypeAlias

import pytest

from dmdcli.page import server as server_module
from dmdcli.page.server import PageServer
from dmdcli.page.strict_http import MOST_BODY, MOST_HEAD
from tests.page.browsing import STATIC, Browser, Connect
from tests.page.made_up_desk import MadeUpDesk


class Refusal(NamedTuple):
    status: int
    body: str


Refuse: TypeAlias = Callable[[str], Refusal]


TARGETS = {
    "nothing": "/",
    "no secret": "/api/state",
    "an icon": "/favicon.ico",
    "a secret of nobody": f"/{'A' * 43}/api/state",
    "the beginning of the secret": "/{short}/api/state",
    "the secret without what follows": "/{secret}",
    "the secret after a slash": "//{secret}/api/state",
    "the secret elsewhere": "/x/{secret}/api/state",
    "the secret as a question": "/?{secret}/api/state",
    "the secret of the link in its place": "/{once}/api/state",
    "the secret in the link": "/open/{secret}",
    "a link of nobody": f"/open/{'A' * 43}",
    "no link": "/open/",
    "an encoded secret": "/%41{secret}/api/state",
}
TRAVERSALS = (
    *("../page.js", "%2e%2e/page.js", "..%2fpage.js", "..%5cpage.js", "..\\page.js", "./page.js", "%2e/page.js"),
    *(
        "page.js%00",
        "page.js%00.css",
        "page.js/",
        "//page.js",
        "/page.js",
        "page.js/../page.css",
        "PAGE.JS",
        "page.j%73",
    ),
    *(
        "%252e%252e/page.js",
        "....//page.js",
        "/etc/passwd",
        "../../../../../etc/passwd",
        "..;/page.js",
        "static/page.js",
    ),
    *("file:///etc/passwd", "server.py", "__init__.py", "api/faces/../state", "api/faces/f1%2f..%2ff2", "api/faces/"),
    *(
        "faces/../../server.py.jpg",
        "faces/f1.jpg/x",
        "photos/%2e%2e.jpg",
        "api/state%0d%0aSet-Cookie:a=b",
        "api//state",
    ),
)
HEADERS: dict[str, tuple[str, int]] = {
    "a name that was made to lead here": ("Host: evil.example:{port}", 403),
    "a host that begins alike": ("Host: 127.0.0.1:{port}.evil.example", 403),
    "a host that ends alike": ("Host: evil.localhost:{port}", 403),
    "a host without the port": ("Host: 127.0.0.1", 403),
    "another port": ("Host: 127.0.0.1:1", 403),
    "a user at a host": ("Host: user@127.0.0.1:{port}", 403),
    "an address of IPv6": ("Host: [::1]:{port}", 403),
    "an empty host": ("Host:", 403),
    "no host": ("Accept: */*", 403),
    "two hosts": ("Host: 127.0.0.1:{port}\r\nHost: evil.example", 400),
    "the same host twice": ("Host: 127.0.0.1:{port}\r\nHost: 127.0.0.1:{port}", 400),
    "a foreign origin": ("Host: 127.0.0.1:{port}\r\nOrigin: http://evil.example", 403),
    "no origin at all": ("Host: 127.0.0.1:{port}\r\nOrigin: null", 403),
    "an origin of another port": ("Host: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:1", 403),
    "an origin of another kind": ("Host: 127.0.0.1:{port}\r\nOrigin: https://127.0.0.1:{port}", 403),
    "the origin of the other name": ("Host: 127.0.0.1:{port}\r\nOrigin: http://localhost:{port}", 403),
    "two origins": ("Host: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\nOrigin: http://evil.example", 400),
    "another page of the web": ("Host: 127.0.0.1:{port}\r\nSec-Fetch-Site: cross-site", 403),
    "another page of this computer": ("Host: 127.0.0.1:{port}\r\nSec-Fetch-Site: same-site", 403),
    "a picture in another page": ("Host: 127.0.0.1:{port}\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Dest: image", 403),
    "a continued line": ("Host: 127.0.0.1:{port}\r\nX-One: a\r\n b", 400),
    "a blank before the colon": ("Host: 127.0.0.1:{port}\r\nX-One : a", 400),
    "a line without a colon": ("Host: 127.0.0.1:{port}\r\nX-One", 400),
    "a line feed alone": ("Host: 127.0.0.1:{port}\nX-One: a", 400),
    "a carriage return alone": ("Host: 127.0.0.1:{port}\r\nX-One: a\rX-Two: b", 400),
    "a NUL": ("Host: 127.0.0.1:{port}\r\nX-One: \0", 400),
    "a header without a name": ("Host: 127.0.0.1:{port}\r\n: a", 400),
    "a header before all": ("From a: b\r\nHost: 127.0.0.1:{port}", 400),
    "a continued line before all": (" X-One: a\r\nHost: 127.0.0.1:{port}", 400),
    "a wish to be asked for the body": ("Host: 127.0.0.1:{port}\r\nExpect: 100-continue", 417),
    "a body": ("Host: 127.0.0.1:{port}\r\nContent-Length: 3", 400),
    "a body in pieces": ("Host: 127.0.0.1:{port}\r\nTransfer-Encoding: chunked", 411),
    "too much": ("Host: 127.0.0.1:{port}\r\nX-One: " + "a" * MOST_HEAD, 431),
    "more than the library takes": ("Host: 127.0.0.1:{port}" + "\r\nA: b" * 100, 431),
    "too many": ("Host: 127.0.0.1:{port}" + "\r\nA: b" * 5000, 431),
}
LINES: dict[str, tuple[str, int]] = {
    "another server, as a proxy is asked": ("GET http://evil.example/ HTTP/1.1", 400),
    "itself, as a proxy is asked": ("GET http://127.0.0.1:{port}/{secret}/api/state HTTP/1.1", 400),
    "a server without a scheme": ("GET 127.0.0.1:{port}/{secret}/api/state HTTP/1.1", 400),
    "everything": ("OPTIONS * HTTP/1.1", 400),
    "a tunnel": ("CONNECT 127.0.0.1:22 HTTP/1.1", 400),
    "the oldest HTTP": ("GET /{secret}/api/state", 400),
    "an older HTTP": ("GET /{secret}/api/state HTTP/1.0", 505),
    "a newer HTTP": ("PRI * HTTP/2.0", 505),
    "another protocol": ("SSH-2.0-OpenSSH_9.6", 400),
    "a blank too many": ("GET  /{secret}/api/state HTTP/1.1", 400),
    "a tab": ("GET\t/{secret}/api/state HTTP/1.1", 400),
    "a NUL": ("GET /{secret}/api/state\0 HTTP/1.1", 400),
    "a line feed": ("GET /{secret}/api/state\n HTTP/1.1", 400),
    "a letter that is no ASCII": ("GET /{secret}/api/stätE HTTP/1.1", 400),
    "a fragment": ("GET /{secret}/api/state#a HTTP/1.1", 400),
    "a method in small letters": ("get /{secret}/api/state HTTP/1.1", 405),
    "a question before it is asked": ("OPTIONS /{secret}/api/faces/f1 HTTP/1.1", 405),
    "an echo": ("TRACE /{secret}/api/state HTTP/1.1", 405),
    "a file to be put": ("PUT /{secret}/page.js HTTP/1.1", 405),
    "a face to be deleted": ("DELETE /{secret}/api/faces/f1 HTTP/1.1", 405),
    "a link that is posted": ("PUT {link} HTTP/1.1", 405),
    "nothing at all": ("", 400),
    "a word without end": ("GET /" + "a" * (MOST_HEAD + 10), 431),
}
POSTS: dict[str, tuple[Sequence[str], int]] = {
    "a form": (["Origin: {own}", "Content-Type: application/x-www-form-urlencoded", "Content-Length: 2"], 415),
    "plain text": (["Origin: {own}", "Content-Type: text/plain", "Content-Length: 2"], 415),
    "a form of parts": (["Origin: {own}", "Content-Type: multipart/form-data", "Content-Length: 2"], 415),
    "text called JSON": (["Origin: {own}", "Content-Type: text/plain; application/json", "Content-Length: 2"], 415),
    "no type": (["Origin: {own}", "Content-Length: 2"], 415),
    "two types": (["Origin: {own}", "{type}", "Content-Type: text/plain", "Content-Length: 2"], 400),
    "no origin": (["{type}", "Content-Length: 2"], 403),
    "a foreign origin": (["Origin: http://evil.example", "{type}", "Content-Length: 2"], 403),
    "no length": (["Origin: {own}", "{type}"], 411),
    "pieces": (["Origin: {own}", "{type}", "Transfer-Encoding: chunked"], 411),
    "pieces and a length": (["Origin: {own}", "{type}", "Transfer-Encoding: chunked", "Content-Length: 2"], 411),
    "pieces in disguise": (["Origin: {own}", "{type}", "Transfer-Encoding: xchunked", "Content-Length: 2"], 411),
    "a length below nothing": (["Origin: {own}", "{type}", "Content-Length: -2"], 400),
    "a length with a sign": (["Origin: {own}", "{type}", "Content-Length: +2"], 400),
    "an empty length": (["Origin: {own}", "{type}", "Content-Length:"], 400),
    "a length in hexadecimal": (["Origin: {own}", "{type}", "Content-Length: 0x2"], 400),
    "a length with a line": (["Origin: {own}", "{type}", "Content-Length: 1_0"], 400),
    "a list of lengths": (["Origin: {own}", "{type}", "Content-Length: 2, 2"], 400),
    "two lengths": (["Origin: {own}", "{type}", "Content-Length: 2", "Content-Length: 60"], 400),
    "the same length twice": (["Origin: {own}", "{type}", "Content-Length: 2", "Content-Length: 2"], 400),
    "a length beyond all": (["Origin: {own}", "{type}", "Content-Length: " + "9" * 400], 400),
    "too much": (["Origin: {own}", "{type}", f"Content-Length: {MOST_BODY + 1}"], 413),
}


@pytest.fixture
def refused(connect: Connect, browser: Browser, server: PageServer, desk: MadeUpDesk) -> Refuse:
    """Sends a request and a good one behind it: only the first is answered, with a refusal that holds nothing."""
    host = browser.host
    words = {"secret": browser.secret, "short": browser.secret[:-1], "port": str(server.port), "host": f"Host: {host}"}
    words |= {"once": server.address.rpartition("/")[2], "link": server.address.partition(host)[2]}
    words |= {"own": f"http://{host}", "type": "Content-Type: application/json"}

    def send(request: str) -> Refusal:
        for word, value in words.items():
            request = request.replace(f"{{{word}}}", value)
        good = f"GET /{browser.secret}/api/state HTTP/1.1\r\nHost: {host}\r\n\r\n"
        other = connect(server)
        with suppress(OSError):  # it may have refused before all of it was sent
            other.send(request.encode("latin-1") + good.encode())
            other.channel.shutdown(socket.SHUT_WR)
        answer = other.rest()
        head, _, body = answer.partition(b"\r\n\r\n")
        assert len(re.findall(rb"HTTP/1\.1 \d", answer)) == 1, "what stands behind a refused request is no request"
        assert b"\r\nConnection: close\r\n" in head
        assert b"Access-Control" not in head
        assert b"Set-Cookie" not in head
        for content in (*STATIC.values(), browser.secret.encode(), b"root:", b"album"):
            assert content not in answer
        assert desk.asked == []
        return Refusal(int(head.split()[1]), body.decode())

    return send


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_without_the_secret_nothing_is_there(refused: Refuse, target: str) -> None:
    status, body = refused(f"GET {target} HTTP/1.1\r\n{{host}}\r\n\r\n")
    assert (status, json.loads(body)["error"]) == (403, server_module.NOT_FROM_HERE), "all alike: nothing can be tried"


def test_outside_of_its_routes_nothing_is_there(refused: Refuse) -> None:
    for below in TRAVERSALS:
        assert refused(f"GET /{{secret}}/{below} HTTP/1.1\r\n{{host}}\r\n\r\n").status == 404, below
    assert refused("GET /open/../{secret}/api/state HTTP/1.1\r\n{host}\r\n\r\n").status == 403


@pytest.mark.parametrize(("headers", "status"), HEADERS.values(), ids=HEADERS)
def test_headers_that_are_not_its_own_browsers_are_refused(refused: Refuse, headers: str, status: int) -> None:
    assert refused(f"GET /{{secret}}/api/state HTTP/1.1\r\n{headers}\r\n\r\n").status == status


@pytest.mark.parametrize(("line", "status"), LINES.values(), ids=LINES)
def test_what_is_no_plain_request_is_refused(refused: Refuse, line: str, status: int) -> None:
    assert refused(f"{line}\r\n{{host}}\r\n\r\n").status == status


@pytest.mark.parametrize(("headers", "status"), POSTS.values(), ids=POSTS)
def test_orders_that_other_pages_could_give_are_refused(refused: Refuse, headers: Sequence[str], status: int) -> None:
    lines = "\r\n".join(["POST /{secret}/api/faces/f1/reset HTTP/1.1", "{host}", *headers])
    assert refused(f"{lines}\r\n\r\n{{}}").status == status


def test_a_question_about_the_head_alone_gets_no_body(browser: Browser) -> None:
    heard = browser.ask("HEAD", f"/{browser.secret}/page.js")
    assert (heard.status, heard.headers["allow"]) == (405, "GET, POST")
    assert browser.rest() == b""


def test_every_answer_has_the_headers_that_guard_it(server: PageServer, browser: Browser, connect: Connect) -> None:
    answers = [browser.get("page.html"), browser.get("api/state"), browser.get("faces/f1.jpg")]
    for target in (f"/{browser.secret}/api/none", "/", server.address.partition(browser.host)[2]):
        other = connect(server)
        answers.append(other.ask("GET", target))
    for heard in answers:
        policy = dict(part.split(" ", 1) for part in heard.headers["content-security-policy"].split("; "))
        assert (policy["default-src"], policy["script-src"], policy["connect-src"]) == ("'none'", "'self'", "'self'")
        assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
        assert heard.headers["cache-control"] == "no-store"
        assert heard.headers["x-content-type-options"] == "nosniff"
        assert heard.headers["referrer-policy"] == "no-referrer"
        assert heard.headers["cross-origin-resource-policy"] == "same-origin"
        assert heard.headers["cross-origin-opener-policy"] == "same-origin"
        assert "server" not in heard.headers


def test_nothing_is_written_down(
    browser: Browser, server: PageServer, capfd: pytest.CaptureFixture[str], connect: Connect
) -> None:
    browser.get("api/state")
    other = connect(server)
    other.ask("GET", "/wrong")
    assert capfd.readouterr() == ("", "")


def test_another_user_of_the_machine_is_turned_away(
    server: PageServer, browser: Browser, monkeypatch: pytest.MonkeyPatch, connect: Connect
) -> None:
    monkeypatch.setattr(server_module, "user_at", lambda peer, own: 4_242_424)
    other = connect(server, browser)
    other.send(f"GET /{browser.secret}/api/state HTTP/1.1\r\nHost: {other.host}\r\n\r\n".encode())
    heard = other.hear()
    assert (heard.status, heard.json["error"]) == (403, server_module.ANOTHER_USER)
    link = connect(server)
    assert link.follow(server.address).status == 403, "not even with the link"
    assert browser.get("api/state").status == 200
