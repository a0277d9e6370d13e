"""Whether an edge shows where restored faces meet their photos.

    python benchmarks/seams.py PHOTOS... [--judge] [--engravings restore] [--keep DIR] [--model base|PATH] [--json]

Each photo is restored as `dmd restore --no-judge --already-good restore` does where nobody is enrolled: all of the
strength. For each restored face prints, the worst first, the strongest edge that blending added, relative to the steps
of tone the original has at the same place (`dmdcli/evaluation/seams.py`; from VISIBLE on it would be seen), and the
most that the mean colour of a part of the mask's rim changed, in levels of 255. Below the table stands what VISIBLE was
taken from: by how much neighbouring steps of tone differ in these photos as they were.

--keep leaves the restored photos in an empty or new folder.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from dmdcli.cli.build import build_finder, build_restorer
from dmdcli.cli.console import Kit
from dmdcli.evaluation.seams import VISIBLE, added_edges, outline_of, own_edges, rim_change
from dmdcli.faces.align import blend_mask, photo_mask, region_of_interest, scale_of
from dmdcli.faces.face import Face
from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.identity import Gallery
from dmdcli.journal import open_journal
from dmdcli.model.dictionary import Dictionary
from dmdcli.model.restorer import Restorer
from dmdcli.photos import read_photo
from dmdcli.pipeline.blend import RestoreOptions
from dmdcli.pipeline.people import People
from dmdcli.pipeline.restore import restore
from dmdcli.places import stream_outputs, survey_photos
from dmdcli.shapes import Pixels


@dataclass(frozen=True)
class Seam:
    """What shows at the outline of one restored face.

    face: its number in the photo, the largest first. width: of its box in photo pixels. edge: the strongest added. rim:
    change of colour, in levels. own: what the unrestored photo has of its own, (N,).
    """

    photo: str
    face: int
    width: int
    edge: float
    rim: float
    own: np.ndarray = field(repr=False)


class Remembering(FaceFinder):
    """Knows what it found last."""

    def find(self, pixels: Pixels) -> list[Face]:
        self.found = super().find(pixels)
        return self.found


def seams(
    photos: Sequence[Path], out: Path, finder: Remembering, restorer: Restorer, options: RestoreOptions
) -> Iterator[Seam]:
    """Restore all photos into `out` with nobody enrolled, and look at the outline of each restored face."""
    nobody: People[Dictionary] = People(Gallery({}, finder.kit.similarity), dictionary=_nobody, enrolled={})
    with open_journal(out) as journal:
        pairs = stream_outputs(survey_photos(photos), out, "auto", print)
        for result in restore(pairs, finder, restorer, nobody, journal, options):
            if result.status != "restored" or result.output is None:
                continue
            before, after = read_photo(result.photo), read_photo(result.output)
            for number, (face, restored) in enumerate(zip(finder.found, result.faces, strict=True), start=1):
                if restored.used == "none":
                    continue
                x0, y0, x1, y1 = region_of_interest(face.matrix, (before.pixels.shape[1], before.pixels.shape[0]))
                weight = photo_mask(blend_mask(face.landmarks.points), face.matrix, (x0, y0), (x1 - x0, y1 - y0))
                outline = outline_of(weight, scale_of(face.matrix))
                if outline is None:
                    continue
                one, other = before.region(x0, y0, x1, y1), after.region(x0, y0, x1, y1)
                yield Seam(
                    result.output.relative_to(out).as_posix(),
                    number,
                    round(face.box[2] - face.box[0]),
                    float(added_edges(one, other, outline).max(initial=0)),
                    255 * rim_change(one, other, outline),
                    own_edges(one, outline),
                )


def _nobody(name: str) -> Dictionary:
    raise KeyError(name)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line a face, the worst first, and what unrestored photographs have."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--judge", action="store_true")
    parser.add_argument("--engravings", choices=("leave", "restore"), default="leave")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--model", default="base")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if options.keep is not None and options.keep.is_dir() and any(options.keep.iterdir()):
        parser.error(f"{options.keep} holds something already")  # restoring would leave what is there as it is
    engravings: Literal["leave", "restore"] = options.engravings
    wanted = RestoreOptions(already_good="restore", judge=options.judge, engravings=engravings)
    finder, restorer = Remembering(build_finder(Kit.EMBEDDED).kit), build_restorer(options.model)
    with tempfile.TemporaryDirectory() as scratch:
        found = list(seams(options.photos, options.keep or Path(scratch), finder, restorer, wanted))
    if options.json:
        for one in found:
            print(json.dumps({key: value for key, value in asdict(one).items() if key != "own"}))
        return
    for one in sorted(found, key=lambda one: -one.edge):
        mark = "  seen" if one.edge >= VISIBLE else ""
        print(f"{one.photo:44} face {one.face:2} {one.width:5} px  edge {one.edge:5.2f}  rim {one.rim:4.1f}{mark}")
    own = np.concatenate([one.own for one in found])
    levels = ", ".join(f"{share} % {np.percentile(own, share):.2f}" for share in (50, 75, 90, 95, 99))
    print(f"neighbouring steps of the unrestored photos ({len(own)}) differ by up to: {levels}")
    print(f"{sum(one.edge < VISIBLE for one in found)} of {len(found)} faces have no edge of {VISIBLE} or more")
    print(f"rim: median {np.median([one.rim for one in found]):.1f}, most {max(one.rim for one in found):.1f} levels")


if __name__ == "__main__":
    main()
