"""`dmd degrade`: make bad copies of photos, to try the restoration on."""

from __future__ import annotations

from typing import Annotated

import typer

from dmdcli.cli.console import JsonOption, OutOption, OverwriteOption, PhotosArgument, QuietOption, Terminal
from dmdcli.errors import EXIT_SOME_FAILED, PhotoReadError
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
    from dmdcli.pipeline.degrade import degrade_photos
    from dmdcli.places import check_output_folder, stream_outputs, survey_photos

    terminal = Terminal(quiet=quiet, json_lines=json_lines)
    survey = survey_photos(photos)
    check_output_folder(survey, out)
    rows: list[tuple[str, str, str, str, str, str]] = []
    failed = False

    def tell(unreadable: PhotoReadError) -> None:
        nonlocal failed
        failed = True
        terminal.fail(str(unreadable))

    pairs = stream_outputs(survey, out, ext, tell)
    with terminal.progress("photos", survey.photos) as advance:
        for result in degrade_photos(pairs, severity, seed, crop_side=crop_side, ext=ext, overwrite=overwrite):
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
