"""Stage two: discriminators that know real eyes and mouths, and what the network learns from them.

One discriminator per component sees patches cut by the true boxes, as in GFPGAN (Wang et al. 2021, arXiv 2101.04061).
They learn by the hinge loss with spectral normalisation (Miyato et al. 2018, arXiv 1802.05957). The network learns to
be taken for real, to give the discriminators' features the values they have on the truth (feature matching: Wang et al.
2018, arXiv 1711.11585) and their Gram matrices too (style: Gatys et al. 2016; on discriminators, GFPGAN).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from dmdcli.model.patches import interpolation
from dmdcli.shapes import COMPONENTS, CROP
from dmdcli.training.distributed import ALONE, Processes
from dmdcli.training.images import mixed_precision

PATCH_SIDES = {"left_eye": 80, "right_eye": 80, "mouth": 128}
"""Side in pixels of the patch a discriminator sees, whatever the size of the box it is cut by."""


@dataclass(frozen=True)
class Seen:
    """What a discriminator makes of N patches.

    logits: (N,), the higher the more real, means over places; hinge_real, hinge_fake: (N,), the mean over places of
    max(0, 1 - logit) and of max(0, 1 + logit). features: after each activation, (N, C, s, s).
    """

    logits: Tensor
    hinge_real: Tensor
    hinge_fake: Tensor
    features: list[Tensor]


class Discriminator(nn.Module):
    """Judges every place of a patch (N, 3, s, s) in [-1, 1]; `channels` at full size, more as it gets smaller."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = [channels, 2 * channels, 4 * channels, 4 * channels]
        self.stages = nn.ModuleList([spectral_norm(nn.Conv2d(3, channels, 3, padding=1))])
        for source, target in itertools.pairwise(widths):
            self.stages.append(spectral_norm(nn.Conv2d(source, target, 4, stride=2, padding=1)))
        self.judge = spectral_norm(nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, patches: Tensor) -> Seen:
        features: list[Tensor] = []
        for stage in self.stages:
            patches = F.leaky_relu(stage(patches), 0.2)
            features.append(patches)
        logits = self.judge(patches).float().flatten(1)
        return Seen(logits.mean(dim=1), F.relu(1 - logits).mean(dim=1), F.relu(1 + logits).mean(dim=1), features)


def cut_components(images: Tensor, boxes: Tensor) -> dict[str, Tensor]:
    """Cut the components of faces and bring them to their PATCH_SIDES, differentiably and bilinearly.

    images: (B, 3, 512, 512). boxes: (B, 3, 4) int64 crop pixels. Returns (B, 3, side, side) by component.
    """
    patches = {}
    for index, component in enumerate(COMPONENTS):
        box, side = boxes[:, index], PATCH_SIDES[component]
        sizes = box[:, 2:] - box[:, :2]
        across = interpolation(box[:, 0], sizes[:, 0], side, CROP, images.dtype)
        down = interpolation(box[:, 1], sizes[:, 1], side, CROP, images.dtype)
        patches[component] = down[:, None] @ images @ across[:, None].transpose(2, 3)
    return patches


def gram(features: Tensor) -> Tensor:
    """How much each two of C channels go together, (N, C, C) float32: (N, C, h, w) times itself over h * w."""
    with torch.autocast(features.device.type, enabled=False):
        flat = features.float().flatten(2)
        return flat @ flat.transpose(1, 2) / flat.shape[2]


def difference(answered: Tensor, truth: Tensor) -> Tensor:
    """The mean of |answered - truth| over that of |truth|, (N,), for tensors (N, ...).

    Relative, because spectral normalisation makes features smaller from stage to stage, and Gram matrices more so.
    """
    answered, truth = answered.float().flatten(1), truth.float().flatten(1)
    return (answered - truth).abs().mean(dim=1) / truth.abs().mean(dim=1).clamp(min=1e-8)


@dataclass(frozen=True)
class AdversarialWeights:
    """Weights of the three losses of stage two; 0 leaves one out."""

    adversarial: float = 0.0
    feature_matching: float = 0.0
    style: float = 0.0

    def __bool__(self) -> bool:
        return max(self.adversarial, self.feature_matching, self.style) > 0


class Adversary:
    """The discriminators, how they learn, and what they say of the network's answers.

    channels: of the discriminators' first stage. Everything random comes from torch's generator.
    """

    def __init__(
        self,
        channels: int,
        weights: AdversarialWeights,
        device: torch.device,
        processes: Processes = ALONE,
    ) -> None:
        self.discriminators = nn.ModuleDict({component: Discriminator(channels) for component in COMPONENTS})
        self.discriminators.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(self.discriminators.parameters(), betas=(0.0, 0.99))
        self._weights = weights
        self._processes = processes
        processes.copy_from_first(self.discriminators.state_dict().values())

    def learn(self, answers: Sequence[Tensor], target: Tensor, boxes: Tensor, sharp: Tensor, rate: float) -> Tensor:
        """One step of the discriminators by the hinge loss; returns this process's share of it.

        answers, target: (B, 3, 512, 512) in [-1, 1]; nothing of this reaches the network. boxes: (B, 3, 4) int64, the
        true ones. sharp: (B,) float, 1 for faces whose truth is sharp; the others are not shown as real.
        rate: the learning rate.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.discriminators.requires_grad_(True)
        seen = self._see(target, [answer.detach() for answer in answers], boxes)
        real = torch.stack([one.hinge_real[: len(target)] for one in seen]).mean(dim=0)
        fake = torch.stack([one.hinge_fake[len(target) :] for one in seen]).mean(dim=0)
        loss = self._processes.mean(real, sharp) + self._processes.mean(fake, torch.ones_like(fake))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._processes.add_gradients(self.discriminators.parameters())
        self.optimizer.step()
        return loss.detach()

    def judge(
        self, answers: Sequence[Tensor], target: Tensor, boxes: Tensor, sharp: Tensor, counts: Sequence[Tensor]
    ) -> Tensor:
        """What the network is to minimise, this process's share of it, a scalar: three losses, each with its weight.

        Arguments as in `learn`; counts: for each answer (B,) float, how much each of its faces counts. Features are
        compared with those of sharp truths only.
        """
        self.discriminators.requires_grad_(False)
        seen = self._see(target, answers, boxes)
        count, times = len(target), len(answers)
        judged, compared = [], []
        for one in seen:
            judged.append(-self._weights.adversarial * one.logits[count:])
            for features in one.features:
                truth, fake = features[:count].detach().repeat(times, 1, 1, 1), features[count:]
                matching, style = difference(fake, truth), difference(gram(fake), gram(truth))
                compared.append(self._weights.feature_matching * matching + self._weights.style * style)
        realism, likeness = torch.stack(judged).mean(dim=0), torch.stack(compared).mean(dim=0)
        counted = torch.cat(list(counts))
        mean = self._processes.mean
        return mean(realism, counted) + mean(likeness, counted * sharp.repeat(times))

    def state_dict(self) -> dict[str, Any]:
        """All that makes its next step what it would have been."""
        return {"discriminators": self.discriminators.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The opposite of `state_dict`."""
        self.discriminators.load_state_dict(state["discriminators"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _see(self, target: Tensor, answers: Sequence[Tensor], boxes: Tensor) -> list[Seen]:
        """The truth's patches and then the answers', seen at once so that all meet the same norms; by component."""
        pictures = torch.cat([target.float(), *(answer.float() for answer in answers)])
        patches = cut_components(pictures, boxes.repeat(1 + len(answers), 1, 1))
        with mixed_precision(target.device):
            return [discriminator(patches[name]) for name, discriminator in self.discriminators.items()]
