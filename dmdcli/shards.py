"""A collection divided among several runs of `dmd restore`: which photos fall to which."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dmdcli.errors import UsageError


@dataclass(frozen=True, order=True)
class Shard:
    """One of `count` parts of a collection. number: from 1."""

    count: int
    number: int

    def __str__(self) -> str:
        """As the flag says it: 3/8."""
        return f"{self.number}/{self.count}"

    def holds(self, place: str) -> bool:
        """Whether a photo falls to it, judged by nothing but its result's place below the output folder, as text."""
        digest = hashlib.sha256(os.fsencode(place)).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1


def read_shard(text: str) -> Shard:
    """The shard that "3/8" names; UsageError for what names none."""
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if found is None:
        raise UsageError(f"--shard {text}: say which part of how many, as in --shard 3/8.")
    number, count = (int(one) for one in found.groups())
    if not 1 <= number <= count:
        some = "a number above 0" if count < 1 else f"a number between 1 and {count}" if count > 1 else "1"
        raise UsageError(f"--shard {text}: {'the number of parts' if count < 1 else 'the part'} must be {some}.")
    return Shard(count, number)


def ranges(numbers: Iterable[int], comma: str = ", ") -> str:
    """Numbers, in order, with neighbours joined: 1-39, 41."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return comma.join("-".join(str(end) for end in run) for run in runs)


def told(shards: Sequence[Shard]) -> str:
    """Some shards, in words: "Shard 2/3"; "Shards 1-2, 5 of 8". Of several divisions, one after the other."""
    parts = []
    for count in sorted({one.count for one in shards}):
        numbers = [one.number for one in shards if one.count == count]
        parts.append(f"Shards {ranges(numbers)} of {count}" if len(numbers) > 1 else f"Shard {numbers[0]}/{count}")
    return ", ".join(parts)
