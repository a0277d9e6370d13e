"""The `dmd` command: every verb is registered here, and every error becomes one sentence and an exit code here.

Importing this file must stay light: a verb's file imports typer and `console`, anything heavy in its function.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dmdcli import __version__
from dmdcli.cli.check import check
from dmdcli.cli.console import OfflineOption, print_failure
from dmdcli.cli.corrections import corrections
from dmdcli.cli.degrade import degrade
from dmdcli.cli.doctor import doctor
from dmdcli.cli.enroll import enroll
from dmdcli.cli.evaluate import evaluate
from dmdcli.cli.explain import explain
from dmdcli.cli.merge import merge
from dmdcli.cli.models import models
from dmdcli.cli.people import people
from dmdcli.cli.report import report
from dmdcli.cli.restore import restore
from dmdcli.cli.review import review
from dmdcli.cli.train import train
from dmdcli.errors import EXIT_BUG, EXIT_CANNOT_GO_ON, EXIT_INTERRUPTED, DMDError
from dmdcli.memory import use_huge_pages

ENVIRONMENT = """\
\b
Environment:
  DMD_HOME     folder of the enrolled people (default: the platform's data folder)
  DMD_CACHE    folder of fetched networks (default: the platform's cache folder)
  DMD_DEVICE   what --device is when it is not given
  DMD_OFFLINE  1: never connect to anything, as --offline

\b
Exit codes:
  0 done   1 a bug   2 wrong usage   3 some photos failed   4 nothing to do   5 enrolment refused
  6 weights missing   7 damaged or newer files   8 cannot go on   130 interrupted
"""

BEGINS_ANEW = frozenset({"evaluate"})
"""Verbs that keep nothing of a run that was stopped."""
NO_ROOM = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT)
"""Errors that mean that output has no place."""


class ErrorBoundary(TyperGroup):
    """The one place where errors end: a DMDError is one line on stderr and its exit code, whatever the verb."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; leave with the exit codes of `dmdcli.errors`."""
        with ending_without_room():
            try:
                result = super().invoke(ctx)
                sys.stdout.flush()
            except DMDError as error:
                print_failure(str(error))
                raise typer.Exit(error.exit_code) from error
            except KeyboardInterrupt as stop:
                anew = ctx.invoked_subcommand in BEGINS_ANEW
                kept = "What was finished is kept; the same command goes on from there."
                print_failure(f"Stopped. {'The same command begins anew.' if anew else kept}")
                raise typer.Exit(EXIT_INTERRUPTED) from stop
            except Exception as error:
                package = broken_package(error)
                if package is None:
                    raise
                said = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
                print_failure(f"The package {package} does not work here ({said}): `dmd doctor` says what is wrong.")
                raise typer.Exit(EXIT_CANNOT_GO_ON) from error
        return result

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        """Read the options before the verb; some print at once, as --help does."""
        with ending_without_room():
            try:
                return super().make_context(*arguments, **settings)
            except typer.BadParameter as error:
                if getattr(error.param, "name", None) == "offline":  # a flag: the value is that of the variable
                    from dmdcli.doctor.surroundings import NO, YES

                    wrong = os.environ.get("DMD_OFFLINE")
                    error.message = f"{wrong!r} is neither {', '.join(YES)} nor {', '.join(NO)}."
                raise


def broken_package(error: BaseException) -> str | None:
    """The installed package that failed while it was imported; None for every error that came up elsewhere."""
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return None
    trace = error.__traceback__
    while trace is not None:
        package = str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if trace.tb_frame.f_code.co_name == "<module>" and package != "dmdcli":
            return package
        trace = trace.tb_next
    package = ((error.name if isinstance(error, ImportError) else None) or "").partition(".")[0]
    return package if package not in ("", "dmdcli") else None


@contextlib.contextmanager
def ending_without_room() -> Iterator[None]:
    """End with exit code 8 where output has no place: a full disk, or a reader that has left, as `head` does."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        if error.errno != errno.EPIPE:  # to a reader that has left there is nothing to say
            print_failure(f"The disk is full: {error}. Make room; the same command goes on from there.")
        with contextlib.suppress(io.UnsupportedOperation):  # nor may the interpreter's last flush fail
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(EXIT_CANNOT_GO_ON) from error


app = typer.Typer(
    name="dmd",
    cls=ErrorBoundary,
    help="Restores the faces in folders of old photographs, each person from their own dictionary.",
    epilog=ENVIRONMENT,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def print_version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        typer.echo(f"dmd {__version__}")
        raise typer.Exit


@app.callback()
def dmd(
    version: Annotated[  # noqa: ARG001 (its callback has acted)
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and end.")
    ] = False,
    offline: OfflineOption = False,
) -> None:
    """Take the options that stand before the verb."""
    use_huge_pages()
    # NumPy's matrix products are small here, and several run at once: more threads would only wait for each other.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if offline:
        from dmdcli.fetch import forbid_connections

        forbid_connections()


app.command("enroll")(enroll)
app.command("restore")(restore)
app.command("merge")(merge)
app.command("explain")(explain)
app.command("review")(review)
app.command("report")(report)
app.command("check")(check)
app.command("check-landmarks", hidden=True)(check)
app.add_typer(people, name="people")
app.add_typer(corrections, name="corrections")
app.add_typer(models, name="models")
app.command("degrade")(degrade)
app.command("evaluate")(evaluate)
app.add_typer(train, name="train")
app.command("doctor")(doctor)


def main() -> None:
    """Run `dmd` on the command line's arguments and leave with an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file name may hold bytes that are no text
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except Exception:
        print_failure(f"This should not have happened; it is a bug (exit code {EXIT_BUG}). What Python says of it:")
        raise


if __name__ == "__main__":
    main()
