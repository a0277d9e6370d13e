"""The building blocks: 3 x 3 convolutions, and what follows them done in the same pass where that is possible.

On a CPU, where nothing is learnt, oneDNN applies the activation and adds the residual while it writes a convolution's
result. In bfloat16 each further pass over a large map would cost as much as the convolution itself.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2
"""Of the LeakyReLU for numbers below 0, throughout the network."""


def conv(source: int, target: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """3 x 3, with bias, and zero padding that keeps the size."""
    return nn.Conv2d(source, target, 3, stride, padding=dilation, dilation=dilation)


class ConvPair(nn.Sequential):
    """Two convolutions with an activation between them: the network's building block."""

    def __init__(self, source: int, target: int, stride: int = 1, dilations: tuple[int, int] = (1, 1)) -> None:
        first = conv(source, target, stride, dilations[0])
        super().__init__(first, nn.LeakyReLU(SLOPE), conv(target, target, dilation=dilations[1]))

    def forward(self, x: Tensor, plus: Tensor | None = None, activated: bool = False) -> Tensor:
        """As `convolve` with the second of the two."""
        return convolve(convolve(x, self[0], activated=True), self[2], plus, activated)


class Residual(ConvPair):
    """x + f(x); x is overwritten where nothing is learnt."""

    def __init__(self, channels: int, dilations: tuple[int, int] = (1, 1)) -> None:
        super().__init__(channels, channels, dilations=dilations)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x, plus=x)


def convolve(x: Tensor, layer: nn.Module, plus: Tensor | None = None, activated: bool = False) -> Tensor:
    """The convolution `layer` of x, then `plus` added or LeakyReLU applied; not both.

    x: (B, C, H, W). plus: of the result's shape and dtype; where nothing is learnt it is overwritten with the result,
    for on a CPU memory that was never written to costs a third of a convolution.
    """
    assert isinstance(layer, nn.Conv2d)
    if is_fused(x):
        # Private to PyTorch, whose own compiler makes these calls: `_fuses` tries them before they are relied on.
        how = (list(layer.padding), list(layer.stride), list(layer.dilation), layer.groups)
        if plus is not None:
            torch.ops.mkldnn._convolution_pointwise_.binary(
                plus, x, layer.weight, layer.bias, *how, "add", None, None, [], None
            )
            return plus
        after = ("leaky_relu", [SLOPE]) if activated else ("none", [])
        fused: Tensor = torch.ops.mkldnn._convolution_pointwise(x, layer.weight, layer.bias, *how, *after, "")
        return fused
    y: Tensor = layer(x)
    learns = torch.is_grad_enabled()
    if activated:
        return F.leaky_relu(y, SLOPE, inplace=not learns)
    if plus is None:
        return y
    return plus + y if learns else plus.add_(y)


def is_fused(x: Tensor) -> bool:
    """Whether convolutions of x can be given something to do in the same pass."""
    if x.device.type != "cpu" or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return False
    return _fuses(x.dtype)


@functools.cache
def _fuses(dtype: torch.dtype) -> bool:
    """Whether this PyTorch and this processor have fused convolutions for a dtype, and they are right."""
    if dtype not in (torch.float32, torch.bfloat16):
        return False
    x, weight = torch.linspace(-1, 1, 256).view(1, 4, 8, 8), torch.linspace(-1, 1, 144).view(4, 4, 3, 3)
    given = [one.to(dtype, memory_format=torch.channels_last) for one in (x, weight)]
    how = ([1, 1], [1, 1], [1, 1], 1)
    try:
        act = torch.ops.mkldnn._convolution_pointwise(*given, None, *how, "leaky_relu", [SLOPE], "")
        add = given[0].clone()
        torch.ops.mkldnn._convolution_pointwise_.binary(add, *given, None, *how, "add", None, None, [], None)
    except (RuntimeError, AttributeError):
        return False
    plain = F.conv2d(x, weight, padding=1)
    near = functools.partial(torch.allclose, rtol=0.02, atol=0.02)
    return near(act.float(), F.leaky_relu(plain, SLOPE)) and near(add.float(), plain + x)
