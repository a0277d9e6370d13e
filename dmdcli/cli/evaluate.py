"""`dmd evaluate`: measure restored faces against the true ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dmdcli.cli.console import (
    BatchSizeOption,
    DeviceOption,
    FolderArgument,
    Kit,
    KitOption,
    ModelOption,
    OfflineOption,
    QuietOption,
    Terminal,
)
from dmdcli.cli.degrade import SeedOption, SeverityOption
from dmdcli.training.severity import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dmdcli.evaluation import Evaluated, Gain, Summary

LABELS = {
    "psnr": "PSNR (dB)",
    "component_psnr": "PSNR of eyes and mouth (dB)",
    "ssim": "SSIM",
    "sharpness": "sharpness of eyes and mouth (1: as the true face)",
    "similarity": "identity similarity to the true face",
    "distance": "identity distance to the true face (less is better)",
}
"""What each metric is called in the table."""


def evaluate(
    folder: FolderArgument,
    split: Annotated[str, typer.Option("--split", help="Which crops of the index are measured.")] = "validation",
    severity: SeverityOption = Severity.MODERATE,
    seed: SeedOption = 0,
    true_landmarks: Annotated[
        bool,
        typer.Option("--true-landmarks", help="Take the landmarks of the good crop, not those found on the bad one."),
    ] = False,
    model: ModelOption = "base",
    kit: KitOption = Kit.AUTO,
    device: DeviceOption = "auto",
    batch_size: BatchSizeOption = None,
    json_lines: Annotated[
        bool,
        typer.Option("--json", help="Print JSON Lines, one object a crop and last the summary, instead of a table."),
    ] = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """Degrade good faces, restore them, and measure how near they come to what they were."""
    from dmdcli import evaluation
    from dmdcli.cli.build import build_finder, build_restorer, stay_offline
    from dmdcli.training.data import read_faces

    stay_offline(offline)
    terminal = Terminal(quiet=quiet, json_lines=json_lines)
    faces = read_faces(folder, split)
    restorer = build_restorer(model, device, batch_size)
    recogniser = build_finder(kit, device=device, say=terminal.say).kit
    results: list[Evaluated] = []
    with terminal.progress("faces", len(faces.samples)) as advance:
        for result in evaluation.evaluate(faces, restorer, severity, seed, kit=recogniser, detect=not true_landmarks):
            results.append(result)
            terminal.record(crop_record(result))
            advance()
    summary = evaluation.summarize(results)
    terminal.record(summary_record(summary))
    print_summary(terminal, summary)


def crop_record(result: Evaluated) -> Mapping[str, object]:
    """One crop's line of --json."""
    return {
        "schema": 1,
        "crop": result.crop,
        "identity": result.identity,
        "degradation": result.degradation.to_dict(),
        "references": result.references,
        **{row: vars(quality) for row, quality in result.rows.items()},
    }


def summary_record(summary: Summary) -> Mapping[str, object]:
    """The last line of --json."""
    gains = {row: {name: vars(gain) for name, gain in gained.items()} for row, gained in summary.gains.items()}
    return {"schema": 1, "summary": {"counts": summary.counts, "means": summary.means, "gains": gains}}


def print_summary(terminal: Terminal, summary: Summary) -> None:
    """Print each metric's mean over the rows, and its gains over the degraded input with their 95 % intervals."""
    means, gains = summary.means, summary.gains
    rows = [
        [
            label,
            *(f"{mean[metric]:.3f}" for mean in means.values()),
            *(describe(gain[metric]) for gain in gains.values()),
        ]
        for metric, label in LABELS.items()
        if metric in means["input"]
    ]
    counted = [f"{row} ({summary.counts[row]})" for row in means]
    terminal.table(["mean (faces)", *counted, *(f"gain {row} (95 %)" for row in gains)], rows)


def describe(gain: Gain) -> str:
    """A gain in words: +0.512 (+0.401 to +0.630)."""
    return f"{gain.mean:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
