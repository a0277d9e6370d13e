"""Shows a local page in the user's browser, which is left to itself, and says how else it can be reached."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from dmdcli.page.server import PageServer

OPEN = "import sys, webbrowser; sys.exit(not webbrowser.open(sys.stdin.read()))"
"""The address comes through a pipe; what a browser says of itself, and how long it runs, is nobody's business here."""


def show_server(server: PageServer) -> None:
    """Print the address of a page that is being served, and open it in the browser where there is one to be seen."""
    typer.echo(f"The page: {server.address}", err=True)
    typer.echo("The link works once; open it yourself if no browser does. Ctrl-C ends the page.", err=True)
    if has_display(sys.platform, os.environ):
        show(server.address, lambda: typer.echo(f"No browser could be opened. {from_elsewhere(server.port)}", err=True))
    else:
        typer.echo(f"There is no display for a browser here. {from_elsewhere(server.port)}", err=True)


def show(address: str, otherwise: Callable[[], None]) -> threading.Thread:
    """Open an address in the browser, without waiting for it; `otherwise` is called, later, where that cannot be done.

    The thread that is returned ends when that is known.
    """

    def watch() -> None:
        done = subprocess.run(
            [sys.executable, "-I", "-c", OPEN],  # nothing is taken from the folder of photos it is run in
            input=address.encode(),
            env={name: value for name, value in os.environ.items() if name != "TERM"},  # none that needs a terminal
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for this program, not for the browser
            check=False,
        )
        if done.returncode:
            otherwise()

    thread = threading.Thread(target=watch, name="browser", daemon=True)
    thread.start()
    return thread


def has_display(system: str, environment: Mapping[str, str]) -> bool:
    """Whether a browser that is opened here would be seen. system: as `sys.platform`."""
    if environment.get("BROWSER") or environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"):
        return True
    return system in ("win32", "darwin") and not environment.get("SSH_CONNECTION")


def from_elsewhere(port: int) -> str:
    """How the page is reached from the computer at which the user sits."""
    return (
        "On this computer, open the address in any browser. From another one, first run there "
        f"`ssh -L {port}:127.0.0.1:{port} {platform.node()}`, then open the same address there."
    )
