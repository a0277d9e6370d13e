"""Train a DMDNet: one loop, one recipe, checkpoints that resume.

Each step encodes a batch of degraded faces once and decodes it twice: with the generic dictionary, and with specific
dictionaries memorised from each face's references. Both answers are compared with the true face; in stage two
discriminators compare their eyes and mouths too, and a recogniser their identity, where the recipe gives them a weight.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from dmdcli.errors import CannotGoOnError, UsageError
from dmdcli.model.dictionary import Dictionary
from dmdcli.model.dmdnet import DMDNet
from dmdcli.training import report
from dmdcli.training.adversarial import AdversarialWeights, Adversary
from dmdcli.training.data import Batch, FaceData, SampleOptions, TrainingSamples, batches
from dmdcli.training.distributed import ALONE, Processes
from dmdcli.training.identity import Recogniser, identity_loss
from dmdcli.training.images import images, mixed_precision
from dmdcli.training.initialise import start
from dmdcli.training.losses import memory_size, pixel_weights, reconstruction_loss
from dmdcli.training.recipe import TrainConfig, learning_rate
from dmdcli.training.run_folder import Progress, Trained, record, resume, save
from dmdcli.training.validate import show, validate

SPECIFIC_PARTS = ("reference_encoder", "key", "value", "mask")
"""The modules that the generic answer does without."""


def train(
    faces: FaceData,
    validation: FaceData | None,
    config: TrainConfig,
    run: Path,
    device: str = "cpu",
    *,
    compiled: bool = False,
    start_from: Path | None = None,
    processes: Processes = ALONE,
    recognise: Recogniser | None = None,
) -> Generator[Progress, None, None]:
    """Train in the folder `run`, going on from its checkpoint if there is one; yield after every step.

    Writes checkpoint.pt (to resume), weights.safetensors (the averaged network, float16), config.json and
    progress.csv; validations add validation/step-N.png and curves.png. A run that was stopped and resumed sees the same
    samples as one that was not. A KeyboardInterrupt thrown into the generator is raised again once the last step's
    checkpoint is written. `start_from` takes the weights of another network of the same shape to begin with.
    processes: those that share each batch; the first one writes. recognise: for a recipe with an identity_weight.
    Raises FaceDataError, UsageError for a batch that cannot be shared, WeightsMismatchError for a checkpoint of another
    configuration, WeightsCorruptError for a damaged one, CannotGoOnError where nothing can be written or another
    process has ended.
    """
    share = processes.share(config.batch_size)
    if config.identity_weight and recognise is None:
        raise UsageError(f"An identity_weight of {config.identity_weight} wants a recogniser.")
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotGoOnError(f"{run}: no folder can be made there ({error.strerror}). Name another.") from error
    place = torch.device(device)
    torch.manual_seed(config.seed)
    net = start(faces, config, start_from)
    net.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    processes.copy_from_first(net.state_dict().values())
    average = copy.deepcopy(net).requires_grad_(False)
    if config.specific_only:
        for name, module in net.named_children():
            module.requires_grad_(name in SPECIFIC_PARTS)
    learning = [parameter for parameter in net.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(learning, lr=config.learning_rate, betas=(0.9, 0.99), fused=place.type == "cuda")
    weights = AdversarialWeights(config.adversarial_weight, config.feature_matching_weight, config.style_weight)
    adversary = Adversary(2 * config.width, weights, place, processes) if weights else None
    trained = Trained(net, average, optimizer, adversary)
    first = resume(run / "checkpoint.pt", config, trained)
    if not processes.agree(first, place):
        raise CannotGoOnError(f"{run}: the processes found different checkpoints there; all must see the same folder.")
    if first == 0 and processes.first:
        (run / "config.json").write_text(json.dumps(asdict(config), indent=2) + "\n", encoding="utf-8")
        save(run, config, 0, trained)
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
    mine = first * config.batch_size + processes.rank
    supply = batches(samples, share, config.workers, mine, pin_memory=place.type == "cuda", every=processes.count)
    add_scalars = report.open_scalars(run, first) if processes.first else lambda _progress: None
    began = time.monotonic()
    for step, batch in enumerate(supply, start=first + 1):
        rate = learning_rate(step, config)
        for group in optimizer.param_groups:
            group["lr"] = rate
        found = answer(net, batch, config, place)
        terms = losses(found, config, processes)
        both, counts = (found.generic, found.specific), shares(found.batch, config)
        if adversary is not None:
            shown = (both, found.target, found.batch.target_boxes, (found.batch.sharpness_weights >= 1).float())
            own_rate = config.discriminator_learning_rate * rate / config.learning_rate
            terms["discriminator_loss"] = adversary.learn(*shown, own_rate)
            terms["adversarial_loss"] = adversary.judge(*shown, counts)
            terms["loss"] = terms["loss"] + terms["adversarial_loss"]
        if recognise is not None and config.identity_weight:
            terms["identity_loss"] = identity_loss(recognise, both, found.target, counts, processes)
            terms["loss"] = terms["loss"] + config.identity_weight * terms["identity_loss"]
        optimizer.zero_grad(set_to_none=True)
        terms["loss"].backward()  # type: ignore[no-untyped-call]
        processes.add_gradients(learning)
        nn.utils.clip_grad_norm_(learning, config.clip)
        optimizer.step()
        blend(average, net, min(config.average, (1 + step) / (10 + step)))
        last = step == config.steps
        psnr = None
        if processes.first and validation is not None and (last or step % config.validate_every == 0):
            psnr = validate(average, validation, place)
        if processes.first and (last or step % config.save_every == 0):
            save(run, config, step, trained)
        whole = processes.total(torch.stack([share_of.detach() for share_of in terms.values()])).tolist()
        progress = Progress(
            step=step,
            steps=config.steps,
            learning_rate=rate,
            seconds=time.monotonic() - began,
            psnr=psnr,
            **dict(zip(terms, whole, strict=True)),
        )
        if processes.first:
            record(run / "progress.csv", progress)
            add_scalars(progress)
            if validation is not None and psnr is not None:
                report.write_strip(show(average, validation, place), run, step)
            if last or psnr is not None:
                report.write_curves(run)
        try:
            yield progress
        except KeyboardInterrupt:  # thrown in between two steps by who was asked to stop: nothing done is lost
            if processes.first:
                save(run, config, step, trained)
            raise


@dataclass(frozen=True)
class Answers:
    """A batch of B faces, on the network's device, and what the network made of it.

    target, generic, specific: (B, 3, 512, 512) in [-1, 1]. memorised: all references, one after the other.
    """

    batch: Batch
    target: Tensor
    generic: Tensor
    specific: Tensor
    memorised: Dictionary


def answer(net: DMDNet, batch: Batch, config: TrainConfig, device: torch.device) -> Answers:
    """Return the generic and the specific answer to one batch."""
    counts = batch.reference_counts.tolist()
    batch = Batch(*(tensor.to(device, non_blocking=True) for tensor in batch))
    with mixed_precision(device):
        with torch.set_grad_enabled(not config.specific_only):
            features = net.encode(images(batch.degraded), batch.boxes)
            generic = net.decode(features)
        memorised = net.memorize(images(batch.references), batch.reference_boxes)
        specific = net.decode(features, split_dictionary(memorised, counts))
    return Answers(batch, images(batch.targets), generic, specific, memorised)


def losses(found: Answers, config: TrainConfig, processes: Processes = ALONE) -> dict[str, Tensor]:
    """Return this process's share of the loss and, in it, of the generic and of the specific answer's.

    With somebody else's references the specific answer is to be the generic one: were it to be the true face, the
    blend would learn to make something of any reference instead of ignoring those that do not fit.
    """
    batch, generic = found.batch, found.generic
    specific_target = torch.where(batch.wrong_person[:, None, None, None], generic.detach().float(), found.target)
    sharpness, boxes = batch.sharpness_weights, batch.target_boxes
    weights = pixel_weights(boxes, sharpness, config.component_weight)
    specific_weights = pixel_weights(boxes, sharpness * trust(batch, config), config.component_weight)
    sizes = memory_size(found.memorised)
    generic_loss = reconstruction_loss(generic, found.target, weights, config.gradient_weight, processes)
    specific_loss = reconstruction_loss(
        found.specific, specific_target, specific_weights, config.gradient_weight, processes
    ) + config.memory_weight * processes.mean(sizes, torch.ones_like(sizes))
    loss = generic_loss + config.specific_weight * specific_loss
    return {"loss": loss, "generic_loss": generic_loss, "specific_loss": specific_loss}


def trust(batch: Batch, config: TrainConfig) -> Tensor:
    """Return how much each specific answer counts, (B,): less where its references are variations of the target."""
    return torch.where(batch.self_reference, config.self_reference_weight, 1.0)


def shares(batch: Batch, config: TrainConfig) -> tuple[Tensor, Tensor]:
    """Return how much each generic and each specific answer counts beside the other where both are judged, (B,) each.

    The specific answer to somebody else's references is nobody's likeness and does not count; neither does a generic
    answer that is to stay what it is.
    """
    generic = torch.full_like(batch.sharpness_weights, 0.0 if config.specific_only else 1.0)
    return generic, config.specific_weight * trust(batch, config) * (~batch.wrong_person)


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


def blend(average: DMDNet, net: DMDNet, decay: float) -> None:
    """Move the running average towards the network's weights."""
    with torch.no_grad():
        ours: list[Tensor] = list(average.parameters())
        theirs: list[Tensor] = list(net.parameters())
        torch._foreach_lerp_(ours, theirs, 1 - decay)
