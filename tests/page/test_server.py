"""The page's server: what it answers its own browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmdcli.decisions import Decision
from dmdcli.errors import PhotoReadError, UsageError
from dmdcli.page.desk import ChangedElsewhereError
from dmdcli.page.server import PageServer
from tests.page.browsing import STATIC, Browser, Connect, Heard
from tests.page.made_up_desk import MadeUpDesk

POINTS = [[float(number), number * 2.5] for number in range(68)]


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
    assert set(preview) == {"before", "after", "components", "verdict", "reasons", "used", "seconds", "left_out"}
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
        def refuse(face: str, depth: object) -> None:
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


def test_several_requests_sent_at_once_are_answered_in_order(browser: Browser) -> None:
    for face in ("f1", "f2", "f3"):
        browser.send(f"GET /{browser.secret}/api/faces/{face} HTTP/1.1\r\nHost: {browser.host}\r\n\r\n".encode())
    assert [browser.hear().json["summary"]["id"] for _ in range(3)] == ["f1", "f2", "f3"]
