"""`dmd merge`: what the shards of a collection did becomes one output folder, with a report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmdcli.cli.console import (
    OpenOption,
    QuietOption,
    ReportOption,
    SingleFileOption,
    Terminal,
    WriteNamesOption,
    counted,
)
from dmdcli.cli.renamed import see_earlier
from dmdcli.cli.report import names_by_id, show
from dmdcli.errors import EXIT_SOME_FAILED

if TYPE_CHECKING:
    from dmdcli.journal_merging import Merged

UNTOLD = frozenset({"calibration", "networks", "recipe", "person", "model"})
"""Settings whose values say nothing to people."""


def merge(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder that `dmd restore --shard` wrote to.")],
    report: ReportOption = True,
    single_file: SingleFileOption = False,
    open_: OpenOption = False,
    write_names: WriteNamesOption = False,
    quiet: QuietOption = False,
) -> None:
    """Put the journals of all shards of an output folder together, once they have ended, and write the report.

    Until then the folder takes no run without --shard. Nothing is restored: shards that are missing, were stopped, or
    had other photos or options than the rest are named, and the exit code is 3. Run those again, and merge again.
    """
    from dmdcli.journal import has_journal
    from dmdcli.journal_merging import merge_journals
    from dmdcli.report.write import Told, check_report_places, write_report

    terminal = Terminal(quiet=quiet)
    if report and has_journal(out):
        check_report_places(out)
    page = None
    with merge_journals(out) as merged:
        for note in merged.journal.notes:
            terminal.fail(note)
        undone = [*_undone(merged)]
        merged.journal.renames.forget_removed()
        earlier = see_earlier(merged.journal)
        if report:
            told = Told(names_by_id() if write_names else {}, single_file)
            page = write_report(merged.journal, told)
    found = ", ".join(f"{count} {result}" for result, count in sorted(merged.results.items()))
    joined = f"Joined: {counted(len(merged.shards), 'shard')}." if merged.shards else "There was nothing left to join."
    terminal.result(f"{joined} In {out} now: {counted(sum(merged.results.values()), 'photo')}{found and f': {found}'}.")
    earlier.tell(terminal)
    if page is not None:
        terminal.result(f"What was done, photo by photo: {page}")
    for sentence in undone:
        terminal.fail(sentence)
    failed = merged.results.get("failed", 0) + merged.results.get("unfinished", 0)
    if failed:
        terminal.fail(f"{counted(failed, 'photo')} failed or stopped half-way; the next `dmd restore` tries again.")
    if page is not None and open_:
        show(page)
    if undone or failed:
        raise typer.Exit(EXIT_SOME_FAILED)


def _undone(merged: Merged) -> Iterator[str]:
    """What keeps the collection from being done, as far as the shards tell, and what to do."""
    from dmdcli.shards import ranges, told

    division = merged.division
    missing, stopped, outdated = division.missing, division.stopped, division.outdated
    if missing:
        yield f"{told(missing)}: nothing was found."
    if stopped:
        yield f"{told(stopped)} " + (
            "was stopped before its end." if len(stopped) == 1 else "were stopped before their end."
        )
    if outdated and division.latest is not None:
        counts = ", ".join(str(count) for count in sorted({row.photos or 0 for row in outdated}))
        yield (
            f"{told([row.shard for row in outdated])} had another list of photos ({counts} in all) than shard "
            f"{division.latest.shard} ({division.latest.photos}), which began last: photos came or went, or other "
            "folders were given."
        )
    differing = _differing(merged)
    if differing:
        options = ", ".join(map("".join, differing.items()))
        other_places = " Photos may have been done twice or by nobody." if "--ext" in differing else ""
        yield (
            f"Not all shards had the same options: {options}.{other_places} Run all "
            "shards again with the same options, then merge again."
        )
    again = {*missing, *stopped, *(row.shard for row in outdated)}
    if again and not differing:
        divisions = sorted({one.count for one in again})
        arrays = [(ranges((one.number for one in again if one.count == count), ","), count) for count in divisions]
        what = " and ".join(f"`--array={numbers}` with --shard N/{count}" for numbers, count in arrays)
        yield f"Run again what is not done (in an array of Slurm: {what}), then `dmd merge {merged.journal.out}`."


def _differing(merged: Merged) -> dict[str, str]:
    """Which options were not the same for all shards, and in brackets for which they were what."""
    from dmdcli.pipeline.standing import flag_of
    from dmdcli.shards import ranges

    asked = {
        one: {**merged.journal.settings(one.settings), "kit": one.kit, "model": one.weights}
        for one in merged.division.asked
    }
    parts: dict[str, str] = {}
    for key in sorted({key for settings in asked.values() for key in settings}):
        numbers: dict[str, list[int]] = {}
        for one, settings in asked.items():
            given = settings.get(key)
            value = "not given" if given is None else json.dumps(given, sort_keys=True).strip('"')
            numbers.setdefault(value, []).extend(shard.number for shard in merged.division.asked[one])
        if len(numbers) > 1:
            values = "; ".join(f"{value} in {ranges(which)}" for value, which in numbers.items())
            parts[flag_of(key)] = "" if key in UNTOLD else f" ({values})"
    return parts
