from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from dmdcli.errors import ShapeError
from dmdcli.evaluation import Evaluated, Quality, evaluate, measure, psnr, ssim, summarize, to_uint8
from dmdcli.faces.face import Landmarks, component_boxes
from dmdcli.training.data import FaceData, read_faces
from dmdcli.training.degrade import Degradation, Severity, apply, draw, generator_for

BOXES = np.array([[150, 180, 230, 260], [280, 180, 360, 260], [200, 320, 320, 420]])
NOTHING = Degradation(blur=0, downscaling=1, noise=0, jpeg=100, noise_seed=0)


def picture(seed: int, side: int = 512) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (side // 16, side // 16, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> FaceData:
    """Two crops of ada, one of bob, two of cyd."""
    folder = tmp_path_factory.mktemp("faces")
    (folder / "aligned_crops").mkdir()
    generator = np.random.default_rng(0)
    points = np.zeros((68, 2))
    points[17:22], points[22:27] = (190, 195), (320, 195)
    points[36:42], points[42:48], points[48:68] = (190, 240), (320, 240), (256, 370)
    landmarks, rows = {}, []
    for number, person in enumerate(("ada", "bob", "ada", "cyd", "cyd")):
        Image.fromarray(picture(number)).save(folder / "aligned_crops" / f"{number}.png")
        landmarks[str(number)] = (points + generator.normal(0, 4, points.shape)).tolist()
        rows.append((f"{number}.png", person, "validation", 1.0, "generated", "none"))
    with (folder / "index.csv").open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(("crop", "identity", "split", "enlarged", "source", "licence"))
        writer.writerows(rows)
    (folder / "landmarks.json").write_text(json.dumps(landmarks))
    return read_faces(folder, "validation")


class FakeRestorer:
    """Generic: the degraded crop. Specific: the degraded crop moved a quarter of the way to the true one."""

    def __init__(self, faces: FaceData) -> None:
        self.faces = faces
        self.memorized: list[list[int]] = []
        self.boxes: list[np.ndarray] = []

    def position(self, crop: np.ndarray) -> int:
        return min(range(5), key=lambda number: float(np.abs(self.faces.pixels[number].astype(float) - crop).mean()))

    def memorize(self, crops: np.ndarray, boxes: np.ndarray) -> list[int]:
        self.memorized.append([self.position(crop) for crop in crops])
        assert boxes.shape == (len(crops), 3, 4)
        return self.memorized[-1]

    def restore(self, crops: np.ndarray, boxes: np.ndarray, dictionaries: list[list[int] | None]) -> list[Any]:
        self.boxes += list(boxes)
        results = []
        for crop, dictionary in zip(crops, dictionaries, strict=True):
            generic = crop.astype(np.float32) / 255
            truth = self.faces.pixels[self.position(crop)].astype(np.float32) / 255
            specific = None if dictionary is None else generic * 0.75 + truth * 0.25
            results.append(SimpleNamespace(generic=generic, specific=specific))
        return results


class FakeKit:
    """Sees the same landmarks everywhere; tells people apart by their mean colour."""

    name = "fake"

    def __init__(self, points: np.ndarray) -> None:
        self.points = points

    def detect(self, photos: Sequence[np.ndarray]) -> list[list[Any]]:
        return [[] for _ in photos]

    def landmarks(self, crops: np.ndarray) -> list[Landmarks]:
        return [Landmarks(self.points) for _ in crops]

    def embed(self, crops: np.ndarray, landmarks: Sequence[Landmarks]) -> np.ndarray:
        return crops.reshape(len(crops), -1, 3).mean(axis=1).astype(np.float32)

    def outlines(self, crops: np.ndarray) -> None:
        return None

    def similarity(self, distance: np.ndarray) -> np.ndarray:
        return np.exp(-distance)


# the measures


@pytest.mark.parametrize("severity", Severity)
def test_psnr_and_ssim_are_those_of_scikit_image(severity: Severity) -> None:
    truth = picture(1, 128)
    bad = apply(truth, draw(severity, generator_for(2, "x")))
    assert psnr(bad, truth) == pytest.approx(peak_signal_noise_ratio(truth, bad), abs=1e-9)
    theirs = structural_similarity(
        truth, bad, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert ssim(bad, truth) == pytest.approx(theirs, abs=1e-6)


def test_equal_pictures() -> None:
    truth = picture(1)
    quality = measure(truth, truth, BOXES)
    assert quality == Quality(psnr=100.0, component_psnr=100.0, ssim=pytest.approx(1.0), sharpness=1.0)


def test_component_psnr_sees_only_the_boxes() -> None:
    truth = picture(1)
    outside, inside = truth.copy(), truth.copy()
    outside[:100] ^= 64
    inside[200:210, 160:170] ^= 64
    assert measure(outside, truth, BOXES).component_psnr == 100.0
    assert measure(outside, truth, BOXES).psnr < 30
    marked = measure(inside, truth, BOXES)
    area = 2 * 80 * 80 + 120 * 100
    assert marked.component_psnr == pytest.approx(marked.psnr - 10 * np.log10(512**2 / area))


def test_sharpness_falls_with_blur_and_rises_with_noise() -> None:
    truth = picture(1)
    blurred = measure(apply(truth, dataclasses.replace(NOTHING, blur=8)), truth, BOXES)
    noisy = measure(apply(truth, dataclasses.replace(NOTHING, noise=20)), truth, BOXES)
    assert blurred.sharpness < 0.5
    assert noisy.sharpness > 1.2


def test_measures_refuse_what_they_cannot_compare() -> None:
    with pytest.raises(ShapeError, match="picture"):
        psnr(picture(1, 64), picture(1, 128))
    with pytest.raises(ShapeError, match="at least 11"):
        ssim(picture(1, 128)[:5], picture(1, 128)[:5])


def test_floats_are_rounded_and_clipped() -> None:
    floats = np.array([[[-0.1, 0.5, 1.2]]], dtype=np.float32)
    assert to_uint8(floats).tolist() == [[[0, 128, 255]]]


# the evaluation


def test_references_are_the_other_crops_and_never_the_crop_itself(faces: FaceData) -> None:
    restorer = FakeRestorer(faces)
    results = list(evaluate(faces, restorer, Severity.MILD, 0))  # type: ignore[arg-type]
    assert restorer.memorized == [[2], [0], [4], [3]]
    assert [result.references for result in results] == [1, 0, 1, 1, 1]
    assert [list(result.rows) for result in results] == [
        ["input", "generic", "specific"],
        ["input", "generic"],
        *[["input", "generic", "specific"]] * 3,
    ]
    assert [result.crop for result in results] == ["0.png", "1.png", "2.png", "3.png", "4.png"]


def test_rows_measure_what_they_say(faces: FaceData) -> None:
    for result, truth in zip(
        evaluate(faces, FakeRestorer(faces), Severity.MODERATE, 5),
        faces.pixels,
        strict=True,  # type: ignore[arg-type]
    ):
        degraded = apply(truth, draw(Severity.MODERATE, generator_for(5, result.crop)))
        assert result.rows["input"].psnr == psnr(degraded, truth)
        assert result.rows["generic"] == result.rows["input"]
        if "specific" in result.rows:  # three quarters of the error are left
            assert result.rows["specific"].psnr - result.rows["input"].psnr == pytest.approx(2.5, abs=0.1)


def test_boxes_are_the_true_ones_unless_landmarks_are_to_be_found(faces: FaceData) -> None:
    restorer = FakeRestorer(faces)
    kit = FakeKit(faces.samples[0].points + 7)
    list(evaluate(faces, restorer, Severity.MILD, 0, kit=kit))  # type: ignore[arg-type]
    for sample, boxes in zip(faces.samples, restorer.boxes, strict=True):
        assert np.array_equal(boxes, component_boxes(sample.points))
    restorer.boxes.clear()
    list(evaluate(faces, restorer, Severity.MILD, 0, kit=kit, detect=True))  # type: ignore[arg-type]
    assert all(np.array_equal(boxes, component_boxes(kit.points)) for boxes in restorer.boxes)
    with pytest.raises(ShapeError, match="kit"):
        list(evaluate(faces, restorer, Severity.MILD, 0, detect=True))  # type: ignore[arg-type]


def test_identity_is_measured_against_the_true_face(faces: FaceData) -> None:
    kit = FakeKit(faces.samples[0].points)
    (first, *_) = evaluate(faces, FakeRestorer(faces), Severity.SEVERE, 1, kit=kit)  # type: ignore[arg-type]
    degraded = apply(faces.pixels[0], draw(Severity.SEVERE, generator_for(1, "0.png")))
    expected = np.linalg.norm(degraded.reshape(-1, 3).mean(axis=0) - faces.pixels[0].reshape(-1, 3).mean(axis=0))
    quality = first.rows["input"]
    assert quality.distance == pytest.approx(expected, abs=1e-4)
    assert quality.similarity == pytest.approx(np.exp(-expected), abs=1e-4)


def test_the_summary_pairs_each_row_with_the_same_crops_input() -> None:
    def result(person: str, before: float, generic: float, specific: float | None) -> Evaluated:
        values = {"input": before, "generic": generic} | ({} if specific is None else {"specific": specific})
        rows: Any = {row: Quality(value, value, 0.5, 1.0) for row, value in values.items()}
        return Evaluated(f"{person}.png", person, NOTHING, 1, rows)

    results = [result("ada", 20, 21, 23), result("ada", 22, 23, 25), result("bob", 40, 42, None)]
    summary = summarize(results)
    assert summary.counts == {"input": 3, "generic": 3, "specific": 2}
    assert summary.means["input"]["psnr"] == pytest.approx(82 / 3)
    assert "similarity" not in summary.means["input"]
    assert summary.gains["generic"]["psnr"].mean == pytest.approx(4 / 3)
    assert (summary.gains["generic"]["psnr"].low, summary.gains["generic"]["psnr"].high) == (1, 2)
    specific = summary.gains["specific"]["psnr"]  # against ada's inputs only; one person: nothing to resample
    assert (specific.mean, specific.low, specific.high) == (3, 3, 3)
    assert "input" not in summary.gains
    assert summarize(results) == summary
