"""What is said of results under earlier names: their photos were renamed or moved, and restored again since."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dmdcli.cli.console import Terminal

if TYPE_CHECKING:
    from dmdcli.journal import Journal
    from dmdcli.journal_renames import Renamed

MOST_LINES = 20
"""Results that are named; of more only the number."""


@dataclass(frozen=True)
class EarlierResults:
    """Results that stay under earlier names. count: how many. first: some of them, in natural order."""

    count: int = 0
    first: tuple[Renamed, ...] = ()

    def tell(self, terminal: Terminal) -> None:
        """Say of them what is to be known, if there are any."""
        if not self.count:
            return
        what, them = "1 result stays under the earlier name of a photo that was", "it if you do not want it"
        if self.count > 1:
            what = f"{self.count} results stay under earlier names of photos that were"
            them = "those you do not want"
        terminal.result(f"{what} renamed or moved. Remove {them}, dmd does not:")
        for one in self.first:
            terminal.paragraph(f"{one.place} (now {one.now})")
        if more := self.count - len(self.first):
            terminal.paragraph(f"and {more} more; the report and --json name all.")


def see_earlier(journal: Journal, see: Callable[[Renamed], None] = lambda _: None) -> EarlierResults:
    """The results that stay under earlier names. see: told of each of them."""
    from dmdcli.places import natural_key

    count = 0

    def sorting(one: Renamed) -> bytes:
        nonlocal count
        count += 1
        see(one)
        return natural_key(one.place)

    first = heapq.nsmallest(MOST_LINES, journal.renames.results(), key=sorting)
    return EarlierResults(count, tuple(first))
