"""`dmd degrade`: make bad copies of photos, to try the restoration on."""

from __future__ import annotations

from typing import Annotated

import typer

from dmdcli.cli.console import JsonOption, OutOption, OverwriteOption, PhotosArgument, QuietOption, Terminal
from dmdcli.errors import EXIT_SOME_FAILED
from dmdcli.training.severity import Severity

SeverityOption = Annotated[
    Severity,
    typer.Option("--severity", help="How much blur, shrinking, noise and JPEG; old: an old print, aged and scanned."),
]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, metavar="N", help="The same number does the same damage to the same file name.")
]


def degrade(
    photos: PhotosArgument,
    out: OutOption,
    severity: SeverityOption = Severity.MODERATE,
    seed: SeedOption = 0,
    crop_side: Annotated[
        float,
        typer.Option(
            "--crop-side",
            metavar="PX",
            min=1,
            help="Side of a crop around a face, in photo pixels; the severities are meant for 512.",
        ),
    ] = 512,
    ext: Annotated[
        str, typer.Option("--ext", metavar="auto|png|...", help="Format to write; png adds no further damage.")
    ] = "png",
    overwrite: OverwriteOption = False,
    json_lines: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make bad copies of good photos, to try the restoration on."""
    from dmdcli.photos import check_output_places, find_photos, plan_outputs
    from dmdcli.pipeline.degrade import degrade_photos

    terminal = Terminal(quiet=quiet, json_lines=json_lines)
    files = find_photos(photos)
    outputs = plan_outputs(files, out, ext)
    check_output_places(photos, files, out, outputs)
    for unreadable in files.unreadable:
        terminal.fail(str(unreadable))
    rows: list[tuple[str, str, str, str, str, str]] = []
    failed = bool(files.unreadable)
    with terminal.progress("photos", len(files)) as advance:
        for result in degrade_photos(files, outputs, severity, seed, crop_side=crop_side, ext=ext, overwrite=overwrite):
            advance()
            degradation = result.degradation
            terminal.record(
                {
                    "schema": 1,
                    "photo": str(result.path),
                    "output": str(result.output) if result.output else None,
                    "status": result.status,
                    "error": result.error,
                    "degradation": degradation.to_dict() if degradation else None,
                }
            )
            if result.error is not None:
                failed = True
                terminal.fail(f"{result.path}: {result.error}")
            elif degradation is None:
                rows.append((str(result.output), "was there", "", "", "", ""))
            else:
                one = degradation
                numbers = (f"{one.blur:.1f}", f"{one.downscaling:.1f}", f"{one.noise:.1f}", str(one.jpeg))
                rows.append((str(result.output), "degraded", *numbers))
    terminal.table(("photo", "", "blur", "shrinking", "noise", "JPEG"), rows)
    if failed:
        raise typer.Exit(EXIT_SOME_FAILED)
