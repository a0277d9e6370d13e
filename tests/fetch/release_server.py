"""A local server that plays the release pages networks are fetched from, well and badly."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

Answer: TypeAlias = Callable[[BaseHTTPRequestHandler, bytes], None]
"""Answers one request for some content."""


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves early is what some tests are about."""


@dataclass
class ReleaseServer:
    """content: what is served. answers: how, one for each request; then `whole`. asked: paths and Range headers."""

    content: bytes
    address: str = ""
    answers: list[Answer] = field(default_factory=list)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def url(self, name: str) -> str:
        return f"{self.address}/{name}"

    def ranges(self) -> list[str | None]:
        return [asked for _, asked in self.asked]


@contextmanager
def serving(content: bytes, secure: Callable[[Any], Any] | None = None) -> Iterator[ReleaseServer]:
    """Run a server for a while. secure: wraps its socket in TLS."""
    pages = ReleaseServer(content)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            pages.asked.append((self.path, self.headers.get("Range")))
            answer = pages.answers.pop(0) if pages.answers else whole
            self.close_connection = True
            answer(self, pages.content)

        def end_headers(self) -> None:
            self.send_header("Connection", "close")
            super().end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = QuietServer(("127.0.0.1", 0), Handler)
    if secure is not None:
        server.socket = secure(server.socket)
    pages.address = f"{'http' if secure is None else 'https'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield pages
    finally:
        pages.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


def send_head(handler: BaseHTTPRequestHandler, content: bytes, ranges: bool = True, length: bool = True) -> bytes:
    """Send status and headers for what was asked; return what is to follow."""
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", "")) if ranges else None
    start = int(asked[1]) if asked else 0
    if asked and start >= len(content):
        handler.send_response(416)
        handler.send_header("Content-Range", f"bytes */{len(content)}")
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return b""
    handler.send_response(206 if asked else 200)
    if asked:
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    if length:
        handler.send_header("Content-Length", str(len(content) - start))
    handler.end_headers()
    return content[start:]


def whole(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    """What was asked for."""
    handler.wfile.write(send_head(handler, content))


def ignoring_ranges(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    """Everything, whatever was asked for."""
    handler.wfile.write(send_head(handler, content, ranges=False))


def without_length(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    """What was asked for, without saying how much it is."""
    handler.wfile.write(send_head(handler, content, length=False))


def broken_off(after: int) -> Answer:
    """The connection ends after so many bytes."""

    def answer(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        handler.wfile.write(send_head(handler, content)[:after])

    return answer


def stalled(after: int, server: ReleaseServer) -> Answer:
    """Nothing comes after so many bytes, and the connection stays."""

    def answer(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        handler.wfile.write(send_head(handler, content)[:after])
        handler.wfile.flush()
        server.ended.wait(20)

    return answer


def slow(pieces: int, pause: float, server: ReleaseServer) -> Answer:
    """The content in so many pieces, a pause in seconds before each."""

    def answer(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        rest = send_head(handler, content)
        step = -(-len(rest) // pieces)
        for start in range(0, len(rest), step):
            server.ended.wait(pause)
            handler.wfile.write(rest[start : start + step])

    return answer


def damaged(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    """The right length, one bit wrong."""
    changed = bytearray(content)
    changed[len(content) // 2] ^= 1
    whole(handler, bytes(changed))


def other(content: bytes) -> Answer:
    """Something else, as a page that asks for a login."""
    return lambda handler, _: whole(handler, content)


def status(code: int) -> Answer:
    """An answer without a file."""

    def answer(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        handler.send_response(code)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def redirected(to: str) -> Answer:
    """Look there."""

    def answer(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def other_stretch(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    """Bytes from elsewhere in the file than was asked for."""
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes 7-{len(content) - 1}/{len(content)}")
    handler.send_header("Content-Length", str(len(content) - 7))
    handler.end_headers()
    handler.wfile.write(content[7:])


def packed(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    """Said to be gzip."""
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)
