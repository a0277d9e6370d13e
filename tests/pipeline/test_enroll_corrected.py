"""What was put right by hand counts when people are learned: whose a face is, and where its points are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dmdcli.corrections import Corrections
from dmdcli.decisions import Decision
from dmdcli.errors import TooFewReferencesError
from dmdcli.faces.confidence import CERTAIN
from dmdcli.faces.face import Face, Landmarks, Source
from dmdcli.journal import digest_of
from dmdcli.library import Library
from dmdcli.pipeline.by_hand import NOT_A_FACE
from dmdcli.pipeline.enroll import ELSEWISE, EnrolledPhoto, enroll
from dmdcli.places import find_photos
from dmdcli.shapes import Box, Pixels, Points
from tests.pipeline.test_enroll import FRONTAL, FakeFinder, portrait, run, save
from tests.pipeline.test_enroll_tagged import proposals, tagged_photo

LEFT, RIGHT = (0.0, 0.0, 512.0, 512.0), (512.0, 0.0, 1024.0, 512.0)
POINTS = tuple((float(x) + 3, float(y)) for x, y in FRONTAL)


class Finder(FakeFinder):
    """Describes faces in the left square, whose photo pixels are those of the crop."""

    def describe_points(self, pixels: Pixels, box: Box, points: Points, source: Source = "corrected") -> Face:
        face = next(face for face in FakeFinder().find(pixels) if face.box == LEFT)
        return replace(face, landmarks=Landmarks(points, None, source), confidence=CERTAIN)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "home")


def test_points_put_right_become_those_of_the_reference(library: Library, photos: Path) -> None:
    path = save(photos, "a.png", portrait(50, 1))
    Corrections(library.home).keep(digest_of(path), [Decision(box=LEFT, landmarks=POINTS)])
    finder = Finder(rejected="the mouth is not below the eyes", doubts=("the landmarks are unsure",))
    outcome = run(library, photos, finder=finder)["a.png"]
    assert (outcome.used, outcome.doubts) == (True, ()), "what was found does not count any more"
    person = library.person("alice")
    assert [reference.landmark_source for reference in person.references] == ["corrected"]
    assert np.allclose(library.references(person)[1], [POINTS], atol=0.01)
    assert run(library, photos, finder=Finder())["a.png"].duplicate
    assert library.person("alice") == person, "detection never has the say again"


def test_whose_a_face_is_by_hand_decides_which_is_learned(library: Library, photos: Path) -> None:
    path = save(photos, "both.png", portrait(50, 1), portrait(20, 1))
    for said, learned in (
        ([Decision(box=RIGHT, person="ALICE")], 20),
        ([Decision(box=LEFT, person="Bob")], 20),
        ([Decision(box=LEFT, stranger=True)], 20),
        ([Decision(box=RIGHT, not_a_face=True)], 50),
    ):
        there = Library(library.home / str(learned) / str(said[0].person or said[0].stranger))
        Corrections(there.home).keep(digest_of(path), said)
        assert run(there, photos)["both.png"].used, said
        crops, _ = there.references(there.person("alice"))
        assert {int(crop[0, 0, 0]) for crop in crops} == {learned}, said


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (Decision(box=LEFT, person="Bob"), ELSEWISE),
        (Decision(box=LEFT, stranger=True), ELSEWISE),
        (Decision(box=LEFT, not_a_face=True), f"no usable face: {NOT_A_FACE}"),
    ],
)
def test_a_face_that_is_somebody_elses_is_refused_with_the_reason(
    library: Library, photos: Path, said: Decision, reason: str
) -> None:
    path = save(photos, "a.png", portrait(50, 1))
    Corrections(library.home).keep(digest_of(path), [said])
    events = enroll("Alice", find_photos([photos]), library, FakeFinder())
    outcomes = [next(events), next(events)]
    with pytest.raises(TooFewReferencesError):
        next(events)
    assert [one.reason for one in outcomes if isinstance(one, EnrolledPhoto)] == [reason]
    assert library.people() == []


def test_people_named_by_hand_are_proposed_as_those_who_are_tagged(library: Library, photos: Path) -> None:
    tagged_photo(photos / "both.png", [(1, "Alice"), (20, "Bob")], 1)
    tagged_photo(photos / "alone.png", [(1, None)], 2)
    corrections = Corrections(library.home)
    corrections.keep(
        digest_of(photos / "both.png"), [Decision(box=RIGHT, person="Zoë"), Decision(box=LEFT, stranger=True)]
    )
    corrections.keep(digest_of(photos / "alone.png"), [Decision(box=LEFT, person="Alice")])
    found, _ = proposals(photos, library)
    assert {name: [one.file.path.name for one in proposal.chosen] for name, proposal in found.items()} == {
        "Alice": ["alone.png"],
        "Bob": [],
        "Zoë": ["both.png"],
    }
