"""What is decided on the page is saved, in a real browser: by buttons and keys, by going on, and after failures."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from dmdcli.decisions import Decision
from dmdcli.errors import UsageError
from dmdcli.page.desk import Detail, Preview
from tests.browser import shoot
from tests.page.bench import ERRORS_ANSWERED, Bench, Open
from tests.page.made_up_desk import FacelessDesk, MadeUpDesk


@pytest.fixture
def may_say() -> tuple[str, ...]:
    return ERRORS_ANSWERED


class StubbornDesk(MadeUpDesk):
    """Saves nothing while `refuses`; answers previews only when `answer` is set."""

    def __init__(self, **more: Any) -> None:
        super().__init__(30, **more)
        self.refuses = False
        self.answer = threading.Event()
        self.answer.set()

    def save(self, face: str, decision: Decision, seen: str | None = None) -> Detail:
        if self.refuses:
            raise UsageError("The disk is full. Free some space and try again.")
        return super().save(face, decision, seen)

    def preview(self, face: str, decision: Decision) -> Preview:
        found = super().preview(face, decision)
        assert self.answer.wait(20)
        return found


@pytest.mark.slow
def test_what_was_decided_elsewhere_is_shown_and_not_written_over(open_bench: Open) -> None:
    desk = MadeUpDesk()
    bench: Bench = open_bench(desk)
    bench.start("f8")
    desk.save("f8", Decision(person="Anna"))  # as another tab does
    bench.page.keyboard.press("a")
    bench.page.wait_for_selector("#trouble >> text=changed elsewhere meanwhile")
    bench.page.locator("#face-f8").click()
    bench.page.wait_for_selector("#saved >> text=changed elsewhere meanwhile")
    assert bench.page.locator("#person").input_value() == "Anna"
    kept = desk.detail("f8").decision
    assert (kept.person, kept.accepted) == ("Anna", False), "going to another face and back saved nothing"
    bench.page.keyboard.press("a")
    assert bench.saved(3) == ("f8", Decision(person="Anna", accepted=True))


def test_accepting_saves_and_goes_on(open_bench: Open) -> None:
    bench: Bench = open_bench()
    bench.start()
    page = bench.page
    page.keyboard.press("a")
    bench.wait_for_face("photo 5.jpg, face 3")
    assert bench.saved() == ("f8", Decision(accepted=True))
    assert page.evaluate("document.activeElement.id") == "face-title"
    page.keyboard.press("Enter")
    bench.wait_for_face("photo 8.jpg, face 3")
    page.keyboard.press("x")
    bench.wait_for_face("photo 1.jpg, face 1")
    assert bench.saved(3) == ("f26", Decision(not_a_face=True))
    page.wait_for_function(
        "() => document.getElementById('said').textContent.startsWith('photo 8.jpg, face 3: not a face. Now photo 1')"
    )
    page.wait_for_function("() => document.getElementById('progress').textContent.startsWith('3 of 30 looked at')")
    assert "accepted" in page.inner_text("#face-f8")  # it stays in the list until something else is looked for
    page.keyboard.press("p")
    bench.wait_for_face("photo 8.jpg, face 3")
    assert page.get_attribute("#not-a-face", "aria-pressed") == "true"


@pytest.mark.slow
def test_who_it_is_can_be_said(open_bench: Open) -> None:
    bench: Bench = open_bench()
    bench.start()
    page = bench.page
    page.fill("#person", "Новый <i>Name")  # letters typed here are no keys of the page
    page.keyboard.press("Enter")
    page.click("#save")
    assert bench.saved()[1] == Decision(person="Новый <i>Name")
    page.click("text=A stranger")
    page.click("#save")
    assert bench.saved(2)[1] == Decision(stranger=True)
    page.locator("fieldset .buttons .small-button").first.click()
    page.fill("#person", "Dora")
    page.click("#next")  # a name not confirmed is taken over, and saved
    assert bench.saved(3)[1] == Decision(person="Dora")
    assert page.locator("#list i, #face i").count() == 0


def test_a_new_name_is_told_from_a_slip(open_bench: Open) -> None:
    bench: Bench = open_bench()
    bench.start()
    page, hint = bench.page, bench.page.locator("fieldset [role=status]")
    page.fill("#person", "Zoe")
    page.keyboard.press("Enter")
    assert hint.inner_text() == "A new name: it counts as soon as somebody is enrolled under it."
    page.fill("#person", "alcie")
    page.keyboard.press("Enter")
    assert " ".join(hint.inner_text().split()).endswith("enrolled under it. Did you mean Alice ?")
    shoot(page, "page-new-name")
    hint.locator("button").click()
    assert (page.input_value("#person"), hint.inner_text()) == ("Alice", "")


@pytest.mark.slow
def test_going_on_saves_what_was_changed(open_bench: Open) -> None:
    bench: Bench = open_bench()
    bench.start()
    points = bench.points()
    bench.drag(points[8], points[8] + (20, 0))
    assert bench.page.inner_text("#saved").startswith("Changed. It is saved when")
    bench.page.keyboard.press("n")
    assert bench.saved()[0] == "f8"
    assert not bench.saved()[1].accepted
    bench.wait_for_face("photo 5.jpg, face 3")
    points = bench.points()
    bench.drag(points[8], points[8] + (20, 0))
    bench.page.goto("about:blank")  # even when the page is left
    assert bench.saved(2)[0] == "f17"


def test_points_at_rest_are_saved_without_being_asked_for(open_bench: Open) -> None:
    bench: Bench = open_bench()
    bench.start()
    page, before = bench.page, bench.points()
    bench.drag(before[8], before[8] + (20, 0))
    face, decision = bench.saved()
    assert (face, decision.accepted, decision.landmarks is not None) == ("f8", False, True)
    bench.wait_for_state("Saved.")
    assert bench.title() == "photo 2.jpg, face 3"
    page.keyboard.press("u")  # as it would be otherwise
    assert bench.points() == pytest.approx(before, abs=0.11)
    bench.wait_for("reset")
    bench.wait_for_state("Nothing decided")


@pytest.mark.slow
def test_neither_a_moved_box_nor_a_name_half_typed_is_saved_unasked(open_bench: Open) -> None:
    bench: Bench = open_bench()
    bench.start()
    page, before = bench.page, bench.points()
    page.locator(".face-box").focus()
    page.keyboard.press("ArrowRight")
    bench.drag(before[8], before[8] + (20, 0))
    page.wait_for_timeout(2500)
    assert bench.asked("save") == []
    page.keyboard.press("u")
    page.keyboard.press("u")
    bench.drag(before[8], before[8] + (20, 0))
    page.locator("#person").type("Do")
    page.wait_for_timeout(2500)
    assert bench.asked("save") == []
    page.locator("#person").type("ra")
    page.keyboard.press("Tab")
    assert bench.saved()[1].person == "Dora"


@pytest.mark.slow
def test_what_could_not_be_saved_is_said_and_tried_again(open_bench: Open) -> None:
    desk = StubbornDesk()
    bench: Bench = open_bench(desk)
    bench.start()
    page = bench.page
    desk.refuses = True
    points = bench.points()
    bench.drag(points[8], points[8] + (20, 0))
    page.keyboard.press("n")
    page.wait_for_selector("#trouble >> text=photo 2.jpg, face 3 is not saved: The disk is full.")
    page.keyboard.press("p")
    bench.wait_for_face("photo 2.jpg, face 3")
    again = bench.points()
    assert again[8] - again[0] == pytest.approx(points[8] + (20, 0) - points[0], abs=0.11)  # nothing is lost
    desk.refuses = False
    page.click("#trouble button")
    bench.wait_for("save")
    bench.wait_for_state("Saved")
    assert page.inner_text("#trouble") == ""


@pytest.mark.slow
def test_a_server_that_ended_is_said(open_bench: Open) -> None:
    bench: Bench = open_bench(MadeUpDesk(30, total=60))  # while it searches, news are asked for every second
    bench.start()
    bench.page.route("**/api/**", lambda route: route.abort())
    points = bench.points()
    bench.drag(points[8], points[8] + (20, 0))
    bench.page.wait_for_selector("#trouble >> text=no longer answers. Everything that was saved is kept")
    bench.page.keyboard.press("a")
    bench.page.wait_for_selector("#trouble >> text=photo 2.jpg, face 3 is not saved: what was changed last is lost if")
    assert "undefined" not in bench.page.inner_text("#trouble")
    assert bench.page.locator("#trouble button").count() == 0  # what cannot succeed is not offered
    preview = bench.page.locator(".preview")
    preview.locator("text=The program does not answer; this is made once it does.").wait_for()
    assert preview.locator("button:visible").count() == 0
    assert bench.page.is_disabled("#finish")
    shoot(bench.page, "page-gone")
    previews = len(bench.asked("preview"))
    bench.page.unroute("**/api/**")
    bench.wait_for("save")  # by itself, once there is an answer
    bench.page.wait_for_function("() => document.getElementById('trouble').textContent === ''")
    bench.wait_for("preview", previews + 1)
    assert bench.page.is_enabled("#finish")


@pytest.mark.slow
def test_previews_come_one_at_a_time_and_the_latest_stays(open_bench: Open) -> None:
    desk = StubbornDesk()
    bench: Bench = open_bench(desk)
    desk.answer.clear()
    bench.start()
    page = bench.page
    bench.wait_for("preview")
    assert page.inner_text("#beside .line .soft").startswith("Restoring…")
    points = bench.points()
    for step in (10, 20, 30):  # meanwhile the page goes on
        bench.drag(points[8] + (step - 10, 0), points[8] + (step, 0))
        page.wait_for_timeout(250)
    assert len(bench.asked("preview")) == 1
    assert page.locator("#beside .frame img").count() == 0
    desk.answer.set()
    bench.wait_for("preview", 2)
    page.wait_for_selector("#beside .frame img")
    page.wait_for_function(
        "() => document.querySelector('#beside .line .soft').textContent.startsWith('Restored from the generic')"
    )
    assert len(bench.asked("preview")) == 2
    sent = bench.asked("preview")[1][1]
    page.keyboard.press("s")
    assert bench.saved()[1].landmarks == sent.landmarks
    desk.answer.clear()
    bench.drag(points[8] + (30, 0), points[8] + (60, 0))
    bench.wait_for("preview", 3)
    assert page.locator("#beside .frame img").count() == 2  # the old picture stays until the new one is there
    page.keyboard.press("n")
    bench.wait_for_face("photo 5.jpg, face 3")
    assert page.locator("#beside .frame img").count() == 0  # but not for another face
    desk.answer.set()
    page.wait_for_selector("#beside .frame img")
    assert bench.asked("preview")[-1][0] == "f17"


@pytest.mark.slow
def test_a_photo_without_faces_is_opened_to_draw_one(open_bench: Open) -> None:
    bench: Bench = open_bench(FacelessDesk())
    page = bench.page
    page.click("#begin")
    page.wait_for_selector("#draw-tools")
    assert page.inner_text("#accept") == "There is no face"
    assert bench.title() == "photo 0.jpg"
    page.click("#draw-done")
    bench.wait_for("draw")
    page.wait_for_function("() => document.getElementById('face-title').textContent.includes('face ')")


@pytest.mark.slow
def test_results_are_reviewed(open_bench: Open) -> None:
    bench: Bench = open_bench(MadeUpDesk(30, "results"))
    page = bench.page
    page.click("#begin")
    page.wait_for_selector(".compare img.after")
    assert page.locator("dl").inner_text().splitlines()[0] == "Published"
    slider = page.locator(".compare input")
    slider.focus()
    page.keyboard.press("Home")
    assert slider.get_attribute("aria-valuetext") == "100 % of the picture restored"
    page.keyboard.press("c")
    assert slider.get_attribute("aria-valuetext") == "0 % of the picture restored"
    assert bench.asked("preview") == []
    page.locator("#strength").fill("40")
    bench.wait_for("preview")
    assert bench.asked("preview")[0][1].strength == 0.4
    page.click("#save")
    assert bench.saved()[1] == Decision(strength=0.4)
    page.keyboard.press("v")
    assert page.is_visible("#stage")
    page.keyboard.press("l")
    assert bench.saved(2)[1] == Decision(leave_alone=True)
    bench.wait_for_face("photo 5.jpg, face 3")


def test_whose_a_face_is_can_be_said_of_one_that_stays_as_it_is(open_bench: Open) -> None:
    bench: Bench = open_bench(MadeUpDesk(30, "results"))
    page = bench.page
    page.locator("#face-f8").click()
    bench.wait_for_face("photo 2.jpg, face 3")
    page.fill("#person", "Dora")
    page.keyboard.press("Enter")
    page.click("#leave-alone")
    assert bench.saved() == ("f8", Decision(person="Dora", leave_alone=True))
    page.wait_for_function("() => /Dora.*left as it was/.test(document.getElementById('face-f8').textContent)")
    page.locator("#face-f8").click()
    bench.wait_for_face("photo 2.jpg, face 3")
    told = page.inner_text("#face-told")
    assert "Dora" in told
    assert "left as it was" in told
    shoot(page, "page-named-and-left")
    page.fill("#person", "Alice")
    page.click("#save")
    assert bench.saved(2)[1] == Decision(person="Alice", leave_alone=True)
    page.click("#leave-alone")
    assert bench.saved(3)[1] == Decision(person="Alice")
    page.click("#leave-alone")
    assert bench.saved(4)[1] == Decision(person="Alice", leave_alone=True)


def test_a_save_that_was_asked_for_is_announced(open_bench: Open) -> None:
    desk = StubbornDesk()
    bench: Bench = open_bench(desk)
    bench.start()
    page = bench.page
    said = "(text) => document.getElementById('said').textContent.startsWith(text)"
    for ask in (lambda: page.keyboard.press("s"), lambda: page.click("#save")):
        points = bench.points()
        bench.drag(points[8], points[8] + (9, 0))
        page.wait_for_function(said, arg="Jaw, point 9")
        ask()
        page.wait_for_function(said, arg="Saved.")
    desk.refuses = True
    points = bench.points()
    bench.drag(points[8], points[8] + (9, 0))
    page.keyboard.press("s")
    page.wait_for_function(said, arg="Not saved: The disk is full.")


@pytest.mark.slow
def test_references_are_removed(open_bench: Open) -> None:
    bench: Bench = open_bench(MadeUpDesk(6, "references"))
    bench.start()
    page = bench.page
    assert page.locator("fieldset, #draw, #strength").count() == 0
    assert page.locator("#filter option").last.inner_text() == "Removed (0)"
    assert bench.title() == "photo 1.jpg, reference 1"
    assert page.locator("#beside figcaption").all_inner_texts()[1] == "what is learned from it"
    page.click("#not-a-face")
    assert bench.saved()[1] == Decision(not_a_face=True)
    page.wait_for_selector("#list >> text=✕ removed")


@pytest.mark.slow
def test_finishing_ends_the_command(open_bench: Open) -> None:
    bench: Bench = open_bench()
    bench.start()
    points = bench.points()
    bench.drag(points[8], points[8] + (20, 0))
    bench.page.click("#finish")
    bench.page.wait_for_selector("text=Decided here: 1 corrected.")
    assert bench.saved()[0] == "f8"
    assert bench.page.evaluate("document.activeElement.textContent") == "Finished"
