"""Half precision beside float32, on real faces and with the network's own weights."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dmdcli.faces.face import component_boxes
from dmdcli.model import checkpoint
from dmdcli.model.restorer import BASE_WEIGHTS, Restorer

pytestmark = pytest.mark.slow
FACES = 6


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(-10 * np.log10(((one - other) ** 2).mean()))


@pytest.fixture(scope="module")
def faces(test_data: Path) -> tuple[np.ndarray, np.ndarray]:
    """(FACES, 512, 512, 3) uint8, blurred as old prints are, and their boxes."""
    points = json.loads((test_data / "faces" / "landmarks.json").read_text(encoding="utf-8"))
    crops, boxes = [], []
    for name in sorted(points)[:: len(points) // FACES][:FACES]:
        crop = cv2.imread(str(test_data / "faces" / "aligned_crops" / f"{name}.jpg"))
        assert crop is not None
        crops.append(cv2.GaussianBlur(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB), (0, 0), 4))
        boxes.append(component_boxes(np.array(points[name], np.float32)))
    return np.stack(crops), np.stack(boxes)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gives_the_same_pictures(faces: tuple[np.ndarray, np.ndarray], dtype: torch.dtype) -> None:
    """At least 45 dB; with a dictionary kept in half precision too."""
    crops, boxes = faces
    exact, halved = Restorer(checkpoint.load(BASE_WEIGHTS)), Restorer(checkpoint.load(BASE_WEIGHTS), dtype=dtype)
    person = exact.memorize(crops, boxes)
    kept = halved.recall(person.to_arrays())
    expected = exact.restore(crops, boxes, [person] * FACES)
    found = halved.restore(crops, boxes, [kept] * FACES)
    by_kept_alone = exact.restore(crops, boxes, [exact.recall(person.to_arrays())] * FACES)
    for one, other, third in zip(expected, found, by_kept_alone, strict=True):
        for part in ("generic", "specific"):
            assert psnr(getattr(one, part), getattr(other, part)) > 45
        assert psnr(one.best, third.best) > 45
    least = min(psnr(one.best, other.best) for one, other in zip(expected, found, strict=True))
    alone = min(psnr(one.best, third.best) for one, third in zip(expected, by_kept_alone, strict=True))
    print(f"{dtype}: {least:.1f} dB; the kept dictionary alone: {alone:.1f} dB")
