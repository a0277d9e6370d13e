"""Recognising enrolled people: nearest reference, threshold, margin, once per photo."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dmdcli.errors import ShapeError
from dmdcli.faces.embedded import EmbeddedKit
from dmdcli.faces.face import Face, Landmarks
from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.identity import Curve, Gallery, match_faces
from tests.faces.conftest import drawn_points


def similarity(distance: np.ndarray) -> np.ndarray:
    return np.clip(1 - np.asarray(distance), 0, 1)


def face(*embedding: float, rejected: str | None = None) -> Face:
    numbers = np.array(embedding, dtype=np.float32)
    crop = np.zeros((512, 512, 3), dtype=np.uint8)
    return Face((0, 0, 9, 9), 1.0, np.eye(2, 3, dtype=np.float32), crop, Landmarks(drawn_points()), numbers, rejected)


def rows(*embeddings: tuple[float, float]) -> np.ndarray:
    return np.array(embeddings, dtype=np.float32)


GALLERY = Gallery({"ann": rows((0, 0), (0, 5)), "bob": rows((1, 0)), "nobody": rows()}, similarity)


def test_the_nearest_reference_counts() -> None:
    assert GALLERY.people == ("ann", "bob")
    (match,) = match_faces([face(0, 4.9)], GALLERY)
    assert match is not None
    assert match.person == "ann"
    assert match.distance == pytest.approx(0.1, abs=1e-6)
    assert match.similarity == pytest.approx(0.9, abs=1e-6)
    assert match.runner_up == "bob"
    assert match.runner_up_similarity == 0


def test_below_the_threshold_everybody_is_a_stranger() -> None:
    faces = [face(0, 0.45), face(0, 0.55)]
    assert [match and match.person for match in match_faces(faces, GALLERY)] == ["ann", None]
    assert [match and match.person for match in match_faces(faces, GALLERY, threshold=0.6)] == [None, None]


def test_two_people_equally_likely_are_nobody() -> None:
    assert match_faces([face(0.49, 0)], GALLERY) == [None]
    (match,) = match_faces([face(0.49, 0)], GALLERY, margin=0.01)
    assert match is not None
    assert match.person == "ann"


def test_a_person_is_once_in_a_photo() -> None:
    matches = match_faces([face(0.3, 0), face(0.1, 0), face(1, 0)], GALLERY)
    assert [match and match.person for match in matches] == [None, "ann", "bob"]


def test_only_the_people_asked_for() -> None:
    assert match_faces([face(0, 0)], GALLERY, only=["bob"]) == [None]
    (match,) = match_faces([face(0.8, 0)], GALLERY, only=["bob"])
    assert match is not None
    assert match.runner_up is None


def test_rejected_faces_are_nobody() -> None:
    assert match_faces([face(0, 0, rejected="too small")], GALLERY) == [None]


def test_an_empty_gallery_knows_nobody() -> None:
    assert match_faces([face(0, 0)], Gallery({}, similarity)) == [None]


def test_embeddings_of_two_kits_are_refused() -> None:
    with pytest.raises(ShapeError):
        Gallery({"ann": np.zeros((1, 2), np.float32), "bob": np.zeros((1, 3), np.float32)}, similarity)


def test_similarity_falls_with_distance_and_separates_at_a_half(embedded_kit: EmbeddedKit) -> None:
    distances = np.array([0.0, 0.3, 0.38, 0.45, 0.7, 2.0])
    similarities = embedded_kit.similarity(distances)
    assert (np.diff(similarities) < 0).all()
    assert similarities[0] > 0.99
    assert (similarities[:3] > 0.5).all()
    assert (similarities[3:] < 0.5).all()


@pytest.mark.slow
def test_people_are_recognised_in_other_photographs(embedded_kit: EmbeddedKit, test_data: Path) -> None:
    finder = FaceFinder(embedded_kit)
    photos = test_data / "faces" / "photos"

    def embedding(name: str) -> np.ndarray:
        pixels = np.ascontiguousarray(cv2.imread(str(photos / name))[:, :, ::-1])
        (found,) = finder.find(pixels)
        return found.embedding

    references = {
        "taft": np.stack([embedding("people/william-taft/1.webp")]),
        "wilson": np.stack([embedding("people/woodrow-wilson/1.webp")]),
    }
    gallery = Gallery(references, embedded_kit.similarity)
    assert gallery.rank(embedding("old/william_taft.jpg"))[0].similarity > 0.8
    for stranger in ("old/jones_jehu_glancy.jpg", "old/liebel_michael_jr.jpg"):
        assert gallery.rank(embedding(stranger))[0].similarity < 0.5


def test_thousands_of_people_are_compared_as_one_by_one() -> None:
    random = np.random.default_rng(0)
    references = {
        f"{number}": random.normal(size=(int(random.integers(1, 5)), 16)).astype(np.float32) for number in range(2000)
    }
    gallery = Gallery(references, Curve(2.0, 1.0, "made up", measured=True))
    embeddings = random.normal(size=(3, 16)).astype(np.float32)
    embeddings[2] = references["77"][0]
    expected = [
        [float(np.linalg.norm(rows.astype(np.float64) - one, axis=1).min()) for rows in references.values()]
        for one in embeddings.astype(np.float64)
    ]
    np.testing.assert_allclose(gallery.distances(embeddings), expected, atol=1e-6)
    for one, ranked, distances in zip(embeddings, gallery.rank_all(embeddings), expected, strict=True):
        assert [match.person for match in ranked] == [str(place) for place in np.argsort(distances, kind="stable")]
        assert [match.runner_up for match in ranked] == [*(match.person for match in ranked[1:]), None]
        assert [match.person for match in gallery.rank(one, most=3)] == [match.person for match in ranked[:3]]
        least = (ranked[5].similarity + ranked[6].similarity) / 2
        assert [match.person for match in gallery.rank(one, least=least)] == [match.person for match in ranked[:6]]
        chosen = ["5", "nobody", "3", "1999"]
        assert {match.person for match in gallery.rank(one, chosen)} == {"5", "3", "1999"}
        assert gallery.rank(one, chosen, most=1)[0].runner_up == gallery.rank(one, chosen)[1].person
    assert gallery.rank_all(embeddings)[2][0].person == "77"
