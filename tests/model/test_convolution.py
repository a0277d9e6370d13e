"""Convolutions with what follows them in the same pass, and the same network with and without gradients."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
import torch.nn.functional as F

from dmdcli.model import convolution
from dmdcli.model.convolution import SLOPE, conv, convolve, is_fused
from dmdcli.model.dmdnet import DMDNet

Faces = tuple[torch.Tensor, torch.Tensor]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 4)])
def test_what_follows_a_convolution(dtype: torch.dtype, stride: int, dilation: int) -> None:
    torch.manual_seed(0)
    layer = conv(6, 10, stride, dilation).to(dtype, memory_format=torch.channels_last).requires_grad_(False)
    x = torch.randn(2, 6, 20, 24).to(dtype, memory_format=torch.channels_last)
    expected = layer(x).float()
    plus = torch.randn_like(expected).to(dtype)
    for learns in (True, False):
        with torch.set_grad_enabled(learns):
            near = {"rtol": 0.02, "atol": 0.02} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-5}
            torch.testing.assert_close(convolve(x, layer).float(), expected, **near)
            activated = convolve(x, layer, activated=True)
            torch.testing.assert_close(activated.float(), F.leaky_relu(expected, SLOPE), **near)
            given = plus.clone()
            torch.testing.assert_close(convolve(x, layer, plus=given).float(), expected + plus.float(), **near)
            assert torch.equal(given, plus) == learns, "no memory is taken for the sum where nothing is learnt"
            assert activated.dtype == dtype


def test_only_what_learns_nothing_on_a_cpu_is_fused() -> None:
    x = torch.zeros(1, 4, 8, 8)
    assert not is_fused(x)
    with torch.inference_mode():
        assert is_fused(x) == torch.backends.mkldnn.is_available()
        assert not is_fused(x.double())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert not is_fused(x)


def test_a_pytorch_that_fuses_otherwise_is_not_relied_on(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = mock.Mock(side_effect=lambda x, *_: x * 0)
    wrong.binary = wrong
    monkeypatch.setattr(convolution.torch.ops.mkldnn, "_convolution_pointwise", wrong, raising=False)
    convolution._fuses.cache_clear()
    try:
        assert not convolution._fuses(torch.float32)
        wrong.side_effect = RuntimeError("other arguments")
        convolution._fuses.cache_clear()
        assert not convolution._fuses(torch.float32)
    finally:
        convolution._fuses.cache_clear()


def test_restoring_is_the_same_with_and_without_gradients(net: DMDNet, faces: Faces) -> None:
    images, boxes = faces
    person = net.memorize(images[:2], boxes[:2])
    learning = net(images, boxes, [None, person, None])
    with torch.inference_mode():
        torch.testing.assert_close(net(images, boxes, [None, person, None]), learning, rtol=0, atol=2e-5)


def test_several_answers_of_one_face(net: DMDNet, faces: Faces) -> None:
    images, boxes = faces
    with torch.inference_mode():
        one, other = net.memorize(images[:1], boxes[:1]), net.memorize(images[1:], boxes[1:])
        features = net.encode(images, boxes)
        answers = net.answer(features, [(2, one), (0, None), (2, other), (2, None)])
        expected = [net.decode(features, one)[2], net.decode(features)[0], net.decode(features, other)[2]]
        torch.testing.assert_close(answers, torch.stack([*expected, net.decode(features)[2]]), rtol=0, atol=2e-5)
