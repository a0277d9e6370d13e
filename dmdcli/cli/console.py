"""What all verbs share: messages and progress on stderr, results on stdout, and options that mean the same."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Annotated, Protocol, TextIO

import typer

LEAST_FACE = 32
"""Default of --min-face; `faces.finder` has it too, but importing that takes seconds."""
THRESHOLD = 0.5
"""Default of --threshold; `faces.identity` has it too."""
UNWRAPPED = 100_000
"""Columns of a table that nobody's window cuts off."""


class Precision(str, Enum):
    """Numbers the network may compute with."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class Kit(str, Enum):
    """Which networks find, measure and recognise faces."""

    AUTO = "auto"
    EMBEDDED = "embedded"
    FULL = "full"


class Engravings(str, Enum):
    """Whether engravings and coarse prints are restored."""

    LEAVE = "leave"
    RESTORE = "restore"


class AlreadyGood(str, Enum):
    """Whether faces that are sharp and clean are restored."""

    LEAVE = "leave"
    RESTORE = "restore"


class Tags(str, Enum):
    """Whether faces that other programs named are theirs."""

    USE = "use"
    IGNORE = "ignore"


class Surface(str, Enum):
    """Whose tone or grain a restored face has."""

    KEEP = "keep"
    MODEL = "model"


FolderArgument = Annotated[
    Path, typer.Argument(metavar="DATA", help="Folder with aligned_crops/, index.csv and landmarks.json.")
]
PhotosArgument = Annotated[
    list[Path],
    typer.Argument(metavar="PHOTOS", readable=False, help="Photos and folders; folders are walked recursively."),
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The person's name.")]
OutOption = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write to; made if missing.")]
OptionalOutOption = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder to write to; nothing is written without it.")
]
PersonOption = Annotated[
    list[str] | None,
    typer.Option("--person", metavar="NAME", help="Recognise only this person; may be given several times."),
]
StrengthOption = Annotated[
    float, typer.Option("--strength", min=0.0, max=1.0, help="How much of the restoration is taken; 0 is the original.")
]
MinFaceOption = Annotated[
    int, typer.Option("--min-face", metavar="PX", min=1, help="Leave faces whose box has a smaller side alone.")
]
ThresholdOption = Annotated[
    float, typer.Option("--threshold", min=0.0, max=1.0, help="Similarity from which a face is the enrolled person's.")
]
DeviceOption = Annotated[
    str, typer.Option("--device", metavar="auto|cpu|cuda|mps", envvar="DMD_DEVICE", help="Where the network runs.")
]
BatchSizeOption = Annotated[
    int | None,
    typer.Option(
        "--batch-size", metavar="N", min=1, help="Faces that go through the network at once; without it 2, on CUDA 16."
    ),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        "--precision",
        help="Numbers the network computes with; auto takes half precision where that is faster.",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        min=1,
        envvar="DMD_WORKERS",
        help="Photos read, searched and written at the same time; without it as many as there are processor cores for "
        "this program. Each takes about 160 MB of memory, and up to 250 MB of photos.",
    ),
]
RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Have the work done by a Ray cluster that runs already: auto, HOST:PORT or ray://HOST:PORT. --workers is "
        "then how many of its cores or GPUs to use at most.",
    ),
]
KitOption = Annotated[
    Kit, typer.Option("--kit", help="Networks that find and recognise faces; auto takes the full kit where it is.")
]
ModelOption = Annotated[
    str, typer.Option("--model", metavar="base|dmdnet|PATH", help="Network that restores: ours, the published, a file.")
]
ThoroughOption = Annotated[
    bool, typer.Option("--thorough", help="Look harder for faces: much slower, and 2 GB of memory for 2 megapixels.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would happen and write nothing.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON Lines, one object a line, instead of tables.")]
StrictOption = Annotated[bool, typer.Option("--strict", help="End with 3 also when photos were unsure or refused.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Write again what is there from an earlier run.")]
OfflineOption = Annotated[bool, typer.Option("--offline", envvar="DMD_OFFLINE", help="Never connect to anything.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no messages but failures.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr.")]
ReportOption = Annotated[
    bool, typer.Option("--report/--no-report", help="Leave an account of the run, report.html, in the output folder.")
]
SingleFileOption = Annotated[
    bool, typer.Option("--single-file", help="Put all pictures into report.html; for up to 200 photos.")
]
OpenOption = Annotated[bool, typer.Option("--open", help="Show report.html in the browser at the end.")]
WriteNamesOption = Annotated[
    bool, typer.Option("--write-names", help="Write the names of recognised people into results and reports.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def one_line(text: str) -> str:
    """Write `text` so that it stays on one line: control characters become escapes."""
    return "".join(
        character if character.isprintable() or character == " " else ascii(character)[1:-1] for character in text
    )


def print_failure(message: str) -> None:
    """Print one plain, unwrapped line on stderr."""
    typer.echo(f"dmd: {one_line(message)}", err=True)


def is_confirmed(question: str) -> bool:
    """Ask on stderr; nobody there to answer means no. Raises KeyboardInterrupt where the answer is Ctrl-C."""
    if sys.stdin is None:
        return False
    try:
        return typer.confirm(question, err=True)
    except typer.Abort as abort:
        typer.echo(err=True)
        if isinstance(abort.__context__, KeyboardInterrupt):  # typer makes one error of this and of the input's end
            raise KeyboardInterrupt from abort
        return False


class Show(Protocol):
    """Moves a bar of bytes."""

    def __call__(self, done: int, total: int | None = None) -> None:
        """Say that `done` bytes are there; `total` corrects how many are to come."""


class Advance(Protocol):
    """Moves a progress bar."""

    def __call__(self, count: int = 1, total: int | None = None, what: str | None = None) -> None:
        """Count `count` more as done; `total` corrects how many there are, `what` says what is counted."""


class Terminal:
    """Where one command's messages, progress and results go.

    Results go to stdout; messages and the progress bar to stderr. `quiet` leaves nothing but results and failures,
    `verbose` adds detail, and `json_lines` makes `record` the only thing that reaches stdout.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False, json_lines: bool = False) -> None:
        from rich.console import Console

        self.quiet = quiet
        self.verbose = verbose and not quiet
        self.json_lines = json_lines
        self._errors = Console(stderr=True, markup=False, highlight=False, emoji=False)

    def say(self, message: str) -> None:
        """Print a message on stderr, unless quiet."""
        if not self.quiet:
            self._errors.print(one_line(message), soft_wrap=True)

    def detail(self, message: str) -> None:
        """Print a message on stderr, only if verbose."""
        if self.verbose:
            self._errors.print(one_line(message), soft_wrap=True)

    def fail(self, message: str) -> None:
        """Print the one plain line of a photo that failed on stderr, also if quiet; it stands above a progress bar."""
        self._errors.print(f"dmd: {one_line(message)}", soft_wrap=True)

    def result(self, line: str) -> None:
        """Print one line of a result on stdout; nothing under --json."""
        if not self.json_lines:
            typer.echo(one_line(line))

    def record(self, fields: Mapping[str, object]) -> None:
        """Print one JSON object on a line of its own on stdout, under --json only."""
        if self.json_lines:
            line = json.dumps(fields, ensure_ascii=False, allow_nan=False)
            typer.echo(line.encode("utf-8", "backslashreplace").decode())  # names that are no text: as JSON escapes
            sys.stdout.flush()

    def paragraph(self, text: str, message: bool = False) -> None:
        """Print running text indented, wrapped between words in a window and unwrapped in a pipe.

        A result goes to stdout, not under --json; a message to stderr, not if quiet.
        """
        if self.quiet if message else self.json_lines:
            return
        from rich.console import Console
        from rich.padding import Padding
        from rich.text import Text

        stream = sys.stderr if message else sys.stdout
        if is_terminal(stream):
            console = self._errors if message else Console(markup=False, highlight=False)
            console.print(Padding(Text(one_line(text)), (0, 0, 0, 2)))
        else:
            typer.echo(f"  {one_line(text)}", err=message)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print a table on stdout; nothing under --json. Numbers stand right; a pipe gets it unwrapped."""
        if self.json_lines or not rows:
            return
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for number, column in enumerate(columns):
            numeric = all(isinstance(row[number], int | float) for row in rows)
            table.add_column(Text(column, style="bold"), justify="right" if numeric else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(one_line(str(cell))) for cell in row))
        if is_terminal(sys.stdout):
            Console(markup=False, highlight=False).print(table)
            return
        for line in plain_lines(table):
            typer.echo(line)

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Advance]:
        """Show a bar on stderr, with the time left, that counts `what` ("photos", "faces").

        Shown only on a terminal, not if quiet, and not while JSON goes to the same window. Yields a function that
        moves the bar.
        """
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (MofNCompleteColumn(), TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        with Progress(
            *columns, console=self._errors, transient=True, disable=not self._shows_bars(), redirect_stdout=False
        ) as progress:
            task = progress.add_task(what, total=total)

            def advance(count: int = 1, total: int | None = None, what: str | None = None) -> None:
                progress.update(task, advance=count, total=total, description=what)

            yield advance

    @contextmanager
    def transfer(self, what: str, total: int) -> Iterator[Show]:
        """Show a bar on stderr of the bytes of `what` that are there, with speed and time left.

        Shown as `progress` is. Yields a function that moves the bar; what is there when it is first called, or after
        bytes were given up, does not count as speed.
        """
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.progress import TransferSpeedColumn as SpeedColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            SpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(
            *columns, console=self._errors, transient=True, disable=not self._shows_bars(), redirect_stdout=False
        ) as progress:
            task = progress.add_task(what, total=total)
            last = -1

            def show(done: int, total: int | None = None) -> None:
                nonlocal last
                if last < 0 or done < last:
                    progress.reset(task, completed=done)
                progress.update(task, completed=done, total=total)
                last = done

            yield show

    def _shows_bars(self) -> bool:
        return self._errors.is_terminal and not self.quiet and not (self.json_lines and is_terminal(sys.stdout))


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether somebody watches a stream; a closed one is None."""
    return stream is not None and stream.isatty()


def counted(number: int, noun: str) -> str:
    """Write a number with its noun: 1 face, 2 faces."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def plain_lines(table: object) -> list[str]:
    """Draw a rich table as plain lines as wide as they need to be."""
    from rich.console import Console

    console = Console(width=UNWRAPPED, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]
