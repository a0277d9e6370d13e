"""What the page and the server tell each other: the types of the desk as JSON, and the page's JSON as decisions.

What comes from outside is checked here to the last number, so that a desk is handed nothing but what it names.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import cv2
import numpy as np

from dmdcli.decisions import Decision, FacePoints, contradiction
from dmdcli.errors import UsageError
from dmdcli.page.desk import Detail
from dmdcli.person import check_name
from dmdcli.shapes import Box, Pixels, rounded

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

QUALITY = 90
"""Of the JPEGs of a preview."""
FARTHEST = 1_000_000.0
"""Pixels from a photo's corner that a point or an edge may be."""
DECIDED = ("landmarks", "box", "person", "stranger", "not_a_face", "leave_alone", "strength", "accepted")
"""The fields of a decision that the page knows, on the way there and back."""
SEEN = "seen"
"""Beside them in an order: the revision of the face that was looked at."""
Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"
Value = TypeVar("Value")


def to_json(value: object) -> Json:
    """Anything a desk returns as what JSON can say: dataclasses become objects, sequences lists, pixels JPEGs.

    Pixels (H, W, 3) uint8 RGB are a data: address of type image/jpeg; a number that is none is null. Raises TypeError
    for whatever has no form here.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case np.generic():
            return to_json(value.item())
        case np.ndarray():
            return _as_address(value) if value.dtype == np.uint8 and value.ndim == 3 else to_json(value.tolist())
        case Decision():
            return {name: to_json(getattr(value, name)) for name in DECIDED}
        case Mapping():
            return {str(key): to_json(one) for key, one in value.items()}
        case Sequence() if not isinstance(value, bytes):
            return [to_json(one) for one in value]
        case Detail():
            return {**_fields(value), "revision": value.revision}
    if is_dataclass(value) and not isinstance(value, type):
        return _fields(value)
    raise TypeError(f"a {type(value).__name__} is nothing that the page could be told")


def _fields(value: DataclassInstance) -> dict[str, Json]:
    return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}


def _as_address(pixels: Pixels) -> str:
    """Pixels (H, W, 3) uint8 RGB as an address that holds them."""
    coded = cv2.imencode(".jpg", pixels[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, QUALITY))[1]
    return "data:image/jpeg;base64," + base64.b64encode(coded.tobytes()).decode()


def read_object(body: bytes, known: Sequence[str]) -> Mapping[str, object]:
    """The JSON object in a request. known: the keys it may have. Raises UsageError for anything else."""
    try:
        # All numbers as floats: one with thousands of digits is infinite then, and found out by `_number`.
        value = json.loads(body.decode("utf-8"), parse_int=float, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise UsageError("The request holds no JSON.") from error
    if not isinstance(value, dict):
        raise UsageError("The request has to hold a JSON object.")
    for key in value.keys() - set(known):
        raise UsageError(f"{ascii(key)[:40]} is not known here; known are: {', '.join(known) or 'none'}.")
    return value


def read_decision(body: bytes) -> Decision:
    """The decision that the page asks for; a field that it leaves out has its default.

    Raises UsageError for what is no decision, and for one that a decisions file could not hold.
    """
    return _decision(read_object(body, DECIDED))


def read_order(body: bytes) -> tuple[Decision, str | None]:
    """A decision that is to be kept, as `read_decision`, and the revision of the face that was looked at, if said."""
    said = read_object(body, (*DECIDED, SEEN))
    return _decision(said), _seen(said)


def read_seen(body: bytes) -> str | None:
    """The revision of the face that was looked at, if said: {"seen": revision}. Raises UsageError."""
    return _seen(read_object(body, (SEEN,)))


def read_box(body: bytes) -> Box:
    """The box drawn by hand: {"box": [x0, y0, x1, y1]}, in pixels of the picture. Raises UsageError."""
    return _box(read_object(body, ("box",)).get("box"))


def _decision(said: Mapping[str, object]) -> Decision:
    person = said.get("person")
    if person is not None and not isinstance(person, str):
        raise UsageError("person has to be a name, or null.")
    strength = _or_none(said.get("strength"), _number)
    if strength is not None and not 0 <= strength <= 1:
        raise UsageError("strength has to be a number from 0 to 1, or null.")
    decision = Decision(
        box=_or_none(said.get("box"), _box),
        person=None if person is None else check_name(person),
        strength=strength,
        landmarks=_or_none(said.get("landmarks"), _landmarks),
        stranger=_flag(said, "stranger"),
        not_a_face=_flag(said, "not_a_face"),
        leave_alone=_flag(said, "leave_alone"),
        accepted=_flag(said, "accepted"),
    )
    if (why := contradiction(decision)) is not None:
        raise UsageError(f"{why[0].upper()}{why[1:]}.")
    if decision.not_a_face and decision.landmarks is not None:
        raise UsageError("What is no face has no landmarks.")
    return decision


def _seen(said: Mapping[str, object]) -> str | None:
    seen = said.get(SEEN)
    if seen is not None and not isinstance(seen, str):
        raise UsageError(f"{SEEN} has to be a revision, or null.")
    return seen


def _refuse_constant(name: str) -> float:
    """NaN and Infinity, which Python reads and JSON does not know."""
    raise ValueError(name)


def _or_none(value: object, read: Callable[[object], Value]) -> Value | None:
    return None if value is None else read(value)


def _flag(said: Mapping[str, object], key: str) -> bool:
    value = said.get(key, False)
    if not isinstance(value, bool):
        raise UsageError(f"{key} has to be true or false.")
    return value


def _number(value: object) -> float:
    if not isinstance(value, float) or not abs(value) <= FARTHEST:
        raise UsageError("A number was expected, and no larger than a photo.")
    return value


def _box(value: object) -> Box:
    match value if isinstance(value, list) else []:
        case [x0, y0, x1, y1]:
            box = rounded((_number(x0), _number(y0), _number(x1), _number(y1)))
            if box[0] < box[2] and box[1] < box[3]:
                return box
    raise UsageError("box has to be [left, top, right, bottom] in pixels of the picture.")


def _landmarks(value: object) -> FacePoints:
    rows = value if isinstance(value, list) else []
    pairs = (row for row in rows if isinstance(row, list) and len(row) == 2)
    points = tuple((round(_number(x), 2), round(_number(y), 2)) for x, y in pairs)  # as they are written
    if not len(points) == len(rows) == 68:
        raise UsageError("landmarks have to be 68 points [x, y] in pixels of the picture.")
    return points
