"""Making a data folder: what is taken, what is left out and why, who validates, and that nothing is done twice."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from dmdcli.errors import CannotGoOnError, FaceDataError, UsageError
from dmdcli.faces.face import Face, Landmarks
from dmdcli.pipeline import prepare as preparing
from dmdcli.pipeline.prepare import (
    LabelledFile,
    Limits,
    PreparedFolder,
    PreparedPhoto,
    check_folder,
    choose_validation,
    label,
    prepare,
)
from dmdcli.pipeline.same_picture import SAME_PICTURE, face_view
from dmdcli.places import find_photos
from dmdcli.training.data import TrainingSamples, read_faces, read_samples
from dmdcli.training.train import SampleOptions
from tests.training.conftest import face_points

POINTS = face_points(np.random.default_rng(0)).astype(np.float32)


def portrait(number: int, side: int = 512) -> npt.NDArray[np.uint8]:
    """A sharp square picture, different for every number."""
    random = np.random.default_rng(number)
    coarse = cv2.resize(random.uniform(0, 255, (12, 12, 3)).astype(np.float32), (side, side))
    return np.clip(coarse + random.normal(0, 25, (side, side, 3)), 0, 255).astype(np.uint8)


class SquareFinder:
    """Finds a face in each square of a photo as high as it is; none in black. Counts the photos it looked at."""

    kit_name = "made-up-1"

    def __init__(self, doubts: tuple[str, ...] = (), moved: float = 0.0) -> None:
        self.looked = 0
        self.doubts = doubts
        self.moved = moved

    def find(self, pixels: npt.NDArray[np.uint8]) -> list[Face]:
        self.looked += 1
        side = pixels.shape[0]
        squares = [pixels[:, left : left + side] for left in range(0, pixels.shape[1], side)]
        return [self._face(square, None if square.any() else "the mouth is not below the eyes") for square in squares]

    def _face(self, square: npt.NDArray[np.uint8], rejected: str | None) -> Face:
        scale = 512 / square.shape[0]
        matrix = np.array([[scale, 0, 0], [0, scale, 0]], np.float32)
        crop = cv2.resize(square, (512, 512), interpolation=cv2.INTER_CUBIC)
        landmarks = Landmarks(POINTS + np.float32(self.moved))
        box = (0.0, 0.0, float(square.shape[0]), float(square.shape[0]))
        return Face(box, 1.0, matrix, crop, landmarks, np.zeros(0, np.float32), rejected, self.doubts)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four people with six photos that are fit to learn from."""
    folder = tmp_path / "photos"
    number = 0
    for person, count in (("Anna", 2), ("Berta", 2), ("Carl", 1), ("Dora", 1)):
        (folder / person).mkdir(parents=True)
        for photo in range(count):
            number += 1
            Image.fromarray(portrait(number)).save(folder / person / f"{photo}.png")
    return folder


def labelled(photos: Path) -> list[LabelledFile]:
    return label(find_photos([photos]), 1, strangers=False)


def run(
    photos: Path, out: Path, finder: SquareFinder, limits: Limits | None = None, seed: int = 0
) -> tuple[dict[str, PreparedPhoto], PreparedFolder]:
    *seen, folder = prepare(
        labelled(photos),
        out,
        finder,  # type: ignore[arg-type]
        limits=limits or Limits(),
        licence="ours",
        validation=0.05,
        seed=seed,
    )
    assert isinstance(folder, PreparedFolder)
    return {photo.source: photo for photo in seen if isinstance(photo, PreparedPhoto)}, folder


def report_of(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((out / "report.csv").read_text(encoding="utf-8"))))


def test_training_reads_what_was_prepared(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    seen, folder = run(photos, out, SquareFinder())
    assert folder == PreparedFolder({"train": 4, "validation": 2}, {"train": 3, "validation": 1}, 0)
    faces, validation = read_faces(out, "train"), read_faces(out, "validation")
    assert len(TrainingSamples(faces, SampleOptions(), 0, 2)) == 2
    assert not set(faces.people) & set(validation.people)
    assert len(validation.others(0)) == 1, "who validates has two photos, so the specific answer can be measured"
    sample = next(one for one in faces.samples if one.identity == "Carl")
    assert (sample.source, sample.licence, sample.enlarged) == ("Carl/0.png", "ours", 1.0)
    np.testing.assert_allclose(sample.points, POINTS, atol=0.01)
    crop = faces.pixels[faces.samples.index(sample)].astype(int)
    assert abs(crop - np.asarray(Image.open(photos / "Carl" / "0.png"))).mean() < 4
    assert seen["Carl/0.png"].crop == sample.crop
    assert report_of(out) == []


def test_each_reason_to_leave_a_photo_out(photos: Path, tmp_path: Path) -> None:
    person = photos / "Anna"
    good = portrait(50)
    Image.fromarray(np.hstack([good, portrait(51)])).save(person / "two.png")
    Image.fromarray(np.zeros_like(good)).save(person / "wall.png")
    Image.fromarray(portrait(52, 200)).save(person / "small.png")
    Image.fromarray(cv2.GaussianBlur(portrait(53), (0, 0), 5)).save(person / "soft.png")
    whole = (person / "0.png").read_bytes()
    (person / "broken.png").write_bytes(whole[: len(whole) // 2])
    (photos / "Berta" / "again.png").write_bytes(whole)
    with Image.open(person / "1.png") as image:
        image.resize((400, 400), Image.Resampling.LANCZOS).convert("L").save(person / "x-grey.jpg", quality=80)
    Image.fromarray(portrait(54)).save(photos / "loose.png")
    out = tmp_path / "data"
    seen, _ = run(photos, out, SquareFinder())
    left_out = {source: (photo.kind, photo.reason) for source, photo in seen.items() if photo.kind is not None}
    assert left_out.pop("Anna/broken.png")[0] == "failed"
    assert left_out.pop("Anna/soft.png")[0] == "blurred"
    assert left_out == {
        "Anna/two.png": ("several faces", "it has 2 faces; one is needed"),
        "Anna/wall.png": ("no face", "no usable face: the mouth is not below the eyes"),
        "Anna/small.png": ("too small", "the face was enlarged 2.6 times; 2.2 is the limit"),
        "Anna/x-grey.jpg": ("duplicate", "the same picture as Anna/1.png"),
        "Berta/again.png": ("duplicate", "the same picture as Anna/0.png"),
        "loose.png": ("nobody's", "it lies in no person's folder"),
    }
    assert {(row["photo"], row["kind"]) for row in report_of(out)} == {
        (source, photo.kind) for source, photo in seen.items() if photo.kind is not None
    }
    assert len(list((out / "aligned_crops").iterdir())) == 6, "no crop is left of what is left out"


@pytest.mark.parametrize(
    ("finder", "kind", "reason"),
    [
        (SquareFinder(doubts=("the landmarks are unsure",)), "doubtful", "the landmarks are unsure"),
        (SquareFinder(moved=150.0), "cut off", "the edge of the photo cuts the face off"),
    ],
)
def test_doubtful_and_cut_off_faces_and_too_few_people(
    photos: Path, tmp_path: Path, finder: SquareFinder, kind: str, reason: str
) -> None:
    out = tmp_path / "data"
    with pytest.raises(FaceDataError, match=r"Of no people a photo is fit.*report\.csv"):
        run(photos, out, finder)
    assert {(row["kind"], row["reason"]) for row in report_of(out)} == {(kind, reason)}
    assert not (out / "index.csv").exists()


def test_a_second_run_looks_at_what_is_new_only(photos: Path, tmp_path: Path) -> None:
    out, finder = tmp_path / "data", SquareFinder()
    run(photos, out, finder)
    index = (out / "index.csv").read_bytes()
    assert finder.looked == 6
    seen, _ = run(photos, out, finder)
    assert finder.looked == 6
    assert all(photo.again for photo in seen.values())
    assert (out / "index.csv").read_bytes() == index
    Image.fromarray(portrait(60)).save(photos / "Dora" / "1.png")
    crop = out / "aligned_crops" / (seen["Carl/0.png"].crop or "")
    crop.write_bytes(crop.read_bytes()[:5000])
    note = next((out / "looked_at").glob(f"{Path(seen['Anna/1.png'].crop or '').stem}.json"))
    note.write_text("{")
    seen, _ = run(photos, out, finder)
    assert finder.looked == 9
    assert {source for source, photo in seen.items() if not photo.again} == {"Anna/1.png", "Carl/0.png", "Dora/1.png"}
    read_faces(out, "train")
    run(photos, out, finder, Limits(max_enlarged=2.0))
    assert finder.looked == 16, "other limits, other answers"


def test_a_run_stopped_in_the_middle_goes_on(photos: Path, tmp_path: Path) -> None:
    out, finder = tmp_path / "data", SquareFinder()
    settings = {"limits": Limits(), "licence": "ours", "validation": 0.05, "seed": 0}
    events = prepare(labelled(photos), out, finder, **settings)  # type: ignore[arg-type]
    for _ in range(4):
        next(events)
    events.close()  # type: ignore[attr-defined]
    assert not (out / "index.csv").exists()
    run(photos, out, finder)
    assert finder.looked == 6
    run(photos, tmp_path / "whole", finder)
    for name in ("index.csv", "landmarks.json", "report.csv"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_crops_of_photos_that_are_gone_go(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    seen, _ = run(photos, out, SquareFinder())
    (photos / "Berta" / "1.png").unlink()
    _, folder = run(photos, out, SquareFinder())
    assert folder.removed == 1
    assert not (out / "aligned_crops" / (seen["Berta/1.png"].crop or "")).exists()
    assert len(list((out / "looked_at").iterdir())) == 5
    assert "Berta/1.png" not in {one.source for split in ("train", "validation") for one in read_samples(out, split)}


def test_a_full_disk_ends_the_run_and_keeps_what_is_done(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, finder, written = tmp_path / "data", SquareFinder(), preparing.write_file

    def full(content: bytes, path: Path) -> None:
        if finder.looked > 3:
            raise CannotGoOnError(f"{path}: the disk is full.")
        written(content, path)

    monkeypatch.setattr(preparing, "write_file", full)
    with pytest.raises(CannotGoOnError, match="disk is full"):
        run(photos, out, finder)
    monkeypatch.undo()
    seen, _ = run(photos, out, finder)
    assert sum(photo.again for photo in seen.values()) == 3


def test_people_are_named_by_the_folder_below_the_one_given(photos: Path, tmp_path: Path) -> None:
    (photos / "Anna" / "1950" / "summer").mkdir(parents=True)
    shutil.move(photos / "Anna" / "0.png", photos / "Anna" / "1950" / "summer" / "0.png")
    other = tmp_path / "more"
    (other / "Anna").mkdir(parents=True)
    for place in (other / "Anna" / "2.png", other / "loose.png"):
        Image.fromarray(portrait(70)).save(place)
    assert {one.person for one in labelled(photos)} == {"Anna", "Berta", "Carl", "Dora"}
    files = find_photos([photos, other, other / "loose.png"])
    both = {one.file.relative.as_posix(): one.person for one in label(files, 2, strangers=False)}
    assert both["photos/Anna/1950/summer/0.png"] == both["more/Anna/2.png"] == "Anna"
    assert both["more/loose.png"] is None
    alone = label(files, 2, strangers=True)
    assert len({one.person for one in alone}) == len(files)


def test_who_validates_depends_on_names_and_seed_alone() -> None:
    counts = {f"person {number}": 1 + number % 2 for number in range(40)}
    chosen = choose_validation(counts, 0.1, 0)
    assert chosen == choose_validation(dict(reversed(counts.items())), 0.1, 0)
    assert len(chosen) == 4
    assert sum(counts[person] for person in chosen) == 6, "half of them have two photos, as everywhere"
    assert chosen != choose_validation(counts, 0.1, 1)


@pytest.mark.parametrize(
    ("counts", "share", "number"),
    [([1, 1, 1], 0.5, 1), ([1, 1, 1], 0.0, 1), ([2, 1, 1, 1], 0.05, 1), ([3] * 9, 0.5, 4)],
)
def test_someone_validates_and_two_learn(counts: Sequence[int], share: float, number: int) -> None:
    people = {str(position): count for position, count in enumerate(counts)}
    chosen = choose_validation(people, share, 3)
    assert len(chosen) == number
    if counts.count(1) == len(counts) - 1:
        assert "0" not in chosen, "the only one with several photos is learned from"


def test_a_data_folder_of_somebody_else_is_not_written_over(tmp_path: Path) -> None:
    check_folder(tmp_path / "nothing")
    (tmp_path / "index.csv").write_text("crop")
    with pytest.raises(UsageError, match=r"index\.csv in it, which this command has not made"):
        check_folder(tmp_path)
    (tmp_path / "looked_at").mkdir()
    check_folder(tmp_path)


def test_names_that_are_no_text_are_written_as_escapes(tmp_path: Path) -> None:
    assert preparing._table(("photo",), [("caf\udce9.jpg",)]) == b"photo\r\ncaf\\udce9.jpg\r\n"


def test_a_coarse_view_says_what_a_full_one_says() -> None:
    one = portrait(1)
    small = cv2.resize(cv2.resize(one, (200, 200), interpolation=cv2.INTER_AREA), (512, 512))
    for other, same in ((small, True), (portrait(2), False)):
        fine, coarse = (float(face_view(one, step) @ face_view(other, step)) for step in (1, 8))
        assert (fine >= SAME_PICTURE) is (coarse >= SAME_PICTURE) is same
        assert abs(fine - coarse) < 0.05
    assert not face_view(np.zeros((512, 512, 3), np.uint8)).any(), "black is like nothing, not NaN"
