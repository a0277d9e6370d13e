"""The degradations that published figures were measured with stay what they are, to the byte."""

from __future__ import annotations

import hashlib
import json

import cv2
import numpy as np
import pytest

from dmdcli.training.degrade import Severity, apply, draw, generator_for

DRAWN = {
    Severity.MILD: "5c00bf761d1893b062fa402927ffb5713070352b4e874a7f5cc8552200758c88",
    Severity.MODERATE: "b5c8d92f502c7a1b1e64c992f2296c42a9c6ecb397989937fb2532cd454178ff",
    Severity.SEVERE: "3645eed43e71070ee7cf0a5673827d9d046ff78c5db6484a22680d62ebd2fb27",
}
"""SHA-256 of the parameters of seeds 0 to 99 for the file name golden.png, as JSON, one after the other."""

APPLIED = {
    Severity.MILD: "8f8e5eacaec7ceb293d23f4e2bb694dedcc3b9bac20001b74efd508c7c24af3e",
    Severity.MODERATE: "00b945f17122b0d6cb34379f09c627e1af76c7027d8b2c3807dae4713dcadba7",
    Severity.SEVERE: "f0c2c7c985978ebab0f7ffa1a96795f3e0fe19def1ea5a45611e18afb6f268df",
}
"""SHA-256 of one picture degraded with seeds 0 to 7, by OpenCV 5.0.0; other releases may round JPEG otherwise."""


@pytest.mark.parametrize("severity", DRAWN)
def test_the_same_parameters_are_drawn_for_ever(severity: Severity) -> None:
    digest = hashlib.sha256()
    for seed in range(100):
        digest.update(json.dumps(draw(severity, generator_for(seed, "golden.png")).to_dict()).encode())
    assert digest.hexdigest() == DRAWN[severity]


@pytest.mark.skipif(cv2.__version__ != "5.0.0", reason="the bytes were recorded with OpenCV 5.0.0")
@pytest.mark.parametrize("severity", APPLIED)
def test_they_make_the_same_bytes(severity: Severity) -> None:
    small = np.random.default_rng(11).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    picture = np.asarray(cv2.resize(small, (256, 256), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    digest = hashlib.sha256()
    for seed in range(8):
        digest.update(apply(picture, draw(severity, generator_for(seed, "golden.png"))).tobytes())
    assert digest.hexdigest() == APPLIED[severity]
