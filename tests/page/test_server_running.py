"""The page's server among slow and many connections; its end; and where connections or ports are not to be had."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from socketserver import TCPServer
from typing import NoReturn

import pytest

from dmdcli import fetch
from dmdcli.decisions import Decision
from dmdcli.errors import CannotGoOnError
from dmdcli.page.server import HOST, serving
from dmdcli.page.strict_http import Limits
from tests.page.browsing import STATIC, Browser, Connect, Heard, page_threads
from tests.page.made_up_desk import MadeUpDesk


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

    def slow(face: str, depth: object) -> object:
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

    def slow(face: str, decision: Decision, seen: str | None) -> object:
        begun.set()
        time.sleep(0.2)
        saved.append(face)
        return MadeUpDesk.save(desk, face, decision, seen)

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


def test_it_waits_where_no_file_handles_are_left(desk: MadeUpDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def accept(_: object) -> NoReturn:
        tried.append(1)
        raise OSError(errno.EMFILE, "Too many open files")

    with serving(desk, STATIC) as server:
        with monkeypatch.context() as patched:
            patched.setattr(TCPServer, "get_request", accept)
            with socket.create_connection((HOST, server.port)):
                time.sleep(0.5)
        assert 1 <= len(tried) <= 4


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
