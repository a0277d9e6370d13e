"""One connection of a browser: requests read off it, strictly and in time, and answers written to it.

Far less than HTTP allows is understood, and what is not understood is refused: only HTTP/1.1, only bodies whose length
is said once, no continued lines, nothing decoded. After a refusal the connection ends, so that no rest of a request can
be taken for the next one.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

MOST_HEAD = 16 << 10
"""Bytes of a request before its body."""
MOST_BODY = 256 << 10
"""Bytes of a request's body; 68 points with all their digits are 3 kB."""
LINGERING = 1.0
"""Seconds in which the rest of a refused request is thrown away, so that the refusal can be read before the end."""
MOST_THROWN_AWAY = 8 << 20
"""Bytes of it."""
REQUEST_LINE = re.compile(rb"([A-Za-z]{1,20}) ([!-~]+) HTTP/(\d\.\d)")
HEADER_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
LINE = re.compile(rb"[\t -~\x80-\xff]*")
REASONS = {
    **{200: "OK", 303: "See Other", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed"},
    **{408: "Request Timeout", 409: "Conflict", 411: "Length Required", 413: "Content Too Large"},
    **{415: "Unsupported Media Type", 431: "Request Header Fields Too Large", 500: "Internal Server Error"},
    **{505: "HTTP Version Not Supported"},
}


class Broken(Exception):
    """The other side has ended the connection, or does not take what is sent."""


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
class Request:
    """A request before its body. path: begins with a slash, as it was sent. headers: lower-case name -> all values."""

    method: str
    path: str
    query: str
    headers: Mapping[str, Sequence[str]]

    def header(self, name: str) -> str | None:
        """The value of a header, None without it. Raises Refused where it stands there twice."""
        values = self.headers.get(name, ())
        if len(values) > 1:
            raise Refused(400, f"The request has several headers {name}.")
        return values[0] if values else None

    @property
    def length(self) -> int:
        """Bytes of the body. Raises Refused where that is not said, or too many."""
        said = self.header("content-length")
        if "transfer-encoding" in self.headers:
            raise Refused(411, "The length of the request has to be said in advance.")
        if said is None:
            if self.method == "POST":
                raise Refused(411, "The length of the request has to be said in advance.")
            return 0
        if not re.fullmatch("[0-9]{1,15}", said):
            raise Refused(400, "The length of the request is no number.")
        if int(said) > MOST_BODY:
            raise Refused(413, f"The request is too large; {MOST_BODY} bytes are the most.")
        if int(said) and self.method != "POST":
            raise Refused(400, "Only a POST request has a body.")
        return int(said)


@dataclass(frozen=True)
class Answer:
    """What is sent back. kind: content type. ends: the command ends with it."""

    content: bytes
    kind: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    ends: bool = False


class Connection:
    """A socket that a browser is at the other end of. It is read and written by one thread, and dropped by any."""

    def __init__(self, channel: socket.socket, limits: Limits) -> None:
        self._channel = channel
        self._limits = limits
        self._received = b""
        self._deadline = 0.0
        self._has_refused = False
        self.is_answering = False

    def read_request(self) -> Request:
        """The next request up to its body.

        Raises Refused for whatever is not as it should be, Broken where the connection ends or is not used any more.
        """
        if not self._received:
            self._deadline = time.monotonic() + self._limits.idle
            try:
                self._receive()
            except TimeoutError as error:
                raise Broken from error
        self._deadline = time.monotonic() + self._limits.request
        with _in_time():
            while (end := self._received.find(b"\r\n\r\n")) < 0:
                if len(self._received) > MOST_HEAD:
                    raise Refused(431, f"The head of the request is too large; {MOST_HEAD} bytes are the most.")
                self._receive()
        head, self._received = self._received[:end], self._received[end + 4 :]
        if len(head) > MOST_HEAD:
            raise Refused(431, f"The head of the request is too large; {MOST_HEAD} bytes are the most.")
        return parse_head(head)

    def read_body(self, request: Request) -> bytes:
        """The body of the request that was read last, in what is left of its time. Raises as `read_request` does."""
        length = request.length
        with _in_time():
            while len(self._received) < length:
                self._receive()
        body, self._received = self._received[:length], self._received[length:]
        return body

    def write(self, answer: Answer, headers: Mapping[str, str], *, with_content: bool = True) -> None:
        """Send an answer with further headers. Raises Broken where it is not taken in time."""
        self._has_refused = answer.status >= 400
        lines = [f"HTTP/1.1 {answer.status} {REASONS[answer.status]}"]
        every = {**headers, **answer.headers, "Content-Type": answer.kind, "Content-Length": str(len(answer.content))}
        lines += [f"{name}: {value}" for name, value in every.items()]
        assert not any(set("\r\n") & set(line) for line in lines), "a header that would be two"
        try:
            self._channel.settimeout(self._limits.answer)
            self._channel.sendall("\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + answer.content * with_content)
        except OSError as error:
            raise Broken from error

    def drop(self) -> None:
        """End the connection at once, whatever its thread is doing."""
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the connection; after a refusal the rest of its request is read first, or the refusal could get lost."""
        with contextlib.suppress(OSError), self._channel:
            if not self._has_refused:
                return
            self._channel.shutdown(socket.SHUT_WR)
            end, left = time.monotonic() + LINGERING, MOST_THROWN_AWAY
            while left > 0 and (remaining := end - time.monotonic()) > 0:
                self._channel.settimeout(remaining)
                thrown_away = len(self._channel.recv(1 << 16))
                left = left - thrown_away if thrown_away else 0

    def _receive(self) -> None:
        """Wait for more bytes. Raises TimeoutError at the deadline, Broken where none will come."""
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        try:
            self._channel.settimeout(remaining)
            more = self._channel.recv(1 << 16)
        except TimeoutError:
            raise
        except OSError as error:
            raise Broken from error
        if not more:
            raise Broken
        self._received += more


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    """Turn the end of the time into a refusal."""
    try:
        yield
    except TimeoutError as error:
        raise Refused(408, "The request took too long to arrive.") from error


def parse_head(head: bytes) -> Request:
    """A request line and headers, without the empty line that ends them. Raises Refused."""
    first, *lines = head.split(b"\r\n")
    found = REQUEST_LINE.fullmatch(first)
    if found is None:
        raise Refused(400, "The request is not HTTP as it is understood here.")
    method, target, version = (part.decode("ascii") for part in found.groups())
    if version != "1.1":
        raise Refused(505, "Only HTTP/1.1 is understood here.")
    if not target.startswith("/") or "#" in target:
        raise Refused(400, "The request names no place of this page.")
    headers: dict[str, list[str]] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not HEADER_NAME.fullmatch(name) or not LINE.fullmatch(value):
            raise Refused(400, "A header of the request is not as HTTP wants it.")
        headers.setdefault(name.decode("ascii").lower(), []).append(value.strip(b" \t").decode("latin-1"))
    path, _, query = target.partition("?")
    return Request(method, path, query, headers)
