"""The network a run begins with."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from dmdcli.errors import WeightsMismatchError
from dmdcli.faces.face import component_boxes
from dmdcli.model import checkpoint
from dmdcli.model.dictionary import PATCH_NAMES, Dictionary
from dmdcli.model.dmdnet import DMDConfig, DMDNet
from dmdcli.training.data import SHARP_UP_TO, FaceData
from dmdcli.training.degrade import Severity, apply, draw
from dmdcli.training.images import images
from dmdcli.training.recipe import TrainConfig

NOT_FOR_MEMORIES = ("london", "canada")
"""How the sources begin whose people agreed to studies only: no dictionary entry starts from their eyes and mouths."""


def start(faces: FaceData, config: TrainConfig, start_from: Path | None = None) -> DMDNet:
    """Return the network a run begins with: weights of `start_from`, or fresh ones.

    Fresh: He initialisation (fan-in, LeakyReLU 0.2); the last convolution of every residual branch, gate and of the
    head is made small so that the network begins close to the identity; generic entries are encoded from sharp crops
    of public officials, and queries and keys scaled so that the softmax begins neither flat nor one-hot.
    """
    wanted = DMDConfig(config.width, config.entries, config.residual)
    if start_from is not None:
        loaded = checkpoint.load(start_from)
        if loaded.config != wanted:
            different = [
                f"{name} {found} where this run wants {getattr(wanted, name)}"
                for name, found in asdict(loaded.config).items()
                if found != getattr(wanted, name)
            ]
            raise WeightsMismatchError(
                f"{start_from} is another network: {', '.join(different)}. Give those in the recipe, or other weights."
            )
        return loaded.requires_grad_(True).train()
    net = DMDNet(wanted)
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, a=0.2)
            nn.init.zeros_(cast(Tensor, module.bias))
            residual = name.endswith(".2") and (".res" in name or name.startswith(("gate", "head")))
            if residual or name == "multi_dilation.merge":
                module.weight.data *= 0.1
            if name == "head.4":
                module.weight.data *= 0.01
            if name.startswith("up") and name.endswith("scale.2"):
                module.weight.data *= 0.1
                nn.init.ones_(cast(Tensor, module.bias))
    initialise_memories(net, faces, config)
    return net.train()


def initialise_memories(net: DMDNet, faces: FaceData, config: TrainConfig) -> None:
    """Fill the generic dictionary with encoded crops, and scale queries and keys so that reads are neither flat nor
    one-hot.
    """
    chosen = memory_faces(faces, config.entries)
    generator = np.random.default_rng([config.seed, 1])
    probes = [apply(faces.pixels[position], draw(Severity.MODERATE, generator)) for position in chosen]
    boxes = torch.from_numpy(np.stack([component_boxes(faces.samples[position].points) for position in chosen]))
    with torch.no_grad():
        parts = [
            net.memorize(images(faces.pixels[position][None]), boxes[i : i + 1]) for i, position in enumerate(chosen)
        ]
        dictionary = Dictionary.concatenate(parts)
        queries: dict[str, list[Tensor]] = {name: [] for name in PATCH_NAMES}
        for index, probe in enumerate(probes[:8]):
            for name, query in net.encode(images(probe[None]), boxes[index : index + 1]).queries.items():
                queries[name].append(query.flatten(1))
        for name, memory in dictionary.memories.items():
            logits = torch.cat(queries[name]) @ memory.key.flatten(1).T / math.sqrt(config.entries)
            scale = float(logits.std(dim=1).mean().clamp(min=1e-6)) ** -0.5
            for module in (net.query[name], net.key[name]):
                cast(nn.Conv2d, cast(nn.Sequential, module)[2]).weight.data *= scale
            net.memory_key[name].copy_(memory.key.flatten(2) * scale)
            net.memory_value[name].copy_(memory.value.flatten(2))


def memory_faces(faces: FaceData, count: int) -> list[int]:
    """Return the positions of `count` crops for the generic dictionary, spread evenly over the sharp eligible ones."""
    eligible = [
        position
        for position, sample in enumerate(faces.samples)
        if not sample.source.lower().startswith(NOT_FOR_MEMORIES)
    ]
    sharp = [position for position in eligible if faces.samples[position].enlarged <= SHARP_UP_TO]
    pool = sharp if len(sharp) >= count else eligible or list(range(len(faces.samples)))
    return [pool[index * len(pool) // count] for index in range(count)]
