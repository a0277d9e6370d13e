"""The whole of `dmd` on two portraits that come inside installed packages: nothing is downloaded, no photo is needed.

Run by `make demo`. Eileen Collins (scikit-image's astronaut) is enrolled, Grace Hopper (matplotlib's sample picture) is
a stranger; both portraits are in the public domain (NASA, US Navy). Everything lands in demo/out.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage import data

from dmdcli.evaluation.measures import psnr
from dmdcli.shapes import Pixels

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
"""Emptied by every run; any other folder must be new."""
SEED = 1
"""The seed of the damage: both portraits come out plainly blurred, and Collins, whose face is only 92 pixels wide, can
still be recognised. Of the seeds 0 to 9 three (2, 4, 6) hide who she is; then the generic dictionary would be used."""
CELL = 360
"""Side of one face in the strip, in pixels."""
MARGIN, HEADING, LABEL = 16, 44, 28
"""Space around faces, above a row, and above a face, in pixels of the strip."""
AROUND = 1.7
"""Side of what the strip shows of a photo, in sides of the face box."""


@dataclass(frozen=True)
class Portrait:
    """file: its name. crop_side: side in its pixels of an aligned crop around the face, for `dmd degrade`."""

    file: str
    name: str
    crop_side: int


COLLINS = Portrait("eileen_collins.png", "Eileen Collins", 170)
HOPPER = Portrait("grace_hopper.png", "Grace Hopper", 338)


@dataclass(frozen=True)
class Outcome:
    """One portrait's face degraded, restored and as it was, (CELL, CELL, 3) uint8 RGB, and what is known of it.

    psnr: of the degraded and of the restored face against the original one, in dB.
    """

    portrait: Portrait
    person: str | None
    used: str
    pictures: tuple[Pixels, Pixels, Pixels]
    psnr: tuple[float, float]


def main() -> int:
    """Run the demo; 0 when everything happened as it should."""
    parser = argparse.ArgumentParser(description="Enrol, degrade, restore and check two portraits.")
    parser.add_argument("--out", type=Path, default=OUT, help="a new folder (default: demo/out, which is emptied)")
    parser.add_argument("--model", default="base", help="as `dmd restore --model`")
    arguments = parser.parse_args()
    out: Path = arguments.out
    if out.resolve() == OUT:
        shutil.rmtree(OUT, ignore_errors=True)
    elif out.exists():
        parser.error(f"{out} is there already; name a folder that is not.")

    originals, photos, restored = out / "originals", out / "photos", out / "restored"
    write_originals(originals)
    environment = {**os.environ, "DMD_HOME": str(out / "library"), "DMD_CACHE": str(out / "cache")}
    say(f"Two portraits are in {shown(originals)}. The people of this demo are kept apart from yours:")
    say(f"\n$ export DMD_HOME={shown(out / 'library')}")

    model = [] if arguments.model == "base" else ["--model", arguments.model]
    damage = ["--severity", "moderate", "--seed", str(SEED)]
    for portrait in (COLLINS, HOPPER):
        photo = originals / portrait.file
        run(["degrade", photo, "--out", photos, *damage, "--crop-side", str(portrait.crop_side)], environment)
    run(["enroll", COLLINS.name, originals / COLLINS.file, *model], environment)
    run(["people", "list"], environment)
    run(["restore", photos, "--out", restored, *model], environment)
    records = out / "restore.jsonl"
    run(["restore", photos, "--out", restored, "--overwrite", "--json", *model], environment, into=records)
    run(["check", photos, "--out", out / "check"], environment)

    results = [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()]
    outcomes = [look_at(portrait, results, originals) for portrait in (COLLINS, HOPPER)]
    strip = out / "before-after.png"
    draw_strip(outcomes).save(strip)
    explain(outcomes, out)
    as_expected = [(one.person, one.used) for one in outcomes] == [(COLLINS.name, "specific"), (None, "generic")]
    if not as_expected:
        say("\nThis is not what should have happened: Collins from her own dictionary, Hopper from the generic one.")
    return 0 if as_expected else 1


def write_originals(folder: Path) -> None:
    """Write both portraits, as they come, into a new folder."""
    folder.mkdir(parents=True)
    Image.fromarray(data.astronaut()).save(folder / COLLINS.file)
    with Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg") as picture:
        picture.convert("RGB").save(folder / HOPPER.file)


def run(words: list[str | Path], environment: dict[str, str], into: Path | None = None) -> None:
    """Print a `dmd` command and run it, its output shown or written to a file; end the demo if it fails."""
    dmd = shutil.which("dmd", path=str(Path(sys.executable).parent))
    if dmd is None:
        raise SystemExit("There is no dmd beside this Python. Run `make demo`, which installs it.")
    arguments = [shown(word) if isinstance(word, Path) else word for word in words]
    say(f"\n$ {shlex.join(['dmd', *arguments])}" + (f" > {shown(into)}" if into else ""))
    command = [dmd, *arguments]
    if into is None:
        finished = subprocess.run(command, env=environment, check=False)
    else:
        with into.open("wb") as stream:
            finished = subprocess.run(command, env=environment, stdout=stream, check=False)
    if finished.returncode:
        raise SystemExit(f"The command ended with exit code {finished.returncode}, so the demo ends here.")


def look_at(portrait: Portrait, results: list[dict[str, Any]], originals: Path) -> Outcome:
    """Compare a portrait's largest face before and after restoring with the original one."""
    result = next(one for one in results if Path(one["photo"]).name == portrait.file)
    face = max(result["faces"], key=lambda face: face["box"][2] - face["box"][0])
    degraded, after, truth = (
        read(Path(path)) for path in (result["photo"], result["output"], originals / portrait.file)
    )
    x0, y0, x1, y1 = (round(edge) for edge in face["box"])
    inside = np.s_[max(y0, 0) : y1, max(x0, 0) : x1]
    return Outcome(
        portrait,
        face["person"],
        face["used"],
        (around(degraded, face["box"]), around(after, face["box"]), around(truth, face["box"])),
        (psnr(degraded[inside], truth[inside]), psnr(after[inside], truth[inside])),
    )


def read(path: Path) -> Pixels:
    """(H, W, 3) uint8 RGB."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def around(pixels: Pixels, box: list[float]) -> Pixels:
    """Cut out the face in `box` (photo pixels) with what is around it, enlarged to CELL x CELL."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    half = min(AROUND * (box[2] - box[0]) / 2, x, y, pixels.shape[1] - x, pixels.shape[0] - y)
    cut = (x - half, y - half, x + half, y + half)
    return np.asarray(Image.fromarray(pixels).resize((CELL, CELL), Image.Resampling.BICUBIC, box=cut))


def draw_strip(outcomes: list[Outcome]) -> Image.Image:
    """A row a portrait: degraded, restored, original, each with its label."""
    row = HEADING + LABEL + CELL
    strip = Image.new("RGB", (3 * CELL + 4 * MARGIN, len(outcomes) * row + MARGIN), "white")
    pen = ImageDraw.Draw(strip)
    large, small = ImageFont.load_default(size=20), ImageFont.load_default(size=16)
    for number, outcome in enumerate(outcomes):
        top = number * row
        pen.text((MARGIN, top + 14), f"{outcome.portrait.name}: {whose(outcome)}", "black", large)
        before, after = outcome.psnr
        labels = (f"degraded ({before:.1f} dB)", f"restored ({after:.1f} dB)", "original")
        for column, (picture, label) in enumerate(zip(outcome.pictures, labels, strict=True)):
            left = MARGIN + column * (CELL + MARGIN)
            pen.text((left, top + HEADING + 4), label, "black", small)
            strip.paste(Image.fromarray(picture), (left, top + HEADING + LABEL))
    return strip


def whose(outcome: Outcome) -> str:
    """Say in words which dictionary was used."""
    if outcome.person is None:
        return "a stranger, restored from the generic dictionary"
    return f"recognised as {outcome.person}, restored from a dictionary of their own"


def explain(outcomes: list[Outcome], out: Path) -> None:
    """Say what came out, what it proves and what not, and where to look."""
    say("\nHow near the faces are to the originals (PSNR inside the face box; higher is nearer):")
    for outcome in outcomes:
        before, after = outcome.psnr
        verdict = "nearer to" if after > before else "no nearer to" if after == before else "farther from"
        say(
            f"  {outcome.portrait.name:15} {before:.2f} dB degraded, {after:.2f} dB restored ({after - before:+.2f}): "
            f"{verdict} the original; {whose(outcome)}."
        )
    say(
        "\nWhat this proves and what it does not: Eileen Collins's reference and her degraded photo come from one and\n"
        "the same picture. That she is recognised and that her own dictionary is used proves that the machinery works\n"
        "from end to end; it does not show how well a face is restored from other photographs of the person. The\n"
        "damage was chosen so that she can be recognised; worse damage hides who somebody is.\n"
        "Grace Hopper is a stranger to the library; her face comes from the generic dictionary alone.\n"
        "Two faces say nothing about the next thousand: `dmd evaluate` measures many."
    )
    say("\nWhere to look:")
    for path, what in (
        (out / "before-after.png", "degraded, restored and original faces side by side"),
        (out / "restored", "the restored photos; outside the faces they are as they were"),
        (out / "check", "the landmarks and boxes the network was given, and a contact sheet"),
        (out / "restore.jsonl", "the same results for programs"),
        (out / "library", "what is known of Eileen Collins; nothing else knows her"),
    ):
        say(f"  {shown(path):28} {what}")


def shown(path: Path) -> str:
    """The path as seen from the folder the demo is run in, where it lies below it."""
    resolved = path.resolve()
    return str(resolved.relative_to(Path.cwd())) if resolved.is_relative_to(Path.cwd()) else str(resolved)


def say(line: str) -> None:
    """Print a line before whatever a command prints next."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
