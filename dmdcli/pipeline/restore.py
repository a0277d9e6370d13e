"""Restore every face of every photo, each enrolled person from their own dictionary, and leave the rest as it was."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Protocol

from dmdcli.corrections import Corrections
from dmdcli.decisions import Decisions
from dmdcli.faces.finder import FaceFinder
from dmdcli.files import remove_unfinished
from dmdcli.journal import Journal
from dmdcli.memory import give_back
from dmdcli.pipeline.blend import RestoreOptions
from dmdcli.pipeline.evidence import Evidence, write_picture
from dmdcli.pipeline.lanes import Lanes
from dmdcli.pipeline.outcome import RestoredPhoto
from dmdcli.pipeline.people import CropRestorer, DictionaryT, People
from dmdcli.pipeline.seen import LARGE, Run
from dmdcli.pipeline.standing import Circumstances
from dmdcli.pipeline.steps import Underway, fetch, finish, keep, look, restore_seen, stand, step
from dmdcli.pipeline.whose import Statements
from dmdcli.places import PICTURES, PhotoFile

RECIPE = 5
"""Raised whenever the same photo comes out differently from the same settings; results of a lower one are stale."""
WITHOUT_EFFECT = frozenset({"only_restored", "overwrite", "dry_run", "only", "evidence", "write_names"})
"""Options that change nothing about what a photo comes out as; `only` counts by the ids of the people, `write_names` by
those of whom the name was written."""

ROOM = 20.0
"""Megapixels of photos in memory at the same time, for each worker; a photo of 24 megapixels takes about 250 MB."""
MOST_GATHERED = 8
"""Photos whose faces go through the network together, at most."""

NOTHING_DECIDED = Decisions()


class Crew(Protocol[DictionaryT]):
    """Somebody else who fetches, looks, restores and finishes."""

    def work(self, run: Run[DictionaryT], photos: Iterator[Underway]) -> Generator[Underway, None, None]:
        """Each photo, in order, with what is to be kept of it; settled ones as they are."""


def restore(
    pairs: Iterable[tuple[PhotoFile, Path]],
    finder: FaceFinder,
    restorer: CropRestorer[DictionaryT],
    people: People[DictionaryT],
    journal: Journal,
    options: RestoreOptions,
    decisions: Decisions = NOTHING_DECIDED,
    corrections: Corrections | None = None,
    *,
    workers: int = 1,
    crew: Crew[DictionaryT] | None = None,
    stop: Callable[[], None] = lambda: None,
) -> Generator[RestoredPhoto, None, None]:
    """Restore one photo after the other and yield what became of each.

    pairs: each photo, and where its result goes. journal: of the output folder, for a dry run a
    copy of it; photos whose results it knows to be current are skipped, and so are those in whose place there is a file
    that is not ours. decisions: of the user, about faces. corrections: what was put right by hand in photos.
    workers: from 2 on, as many photos as there is room for are read, searched, judged and encoded in threads, while one
    is in the network; nothing of the results depends on it. crew: does the work on other machines, and `workers` means
    nothing then. stop: called when the run ends early, before what was begun in threads, and is thrown away, is waited
    for.
    A photo in which no face is restored is copied byte for byte.
    A photo that fails is reported and the rest goes on; what is written appears whole or not at all.
    Raises CannotGoOnError where nothing can be written any more, and the errors of library and device.
    """
    circumstances = _circumstances(finder, restorer, people, journal, options)
    pictures = journal.out / PICTURES
    evidence = Evidence(partial(write_picture, pictures) if options.evidence and not options.dry_run else None)
    statements = Statements(decisions, options.tags == "use", people.enrolled, corrections)
    run = Run(finder, restorer, people, circumstances, options, evidence, journal, statements)
    if not options.dry_run and journal.shard is None:  # beside a shard others are writing, too
        for folder in {(journal.out / place).parent for place in journal.unfinished()}:
            remove_unfinished(folder)
    journal.share.begin(circumstances.digest, circumstances.weights, circumstances.kit)
    photos = (step(partial(stand, run), Underway(file, output)) for file, output in pairs)
    finished = _in_lanes(run, photos, workers, stop) if crew is None else crew.work(run, photos)
    with closing(finished):
        for underway in finished:
            yield keep(run, underway)
    journal.share.end()
    if journal.shard is None:
        journal.renames.forget_removed()


def _in_lanes(
    run: Run[DictionaryT], photos: Iterator[Underway], workers: int, stop: Callable[[], None]
) -> Generator[Underway, None, None]:
    """Photos with what is to be kept of each, worked on in this process."""

    def fetch_and_look(underway: Underway) -> Underway:
        return step(partial(look, run), step(partial(fetch, run), underway))

    with Lanes[Underway](workers, workers * ROOM, attrgetter("megapixels"), stop) as lanes:
        seen = lanes.enter(photos, fetch_and_look)
        since = 0.0
        for underway in lanes.go_on(_restored(run, seen), partial(step, partial(finish, run))):
            yield underway
            lanes.let_go(underway)
            since += underway.megapixels
            if since >= LARGE:
                give_back()
                since = 0.0


def _restored(run: Run[DictionaryT], photos: Iterator[Underway]) -> Iterator[Underway]:
    """Photos with the network's answers, asked for in groups of photos that have faces enough together."""
    group: list[Underway] = []
    sampled = faces = 0
    for photo in photos:
        group.append(photo)
        faces += 0 if photo.seen is None or photo.is_settled else len(photo.seen.wanted)
        if (
            not faces
            or faces >= run.restorer.gathers
            or len(group) >= MOST_GATHERED
            or sum(one.megapixels for one in group) >= ROOM
        ):
            ready, group = restore_seen(run, group, sampled), []
            sampled, faces = sampled + faces, 0
            del photo
            while ready:  # what goes on is held by nobody here, so that its memory is free when it is done
                yield ready.pop(0)
    yield from restore_seen(run, group, sampled)


def _circumstances(
    finder: FaceFinder,
    restorer: CropRestorer[DictionaryT],
    people: People[DictionaryT],
    journal: Journal,
    options: RestoreOptions,
) -> Circumstances:
    """What every result of this run depends on: all options but those without effect, the finder, people, networks."""
    curve = finder.kit.similarity
    settings = {
        **{key: value for key, value in asdict(options).items() if key not in WITHOUT_EFFECT},
        **finder.settings,
        "person": None if options.only is None else sorted(people.enrolled[name].id for name in options.only),
        "calibration": [curve.middle, curve.slope],
        "recipe": RECIPE,
    }
    known = journal.number_people([person.id for person in people.enrolled.values()])
    return Circumstances(
        settings,
        journal.keep_settings(settings),
        restorer.weights_id,
        finder.kit_name,
        people.enrolled,
        known,
        names=options.mark and options.write_names,
    )
