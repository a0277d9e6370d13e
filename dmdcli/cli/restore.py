"""`dmd restore`: whole folders of photos with their faces restored."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, closing
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmdcli.cli.build import build_library, build_memorize, stay_offline
from dmdcli.cli.cluster import Toolmaker, check_ray
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
    Precision,
    PrecisionOption,
    QuietOption,
    RayOption,
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
    WorkersOption,
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
from dmdcli.cli.interrupts import second_one_ends
from dmdcli.cli.late import LateRestorer
from dmdcli.cli.renamed import EarlierResults, see_earlier
from dmdcli.cli.report import leaving_report, show
from dmdcli.cli.restored import Lines, as_record, print_estimate, print_totals, renamed_photo
from dmdcli.cli.tools import build_tools
from dmdcli.errors import EXIT_SOME_FAILED, PhotoReadError, UsageError

if TYPE_CHECKING:
    from dmdcli.journal_renames import Renamed
    from dmdcli.places import PhotoFile


class Strip(str, Enum):
    """What can be taken out of the results."""

    GPS = "gps"


def restore(
    context: typer.Context,
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
    precision: PrecisionOption = Precision.AUTO,
    workers: WorkersOption = None,
    ray: RayOption = None,
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
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard", metavar="N/COUNT", help="Restore the photos of one part only; `dmd merge` joins what all did."
        ),
    ] = None,
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
    if ray is not None:
        check_ray(ray, offline=offline, dry_run=dry_run)
    from dmdcli.journal_file import check_division
    from dmdcli.memory import map_large_blocks
    from dmdcli.places import REPORT, check_extension, check_output_folder, stream_outputs, survey_photos
    from dmdcli.shards import read_shard

    map_large_blocks()
    context.with_resource(second_one_ends())
    terminal = Terminal(quiet=quiet, verbose=verbose, json_lines=json)
    check_extension(ext)
    part = None if shard is None else read_shard(shard)
    if part is not None and (single_file or open_):
        raise UsageError("--single-file and --open are about the report, which `dmd merge` writes. Give them there.")
    survey = survey_photos(photos)
    check_output_folder(survey, out)
    check_division(out, part)
    library = build_library()
    library.people()  # a damaged or newer library, and an unknown person, are said at once
    names = tuple(library.person(name).name for name in person) if person else None
    decided = open_decisions(decisions, out)
    ignorant = tell_unknown(terminal, decided, [one.name for one in library.people()])

    from dmdcli.cli.tally import Tally
    from dmdcli.corrections import Corrections
    from dmdcli.journal import copy_journal, has_journal, open_journal
    from dmdcli.pipeline import restore as pipeline
    from dmdcli.pipeline.blend import RestoreOptions
    from dmdcli.pipeline.people import recall_people

    processes = context.with_resource(ExitStack())
    tools = build_tools(
        Toolmaker(kit, thorough, min_face, model, device, batch_size, precision.value, names),
        photos=survey.photos,
        workers=workers,
        ray=ray,
        has_results=has_journal(out),
        processes=processes,
        cluster=context.with_resource(ExitStack()),
        say=terminal.say,
    )
    finder, restorer = tools.finder, tools.restorer
    people = recall_people(library, finder, restorer, build_memorize(restorer), names)
    known = len(people.gallery.people)
    terminal.say(f"Restoring: {tools.network}. {known or 'No'} {'person' if known == 1 else 'people'} enrolled.")
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
    references = {name: person.references for name, person in people.enrolled.items()}
    tally, lines = Tally(), Lines(references if dry_run else None)
    unreadable: list[PhotoReadError] = []
    started: deque[tuple[PhotoFile, Path]] = deque()  # the photos on their way through the pipeline, which keeps order

    def tell(error: PhotoReadError) -> None:
        unreadable.append(error)
        terminal.fail(str(error))

    def pairs() -> Iterator[tuple[PhotoFile, Path]]:
        for pair in stream_outputs(survey, out, ext, tell):
            if journal.share.holds(journal.place(pair[1])):
                started.append(pair)
                yield pair

    def tell_renamed(one: Renamed) -> None:
        terminal.record(as_record(renamed_photo(one, out), model, finder.kit_name, finder.kit.similarity))

    def stop() -> None:
        terminal.say("Stopping...")
        processes.close()  # nobody waits for what they still look for

    opened = (copy_journal if dry_run else open_journal)(out, part)
    about, to_come = ("", survey.photos) if part is None else ("about ", round(survey.photos / part.count))
    with opened as journal, ExitStack() as stack:
        for note in journal.notes:
            terminal.fail(note)
        leave_alone = None
        if report and not dry_run and part is None:
            outputs = (output for _, output in stream_outputs(survey, out, ext, lambda _: None))
            leaving = leaving_report(journal, outputs, single_file=single_file, write_names=write_names)
            leave_alone = stack.enter_context(leaving)
        advance = stack.enter_context(terminal.progress("faces", None))
        corrections = Corrections(library.home)
        run = pipeline.restore(
            pairs(),
            finder,
            restorer,
            people,
            journal,
            options,
            decided,
            corrections,
            workers=tools.at_once,
            crew=tools.crew,
            stop=stop,
        )
        for result in stack.enter_context(closing(run)):
            file, output = started.popleft()
            tally.see(result)
            lines.see(result, str(file.relative))
            if leave_alone is not None and result.standing == "foreign" and result.status == "skipped":
                leave_alone(output, result.photo, result.reason or "")
            total = faces_in_all(tally.faces, tally.photos - tally.skipped, to_come - tally.skipped)
            advance(len(result.faces), total=total, what=f"faces, {tally.photos} of {about}{to_come} photos done")
            if result.error is not None:
                terminal.fail(f"{result.photo}: {result.error}")
            for note in result.notes:
                terminal.say(f"{result.photo}: {note}")
            why = f" ({result.reason})" if result.reason else ""
            terminal.detail(f"{result.photo}: {result.status}{why}, {result.seconds:.1f} s")
            terminal.record(as_record(result, model, finder.kit_name, finder.kit.similarity))
        earlier = EarlierResults()
        if part is None:  # a shard knows of the photos of others as little as they of its own
            earlier = see_earlier(journal, tell_renamed)
    lines.show(terminal)
    if part is not None and not tally.photos:
        terminal.result(f"None of the photos falls to shard {part}.")
    else:
        print_totals(terminal, tally, out, dry_run)
        earlier.tell(terminal)
    if dry_run:
        loading = restorer.late.seconds if isinstance(restorer, LateRestorer) else 0.0
        print_estimate(terminal, tally.estimator.estimate(loading, tally.pace), out)
    elif part is not None:
        terminal.result(f"When all shards have ended, `dmd merge {out}` joins what they did.")
    elif report:
        terminal.result(f"What was done, photo by photo: {out / REPORT}")
        if open_:
            show(out / REPORT)
    tell_tags(terminal, tally)
    tell_corrected(terminal, tally)
    tell_lost(terminal, decided, tally)
    unheard = tell_unheard(terminal, decided, tally, all_given=part is None)
    unsure = strict and (unheard or ignorant or tally.is_unsure)
    if unreadable or unsure or tally.left_out:
        raise typer.Exit(EXIT_SOME_FAILED)


def faces_in_all(seen: int, looked_at: int, photos: int) -> int | None:
    """How many faces `photos` photos will have, judged by those `seen` in the ones looked at; None while none is."""
    return round(seen / looked_at * photos) if seen else None
