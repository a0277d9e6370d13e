from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dmdcli.errors import FaceDataError
from dmdcli.faces.face import component_boxes
from dmdcli.training import data
from dmdcli.training.augment import MIRRORED, Variation, draw_colour, jitter_points, mirror, recolour, vary
from dmdcli.training.data import FaceData, SampleOptions, TrainingSamples, batches, read_faces, read_samples

MakeFolder = Callable[[], Path]


@pytest.fixture(scope="module")
def faces(faces_folder: Path) -> FaceData:
    return read_faces(faces_folder, "train")


def rewrite(index: Path, change: Callable[[dict[str, str]], dict[str, str] | None]) -> None:
    with index.open(encoding="utf-8", newline="") as lines:
        rows = [changed for row in csv.DictReader(lines) if (changed := change(row))]
    with index.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, rows[0])
        writer.writeheader()
        writer.writerows(rows)


# mirror


def test_the_mirror_numbering_undoes_itself_and_exchanges_left_and_right() -> None:
    assert np.array_equal(MIRRORED[MIRRORED], np.arange(68))
    for left, right in (
        (range(17, 22), range(22, 27)),
        (range(36, 42), range(42, 48)),
        (range(0, 8), range(9, 17)),
        (range(31, 33), range(34, 36)),
    ):
        assert set(MIRRORED[list(left)]) == set(right)
    assert [index for index in range(68) if MIRRORED[index] == index] == [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]


def test_mirroring_moves_each_point_with_its_pixel_and_twice_changes_nothing(faces: FaceData) -> None:
    pixels, points = faces.pixels[0], faces.samples[0].points
    other, mirrored = mirror(pixels, points)
    for index in (0, 20, 36, 48, 60):
        x, y = points[MIRRORED[index]].astype(int)
        assert np.array_equal(other[y, int(mirrored[index, 0])], pixels[y, x])
    back, again = mirror(other, mirrored)
    assert np.array_equal(back, pixels)
    assert np.array_equal(again, points)


def test_mirroring_exchanges_the_boxes_of_the_eyes(faces: FaceData) -> None:
    pixels, points = faces.pixels[0], faces.samples[0].points
    boxes, mirrored = component_boxes(points), component_boxes(mirror(pixels, points)[1])
    expected = boxes[[1, 0, 2]][:, [2, 1, 0, 3]]
    expected[:, [0, 2]] = 512 - expected[:, [0, 2]]
    assert np.abs(mirrored - expected).max() <= 2  # the formulas truncate towards zero


# variations


def test_moved_pixels_and_points_move_together() -> None:
    pixels = np.zeros((512, 512, 3), dtype=np.uint8)
    points = np.random.default_rng(0).uniform(120, 390, (68, 2)).astype(np.float32)
    x, y = np.rint(points[30]).astype(int)
    points[30] = (x, y)
    pixels[y - 1 : y + 2, x - 1 : x + 2] = 255
    moves = Variation(rotation=5, scale=0.08, shift=0.06)
    varied, moved = vary(pixels, points, moves, np.random.default_rng(1))
    rows, columns = np.nonzero(varied[..., 0] > 100)
    assert np.abs(np.array([columns.mean(), rows.mean()]) - moved[30]).max() < 0.6
    assert np.abs(moved[30] - points[30]).max() > 3


def test_colour_changes_keep_grey_grey_and_make_colours_grey() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    seen = set()
    for seed in range(40):
        matrix, grey = draw_colour(Variation(grey=1.0), np.random.default_rng(seed))
        assert grey
        toned = recolour(pixels, matrix).astype(int)
        seen.add(bool((np.ptp(toned, axis=2) <= 1).all()))
        assert (toned[..., 0] >= toned[..., 2] - 1).all()
    assert seen == {True, False}
    matrix, grey = draw_colour(Variation(), np.random.default_rng(0))
    assert not grey
    assert np.array_equal(recolour(pixels, matrix), pixels)


def test_jitter_moves_components_rigidly_and_a_little(faces: FaceData) -> None:
    points = faces.samples[0].points
    shifts = []
    for seed in range(200):
        moved = jitter_points(points, np.random.default_rng(seed))
        assert np.array_equal(moved[:17], points[:17])
        eye, before = moved[36:42], points[36:42]
        ratio = np.linalg.norm(eye[0] - eye[3]) / np.linalg.norm(before[0] - before[3])
        assert 0.915 < ratio < 1.085
        shifts.append(moved[48:68].mean(axis=0) - points[48:68].mean(axis=0))
    assert 2 < np.std(shifts) < 4


# the folder


def test_reads_samples_of_one_split_with_their_landmarks(faces_folder: Path, faces: FaceData) -> None:
    assert len(faces.samples) == 7
    assert faces.pixels.shape == (7, 512, 512, 3)
    assert {name: len(positions) for name, positions in faces.people.items()} == {
        "ada": 2,
        "bob": 1,
        "cyd": 3,
        "dee": 1,
    }
    assert faces.others(0) == (1,)
    assert faces.others(2) == ()
    (first, second) = read_samples(faces_folder, "validation")
    assert (first.identity, second.crop, second.enlarged) == ("eve", "crop8.jpg", 2.0)
    assert first.points.shape == (68, 2)


@pytest.mark.parametrize("name", ["index.csv", "landmarks.json"])
def test_a_missing_file_is_named(new_faces_folder: MakeFolder, name: str) -> None:
    folder = new_faces_folder()
    (folder / name).unlink()
    with pytest.raises(FaceDataError, match=f"{name} does not exist"):
        read_samples(folder, "train")


def test_missing_landmarks_name_the_crop(new_faces_folder: MakeFolder) -> None:
    folder = new_faces_folder()
    landmarks = json.loads((folder / "landmarks.json").read_text())
    short = dict(landmarks, crop3=landmarks["crop3"][:67])
    del landmarks["crop3"]
    (folder / "landmarks.json").write_text(json.dumps(landmarks))
    with pytest.raises(FaceDataError, match=r"no landmarks for the crop crop3\.jpg"):
        read_samples(folder, "train")
    (folder / "landmarks.json").write_text(json.dumps(short))
    with pytest.raises(FaceDataError, match=r"crop3\.jpg wants 68 points"):
        read_samples(folder, "train")
    (folder / "landmarks.json").write_text("{")
    with pytest.raises(FaceDataError, match="cannot be read"):
        read_samples(folder, "train")


def test_an_unknown_split_names_those_there(faces_folder: Path) -> None:
    with pytest.raises(FaceDataError, match=r"'test'; there is train, validation"):
        read_samples(faces_folder, "test")


def test_a_missing_column_and_a_number_that_is_none_are_named(new_faces_folder: MakeFolder) -> None:
    folder = new_faces_folder()
    rewrite(folder / "index.csv", lambda row: {**row, "enlarged": "much" if row["crop"] == "crop1.jpg" else "1"})
    with pytest.raises(FaceDataError, match=r"crop1\.jpg.*much"):
        read_samples(folder, "train")
    rewrite(folder / "index.csv", lambda row: {key: value for key, value in row.items() if key != "identity"})
    with pytest.raises(FaceDataError, match="line 2: no identity"):
        read_samples(folder, "train")


def test_a_damaged_missing_or_wrongly_sized_crop_is_named(new_faces_folder: MakeFolder) -> None:
    folder = new_faces_folder()
    crop = folder / "aligned_crops" / "crop5.jpg"
    crop.write_bytes(crop.read_bytes()[:2000])
    with pytest.raises(FaceDataError, match=r"crop5\.jpg.*damaged"):
        read_faces(folder, "train")
    crop.unlink()
    with pytest.raises(FaceDataError, match=r"crop5\.jpg.*not on disk"):
        read_faces(folder, "train")
    Image.new("RGB", (256, 256)).save(crop)
    with pytest.raises(FaceDataError, match="256 x 256"):
        read_faces(folder, "train")


def test_one_person_cannot_train(faces_folder: Path) -> None:
    with pytest.raises(FaceDataError, match="at least two people, found only eve"):
        TrainingSamples(read_faces(faces_folder, "validation"), SampleOptions(), 0, 10)


# the samples


def test_what_a_sample_holds(faces: FaceData) -> None:
    samples = TrainingSamples(faces, SampleOptions(max_references=3), 0, 20)
    for number in range(20):
        sample = samples[number]
        assert sample.number == number
        assert sample.target.shape == sample.degraded.shape == (512, 512, 3)
        assert sample.target.dtype == sample.degraded.dtype == sample.references.dtype == np.uint8
        assert not np.array_equal(sample.target, sample.degraded)
        count = len(sample.references)
        assert 1 <= count <= 3
        assert sample.references.shape == (count, 512, 512, 3)
        assert sample.reference_boxes.shape == (count, 3, 4)
        assert sample.own_references + sample.wrong_person + sample.self_reference == 1
        assert sample.sharpness_weight in (1.0, 0.5)
    with pytest.raises(IndexError, match="20 of 20"):
        samples[20]


def test_the_target_is_never_among_other_photos(faces: FaceData, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    vary_as_before = data.vary

    def noticing(pixels: np.ndarray, points: np.ndarray, *rest: object) -> object:
        shown.append(next(index for index, crop in enumerate(faces.pixels) if np.shares_memory(crop, pixels)))
        return vary_as_before(pixels, points, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(data, "vary", noticing)
    samples = TrainingSamples(faces, SampleOptions(mirror=0, colour=0, grey=0, wrong_person=0.4), 0, 30)
    kinds = set()
    for number in range(30):
        shown.clear()
        sample = samples[number]
        target = next(index for index, crop in enumerate(faces.pixels) if np.array_equal(crop, sample.target))
        person = faces.samples[target].identity
        people = {faces.samples[index].identity for index in shown}
        assert len(shown) == len(sample.references)
        if sample.self_reference:
            kinds.add("self")
            assert set(shown) == {target}
            assert not faces.others(target)
        elif sample.wrong_person:
            kinds.add("wrong")
            assert person not in people
            assert len(people) == 1
        else:
            kinds.add("own")
            assert target not in shown
            assert people == {person}
            assert set(shown) == set(faces.others(target)) or len(shown) < len(faces.others(target))
    assert kinds == {"self", "wrong", "own"}


def test_shares_are_kept(faces: FaceData) -> None:
    def flags(options: SampleOptions) -> tuple[float, float]:
        samples = TrainingSamples(faces, options, 3, 20)
        drawn = [samples[number] for number in range(20)]
        return float(np.mean([one.self_reference for one in drawn])), float(
            np.mean([one.wrong_person for one in drawn])
        )

    assert flags(SampleOptions(specific_fraction=1, wrong_person=0, max_references=1)) == (0, 0)
    assert flags(SampleOptions(specific_fraction=0, wrong_person=0, max_references=1)) == (1, 0)
    assert flags(SampleOptions(specific_fraction=0, wrong_person=1, max_references=1)) == (0, 1)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # Python 3.12 says so of every fork
def test_a_sample_is_the_same_whoever_makes_it(faces: FaceData) -> None:
    samples = TrainingSamples(faces, SampleOptions(), 11, 12)
    here, resumed = list(batches(samples, 4, workers=0)), list(batches(samples, 4, workers=0, first=8))
    elsewhere = list(batches(samples, 4, workers=2))
    assert [batch.numbers.tolist() for batch in here] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    for one, other in zip([*here, here[2]], [*elsewhere, resumed[0]], strict=True):
        for name, tensor in one._asdict().items():
            assert torch.equal(tensor, getattr(other, name)), name
    different = TrainingSamples(faces, SampleOptions(), 12, 12)
    assert not np.array_equal(different[0].degraded, samples[0].degraded)


def test_batches_put_references_one_after_the_other(faces: FaceData) -> None:
    samples = TrainingSamples(faces, SampleOptions(), 0, 5)
    (batch,) = batches(samples, 5, workers=0)
    assert batch.targets.shape == (5, 512, 512, 3)
    assert batch.boxes.dtype == torch.int64
    parts = torch.split(batch.references, batch.reference_counts.tolist())
    for number, part in enumerate(parts):
        assert np.array_equal(part.numpy(), samples[number].references)
    assert len(batch.reference_boxes) == int(batch.reference_counts.sum())
    assert list(batches(samples, 6, workers=0)) == []


def test_shares_of_a_batch_are_every_nth_sample_of_it(faces: FaceData) -> None:
    samples = TrainingSamples(faces, SampleOptions(), 0, 8)
    shares = [
        [batch.numbers.tolist() for batch in batches(samples, 2, workers=0, first=first, every=2)] for first in (4, 5)
    ]
    assert shares == [[[4, 6]], [[5, 7]]]


def test_old_prints_come_with_targets_in_their_tone(faces: FaceData) -> None:
    plain = SampleOptions(mirror=0, colour=0, grey=0, mild=0, moderate=0, severe=0, wide=0, old=1, max_references=1)
    samples = TrainingSamples(faces, plain, 5, 12)
    faded = 0
    for number in range(12):
        sample = samples[number]
        true = [np.abs(sample.target.astype(int) - crop).mean() for crop in faces.pixels]
        assert np.abs(sample.target.astype(int) - sample.degraded).mean() < min(true) + 5
        faded += min(true) > 10
    assert faded > 6
