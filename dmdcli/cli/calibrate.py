"""`dmd models calibrate`: fit what similarity means to photographs of known people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmdcli.cli.build import build_finder, build_library, stay_offline
from dmdcli.cli.console import (
    DeviceOption,
    JsonOption,
    Kit,
    KitOption,
    OfflineOption,
    QuietOption,
    Terminal,
    ThoroughOption,
    VerboseOption,
    counted,
)
from dmdcli.errors import UsageError

if TYPE_CHECKING:
    from dmdcli.faces.identity import Curve
    from dmdcli.pipeline.calibrate import Calibration, LabelledPhoto
    from dmdcli.places import PhotoFile

SCHEMA = 1
"""Version of the JSON object."""
SHARES = (0, 5, 50, 95, 100)
"""Percentiles of the distances that are printed."""


def calibrate(
    people: Annotated[
        Path, typer.Argument(metavar="PEOPLE", help="Folder with one folder of photographs per person.", readable=False)
    ],
    save: Annotated[bool, typer.Option("--save", help="Use the fitted curve from now on, for this kit.")] = False,
    kit: KitOption = Kit.AUTO,
    thorough: ThoroughOption = False,
    device: DeviceOption = "auto",
    json: JsonOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Fit similarity to photographs of known people.

    All pairs of photographs are compared; a logistic curve from their distance is fitted to which of them show one
    person. Without --save it is only printed, beside the curve in use. Take photographs like those you restore: a curve
    fitted to sharp modern portraits is too generous for old ones, and names strangers.
    """
    stay_offline(offline)
    terminal = Terminal(quiet=quiet, verbose=verbose, json_lines=json)
    labels = photos_of(people, terminal)

    from dmdcli.pipeline import calibrate as pipeline

    finder = build_finder(kit, thorough, device=device, say=terminal.say)
    seen: list[LabelledPhoto] = []
    with terminal.progress("photos", sum(len(files) for files in labels.values())) as advance:
        for photo in pipeline.look_at(labels, finder):
            seen.append(photo)
            if photo.reason is not None:
                terminal.detail(f"{photo.photo}: not used, {photo.reason}")
            advance()
    used = [photo for photo in seen if photo.reason is None]
    known = len({one.person for one in used})
    left_out = "; -v says why others were left out" if len(used) < len(seen) and not verbose else ""
    terminal.say(f"{len(used)} of {counted(len(seen), 'photo')} used, of {known} people{left_out}.")
    calibration = pipeline.calibrate(seen, finder.kit_name)
    report(terminal, calibration, finder.kit.similarity)
    warn(terminal, calibration, finder.kit.similarity)
    if save:
        path = pipeline.keep_curve(build_library().home, calibration)
        terminal.say(f"Saved in {path}; remove that file to go back to the curve that came along.")


def warn(terminal: Terminal, calibration: Calibration, in_use: Curve) -> None:
    """Say what the fitted curve must not be trusted with."""
    if calibration.gap is not None:
        low, high = calibration.gap
        terminal.say(
            f"The two kinds of pairs do not overlap: the middle lies somewhere from {low:.3f} to {high:.3f}, and the "
            "slope says little. More photographs, and harder ones, would tell."
        )
    if calibration.curve.middle > in_use.middle:
        terminal.say(
            "The fitted curve is more generous than the one in use: it names more people, and strangers among them "
            "where photographs are worse than these. It was judged by the pairs it was fitted to."
        )


def photos_of(people: Path, terminal: Terminal) -> dict[str, list[PhotoFile]]:
    """Return the photos in each person's folder, by its name. Raises UsageError where there are no such folders."""
    from dmdcli.errors import NothingToDoError
    from dmdcli.places import find_photos

    if not people.is_dir():
        raise UsageError(f"{people} is no folder. Give a folder with one folder of photographs per person.")
    labels: dict[str, list[PhotoFile]] = {}
    for folder in sorted(path for path in people.iterdir() if path.is_dir() and not path.name.startswith(".")):
        try:
            labels[folder.name] = list(find_photos([folder]))
        except NothingToDoError:
            terminal.detail(f"{folder}: no photos in it")
    if len(labels) < 2:
        raise UsageError(f"{people} holds folders with photographs of {len(labels) or 'no'} people; two are needed.")
    return labels


def report(terminal: Terminal, calibration: Calibration, in_use: Curve) -> None:
    """Print where both kinds of pairs lie, and what the fitted curve and the one in use make of them."""
    import numpy as np

    curves = {"fitted": calibration.curve, "in_use": in_use}
    terminal.record(
        {
            "schema": SCHEMA,
            "kit": calibration.kit,
            "people": calibration.people,
            "pairs": {"same": len(calibration.same), "different": len(calibration.different)},
            "curves": {
                name: {
                    "middle": round(curve.middle, 5),
                    "slope": round(curve.slope, 4),
                    "source": curve.source,
                    "misnamed": calibration.misnamed(curve),
                    "unrecognised": calibration.unrecognised(curve),
                }
                for name, curve in curves.items()
            },
        }
    )
    kinds = {"of one person": calibration.same, "of two people": calibration.different}
    terminal.table(
        ["pairs", "number", *(f"{share} %" for share in SHARES)],
        [
            (kind, len(found), *(f"{value:.3f}" for value in np.percentile(found, SHARES)))
            for kind, found in kinds.items()
        ],
    )
    terminal.result("")
    terminal.table(
        ["curve", "middle", "slope", "takes two people for one", "misses one person", "from"],
        [
            (
                name.replace("_", " "),
                f"{curve.middle:.3f}",
                f"{curve.slope:.1f}",
                f"{calibration.misnamed(curve):.2%}",
                f"{calibration.unrecognised(curve):.2%}",
                curve.source,
            )
            for name, curve in curves.items()
        ],
    )
