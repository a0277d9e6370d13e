"""What the training minimises: differences of pixels and of their gradients, the components counted more."""

from __future__ import annotations

import torch
from torch import Tensor

from dmdcli.model.dictionary import Dictionary
from dmdcli.shapes import CROP
from dmdcli.training.distributed import ALONE, Processes


def pixel_weights(target_boxes: Tensor, sample_weights: Tensor, component_weight: float) -> Tensor:
    """Return (B, 1, 512, 512) float32: the sample's weight, times `component_weight` inside its three boxes.

    target_boxes: (B, 3, 4) int64 crop pixels. sample_weights: (B,) float32.
    """
    line = torch.arange(CROP, device=target_boxes.device)
    across = (line >= target_boxes[..., :1]) & (line < target_boxes[..., 2:3])
    down = (line >= target_boxes[..., 1:2]) & (line < target_boxes[..., 3:])
    inside = (down[..., :, None] & across[..., None, :]).any(dim=1, keepdim=True)
    return sample_weights[:, None, None, None] * torch.where(inside, component_weight, 1.0)


def reconstruction_loss(
    output: Tensor, target: Tensor, weights: Tensor, gradient_weight: float, processes: Processes = ALONE
) -> Tensor:
    """Return the weighted mean of |output - target| plus `gradient_weight` times that of the gradients' differences.

    output, target: (B, 3, 512, 512) in [-1, 1]. weights: (B, 1, 512, 512). The gradients are differences of
    neighbouring pixels, across and down. Returns a scalar: this process's share of the whole batch's loss.
    """
    difference = output.float() - target.float()
    across = (difference[..., 1:] - difference[..., :-1]).abs() * weights[..., 1:]
    down = (difference[..., 1:, :] - difference[..., :-1, :]).abs() * weights[..., 1:, :]
    total = (difference.abs() * weights).mean() + gradient_weight * (across.mean() + down.mean())
    return total / processes.total(weights.mean()).clamp(min=1e-6)


def memory_size(memorised: Dictionary) -> Tensor:
    """Return how large each reference's values are, (M,): the mean over its patches of log(1 + mean square)."""
    sizes = [memory.value.float().square().flatten(1).mean(dim=1) for memory in memorised.memories.values()]
    return torch.stack(sizes).log1p().mean(dim=0)
