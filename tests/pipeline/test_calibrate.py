"""The curve from distance to similarity: fitted to known pairs, kept, read again, and used."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dmdcli.errors import LibraryFormatError, UsageError
from dmdcli.faces.identity import Curve
from dmdcli.pipeline.calibrate import (
    LabelledPhoto,
    calibrate,
    curve_path,
    fit_logistic,
    keep_curve,
    look_at,
    read_curve,
)
from dmdcli.places import find_photos


def labelled(people: int, photos: int, spread: float, seed: int = 0) -> list[LabelledPhoto]:
    """Photos whose embeddings scatter by `spread` around their person's own place."""
    generator = np.random.default_rng(seed)
    places = generator.standard_normal((people, 16))
    return [
        LabelledPhoto(Path(f"{person}-{number}.jpg"), f"person {person}", row.astype(np.float32))
        for person in range(people)
        for number, row in enumerate(places[person] + spread * generator.standard_normal((photos, 16)))
    ]


def test_the_fit_recovers_the_curve_the_pairs_were_drawn_from() -> None:
    generator = np.random.default_rng(3)
    wanted = Curve(middle=0.6, slope=20.0, source="", measured=True)
    distances = generator.uniform(0.2, 1.0, 200_000)
    same = generator.random(len(distances)) < wanted(distances)
    middle, slope = fit_logistic(distances, same)
    assert middle == pytest.approx(0.6, abs=0.005)
    assert slope == pytest.approx(20, rel=0.03)


def test_both_kinds_of_pairs_weigh_the_same() -> None:
    same, different = np.linspace(0.2, 0.55, 50), np.linspace(0.45, 1.0, 50)
    few = fit_logistic(np.concatenate([same, different]), np.arange(100) < 50)
    many = fit_logistic(np.concatenate([same, np.tile(different, 100)]), np.arange(50 + 5000) < 50)
    assert many == pytest.approx(few, rel=1e-4)


def test_pairs_that_do_not_overlap_have_a_finite_slope_and_the_middle_between_them() -> None:
    calibration = calibrate(labelled(6, 4, 0.02), "kit-1")
    assert calibration.same.max() < calibration.curve.middle < calibration.different.min()
    assert 0 < calibration.curve.slope < 1000
    assert (len(calibration.same), len(calibration.different), calibration.people) == (6 * 6, 15 * 16, 6)
    assert calibration.gap == (calibration.same.max(), calibration.different.min())
    assert calibrate(labelled(6, 4, 1.0), "kit-1").gap is None
    assert calibration.misnamed(calibration.curve) == calibration.unrecognised(calibration.curve) == 0
    generous = Curve(calibration.different.max() + 1, 10.0, "", measured=False)
    assert calibration.misnamed(generous) == 1


def test_too_few_pairs_are_refused_in_a_sentence() -> None:
    with pytest.raises(UsageError, match="6 pairs of photos of one person and 0 of two people are too few"):
        calibrate(labelled(1, 4, 0.1), "kit-1")
    with pytest.raises(UsageError, match="0 pairs"):
        calibrate([LabelledPhoto(Path("a.jpg"), "somebody", reason="no face")], "kit-1")


def test_photos_in_the_wrong_folders_give_no_curve() -> None:
    """Kept, a curve that rises with the distance would be refused as damaged by every command after it."""
    of_two = [
        dataclasses.replace(photo, person=photo.photo.stem.partition("-")[2]) for photo in labelled(4, 6, spread=0.02)
    ]
    with pytest.raises(UsageError, match="no more alike here than photos of two"):
        calibrate(of_two, "kit-1")


def test_a_curve_is_kept_for_one_kit_and_read_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert read_curve(home, "kit-1") is None
    calibration = calibrate(labelled(6, 4, 0.1), "kit-1")
    path = keep_curve(home, calibration)
    assert path.stat().st_mode & 0o777 == 0o600
    kept = read_curve(home, "kit-1")
    assert kept is not None
    assert (kept.middle, kept.slope) == pytest.approx((calibration.curve.middle, calibration.curve.slope), abs=1e-4)
    assert kept.measured
    assert kept.fitted
    assert "36 pairs of one person and 240 of two" in kept.source
    assert read_curve(home, "kit-2") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format 2; this version of dmd reads up to format 1"),
        ({"slope": -1}, "damaged"),
        ({"middle": "far"}, "damaged"),
        ({"middle": float("nan")}, "damaged"),
        ({"source": None, "slope": None}, "damaged"),
    ],
)
def test_a_damaged_or_newer_curve_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    keep_curve(tmp_path, calibrate(labelled(6, 4, 0.1), "kit-1"))
    path = curve_path(tmp_path, "kit-1")
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(LibraryFormatError, match=message):
        read_curve(tmp_path, "kit-1")


def test_photos_without_one_face_say_why(tmp_path: Path) -> None:
    for name, shade in (("one", 10), ("two", 20), ("none", 0)):
        Image.new("RGB", (40, 40), (shade, 0, 0)).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    usable = SimpleNamespace(rejected=None, embedding=np.ones(3, np.float32))
    rejected = SimpleNamespace(rejected="too small")

    class Finder:
        def find(self, pixels: np.ndarray) -> list[Any]:
            return [usable] * (int(pixels[0, 0, 0]) // 10) + [rejected]

    seen = {one.photo.stem: one for one in look_at({"somebody": find_photos([tmp_path])}, Finder())}  # type: ignore[arg-type]
    assert seen["one"].embedding is not None
    assert seen["one"].reason is None
    assert (seen["two"].reason, seen["none"].reason) == ("2 faces; one is needed", "no faces; one is needed")
    assert seen["broken"].reason is not None
