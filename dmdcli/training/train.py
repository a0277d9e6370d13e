"""Train a DMDNet: one loop, one configuration, checkpoints that resume.

Each step encodes a batch of degraded faces once and decodes it twice: with the generic dictionary, and with specific
dictionaries memorised from each face's references. Both answers are compared with the true face.
"""

from __future__ import annotations

import copy
import csv
import json
import math
import pickle
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from dmdcli.errors import CannotGoOnError, WeightsCorruptError, WeightsMismatchError
from dmdcli.faces.face import component_boxes
from dmdcli.model import checkpoint
from dmdcli.model.dictionary import PATCH_NAMES, Dictionary
from dmdcli.model.dmdnet import DMDConfig, DMDNet
from dmdcli.shapes import Pixels
from dmdcli.training import report
from dmdcli.training.data import SHARP_UP_TO, Batch, FaceData, SampleOptions, TrainingSamples, batches
from dmdcli.training.degrade import Severity, apply, draw, generator_for
from dmdcli.training.losses import memory_size, pixel_weights, reconstruction_loss

NOT_FOR_MEMORIES = ("london", "canada")
"""How the sources begin whose people agreed to studies only: no dictionary entry starts from their eyes and mouths."""


@dataclass(frozen=True)
class TrainConfig:
    """Everything a run depends on. steps: of batch_size samples each; warmup: steps until the full learning rate.

    specific_weight: weight of the specific answer's loss beside the generic one's; self_reference_weight: what is left
    of it where the references are variations of the target. specific_only: the generic answer stays what it is to the
    last bit; only what makes and blends in a specific dictionary learns. memory_weight: weight of the memorised values'
    size, which nothing else bounds, since the statistics of the patch replace theirs. component_weight: eyes and mouth
    against the rest. average: decay of the running average of the weights, which is what gets saved. old: old prints
    for each sample of all other severities together; 0.5 makes every third sample one.
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


SPECIFIC_PARTS = ("reference_encoder", "key", "value", "mask")
"""The modules that the generic answer does without."""


@dataclass(frozen=True)
class Progress:
    """One step's losses; on validation steps also mean PSNR in dB (degraded input, generic, specific)."""

    step: int
    steps: int
    loss: float
    generic_loss: float
    specific_loss: float
    learning_rate: float
    seconds: float
    psnr: tuple[float, float, float] | None = None


def train(
    faces: FaceData,
    validation: FaceData | None,
    config: TrainConfig,
    run: Path,
    device: str = "cpu",
    *,
    compiled: bool = False,
    start_from: Path | None = None,
) -> Iterator[Progress]:
    """Train in the folder `run`, going on from its checkpoint if there is one; yield after every step.

    Writes checkpoint.pt (to resume), weights.safetensors (the averaged network, float16), config.json and
    progress.csv; validations add validation/step-N.png and curves.png. A run that was stopped and resumed sees the same
    samples as one that was not. `start_from` takes the weights of another network of the same shape to begin with.
    Raises FaceDataError, WeightsMismatchError for a checkpoint of another configuration, WeightsCorruptError for a
    damaged one, CannotGoOnError where nothing can be written.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotGoOnError(f"{run}: no folder can be made there ({error.strerror}). Name another.") from error
    place = torch.device(device)
    torch.manual_seed(config.seed)
    net = start(faces, config, start_from)
    net.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(net).requires_grad_(False)
    if config.specific_only:
        for name, module in net.named_children():
            module.requires_grad_(name in SPECIFIC_PARTS)
    learning = [parameter for parameter in net.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(learning, lr=config.learning_rate, betas=(0.9, 0.99), fused=place.type == "cuda")
    first = resume(run / "checkpoint.pt", config, net, average, optimizer)
    if first == 0:
        (run / "config.json").write_text(json.dumps(asdict(config), indent=2) + "\n", encoding="utf-8")
        save(run, config, 0, net, average, optimizer)
    if compiled:
        for part in (net.encoder, net.multi_dilation, net.up1, net.up2, net.up3, net.head):
            part.compile()  # not the reference encoder: its batch differs from step to step
    options = SampleOptions(
        max_references=config.max_references,
        specific_fraction=config.specific_fraction,
        wrong_person=config.wrong_person,
        old=config.old,
    )
    samples = TrainingSamples(faces, options, config.seed, config.steps * config.batch_size)
    supply = batches(
        samples, config.batch_size, config.workers, first * config.batch_size, pin_memory=place.type == "cuda"
    )
    add_scalars = report.open_scalars(run, first)
    began = time.monotonic()
    for step, batch in enumerate(supply, start=first + 1):
        rate = learning_rate(step, config)
        for group in optimizer.param_groups:
            group["lr"] = rate
        generic_loss, specific_loss = losses(net, batch, config, place)
        loss = generic_loss + config.specific_weight * specific_loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(learning, config.clip)
        optimizer.step()
        blend(average, net, min(config.average, (1 + step) / (10 + step)))
        last = step == config.steps
        psnr = None
        if validation is not None and (last or step % config.validate_every == 0):
            psnr = validate(average, validation, place)
        if last or step % config.save_every == 0:
            save(run, config, step, net, average, optimizer)
        total, generic, specific = torch.stack([loss, generic_loss, specific_loss]).tolist()
        progress = Progress(step, config.steps, total, generic, specific, rate, time.monotonic() - began, psnr)
        record(run / "progress.csv", progress)
        add_scalars(progress)
        if validation is not None and psnr is not None:
            report.write_strip(show(average, validation, place), run, step)
        if last or psnr is not None:
            report.write_curves(run)
        yield progress


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
            raise WeightsMismatchError(f"{start_from}: {loaded.config}; this run wants {wanted}")
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


def losses(net: DMDNet, batch: Batch, config: TrainConfig, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the generic and the specific answer's loss on one batch.

    With somebody else's references the specific answer is to be the generic one: were it to be the true face, the
    blend would learn to make something of any reference instead of ignoring those that do not fit.
    """
    counts = batch.reference_counts.tolist()
    batch = Batch(*(tensor.to(device, non_blocking=True) for tensor in batch))
    target = images(batch.targets)
    with mixed_precision(device):
        with torch.set_grad_enabled(not config.specific_only):
            features = net.encode(images(batch.degraded), batch.boxes)
            generic = net.decode(features)
        memorised = net.memorize(images(batch.references), batch.reference_boxes)
        people = split_dictionary(memorised, counts)
        specific = net.decode(features, people)
    specific_target = torch.where(batch.wrong_person[:, None, None, None], generic.detach().float(), target)
    weights = pixel_weights(batch.target_boxes, batch.sharpness_weights, config.component_weight)
    trust = torch.where(batch.self_reference, config.self_reference_weight, 1.0)
    specific_weights = pixel_weights(batch.target_boxes, batch.sharpness_weights * trust, config.component_weight)
    return (
        reconstruction_loss(generic, target, weights, config.gradient_weight),
        reconstruction_loss(specific, specific_target, specific_weights, config.gradient_weight)
        + config.memory_weight * memory_size(memorised),
    )


def images(pixels: np.ndarray[Any, np.dtype[np.uint8]] | Tensor) -> Tensor:
    """(B, 512, 512, 3) uint8 RGB to (B, 3, 512, 512) float32 in [-1, 1], channels last in memory."""
    tensor = torch.from_numpy(np.ascontiguousarray(pixels)) if isinstance(pixels, np.ndarray) else pixels
    return tensor.permute(0, 3, 1, 2).float() / 127.5 - 1


def split_dictionary(dictionary: Dictionary, counts: Sequence[int]) -> list[Dictionary]:
    """Cut the entries of one dictionary into one dictionary per face, `counts` entries each."""
    parts: list[Dictionary] = []
    done = 0
    for count in counts:
        entries = slice(done, done + count)
        parts.append(
            Dictionary(
                {n: replace(m, key=m.key[entries], value=m.value[entries]) for n, m in dictionary.memories.items()}
            )
        )
        done += count
    return parts


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


def mixed_precision(device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 autocast where it helps: on CUDA, and on CPUs (matrix units or not, it halves the memory traffic)."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if device.type in ("cuda", "cpu") else nullcontext()


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine to zero."""
    if step <= config.warmup:
        return config.learning_rate * step / max(1, config.warmup)
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def blend(average: DMDNet, net: DMDNet, decay: float) -> None:
    """Move the running average towards the network's weights."""
    with torch.no_grad():
        ours: list[Tensor] = list(average.parameters())
        theirs: list[Tensor] = list(net.parameters())
        torch._foreach_lerp_(ours, theirs, 1 - decay)


def save(
    run: Path, config: TrainConfig, step: int, net: DMDNet, average: DMDNet, optimizer: torch.optim.Optimizer
) -> None:
    """Write checkpoint.pt and weights.safetensors, each whole or not at all."""
    recipe = json.dumps(asdict(config))
    state = {
        "config": recipe,
        "step": step,
        "net": net.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    unfinished = run / "checkpoint.pt.part"
    try:
        torch.save(state, unfinished)
        unfinished.replace(run / "checkpoint.pt")
        checkpoint.save(average, run / "weights.safetensors", notes={"trained_steps": str(step), "recipe": recipe})
    except (OSError, RuntimeError, SafetensorError) as error:
        raise CannotGoOnError(
            f"{run}: the checkpoint of step {step} cannot be written ({error}). The one before it is still there."
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)


def resume(path: Path, config: TrainConfig, net: DMDNet, average: DMDNet, optimizer: torch.optim.Optimizer) -> int:
    """Load a checkpoint into the three and return its step; 0 where there is none."""
    if not path.exists():
        return 0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        stored = TrainConfig(**json.loads(state["config"]))
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError, TypeError, ValueError) as error:
        raise WeightsCorruptError(f"{path}: damaged ({error}). Train into another folder, or delete it.") from error
    for field in fields(TrainConfig):
        ours, theirs = getattr(config, field.name), getattr(stored, field.name)
        if ours != theirs and field.name not in ("workers", "save_every", "validate_every"):
            raise WeightsMismatchError(
                f"{path}: was trained with {field.name} {theirs}, not {ours}. Train into another folder."
            )
    net.load_state_dict(state["net"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def record(path: Path, progress: Progress) -> None:
    """Append one line to progress.csv, with a header when the file is new."""
    new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(
                [*[field.name for field in fields(Progress)][:-1], "input_psnr", "generic_psnr", "specific_psnr"]
            )
        row = [getattr(progress, field.name) for field in fields(Progress)][:-1]
        writer.writerow([*row, *(f"{value:.3f}" for value in progress.psnr or ())])
