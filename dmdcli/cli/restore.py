"""`dmd restore`: whole folders of photos with their faces restored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmdcli.cli.build import build_finder, build_library, build_memorize, build_restorer, licence_of, stay_offline
from dmdcli.cli.console import (
    LEAST_FACE,
    THRESHOLD,
    AlreadyGood,
    BatchSizeOption,
    DeviceOption,
    DryRunOption,
    Engravings,
    JsonOption,
    Kit,
    KitOption,
    MinFaceOption,
    ModelOption,
    OfflineOption,
    OpenOption,
    OutOption,
    OverwriteOption,
    PersonOption,
    PhotosArgument,
    QuietOption,
    ReportOption,
    SingleFileOption,
    StrengthOption,
    StrictOption,
    Surface,
    Tags,
    Terminal,
    ThoroughOption,
    ThresholdOption,
    VerboseOption,
    WriteNamesOption,
    counted,
)
from dmdcli.cli.decided import (
    DecisionsOption,
    TagsOption,
    open_decisions,
    tell_tags,
    tell_unheard,
    tell_unknown,
)
from dmdcli.cli.report import leaving_report, show
from dmdcli.errors import EXIT_SOME_FAILED

if TYPE_CHECKING:
    from dmdcli.faces.identity import Curve
    from dmdcli.pipeline.restore import RestoredFace, RestoredPhoto

SCHEMA = 1
"""Version of the JSON objects."""


class Strip(str, Enum):
    """What can be taken out of the results."""

    GPS = "gps"


MOST_ROWS = 200
"""Photos up to which the table at the end has a line for each; beyond, only for people recognised and failures."""


def restore(
    photos: PhotosArgument,
    out: OutOption,
    person: PersonOption = None,
    strength: StrengthOption = 1.0,
    tone: Annotated[
        Surface, typer.Option("--tone", help="Grey and toned prints keep their tone, or take the network's colours.")
    ] = Surface.KEEP,
    grain: Annotated[
        Surface,
        typer.Option("--grain", help="Restored faces get the print's grain, or stay as smooth as made."),
    ] = Surface.KEEP,
    engravings: Annotated[
        Engravings, typer.Option("--engravings", help="What to do with faces made of lines or dots, not photographed.")
    ] = Engravings.LEAVE,
    already_good: Annotated[
        AlreadyGood, typer.Option("--already-good", help="What to do with faces that are sharp and clean already.")
    ] = AlreadyGood.LEAVE,
    judge: Annotated[
        bool,
        typer.Option(
            "--judge/--no-judge", help="Publish a face weaker, or not at all, where restoring it would do harm."
        ),
    ] = True,
    tags: TagsOption = Tags.USE,
    decisions: DecisionsOption = None,
    threshold: ThresholdOption = THRESHOLD,
    min_face: MinFaceOption = LEAST_FACE,
    kit: KitOption = Kit.AUTO,
    model: ModelOption = "base",
    device: DeviceOption = "auto",
    batch_size: BatchSizeOption = None,
    thorough: ThoroughOption = False,
    only_restored: Annotated[
        bool, typer.Option("--only-restored", help="Do not copy photos in which no face was restored.")
    ] = False,
    ext: Annotated[
        str,
        typer.Option(
            "--ext", metavar="auto|jpg|png|tif|webp|bmp|jp2|avif", help="Format to write; auto keeps each one's."
        ),
    ] = "auto",
    quality: Annotated[
        int | None,
        typer.Option("--quality", min=1, max=100, help="JPEG, WebP and AVIF quality, instead of the photo's own."),
    ] = None,
    strip: Annotated[
        list[Strip] | None,
        typer.Option("--strip", help="Take this out of what is written: gps is where a photo was taken. Repeatable."),
    ] = None,
    mark: Annotated[
        bool, typer.Option("--mark/--no-mark", help="Restored photos say so in their XMP; `dmd explain` shows it.")
    ] = True,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    report: ReportOption = True,
    single_file: SingleFileOption = False,
    open_: OpenOption = False,
    write_names: WriteNamesOption = False,
    strict: StrictOption = False,
    json: JsonOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Restore the faces in photos and folders of photos; the photos themselves are never changed.

    A face that is recognised as an enrolled person is restored from that person's own dictionary, every other face from
    the generic one. Names given before count more: those in face tags of other programs, and most of all those in a
    file of decisions. Photos without faces are copied as they are.

    A journal in the output folder knows what was made of what. The same command, after a stop or a change, does what is
    missing and what would come out differently now; files that are not, or no longer, the journal's are kept.
    """
    stay_offline(offline)
    from dmdcli.photos import find_photos
    from dmdcli.places import REPORT, check_output_places, plan_outputs

    terminal = Terminal(quiet=quiet, verbose=verbose, json_lines=json)
    files = find_photos(photos)
    outputs = plan_outputs(files, out, ext)
    check_output_places(photos, files, out, outputs)
    for unreadable in files.unreadable:
        terminal.fail(str(unreadable))
    library = build_library()
    library.people()  # a damaged or newer library, and an unknown person, are said at once
    names = tuple(library.person(name).name for name in person) if person else None
    decided = open_decisions(decisions, out)
    ignorant = tell_unknown(terminal, decided, [one.name for one in library.people()])

    from dmdcli.journal import copy_journal, open_journal
    from dmdcli.pipeline import restore as pipeline
    from dmdcli.pipeline.blend import RestoreOptions
    from dmdcli.pipeline.people import recall_people

    finder = build_finder(kit, thorough, min_face, device, terminal.say)
    restorer = build_restorer(model, device, batch_size)
    people = recall_people(library, finder, restorer, build_memorize(restorer), names)
    known = len(people.gallery.people)
    terminal.say(
        f"Restoring: {model}{licence_of(model)} on {restorer.device}. "
        f"{known or 'No'} {'person' if known == 1 else 'people'} enrolled."
    )
    options = RestoreOptions(
        strength=strength,
        tone=tone.value,
        grain=grain.value,
        engravings=engravings.value,
        already_good=already_good.value,
        judge=judge,
        threshold=threshold,
        only=names,
        tags=tags.value,
        ext=ext,
        quality=quality,
        only_restored=only_restored,
        overwrite=overwrite,
        dry_run=dry_run,
        without_location=Strip.GPS in (strip or ()),
        mark=mark,
        write_names=write_names,
        evidence=report,
    )
    results: list[RestoredPhoto] = []
    faces = skipped = 0
    opened = copy_journal(out) if dry_run else open_journal(out)
    with opened as journal, ExitStack() as stack:
        for note in journal.notes:
            terminal.fail(note)
        if report and not dry_run:
            leaving = leaving_report(journal, results, outputs, single_file=single_file, write_names=write_names)
            stack.enter_context(leaving)
        advance = stack.enter_context(terminal.progress("faces", None))
        for result in pipeline.restore(files, outputs, finder, restorer, people, journal, options, decided):
            results.append(result)
            faces += len(result.faces)
            skipped += result.status == "skipped"
            advance(len(result.faces), total=faces_in_all(faces, len(results) - skipped, len(files) - skipped))
            if result.error is not None:
                terminal.fail(f"{result.photo}: {result.error}")
            for note in result.notes:
                terminal.say(f"{result.photo}: {note}")
            why = f" ({result.reason})" if result.reason else ""
            terminal.detail(f"{result.photo}: {result.status}{why}, {result.seconds:.1f} s")
            terminal.record(as_record(result, model, finder.kit_name, finder.kit.similarity))
    references = {name: person.references for name, person in people.enrolled.items()}
    print_table(terminal, results, {file.path: str(file.relative) for file in files}, references if dry_run else None)
    print_totals(terminal, results, out, dry_run)
    if dry_run:
        print_estimate(terminal, results, out)
    elif report:
        terminal.result(f"What was done, photo by photo: {out / REPORT}")
        if open_:
            show(out / REPORT)
    tell_tags(terminal, results)
    unheard = tell_unheard(terminal, decided, results)
    unsure = strict and (unheard or ignorant or any(face.unsure for result in results for face in result.faces))
    if files.unreadable or unsure or any(result.status == "failed" for result in results):
        raise typer.Exit(EXIT_SOME_FAILED)


def faces_in_all(seen: int, looked_at: int, photos: int) -> int | None:
    """How many faces `photos` photos will have, judged by those `seen` in the ones looked at; None while none is."""
    return round(seen / looked_at * photos) if seen else None


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
                "problems": [*([] if face.conflict is None else [face.conflict]), *face.problems],
            }
            for number, face in enumerate(result.faces)
        ],
        "notes": list(result.notes),
    }


def print_table(
    terminal: Terminal, results: Sequence[RestoredPhoto], names: dict[Path, str], references: dict[str, int] | None
) -> None:
    """Print a line a photo: what became of it, how many faces, who was recognised.

    references: under --dry-run, how many each person has; then it is said, too, where in the photo people are.
    """
    telling = results
    if len(results) > MOST_ROWS:
        telling = [
            one
            for one in results
            if one.error or one.standing == "foreign" or any(face.person or face.conflict for face in one.faces)
        ]
    words = {"restored": "would be restored", "untouched": "would be copied"} if references is not None else {}
    rows = []
    for one in telling:
        what = words.get(one.status, one.status)
        if one.status == "skipped":
            what = "up to date" if one.standing == "current" else "there already"
        again = [one.reason] if one.reason and one.reason != "--overwrite" and one.standing != "current" else []
        people = [recognised(face, references) for face in one.faces if face.person]
        left_alone = [f"left alone: {face.reason}" for face in one.faces if face.used == "none" and face.reason]
        lowered = [
            f"strength {face.strength:.2g}: {face.reason}" for face in one.faces if face.used != "none" and face.reason
        ]
        restored = sum(face.used != "none" for face in one.faces)
        conflicts = [face.conflict for face in one.faces if face.conflict]
        remarks = "; ".join(dict.fromkeys(again + people + conflicts + lowered + left_alone))
        rows.append((names[one.photo], what, f"{restored} of {len(one.faces)}" if one.faces else "-", remarks))
    terminal.table(["photo", "result", "faces", "remarks, and who was recognised (similarity)"], rows)


BY = {"forced": ", as asked", "tag": ", as tagged", "decision": ", as decided"}
"""What the table says where somebody was not just recognised."""


def recognised(face: RestoredFace, references: dict[str, int] | None) -> str:
    """Say who a face is, how surely, and, with `references`, by how many and where: the middle of the face."""
    forced = BY.get(face.assigned_by or "", "")
    if references is None or face.person is None:
        return f"{face.person}{forced} ({face.similarity:.2f})"
    x0, y0, x1, y1 = face.box
    by = counted(references[face.person], "reference")
    return f"{face.person}{forced} ({face.similarity:.2f}, {by}) at {(x0 + x1) / 2:.0f}, {(y0 + y1) / 2:.0f}"


def print_totals(terminal: Terminal, results: Sequence[RestoredPhoto], out: Path, dry_run: bool) -> None:
    """Print what the run came to, in one or two sentences."""
    statuses = Counter("up to date" if result.standing == "current" else result.status for result in results)
    used = Counter(face.used for result in results for face in result.faces)
    people = Counter(
        face.person for result in results for face in result.faces if face.person and face.assigned_by == "recognition"
    )
    seconds = sum(result.seconds for result in results)
    would = "would be " if dry_run else ""
    parts = [
        f"{count} {would if status in ('restored', 'untouched') else ''}{status}"
        for status in ("restored", "untouched", "up to date", "skipped", "failed")
        if (count := statuses[status])
    ]
    terminal.result(
        f"{counted(len(results), 'photo')}: {', '.join(parts)}; "
        f"{counted(used['specific'] + used['generic'], 'face')}, {used['specific']} from their own dictionary, "
        f"{seconds:.0f} s."
    )
    lowered = sum(face.used != "none" and face.reason is not None for result in results for face in result.faces)
    if lowered or used["none"]:
        terminal.result(
            f"{counted(lowered, 'face')} {would}restored in part or with less strength, {used['none']} left alone."
        )
    if people:
        terminal.result(
            "Recognised: " + ", ".join(f"{name} in {count}" for name, count in sorted(people.items())) + "."
        )
    if statuses["skipped"]:
        terminal.result(
            f"Left as it was, not made by dmd or changed since: {counted(statuses['skipped'], 'file')}. "
            "--overwrite replaces them too."
        )
    if dry_run:
        terminal.result("Nothing was written (--dry-run).")
    elif any(result.output is not None for result in results):
        terminal.result(f"The results are in {out}.")


def print_estimate(terminal: Terminal, results: Sequence[RestoredPhoto], out: Path) -> None:
    """Say what the run would take, and what room there is; on stderr where stdout is for JSON."""
    import shutil

    from dmdcli.pipeline.estimate import estimate

    expected = estimate(results)
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
