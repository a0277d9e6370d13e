from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dmdcli.errors import CannotGoOnError, UsageError
from dmdcli.evaluation.evaluate import Evaluated, evaluate
from dmdcli.evaluation.measures import Quality, gmsd, psnr
from dmdcli.evaluation.pairs import PairsFolder, make_pairs
from dmdcli.evaluation.rows import FILTERS, Filtered, Maker, Restored, Results, choose_rows
from dmdcli.evaluation.strips import ON_SHEET, faces_on_sheet
from dmdcli.evaluation.summary import comparisons, rows_of, split_by_session, subtract, summarize
from dmdcli.faces.face import Landmarks, component_boxes
from dmdcli.training.data import FaceData, read_faces
from dmdcli.training.degrade import Severity, apply, draw, generator_for, truth_for
from tests.test_evaluation_measures import NOTHING, picture

PEOPLE = ("ada", "bob", "ada", "cyd", "cyd", "cyd")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> FaceData:
    """Two crops of ada, one of bob, three of cyd."""
    folder = tmp_path_factory.mktemp("faces")
    (folder / "aligned_crops").mkdir()
    generator = np.random.default_rng(0)
    points = np.zeros((68, 2))
    points[17:22], points[22:27] = (190, 195), (320, 195)
    points[36:42], points[42:48], points[48:68] = (190, 240), (320, 240), (256, 370)
    landmarks, rows = {}, []
    for number, person in enumerate(PEOPLE):
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
    """Generic: the degraded crop. With references: moved to the true one by a tenth for each of the same person, and
    away from it by as much for each of somebody else.
    """

    def __init__(self, faces: FaceData) -> None:
        self.faces = faces
        self.memorized: list[list[int]] = []
        self.boxes: list[np.ndarray] = []

    def position(self, crop: np.ndarray) -> int:
        everybody = range(len(self.faces.pixels))
        return min(everybody, key=lambda number: float(np.abs(self.faces.pixels[number].astype(float) - crop).mean()))

    def memorize(self, crops: np.ndarray, boxes: np.ndarray) -> list[int]:
        self.memorized.append([self.position(crop) for crop in crops])
        assert boxes.shape == (len(crops), 3, 4)
        return self.memorized[-1]

    def restore(
        self, crops: np.ndarray, boxes: np.ndarray, dictionaries: list[list[int] | None], *, both: bool = True
    ) -> list[Any]:
        self.boxes += list(boxes)
        results = []
        for crop, dictionary in zip(crops, dictionaries, strict=True):
            before = crop.astype(np.float32) / 255
            target = self.position(crop)
            person = self.faces.samples[target].identity
            step = sum(0.1 if PEOPLE[number] == person else -0.1 for number in dictionary or ())
            after = before + np.float32(step) * (self.faces.pixels[target].astype(np.float32) / 255 - before)
            generic, specific = (before if both or dictionary is None else None), (after if dictionary else None)
            results.append(SimpleNamespace(generic=generic, specific=specific, best=after if dictionary else before))
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


def restored(faces: FaceData, rows: tuple[str, ...] = ("generic", "specific"), kit: Any = None) -> Maker:
    return Restored(FakeRestorer(faces), rows, kit)  # type: ignore[arg-type]


# pairs


def test_a_pair_depends_on_its_seed_and_name_alone(faces: FaceData) -> None:
    first, second = (list(make_pairs(faces, Severity.MODERATE, seeds)) for seeds in ((3, 4), (4,)))
    assert [pair.seed for pair in first] == [3] * 6 + [4] * 6
    for one, other in zip(first[6:], second, strict=True):
        assert np.array_equal(one.degraded, other.degraded)
        assert (one.references, one.strangers) == (other.references, other.strangers)
    truth = faces.pixels[0]
    expected = apply(truth, draw(Severity.MODERATE, generator_for(3, "0.png")))
    assert np.array_equal(first[0].degraded, expected), "the damage is that of dmd degrade"
    assert not np.array_equal(first[0].degraded, first[6].degraded)


def test_references_are_the_persons_and_strangers_are_one_other_persons(faces: FaceData) -> None:
    seen = set()
    for pair in make_pairs(faces, Severity.MILD, range(12)):
        assert sorted(pair.references) == sorted(faces.others(pair.position))
        assert len(pair.strangers) == len(pair.references), "as many, for somebody has so many"
        own = PEOPLE[pair.position]
        assert len({PEOPLE[stranger] for stranger in pair.strangers}) == bool(pair.references)
        assert own not in {PEOPLE[stranger] for stranger in pair.strangers}
        seen.add((pair.position, pair.references, pair.strangers))
    orders = {references for position, references, _ in seen if position == 3}
    assert orders == {(4, 5), (5, 4)}, "the order is drawn"
    assert len({strangers for position, _, strangers in seen if position == 0}) == 4, "bob, and three of cyd"


def test_the_truth_of_an_old_print_has_its_tone(faces: FaceData) -> None:
    (pair, *_) = make_pairs(faces, Severity.OLD, [0])
    degradation = draw(Severity.OLD, generator_for(0, "0.png"))
    assert np.array_equal(pair.truth, truth_for(faces.pixels[0], degradation))
    assert not np.array_equal(pair.truth, faces.pixels[0])
    (result, *_) = evaluate(faces, [pair], [])
    assert result.rows["input"].psnr == psnr(pair.degraded, pair.truth)
    (moderate, *_) = make_pairs(faces, Severity.MODERATE, [0])
    assert np.array_equal(moderate.truth, faces.pixels[0])


# rows


def test_rows_are_named_alone_and_in_groups() -> None:
    assert choose_rows(["specific", "generic"]) == ("generic", "specific")
    assert choose_rows(["input"]) == ()
    assert choose_rows(["filters", "nlm"]) == FILTERS
    assert choose_rows(["references", "specific-3"]) == (
        *("specific-1", "specific-2", "specific-3", "specific-4", "specific-7"),
        *("specific", "wrong"),
    )
    assert choose_rows(["all"]) == (*FILTERS, "generic", *choose_rows(["references"]))
    for wrong in ("best", "", "specific-0", "specific-"):
        with pytest.raises(UsageError, match="There is no row"):
            choose_rows([wrong])


@pytest.mark.slow
def test_each_row_takes_the_references_it_says(faces: FaceData) -> None:
    maker = restored(faces, ("generic", "specific-1", "specific-2", "specific-4", "specific", "wrong"))
    results = list(evaluate(faces, make_pairs(faces, Severity.MILD, [0]), [maker]))
    assert [list(result.rows) for result in results] == [
        ["input", "generic", "specific-1", "specific", "wrong"],
        ["input", "generic"],
        ["input", "generic", "specific-1", "specific", "wrong"],
        *[["input", "generic", "specific-1", "specific-2", "specific", "wrong"]] * 3,
    ]
    for result in results:
        rows = result.rows
        assert rows["generic"] == rows["input"]
        if result.references:
            assert rows["wrong"].psnr < rows["generic"].psnr < rows["specific-1"].psnr <= rows["specific"].psnr
        if result.references == 1:
            assert rows["specific"] == rows["specific-1"]
        if result.references == 2:  # each takes a tenth of the error away
            assert rows["specific"] == rows["specific-2"]
            assert rows["specific-1"].psnr - rows["generic"].psnr == pytest.approx(20 * np.log10(1 / 0.9), abs=0.1)
            assert rows["specific"].psnr - rows["generic"].psnr == pytest.approx(20 * np.log10(1 / 0.8), abs=0.1)


def test_a_crop_is_never_its_own_reference_and_nothing_is_memorized_twice(faces: FaceData) -> None:
    restorer = FakeRestorer(faces)
    list(evaluate(faces, make_pairs(faces, Severity.MILD, [0]), [Restored(restorer, ("generic", "specific"))]))  # type: ignore[arg-type]
    assert sorted(restorer.memorized) == [[0], [2], [3, 4], [3, 5], [4, 5]]
    assert len(restorer.boxes) == 6, "one encoding for generic and specific"


@pytest.mark.slow
def test_boxes_are_the_true_ones_unless_landmarks_are_to_be_found(faces: FaceData) -> None:
    for found in (False, True):
        kit = FakeKit(faces.samples[0].points + 7)
        restorer = FakeRestorer(faces)
        maker = Restored(restorer, ("generic",), kit if found else None)  # type: ignore[arg-type]
        list(evaluate(faces, make_pairs(faces, Severity.MILD, [0]), [maker], kit))  # type: ignore[arg-type]
        for sample, boxes in zip(faces.samples, restorer.boxes, strict=True):
            assert np.array_equal(boxes, component_boxes(kit.points if found else sample.points))


def test_two_things_of_one_name_are_refused(faces: FaceData, tmp_path: Path) -> None:
    for name in ("generic", "degradation"):
        (tmp_path / name).mkdir()
        makers = [restored(faces), Results(tmp_path / name)]
        with pytest.raises(UsageError, match=name):
            list(evaluate(faces, make_pairs(faces, Severity.MILD, [0]), makers))


# the evaluation


def test_the_input_is_measured_as_it_is(faces: FaceData) -> None:
    for result, truth in zip(evaluate(faces, make_pairs(faces, Severity.MODERATE, [5]), []), faces.pixels, strict=True):
        degraded = apply(truth, draw(Severity.MODERATE, generator_for(5, result.crop)))
        assert result.rows["input"].psnr == psnr(degraded, truth)
        assert result.rows["input"].gmsd == gmsd(degraded, truth)
        assert (result.seed, result.source) == (5, "generated")


def test_identity_is_measured_against_the_true_face_and_the_references(faces: FaceData) -> None:
    kit = FakeKit(faces.samples[0].points)
    first, alone, *_ = evaluate(faces, make_pairs(faces, Severity.SEVERE, [1]), [], kit)  # type: ignore[arg-type]
    degraded = apply(faces.pixels[0], draw(Severity.SEVERE, generator_for(1, "0.png")))
    looks, truth, reference = (
        pixels.reshape(-1, 3).mean(axis=0) for pixels in (degraded, faces.pixels[0], faces.pixels[2])
    )
    quality = first.rows["input"]
    assert quality.distance == pytest.approx(np.linalg.norm(looks - truth), abs=1e-4)
    assert quality.similarity == pytest.approx(np.exp(-np.linalg.norm(looks - truth)), abs=1e-4)
    assert quality.reference_similarity == pytest.approx(np.exp(-np.linalg.norm(looks - reference)), abs=1e-4)
    assert quality.landmark_distance == 0
    assert alone.rows["input"].reference_similarity is None


# written pairs, and the results of others


@pytest.mark.slow
def test_pairs_are_written_and_results_are_read(faces: FaceData, tmp_path: Path) -> None:
    folder = tmp_path / "pairs"
    pairs = list(PairsFolder(folder, faces, tmp_path / "source").add_all(make_pairs(faces, Severity.MODERATE, (0, 1))))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["format"] == 1
    assert len(manifest["pairs"]) == 12
    for pair, written in zip(pairs, manifest["pairs"], strict=True):
        degraded, truth = (np.asarray(Image.open(folder / written[part])) for part in ("degraded", "truth"))
        assert np.array_equal(degraded, pair.degraded)
        assert np.array_equal(truth, pair.truth)
        assert written["degradation"] == pair.degradation.to_dict()
        assert np.array_equal(written["boxes"], component_boxes(faces.samples[pair.position].points))
        people = [PEOPLE[int(Path(name).stem)] for name in written["references"]]
        assert people == [written["identity"]] * len(pair.references)
        assert all((folder / name).is_file() for name in written["references"] + written["wrong_references"])
    results = list(evaluate(faces, pairs[6:9], [Results(folder / "degraded")]))
    assert all(result.rows["degraded"] == result.rows["input"] for result in results)

    (folder / "degraded" / "seed-1" / "2.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match="damaged"):
        list(evaluate(faces, pairs[6:9], [Results(folder / "degraded")]))
    Image.new("RGB", (256, 512)).save(folder / "degraded" / "seed-1" / "2.png")
    with pytest.raises(UsageError, match="256 x 512"):
        list(evaluate(faces, pairs[6:9], [Results(folder / "degraded")]))
    (folder / "degraded" / "seed-1" / "2.png").unlink()
    with pytest.raises(UsageError, match="does not exist"):
        list(evaluate(faces, pairs[6:9], [Results(folder / "degraded")]))


def test_pairs_go_to_a_new_folder_only(faces: FaceData, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").touch()
    with pytest.raises(UsageError, match="holds something"):
        PairsFolder(tmp_path / "full", faces, tmp_path / "source")
    with pytest.raises(UsageError, match="holds something"):
        PairsFolder(tmp_path / "full" / "letter.txt", faces, tmp_path / "source")
    with pytest.raises(CannotGoOnError, match="cannot be written"):
        PairsFolder(tmp_path / "full" / "letter.txt" / "pairs", faces, tmp_path / "source")


# the summary


def quality(value: float) -> Quality:
    return Quality(value, value, 0.5, 0.5, 0.1, 0.1, 1.0)


def result(person: str, source: str = "x/1.jpg", **values: float) -> Evaluated:
    rows = {row.replace("_", "-"): quality(value) for row, value in values.items()}
    return Evaluated(f"{person}.png", person, source, 0, NOTHING, 1, rows)


def test_the_summary_pairs_each_row_with_the_same_crops_input() -> None:
    results = [
        result("ada", input=20, generic=21, specific=23),
        result("ada", input=22, generic=23, specific=25),
        result("bob", input=40, generic=42),
    ]
    summary = summarize(results)
    assert summary.counts == {"input": 3, "generic": 3, "specific": 2}
    assert summary.means["input"]["psnr"] == pytest.approx(82 / 3)
    assert "similarity" not in summary.means["input"]
    assert summary.gains["generic"]["psnr"].mean == pytest.approx(4 / 3)
    assert (summary.gains["generic"]["psnr"].low, summary.gains["generic"]["psnr"].high) == (1, 2)
    specific = summary.gains["specific"]["psnr"]  # against ada's inputs only; one person: nothing to resample
    assert (specific.mean, specific.low, specific.high) == (3, 3, 3)
    assert "input" not in summary.gains
    assert [(one.row, one.base) for one in summary.differences] == [
        ("generic", "input"),
        ("specific", "input"),
        ("specific", "generic"),
    ]
    over_generic = summary.differences[-1]
    assert (over_generic.row, over_generic.base, over_generic.faces, over_generic.people) == (
        *("specific", "generic"),
        *(2, 1),
    )
    assert over_generic.gains["psnr"].mean == 2
    assert summarize(results) == summary


def test_intervals_are_over_people_not_over_faces() -> None:
    """Sixteen faces of one person do not make an interval of two people any narrower."""
    few = [result("ada", input=0, generic=1), result("bob", input=0, generic=3)]
    many = few * 16
    one, other = (subtract(results, "generic", "input").gains["psnr"] for results in (few, many))
    assert (one.low, one.mean, one.high) == (other.low, other.mean, other.high) == (1, 2, 3)


def test_what_is_compared_with_what() -> None:
    rows = ["input", "nlm", "generic", "specific-1", "specific", "wrong", "GFPGAN"]
    assert comparisons(rows) == [
        *((row, "input") for row in rows[1:]),
        ("specific-1", "generic"),
        ("specific", "generic"),
        ("wrong", "generic"),
        ("specific", "wrong"),
        ("generic", "nlm"),
        ("generic", "GFPGAN"),
        ("specific", "GFPGAN"),
    ]
    assert comparisons(["input", "nlm", "wrong"]) == [("nlm", "input"), ("wrong", "input")]


def test_rows_keep_their_order_where_no_face_has_them_all() -> None:
    results = [result("ada", input=1, generic=1, other=1), result("bob", input=1, generic=1, specific=1, other=1)]
    assert rows_of(results) == ["input", "generic", "specific", "other"]


def test_studio_pairs_are_told_from_others() -> None:
    results = [
        result("ada", "london/1.jpg", input=1),
        result("bob", "gpo/london/1.jpg", input=1),
        result("cyd", "canada/2.jpg", input=1),
    ]
    split = split_by_session(results)
    assert {name: [one.identity for one in part] for name, part in split.items()} == {
        "studio": ["ada", "cyd"],
        "others": ["bob"],
    }
    assert list(split_by_session(results[:1])) == ["studio"]


def test_filters_are_rows(faces: FaceData) -> None:
    pairs = list(make_pairs(faces, Severity.MODERATE, [0]))[:1]
    ((made),) = Filtered(("bicubic", "unsharp")).make(faces, pairs)
    assert list(made) == ["bicubic", "unsharp"]
    assert not np.array_equal(made["unsharp"], pairs[0].degraded)


def test_the_sheet_shows_one_face_each_of_people_with_several(faces: FaceData) -> None:
    assert faces_on_sheet(faces) == (0, 3), "ada and cyd, not bob"
    many = {f"person {number}": (2 * number, 2 * number + 1) for number in range(50)}
    shown = faces_on_sheet(replace(faces, people=many))
    assert len(shown) == ON_SHEET
    assert max(shown) > 80, "spread over all"
    assert faces_on_sheet(replace(faces, people={"bob": (1,)})) == (1,)
