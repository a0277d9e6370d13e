"""What was decided about the faces of one photo: in the user's file of decisions, and by hand, kept in the library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dmdcli.decisions import Decision, combined, find
from dmdcli.shapes import Box, pair


@dataclass(frozen=True)
class Said:
    """The decisions about one photo. decided: in the file, which has the say. corrected: in the library, with boxes.

    Of each face, what the file does not say is as it is in the library.
    """

    decided: tuple[Decision, ...] = ()
    corrected: tuple[Decision, ...] = ()

    def drawn(self) -> tuple[Decision, ...]:
        """The decisions that put landmarks right, one about a face."""
        decided, corrected = ([one for one in group if one.landmarks] for group in (self.decided, self.corrected))
        known = pair([one.box for one in corrected if one.box], [one.box for one in decided if one.box])
        return (*decided, *(one for order, one in enumerate(corrected) if order not in known))

    def about(self, boxes: Sequence[Box]) -> list[Decision | None]:
        """What is decided about each of the faces with these boxes (upright photo pixels), the largest face first."""
        both = zip(find(self.decided, boxes), find(self.corrected, boxes), strict=True)
        return [combined(first, second) if first and second else first or second for first, second in both]

    def heard(self, boxes: Sequence[Box]) -> tuple[Decision, ...]:
        """The decisions of the file whose face is among those with these boxes."""
        return tuple(one for one in find(self.decided, boxes) if one is not None)
