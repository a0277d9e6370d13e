"""Pixels as the network takes them, and the precision it computes in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor


def images(pixels: np.ndarray[Any, np.dtype[np.uint8]] | Tensor) -> Tensor:
    """(B, 512, 512, 3) uint8 RGB to (B, 3, 512, 512) float32 in [-1, 1], channels last in memory."""
    tensor = torch.from_numpy(np.ascontiguousarray(pixels)) if isinstance(pixels, np.ndarray) else pixels
    return tensor.permute(0, 3, 1, 2).float() / 127.5 - 1


def mixed_precision(device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 autocast where it helps: on CUDA, and on CPUs (matrix units or not, it halves the memory traffic)."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if device.type in ("cuda", "cpu") else nullcontext()
