"""Two faces that overlap in one photo, blended in by a made-up network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dmdcli.faces.align import blend_mask, photo_mask
from dmdcli.faces.face import Face
from dmdcli.photos import read_photo
from dmdcli.pipeline import blend
from dmdcli.pipeline.blend import RestoreOptions, ask_network, restore_faces
from dmdcli.pipeline.judge import Judgement, Plan, take_first
from tests.pipeline.made_up import POINTS, STRANGER, Brightener, MadeUpFinder, people_of

SIZE = (520, 400)


@pytest.mark.parametrize("second", [(215.0, 90.0, 240.0), (230.0, 150.0, 130.0)], ids=["as large", "much smaller"])
def test_neither_twice_the_change_nor_a_dark_line_between_two_cheeks(
    second: tuple[float, float, float], tmp_path: Path
) -> None:
    Image.fromarray(np.full((SIZE[1], SIZE[0], 3), 110, np.uint8)).save(tmp_path / "two.png")
    photo = read_photo(tmp_path / "two.png")
    finder = MadeUpFinder((40, 60, 260, STRANGER, None), (*second, STRANGER, None))
    faces = finder.find(photo.pixels)
    options = RestoreOptions(grain="model")
    chosen = [(face, None, Plan()) for face in faces]
    answers = ask_network(chosen, Brightener(), people_of(), options)
    canvas, _ = restore_faces(photo, chosen, answers, finder.kit, people_of().gallery, options)
    change = canvas.region(0, 0, *SIZE)[..., 0] - photo.region(0, 0, *SIZE)[..., 0]
    alone = [in_photo(face) for face in faces]
    assert (np.minimum(*alone) > 0.3).any(), "they do overlap"
    assert change.max() < 0.1 + 1.5 / 255
    assert (change - 0.1 * np.maximum(*alone)).min() > -1.5 / 255


@pytest.mark.parametrize("is_refused", [False, True], ids=["left alone", "refused"])
def test_a_neighbour_leaves_a_face_as_it_is_that_is_left_alone(
    is_refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(np.full((SIZE[1], SIZE[0], 3), 110, np.uint8)).save(tmp_path / "two.png")
    photo = read_photo(tmp_path / "two.png")
    finder = MadeUpFinder((40, 60, 260, STRANGER, None), (215.0, 90.0, 240.0, STRANGER, None))
    restored, kept = finder.find(photo.pixels)
    chosen, options = [(restored, None, Plan())], RestoreOptions(grain="model")
    if is_refused:
        chosen.append((kept, None, Plan()))
        monkeypatch.setattr(blend, "judge_faces", lambda subjects, _: [take_first(subjects[0]), Judgement("none", 0.0)])
    left_alone = () if is_refused else (kept,)
    answers = ask_network(chosen, Brightener(), people_of(), options)
    canvas, _ = restore_faces(photo, chosen, answers, finder.kit, people_of().gallery, options, left_alone)
    change = canvas.region(0, 0, *SIZE)[..., 0] - photo.region(0, 0, *SIZE)[..., 0]
    assert change.max() > 0.09
    assert change[in_photo(kept) > 0.999].max() < 0.5 / 255
    assert (change - 0.1 * (1 - in_photo(kept))).max() < 1.5 / 255


def in_photo(face: Face) -> np.ndarray:
    return photo_mask(blend_mask(POINTS), face.matrix, (0, 0), SIZE)
