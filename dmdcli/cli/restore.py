"""`dmd restore`: whole folders of photos with their faces restored."""

from __future__ import annotations

from contextlib import ExitStack
from enum import Enum
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
)
from dmdcli.cli.decided import (
    DecisionsOption,
    TagsOption,
    open_decisions,
    tell_corrected,
    tell_lost,
    tell_tags,
    tell_unheard,
    tell_unknown,
)
from dmdcli.cli.report import leaving_report, show
from dmdcli.cli.restored import as_record, print_estimate, print_table, print_totals
from dmdcli.errors import EXIT_SOME_FAILED

if TYPE_CHECKING:
    from dmdcli.pipeline.outcome import RestoredPhoto


class Strip(str, Enum):
    """What can be taken out of the results."""

    GPS = "gps"


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
        AlreadyGood,
        typer.Option(
            "--already-good", help="What to do with faces that are sharp and clean already, or restored by dmd."
        ),
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

    from dmdcli.corrections import Corrections
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
        corrections = Corrections(library.home)
        for result in pipeline.restore(
            files, outputs, finder, restorer, people, journal, options, decided, corrections
        ):
            results.append(result)
            faces += len(result.faces)
            skipped += result.status == "skipped"
            total = faces_in_all(faces, len(results) - skipped, len(files) - skipped)
            advance(len(result.faces), total=total, what=f"faces, {len(results)} of {len(files)} photos done")
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
    tell_corrected(terminal, results)
    tell_lost(terminal, decided, results)
    unheard = tell_unheard(terminal, decided, results)
    unsure = strict and (unheard or ignorant or any(face.unsure for result in results for face in result.faces))
    left_out = any(result.status == "failed" or result.standing == "taken" for result in results)
    if files.unreadable or unsure or left_out:
        raise typer.Exit(EXIT_SOME_FAILED)


def faces_in_all(seen: int, looked_at: int, photos: int) -> int | None:
    """How many faces `photos` photos will have, judged by those `seen` in the ones looked at; None while none is."""
    return round(seen / looked_at * photos) if seen else None
