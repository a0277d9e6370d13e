"""What the network makes of the validation faces: measured, and shown."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from dmdcli.faces.face import component_boxes
from dmdcli.model.dmdnet import DMDNet
from dmdcli.shapes import Pixels
from dmdcli.training import report
from dmdcli.training.data import FaceData
from dmdcli.training.degrade import Severity, apply, draw, generator_for
from dmdcli.training.images import images, mixed_precision


def validate(net: DMDNet, faces: FaceData, device: torch.device, seed: int = 0) -> tuple[float, float, float]:
    """Return mean PSNR in dB on moderately degraded faces: of the input, the generic and the specific answer.

    The specific answer uses all other photos of the person; who has none is left out of that mean.
    """
    scores: list[list[float]] = [[], [], []]
    for position in range(len(faces.samples)):
        target = images(faces.pixels[position][None]).to(device)
        for score, answer in zip(scores, answers(net, faces, position, device, seed), strict=False):
            error = ((answer - target) / 2).square().mean().item()
            score.append(-10 * math.log10(max(error, 1e-10)))
    of_input, generic, specific = (float(np.mean(score)) if score else math.nan for score in scores)
    return of_input, generic, specific


def answers(net: DMDNet, faces: FaceData, position: int, device: torch.device, seed: int = 0) -> list[Tensor]:
    """One face moderately degraded, its generic answer and, if the person has other photos, its specific one.

    Each (1, 3, 512, 512) float32 in [-1, 1].
    """
    sample = faces.samples[position]
    degraded = apply(faces.pixels[position], draw(Severity.MODERATE, generator_for(seed, sample.crop)))
    net.eval()
    with torch.inference_mode(), mixed_precision(device):
        source = images(degraded[None]).to(device)
        features = net.encode(source, torch.from_numpy(component_boxes(sample.points))[None])
        found = [source, net.decode(features)]
        others = faces.others(position)
        if others:
            boxes = np.stack([component_boxes(faces.samples[other].points) for other in others])
            references = images(np.stack([faces.pixels[other] for other in others])).to(device)
            found.append(net.decode(features, net.memorize(references, torch.from_numpy(boxes))))
    return [answer.float().clamp(-1, 1) for answer in found]


def show(net: DMDNet, faces: FaceData, device: torch.device) -> list[list[Pixels | None]]:
    """Degraded, generic, specific (None for who has no other photo) and true pixels of a few faces, for a strip."""
    rows: list[list[Pixels | None]] = []
    for position in report.shown_faces(faces):
        found = torch.cat(answers(net, faces, position, device)).add(1).mul(127.5).round().byte()
        pictures: list[Pixels | None] = list(found.permute(0, 2, 3, 1).cpu().numpy())
        rows.append([*pictures, *([None] if len(pictures) == 2 else []), faces.pixels[position]])
    return rows
