"""The recipe of a training run: everything it depends on but its faces."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class TrainConfig:
    """One run. steps: of batch_size samples each; warmup: steps until the full learning rate.

    specific_weight: weight of the specific answer's loss beside the generic one's; self_reference_weight: what is left
    of it where the references are variations of the target. specific_only: the generic answer stays what it is to the
    last bit; only what makes and blends in a specific dictionary learns. memory_weight: weight of the memorised values'
    size, which nothing else bounds, since the statistics of the patch replace theirs. component_weight: eyes and mouth
    against the rest. average: decay of the running average of the weights, which is what gets saved. old: old prints
    for each sample of all other severities together; 0.5 makes every third sample one.

    Stage two, off at 0: adversarial_weight, feature_matching_weight, style_weight: of what the discriminators of eyes
    and mouth say; discriminator_learning_rate: their highest, which follows the network's. identity_weight: of a
    recogniser's distance between answer and truth.
    """

    width: int = 32
    entries: int = 16
    residual: bool = True
    steps: int = 6000
    batch_size: int = 16
    learning_rate: float = 4e-4
    warmup: int = 200
    gradient_weight: float = 1.0
    component_weight: float = 3.0
    specific_weight: float = 1.0
    self_reference_weight: float = 0.25
    average: float = 0.999
    clip: float = 1.0
    seed: int = 0
    workers: int = 2
    save_every: int = 200
    validate_every: int = 500
    max_references: int = 3
    specific_fraction: float = 0.6
    wrong_person: float = 0.1
    old: float = 0.0
    specific_only: bool = False
    memory_weight: float = 0.01
    adversarial_weight: float = 0.0
    feature_matching_weight: float = 0.0
    style_weight: float = 0.0
    discriminator_learning_rate: float = 1e-4
    identity_weight: float = 0.0


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine to zero."""
    if step <= config.warmup:
        return config.learning_rate * step / max(1, config.warmup)
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
