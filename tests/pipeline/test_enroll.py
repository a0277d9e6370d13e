"""Choosing references: which face of a photo, which photos help, and that nothing changes when enrolling fails."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from dmdcli.errors import NothingToDoError, TooFewReferencesError, UsageError
from dmdcli.faces.face import Confidence, Face, Landmarks, sharpness
from dmdcli.formats import png
from dmdcli.library import Library
from dmdcli.marks import Mark, put_mark
from dmdcli.pipeline.enroll import LEAST_SHARPNESS, SOFT, EnrolledPhoto, LookedAt, enroll
from dmdcli.places import find_photos

FRONTAL = np.stack(np.meshgrid(np.linspace(120, 392, 17), np.linspace(150, 420, 4)), axis=-1).reshape(68, 2)


def portrait(person: int, photo: int, side: int = 512) -> npt.NDArray[np.uint8]:
    """A sharp square picture, different for every photo, whose first pixel says who is on it."""
    random = np.random.default_rng(1000 * person + photo)
    coarse = cv2.resize(random.uniform(0, 255, (12, 12, 3)).astype(np.float32), (side, side))
    pixels = np.clip(coarse + random.normal(0, 25, (side, side, 3)), 0, 255).astype(np.uint8)
    pixels[:, 0] = person
    return pixels


class FakeFinder:
    """Finds one face in each square of a photo as high as it is; its first column says whose it is.

    People with numbers 10 k and 10 k + 1 look a little alike; `changed` replaces fields of all faces found.
    """

    kit_name = "fake"

    def __init__(self, **changed: object) -> None:
        self.kit = SimpleNamespace(similarity=lambda distance: np.clip(1 - distance, 0, 1))
        self.changed = changed

    def find(self, pixels: npt.NDArray[np.uint8]) -> list[Face]:
        side = pixels.shape[0]
        squares = [pixels[:, left : left + side] for left in range(0, pixels.shape[1], side)]
        faces = [self._face(square, number * side) for number, square in enumerate(squares) if square[0, 0, 0] > 0]
        return faces[::-1]

    def _face(self, square: npt.NDArray[np.uint8], left: int) -> Face:
        side = square.shape[0]
        crop = cv2.resize(square, (512, 512), interpolation=cv2.INTER_CUBIC)
        crop[:, :2] = square[0, 0]
        landmarks = Landmarks(FRONTAL.astype(np.float32))
        face = Face(
            box=(float(left), 0.0, float(left + side), float(side)),
            score=1.0,
            matrix=np.eye(2, 3, dtype=np.float32),
            pixels=crop.astype(np.uint8),
            landmarks=landmarks,
            embedding=self.embed(crop[None], [landmarks])[0],
        )
        return replace(face, **self.changed)  # type: ignore[arg-type]

    def embed(self, crops: npt.NDArray[np.uint8], landmarks: Sequence[Landmarks]) -> npt.NDArray[np.float32]:
        people = [int(crop[0, 0, 0]) for crop in crops]
        return np.array([[np.floor(person / 10), 0.7 * (person % 10)] for person in people], np.float32)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "home")


def save(folder: Path, name: str, *squares: npt.NDArray[np.uint8]) -> Path:
    Image.fromarray(np.hstack(squares)).save(folder / name)
    return folder / name


def run(
    library: Library, photos: Path | Sequence[Path], name: str = "Alice", finder: object = None, **options: object
) -> dict[str, EnrolledPhoto]:
    files = find_photos([photos] if isinstance(photos, Path) else list(photos))
    events = enroll(name, files, library, finder or FakeFinder(), **options)  # type: ignore[arg-type]
    return {event.photo.name: event for event in events if isinstance(event, EnrolledPhoto)}


def refusals(library: Library, photos: Path, **options: object) -> dict[str, str | None]:
    """Reasons by photo when nothing is usable; nothing may have been written."""
    outcomes: dict[str, str | None] = {}

    def refuse_all() -> None:
        finder = options.pop("finder", FakeFinder())
        for event in enroll("Alice", find_photos([photos]), library, finder, **options):  # type: ignore[arg-type]
            if isinstance(event, EnrolledPhoto):
                assert not event.used
                outcomes[event.photo.name] = event.reason

    with pytest.raises(TooFewReferencesError, match="nothing was changed"):
        refuse_all()
    assert not library.home.exists()
    return outcomes


def test_restored_photos_teach_nobody(library: Library, photos: Path) -> None:
    for number in range(3):
        save(photos, f"{number}.png", portrait(50, number))
    mark, _ = put_mark(None, Mark("1", "base", "0", "kit", (512, 512), 1), 1 << 20)
    with_mark = png.with_xmp((photos / "2.png").read_bytes(), mark or b"")
    (photos / "2.png").write_bytes(with_mark)
    outcomes = run(library, photos)
    assert [outcomes[name].used for name in ("0.png", "1.png", "2.png")] == [True, True, False]
    assert outcomes["2.png"].reason == "faces in it were restored by dmd; enroll the original"


def test_portraits_of_one_person_become_references(library: Library, photos: Path) -> None:
    for number in range(3):
        save(photos, f"{number}.png", portrait(50, number))
    files = find_photos([photos])
    boxes_seen = []

    def memorize(crops: npt.NDArray[np.uint8], boxes: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.float16]]:
        boxes_seen.append((crops.shape, boxes.shape))
        return {"left_eye_256.key": np.ones((len(crops), 1), np.float16)}

    events = list(enroll("Alice", files, library, FakeFinder(), weights_id="weights", memorize=memorize))  # type: ignore[arg-type]
    assert [event.count for event in events if isinstance(event, LookedAt)] == [1, 2, 3]
    assert [event.used for event in events if isinstance(event, EnrolledPhoto)] == [True] * 3
    person = library.person("Alice")
    assert [Path(reference.source).name for reference in person.references] == ["0.png", "1.png", "2.png"]
    assert {(cache.kind, cache.maker, cache.current) for cache in library.caches(person)} == {
        ("dictionary", "weights", True),
        ("embeddings", "fake", True),
    }
    assert boxes_seen == [((3, 512, 512, 3), (3, 3, 4))]


def test_one_photo_is_enough_and_more_can_be_added(library: Library, photos: Path) -> None:
    first = save(photos, "1.png", portrait(50, 1))
    assert run(library, first)["1.png"].used
    second = save(photos, "2.png", portrait(50, 2))
    assert run(library, second, name="ALICE")["2.png"].similarity == 1
    assert len(library.person("Alice").references) == 2


def test_a_second_run_finds_only_duplicates_and_is_no_failure(library: Library, photos: Path) -> None:
    save(photos, "1.png", portrait(50, 1))
    run(library, photos)
    before = library.person("Alice")
    again = run(library, photos)["1.png"]
    assert not again.used
    assert again.duplicate
    assert again.reason == "duplicate: the same file is a reference already"
    assert library.person("Alice") == before


def test_copies_of_one_picture_are_one_reference(library: Library, photos: Path) -> None:
    path = save(photos, "1.png", portrait(50, 1))
    shutil.copy(path, photos / "2 the same file.png")
    brighter = np.clip(portrait(50, 1).astype(np.float32) * 0.8 + 20, 0, 255).astype(np.uint8)
    brighter[:, 0] = 50
    save(photos, "3 brighter.png", brighter)
    save(photos, "4 another.png", portrait(50, 2))
    outcomes = run(library, photos)
    assert [name for name, outcome in outcomes.items() if outcome.used] == ["1.png", "4 another.png"]
    assert outcomes["2 the same file.png"].duplicate
    assert outcomes["3 brighter.png"].reason == "duplicate: the same picture as 1.png"
    brighter[200, 200] = 0
    later = save(photos, "5 later.png", brighter)
    assert run(library, later)["5 later.png"].reason == "duplicate: the same picture is a reference already"


def test_a_blurred_portrait_is_refused(library: Library, photos: Path) -> None:
    blurred = cv2.GaussianBlur(portrait(50, 1), (0, 0), 8)
    blurred[:, 0] = 50
    save(photos, "blurred.png", blurred)
    assert "blurred" in str(refusals(library, photos)["blurred.png"])


def test_a_tiny_face_is_refused(library: Library, photos: Path) -> None:
    save(photos, "tiny.png", portrait(50, 1, side=79))
    assert "79 pixels wide, a reference wants 80" in str(refusals(library, photos)["tiny.png"])


def test_a_face_turned_away_is_refused(library: Library, photos: Path) -> None:
    turned = FRONTAL.copy()
    turned[27, 0] = turned[0, 0] + 0.1 * (turned[16, 0] - turned[0, 0])
    save(photos, "turned.png", portrait(50, 1))
    finder = FakeFinder(landmarks=Landmarks(turned.astype(np.float32)))
    assert "turned away" in str(refusals(library, photos, finder=finder)["turned.png"])


def test_wrong_landmarks_are_refused_and_unsure_ones_told(library: Library, photos: Path) -> None:
    save(photos, "covered.png", portrait(50, 1))
    wrong = FakeFinder(confidence=Confidence(0.04, (0.1, 0.1, 0.1)))
    assert "4% likely right" in str(refusals(library, photos, finder=wrong)["covered.png"])
    unsure = FakeFinder(confidence=Confidence(0.9, (0.9, 0.9, 0.3)), doubts=("the landmarks of the mouth are unsure",))
    outcome = run(library, photos, finder=unsure)["covered.png"]
    assert outcome.used
    assert "the landmarks of the mouth are unsure" in outcome.doubts


def test_scores_of_no_known_meaning_refuse_nothing(library: Library, photos: Path) -> None:
    save(photos, "a.png", portrait(50, 1))
    low = FakeFinder(confidence=Confidence(0.05, (0.1, 0.1, 0.1), good=0.35, source="scores"))
    assert run(library, photos, finder=low)["a.png"].used


def test_a_face_the_finder_rejects_is_refused_with_its_reason(library: Library, photos: Path) -> None:
    save(photos, "odd.png", portrait(50, 1))
    reasons = refusals(library, photos, finder=FakeFinder(rejected="the mouth is not below the eyes"))
    assert reasons["odd.png"] == "no usable face: the mouth is not below the eyes"


def test_files_that_are_no_photos_and_photos_without_faces_are_refused(library: Library, photos: Path) -> None:
    (photos / "text.jpg").write_text("no picture")
    (photos / "empty.png").write_bytes(b"")
    save(photos, "nobody.png", portrait(0, 1))
    reasons = refusals(library, photos)
    assert reasons["nobody.png"] == "no face found"
    assert all(reasons.values())


def test_somebody_else_among_the_photos_is_refused(library: Library, photos: Path) -> None:
    for number in range(2):
        save(photos, f"alice {number}.png", portrait(50, number))
    save(photos, "a little alike.png", portrait(51, 1))
    save(photos, "bob.png", portrait(90, 1))
    outcomes = run(library, photos)
    assert [name for name, outcome in outcomes.items() if not outcome.used] == ["bob.png"]
    assert "somebody else: similarity 0.00" in str(outcomes["bob.png"].reason)


def test_somebody_else_is_refused_however_many_when_the_person_is_known(library: Library, photos: Path) -> None:
    run(library, save(photos, "alice.png", portrait(50, 1)))
    before = library.person("Alice")
    others = [save(photos, f"bob {number}.png", portrait(90, number)) for number in range(3)]
    with pytest.raises(TooFewReferencesError):
        run(library, others)
    assert library.person("Alice") == before


def test_two_strangers_are_not_told_apart_by_chance(library: Library, photos: Path) -> None:
    save(photos, "1.png", portrait(50, 1))
    save(photos, "2.png", portrait(90, 1))
    assert set(refusals(library, photos).values()) == {
        "the photos show different people, and nothing says which of them is meant"
    }


def test_a_mixed_folder_is_nobody(library: Library, photos: Path) -> None:
    for number, person in enumerate([50, 50, 70, 90]):
        save(photos, f"{number}.png", portrait(person, number))
    assert len(set(refusals(library, photos).values())) == 1


def test_likeness_is_no_chain(library: Library, photos: Path) -> None:
    """Each is a little like the next, but the first and the last are strangers; the middle ones hold together."""
    for number, person in enumerate([50, 51, 51, 51, 52]):
        save(photos, f"{number}.png", portrait(person, number))
    assert all(outcome.used for outcome in run(library, photos).values())
    added = save(photos, "added.png", portrait(53, 1))
    with pytest.raises(TooFewReferencesError):
        run(library, added)


def test_a_reference_that_recognition_would_not_know_is_kept_with_a_warning(library: Library, photos: Path) -> None:
    run(library, save(photos, "1.png", portrait(50, 1)))
    outcomes = run(library, [save(photos, "2.png", portrait(50, 2)), save(photos, "older.png", portrait(51, 3))])
    assert all(outcome.used for outcome in outcomes.values())
    assert outcomes["2.png"].doubts == ()
    assert "by 0.30 only" in outcomes["older.png"].doubts[0]


def test_in_a_group_the_face_like_the_portraits_is_taken(library: Library, photos: Path) -> None:
    save(photos, "group.png", portrait(90, 1), portrait(50, 1), portrait(70, 1))
    save(photos, "portrait.png", portrait(50, 2))
    assert run(library, photos)["group.png"].used
    crops, _ = library.references(library.person("Alice"))
    assert set(crops[:, 0, 0, 0].tolist()) == {50}


def test_in_a_group_a_portrait_of_somebody_else_does_not_mislead(library: Library, photos: Path) -> None:
    run(library, save(photos, "portrait.png", portrait(50, 1)))
    save(photos, "bob.png", portrait(90, 1))
    save(photos, "group.png", portrait(50, 2), portrait(90, 2))
    outcomes = run(library, photos)
    assert {name for name, outcome in outcomes.items() if outcome.used} == {"group.png"}
    crops, _ = library.references(library.person("Alice"))
    assert crops[:, 0, 0, 0].tolist() == [50, 50]


def test_in_groups_the_face_they_share_is_taken(library: Library, photos: Path) -> None:
    save(photos, "1.png", portrait(90, 1), portrait(50, 1))
    save(photos, "2.png", portrait(50, 2), portrait(70, 1))
    assert all(outcome.used for outcome in run(library, photos).values())
    crops, _ = library.references(library.person("Alice"))
    assert set(crops[:, 0, 0, 0].tolist()) == {50}


def test_in_a_group_of_strangers_the_number_decides(library: Library, photos: Path) -> None:
    save(photos, "group.png", portrait(90, 1), portrait(50, 1), portrait(70, 1))
    assert "--face N" in str(refusals(library, photos)["group.png"])
    assert "3 faces, so there is no face 4" in str(refusals(library, photos, face_number=4)["group.png"])
    assert run(library, photos, face_number=2)["group.png"].used
    crops, _ = library.references(library.person("Alice"))
    assert crops[0, 0, 0, 0] == 50


def test_numbers_are_those_of_check_which_counts_faces_that_cannot_be_used(library: Library, photos: Path) -> None:
    class OneBad(FakeFinder):
        def find(self, pixels: npt.NDArray[np.uint8]) -> list[Face]:
            return [replace(face, rejected="it is bad") if face.box[0] > 0 else face for face in super().find(pixels)]

    save(photos, "group.png", portrait(90, 1), portrait(50, 1))
    assert "no usable face: it is bad" in str(refusals(library, photos, finder=OneBad(), face_number=1)["group.png"])
    assert run(library, photos, finder=OneBad(), face_number=2)["group.png"].used


def test_twins_in_one_photo_are_ambiguous(library: Library, photos: Path) -> None:
    save(photos, "portrait.png", portrait(50, 1))
    save(photos, "twins.png", portrait(50, 2), portrait(50, 3))
    outcomes = run(library, photos)
    assert outcomes["portrait.png"].used
    assert "--face N" in str(outcomes["twins.png"].reason)


def test_a_dry_run_decides_and_writes_nothing(library: Library, photos: Path) -> None:
    save(photos, "1.png", portrait(50, 1))
    assert run(library, photos, dry_run=True)["1.png"].used
    assert not library.home.exists()


def test_bad_names_and_missing_photos_are_said_before_anything_is_read(library: Library, photos: Path) -> None:
    with pytest.raises(UsageError):
        next(enroll("a/b", find_photos([save(photos, "1.png", portrait(50, 1))]), library, FakeFinder()))  # type: ignore[arg-type]
    with pytest.raises(NothingToDoError):
        next(enroll("Alice", [], library, FakeFinder()))  # type: ignore[arg-type]
    assert not library.home.exists()


@pytest.mark.slow
def test_real_portraits_are_enrolled_and_others_refused(library: Library, test_data: Path) -> None:
    from dmdcli.faces.embedded import EmbeddedKit
    from dmdcli.faces.finder import FaceFinder

    finder = FaceFinder(EmbeddedKit())
    people = sorted((test_data / "faces" / "photos" / "people").iterdir())
    for folder in people:
        assert all(outcome.used for outcome in run(library, folder, name=folder.name, finder=finder).values()), folder
    assert len(library.people()) == len(people)
    stranger = test_data / "faces" / "photos" / "people" / "woodrow-wilson"
    with pytest.raises(TooFewReferencesError):
        run(library, stranger, name="william-taft", finder=finder)


def test_the_same_face_under_a_second_name_is_warned_of(library: Library, photos: Path) -> None:
    save(photos, "one.png", portrait(50, 1))
    run(library, photos)
    other = photos.parent / "other"
    other.mkdir()
    save(other, "two.png", portrait(50, 2))
    save(other, "three.png", portrait(50, 3))
    outcomes = run(library, other, name="Bob")
    assert all("looks like Alice, who is enrolled too" in outcome.doubts[0] for outcome in outcomes.values())
    (again,) = run(library, save(photos, "four.png", portrait(50, 4))).values()
    assert any("looks like Bob" in doubt for doubt in again.doubts)
    assert not any("looks like Alice" in doubt for doubt in again.doubts)


def test_a_barely_sharp_reference_is_warned_of(library: Library, photos: Path) -> None:
    soft = next(
        blurred
        for sigma in np.arange(0.2, 4, 0.05)
        if LEAST_SHARPNESS <= sharpness(blurred := cv2.GaussianBlur(portrait(50, 1), (0, 0), float(sigma))) < SOFT
    )
    soft[:, 0] = 50
    save(photos, "soft.png", soft)
    (outcome,) = run(library, photos).values()
    assert outcome.used
    assert any("somewhat soft" in doubt for doubt in outcome.doubts)
