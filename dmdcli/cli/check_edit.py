"""`dmd check --edit`: the faces of photos on a page, where they are put right by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dmdcli.cli.build import build_library, library_folder
from dmdcli.cli.console import Terminal, counted
from dmdcli.cli.pages import kept_in_library, people_for_page, serve, tell_decided

if TYPE_CHECKING:
    from dmdcli.faces.finder import FaceFinder
    from dmdcli.places import FoundPhotos


def edit(
    photos: Sequence[Path],
    files: FoundPhotos,
    finder: FaceFinder,
    terminal: Terminal,
    *,
    model: str,
    device: str,
    no_open: bool,
) -> None:
    """Show the faces of `files`, the worst first, and keep what is decided about them in the library."""
    from dmdcli.corrections import FOLDER
    from dmdcli.page.photo_desk import PhotoDesk
    from dmdcli.page.turns import share

    finders = share(finder)
    restorer, people = people_for_page(build_library(), finders.served, model, device, terminal)
    where = photos[0].name if len(photos) == 1 and photos[0].name else counted(len(files), "photo")
    failures = [str(error) for error in files.unreadable]
    desk = PhotoDesk(files, finders, restorer, people, kept_in_library(), f"Faces in {where}", failures)
    desk.start()
    try:
        serve(desk, no_open)
    finally:
        desk.close()
    for failure in desk.state().failures[len(failures) :]:
        terminal.fail(failure)
    tell_decided(terminal, desk.decided(), library_folder() / FOLDER)
