"""`dmd report`: the account of what was done in an output folder, written again; `dmd restore` leaves it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmdcli.cli.build import build_library
from dmdcli.cli.console import OpenOption, QuietOption, SingleFileOption, Terminal, WriteNamesOption
from dmdcli.errors import UsageError

if TYPE_CHECKING:
    from dmdcli.journal import Journal


def report(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="An output folder of `dmd restore`.")],
    single_file: SingleFileOption = False,
    write_names: WriteNamesOption = False,
    open_: OpenOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write the report of what was restored into a folder again, without restoring anything.

    report.html is for eyes and needs no network; report.jsonl and report.csv hold the same facts. `dmd restore` writes
    all three when it ends.
    """
    from dmdcli.journal import has_journal, open_journal
    from dmdcli.report.write import Told, write_report

    terminal = Terminal(quiet=quiet)
    if not has_journal(out):
        raise UsageError(f"There is no journal in {out}. Name a folder that `dmd restore` wrote to.")
    with open_journal(out) as journal:
        for note in journal.notes:
            terminal.fail(note)
        page = write_report(journal, Told(names=names_by_id() if write_names else {}, single_file=single_file))
    terminal.result(str(page))
    if open_:
        show(page)


@contextmanager
def leaving_report(
    journal: Journal, outputs: Iterable[Path], *, single_file: bool, write_names: bool
) -> Iterator[Callable[[Path, Path, str], None]]:
    """Write the report when the run inside ends, also when it was interrupted; UsageError at once where it could not.

    outputs: where each photo's result goes, asked for with `single_file` only. Yields a function to be told of each
    photo whose place has a file that stays: that place, the photo and the reason.
    """
    from dmdcli.report.roll import Roll
    from dmdcli.report.write import Told, check_report_places, check_single_file, write_report

    check_report_places(journal.out)
    if single_file:
        check_single_file(len({*journal.places(), *map(journal.place, outputs)}))
    began = time.monotonic()
    with closing(Roll()) as roll:

        def leave() -> None:
            names = names_by_id() if write_names else {}
            write_report(journal, Told(names, single_file, time.monotonic() - began), roll)

        def left_alone(output: Path, photo: Path, reason: str) -> None:
            roll.leave_alone(journal.place(output), photo, f"{reason}; it stays as it is")

        try:
            yield left_alone
        except KeyboardInterrupt:
            leave()
            raise
        leave()


def names_by_id() -> dict[str, str]:
    """The names of the enrolled people, also by the ids they had before they were merged."""
    people = build_library().people()
    former = {one: person.name for person in people for one in person.formerly}
    return former | {person.id: person.name for person in people}


def show(page: Path) -> None:
    """Open a page in the browser, which is left to itself."""
    import webbrowser

    webbrowser.open(page.absolute().as_uri())
