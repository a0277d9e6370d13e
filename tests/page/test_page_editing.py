"""The editor of the page in a real browser: points, parts and boxes moved by hand and keys, undone, drawn, saved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from dmdcli.faces.align import TEMPLATE, crop_matrix, five_points
from dmdcli.page.desk import Preview
from tests.page.bench import Bench, Open
from tests.page.made_up_desk import MadeUpDesk

MOUTH, LEFT_EYE, RIGHT_EYE = slice(48, 68), slice(36, 42), slice(42, 48)


@pytest.fixture
def bench(open_bench: Open) -> Bench:
    """The worst face, which is f8, whose right eye is in the wrong place."""
    opened: Bench = open_bench()
    opened.start()
    return opened


def landmarks(bench: Bench) -> np.ndarray:
    return np.array(bench.saved()[1].landmarks)


def scale(bench: Bench) -> float:
    """Window pixels a photo pixel has become."""
    points, photo = bench.points(), np.array(bench.desk.detail("f8").landmarks)
    return float(np.ptp(points[:, 0]) / np.ptp(photo[:, 0]))


def test_a_point_is_dragged_and_saved(bench: Bench) -> None:
    before, photo, zoomed = bench.points(), np.array(bench.desk.detail("f8").landmarks), scale(bench)
    bench.drag(before[8], before[8] + (30, 40))
    bench.page.keyboard.press("s")
    bench.wait_for_state("Saved")
    moved = landmarks(bench) - photo
    assert moved[8] == pytest.approx(np.array([30, 40]) / zoomed, abs=0.05)
    assert np.abs(np.delete(moved, 8, axis=0)).max() < 0.006
    assert bench.saved()[1].box is None
    assert not bench.saved()[1].accepted


@pytest.mark.slow
def test_points_lie_on_the_pixels_they_mean(bench: Bench) -> None:
    """The white of the left eye in the photo is drawn where its points stand in the window."""
    points = bench.points()[LEFT_EYE]
    seen = bench.page.evaluate(
        """(at) => {
          const image = document.querySelector("#stage > img"), edge = image.getBoundingClientRect();
          const canvas = document.createElement("canvas");
          [canvas.width, canvas.height] = [edge.width, edge.height];
          canvas.getContext("2d").drawImage(image, 0, 0, edge.width, edge.height);
          const white = [];
          const { data } = canvas.getContext("2d").getImageData(0, 0, edge.width, edge.height);
          for (let place = 0; place < data.length; place += 4)
            if (data[place + 2] > 225)
              white.push([(place / 4) % canvas.width + edge.left, Math.floor(place / 4 / canvas.width) + edge.top]);
          return white.filter(([x, y]) => Math.abs(x - at[0]) < 60 && Math.abs(y - at[1]) < 40);
        }""",
        points.mean(axis=0).tolist(),
    )
    white = np.array(seen)
    assert (white.min(axis=0) + white.max(axis=0)) / 2 == pytest.approx(points.mean(axis=0), abs=2)


@pytest.mark.slow
def test_a_part_is_dragged_by_its_inside_and_sized_by_its_corner(bench: Bench) -> None:
    before, photo, zoomed = bench.points(), np.array(bench.desk.detail("f8").landmarks), scale(bench)
    bench.drag(before[RIGHT_EYE].mean(axis=0), np.add(before[RIGHT_EYE].mean(axis=0), (-60, 80)))
    moved = bench.points() - before
    assert moved[RIGHT_EYE] == pytest.approx(np.tile((-60.0, 80.0), (6, 1)), abs=0.2)
    assert np.abs(np.delete(moved, np.arange(42, 48), axis=0)).max() < 0.2
    corner = bench.points()[RIGHT_EYE].max(axis=0) + 11
    size = np.ptp(bench.points()[RIGHT_EYE], axis=0)
    bench.drag(corner, corner + size)
    assert (np.ptp(bench.points()[RIGHT_EYE], axis=0) > 1.8 * size).all()
    bench.page.keyboard.press("Control+z")
    assert np.ptp(bench.points()[RIGHT_EYE], axis=0) == pytest.approx(size, abs=0.2)
    bench.page.keyboard.press("u")
    assert bench.points() == pytest.approx(before, abs=0.11)
    bench.page.keyboard.press("Control+Shift+z")
    bench.page.keyboard.press("s")
    bench.wait_for_state("Saved")
    assert (landmarks(bench) - photo)[RIGHT_EYE] == pytest.approx(np.tile((-60 / zoomed, 80 / zoomed), (6, 1)), abs=0.1)


def test_all_points_at_once_have_no_frames(bench: Bench) -> None:
    shown = "[...document.querySelectorAll('.part .frame, .part .grip')].filter((one) => one.checkVisibility()).length"
    bench.page.keyboard.press("e")
    assert bench.page.evaluate(shown) == 5  # of the eye
    bench.page.select_option("#part", label="Whole face")
    assert bench.page.evaluate(shown) == 0


def test_points_put_by_hand_are_not_called_good(bench: Bench) -> None:
    verdict = bench.page.locator("#beside .preview .mark")
    verdict.wait_for()
    assert verdict.inner_text() == "Good"
    points = bench.points()
    bench.drag(points[8], points[8] + (20, 0))
    bench.page.wait_for_selector("#beside .preview >> text=✎ As you put them")


def test_keys_select_and_move(bench: Bench) -> None:
    before, page = bench.points(), bench.page
    page.keyboard.press("e")
    page.keyboard.press("e")  # the right eye
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowDown")
    assert (bench.points() - before)[RIGHT_EYE] == pytest.approx(np.tile((-1.0, 10.0), (6, 1)), abs=0.11)
    page.keyboard.press("Tab")  # its first point
    page.keyboard.press("ArrowRight")
    assert (bench.points() - before)[42] == pytest.approx((0, 10), abs=0.11)
    page.wait_for_function(
        "() => document.getElementById('said').textContent.startsWith('Right eye, point 1 of 6, at ')"
    )
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Right eye, 6 points"
    page.keyboard.press("]")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Mouth, 20 points"
    page.keyboard.press("u")
    page.keyboard.press("u")  # keys pressed in a row are one step
    assert bench.points() == pytest.approx(before, abs=0.11)
    assert page.is_disabled("#undo")


@pytest.mark.slow
def test_the_box_is_dragged_and_the_points_are_found_again_in_it(bench: Bench) -> None:
    box, page = bench.desk.detail("f8").box, bench.page
    grip = page.locator(".face-box .grip").nth(2).bounding_box()
    assert grip is not None
    zoomed = scale(bench)
    corner = np.array([grip["x"] + 5, grip["y"] + 5])
    bench.drag(corner, np.add(corner, (20, 30)))
    page.click("#refit")
    decision = bench.saved()[1]
    assert decision.landmarks is None
    assert decision.box == pytest.approx((*box[:2], box[2] + 20 / zoomed, box[3] + 30 / zoomed), abs=0.1)


@pytest.mark.slow
def test_as_found_takes_everything_back(bench: Bench) -> None:
    before, page = bench.points(), bench.page
    bench.drag(before[30], before[30] + (15, 15))
    page.keyboard.press("s")
    bench.wait_for_state("Saved")
    page.click("#as-found")
    assert bench.points() == pytest.approx(before, abs=0.11)
    page.keyboard.press("s")
    bench.wait_for("reset")
    bench.wait_for_state("Nothing decided")


@pytest.mark.slow
def test_zooming_keeps_what_is_under_the_pointer_and_fetches_what_is_needed(bench: Bench) -> None:
    before, page = bench.points(), bench.page
    pointer = np.round(before[LEFT_EYE].mean(axis=0))
    page.mouse.move(*pointer)
    for _ in range(4):
        page.mouse.wheel(0, -300)
    after = bench.points()
    larger = np.ptp(after[LEFT_EYE][:, 0]) / np.ptp(before[LEFT_EYE][:, 0])
    assert larger > 3
    assert after[LEFT_EYE] - pointer == pytest.approx((before[LEFT_EYE] - pointer) * larger, abs=0.5)
    page.keyboard.press("0")
    assert bench.points() == pytest.approx(before, abs=0.11)
    page.keyboard.press("z")
    assert np.ptp(bench.points()[LEFT_EYE], axis=0)[0] > 250
    page.keyboard.press("z")
    assert np.ptp(bench.points()[RIGHT_EYE], axis=0)[0] > 250
    empty = np.array([bench.page.locator("#stage").bounding_box()[key] for key in ("x", "y")]) + 15  # type: ignore[index]
    was = bench.points()
    bench.drag(empty, np.add(empty, (40, 25)))
    assert bench.points() - was == pytest.approx(np.tile((40.0, 25.0), (68, 1)), abs=0.2)
    assert bench.page.is_disabled("#undo")


@pytest.mark.slow
def test_what_the_network_reads_is_drawn_where_the_preview_says(bench: Bench) -> None:
    """The quads in the photo are the preview's boxes, brought back by the alignment of dmdcli.faces.align."""
    page = bench.page
    page.wait_for_selector("#beside .pictures rect", state="attached")
    page.wait_for_function("() => document.querySelector('.read').getAttribute('d')")
    photo = np.array(bench.desk.detail("f8").landmarks)
    preview: Preview = bench.desk.preview("f8", bench.desk.detail("f8").decision)
    matrix = crop_matrix(five_points(photo.astype(np.float32))).astype(np.float64)
    x0, y0, x1, y1 = np.array(preview.components)[0] - 0.5
    corners = np.linalg.solve(matrix[:, :2], (np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]) - matrix[:, 2]).T).T
    points = bench.points()
    zoomed = np.ptp(points[:, 0]) / np.ptp(photo[:, 0])
    wanted = points[0] + (corners - photo[0]) * zoomed
    drawn = page.evaluate("document.querySelector('.read').getAttribute('d').match(/[-0-9.]+ [-0-9.]+/g)")
    edge = page.locator("#stage").bounding_box()
    assert edge is not None
    assert np.add(
        [[float(one) for one in corner.split()] for corner in drawn], (edge["x"], edge["y"])
    ) == pytest.approx(wanted, abs=0.5)
    assert page.evaluate("import('./points.js').then((one) => one.TEMPLATE)") == TEMPLATE.tolist()


@pytest.mark.slow
def test_a_missed_face_is_drawn_by_hand(bench: Bench) -> None:
    page = bench.page
    page.keyboard.press("d")
    stage = page.locator("#stage").bounding_box()
    assert stage is not None
    bench.drag(
        (stage["x"] + stage["width"] * 0.3, stage["y"] + stage["height"] * 0.6),
        (stage["x"] + stage["width"] * 0.5, stage["y"] + stage["height"] * 0.85),
    )
    page.click("#draw-done")
    bench.wait_for_face("photo 2.jpg, face 4")
    photo, box = bench.asked("draw")[0]
    assert photo == "p2"
    assert box[2] - box[0] > 150
    assert page.evaluate("document.activeElement.id") == "face-title"
    assert page.locator("#face-d1").get_attribute("aria-posinset") == "2"  # below the face it was drawn beside
    page.click("#remove-drawn")
    page.wait_for_function("() => !document.getElementById('face-title').textContent.includes('face 4')")


@pytest.mark.slow
def test_a_missed_face_is_drawn_by_keys(bench: Bench) -> None:
    page = bench.page
    page.keyboard.press("d")
    for key in ("ArrowLeft", "Shift+ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    bench.wait_for_face("photo 2.jpg, face 4")
    box = bench.asked("draw")[0][1]
    assert 465 > box[0] > 400
    assert box[2] - box[0] > box[3] - box[1]


@pytest.mark.slow
def test_fingers_move_points_and_pinch(open_bench: Open) -> None:
    bench = open_bench(width=390, height=844, touch=True)
    bench.page.locator(".row").first.tap()
    bench.wait_for_face("photo 2.jpg, face 3")
    before = bench.points()
    fingers = fingers_of(bench)
    near = before[8] + (0, 12)  # a finger is broad
    fingers("touchStart", near)
    fingers("touchMove", np.add(near, (20, 10)))
    fingers("touchEnd")
    assert (bench.points() - before)[8] == pytest.approx((20, 10), abs=0.2)
    middle = before[30]
    fingers("touchStart", np.subtract(middle, (30, 0)), np.add(middle, (30, 0)))
    fingers("touchMove", np.subtract(middle, (60, 0)), np.add(middle, (60, 0)))
    fingers("touchEnd")
    after = bench.points()
    assert np.ptp(after[:17], axis=0)[0] == pytest.approx(2 * np.ptp(before[:17], axis=0)[0], rel=0.05)
    bench.page.keyboard.press("u")
    assert bench.page.is_disabled("#undo")  # the pinch moved no point


def fingers_of(bench: Bench) -> Callable[..., None]:
    """Puts fingers down, moves and lifts them: real touch events, the places of all fingers in each."""
    touch = bench.page.context.new_cdp_session(bench.page)

    def fingers(kind: str, *places: np.ndarray) -> None:
        down = [{"x": float(x), "y": float(y), "id": place} for place, (x, y) in enumerate(places)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": down})

    return fingers


@pytest.mark.parametrize("zoomed", [False, True])
@pytest.mark.parametrize(("part", "own"), [("Mouth", MOUTH), ("Right eye", RIGHT_EYE)])
def test_a_finger_moves_the_part_that_was_chosen(open_bench: Open, part: str, own: slice, zoomed: bool) -> None:
    bench = open_bench(with_closed_mouths(), width=390, height=844, touch=True)
    bench.page.locator(".row").first.tap()
    bench.wait_for_face("photo 2.jpg, face 3")
    fingers = fingers_of(bench)
    bench.page.select_option("#part", label=part)
    if zoomed:
        bench.page.locator("#zoom-part").tap()
    bench.page.locator("#stage").scroll_into_view_if_needed()
    before = bench.points()
    middle = before[own].mean(axis=0)
    for place in (middle, middle + np.array([0.1 * np.ptp(before[own], axis=0)[0], 0])):  # in the middle, and beside it
        was = bench.points()
        fingers("touchStart", place)
        fingers("touchMove", place + np.array([12, 9]))
        fingers("touchEnd")
        moved = bench.points() - was
        assert moved[own] == pytest.approx(np.tile((12.0, 9.0), (len(moved[own]), 1)), abs=0.3)
        assert np.abs(np.delete(moved, np.arange(own.start, own.stop), axis=0)).max() < 0.3
        bench.page.click("#undo")


def test_a_finger_moves_a_point_of_the_part_that_was_zoomed_to(open_bench: Open) -> None:
    bench = open_bench(width=390, height=844, touch=True)
    bench.page.locator(".row").first.tap()
    bench.wait_for_face("photo 2.jpg, face 3")
    fingers = fingers_of(bench)
    bench.page.select_option("#part", label="Mouth")
    bench.page.locator("#zoom-part").tap()
    bench.page.locator("#stage").scroll_into_view_if_needed()
    before = bench.points()
    fingers("touchStart", before[48] + (1, 1))
    fingers("touchMove", before[48] + (16, 11))
    fingers("touchEnd")
    moved = bench.points() - before
    assert moved[48] == pytest.approx((15, 10), abs=0.3)
    assert np.abs(np.delete(moved, 48, axis=0)).max() < 0.3


def test_a_finger_moves_an_eye_by_its_inside_where_none_was_chosen(open_bench: Open) -> None:
    bench = open_bench(width=390, height=844, touch=True)
    bench.page.locator(".row").first.tap()
    bench.wait_for_face("photo 2.jpg, face 3")
    fingers = fingers_of(bench)
    before = bench.points()
    middle = before[LEFT_EYE].mean(axis=0)
    fingers("touchStart", middle)
    fingers("touchMove", middle + np.array([12, 9]))
    fingers("touchEnd")
    assert (bench.points() - before)[LEFT_EYE] == pytest.approx(np.tile((12.0, 9.0), (6, 1)), abs=0.3)


def test_the_mouse_moves_a_closed_mouth_as_a_whole(open_bench: Open) -> None:
    bench: Bench = open_bench(with_closed_mouths())
    bench.start()
    bench.page.keyboard.press("m")
    before = bench.points()
    middle = before[MOUTH].mean(axis=0)
    bench.drag(middle, middle + np.array([20, 10]))
    assert (bench.points() - before)[MOUTH] == pytest.approx(np.tile((20.0, 10.0), (20, 1)), abs=0.3)


def with_closed_mouths() -> MadeUpDesk:
    """Photos in which the first face has a closed mouth: its inner points lie on each other, along its middle."""
    desk = MadeUpDesk(30)
    points = np.array(desk.detail("f8").landmarks)
    low, high = points[MOUTH].min(axis=0), points[MOUTH].max(axis=0)
    centre, half = (low + high) / 2, (high - low) / 2
    turn = np.linspace(np.pi, 3 * np.pi, 12, endpoint=False)
    points[48:60] = centre + half * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    along = np.array([-0.8, -0.4, 0.0, 0.4, 0.8, 0.4, 0.0, -0.4])
    points[60:68] = centre + half * np.stack([along, np.zeros(8)], axis=1)
    found = tuple((float(x), float(y)) for x, y in points)
    desk._put(replace(desk.detail("f8"), landmarks=found, found_landmarks=found))
    return desk
