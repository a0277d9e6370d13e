"""How soon the page of `dmd check --edit` is there, and how soon it shows a preview.

    python benchmarks/page_preview.py PHOTOS... [--previews 20] [--model base]

Starts the real program, asks its page as a browser does, and prints: seconds until the page answers, until the first
face is found, the first preview (which waits for the network to be loaded), previews while photos are searched, and
previews after the search. For each preview one eye of a face was moved.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

LEFT_EYE = range(36, 42)


class Page:
    """What a browser asks of the page at its one-time address."""

    def __init__(self, address: str) -> None:
        with urlopen(address, timeout=30) as answer:  # follows the redirect to the page's own path
            self._base = answer.url.rstrip("/")
        parts = urlsplit(self._base)
        self._headers = {"Content-Type": "application/json", "Origin": f"{parts.scheme}://{parts.netloc}"}

    def ask(self, route: str, body: object = None) -> Any:
        """The JSON of a route; with a body it is posted."""
        content = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else self._headers
        with urlopen(Request(f"{self._base}/api/{route}", content, headers), timeout=120) as answer:
            return json.load(answer)

    def preview(self, face: str, shift: float) -> float:
        """Seconds until the preview of a face is there whose left eye was moved by `shift` pixels."""
        detail = self.ask(f"faces/{face}")
        points = [[x + shift * (index in LEFT_EYE), y] for index, (x, y) in enumerate(detail["landmarks"])]
        began = time.monotonic()
        self.ask(f"faces/{face}/preview", {"landmarks": points})
        return time.monotonic() - began


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--previews", type=int, default=20)
    parser.add_argument("--model", default="base")
    options = parser.parse_args()
    began = time.monotonic()
    command = [sys.executable, "-m", "dmdcli", "check", "--edit", *map(str, options.photos), "--no-open"]
    program = subprocess.Popen(
        [*command, "--model", options.model], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert program.stdout is not None
        page = Page(next(found[0] for line in program.stdout if (found := re.search(r"http://127\.0\.0\.1:\S+", line))))
        page.ask("state")
        print(f"page there        {time.monotonic() - began:6.2f} s")
        while not (faces := usable(page)):
            time.sleep(0.05)
        print(f"first face        {time.monotonic() - began:6.2f} s")
        print(f"first preview     {page.preview(faces[0], 1.0):6.2f} s")
        during = []
        while is_searching(page):
            faces = usable(page)
            during.append(page.preview(faces[len(during) % len(faces)], 1.0 + len(during) % 3))
        tell("while searching", during)
        faces = usable(page)
        tell("after it", [page.preview(faces[n % len(faces)], 1.0 + n % 3) for n in range(options.previews)])
        print(f"{len(faces)} usable faces")
        page.ask("finish", {})
        program.wait(timeout=30)
    finally:
        program.kill()
        program.communicate()


def is_searching(page: Page) -> bool:
    """Whether photos are still looked at."""
    state = page.ask("state")
    return bool(state["looked_at"] < state["photos"])


def usable(page: Page) -> list[str]:
    """Faces found by now that are not refused."""
    return [one["id"] for one in page.ask("faces?since=0")["faces"] if one["verdict"] in ("good", "doubtful")]


def tell(what: str, seconds: list[float]) -> None:
    """Print the middle and the range of some durations."""
    if seconds:
        middle = statistics.median(seconds)
        print(f"{what:17} {middle:6.2f} s  ({min(seconds):.2f} to {max(seconds):.2f}, {len(seconds)} previews)")


if __name__ == "__main__":
    main()
