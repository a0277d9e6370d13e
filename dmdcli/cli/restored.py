"""What `dmd restore` says of a run: a JSON object a photo, a table at the end, the totals, an estimate."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from dmdcli.cli.console import Terminal, counted

if TYPE_CHECKING:
    from dmdcli.cli.tally import Tally
    from dmdcli.faces.identity import Curve
    from dmdcli.journal_renames import Renamed
    from dmdcli.pipeline.estimate import Estimate
    from dmdcli.pipeline.outcome import RestoredFace, RestoredPhoto

Line: TypeAlias = tuple[str, str, str, str]

SCHEMA = 1
"""Version of the JSON objects."""
MOST_ROWS = 200
"""Lines of the table at the end."""
WHERE = {"current": "up to date", "taken": "not restored"}
"""What the table says of photos that were skipped, by their standing; else there is a file that is not ours."""
BY = {"forced": ", as asked", "tag": ", as tagged", "decision": ", as decided"}
"""What the table says where somebody was not just recognised."""
NUMBERS = re.compile(r" \([^()]*\d[^()]*\)")
WIDTHS = re.compile(r"(?:only )?\d+ pixels wide")
"""What differs between the same reasons of two faces."""


def as_record(result: RestoredPhoto, model: str, kit: str, similarity: Curve) -> dict[str, object]:
    """Return the JSON object of one photo. similarity: the kit's curve."""
    return {
        "schema": SCHEMA,
        "photo": str(result.photo),
        "output": None if result.output is None else str(result.output),
        "status": result.status,
        "error": result.error,
        "standing": result.standing,
        "reason": result.reason,
        "seconds": round(result.seconds, 3),
        "model": model,
        "kit": kit,
        "similarity_measured": similarity.measured,
        "similarity_source": similarity.source,
        "faces": [
            {
                "box": [round(edge, 1) for edge in face.box],
                "matrix": [[float(number) for number in row] for row in face.matrix],
                "number": number,
                "person": face.person,
                "assigned_by": face.assigned_by,
                "similarity": None if face.similarity is None else round(face.similarity, 3),
                "used": face.used,
                "strength": round(face.strength, 3),
                "similarity_before": None if face.similarity is None else round(face.similarity, 3),
                "similarity_after": None if face.similarity_after is None else round(face.similarity_after, 3),
                "reason": face.reason,
                "confidence": None if face.confidence is None else face.confidence.record(),
                "problems": problems_of(face),
                "landmark_source": face.landmarks,
            }
            for number, face in enumerate(result.faces, start=1)
        ],
        "notes": list(result.notes),
    }


def renamed_photo(renamed: Renamed, out: Path) -> RestoredPhoto:
    """A result under an earlier name, as a photo that was skipped."""
    from dmdcli.pipeline.outcome import RestoredPhoto

    there = out / renamed.place
    return RestoredPhoto(renamed.photo, there, "skipped", 0.0, standing="renamed", reason=renamed.reason)


def problems_of(face: RestoredFace) -> list[str]:
    """What is unsure about a face; where its tag and recognition disagree, with names."""
    if face.conflict is None:
        return list(face.problems)
    from dmdcli.pipeline.whose import CONFLICTS

    return [face.conflict if problem in CONFLICTS else problem for problem in face.problems]


class Lines:
    """The lines of the table at the end, gathered photo by photo and bounded.

    Up to MOST_ROWS photos have a line each; of more, those that failed or stayed as they were, and, as far as there is
    room, those with people recognised. references: under --dry-run, how many each person has; then it is said, too,
    where in the photo people are.
    """

    def __init__(self, references: Mapping[str, int] | None) -> None:
        self._references = references
        self._photos = 0
        self._every: list[Line] = []
        self._wrong: list[tuple[int, Line]] = []
        self._recognised: list[tuple[int, Line]] = []
        self._told = 0

    def see(self, photo: RestoredPhoto, name: str) -> None:
        """Note what became of a photo. name: what it is called in the table."""
        self._photos += 1
        is_wrong = photo.error is not None or photo.standing in ("foreign", "taken")
        is_told = is_wrong or any(face.person or face.conflict for face in photo.faces)
        kept = self._wrong if is_wrong else self._recognised
        self._told += is_told
        if self._photos > MOST_ROWS and (not is_told or len(kept) == MOST_ROWS):
            return
        line = line_of(photo, name, self._references)
        if self._photos <= MOST_ROWS:
            self._every.append(line)
        if is_told:
            kept.append((self._photos, line))

    def show(self, terminal: Terminal) -> None:
        """Print the table, in the order of the photos, and say what has no line in it."""
        lines = self._every
        if self._photos > MOST_ROWS:
            lines = [line for _, line in sorted((self._wrong + self._recognised)[:MOST_ROWS])]
        terminal.table(["photo", "result", "faces", "remarks, and who was recognised (similarity)"], lines)
        if (more := self._told - MOST_ROWS) > 0 and self._photos > MOST_ROWS:
            terminal.result(f"{counted(more, 'photo')} more of this kind; --json tells of every photo.")


def line_of(photo: RestoredPhoto, name: str, references: Mapping[str, int] | None) -> Line:
    """Return the line of one photo: what became of it, how many faces, who was recognised."""
    words = {"restored": "would be restored", "untouched": "would be copied"} if references is not None else {}
    what = words.get(photo.status, photo.status)
    if photo.status == "skipped":
        what = WHERE.get(photo.standing or "", "there already")
    again = [photo.reason] if photo.reason and photo.reason != "--overwrite" and photo.standing != "current" else []
    people = [recognised(face, references) for face in photo.faces if face.person]
    restored = sum(face.used != "none" for face in photo.faces)
    conflicts = [face.conflict for face in photo.faces if face.conflict]
    wrong = [photo.error] if photo.error else []
    remarks = "; ".join(dict.fromkeys(wrong + again + people + conflicts + less_than_asked(photo.faces)))
    return (name, what, f"{restored} of {len(photo.faces)}" if photo.faces else "-", remarks)


def less_than_asked(faces: Sequence[RestoredFace]) -> list[str]:
    """Say which faces were restored in part, weaker or not at all, and why; of several of a kind, how many.

    Numbers are left out of the reasons of several, so that the same reason is said once.
    """
    said = []
    kinds = (
        ("left alone", [face for face in faces if face.used == "none" and face.reason]),
        ("restored in part or weaker", [face for face in faces if face.used != "none" and face.reason]),
    )
    for kind, chosen in kinds:
        if len(chosen) == 1:
            weaker = f" (strength {chosen[0].strength:.2g})" if 0 < chosen[0].strength < 1 else ""
            said.append(f"{kind}{weaker}: {chosen[0].reason}")
        elif chosen:
            reasons = Counter(
                WIDTHS.sub("small", NUMBERS.sub("", part))
                for face in chosen
                for part in (face.reason or "").split("; ")
            )
            why = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
            said.append(f"{len(chosen)} {kind}: {why}")
    return said


def recognised(face: RestoredFace, references: Mapping[str, int] | None) -> str:
    """Say who a face is, how surely, and, with `references`, by how many and where: the middle of the face."""
    forced = BY.get(face.assigned_by or "", "")
    if references is None or face.person is None:
        return f"{face.person}{forced} ({face.similarity:.2f})"
    x0, y0, x1, y1 = face.box
    by = counted(references[face.person], "reference")
    return f"{face.person}{forced} ({face.similarity:.2f}, {by}) at {(x0 + x1) / 2:.0f}, {(y0 + y1) / 2:.0f}"


def print_totals(terminal: Terminal, tally: Tally, out: Path, dry_run: bool) -> None:
    """Print what the run came to, in a few sentences."""
    from dmdcli.cli.tally import NO_PLACE
    from dmdcli.pipeline.judge import ALREADY_GOOD, RESTORED_ALREADY

    statuses, used = tally.statuses, tally.used
    would = "would be " if dry_run else ""
    parts = [
        f"{count} {would if status in ('restored', 'untouched') else ''}{status}"
        for status in ("restored", "untouched", "up to date", "skipped", NO_PLACE, "failed")
        if (count := statuses[status])
    ]
    restored = used["specific"] + used["generic"]
    worked_on = f"{counted(restored, 'face')}, {used['specific']} from their own dictionary, " if used else ""
    terminal.result(f"{counted(tally.photos, 'photo')}: {', '.join(parts)}; {worked_on}{tally.elapsed:.0f} s.")
    less = [f"{counted(tally.lowered, 'face')} {would}restored in part or weaker"] if tally.lowered else []
    less += [f"{counted(used['none'], 'face')} left alone"] if used["none"] else []
    if less:
        terminal.result(f"{', '.join(less)}.")
    for reason, one, more in ((ALREADY_GOOD, "is", "are"), (RESTORED_ALREADY, "was", "were")):
        if count := tally.good_already[reason]:
            terminal.result(f"Of these {count} {one if count == 1 else more} {reason}: --already-good restore.")
    if tally.people:
        terminal.result(
            f"Recognised{' in these' if statuses['up to date'] else ''}: "
            + ", ".join(f"{name} in {count}" for name, count in sorted(tally.people.items()))
            + "."
        )
    if statuses["skipped"]:
        terminal.result(
            f"Left as it was, not made by dmd or changed since: {counted(statuses['skipped'], 'file')}. "
            "--overwrite replaces them too."
        )
    if statuses[NO_PLACE]:
        terminal.result(
            f"{counted(statuses[NO_PLACE], 'photo')} would have the name of another photo's result in {out}: restore "
            "both folders with one command, or choose another --out."
        )
    if dry_run:
        terminal.result("Nothing was written (--dry-run).")
    elif tally.is_written:
        terminal.result(f"The results are in {out}.")


def print_estimate(terminal: Terminal, expected: Estimate, out: Path) -> None:
    """Say what the run would take, and what room there is; on stderr where stdout is for JSON."""
    import shutil

    if not expected.space:
        return
    place = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    sample = f", judged by {counted(expected.sampled, 'face')} restored for it" if expected.sampled else ""
    sentence = (
        f"It would take about {duration(expected.seconds)} and {expected.space / 1e6:,.1f} MB{sample}; "
        f"{free / 1e6:,.0f} MB are free in {place}{', which is too little' if free < expected.space else ''}."
    )
    if terminal.json_lines:
        terminal.say(sentence)
    terminal.result(sentence)


def duration(seconds: float) -> str:
    """Write a span of time as people say it: 40 s, 12 min, 3 h 20 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
