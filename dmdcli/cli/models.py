"""`dmd models`: list, fetch, verify, import and export the networks."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from dmdcli import weights
from dmdcli.cli.build import cache_folder
from dmdcli.cli.calibrate import calibrate
from dmdcli.cli.console import (
    JsonOption,
    OfflineOption,
    OverwriteOption,
    QuietOption,
    Terminal,
    VerboseOption,
    counted,
    is_confirmed,
    is_terminal,
)
from dmdcli.errors import (
    EXIT_DONE,
    EXIT_INTEGRITY,
    EXIT_USAGE,
    EXIT_WEIGHTS,
    NothingToDoError,
    UsageError,
    WeightsCorruptError,
    WeightsError,
    WeightsMissingError,
)
from dmdcli.weights import NetworkFile
from dmdcli.weights_folder import begun

SCHEMA = 1
"""Version of the JSON objects."""

AcceptOption = Annotated[
    bool, typer.Option("--accept-licence", "--yes", "-y", help="Accept the licences without being asked.")
]
MirrorOption = Annotated[
    str | None,
    typer.Option("--from", metavar="URL", help="Try this folder of your own server first: URL/FILE for each file."),
]
IMPORT_CODES = {"damaged": EXIT_INTEGRITY, "cut off": EXIT_INTEGRITY, "unknown": EXIT_USAGE}
"""What became of a file handed in -> exit code, where it is one of failure."""
NAMES = "Networks as `dmd models list` names them, or full for those of the full kit"

models = typer.Typer(help="List, fetch, verify, import and export the networks.", no_args_is_help=True)


@models.command("list")
def list_models(
    json: JsonOption = False,
    verify: Annotated[bool, typer.Option("--verify", help="Read every file and compare its SHA-256.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say where each fetched file belongs and where it can be had.")
    ] = False,
) -> None:
    """List the networks and whether they are here.

    Shows what each is for, its size, its licence, and what is to be known before it is used.
    """
    terminal = Terminal(json_lines=json)
    folder = cache_folder()
    states = {file: full_state(file, folder) if verify else quick_state(file, folder) for file in weights.FILES}
    for file, state in states.items():
        terminal.record(described(file, folder) | {"state": state})
    full = weights.SETS["full"]
    groups = {
        "Installed with dmd": [file for file in weights.FILES if file.package],
        "The full kit, with `dmd models fetch full`": full,
        "On request, with `dmd models fetch NAME`": [f for f in weights.FILES if not f.package and f not in full],
    }
    columns = ("name", "for", "size", "licence", "state")
    rows = {
        file: (file.name, file.purpose, megabytes(file), file.licence, shown(state, file, folder))
        for file, state in states.items()
    }
    widths = [max(len(row[number]) for row in rows.values()) for number in range(len(columns))]
    for title, files in groups.items():
        terminal.result(f"{title}:")
        terminal.table(columns, [padded(rows[file], widths) for file in files])
        terminal.result("")
    terminal.result(f"Fetched networks lie in {folder}")
    for file in weights.FILES:
        if verbose and not file.package:
            terminal.result(f"  {file.name}: {weights.place(file, folder)}")
            for address in file.addresses:
                terminal.result(f"    {address}")
    terminal.result("")
    terminal.result("To know before using them, commercially above all:")
    for file in weights.FILES:
        if file.note:
            terminal.paragraph(f"{file.name}: {file.note}.")


@models.command("fetch")
def fetch_models(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help=f"{NAMES}.")],
    accept_licence: AcceptOption = False,
    mirror: MirrorOption = None,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Fetch networks from their publishers.

    Size and licence are shown first, and the licence must be accepted. A fetch that was interrupted is gone on from.
    Proxies (HTTPS_PROXY, NO_PROXY) and certificates (REQUESTS_CA_BUNDLE, SSL_CERT_FILE) are honoured.
    """
    from dmdcli import fetch

    terminal = Terminal(quiet=quiet, verbose=verbose)
    folder = cache_folder()
    if offline:
        fetch.forbid_connections()
    wanted = [file for file in chosen(names) if not is_here(file, folder, terminal)]
    for file in wanted:
        if mirror is not None:
            fetch.mirror_address(file, mirror)
    if wanted and not fetch.are_connections_forbidden():
        fetch.check_certificates()
        agreed = agreed_to(wanted, accept_licence, terminal)
    else:
        agreed = wanted
    codes = [EXIT_DONE if len(agreed) == len(wanted) else EXIT_WEIGHTS]
    for file in agreed:
        try:
            bring(file, folder, mirror, terminal)
        except WeightsError as error:
            terminal.fail(str(error))
            codes.append(error.exit_code)
        else:
            terminal.result(str(weights.locate(file, folder)))
    end(max(codes))


@models.command("verify")
def verify_models(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help=f"{NAMES}; without any, all that are here.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Find networks that are damaged.

    Reads them whole and compares their SHA-256 with that of the published files.
    """
    terminal = Terminal(json_lines=json)
    folder = cache_folder()
    files = chosen(names) if names else [file for file in weights.FILES if is_present(file, folder)]
    codes = [EXIT_DONE]
    rows = []
    with terminal.progress("networks", len(files)) as advance:
        for file in files:
            fields = described(file, folder) | {"state": absent_state(file, folder), "got": None}
            try:
                path = weights.locate(file, folder)
                got = weights.sha256_of(path, file)
                fields |= {"state": "intact" if got == file.sha256 else "damaged", "got": got}
                if got != file.sha256:
                    raise WeightsCorruptError(weights.mismatch(path, file, got))
            except WeightsError as error:
                fields |= {"error": str(error), "cure": weights.cure(file)}
                terminal.fail(str(error))
                codes.append(error.exit_code)
            terminal.record(fields)
            rows.append((file.name, fields["state"], fields["path"] or ""))
            advance()
    terminal.table(["name", "state", "path"], rows)
    end(max(codes))


@models.command("import")
def import_models(
    paths: Annotated[
        list[Path], typer.Argument(metavar="FILE...", readable=False, help="Files, folders and bundles of networks.")
    ],
) -> None:
    """Put networks brought by hand in place.

    They are recognised by their content, whatever they are called.
    """
    from dmdcli.bundle import import_files

    terminal = Terminal()
    folder = cache_folder()
    codes = []
    for found in import_files(paths, folder, weights.FILES):
        file = found.file
        if found.outcome == "passed over":
            terminal.say(f"{found.source}: passed over, damaged or not to be read ({found.reason}).")
            continue
        codes.append(IMPORT_CODES.get(found.outcome, EXIT_DONE))
        if found.outcome == "cut off":
            terminal.fail(f"{found.source} is damaged ({found.reason}); bring the bundle again.")
        elif file is None:
            hint = f" It is {found.reason}: unpack it and import what was in it." if found.reason else ""
            terminal.fail(f"{found.source}: none of the networks dmd uses, and no bundle of them.{hint}")
        elif found.outcome == "damaged":
            terminal.fail(
                f"{found.source}: damaged or another file: it is named like {file.title}, but its SHA-256 is not "
                f"{file.sha256}. Fetch it again."
            )
        elif found.outcome == "installed":
            terminal.say(f"{found.source}: {file.title} comes with dmd; it needs no place of its own.")
        elif found.outcome == "there":
            terminal.say(f"{found.source}: {file.title} is here already, intact.")
        else:
            terminal.result(str(weights.locate(file, folder)))
            terminal.say(f"{file.title}: licence {file.licence}{f'; {file.note}' if file.note else ''}.")
    if not codes:
        raise NothingToDoError("No network was found there.")
    end(max(codes))


@models.command("export")
def export_models(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE.tar", help="The file to write.")],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help=f"{NAMES}; without any, all fetched ones.")
    ] = None,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Bundle networks for other machines.

    Writes fetched networks and their licences into one file, which `dmd models import` takes where there is no network.
    """
    from dmdcli.bundle import export_bundle

    terminal = Terminal(quiet=quiet)
    folder = cache_folder()
    fetched = [file for file in weights.FILES if not file.package]
    files = chosen(names) if names else [file for file in fetched if is_present(file, folder)]
    for file in files:
        if file.package:
            raise UsageError(f"{file.name} comes with dmd itself; a bundle holds what is fetched.")
    if not files:
        raise WeightsMissingError(f"No fetched network is in {folder}. `dmd models fetch NAME` brings one.")
    paths = [weights.locate(file, folder) for file in files]
    with terminal.transfer("networks", sum(path.stat().st_size for path in paths)) as show:
        for done in export_bundle(bundle, files, folder, overwrite):
            show(done)
    terminal.result(str(bundle))
    terminal.say(f"{counted(len(files), 'network')}: {', '.join(file.name for file in files)}.")
    terminal.say("Whoever gets it gets the licences with it: LICENCES.txt names them.")


def chosen(names: Sequence[str]) -> list[NetworkFile]:
    """Return the files that names and sets stand for, each once. Raises UsageError."""
    return list(dict.fromkeys(file for name in names for file in weights.named(name)))


def is_present(file: NetworkFile, folder: Path) -> bool:
    """Tell whether there is a file, whatever is in it."""
    return quick_state(file, folder) in ("present", "wrong size")


def quick_state(file: NetworkFile, folder: Path) -> str:
    """Tell whether a file is here without reading it: "present", "wrong size", or as `absent_state`."""
    try:
        path = weights.locate(file, folder)
    except WeightsMissingError:
        return absent_state(file, folder)
    return "present" if weights.has_its_size(path, file) else "wrong size"


def full_state(file: NetworkFile, folder: Path) -> str:
    """Tell whether a file is here after reading it: "intact", "damaged", or as `absent_state`."""
    state = weights.state(file, folder)
    return absent_state(file, folder) if state == "missing" else state


def absent_state(file: NetworkFile, folder: Path) -> str:
    """Tell of a file that is not here whether some of it has arrived: "partial" or "missing"."""
    return "partial" if begun(file, folder) else "missing"


def shown(state: str, file: NetworkFile, folder: Path) -> str:
    """Write a state for people: of what has begun to arrive, how much is there."""
    from dmdcli.doctor.finding import in_bytes

    return f"begun: {in_bytes(begun(file, folder))}" if state == "partial" else state


def described(file: NetworkFile, folder: Path) -> dict[str, object]:
    """Return the JSON fields of a file. path: where it is, null where it is missing; place: where it belongs."""
    try:
        path = str(weights.locate(file, folder))
    except WeightsMissingError:
        path = None
    return {
        "schema": SCHEMA,
        "name": file.name,
        "title": file.title,
        "purpose": file.purpose,
        "size": file.size,
        "size_known": file.size_known,
        "sha256": file.sha256,
        "licence": file.licence,
        "note": file.note,
        "sets": [name for name, files in weights.SETS.items() if file in files],
        "package": file.package,
        "addresses": list(file.addresses),
        "path": path,
        "place": path if file.package else str(weights.place(file, folder)),
    }


def is_here(file: NetworkFile, folder: Path, terminal: Terminal) -> bool:
    """Tell, also the user, whether there is nothing to fetch. Raises WeightsMissingError for a broken package."""
    if file.package:
        weights.locate(file)
        terminal.say(f"{file.title} comes with dmd; there is nothing to fetch.")
        return True
    if weights.state(file, folder) != "intact":
        return False
    terminal.say(f"{file.title} is here already, intact: {weights.locate(file, folder)}")
    return True


def agreed_to(files: Sequence[NetworkFile], accepted: bool, terminal: Terminal) -> list[NetworkFile]:
    """Show size and licence of `files`, and return those whose licence is accepted; asks once per licence."""
    shown = terminal if accepted else Terminal()  # whoever is asked must see what about
    for file in files:
        shown.say(f"{file.title}: {file.purpose}; {megabytes(file)}; licence {file.licence}")
        if file.note:
            shown.paragraph(f"{file.note[0].upper()}{file.note[1:]}.", message=True)
    if len(files) > 1:
        shown.say(f"{len(files)} networks, {megabytes(*files)} in all, to {cache_folder()}")
    if accepted:
        return list(files)
    if files and not is_terminal(sys.stdin):
        from dmdcli.fetch import by_hand

        terminal.fail("Nobody is here to accept the licences, so nothing was fetched; --accept-licence accepts them.")
        for file in files:
            terminal.fail(f"{file.title} was not fetched. {by_hand(file, cache_folder())}")
        return []
    agreed: list[NetworkFile] = []
    for licence in dict.fromkeys(file.licence for file in files):
        under = [file for file in files if file.licence == licence]
        titles = ", ".join(file.title for file in under)
        if is_confirmed(f"Accept {licence} for {titles}?"):
            agreed += under
        else:
            terminal.fail(f"{licence} was declined; not fetched: {titles}.")
    return agreed


def bring(file: NetworkFile, folder: Path, mirror: str | None, terminal: Terminal) -> None:
    """Fetch one file and show how far it has come. Raises the errors of `fetch`."""
    from dmdcli.fetch import fetch

    with terminal.transfer(file.title, file.size) as show, closing(fetch(file, folder, mirror)) as steps:
        for step in steps:
            if step.note:
                terminal.say(step.note)
            if step.detail:
                terminal.detail(step.detail)
            show(step.done, step.total)


def megabytes(*files: NetworkFile) -> str:
    """Write the size of files in millions of bytes, to three figures."""
    size = sum(file.size for file in files) / 1e6
    return f"{size:.3g} MB" if size < 1000 else f"{size:,.0f} MB"


def padded(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Make cells as wide as those of the other tables, so that columns stand under each other."""
    aligned = zip(cells, widths, strict=True)
    return [cell.rjust(width) if cell.endswith(" MB") else cell.ljust(width) for cell, width in aligned]


def end(code: int) -> None:
    """Leave with an exit code, where it is one of failure."""
    if code:
        raise typer.Exit(code)


models.command("calibrate")(calibrate)
