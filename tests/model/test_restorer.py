"""The floor between NumPy and torch."""

from __future__ import annotations

import copy

import cv2
import numpy as np
import pytest
import torch

from dmdcli.errors import DeviceError, ShapeError, WeightsError
from dmdcli.model.dmdnet import DMDConfig, DMDNet
from dmdcli.model.restorer import Precision, Restorer, choose_device, choose_dtype
from tests.model.conftest import BOXES, random_net


@pytest.fixture
def crops() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 512, 512, 3), dtype=np.uint8)


@pytest.fixture
def boxes() -> np.ndarray:
    return np.stack([BOXES, BOXES + 3, BOXES - 2])


def test_people_and_strangers(net: DMDNet, crops: np.ndarray, boxes: np.ndarray) -> None:
    restorer = Restorer(net, batch_size=2)
    person = restorer.memorize(crops[:1], boxes[:1])
    known, stranger, known_too = restorer.restore(crops, boxes, [person, None, person])
    assert stranger.specific is None
    assert stranger.generic is not None
    assert known.generic is not None
    assert known.specific is not None
    assert known.specific.shape == (512, 512, 3)
    assert known.specific.dtype == np.float32
    assert known.specific.min() >= 0
    assert known.specific.max() <= 1
    assert known.best is known.specific
    assert stranger.best is stranger.generic
    assert not np.array_equal(known.specific, known.generic)
    only = restorer.restore(crops, boxes, [person, None, person], both=False)
    assert only[0].generic is None
    np.testing.assert_allclose(only[0].best, known.best, atol=1e-5)
    np.testing.assert_allclose(only[1].best, stranger.best, atol=1e-5)
    np.testing.assert_allclose(only[2].best, known_too.best, atol=1e-5)


def test_floats_and_bytes_are_the_same_picture(net: DMDNet, crops: np.ndarray, boxes: np.ndarray) -> None:
    restorer = Restorer(net)
    as_bytes = restorer.restore(crops[:1], boxes[:1], [None])[0].best
    as_floats = restorer.restore((crops[:1] / 255).astype(np.float32), boxes[:1], [None])[0].best
    np.testing.assert_allclose(as_floats, as_bytes, atol=1e-5)


def test_memorising_in_parts_is_memorising(net: DMDNet, crops: np.ndarray, boxes: np.ndarray) -> None:
    whole, parts = (
        Restorer(net, batch_size=3).memorize(crops, boxes),
        Restorer(net, batch_size=1).memorize(crops, boxes),
    )
    assert whole.entries == parts.entries == 3
    torch.testing.assert_close(whole.memories["mouth_64"].value, parts.memories["mouth_64"].value, atol=1e-5, rtol=0)


def test_the_batch_is_halved_when_memory_runs_out(
    crops: np.ndarray, boxes: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = random_net(DMDConfig(8, 4))
    encode, sizes = net.encode, []

    def small_memory(images: torch.Tensor, boxes: torch.Tensor) -> object:
        sizes.append(len(images))
        if len(images) > 1:
            raise torch.OutOfMemoryError("no")
        return encode(images, boxes)

    monkeypatch.setattr(net, "encode", small_memory)
    assert len(Restorer(net, batch_size=3).restore(crops, boxes, [None] * 3)) == 3
    assert sizes == [3, 1, 1, 1]
    monkeypatch.setattr(net, "encode", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("no")))
    with pytest.raises(DeviceError, match="one picture at a time"):
        Restorer(net).restore(crops, boxes, [None] * 3)


def test_the_batch_grows_again_when_memory_has_sufficed(
    crops: np.ndarray, boxes: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = random_net(DMDConfig(4, 2))
    encode, sizes, fits = net.encode, [], [1]

    def encoding(images: torch.Tensor, boxes: torch.Tensor) -> object:
        sizes.append(len(images))
        if len(images) > fits[0]:
            raise torch.OutOfMemoryError("no")
        return encode(images, boxes)

    monkeypatch.setattr(net, "encode", encoding)
    monkeypatch.setattr("dmdcli.model.restorer.SUFFICES", 2)
    restorer = Restorer(net, batch_size=3)
    restorer.restore(crops, boxes, [None] * 3)
    assert sizes == [3, 1, 1, 1]
    fits[0] = 3
    sizes.clear()
    for _ in range(3):
        restorer.restore(crops, boxes, [None] * 3)
    assert sizes == [2, 1, 3, 3]


def test_wrong_arrays_are_refused(net: DMDNet, crops: np.ndarray, boxes: np.ndarray) -> None:
    restorer = Restorer(net)
    with pytest.raises(ShapeError, match="crops"):
        restorer.restore(crops[:, :256], boxes, [None] * 3)
    with pytest.raises(ShapeError, match="3 crops, 3 boxes, 1 dictionaries"):
        restorer.restore(crops, boxes, [None])
    with pytest.raises(ShapeError):
        restorer.memorize(crops[:0], boxes[:0])


def test_a_device_that_is_not_there_is_refused_by_name() -> None:
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(DeviceError, match="'abacus'"):
        choose_device("abacus")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match=r"'cuda' here; there is cpu"):
            choose_device("cuda")


def test_an_answer_that_is_not_a_number_is_no_answer(crops: np.ndarray, boxes: np.ndarray) -> None:
    net = random_net(DMDConfig(8, 4))
    net.head[4].bias[0] = float("nan")
    with pytest.raises(WeightsError, match="not a number"):
        Restorer(net).restore(crops[:1], boxes[:1], [None])


def test_what_overflows_in_half_precision_is_computed_again(crops: np.ndarray, boxes: np.ndarray) -> None:
    net = random_net(DMDConfig(8, 4))
    with torch.no_grad():
        net.head[0].weight *= 6e4 / net.head[0].weight.abs().max()
    (exact,) = Restorer(copy.deepcopy(net)).restore(crops[:1], boxes[:1], [None])
    halved = Restorer(net, dtype=torch.float16)
    (found,) = halved.restore(crops[:1], boxes[:1], [None])
    assert (np.abs(found.best - exact.best) < 0.02).mean() > 0.9
    with pytest.raises(WeightsError, match="not a number in"):
        halved._restore_batch(crops[:1], boxes[:1], [None], both=True)


def test_nothing_is_decoded_twice(
    net: DMDNet, crops: np.ndarray, boxes: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    restorer = Restorer(net, batch_size=3)
    person = restorer.memorize(crops[:1], boxes[:1])
    asked: list[int] = []
    answer = net.answer
    monkeypatch.setattr(net, "answer", lambda features, given: asked.append(len(given)) or answer(features, given))
    restorer.restore(crops, boxes, [None, person, None])
    assert sum(asked) == 4
    asked.clear()
    restorer.restore(crops, boxes, [None, person, None], both=False)
    assert sum(asked) == 3


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_near(net: DMDNet, crops: np.ndarray, boxes: np.ndarray, precision: Precision) -> None:
    exact = Restorer(copy.deepcopy(net))
    half = Restorer(copy.deepcopy(net), dtype=getattr(torch, precision))
    faces = np.stack([cv2.GaussianBlur(crop, (0, 0), 8) for crop in crops[:1]])
    told = [one.restore(faces, boxes[:1], [one.memorize(faces, boxes[:1])])[0] for one in (exact, half)]
    for kind in ("generic", "specific"):
        error = np.mean((getattr(told[0], kind) - getattr(told[1], kind)) ** 2)
        assert -10 * np.log10(error) > 40


def test_precision_follows_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert choose_dtype(torch.device("cpu")) == torch.float32
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert choose_dtype(torch.device("cpu")) == torch.bfloat16
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported")
    assert choose_dtype(torch.device("cpu")) == torch.float32
    assert choose_dtype(torch.device("mps")) == torch.float16
