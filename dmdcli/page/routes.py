"""What can be asked of the page server below its secret: files of the page, and the desk's questions and orders."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import TypeAlias

from dmdcli.errors import UsageError
from dmdcli.page import messages
from dmdcli.page.desk import Depth, Desk, Which
from dmdcli.page.messages import FARTHEST
from dmdcli.page.strict_http import Answer, Refused
from dmdcli.shapes import Box

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
"""Suffix of a static file -> its content type."""
JSON = "application/json"
START = "page.html"
WIDTHS = range(1, 8193)
"""Pixels that a view may be asked to be wide."""
DEFAULT_WIDTH = 1600
KEPT = {"Cache-Control": "private, max-age=3600, immutable"}
"""For pictures whose address says which version they are."""
COMMA = re.compile("%2c", re.IGNORECASE)
"""How a browser writes the commas of a region; nothing else is ever decoded."""


@dataclass(frozen=True)
class Asked:
    """A request that was let in. id: of the face or photo that the path names, or "". query: as it was sent."""

    id: str
    query: str
    body: bytes

    def value(self, name: str) -> str | None:
        """The value of a parameter; the last has the say."""
        pairs = (part.partition("=") for part in self.query.split("&"))
        return {key: COMMA.sub(",", value) for key, _, value in pairs}.get(name)


Route: TypeAlias = Callable[[Desk, Asked], Answer]
"""Asks the desk and puts its answer into words; the desk's errors pass."""


def find_route(method: str, path: str) -> tuple[Route, str]:
    """What answers a method and a path below the secret, and the id in the path. Raises Refused where nothing does."""
    allowed = []
    for allowed_method, pattern, route in ROUTES:
        if found := pattern.fullmatch(path):
            if allowed_method == method:
                return route, found[1] if found.groups() else ""
            allowed.append(allowed_method)
    if allowed:
        raise Refused(405, f"That is asked with {' or '.join(allowed)}.")
    raise Refused(404, "There is nothing here.")


def find_file(method: str, path: str, static: Mapping[str, bytes]) -> Answer | None:
    """A file of the page; None where the path names none. Raises Refused for other methods than GET."""
    name = path or START
    if name not in static:
        return None
    if method != "GET":
        raise Refused(405, "That is asked with GET.")
    return Answer(static[name], KINDS[PurePath(name).suffix])


def _json(value: object, *, ends: bool = False) -> Answer:
    text = json.dumps(messages.to_json(value), allow_nan=False, separators=(",", ":"))
    return Answer(text.encode("ascii"), JSON, ends=ends)


def _state(desk: Desk, _: Asked) -> Answer:
    return _json(desk.state())


def _faces(desk: Desk, asked: Asked) -> Answer:
    revision, faces = desk.summaries(_whole(asked.value("since") or "0", range(1 << 53)))
    return _json({"revision": revision, "faces": faces})


def _face(desk: Desk, asked: Asked) -> Answer:
    return _json(desk.detail(asked.id, _depth(asked.value("depth"))))


def _prepare(desk: Desk, asked: Asked) -> Answer:
    messages.read_object(asked.body, ())
    desk.prepare(asked.id)
    return _json({})


def _thumbnail(desk: Desk, asked: Asked) -> Answer:
    return Answer(desk.thumbnail(asked.id), "image/jpeg", headers=KEPT if asked.value("v") else {})


def _view(desk: Desk, asked: Asked) -> Answer:
    said = asked.value("region")
    width = _whole(asked.value("width") or str(DEFAULT_WIDTH), WIDTHS)
    picture = desk.view(asked.id, None if said is None else _region(said), width, _which(asked.value("which")))
    return Answer(picture, "image/jpeg")


def _preview(desk: Desk, asked: Asked) -> Answer:
    return _json(desk.preview(asked.id, messages.read_decision(asked.body)))


def _save(desk: Desk, asked: Asked) -> Answer:
    return _json(desk.save(asked.id, *messages.read_order(asked.body)))


def _reset(desk: Desk, asked: Asked) -> Answer:
    return _json(desk.reset(asked.id, messages.read_seen(asked.body)))


def _draw(desk: Desk, asked: Asked) -> Answer:
    return _json(desk.draw(asked.id, messages.read_box(asked.body)))


def _finish(desk: Desk, asked: Asked) -> Answer:
    messages.read_object(asked.body, ())
    return _json({"saved": desk.decided()}, ends=True)


def _whole(text: str, allowed: range) -> int:
    if not re.fullmatch("[0-9]{1,16}", text) or int(text) not in allowed:
        raise UsageError(f"A whole number from {allowed.start} to {allowed.stop - 1} was expected.")
    return int(text)


def _which(text: str | None) -> Which:
    match text:
        case None | "photo":
            return "photo"
        case "result":
            return "result"
    raise UsageError("which has to be photo or result.")


def _depth(text: str | None) -> Depth:
    match text:
        case None | "searched":
            return "searched"
        case "outline":
            return "outline"
        case "described":
            return "described"
    raise UsageError("depth has to be outline, described or searched.")


def _region(text: str) -> Box:
    """Four numbers with commas between them, in pixels of the picture."""
    try:
        x0, y0, x1, y1 = (float(edge) for edge in text.split(","))
    except ValueError as error:
        raise UsageError("region has to be left,top,right,bottom in pixels of the picture.") from error
    if not (-FARTHEST <= x0 < x1 <= FARTHEST and -FARTHEST <= y0 < y1 <= FARTHEST):
        raise UsageError("region has to be left,top,right,bottom in pixels of the picture.")
    return x0, y0, x1, y1


ROUTES: tuple[tuple[str, re.Pattern[str], Route], ...] = tuple(
    (method, re.compile(pattern.replace("ID", "([0-9A-Za-z_-]{1,100})")), route)
    for method, pattern, route in (
        ("GET", r"api/state", _state),
        ("GET", r"api/faces", _faces),
        ("GET", r"api/faces/ID", _face),
        ("GET", r"faces/ID\.jpg", _thumbnail),
        ("GET", r"photos/ID\.jpg", _view),
        ("POST", r"api/faces/ID", _save),
        ("POST", r"api/faces/ID/prepare", _prepare),
        ("POST", r"api/faces/ID/preview", _preview),
        ("POST", r"api/faces/ID/reset", _reset),
        ("POST", r"api/photos/ID/faces", _draw),
        ("POST", r"api/finish", _finish),
    )
)
