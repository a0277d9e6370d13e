"""`dmd evaluate`: measure restored faces against the true ones."""

from __future__ import annotations

from pathlib import Path
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

    from dmdcli.evaluation.evaluate import Evaluated
    from dmdcli.evaluation.rows import Maker
    from dmdcli.evaluation.summary import Difference, Gain, Summary

LABELS = {
    "psnr": "PSNR",
    "component_psnr": "PSNR e+m",
    "ssim": "SSIM",
    "component_ssim": "SSIM e+m",
    "gmsd": "GMSD",
    "component_gmsd": "GMSD e+m",
    "sharpness": "sharpness",
    "similarity": "identity",
    "reference_similarity": "to references",
    "landmark_distance": "landmarks",
}
"""What each metric is called at the head of the tables."""
LEGEND = (
    "PSNR in dB; e+m: eyes and mouth; GMSD and landmarks (distance over that of the eyes): less is better; sharpness: "
    "1 is the true face's; identity: similarity to the true face. In brackets 95 % intervals, people resampled."
)


def evaluate(
    folder: FolderArgument,
    split: Annotated[str, typer.Option("--split", help="Which crops of the index are measured.")] = "validation",
    severity: SeverityOption = Severity.MODERATE,
    seed: SeedOption = 0,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, metavar="N", help="Degrade each face N times, with seeds from --seed on.")
    ] = 1,
    rows: Annotated[
        str,
        typer.Option(
            "--rows",
            metavar="NAMES",
            help="What is compared, with commas: generic, specific, specific-N (N references), wrong (somebody "
            "else's), filters, references, all.",
        ),
    ] = "generic,specific",
    compare: Annotated[
        list[Path] | None,
        typer.Option(
            "--compare", metavar="FILE", help="Also another network's weights, through spandrel; may be repeated."
        ),
    ] = None,
    results_folders: Annotated[
        list[Path] | None,
        typer.Option(
            "--results", metavar="DIR", help="Also what another program made of --pairs-out; may be repeated."
        ),
    ] = None,
    pairs_out: Annotated[
        Path | None,
        typer.Option("--pairs-out", metavar="DIR", help="Write the true and the degraded faces to a new folder."),
    ] = None,
    strips_out: Annotated[
        Path | None,
        typer.Option(
            "--strips", metavar="DIR", help="Write each face before, after and true, side by side, to a new folder."
        ),
    ] = None,
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
    from dmdcli.cli.build import build_finder, build_restorer, stay_offline
    from dmdcli.evaluation.evaluate import check_names
    from dmdcli.evaluation.evaluate import evaluate as measure_pairs
    from dmdcli.evaluation.pairs import PairsFolder, make_pairs
    from dmdcli.evaluation.rows import FILTERS, Filtered, Restored, Results, choose_rows
    from dmdcli.evaluation.strips import StripsFolder
    from dmdcli.evaluation.summary import split_by_session, summarize
    from dmdcli.training.data import read_faces

    stay_offline(offline)
    terminal = Terminal(quiet=quiet, json_lines=json_lines)
    chosen = choose_rows([name.strip() for name in rows.split(",")])
    theirs = [Results(path) for path in results_folders or ()]
    faces = read_faces(folder, split)
    recogniser = build_finder(kit, device=device, say=terminal.say).kit
    filters = tuple(row for row in chosen if row in FILTERS)
    ours = tuple(row for row in chosen if row not in FILTERS)
    makers: list[Maker] = [Filtered(filters)] if filters else []
    if ours:
        restorer = build_restorer(model, device, batch_size)
        makers.append(Restored(restorer, ours, None if true_landmarks else recogniser))
    makers += [build_other(path, device) for path in compare or ()]
    makers += theirs
    names = [row for maker in makers for row in maker.rows]
    check_names(names)
    strips = None if strips_out is None else StripsFolder(strips_out, faces, folder, names)
    writing = None if pairs_out is None else PairsFolder(pairs_out, faces, folder)
    results: list[Evaluated] = []
    with terminal.progress("faces", len(faces.samples) * seeds) as advance:
        pairs = make_pairs(faces, severity, range(seed, seed + seeds))
        if writing is not None:
            pairs = writing.add_all(pairs)
        for result in measure_pairs(faces, pairs, makers, recogniser, strips):
            results.append(result)
            terminal.record(crop_record(result))
            advance()
    summary = summarize(results)
    parts = {name: summarize(part) for name, part in split_by_session(results).items()}
    terminal.record(summary_record(summary, parts))
    print_summary(terminal, summary, parts)
    nobodys = [name for name in names if name not in summary.counts]
    if nobodys:
        terminal.say(f"No person of {split} has the photographs that {', '.join(nobodys)} would take.")
    if writing is not None:
        terminal.say(f"The pairs are in {pairs_out}.")
    if strips is not None:
        terminal.say(f"The strips are in {strips_out}; sheet.png shows several people.")


def build_other(path: Path, device: str) -> Maker:
    """Load another network; a function of its own, for it alone wants spandrel."""
    from dmdcli.evaluation.compare import Other

    return Other(path, device)


def crop_record(result: Evaluated) -> Mapping[str, object]:
    """One crop's line of --json."""
    return {
        "schema": 1,
        "seed": result.seed,
        "crop": result.crop,
        "identity": result.identity,
        "source": result.source,
        "degradation": result.degradation.to_dict(),
        "references": result.references,
        **{row: vars(quality) for row, quality in result.rows.items()},
    }


def summary_record(summary: Summary, parts: Mapping[str, Summary]) -> Mapping[str, object]:
    """The last line of --json: all crops, and beside them studio pairs and others."""
    return {"schema": 1, "summary": {**figures(summary), **{name: figures(part) for name, part in parts.items()}}}


def figures(summary: Summary) -> Mapping[str, object]:
    """A summary as plain numbers."""
    gains = {row: plain(gained) for row, gained in summary.gains.items()}
    differences = [
        {"row": one.row, "base": one.base, "faces": one.faces, "people": one.people, "gains": plain(one.gains)}
        for one in summary.differences
    ]
    return {"counts": summary.counts, "means": summary.means, "gains": gains, "differences": differences}


def plain(gains: Mapping[str, Gain]) -> Mapping[str, Mapping[str, float]]:
    """Gains by metric as plain numbers."""
    return {metric: vars(gain) for metric, gain in gains.items()}


def print_summary(terminal: Terminal, summary: Summary, parts: Mapping[str, Summary]) -> None:
    """Print the mean of each row, then paired differences with intervals: of all faces, of studio pairs, of others."""
    metrics = [metric for metric in LABELS if metric in summary.means["input"]]
    heads = [LABELS[metric] for metric in metrics]
    lines = [
        [f"{row} ({summary.counts[row]})", *(f"{mean[metric]:.3f}" if metric in mean else "-" for metric in metrics)]
        for row, mean in summary.means.items()
    ]
    terminal.table(["mean (faces)", *heads], lines)
    for name, part in {"": summary, **(parts if len(parts) > 1 else {})}.items():
        lines = [
            [f"{one.row} - {one.base} ({one.faces})", *(describe(one, metric) for metric in metrics)]
            for one in part.differences
        ]
        if not lines:
            continue
        terminal.result("")
        terminal.table([f"{name or 'difference'} (faces)", *heads], lines)
    terminal.result("")
    terminal.result(LEGEND)


def describe(difference: Difference, metric: str) -> str:
    """A difference in words: +0.512 (+0.401 to +0.630); one person gives no interval."""
    gain = difference.gains.get(metric)
    if gain is None:
        return "-"
    interval = f"{gain.low:+.3f} to {gain.high:+.3f}" if difference.people > 1 else "one person"
    return f"{gain.mean:+.3f} ({interval})"
