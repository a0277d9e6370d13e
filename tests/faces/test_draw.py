"""Pictures of what was found show it, on any ground."""

from __future__ import annotations

import numpy as np
import pytest

from dmdcli.errors import ShapeError
from dmdcli.faces.draw import COMPONENT_COLOURS, NOTHING, STRIP, VERDICT_COLOURS, contact_sheet, draw_face, picture_rows
from dmdcli.faces.face import Confidence, component_boxes
from tests.faces.conftest import drawn_points


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_points_and_boxes_show_on_any_ground(grey: int) -> None:
    crop = np.full((512, 512, 3), grey, dtype=np.uint8)
    points = drawn_points()
    boxes = component_boxes(points)
    drawn = draw_face(crop, points, boxes)
    assert drawn.shape == crop.shape
    assert (crop == grey).all(), "the crop itself is left alone"
    for x, y in points.round().astype(int):
        near = drawn[y - 4 : y + 5, x - 4 : x + 5].astype(int)
        assert near.max() - near.min() > 150
    for (x1, y1, _, y2), colour in zip(boxes, COMPONENT_COLOURS, strict=True):
        middle = (y1 + y2) // 2
        assert any((drawn[middle, column] == colour).all() for column in range(x1 - 2, x1 + 3))
    changed = (drawn != grey).any(axis=2)
    assert changed.mean() < 0.12, "thin lines"


def test_the_verdict_stands_above() -> None:
    crop = np.zeros((512, 512, 3), dtype=np.uint8)
    boxes = component_boxes(drawn_points())
    drawn = draw_face(crop, drawn_points(), boxes, "doubtful", ["a reason " * 40])
    assert drawn.shape == (512 + STRIP, 512, 3)
    strip = drawn[:STRIP]
    assert (strip == VERDICT_COLOURS["doubtful"]).all(axis=2).mean() > 0.5
    assert (strip < 60).all(axis=2).any(), "dark letters"
    assert (strip[:, -5:] == VERDICT_COLOURS["doubtful"]).all(), "a long reason is cut, not drawn over the edge"
    np.testing.assert_array_equal(drawn[STRIP:], draw_face(crop, drawn_points(), boxes))


def test_confidence_is_written_and_boxes_of_unsure_components_are_dashed() -> None:
    crop = np.zeros((512, 512, 3), dtype=np.uint8)
    boxes = component_boxes(drawn_points())
    sure = Confidence(0.93, (0.98, 0.99, 0.2))
    drawn = draw_face(crop, drawn_points(), boxes, "doubtful", ["a reason"], sure)
    assert (drawn[:STRIP] != draw_face(crop, drawn_points(), boxes, "doubtful", ["a reason"])[:STRIP]).any()
    for part, dashed in enumerate((False, False, True)):
        x1, y1, x2, _ = boxes[part]
        line = (drawn[STRIP + y1, x1 : x2 - 1] == COMPONENT_COLOURS[part]).all(axis=1).mean()
        assert (line < 0.7) == dashed
        below = drawn[STRIP + boxes[part][3] + 4 : STRIP + boxes[part][3] + 20, x1 : x1 + 40]
        assert (below == COMPONENT_COLOURS[part]).all(axis=2).mean() > 0.4, "a number on the component's colour"


@pytest.mark.parametrize("count", [1, 6, 7, 13])
def test_a_sheet_holds_every_picture(count: int) -> None:
    shades = np.linspace(20, 140, count).astype(np.uint8)
    pictures = [np.full((120 + 10 * k, 100, 3), shade, dtype=np.uint8) for k, shade in enumerate(shades)]
    sheet = contact_sheet(pictures, [f"photo {k}" for k in range(count)], ["good"] * count)
    assert sheet.shape[1] == 1600
    for shade in shades:
        assert (sheet == shade).all(axis=2).sum() > 5000


def test_a_sheet_wants_a_label_for_each_picture() -> None:
    with pytest.raises(ShapeError):
        contact_sheet([], [], [])
    with pytest.raises(ShapeError):
        contact_sheet([np.zeros((5, 5, 3), dtype=np.uint8)], [], ["good"])


def test_rows_of_pictures_stand_under_their_labels() -> None:
    white, small = np.full((128, 128, 3), 255, dtype=np.uint8), np.full((64, 64, 3), 200, dtype=np.uint8)
    drawn = picture_rows([[white, None], [small, white]], [[("one", "1 dB"), ("two", "2 dB")], []], 64)
    assert drawn.shape == (2 * STRIP + 64 + 64, 128, 3)
    heads, first, second = np.split(drawn, [2 * STRIP, 2 * STRIP + 64])
    for strip in (heads[:STRIP], heads[STRIP:]):
        for half in np.hsplit(strip, 2):
            assert half.min() < 60 < half.mean(), "dark letters on white, above each"
    assert (first[:, :64] == 255).all()
    assert (first[:, 64:] == NOTHING).all()
    assert (second[:, :64] == 200).all()
    assert (second[:, 64:] == 255).all()
