"""Serves the page to one browser of one user, and to nobody else; docs/page.md says against whom it guards.

Everything lies below a secret that is part of the path, so that no cookie could be used by another page. The address
that is given out holds another one, which works once and leads there.
"""

from __future__ import annotations

import contextlib
import hmac
import html
import json
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from pathlib import PurePath

from dmdcli.errors import CannotGoOnError, DMDError, UsageError
from dmdcli.page.connection import Answer, Broken, Connection, Limits, Refused, Request
from dmdcli.page.desk import ChangedElsewhereError, Desk, NoSuchFaceError
from dmdcli.page.peers import own_users, user_at
from dmdcli.page.routes import JSON, KINDS, Asked, Route, find_file, find_route

HOST = "127.0.0.1"
SECRET_BYTES = 32
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of every answer."""
LOOK_UP = 0.2
"""Seconds after which threads that wait look whether the server has ended, where nothing wakes them."""
NOT_FROM_HERE = "This page answers only the browser that opened it, at the address that the terminal shows."
USED = (
    "This link was used already; it works once. If the page is not open in your browser, somebody else may have opened "
    "it: end the command in the terminal with Ctrl-C and start it again."
)
ANOTHER_USER = "This page belongs to another user of this computer, and answers nobody else."
BUG = "Something went wrong in the program; the terminal says what."


class PageServer:
    """A page at work. address: where the browser goes first, and once."""

    def __init__(self, desk: Desk, static: Mapping[str, bytes], limits: Limits | None = None) -> None:
        """Listen, and answer in threads of its own until `close`. static: name -> content of the page's files.

        Raises OSError where no port can be had.
        """
        self._desk, self._static, self._limits = desk, dict(static), limits or Limits()
        self._secret, self._once = secrets.token_urlsafe(SECRET_BYTES), secrets.token_urlsafe(SECRET_BYTES)
        self._is_opened = False
        self._users = own_users(os.environ)
        self._connections: dict[Connection, None] = {}  # the one that has waited longest comes first
        self._threads: set[threading.Thread] = set()
        self._changed = threading.Condition()
        self._finished, self._closing = threading.Event(), threading.Event()
        self._listening = socket.create_server((HOST, 0))  # asks nobody for a name, as the library's servers do
        self._listening.settimeout(LOOK_UP)
        self.port = int(self._listening.getsockname()[1])
        self.address = f"http://{HOST}:{self.port}/open/{self._once}"
        self._hosts = (f"{HOST}:{self.port}", f"localhost:{self.port}")
        self._accepting = threading.Thread(target=self._accept, name="page", daemon=True)
        self._accepting.start()

    def wait(self) -> None:
        """Wait until the page says that it is finished. Raises KeyboardInterrupt on Ctrl-C."""
        while not self._finished.wait(1.0):  # in portions: a wait without end cannot be interrupted everywhere
            pass

    def close(self) -> None:
        """End: the port is free, and what is being answered is answered before this returns."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts, where the system does so
        self._accepting.join()
        self._listening.close()
        with self._changed:
            for connection in self._connections:
                if not connection.is_answering:
                    connection.drop()
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    def _accept(self) -> None:
        """Take connections until the server ends."""
        while not self._closing.is_set():
            try:
                channel, peer = self._listening.accept()
            except TimeoutError:
                continue
            except OSError:  # the end; or no more files may be opened, which passes
                self._closing.wait(LOOK_UP)
                continue
            connection = Connection(channel, self._limits)
            user = user_at(peer, (HOST, self.port))
            if user is None or not self._users or user in self._users:
                self._take(connection)
            else:
                _turn_away(connection)

    def _take(self, connection: Connection) -> None:
        """Give a connection a thread. Where there are too many, the one ends that has been waiting for longest."""
        thread = threading.Thread(target=self._serve, args=(connection,), name="page connection", daemon=True)
        with self._changed:
            while len(self._connections) >= self._limits.connections and not self._closing.is_set():
                oldest = next((one for one in self._connections if not one.is_answering), None)
                if oldest is None:
                    self._changed.wait(LOOK_UP)
                else:
                    del self._connections[oldest]
                    oldest.drop()
            self._connections[connection] = None
            self._threads.add(thread)
        thread.start()

    def _serve(self, connection: Connection) -> None:
        """Answer the requests of a connection, one after the other."""
        try:
            with contextlib.suppress(Broken):
                while not self._closing.is_set() and self._answer_next(connection):
                    with self._changed:  # it waits again, behind all others
                        self._connections.pop(connection)
                        self._connections[connection] = None
                        connection.is_answering = False
        finally:
            connection.is_answering = False  # what lingers may be dropped
            connection.close()
            with self._changed:
                self._connections.pop(connection, None)
                self._threads.discard(threading.current_thread())
                self._changed.notify_all()

    def _answer_next(self, connection: Connection) -> bool:
        """Read a request and answer it; whether the connection may be used for another."""
        request, bug = None, None
        try:
            request = connection.read_request()
            route = self._let_in(request)
            body = connection.read_body(request)
            with self._changed:
                if connection not in self._connections:  # dropped meanwhile: nobody would hear the answer
                    return False
                connection.is_answering = True
            answer = route(body)
        except Refused as refusal:
            answer = _refusal(request, refusal)
        except Broken:
            raise
        except Exception as error:  # noqa: BLE001 (it is raised again once the page knows)
            answer, bug = _refusal(request, Refused(500, BUG)), error
        goes_on = answer.status < 400 and not answer.ends and not self._closing.is_set() and not _wants_to_end(request)
        headers = {**HEADERS, "Connection": "keep-alive" if goes_on else "close"}
        try:
            connection.write(answer, headers, with_content=request is None or request.method != "HEAD")
        finally:
            if answer.ends:
                self._finished.set()
            if bug is not None:
                raise bug
        return goes_on

    def _let_in(self, request: Request) -> Callable[[bytes], Answer]:
        """Look at everything about a request but its body, and return what answers it. Raises Refused."""
        host, origin = request.header("host"), request.header("origin")
        if host not in self._hosts:
            raise Refused(403, NOT_FROM_HERE)
        if origin != f"http://{host}" and (origin is not None or request.method == "POST"):
            raise Refused(403, NOT_FROM_HERE)
        if request.header("sec-fetch-site") not in (None, "same-origin", "none"):
            raise Refused(403, NOT_FROM_HERE)
        _, first, *rest = request.path.split("/", 2)
        below = rest[0] if rest else None
        if first == "open" and below is not None and hmac.compare_digest(below, self._once):
            if request.method != "GET":
                raise Refused(405, "This address is to be opened in a browser.")
            return lambda _: self._open()
        if below is None or not hmac.compare_digest(first, self._secret):
            raise Refused(403, NOT_FROM_HERE)
        if request.method not in ("GET", "POST"):
            raise Refused(405, "Nothing but GET and POST is understood here.")
        kind = (request.header("content-type") or "").lower().replace(" ", "")
        if request.method == "POST" and kind not in ("application/json", "application/json;charset=utf-8"):
            raise Refused(415, "The request has to be JSON.")
        file = find_file(request.method, below, self._static)
        if file is not None:
            return lambda _: file
        route, about = find_route(request.method, below)
        return lambda body: self._ask(route, Asked(about, request.query, body))

    def _open(self) -> Answer:
        """Lead to the page, once."""
        with self._changed:
            if self._is_opened:
                raise Refused(403, USED)
            self._is_opened = True
        return Answer(b"", KINDS[".html"], 303, {"Location": f"/{self._secret}/"})

    def _ask(self, route: Route, asked: Asked) -> Answer:
        """Ask the desk. What it raises on purpose is a refusal."""
        try:
            return route(self._desk, asked)
        except ChangedElsewhereError as error:
            raise Refused(409, str(error)) from error
        except UsageError as error:
            raise Refused(400, str(error)) from error
        except NoSuchFaceError as error:
            raise Refused(404, "There is no such face here, or none any more.") from error
        except DMDError as error:
            raise Refused(500, str(error)) from error


@contextlib.contextmanager
def serving(
    desk: Desk, static: Mapping[str, bytes] | None = None, limits: Limits | None = None
) -> Iterator[PageServer]:
    """Serve the page of a desk while the block runs. static: in place of the files of the package.

    Raises CannotGoOnError where no port can be had.
    """
    try:
        server = PageServer(desk, read_static() if static is None else static, limits)
    except OSError as error:
        raise CannotGoOnError(
            f"The page cannot be served: no port of {HOST} is to be had ({error.strerror or error}). "
            "Close some programs and try again."
        ) from error
    try:
        yield server
    finally:
        server.close()


def read_static() -> dict[str, bytes]:
    """The files of the page in the package, by name."""
    folder = files("dmdcli.page") / "static"
    found = folder.iterdir() if folder.is_dir() else ()
    return {one.name: one.read_bytes() for one in found if PurePath(one.name).suffix in KINDS}


def _turn_away(connection: Connection) -> None:
    """Refuse another user's connection unread: so short an answer never waits for its reader."""
    with contextlib.suppress(Broken):
        connection.write(_refusal(None, Refused(403, ANOTHER_USER)), {**HEADERS, "Connection": "close"})
    connection.drop()
    connection.close()


def _wants_to_end(request: Request | None) -> bool:
    """Whether the other side will not use the connection again."""
    return request is not None and any("close" in value.lower() for value in request.headers.get("connection", ()))


def _refusal(request: Request | None, refusal: Refused) -> Answer:
    """A refusal as a page for people where a browser wants to show one, else as JSON."""
    headers = {"Allow": "GET, POST"} if refusal.status == 405 else {}
    if request is not None and any("text/html" in value for value in request.headers.get("accept", ())):
        page = f'<!doctype html><html lang="en"><title>dmd</title><p>{html.escape(refusal.sentence)}</p></html>'
        return Answer(page.encode(), KINDS[".html"], refusal.status, headers)
    return Answer(json.dumps({"error": refusal.sentence}).encode(), JSON, refusal.status, headers)
