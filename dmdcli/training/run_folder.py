"""What a run keeps in its folder: checkpoint.pt to go on from, weights.safetensors to use, progress.csv to read."""

from __future__ import annotations

import csv
import io
import json
import pickle
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from safetensors import SafetensorError

from dmdcli.errors import CannotGoOnError, WeightsCorruptError, WeightsMismatchError
from dmdcli.model import checkpoint
from dmdcli.model.dmdnet import DMDNet
from dmdcli.training.adversarial import Adversary
from dmdcli.training.recipe import TrainConfig

MAY_CHANGE = ("workers", "save_every", "validate_every")
"""Settings with which a run may go on that began with others: no step depends on them."""


@dataclass(frozen=True)
class Trained:
    """All that a step changes. average: the running average of the network's weights. adversary: of stage two."""

    net: DMDNet
    average: DMDNet
    optimizer: torch.optim.Optimizer
    adversary: Adversary | None = None


@dataclass(frozen=True)
class Progress:
    """One step's losses, of the whole batch; on validation steps also mean PSNR in dB (degraded input, generic,
    specific).

    Losses that the recipe leaves out are None. adversarial_loss: of the network, with feature matching and style, each
    with its weight; discriminator_loss: of those who judge it.
    """

    step: int
    steps: int
    loss: float
    generic_loss: float
    specific_loss: float
    learning_rate: float
    seconds: float
    psnr: tuple[float, float, float] | None = None
    adversarial_loss: float | None = None
    discriminator_loss: float | None = None
    identity_loss: float | None = None


def save(run: Path, config: TrainConfig, step: int, trained: Trained) -> None:
    """Write checkpoint.pt and weights.safetensors, each whole or not at all; raises CannotGoOnError."""
    recipe = json.dumps(asdict(config))
    state = {
        "config": recipe,
        "step": step,
        "net": trained.net.state_dict(),
        "average": trained.average.state_dict(),
        "optimizer": trained.optimizer.state_dict(),
    }
    if trained.adversary is not None:
        state["adversary"] = trained.adversary.state_dict()
    unfinished = run / "checkpoint.pt.part"
    try:
        content = io.BytesIO()  # given a path, torch does not say why it cannot write
        torch.save(state, content)
        unfinished.write_bytes(content.getbuffer())
        unfinished.replace(run / "checkpoint.pt")
        notes = {"trained_steps": str(step), "recipe": recipe}
        checkpoint.save(trained.average, run / "weights.safetensors", notes=notes)
    except (OSError, RuntimeError, SafetensorError) as error:
        kept = " The one before it is still there." if (run / "checkpoint.pt").exists() else ""
        raise CannotGoOnError(f"{run}: the checkpoint of step {step} cannot be written ({error}).{kept}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def resume(path: Path, config: TrainConfig, trained: Trained) -> int:
    """Load a checkpoint into what is trained and return its step; 0 where there is none.

    Raises WeightsCorruptError where it is damaged, WeightsMismatchError where it is of another recipe.
    """
    if not path.exists():
        return 0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        stored = TrainConfig(**json.loads(state["config"]))
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError, TypeError, ValueError) as error:
        raise WeightsCorruptError(f"{path}: damaged ({error}). Train into another folder, or delete it.") from error
    for field in fields(TrainConfig):
        ours, theirs = getattr(config, field.name), getattr(stored, field.name)
        if ours != theirs and field.name not in MAY_CHANGE:
            raise WeightsMismatchError(
                f"{path}: was trained with {field.name} {theirs}, not {ours}. Train into another folder."
            )
    trained.net.load_state_dict(state["net"])
    trained.average.load_state_dict(state["average"])
    trained.optimizer.load_state_dict(state["optimizer"])
    if trained.adversary is not None:
        trained.adversary.load_state_dict(state["adversary"])
    return int(state["step"])


def record(path: Path, progress: Progress) -> None:
    """Append one line to progress.csv; a new file gets a header, one that is there keeps its columns."""
    row = asdict(progress)
    of_input, generic, specific = row.pop("psnr") or (None, None, None)
    row |= {"input_psnr": of_input, "generic_psnr": generic, "specific_psnr": specific}
    columns = list(row)
    if path.exists():
        with path.open(encoding="utf-8", newline="") as lines:
            columns = next(csv.reader(lines), columns)
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(
            {
                name: f"{value:.3f}" if name.endswith("psnr") and value is not None else value
                for name, value in row.items()
            }
        )
