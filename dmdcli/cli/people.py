"""`dmd people`: list, show, rename and forget the enrolled people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dmdcli.cli.build import build_library
from dmdcli.cli.console import JsonOption, NameArgument, Terminal, YesOption, is_confirmed, one_line
from dmdcli.errors import EXIT_USAGE

if TYPE_CHECKING:
    from dmdcli.library import Library, Person

SCHEMA = 1
"""Version of the JSON objects."""

people = typer.Typer(help="List, show, rename and forget the enrolled people.", no_args_is_help=True)


@people.command("list")
def list_people(json: JsonOption = False) -> None:
    """List the enrolled people."""
    terminal = Terminal(json_lines=json)
    library = build_library()
    enrolled = library.people()
    for person in enrolled:
        terminal.record(
            {
                "schema": SCHEMA,
                "name": person.name,
                "references": len(person.references),
                "added": person.added,
                "ready": caches_of(library, person),
            }
        )
    terminal.table(
        ["name", "references", "added", "ready"],
        [
            (person.name, len(person.references), person.added, "yes" if caches_of(library, person) else "on next use")
            for person in enrolled
        ],
    )
    if not enrolled:
        terminal.say("Nobody is enrolled. `dmd enroll NAME PHOTOS...` learns a person's face.")


@people.command("show")
def show(name: NameArgument, json: JsonOption = False) -> None:
    """Show one person's references."""
    terminal = Terminal(json_lines=json)
    library = build_library()
    person = library.person(name)
    for reference in person.references:
        terminal.record(
            {
                "schema": SCHEMA,
                "name": person.name,
                "source": reference.source,
                "added": reference.added,
                "sharpness": reference.sharpness,
                "landmarks": reference.landmark_source,
                "crop": str(library.crop_path(person, reference)),
            }
        )
    terminal.result(f"{person.name}, in {library.folder(person)}")
    terminal.table(
        ["photo", "added", "sharpness", "landmarks"],
        [
            (reference.source, reference.added[:10], reference.sharpness, reference.landmark_source)
            for reference in person.references
        ],
    )


@people.command("rename")
def rename(
    name: NameArgument, new_name: Annotated[str, typer.Argument(metavar="NEW_NAME", help="What to call them.")]
) -> None:
    """Give a person another name."""
    library = build_library()
    before = library.person(name).name
    after = library.rename(name, new_name).name
    Terminal().result(f"{before} is called {after} now.")


@people.command("forget")
def forget(name: NameArgument, yes: YesOption = False) -> None:
    """Remove everything the library knows of a person."""
    library = build_library()
    person = library.person(name)
    count = len(person.references)
    question = f"Remove {one_line(person.name)} and {count} {'reference' if count == 1 else 'references'}?"
    if not yes and not is_confirmed(question):
        typer.echo("Nothing was removed; --yes removes without being asked.", err=True)
        raise typer.Exit(EXIT_USAGE)
    terminal = Terminal()
    removed = library.forget(person.name)
    for path in removed:
        terminal.result(str(path))
    terminal.say(f"{person.name} is forgotten: {len(removed)} files removed. The photos themselves were not touched.")


def caches_of(library: Library, person: Person) -> list[str]:
    """Name what has been made from the person's references and is up to date, as "dictionary base-1a2b"."""
    return [f"{cache.kind} {cache.maker}" for cache in library.caches(person) if cache.current]
