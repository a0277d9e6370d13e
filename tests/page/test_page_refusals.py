"""What the program refuses to keep, in a real browser: changed elsewhere meanwhile, or not to be done at all."""

from __future__ import annotations

import pytest

from dmdcli.decisions import Decision
from dmdcli.errors import UsageError
from dmdcli.page.desk import Detail
from tests.browser import shoot
from tests.page.bench import ERRORS_ANSWERED, Bench, Open
from tests.page.made_up_desk import MadeUpDesk

FIRST, SECOND = "photo 2.jpg, face 3", "photo 5.jpg, face 3"


@pytest.fixture
def may_say() -> tuple[str, ...]:
    return ERRORS_ANSWERED


class LastReferenceDesk(MadeUpDesk):
    """No reference can be removed."""

    def save(self, face: str, decision: Decision, seen: str | None = None) -> Detail:
        if decision.not_a_face:
            raise UsageError("It is the last reference of Alice.")
        return super().save(face, decision, seen)


def test_what_was_changed_elsewhere_is_to_be_looked_at_and_never_sent_again(open_bench: Open) -> None:
    desk = MadeUpDesk(30)
    bench: Bench = open_bench(desk)
    bench.start()
    page = bench.page
    desk.save("f8", Decision(person="Anna"))  # as another tab does, right before
    page.keyboard.press("a")
    page.wait_for_selector(f"#trouble >> text={FIRST} is not saved: This face was changed elsewhere meanwhile")
    bench.wait_for_face(SECOND)
    assert page.locator("#trouble button").all_inner_texts() == ["Look at it"]
    shoot(page, "page-changed-elsewhere")
    page.click("#trouble button")
    bench.wait_for_face(FIRST)
    assert page.input_value("#person") == "Anna"
    assert page.inner_text("#saved").startswith("Not saved: This face was changed elsewhere")
    page.keyboard.press("n")
    bench.wait_for_face(SECOND)
    assert page.inner_text("#trouble") == ""
    assert len(bench.asked("save")) == 2
    assert desk.detail("f8").decision.person == "Anna"


@pytest.mark.slow
def test_an_open_face_follows_what_another_tab_does(open_bench: Open) -> None:
    desk = MadeUpDesk(30, total=60)  # while it searches, news are asked for every second
    bench: Bench = open_bench(desk)
    bench.start()
    page = bench.page
    desk.save("f8", Decision(person="Anna"))
    page.wait_for_function("() => document.getElementById('person').value === 'Anna'")
    assert page.inner_text("#saved") == "Saved."
    points = bench.points()
    bench.drag(points[8], points[8] + (20, 0))
    desk.save("f8", Decision(person="Bea"))
    page.wait_for_selector("#face-f8 >> text=Bea")
    assert page.input_value("#person") == "Anna", "what is being changed stays"
    page.keyboard.press("s")
    page.wait_for_selector("#trouble >> text=changed elsewhere meanwhile")
    assert page.input_value("#person") == "Bea"


def test_a_refused_removal_is_taken_back(open_bench: Open) -> None:
    bench: Bench = open_bench(LastReferenceDesk(6, "references"))
    bench.start()
    page = bench.page
    name = bench.title()
    page.click("#not-a-face")
    page.wait_for_selector(f"#trouble >> text={name} is not saved: It is the last reference of Alice.")
    page.click("#trouble button")
    bench.wait_for_face(name)
    assert page.get_attribute("#not-a-face", "aria-pressed") == "false"
    page.click("#finish")  # a question would be answered with no
    page.wait_for_selector("text=Nothing was decided.")


def test_pictures_that_did_not_come_are_fetched_once_there_is_an_answer(open_bench: Open) -> None:
    bench: Bench = open_bench(MadeUpDesk(30, total=60))
    page = bench.page
    page.route("**/*", lambda route: route.abort())
    page.fill("#search", "photo 9.jpg")
    page.wait_for_selector("#trouble >> text=no longer answers")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.row .small')].every((one) => !one.getAttribute('src'))"
    )
    page.unroute("**/*")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.row:not([hidden]) .small')].every((one) => one.naturalWidth > 0)"
    )
