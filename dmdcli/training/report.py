"""What a run leaves for eyes: strips of validation faces, curves of its losses, scalars for TensorBoard.

matplotlib and tensorboard are used where they are installed, and never needed: progress.csv has all the numbers.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from dmdcli.faces.draw import picture_rows
from dmdcli.files import write_file
from dmdcli.shapes import Pixels
from dmdcli.training.data import FaceData

if TYPE_CHECKING:
    from dmdcli.training.run_folder import Progress

SHOWN = 6
"""Faces on a strip."""
CELL = 256
"""Side in pixels of one face on a strip: half a crop."""
COLUMNS = ("degraded", "generic", "specific", "truth")
SMOOTHED = 50
"""Curves of losses are means over the last steps, as many as a run has rows divided by this: one step's loss says more
of its batch than of the network."""


def shown_faces(faces: FaceData) -> list[int]:
    """The positions of the first SHOWN faces, those whose person has another photo before the others."""
    return sorted(range(len(faces.samples)), key=lambda position: not faces.others(position))[:SHOWN]


def write_strip(rows: Sequence[Sequence[Pixels | None]], run: Path, step: int) -> Path:
    """Write RUN/validation/step-N.png, one line a face: degraded, generic, specific, truth; return its path.

    rows: (512, 512, 3) uint8 RGB each, None where there is none. Raises CannotGoOnError and PhotoWriteError.
    """
    heads = [[f"{name}, step {step}" if name in ("generic", "specific") else name] for name in COLUMNS]
    strip = picture_rows(rows, [heads, *([[]] * (len(rows) - 1))], CELL)
    content = io.BytesIO()
    Image.fromarray(strip).save(content, "PNG")
    path = run / "validation" / f"step-{step}.png"
    write_file(content.getvalue(), path)
    return path


def draws_curves() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def write_curves(run: Path) -> Path | None:
    """Draw RUN/progress.csv as RUN/curves.png: the losses over the steps and, where there is any, the validation's
    PSNR.

    Returns its path; None, and nothing is drawn, where there is no matplotlib. Raises CannotGoOnError and
    PhotoWriteError.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        return None
    rows = read_progress(run / "progress.csv")
    validated = [row for row in rows if not math.isnan(row.get("generic_psnr", math.nan))]
    figure = Figure(figsize=(8, 7 if validated else 4), layout="constrained")
    panels = figure.subplots(2 if validated else 1, squeeze=False, sharex=True)[:, 0]
    steps = [row["step"] for row in rows]
    width = max(1, len(rows) // SMOOTHED)
    for name, colour in (("generic", "tab:blue"), ("specific", "tab:orange")):
        values = np.array([row[f"{name}_loss"] for row in rows])
        if width > 1:
            panels[0].plot(steps, values, color=colour, alpha=0.2, linewidth=0.7)
        label = f"{name}, mean of {width} steps" if width > 1 else name
        panels[0].plot(steps, _trailing_mean(values, width), color=colour, label=label)
    panels[0].set_ylabel("loss of a step's faces")
    if validated:
        for name, label, colour in (
            ("input", "degraded input", "tab:grey"),
            ("generic", "generic", "tab:blue"),
            ("specific", "specific, of people with several photos", "tab:orange"),
        ):
            values = np.array([row.get(f"{name}_psnr", math.nan) for row in validated])
            if not np.isnan(values).all():
                panels[1].plot([row["step"] for row in validated], values, ".-", color=colour, label=label)
        panels[1].set_ylabel("mean PSNR of validation faces (dB)")
    for panel in panels:
        panel.grid(alpha=0.3)
        panel.legend()
    panels[-1].set_xlabel("step")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    write_file(content.getvalue(), run / "curves.png")
    return run / "curves.png"


def read_progress(path: Path) -> list[dict[str, float]]:
    """The rows of a progress.csv by step, what is not there left out.

    A step done again after a run was resumed counts as it was the last time. A line cut short is left out.
    """
    rows: dict[int, dict[str, float]] = {}
    with path.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            try:
                numbers = {name: float(value) for name, value in row.items() if name and value}
                rows[int(numbers["step"])] = {"generic_loss": math.nan, "specific_loss": math.nan, **numbers}
            except (ValueError, KeyError, TypeError):
                continue
    return [rows[step] for step in sorted(rows)]


def _trailing_mean(values: npt.NDArray[np.float64], width: int) -> npt.NDArray[np.float64]:
    """Mean of each value and the `width` - 1 before it, fewer at the beginning."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - width, 0)
    mean: npt.NDArray[np.float64] = (total[ends] - total[starts]) / (ends - starts)
    return mean


def open_scalars(run: Path, first: int) -> Callable[[Progress], None]:
    """Return what takes each step's numbers into RUN/tensorboard; it does nothing where tensorboard is not installed.

    first: steps that a resumed run has done; what was written of later ones is dropped.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return lambda _progress: None
    writer = SummaryWriter(str(run / "tensorboard"), purge_step=first + 1)

    def add(progress: Progress) -> None:
        numbers = {
            "loss/total": progress.loss,
            "loss/generic": progress.generic_loss,
            "loss/specific": progress.specific_loss,
            "learning_rate": progress.learning_rate,
        }
        for name in ("adversarial", "discriminator", "identity"):
            value = getattr(progress, f"{name}_loss")
            if value is not None:
                numbers[f"loss/{name}"] = value
        if progress.psnr is not None:
            numbers |= dict(zip(("psnr/input", "psnr/generic", "psnr/specific"), progress.psnr, strict=True))
        for name, value in numbers.items():
            if not math.isnan(value):
                writer.add_scalar(name, value, progress.step)
        if progress.psnr is not None or progress.step == progress.steps:
            writer.flush()

    return add
