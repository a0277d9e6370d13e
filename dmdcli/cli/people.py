"""`dmd people`: list, show, rename and forget the enrolled people."""

from __future__ import annotations

import typer

people = typer.Typer(help="List, show, rename and forget the enrolled people.", no_args_is_help=True)


@people.command("list")
def list_people() -> None:
    """List the enrolled people."""
    raise NotImplementedError


@people.command("show")
def show() -> None:
    """Show one person's references."""
    raise NotImplementedError
