"""The page's server: what it answers its own browser, and that nobody else gets anything of it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from socketserver import TCPServer
from typing import NamedTuple, Protocol, TypeAlias

import pytest

from dmdcli import fetch
from dmdcli.decisions import Decision
from dmdcli.errors import CannotGoOnError, PhotoReadError, UsageError
from dmdcli.page import server as server_module
from dmdcli.page.desk import ChangedElsewhereError
from dmdcli.page.server import HOST, PageServer, serving
from dmdcli.page.strict_http import MOST_BODY, MOST_HEAD, Limits
from tests.page.browsing import Browser, Heard
from tests.page.made_up_desk import MadeUpDesk

STATIC = {"page.html": b"<!doctype html><title>page</title>", "page.css": b"p {}", "page.js": b"let one = 1;"}
POINTS = [[float(number), number * 2.5] for number in range(68)]


@pytest.fixture
def desk() -> MadeUpDesk:
    return MadeUpDesk(6)


@pytest.fixture
def server(desk: MadeUpDesk) -> Iterator[PageServer]:
    with serving(desk, STATIC) as running:
        yield running


class Refusal(NamedTuple):
    status: int
    body: str


Refuse: TypeAlias = Callable[[str], Refusal]


class Connect(Protocol):
    def __call__(self, server: PageServer, like: Browser | None = None) -> Browser: ...


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Opens connections, `like` one of a browser that knows the secret, and closes them in the end."""
    opened = []

    def connect(server: PageServer, like: Browser | None = None) -> Browser:
        opened.append(Browser(server))
        opened[-1].secret = like.secret if like else ""
        return opened[-1]

    yield connect
    for one in opened:
        one.close()


@pytest.fixture
def browser(server: PageServer, connect: Connect) -> Browser:
    """A browser that has followed the link."""
    one = connect(server)
    one.follow(server.address)
    return one


def page_threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "page" or "process_request" in one.name]


# What it answers.


def test_the_link_leads_to_the_page_once(server: PageServer, connect: Connect) -> None:
    browser = connect(server)
    heard = browser.follow(server.address)
    assert (heard.status, heard.body) == (303, b"")
    assert heard.headers["location"] == f"/{browser.secret}/", "relative: no other host can be meant"
    assert len(browser.secret) >= 43
    assert browser.secret not in server.address
    assert heard.headers["referrer-policy"] == "no-referrer"
    assert browser.get("").body == STATIC["page.html"]
    again = browser.ask("GET", server.address.partition(browser.host)[2], Accept="text/html,*/*")
    assert again.status == 403
    assert again.headers["content-type"] == "text/html; charset=utf-8"
    assert b"This link was used already" in again.body
    assert b"history still has it" in again.body
    assert b"what was saved is kept" in again.body
    assert b"Ctrl-C" in again.body
    other = connect(server, browser)
    assert other.get("").status == 200, "the page itself can be loaded again"


def test_of_many_that_follow_the_link_at_once_one_arrives(server: PageServer, connect: Connect) -> None:
    browsers = [connect(server) for _ in range(20)]
    target = server.address.partition(browsers[0].host)[2]
    for one in browsers:
        one.send(f"GET {target} HTTP/1.1\r\nHost: {one.host}\r\n\r\n".encode())
    statuses = [one.hear().status for one in browsers]
    assert sorted(statuses) == [303] + [403] * 19


def test_everything_a_desk_can_do_is_asked_over_one_connection(browser: Browser, desk: MadeUpDesk) -> None:
    kinds = [browser.get(name).headers["content-type"] for name in ("", "page.html", "page.css", "page.js")]
    assert kinds == [f"text/{kind}; charset=utf-8" for kind in ("html", "html", "css", "javascript")]
    state = browser.get("api/state").json
    assert (state["mode"], state["photos"], state["looked_at"]) == ("photos", 2, 2)
    assert state["failures"] == ["old_photos/torn.jpg: is empty (0 bytes)"]
    first = browser.get("api/faces").json
    assert (first["revision"], len(first["faces"])) == (6, 6)
    assert browser.get("api/faces?since=6").json == {"revision": 6, "faces": []}
    detail = browser.get("api/faces/f5").json
    assert detail["summary"] == first["faces"][5]
    assert len(detail["landmarks"]) == 68
    assert detail["candidates"][0] == {"name": "Carol <b>& Sons</b>", "similarity": 0.83}
    picture = browser.get("faces/f5.jpg?v=6")
    assert picture.headers["content-type"] == "image/jpeg"
    assert picture.headers["cache-control"] == "private, max-age=3600, immutable"
    assert browser.get("faces/f5.jpg").headers["cache-control"] == "no-store"
    for query in ("", "?width=200", "?which=result&region=10,20,300.5,400&width=640", "?region=1%2C2%2c300%2C400"):
        assert browser.get(f"photos/p1.jpg{query}").body.startswith(b"\xff\xd8")
    asked = {"landmarks": POINTS, "person": "Bob  Ångström", "strength": 0.5, "stranger": False, "box": None}
    preview = browser.post("api/faces/f5/preview", asked).json
    assert preview["before"].startswith("data:image/jpeg;base64,/9j/")
    assert set(preview) == {"before", "after", "components", "verdict", "reasons", "used", "seconds"}
    saved = browser.post("api/faces/f5", {"landmarks": POINTS}).json
    assert saved["decision"]["landmarks"] == POINTS
    assert [one["id"] for one in browser.get("api/faces?since=6").json["faces"]] == ["f5"]
    back = browser.post("api/faces/f5", saved["decision"] | {"accepted": True}).json
    assert back["decision"] == saved["decision"] | {"accepted": True}, "what is told can be sent back"
    assert browser.post("api/faces/f5/reset").json["landmarks"] == detail["landmarks"]
    drawn = browser.post("api/photos/p1/faces", {"box": [100, 100, 300, 320]}).json
    assert drawn["found_box"] is None
    assert browser.post(f"api/faces/{drawn['summary']['id']}/reset").json is None
    points = tuple((x, y) for x, y in POINTS)
    assert desk.asked == [
        ("preview", ("f5", Decision(landmarks=points, person="Bob Ångström", strength=0.5))),
        ("save", ("f5", Decision(landmarks=points))),
        ("save", ("f5", Decision(landmarks=points, box=tuple(saved["decision"]["box"]), accepted=True))),
        ("reset", ("f5",)),
        ("draw", ("p1", (100.0, 100.0, 300.0, 320.0))),
        ("reset", ("d1",)),
    ]


def test_it_can_be_reached_as_localhost_too(server: PageServer, browser: Browser) -> None:
    host = f"localhost:{server.port}"
    assert browser.get("api/state", Host=host).status == 200
    assert browser.post("api/faces/f1/reset", Host=host, Origin=f"http://{host}").status == 200


@pytest.mark.parametrize("site", ["none", "same-origin"])
def test_what_a_browser_says_of_its_own_requests_is_let_in(browser: Browser, site: str) -> None:
    headers = {"Sec-Fetch-Site": site, "Origin": f"http://{browser.host}", "Cookie": "other=program"}
    assert browser.get("api/state", **headers).status == 200
    kind = {"Content-Type": "application/json; charset=UTF-8"}
    assert browser.post("api/faces/f1/reset", **headers, **kind).status == 200


def test_mistakes_of_the_page_are_told_it_in_a_sentence(server: PageServer, browser: Browser, connect: Connect) -> None:
    def told(status: int, method: str, below: str, content: object = None) -> str:
        one = connect(server, browser)
        heard = one.get(below) if method == "GET" else one.post(below, content)
        assert (heard.status, heard.headers["connection"]) == (status, "close")
        assert set(heard.json) == {"error"}
        return str(heard.json["error"])

    assert "no such face" in told(404, "GET", "api/faces/f99")
    assert "no such face" in told(404, "POST", "api/faces/nobody", {"accepted": True})
    assert "no such face" in told(404, "GET", "photos/x1.jpg")
    assert told(404, "GET", "api/nothing") == "There is nothing here."
    assert "POST" in told(405, "GET", "api/finish")
    assert "GET" in told(405, "POST", "api/state")
    assert "GET" in told(405, "POST", "page.js")
    assert "Draw it around" in told(400, "POST", "api/photos/p1/faces", {"box": [1, 1, 5, 5]})
    assert "from 1 to 8192" in told(400, "GET", "photos/p1.jpg?width=99999")
    for query in ("width=-1", "width=1e3", "width=٣", "which=../photo", "region=1,2,3", "region=nan,0,1,1"):
        told(400, "GET", f"photos/p1.jpg?{query}".replace("٣", "%D9%A3"))
    for query in ("region=0,0,inf,1", "region=5,5,5,9", "region=0,0,1e300,1", "region=a,b,c,d"):
        told(400, "GET", f"photos/p1.jpg?{query}")
    told(400, "GET", "api/faces?since=x")
    assert "'points' is not known here" in told(400, "POST", "api/faces/f1", {"points": []})
    assert "'x' is not known here" in told(400, "POST", "api/faces/f1/reset", {"x": 1})
    assert "'x' is not known here" in told(400, "POST", "api/finish", {"x": 1})


def test_what_the_desk_cannot_do_is_told(
    browser: Browser,
    server: PageServer,
    desk: MadeUpDesk,
    monkeypatch: pytest.MonkeyPatch,
    connect: Connect,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(error: Exception) -> Heard:
        def refuse(face: str) -> None:
            raise error

        monkeypatch.setattr(desk, "detail", refuse)
        one = connect(server, browser)
        heard = one.get("api/faces/f1")
        one.close()
        return heard

    heard = fail(UsageError("Choose another."))
    assert (heard.status, heard.json["error"]) == (400, "Choose another.")
    heard = fail(ChangedElsewhereError([]))
    assert (heard.status, "changed elsewhere" in heard.json["error"]) == (409, True)
    heard = fail(PhotoReadError(Path("/photos/a.jpg"), "is gone"))
    assert (heard.status, heard.json["error"]) == (500, "/photos/a.jpg: is gone")
    capsys.readouterr()
    for bug in (ZeroDivisionError("a secret of the program"), KeyError("key"), OSError("file"), TimeoutError()):
        heard = fail(bug)
        assert heard.status == 500
        assert heard.json["error"].startswith("Something went wrong")
        assert b"secret" not in heard.body
        told = capsys.readouterr().err
        assert "Traceback" in told
        assert type(bug).__name__ in told
        assert browser.secret not in told
    assert browser.get("api/state").status == 200, "everything else goes on"


# Whom it does not answer.

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


# Slowness and numbers.


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_request_that_trickles_in_is_given_up_as_a_whole(desk: MadeUpDesk, part: str, connect: Connect) -> None:
    with serving(desk, STATIC, Limits(request=0.2)) as server:
        browser = connect(server)
        browser.follow(server.address)
        order = f"POST /{browser.secret}/api/faces/f1/reset HTTP/1.1\r\nHost: {browser.host}\r\n"
        order += f"Origin: http://{browser.host}\r\nContent-Type: application/json\r\nContent-Length: 2000\r\n"
        browser.send(order.encode() + (b"\r\n" if part == "body" else b"X-Slow: "))
        began = time.monotonic()
        with suppress(OSError):
            while time.monotonic() - began < 3:
                browser.send(b" ")
                browser.channel.settimeout(0.02)
                with suppress(TimeoutError):
                    heard = browser.hear()
                    break
        assert heard.status == 408
        assert 0.15 < time.monotonic() - began < 3
        assert desk.asked == []


def test_a_connection_that_is_not_used_ends(desk: MadeUpDesk, connect: Connect) -> None:
    with serving(desk, STATIC, Limits(idle=0.05)) as server:
        browser = connect(server)
        assert browser.rest() == b""


def test_a_refusal_is_heard_by_who_is_still_sending(browser: Browser) -> None:
    order = f"POST /{browser.secret}/api/faces/f1 HTTP/1.1\r\nHost: {browser.host}\r\nOrigin: http://{browser.host}\r\n"
    browser.send(
        f"{order}Content-Type: application/json\r\nContent-Length: 6000000\r\n\r\n".encode() + b" " * 6_000_000
    )
    assert browser.hear().status == 413


def test_the_user_is_answered_however_many_connect(desk: MadeUpDesk, connect: Connect) -> None:
    with serving(desk, STATIC, Limits(connections=6)) as server:
        browser = connect(server)
        browser.follow(server.address)
        others = [connect(server) for _ in range(40)]
        for number, one in enumerate(others):
            with suppress(OSError):
                one.send(b"GET / HTTP/1.1\r\n"[: number % 16])
        began = time.monotonic()
        for _ in range(3):
            own = connect(server, browser)
            assert own.get("api/state").status == 200
        assert time.monotonic() - began < Limits().request / 2, "nobody waits for those that hang"
        for _ in range(500):
            if len(page_threads()) <= 7:
                break
            time.sleep(0.01)
        assert len(page_threads()) <= 7, "six connections, and one that accepts them"


def test_who_is_being_answered_is_never_dropped(
    desk: MadeUpDesk, monkeypatch: pytest.MonkeyPatch, connect: Connect
) -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()

    def slow(face: str) -> object:
        begun.release()
        assert go_on.wait(5)
        return MadeUpDesk.detail(desk, face)

    monkeypatch.setattr(desk, "detail", slow)
    with serving(desk, STATIC, Limits(connections=2)) as server:
        first = connect(server)
        first.follow(server.address)
        second = connect(server, first)
        question = f"GET /{first.secret}/api/faces/f1 HTTP/1.1\r\nHost: {first.host}\r\n\r\n".encode()
        for one in (first, second):
            one.send(question)
            assert begun.acquire(timeout=5)
        third = connect(server, first)  # only now: it would end one that is still waiting, and rightly
        third.send(question)
        third.channel.settimeout(0.1)
        with pytest.raises(TimeoutError):
            third.hear()
        third.channel.settimeout(5)
        go_on.set()
        assert [one.hear().status for one in (first, second, third)] == [200, 200, 200]


def test_several_requests_sent_at_once_are_answered_in_order(browser: Browser) -> None:
    for face in ("f1", "f2", "f3"):
        browser.send(f"GET /{browser.secret}/api/faces/{face} HTTP/1.1\r\nHost: {browser.host}\r\n\r\n".encode())
    assert [browser.hear().json["summary"]["id"] for _ in range(3)] == ["f1", "f2", "f3"]


# The end.


def test_it_ends_when_the_page_says_so(desk: MadeUpDesk, connect: Connect) -> None:
    with serving(desk, STATIC) as server:
        browser = connect(server)
        browser.follow(server.address)
        browser.post("api/faces/f1", {"accepted": True})
        idle = connect(server)
        waiting = threading.Thread(target=server.wait)
        waiting.start()
        heard = browser.post("api/finish")
        assert heard.json == {"saved": {"corrected": 0, "accepted": 1, "removed": 0}}
        assert heard.headers["connection"] == "close"
        waiting.join(5)
        assert not waiting.is_alive()
    assert page_threads() == []
    with suppress(ConnectionResetError):  # it may not have been taken yet
        assert idle.rest() == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, server.port), 1)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise there")
def test_ctrl_c_ends_it_and_is_passed_on(desk: MadeUpDesk) -> None:
    began = time.monotonic()
    stop = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a program in the background does not hear it
    try:
        with serving(desk, STATIC) as server:
            stop.start()
            with pytest.raises(KeyboardInterrupt):
                server.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - began < 5
    assert page_threads() == []


def test_what_is_being_saved_is_saved_before_it_ends(
    desk: MadeUpDesk, monkeypatch: pytest.MonkeyPatch, connect: Connect
) -> None:
    begun, saved = threading.Event(), []

    def slow(face: str, decision: Decision) -> object:
        begun.set()
        time.sleep(0.2)
        saved.append(face)
        return MadeUpDesk.save(desk, face, decision)

    monkeypatch.setattr(desk, "save", slow)
    with serving(desk, STATIC) as server:
        browser = connect(server)
        browser.follow(server.address)
        asking = threading.Thread(target=lambda: heard.append(browser.post("api/faces/f1", {"accepted": True})))
        heard: list[Heard] = []
        asking.start()
        assert begun.wait(5)
    assert saved == ["f1"]
    asking.join(5)
    assert heard[0].status == 200


# Where connections are forbidden, and where no port is to be had.


def test_it_works_where_connections_are_forbidden(desk: MadeUpDesk, connect: Connect) -> None:
    fetch.forbid_connections()
    with serving(desk, STATIC) as server:
        fetch._FORBIDDEN.clear()  # for the browser, which is another program
        browser = connect(server)
        fetch.forbid_connections()
        assert browser.follow(server.address).status == 303
        assert browser.get("api/state").status == 200
        with pytest.raises(CannotGoOnError, match="Connections are forbidden"):
            socket.create_connection((HOST, server.port), 1)


def test_no_name_is_looked_up(desk: MadeUpDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("getfqdn", "gethostbyaddr", "gethostbyname", "getaddrinfo"):
        monkeypatch.setattr(socket, name, lambda *_, name=name: pytest.fail(f"{name} was asked"))
    with serving(desk, STATIC) as server:
        assert server.address.startswith(f"http://{HOST}:")


def test_no_port_is_said(desk: MadeUpDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(server: object) -> None:
        raise OSError(99, "Cannot assign requested address")

    monkeypatch.setattr(TCPServer, "server_bind", refuse)
    with pytest.raises(CannotGoOnError, match=r"no port of 127\.0\.0\.1"), serving(desk, STATIC):
        pass
