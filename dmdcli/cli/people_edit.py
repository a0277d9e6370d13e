"""`dmd people edit`: a person's references on a page, where their points are put right by hand."""

from __future__ import annotations

from dmdcli.cli.build import build_finder, build_library
from dmdcli.cli.console import DeviceOption, Kit, KitOption, NameArgument, QuietOption, Terminal
from dmdcli.cli.pages import NoOpenOption, kept_in_library, serve, tell_decided


def edit(
    name: NameArgument,
    kit: KitOption = Kit.AUTO,
    device: DeviceOption = "auto",
    no_open: NoOpenOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show a person's references on a page in the browser, to move their points or remove some.

    What the network memorises are eyes and mouth of each reference, cut out by these points. The person's dictionary is
    made anew by the next command that needs it.
    """
    from dmdcli.page.reference_desk import ReferenceDesk
    from dmdcli.page.turns import share

    terminal = Terminal(quiet=quiet)
    library = build_library()
    person = library.person(name)
    finders = share(build_finder(kit, device=device, say=terminal.say))
    desk = ReferenceDesk(library, person, finders, kept_in_library())
    desk.start()
    try:
        serve(desk, no_open)
    finally:
        desk.close()
    for failure in desk.state().failures:
        terminal.fail(failure)
    tell_decided(terminal, desk.decided(), library.folder(person), "reference")
