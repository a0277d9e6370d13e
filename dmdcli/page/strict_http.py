"""HTTP as `http.server` reads it, less what no browser sends: requests strictly and in time, answers without chatter.

What the library lets pass is refused before it comes to that: older HTTP, continued lines, lines that end otherwise,
bodies whose length is not said, or twice. After a refusal the connection ends, so that no rest of a request can be
taken for the next one.
"""

from __future__ import annotations

import contextlib
import html
import io
import json
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, NoReturn

MOST_HEAD = 16 << 10
"""Bytes of a request before its body."""
MOST_BODY = 256 << 10
"""Bytes of a request's body; 68 points with all their digits are 3 kB."""
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
PAGE = """<!doctype html><html lang="en"><head><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>dmd</title></head><body><p>{}</p></body></html>"""
"""Of a refusal, for people, also with a telephone in hand."""
REQUEST_LINE = re.compile(rb"[A-Za-z]{1,20} ([!-~]+) HTTP/(\d\.\d)\r\n")
HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*)?\r\n")


class Refused(Exception):
    """A request is not answered as it wished: the status and a sentence for whoever asked."""

    def __init__(self, status: int, sentence: str) -> None:
        self.status = status
        self.sentence = sentence
        super().__init__(sentence)


@dataclass(frozen=True)
class Limits:
    """What one page server gives away.

    connections: open at a time. idle: seconds a connection may lie unused. request: seconds from the first byte of a
    request to its last. answer: seconds in which an answer must have been taken.
    """

    connections: int = 32
    idle: float = 60.0
    request: float = 10.0
    answer: float = 60.0


@dataclass(frozen=True)
class Answer:
    """What is sent back. kind: content type. ends: the command ends with it."""

    content: bytes
    kind: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    ends: bool = False


class StrictHandler(BaseHTTPRequestHandler):
    """One connection of a browser. `do_GET` and its like end with `respond`, or raise Refused."""

    protocol_version = "HTTP/1.1"
    default_request_version = request_version = "HTTP/1.1"  # of answers to what could not be read
    limits: Limits
    raw_requestline: bytes

    def setup(self) -> None:
        """Read within limits, and write each answer as a whole."""
        self.connection: socket.socket = self.request
        self._source = InTime(self.connection)
        self.rfile = self._lines = _Lines(self._source)
        self.wfile = io.BytesIO()

    def handle(self) -> None:
        """Answer requests until the connection ends, by whomever."""
        with contextlib.suppress(OSError):
            super().handle()

    def handle_one_request(self) -> None:
        """Wait for a request and answer it."""
        self.command, self.headers, self.close_connection = "", self.MessageClass(), True
        self._source.give(self.limits.idle)
        try:
            if not self._lines.peek(1):
                return
        except Refused:  # nothing has come that could be refused
            return
        self._source.give(self.limits.request)
        self._lines.left, self._lines.is_in_headers = MOST_HEAD, False
        try:
            super().handle_one_request()
        except Refused as refusal:
            self.respond(self.refusal(refusal.status, refusal.sentence))

    def parse_request(self) -> bool:
        """Read a head. Raises Refused, also by `send_error`."""
        found = REQUEST_LINE.fullmatch(self.raw_requestline)
        if found is None:
            raise Refused(400, "The request is not HTTP as it is understood here.")
        target, version = (part.decode("ascii") for part in found.groups())
        if version != "1.1":
            raise Refused(505, "Only HTTP/1.1 is understood here.")
        if not target.startswith("/") or "#" in target:
            raise Refused(400, "The request names no place of this page.")
        self._lines.is_in_headers = True
        is_read = super().parse_request()
        self.path = target  # of which the library leaves out slashes
        return is_read

    def handle_expect_100(self) -> NoReturn:
        """Refuse whoever wants to be told to go on. Raises Refused."""
        raise Refused(417, "The body of the request has to come without being asked for.")

    def send_error(self, code: int, *_: object, **__: object) -> NoReturn:
        """Refuse what the library does not understand. Raises Refused."""
        if code == 501:
            raise Refused(405, "Nothing but GET and POST is understood here.")
        raise Refused(code, "The request is not HTTP as it is understood here.")

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing down: addresses hold the secret."""

    def header(self, name: str) -> str | None:
        """The value of a header, None without it. Raises Refused where it stands there twice."""
        values = self.headers.get_all(name, [])
        if len(values) > 1:
            raise Refused(400, f"The request has several headers {name}.")
        return values[0].strip(" \t") if values else None

    def read_body(self) -> bytes:
        """The body of the request, in what is left of its time.

        Raises Refused where its length is not said as it has to be, or is too much; OSError where it is cut short.
        """
        said = self.header("content-length")
        if "transfer-encoding" in self.headers or (said is None and self.command == "POST"):
            raise Refused(411, "The length of the request has to be said in advance.")
        if said is None:
            return b""
        if not re.fullmatch("[0-9]{1,15}", said):
            raise Refused(400, "The length of the request is no number.")
        length = int(said)
        if length > MOST_BODY:
            raise Refused(413, f"The request is too large; {MOST_BODY} bytes are the most.")
        if length and self.command != "POST":
            raise Refused(400, "Only a POST request has a body.")
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionAbortedError
        return body

    def respond(self, answer: Answer) -> None:
        """Send an answer. Raises OSError where it is not taken in time."""
        ends = answer.ends or answer.status >= 400 or self.close_connection
        own = {"Connection": "close" if ends else "keep-alive", "Content-Type": answer.kind}
        own["Content-Length"] = str(len(answer.content))
        self.wfile = io.BytesIO()
        self.send_response_only(answer.status)
        for name, value in {**HEADERS, **own, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.content if self.command != "HEAD" else b"")
        self.connection.settimeout(self.limits.answer)
        self.connection.sendall(self.wfile.getvalue())

    def refusal(self, status: int, sentence: str) -> Answer:
        """A sentence as a page for people where a browser wants to show one, else as JSON."""
        headers = {"Allow": "GET, POST"} if status == 405 else {}
        if any("text/html" in value for value in self.headers.get_all("accept", [])):
            page = PAGE.format(html.escape(sentence))
            return Answer(page.encode(), "text/html; charset=utf-8", status, headers)
        return Answer(json.dumps({"error": sentence}).encode(), "application/json", status, headers)


class InTime(io.RawIOBase):
    """What comes through a socket until a deadline."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel, self._deadline = channel, 0.0

    def give(self, seconds: float) -> None:
        """Set the deadline anew."""
        self._deadline = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Wait for bytes; 0 at the end. Raises Refused at the deadline, OSError where the connection breaks."""
        remaining = self._deadline - time.monotonic()
        try:
            if remaining <= 0:
                raise TimeoutError
            self._channel.settimeout(remaining)
            return self._channel.recv_into(buffer)
        except TimeoutError as error:
            raise Refused(408, "The request took too long to arrive.") from error


class _Lines(io.BufferedReader):
    """Lines of a head, as HTTP wants them. left: bytes that it may still have. is_in_headers: after its first line."""

    left, is_in_headers = MOST_HEAD, False

    def readline(self, _: int | None = -1, /) -> bytes:
        """The next line, however long. Raises Refused."""
        line = super().readline(self.left + 1)
        self.left -= len(line)
        if self.left < 0:
            raise Refused(431, f"The head of the request is too large; {MOST_HEAD} bytes are the most.")
        if self.is_in_headers and not HEADER.fullmatch(line):
            raise Refused(400, "A header of the request is not as HTTP wants it.")
        return line
