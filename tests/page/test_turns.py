"""Who computes when: users before the search, the latest preview before all that were asked for earlier."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from dmdcli.errors import UsageError
from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.kit import Detection
from dmdcli.page.turns import Ended, Latest, Precedence, SharedKit, share
from tests.faces.conftest import FakeKit
from tests.page.album import LEFT, AlbumKit, eventually

CROPS = np.full((3, 512, 512, 3), 100, np.uint8)


def test_of_those_that_wait_only_the_latest_has_its_turn() -> None:
    latest, outcomes = Latest(), []

    def ask(number: int) -> None:
        try:
            with latest.turn():
                outcomes.append(number)
        except UsageError as error:
            outcomes.append(str(error).split(";")[0])

    with latest.turn():
        waiting = []
        for number in range(3):
            waiting.append(threading.Thread(target=ask, args=(number,)))
            waiting[-1].start()
            assert eventually(lambda count=number: latest._asked == count + 2)
    for thread in waiting:
        thread.join()
    assert sorted(map(str, outcomes)) == ["2", *["Another preview was asked for meanwhile"] * 2]


def test_the_background_waits_before_each_crop_and_ends_when_told() -> None:
    precedence, looked = Precedence(), []

    class Counting(FakeKit):
        def landmarks(self, crops):
            looked.append(len(crops))
            return super().landmarks(crops)

    kit = SharedKit(Counting([]))
    background = kit.in_background(precedence)
    assert len(kit.landmarks(CROPS)) == 3
    with precedence.serving():
        thread = threading.Thread(target=background.landmarks, args=(CROPS,))
        thread.start()
        assert len(kit.landmarks(CROPS)) == 3, "those that are served wait for nobody"
        assert looked == [1] * 6
    thread.join()
    assert looked == [1] * 9, "one crop at a time, so that nobody waits for long"
    precedence.end()
    with pytest.raises(Ended):
        background.landmarks(CROPS)
    assert len(kit.landmarks(CROPS)) == 3


def test_a_shared_finder_finds_what_the_finder_finds() -> None:
    finder = FaceFinder(AlbumKit({100: [LEFT]}), min_face=40)
    finders = share(finder)
    photo = np.full((300, 400, 3), 100, np.uint8)
    (wanted,) = finder.find(photo)
    for shared in (finders.served, finders.searching):
        (found,) = shared.find(photo)
        assert (found.box, found.doubts, found.confidence) == (wanted.box, wanted.doubts, wanted.confidence)
        np.testing.assert_array_equal(found.embedding, wanted.embedding)
        assert (shared.kit_name, shared.min_face, shared.settings) == (finder.kit_name, 40, finder.settings)
    assert isinstance(finders.served.kit.detect([photo])[0][0], Detection)
    assert finders.served.embed(CROPS[:0], []).shape[0] == 0
