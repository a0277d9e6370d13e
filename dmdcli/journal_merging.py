"""The journals of the shards of an output folder become one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from dmdcli.errors import JournalFormatError, UsageError
from dmdcli.files import remove_unfinished
from dmdcli.journal import Journal, has_journal
from dmdcli.journal_copying import copy_rows
from dmdcli.journal_division import Division, copy_shard, keep_divisions, read_division
from dmdcli.journal_file import (
    DamagedJournalError,
    connect,
    connect_anyway,
    held,
    journal_path,
    readable,
    remove_journal,
    shards_left,
)
from dmdcli.shards import Shard

RESULTS = "SELECT CASE WHEN finished IS NULL THEN 'unfinished' ELSE result END, count(*) FROM photos GROUP BY 1"


@dataclass(frozen=True)
class Merged:
    """What came of it.

    journal: the whole one. results: how many photos of it came to which; "unfinished" were being written when a run was
    stopped. shards: those joined. division: what is known of them, and of those that were joined before.
    """

    journal: Journal
    results: Mapping[str, int]
    shards: tuple[Shard, ...]
    division: Division


@contextmanager
def merge_journals(out: Path) -> Iterator[Merged]:
    """Put the journals of all shards into the folder's own, remove them, and hold the folder against every other run.

    May be killed at any instant and begun again: each journal goes in whole or not at all, and
    they are removed when all are in. Raises UsageError where there is no journal at all, CannotGoOnError where a shard
    or another run is at work or nothing can be written, JournalFormatError for a shard's journal that is damaged.
    """
    if not has_journal(out):
        raise UsageError(f"There is no journal in {out}. Name a folder that `dmd restore --shard` wrote to.")
    with held(out):
        left = shards_left(out)
        for shard in left:
            with held(out, shard):
                pass  # nobody is at work, and nobody begins while the folder is held
        database, notes = connect_anyway(journal_path(out))
        with closing(database):
            journal = Journal(out, database, notes)
            database.execute("PRAGMA synchronous = FULL")  # a power cut must not take back what is removed below
            for shard in left:
                _merge(out, shard, database)
            if left:
                with readable(journal_path(out)):
                    keep_divisions(database, {shard.count for shard in left})
                for folder in {(out / place).parent for place in journal.places()}:
                    remove_unfinished(folder)
            for shard in left:
                remove_journal(journal_path(out, shard))
            with readable(journal_path(out)):
                results, division = dict(database.execute(RESULTS).fetchall()), read_division(database)
            yield Merged(journal, results, tuple(left), division)


def _merge(out: Path, shard: Shard, database: sqlite3.Connection) -> None:
    path = journal_path(out, shard)
    try:
        part = connect(path, create=False)
    except DamagedJournalError as damage:
        raise JournalFormatError(
            f"The journal {path} is damaged ({damage}). Give the command of shard {shard} again, which puts it aside "
            "and begins a new one; then merge again."
        ) from damage
    with closing(part), readable(path):
        copy_rows(part, database, lambda _: True)
        copy_shard(shard, part, database)
