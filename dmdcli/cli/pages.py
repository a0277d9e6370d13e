"""What the commands with a page share: serving it until it is finished, and saying what came of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmdcli.cli.browser import from_elsewhere, show_server
from dmdcli.cli.build import build_memorize, build_restorer, library_folder
from dmdcli.cli.console import Terminal, counted
from dmdcli.cli.late import LateRestorer
from dmdcli.errors import DMDError

if TYPE_CHECKING:
    from dmdcli.faces.finder import FaceFinder
    from dmdcli.library import Library
    from dmdcli.model.dictionary import Dictionary
    from dmdcli.page.desk import Desk
    from dmdcli.page.keeping import Kept
    from dmdcli.pipeline.people import People

NoOpenOption = Annotated[
    bool, typer.Option("--no-open", help="Do not open the browser on the page, only say its address.")
]


def serve(desk: Desk, no_open: bool) -> None:
    """Serve the page of a desk until its Finish button, or Ctrl-C."""
    from dmdcli.page.server import serving

    with serving(desk) as server:
        if no_open:
            typer.echo(f"The page: {server.address}", err=True)
            typer.echo(f"The link works once. {from_elsewhere(server.port)} Ctrl-C ends the page.", err=True)
        else:
            show_server(server)
        with suppress(KeyboardInterrupt):
            server.wait()


def kept_in_library() -> Kept:
    """The corrections in the library."""
    from dmdcli.corrections import Corrections
    from dmdcli.page.keeping import Kept

    return Kept(Corrections(library_folder()))


def people_for_page(
    library: Library, finder: FaceFinder, model: str, device: str, terminal: Terminal
) -> tuple[LateRestorer, People[Dictionary]]:
    """The network that restores, which is loaded while the page is opened, and the people it knows."""
    from dmdcli.pipeline.people import recall_people

    later = LateRestorer(partial(build_restorer, model, device))

    def load() -> None:
        try:
            later.late.get()
        except DMDError as error:  # without previews all else works
            terminal.fail(f"There are no previews: {error}")

    people = recall_people(library, finder, later, build_memorize(later))
    # No daemon: a program that ends while libraries are being loaded would crash. It waits these few seconds instead.
    threading.Thread(target=load, name="load the network").start()
    return later, people


def tell_decided(terminal: Terminal, decided: Mapping[str, int], where: Path, what: str = "face") -> None:
    """The last line of a command with a page. where: what was decided is kept there. what: it was decided about."""
    from dmdcli.page.keeping import FACELESS

    if not decided:
        terminal.result("Nothing was decided, and nothing was changed.")
        return
    kinds = [(word, count, "photo" if word == FACELESS else what) for word, count in decided.items()]
    said = ", ".join(
        f"{count} {word}" if place and kinds[place - 1][2] == kind else f"{counted(count, kind)} {word}"
        for place, (word, count, kind) in enumerate(kinds)
    )
    used = "restore, enroll and check" if what == "face" else "the person's dictionary"
    kept = (
        f" They are kept in {where}, and used by {used} from now on."
        if {*decided} - {"accepted", "removed", FACELESS}
        else ""
    )
    terminal.result(f"{said}.{kept}")
