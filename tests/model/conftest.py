"""Small networks with random weights, and boxes of a plausible face."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dmdcli.model.dmdnet import DMDConfig, DMDNet

BOXES = np.array([[148, 184, 234, 269], [275, 184, 361, 270], [195, 318, 315, 437]], dtype=np.int64)


def random_net(config: DMDConfig, seed: int = 0) -> DMDNet:
    """A network whose parts all matter: signals neither die nor saturate, reads are neither flat nor one-hot."""
    torch.manual_seed(seed)
    net = DMDNet(config).eval().requires_grad_(False)
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, a=0.8)
            torch.nn.init.normal_(module.bias, 0, 0.05)
    for name in net.query:
        net.query[name][2].weight *= 0.1
    for parameter in (*net.memory_key.values(), *net.memory_value.values()):
        parameter.normal_(0, 0.3)
    return net


@pytest.fixture(scope="session")
def net() -> DMDNet:
    return random_net(DMDConfig(width=8, entries=4))


@pytest.fixture
def faces() -> tuple[torch.Tensor, torch.Tensor]:
    """Three noise pictures (3, 3, 512, 512) in [-1, 1] and their boxes (3, 3, 4), each a little different."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(3, 3, 512, 512, generator=generator) * 2 - 1
    boxes = torch.from_numpy(np.stack([BOXES, BOXES + 5, BOXES + np.array([1, 2, 4, 3])]))
    return images, boxes
