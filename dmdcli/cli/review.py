"""`dmd review`: the results in an output folder on a page, to be accepted or sent back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dmdcli.cli.build import build_finder, build_library, library_folder
from dmdcli.cli.console import (
    DeviceOption,
    Kit,
    KitOption,
    ModelOption,
    OfflineOption,
    QuietOption,
    Terminal,
    VerboseOption,
    counted,
)
from dmdcli.cli.pages import NoOpenOption, kept_in_library, people_for_page, serve, tell_decided
from dmdcli.cli.report import names_by_id
from dmdcli.errors import UsageError


def review(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="An output folder of `dmd restore`.")],
    kit: KitOption = Kit.AUTO,
    model: ModelOption = "base",
    device: DeviceOption = "auto",
    no_open: NoOpenOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Show the restored faces of a folder on a page in the browser, the most doubtful first.

    Each is accepted, or given another strength, person or other landmarks, or left as the original was. Results stay as
    they are; the same `dmd restore` command as before then makes just those photos again.
    """
    from dmdcli.cli.build import stay_offline

    stay_offline(offline)
    from dmdcli.corrections import FOLDER
    from dmdcli.journal import has_journal, read_journal
    from dmdcli.page.result_desk import ResultDesk
    from dmdcli.page.turns import share
    from dmdcli.places import natural_order

    terminal = Terminal(quiet=quiet, verbose=verbose)
    if not has_journal(out):
        raise UsageError(f"There is no journal in {out}. Name a folder that `dmd restore` wrote to.")
    with read_journal(out) as journal:
        rows = [row for place in sorted(journal.places(), key=natural_order) if (row := journal.row(place)) is not None]
    if not any(row.faces for row in rows):
        raise UsageError(f"No face was found in the photos of {out}; there is nothing to review.")
    library = build_library()
    finders = share(build_finder(kit, device=device, say=terminal.say))
    restorer, people = people_for_page(library, finders.served, model, device, terminal)
    desk = ResultDesk(out, rows, finders, restorer, people, kept_in_library(), names_by_id())
    try:
        serve(desk, no_open)
    finally:
        desk.close()
    tell_decided(terminal, desk.decided(), library_folder() / FOLDER)
    again = desk.to_be_made_again()
    for place in again:
        terminal.detail(f"To be made again: {place}")
    if again:
        terminal.result(
            f"{counted(len(again), 'photo')} will be made again, and no other, when the `dmd restore` command that "
            f"wrote {out} is given once more."
        )
