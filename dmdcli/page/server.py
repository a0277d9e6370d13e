"""Serves the page to one browser of one user, and to nobody else; docs/page.md says against whom it guards.

Everything lies below a secret that is part of the path, so that no cookie could be used by another page. The address
that is given out holds another one, which works once and leads there.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import ThreadingHTTPServer
from importlib.resources import files
from pathlib import PurePath
from socketserver import TCPServer
from typing import Any

from dmdcli.errors import CannotGoOnError, DMDError, UsageError
from dmdcli.page.desk import ChangedElsewhereError, Desk, NoSuchFaceError
from dmdcli.page.peers import own_users, user_at
from dmdcli.page.routes import KINDS, Asked, find_file, find_route
from dmdcli.page.strict_http import Answer, InTime, Limits, Refused, StrictHandler

HOST = "127.0.0.1"
SECRET_BYTES = 32
LOOK_UP = 0.2
"""Seconds after which threads that wait look whether the server has ended, where nothing wakes them."""
LINGERING = 1.0
"""Seconds in which the rest of what is sent is thrown away, so that a refusal can be read before the end."""
MOST_THROWN_AWAY = 8 << 20
"""Bytes of it."""
NOT_FROM_HERE = "This page answers only the browser that opened it, at the address that the terminal shows."
USED = (
    "This link was used already; it works once. If you closed the page, your browser's history still has it. Otherwise "
    "somebody else may have opened it: end the command with Ctrl-C in the terminal and start it again; what was saved "
    "is kept."
)
ANOTHER_USER = "This page belongs to another user of this computer, and answers nobody else."
BUG = "Something went wrong in the program; the terminal says what."


class PageServer(ThreadingHTTPServer):
    """A page at work. address: where the browser goes first, and once."""

    daemon_threads = False  # so that the end waits for them
    allow_reuse_address = False
    request_queue_size = 128

    def __init__(self, desk: Desk, static: Mapping[str, bytes], limits: Limits | None = None) -> None:
        """Listen, and answer in threads of its own until `close`. static: name -> content of the page's files.

        Raises OSError where no port can be had.
        """
        super().__init__((HOST, 0), _Visit)
        self.desk, self.static, self.limits = desk, dict(static), limits or Limits()
        self.secret, self.once = secrets.token_urlsafe(SECRET_BYTES), secrets.token_urlsafe(SECRET_BYTES)
        self.port = int(self.server_address[1])
        self.hosts = (f"{HOST}:{self.port}", f"localhost:{self.port}")
        self.address = f"http://{self.hosts[0]}/open/{self.once}"
        self.finished, self.closing = threading.Event(), threading.Event()
        self._is_opened = False
        self._users = own_users(os.environ)
        self._open: dict[socket.socket, bool] = {}  # is it being answered? The one that has waited longest comes first
        self._changed = threading.Condition()
        self._serving = threading.Thread(target=self.serve_forever, args=(LOOK_UP,), name="page", daemon=True)
        self._serving.start()

    def wait(self) -> None:
        """Wait until the page says that it is finished. Raises KeyboardInterrupt on Ctrl-C."""
        while not self.finished.wait(1.0):  # in portions: a wait without end cannot be interrupted everywhere
            pass

    def close(self) -> None:
        """End: the port is free, and what is being answered is answered before this returns."""
        self.closing.set()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts, where the system does so
        self.shutdown()
        self._serving.join()
        with self._changed:
            for channel, is_answering in self._open.items():
                if not is_answering:
                    _drop(channel)
        self.server_close()

    def open(self) -> Answer:
        """Lead to the page, once. Raises Refused."""
        with self._changed:
            if self._is_opened:
                raise Refused(403, USED)
            self._is_opened = True
        return Answer(b"", KINDS[".html"], 303, {"Location": f"/{self.secret}/"})

    @contextlib.contextmanager
    def answering(self, channel: socket.socket) -> Iterator[None]:
        """Keep a connection while the block runs. Raises ConnectionAbortedError where it was dropped already."""
        with self._changed:
            if channel not in self._open:
                raise ConnectionAbortedError
            self._open[channel] = True
        try:
            yield
        finally:
            with self._changed:
                del self._open[channel]
                self._open[channel] = False  # it waits again, behind all others
                self._changed.notify_all()
                if self.closing.is_set():
                    _drop(channel)

    def server_bind(self) -> None:
        """Take a port without asking anybody for a name, as the library does."""
        TCPServer.server_bind(self)

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection. Where that fails, as without file handles, it is not tried again at once."""
        try:
            return super().get_request()
        except OSError:
            self.closing.wait(LOOK_UP)
            raise

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether a connection is of a user who is let in; another is told so, unread."""
        user = user_at(client_address, (HOST, self.port))
        if user is None or not self._users or user in self._users:
            return True
        _TurnedAway(request, client_address, self)
        _drop(request)
        return False

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection a thread. Where there are too many, the one ends that has been waiting for longest."""
        with self._changed:
            while len(self._open) >= self.limits.connections and not self.closing.is_set():
                oldest = next((one for one, is_answering in self._open.items() if not is_answering), None)
                if oldest is None:
                    self._changed.wait(LOOK_UP)
                else:
                    del self._open[oldest]
                    _drop(oldest)
            self._open[request] = False
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        """End a connection; what still comes is read first for a while, or a refusal could get lost."""
        rest, left = InTime(request), MOST_THROWN_AWAY
        rest.give(LINGERING)
        with contextlib.suppress(OSError, Refused):
            while left > 0 and (thrown_away := rest.read(1 << 16)):
                left -= len(thrown_away)
        super().close_request(request)
        with self._changed:
            self._open.pop(request, None)
            self._changed.notify_all()


class _Visit(StrictHandler):
    """A connection to a page server."""

    server: PageServer

    def setup(self) -> None:
        self.limits = self.server.limits
        super().setup()

    def do_GET(self) -> None:
        """Answer one request. What goes wrong is the terminal's to know."""
        route = self._let_in()
        body = self.read_body()
        with self.server.answering(self.connection):
            try:
                answer = route(body)
            except Refused as refusal:
                answer = self.refusal(refusal.status, refusal.sentence)
            except ChangedElsewhereError as error:
                answer = self.refusal(409, str(error))
            except UsageError as error:
                answer = self.refusal(400, str(error))
            except NoSuchFaceError:
                answer = self.refusal(404, "There is no such face here, or none any more.")
            except DMDError as error:
                answer = self.refusal(500, str(error))
            except Exception:  # noqa: BLE001 (it is written to the terminal as it is)
                self.server.handle_error(self.connection, self.client_address)
                answer = self.refusal(500, BUG)
            try:
                self.respond(answer)
            finally:
                if answer.ends:
                    self.server.finished.set()

    do_POST = do_GET

    def _let_in(self) -> Callable[[bytes], Answer]:
        """Look at everything about a request but its body, and return what answers it. Raises Refused."""
        server, host, origin = self.server, self.header("host"), self.header("origin")
        if host not in server.hosts:
            raise Refused(403, NOT_FROM_HERE)
        if origin != f"http://{host}" and (origin is not None or self.command == "POST"):
            raise Refused(403, NOT_FROM_HERE)
        if self.header("sec-fetch-site") not in (None, "same-origin", "none"):
            raise Refused(403, NOT_FROM_HERE)
        path, _, query = self.path.partition("?")
        _, first, *rest = path.split("/", 2)
        below = rest[0] if rest else None
        if first == "open" and below is not None and hmac.compare_digest(below, server.once):
            if self.command != "GET":
                raise Refused(405, "This address is to be opened in a browser.")
            return lambda _: server.open()
        if below is None or not hmac.compare_digest(first, server.secret):
            raise Refused(403, NOT_FROM_HERE)
        kind = (self.header("content-type") or "").lower().replace(" ", "")
        if self.command == "POST" and kind not in ("application/json", "application/json;charset=utf-8"):
            raise Refused(415, "The request has to be JSON.")
        file = find_file(self.command, below, server.static)
        if file is not None:
            return lambda _: file
        route, about = find_route(self.command, below)
        return lambda body: route(server.desk, Asked(about, query, body))


class _TurnedAway(_Visit):
    """A connection that is told why it ends, and no more: so short an answer never waits for its reader."""

    def handle(self) -> None:
        self.command, self.headers = "", self.MessageClass()
        with contextlib.suppress(OSError):
            self.respond(self.refusal(403, ANOTHER_USER))


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
    """The files of the page in the package, by name; some are shared with the report."""
    folders = [files(package) / "static" for package in ("dmdcli", "dmdcli.page")]
    found = (one for folder in folders if folder.is_dir() for one in folder.iterdir())
    return {one.name: one.read_bytes() for one in found if PurePath(one.name).suffix in KINDS}


def _drop(channel: socket.socket) -> None:
    """End a connection at once, whatever its thread is waiting for."""
    with contextlib.suppress(OSError):
        channel.shutdown(socket.SHUT_RDWR)
