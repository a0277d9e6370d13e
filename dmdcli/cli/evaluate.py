"""`dmd evaluate`: measure restored faces against the true ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmdcli.cli.console import (
    BatchSizeOption,
    DeviceOption,
    Kit,
    KitOption,
    ModelOption,
    QuietOption,
    Terminal,
)
from dmdcli.cli.degrade import SeedOption, SeverityOption
from dmdcli.training.severity import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dmdcli.evaluation import Evaluated, Summary

FolderArgument = Annotated[
    Path, typer.Argument(metavar="DATA", help="Folder with aligned_crops/, index.csv and landmarks.json.")
]
HEADINGS = {
    "psnr": "PSNR dB",
    "component_psnr": "eyes and mouth dB",
    "ssim": "SSIM",
    "sharpness": "sharpness",
    "similarity": "similarity",
    "distance": "distance",
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
    batch_size: BatchSizeOption = 4,
    json_lines: Annotated[
        bool,
        typer.Option("--json", help="Print JSON Lines, one object a crop and last the summary, instead of a table."),
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Degrade good faces, restore them, and measure how near they come to what they were."""
    from dmdcli import evaluation
    from dmdcli.cli.build import build_kit, build_restorer
    from dmdcli.training.data import read_faces

    terminal = Terminal(quiet=quiet, json_lines=json_lines)
    faces = read_faces(folder, split)
    restorer, recogniser = build_restorer(model, device, batch_size), build_kit(kit)
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
    """Print the means of each row, and what each gained over the degraded input."""
    measured = [metric for metric in HEADINGS if metric in summary.means["input"]]
    headings = [HEADINGS[metric] for metric in measured]
    terminal.table(
        ["mean", "faces", *headings],
        [
            [row, summary.counts[row], *(f"{means[metric]:.3f}" for metric in measured)]
            for row, means in summary.means.items()
        ],
    )
    terminal.result("")
    terminal.table(
        ["gain over the input (95 %)", *headings],
        [
            [row, *(f"{gains[m].mean:+.3f} ({gains[m].low:+.3f} to {gains[m].high:+.3f})" for m in measured)]
            for row, gains in summary.gains.items()
        ],
    )
