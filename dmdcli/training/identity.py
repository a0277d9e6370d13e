"""The identity loss: an answer must be recognised as the person in the truth.

Any recogniser that runs in torch will do; ours is the full kit's ArcFace, where its file is in the weights folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmdcli import weights
from dmdcli.errors import WeightsMissingError
from dmdcli.faces.align import TEMPLATE, crop_matrix, invert
from dmdcli.faces.full import RECOGNITION_SIDE, RECOGNITION_TEMPLATE
from dmdcli.faces.full_networks import load
from dmdcli.shapes import CROP
from dmdcli.training.distributed import ALONE, Processes

BLOCK = 3
"""Pixels of a crop that are averaged before it is sampled: a pixel of the recogniser's picture is 3.6 of them wide."""


class Recogniser(Protocol):
    """Tells people apart."""

    def __call__(self, faces: Tensor, /) -> Tensor:
        """Embeddings (B, D) float32 of aligned crops (B, 3, 512, 512) float32 RGB in [-1, 1]; differentiable.

        Their direction says who it is, whatever their length.
        """


def identity_loss(
    recognise: Recogniser,
    answers: Sequence[Tensor],
    target: Tensor,
    counts: Sequence[Tensor],
    processes: Processes = ALONE,
) -> Tensor:
    """1 minus the cosine between the embeddings of answers and truth, meaned; this process's share of it, a scalar.

    answers, target: (B, 3, 512, 512) in [-1, 1]. counts: for each answer (B,) float, how much each of its faces counts.
    Gradients flow to the answers alone.
    """
    with torch.no_grad():
        truth = recognise(target.float())
    answered = recognise(torch.cat([answer.float() for answer in answers]))
    distances = 1 - F.cosine_similarity(answered, truth.repeat(len(answers), 1), dim=1)
    return processes.mean(distances, torch.cat(list(counts)))


class ArcFace(nn.Module):
    """ArcFace IR-SE50 on aligned crops, without their landmarks: an aligned crop has its five points in fixed places.

    It sees what `FullKit.embed` shows it, but by that fixed transform, bilinearly, and without the mirror image.
    net: (N, 3, 112, 112) BGR in [-1, 1] -> (N, 512).
    """

    grid: Tensor

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net.requires_grad_(False).eval()
        self.register_buffer("grid", _sampling_grid(), persistent=False)

    def forward(self, faces: Tensor) -> Tensor:
        """(B, 3, 512, 512) float32 RGB in [-1, 1] -> (B, 512)."""
        embeddings: Tensor = self.net(self.pictures(faces))
        return embeddings.float()

    def pictures(self, faces: Tensor) -> Tensor:
        """What the network sees: (B, 3, 112, 112) BGR."""
        reduced = F.avg_pool2d(faces.flip(1), BLOCK)
        grid = self.grid.expand(len(faces), -1, -1, -1)
        return F.grid_sample(reduced, grid, mode="bilinear", padding_mode="border", align_corners=False)


def load_arcface(folder: Path, device: torch.device) -> ArcFace:
    """The full kit's ArcFace from the weights folder, on a device.

    Raises WeightsMissingError where it is not there, and otherwise as `full_networks.load`.
    """
    try:
        net = load(weights.ARCFACE, folder)
    except WeightsMissingError as error:
        raise WeightsMissingError(f"A recipe with an identity_weight wants a recogniser. {error}") from error
    return ArcFace(net).to(device)


def _sampling_grid() -> Tensor:
    """(1, 112, 112, 2) float32: where each pixel of the recogniser's picture lies in the reduced crop, for grid_sample.

    Places are divided by half the reduced crop's side and run from -1 to 1, edge to edge.
    """
    crop_to_picture = crop_matrix(TEMPLATE.astype(np.float32), RECOGNITION_TEMPLATE)
    back = torch.from_numpy(invert(crop_to_picture).astype(np.float64))
    line = torch.arange(RECOGNITION_SIDE, dtype=torch.float64)
    down, across = torch.meshgrid(line, line, indexing="ij")
    in_crop = torch.stack([across, down], dim=2) @ back[:, :2].T + back[:, 2]
    # Pixel i of the reduced crop has its middle at BLOCK * i + (BLOCK - 1) / 2 of the crop, its edges half a pixel off.
    return (2 * (in_crop + 0.5) / (BLOCK * (CROP // BLOCK)) - 1).float()[None]
