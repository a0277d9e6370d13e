"""`dmd people`: list, show, rename, merge, export, import and forget the enrolled people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmdcli.cli.build import build_finder, build_library
from dmdcli.cli.console import (
    DryRunOption,
    JsonOption,
    Kit,
    KitOption,
    NameArgument,
    OverwriteOption,
    Terminal,
    VerboseOption,
    YesOption,
    counted,
    is_confirmed,
    one_line,
)
from dmdcli.cli.people_edit import edit
from dmdcli.errors import EXIT_USAGE, UnknownPersonError, UsageError

if TYPE_CHECKING:
    from dmdcli.journal_forgetting import ForgetfulJournal
    from dmdcli.library import Library
    from dmdcli.person import Person
    from dmdcli.pipeline.forget import Cleared

SCHEMA = 1
"""Version of the JSON objects."""

people = typer.Typer(
    help="List, show, edit, rename, merge, export, import and forget the enrolled people.", no_args_is_help=True
)
people.command("edit")(edit)


@people.command("list")
def list_people(json: JsonOption = False) -> None:
    """List the enrolled people."""
    terminal = Terminal(json_lines=json)
    library = build_library()
    enrolled = library.people()
    versions = library.versions(enrolled)
    ready = {person.id: caches_of(library, person, versions[person.id]) for person in enrolled}
    for person in enrolled:
        terminal.record(
            {
                "schema": SCHEMA,
                "name": person.name,
                "references": len(person.references),
                "added": person.added,
                "ready": ready[person.id],
            }
        )
    terminal.table(
        ["name", "references", "added", "ready"],
        [
            (person.name, len(person.references), person.added, "yes" if ready[person.id] else "on next use")
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
    """Give a person another name, in corrections too."""
    from dmdcli.corrections import Corrections
    from dmdcli.person import check_name

    library = build_library()
    before = library.person(name)
    library.check_free(before, check_name(new_name))
    Corrections(library.home).rename(before.name, check_name(new_name))  # first: a second try finds the person still
    after = library.rename(name, new_name).name
    Terminal().result(f"{before.name} is called {after} now.")


@people.command("merge")
def merge(
    name: NameArgument,
    other: Annotated[str, typer.Argument(metavar="OTHER", help="Who is the same person; their references go to NAME.")],
    kit: KitOption = Kit.AUTO,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> None:
    """Make one person of two who were enrolled twice.

    NAME gets the references of OTHER, pictures that both have once, and OTHER is removed. The next `dmd restore` makes
    photos that show either of them again. It cannot be undone; `dmd people export` keeps a copy of both before.
    """
    from dmdcli.corrections import Corrections
    from dmdcli.library_exchange import merge_people
    from dmdcli.pipeline.resemblance import ALIKE, resemblance

    terminal = Terminal()
    library = build_library()
    person, leaving = library.person(name), library.person(other)
    expected, duplicates = merge_people(library, person.name, leaving.name, dry_run=True)
    alike = resemblance(library, build_finder(kit), person, leaving)
    terminal.result(f"{leaving.name} resembles {person.name} by {alike:.2f}; from {ALIKE} on they may be one person.")
    if alike < ALIKE:
        terminal.fail(f"{leaving.name} and {person.name} may well be two people: look at `dmd people show` of both.")
    there = f"; {counted(duplicates, 'picture')} both had" if duplicates else ""
    sentence = f"{counted(len(expected.references), 'reference')}{there}"
    if dry_run:
        terminal.result(f"{person.name} would have {sentence}. Nothing was changed (--dry-run).")
        return
    confirm_or_stop(f"Give {person.name} the references of {leaving.name}, and remove {leaving.name}?", yes, "changed")
    Corrections(library.home).rename(leaving.name, person.name)  # first: a second try finds both still
    merged, _ = merge_people(library, person.name, leaving.name)
    terminal.result(f"{merged.name} has {sentence}. {leaving.name} is no longer enrolled.")


@people.command("export")
def export(
    given: Annotated[
        list[str], typer.Argument(metavar="[NAME...] FILE.zip", help="Whom to write, and the file to write.")
    ],
    everybody: Annotated[bool, typer.Option("--all", help="Write everybody who is enrolled.")] = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Write people into one file, for a backup or another computer.

    It holds names, faces, landmarks and the paths of the photos they are from: give it to nobody who may not know them.
    """
    from dmdcli.library_exchange import export_people

    library = build_library()
    *names, last = given
    file = Path(last)
    if bool(names) == everybody:
        raise UsageError("Name the people to export and then the file to write, or say --all and the file.")
    chosen = library.people() if everybody else list({one.id: one for one in map(library.person, names)}.values())
    if not chosen:
        raise UsageError("Nobody is enrolled, so there is nobody to export.")
    export_people(library, chosen, file, overwrite=overwrite)
    references = counted(sum(len(person.references) for person in chosen), "reference")
    Terminal().result(f"{', '.join(person.name for person in chosen)} ({references}) are in {file}.")


@people.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE.zip", help="What `dmd people export` wrote.")],
    name: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="What to call the one person in the file.")
    ] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Add references to people who are enrolled already.")] = False,
    dry_run: DryRunOption = False,
) -> None:
    """Enrol the people in a file that was exported.

    The whole file is checked first; somebody of a name that is taken is refused, unless with --merge or --as.
    """
    from dmdcli.library_exchange import import_people

    terminal = Terminal()
    would = "would be " if dry_run else ""
    for one in import_people(build_library(), file, name=name, merge=merge, dry_run=dry_run):
        references, who = counted(one.added, "reference"), one.person.name
        there = f", {one.duplicates} there already" if one.duplicates else ""
        if one.outcome == "there":
            terminal.result(f"{who}: enrolled already, with all these references")
        else:
            terminal.result(f"{who}: {would}{one.outcome}, {references}{there}")
    if dry_run:
        terminal.result("Nothing was changed (--dry-run).")


@people.command("forget")
def forget(
    name: NameArgument,
    outputs: Annotated[
        list[Path] | None,
        typer.Option("--outputs", metavar="DIR", help="Clear this output folder too; may be given several times."),
    ] = None,
    gone: Annotated[
        bool,
        typer.Option("--gone", help="In the output folders, forget everybody who is no longer enrolled, too."),
    ] = False,
    verbose: VerboseOption = False,
    yes: YesOption = False,
) -> None:
    """Remove everything the library knows of a person and, with --outputs, what output folders do.

    That is references, what was made of them, and corrections of faces said to be theirs or, in photos that references
    were taken from, said to be nobody else's. From output folders go the person's ids, also those of people merged into
    this one, pictures and decisions; reports are written again without them. The photos themselves and the results,
    which show the face, stay; the next `dmd restore` makes the results again, as those of a stranger.
    """
    from dmdcli.corrections import Corrections
    from dmdcli.pipeline.forget import clear, opened_outputs

    terminal = Terminal(verbose=verbose)
    library = build_library()
    corrections = Corrections(library.home)
    if gone and not outputs:
        raise UsageError("--gone is about output folders; name them with --outputs.")
    person = None
    try:
        person = library.person(name)
    except UnknownPersonError as error:
        if not outputs and not corrections.about_person(name):
            raise
        if outputs and not gone:
            raise UsageError(
                f"{error} Of somebody forgotten before not even the id is known: --gone forgets everybody in these "
                "folders who is no longer enrolled."
            ) from error
    with opened_outputs(outputs or []) as journals:
        ids = set()
        if gone:
            enrolled = {one for somebody in library.people() for one in somebody.ids}
            ids = {one for journal in journals for one in journal.people()} - enrolled
        parts = [f"{counted(len(ids), 'person')} no longer enrolled"] if ids else []
        if person is not None:
            parts = [counted(len(person.references), "reference"), *parts]
            ids |= {*person.ids} - {one.id for one in library.people() if one.id != person.id}
        parts += [f"all that is known in {counted(len(journals), 'output folder')}"] if journals else []
        who = person.name if person else name
        digests = {reference.digest for reference in person.references} if person else set()
        corrected = corrections.about_person(who, digests)
        parts += [counted(corrected, "corrected face")] if corrected else []
        confirm_or_stop(f"Remove {who} ({', '.join(parts)})?", yes, "removed")
        cleared = [clear(journal, ids, who) for journal in journals]
        for one in cleared:
            print_cleared(terminal, one, who)
        removed = corrections.forget(who, digests) if corrected else []
        removed += library.forget(person.name) if person else []
        for path in removed:
            terminal.result(str(path))
        also = f" or changed, with {counted(corrected, 'corrected face')}" if corrected else ""
        terminal.say(f"{who} is forgotten: {len(removed)} files removed{also}. The photos themselves were not touched.")
        for journal, one in zip(journals, cleared, strict=True):
            write_report_again(terminal, journal, one)
    if not outputs:
        terminal.say("Output folders may hold the person's id and pictures in a report: --outputs DIR clears them.")
    else:
        terminal.say(
            "Not reached: backups, exports, decisions in other files, copies of reports and results, and names in "
            "the photos themselves and beside them."
        )


def print_cleared(terminal: Terminal, cleared: Cleared, name: str) -> None:
    """List what was removed from an output folder, and say what stays there."""
    from dmdcli.places import PICTURES

    pictures = [path for path in cleared.removed if PICTURES in path.parts]
    for path in cleared.removed:
        if path in pictures:
            terminal.detail(str(path))
        else:
            terminal.result(str(path))
    if pictures:
        terminal.result(f"{cleared.out / PICTURES}: {counted(len(pictures), 'picture')}")
    terminal.say(
        f"{cleared.out}: forgotten in the journal, {counted(cleared.photos, 'photo')}; {len(cleared.removed)} files "
        "removed or changed."
    )
    if cleared.restored:
        terminal.say(
            f"{cleared.out}: results that show the restored face and stay: {len(cleared.restored)}. "
            "`dmd restore` makes them again, as those of a stranger."
        )
    for path in cleared.restored:
        terminal.detail(str(path))
    for path in cleared.named:
        terminal.result(f"{path}: {name} is in it. Restoring again takes out only what dmd wrote.")
    for path, what in cleared.left.items():
        terminal.fail(f"{path} still holds {what}. Look at it, or remove it.")


def write_report_again(terminal: Terminal, journal: ForgetfulJournal, cleared: Cleared) -> None:
    """Write the report of an output folder that had one, of what is known there now."""
    from dmdcli.journal import Journal
    from dmdcli.report.write import write_report
    from dmdcli.report_files import REPORTS

    reports = {cleared.out / name for name in REPORTS}
    if reports <= {*cleared.removed}:
        page = write_report(Journal(journal.out, journal.database))
        terminal.say(f"{page}, and the same facts beside it, are written again; people are numbered in them.")
    elif not reports.isdisjoint(cleared.removed):
        terminal.say(f"`dmd report {cleared.out}` writes the report again.")


def confirm_or_stop(question: str, yes: bool, what: str) -> None:
    """Ask, unless `yes`, and end the command where the answer is no. what: "removed" or "changed"."""
    if not yes and not is_confirmed(one_line(question)):
        typer.echo(f"Nothing was {what}; --yes goes on without being asked.", err=True)
        raise typer.Exit(EXIT_USAGE)


def caches_of(library: Library, person: Person, version: str) -> list[str]:
    """Name what has been made from the person's references and is up to date, as "dictionary base-1a2b"."""
    return [f"{cache.kind} {cache.maker}" for cache in library.caches(person, version) if cache.current]
