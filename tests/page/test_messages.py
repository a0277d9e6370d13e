"""What is told the page, and what is taken from it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from dmdcli.decisions import Decision
from dmdcli.errors import UsageError
from dmdcli.page.desk import Candidate, State
from dmdcli.page.messages import DECIDED, read_box, read_decision, read_object, read_order, read_seen, to_json

POINTS = [[number, number * 2.5] for number in range(68)]


def test_what_a_desk_returns_becomes_json() -> None:
    state = State("photos", "Faces in \udcff", ["draw"], ("Alice",), np.int64(3), 2)
    assert to_json(state) == {
        **{"mode": "photos", "title": "Faces in \udcff", "actions": ["draw"], "people": ["Alice"]},
        **{"photos": 3, "looked_at": 2, "failures": []},
    }
    assert json.loads(json.dumps(to_json(state))) == to_json(state)
    assert to_json({"of": [Candidate("Bob", float("nan"))]}) == {"of": [{"name": "Bob", "similarity": None}]}
    assert to_json((np.float32(0.5), np.bool_(True), float("inf"), None)) == [0.5, True, None, None]
    assert to_json(np.array([[1, 2], [3, 4]])) == [[1, 2], [3, 4]]
    assert set(to_json(Decision(box=(1, 2, 3, 4), number=3, judge=True, line=7))) == set(DECIDED)
    for nothing in (b"bytes", Path("a"), {1}, State):
        with pytest.raises(TypeError, match="nothing that the page could be told"):
            to_json([nothing])


def test_pixels_become_a_picture_of_the_same_colours() -> None:
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:] = (200, 40, 90)
    address = to_json(pixels)
    assert isinstance(address, str)
    kind, _, coded = address.partition(",")
    assert kind == "data:image/jpeg;base64"
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(coded), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert shown.shape == pixels.shape
    assert np.abs(shown.astype(int) - pixels).max() < 6


def test_a_decision_is_read() -> None:
    assert read_decision(b"{}") == Decision()
    said = {"landmarks": POINTS, "box": [1, 2.5, 3, 4], "person": "  A\u030angström ", "strength": 1, "accepted": True}
    assert read_decision(json.dumps(said).encode()) == Decision(
        landmarks=tuple((float(x), float(y)) for x, y in POINTS),
        box=(1.0, 2.5, 3.0, 4.0),
        person="Ångström",
        strength=1.0,
        accepted=True,
    )
    assert read_decision(b'{"not_a_face": true, "strength": null, "stranger": false}') == Decision(not_a_face=True)
    assert read_order(b'{"accepted": true, "seen": "f00"}') == (Decision(accepted=True), "f00")
    assert read_order(b"{}") == (Decision(), None)
    assert read_seen(b'{"seen": "f00"}') == "f00"
    exact = json.dumps({"landmarks": [[x + 0.126, y] for x, y in POINTS]}).encode()
    assert read_decision(exact).landmarks[1] == (1.13, 2.5), "as it will be written"
    assert read_box(b'{"box": [0, 0, 10, 20]}') == (0.0, 0.0, 10.0, 20.0)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"null", b"1", b'"a"', b"{", b"{}{}", b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}", b"{'box': null}"),
        *(b"[" * 100_000, b'{"box":' * 40_000, b'{"landmarks": ' + b"[" * 100_000, b'{"box": \xff}'),
        *(
            b'{"line": 1}',
            b'{"seen": "f00"}',
            b'{"number": 1}',
            b'{"judge": true}',
            b'{"__class__": 1}',
            b'{"": 1}',
            b'{"Box": null}',
        ),
        *(b'{"accepted": 1}', b'{"accepted": null}', b'{"stranger": "true"}', b'{"not_a_face": []}'),
        *(
            b'{"person": 1}',
            b'{"person": " \\n"}',
            b'{"person": ""}',
            b'{"person": "a/b"}',
            b'{"person": ".."}',
            b'{"person": "a\\u0000"}',
        ),
        *(b'{"person": "\\ud800"}', b'{"person": "' + b"a" * 101 + b'"}', b'{"person": ["a"]}'),
        *(
            b'{"strength": 1.01}',
            b'{"strength": -1}',
            b'{"strength": "1"}',
            b'{"strength": true}',
            b'{"strength": NaN}',
        ),
        *(
            b'{"box": [1, 2, 3]}',
            b'{"box": [1, 2, 1, 4]}',
            b'{"box": [1, 2, 3, "4"]}',
            b'{"box": {"x": 1}}',
            b'{"box": 1}',
        ),
        *(b'{"box": [0, 0, 1e999, 1]}', b'{"box": [0, 0, Infinity, 1]}', b'{"box": [0, 0, 1' + b"0" * 5000 + b", 1]}"),
        *(b'{"box": [0, 0, 1000001, 1]}', b'{"box": [0, 0, true, 1]}', b'{"box": [[0], 0, 1, 1]}'),
        *(b'{"landmarks": []}', b'{"landmarks": 68}', b'{"landmarks": "68"}', b'{"landmarks": {"0": [1, 2]}}'),
        json.dumps({"landmarks": POINTS[:67]}).encode(),
        json.dumps({"landmarks": [*POINTS, [1, 2]]}).encode(),
        json.dumps({"landmarks": [*POINTS[:67], [1, 2, 3]]}).encode(),
        json.dumps({"landmarks": [*POINTS, 1]}).encode(),
        json.dumps({"landmarks": [*POINTS[:67], [1, "2"]]}).encode(),
        json.dumps({"landmarks": POINTS, "not_a_face": True}).encode(),
        b'{"person": "Alice", "stranger": true}',
        b'{"not_a_face": true, "leave_alone": true}',
        b'{"stranger": true, "person": "Alice", "leave_alone": true}',
        b'{"leave_alone": true, "strength": 0.5}',
    ],
    ids=lambda body: ascii(body[:40])[2:-1],
)
def test_what_is_no_decision_is_refused_in_a_sentence(body: bytes) -> None:
    with pytest.raises(UsageError, match=r"^[A-Za-z'].*\.$") as caught:
        read_decision(body)
    assert len(str(caught.value)) < 250


def test_a_box_has_to_be_said_and_nothing_but_what_is_known() -> None:
    for body in (b'{"seen": 1}', b'{"accepted": true}'):
        with pytest.raises(UsageError):
            read_seen(body)
    for body in (b"{}", b'{"box": null}', b'{"box": [1, 2, 3, 4], "person": "a"}'):
        with pytest.raises(UsageError):
            read_box(body)
    assert read_object(b"{}", ()) == {}
    with pytest.raises(UsageError, match="known are: none"):
        read_object(b'{"a": 1}', ())
