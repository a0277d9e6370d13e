"""How soon the faces of a review are open, one after the other, in the order of the page.

    python -m benchmarks.page_review OUT [--looking 4]

OUT: a folder that `dmd restore` wrote. Starts the real program, asks its page as a browser does, and prints for each
face the seconds until its picture can be shown, until its points are there, and until it is known where it was found.
looking: seconds that somebody looks at a face before going on to the next, which is prepared meanwhile.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.page_preview import Page


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--looking", type=float, default=4.0)
    options = parser.parse_args()
    command = [sys.executable, "-m", "dmdcli", "review", str(options.out), "--no-open"]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert program.stdout is not None
        page = Page(next(found[0] for line in program.stdout if (found := re.search(r"http://127\.0\.0\.1:\S+", line))))
        faces = [one["id"] for one in sorted(page.ask("faces?since=0")["faces"], key=lambda one: one["rank"])]
        print("face      picture   points    found")
        rows = []
        for face, after in zip(faces, [*faces[1:], None], strict=True):
            began = time.monotonic()
            row = []
            for depth in ("outline", "described", "searched"):
                detail = page.ask(f"faces/{face}?depth={depth}")
                row.append(time.monotonic() - began)
                if depth == "described" and after is not None:
                    page.ask(f"faces/{after}/prepare", {})
            rows.append(row)
            corrected = "  with points put by hand" if detail["decision"]["landmarks"] else ""
            print(f"{face:8}", *(f"{seconds:6.2f} s" for seconds in row), corrected, flush=True)
            time.sleep(options.looking)
        for name, tell in (("median", statistics.median), ("longest", max)):
            print(f"{name:8}", *(f"{tell(column):6.2f} s" for column in zip(*rows, strict=True)))
        page.ask("finish", {})
    finally:
        program.terminate()
        program.wait()


if __name__ == "__main__":
    main()
