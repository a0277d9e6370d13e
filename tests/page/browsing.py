"""Speaks to a page server as browsers do, and as no browser ever would."""

from __future__ import annotations

import json
import socket
import threading
from dataclasses import dataclass
from typing import Any, Protocol

from dmdcli.page.server import HOST, PageServer

STATIC = {"page.html": b"<!doctype html><title>page</title>", "page.css": b"p {}", "page.js": b"let one = 1;"}
"""A page of its own for the server."""
PATIENCE = 5.0
"""Seconds in which a server must have answered."""


@dataclass(frozen=True)
class Heard:
    """An answer. headers: lower-case name -> value."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Browser:
    """One connection that is kept. secret: of the path, once the link was followed."""

    def __init__(self, server: PageServer) -> None:
        self.port = server.port
        self.host = f"{HOST}:{server.port}"
        self.secret = ""
        self.channel = socket.create_connection((HOST, server.port), PATIENCE)
        self.received = b""

    def follow(self, address: str) -> Heard:
        """Open the link of the terminal, and keep the secret it leads to."""
        heard = self.ask("GET", address.partition(self.host)[2])
        self.secret = heard.headers.get("location", "").strip("/") or self.secret
        return heard

    def get(self, below: str, **headers: str) -> Heard:
        return self.ask("GET", f"/{self.secret}/{below}", **headers)

    def post(self, below: str, content: object = None, **headers: str) -> Heard:
        body = json.dumps({} if content is None else content).encode()
        headers = {"Origin": f"http://{self.host}", "Content-Type": "application/json", **headers}
        return self.ask("POST", f"/{self.secret}/{below}", body, **headers)

    def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> Heard:
        length = {"Content-Length": str(len(body))} if body else {}
        lines = [f"{name}: {value}" for name, value in {"Host": self.host, **length, **headers}.items()]
        self.send("\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""]).encode() + body)
        return self.hear(with_body=method != "HEAD")

    def send(self, content: bytes) -> None:
        self.channel.sendall(content)

    def hear(self, with_body: bool = True) -> Heard:
        """The next answer."""
        while b"\r\n\r\n" not in self.received:
            self._receive()
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        status, *lines = head.decode("ascii").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers["content-length"]) if with_body else 0
        while len(self.received) < length:
            self._receive()
        body, self.received = self.received[:length], self.received[length:]
        return Heard(int(status.split()[1]), headers, body)

    def rest(self) -> bytes:
        """All that comes before the server ends the connection."""
        while more := self.channel.recv(1 << 16):
            self.received += more
        return self.received

    def _receive(self) -> None:
        more = self.channel.recv(1 << 16)
        assert more, f"the server has ended the connection after {self.received!r}"
        self.received += more

    def close(self) -> None:
        self.channel.close()


class Connect(Protocol):
    def __call__(self, server: PageServer, like: Browser | None = None) -> Browser: ...


def page_threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "page" or "process_request" in one.name]
