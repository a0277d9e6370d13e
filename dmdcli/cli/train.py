"""`dmd train`: make weights of one's own; `dmd train prepare` makes the folder it learns from."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from dmdcli.cli.console import DeviceOption, FolderArgument, QuietOption, Terminal
from dmdcli.cli.prepare import prepare

if TYPE_CHECKING:
    from dmdcli.training.run_folder import Progress

RunOption = Annotated[
    Path, typer.Option("--out", "-o", metavar="RUN", help="Folder of the run; one that is there is gone on with.")
]


class TrainVerb(TyperGroup):
    """A verb that acts itself, unless its first word is one of its own verbs; a folder of that name is ./prepare."""

    allow_extra_args = False
    allow_interspersed_args = True

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read its own options, or leave all words to the verb named first."""
        if args and args[0] in self.commands:
            ctx.args = [*args]
            return [*args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Train, or run the verb named first."""
        if not ctx.args:
            return super().invoke(ctx)
        name, *words = ctx.args
        command = self.commands[name]
        with command.make_context(f"{ctx.info_name} {name}", words, parent=ctx.parent) as inner:
            return command.invoke(inner)


train = typer.Typer(cls=TrainVerb, invoke_without_command=True, subcommand_metavar="")
train.command("prepare")(prepare)


@train.callback()
def start_run(
    folder: FolderArgument,
    run: RunOption,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", metavar="FILE", help="JSON file with the settings of a run.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Steps of the whole run.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=1, help="Faces of one step.")] = None,
    width: Annotated[int | None, typer.Option("--width", min=4, help="Channels of the finest features.")] = None,
    entries: Annotated[int | None, typer.Option("--entries", min=1, help="Entries of the generic dictionary.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", help="Highest learning rate.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Everything random comes from it.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=0, help="Processes that make samples.")] = None,
    start_from: Annotated[
        Path | None, typer.Option("--start-from", metavar="FILE", help="Weights to begin a new run with.")
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the network (worth it on long GPU runs).")
    ] = False,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads of the network.")] = None,
    every: Annotated[int, typer.Option("--print-every", min=1, help="Steps between two printed lines.")] = 50,
    device: DeviceOption = "auto",
    quiet: QuietOption = False,
) -> None:
    """Train the network on a folder of aligned faces; the same command goes on with a run that was stopped."""
    import json
    from dataclasses import replace

    import torch

    from dmdcli.cli.build import cache_folder
    from dmdcli.errors import UsageError
    from dmdcli.model.restorer import choose_device
    from dmdcli.training.data import read_faces, require_people
    from dmdcli.training.distributed import joined, own_device
    from dmdcli.training.identity import load_arcface
    from dmdcli.training.recipe import TrainConfig
    from dmdcli.training.report import draws_curves
    from dmdcli.training.train import train as steps_of

    place = own_device(choose_device(device))
    if threads:
        torch.set_num_threads(threads)
    try:
        config = TrainConfig(**json.loads(recipe.read_text(encoding="utf-8"))) if recipe else TrainConfig()
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{recipe}: not a recipe ({error})") from error
    given: dict[str, Any] = {
        "steps": steps,
        "batch_size": batch_size,
        "width": width,
        "entries": entries,
        "learning_rate": learning_rate,
        "seed": seed,
        "workers": workers,
    }
    config = replace(config, **{name: value for name, value in given.items() if value is not None})
    recognise = load_arcface(cache_folder(), place) if config.identity_weight else None
    with joined(place) as processes:
        terminal = Terminal(quiet=quiet or not processes.first)
        terminal.say(f"Reading the faces in {folder} ...")
        faces, validation = read_faces(folder, "train"), read_faces(folder, "validation")
        require_people(faces)  # before a folder is made for the run
        among = f", shared by {processes.count} processes," if processes.count > 1 else ""
        counted = f"{len(faces.samples)} faces of {len(faces.people)} people"
        terminal.say(f"{counted}; training on {place}{among} into {run}")
        if not draws_curves():
            terminal.say("matplotlib is not installed: progress.csv will have the numbers, but no curves.png is drawn.")
        progress = steps_of(
            faces,
            validation,
            config,
            run,
            str(place),
            compiled=compiled,
            start_from=start_from,
            processes=processes,
            recognise=recognise,
        )
        done = 0
        with (
            terminal.progress("steps", config.steps) as advance,
            held_interrupts(processes.count == 1) as is_asked_to_stop,
        ):
            for event in progress:
                advance(event.step - done)  # the first step of a run that goes on is not 1
                done = event.step
                if processes.first and (event.step % every == 0 or event.psnr is not None):
                    terminal.result(line_of(event))
                if is_asked_to_stop():
                    progress.throw(KeyboardInterrupt())
        if not done:
            terminal.say(f"{run} has its {config.steps} steps; there is nothing left to do.")


@contextmanager
def held_interrupts(wanted: bool) -> Iterator[Callable[[], bool]]:
    """Let a first Ctrl-C wait until it is asked for; a second one interrupts at once.

    Not wanted where several processes train: those that wait for one another must end together.
    """
    held = False

    def hold(_signal: int, _frame: object) -> None:
        nonlocal held
        held = True
        signal.signal(signal.SIGINT, before)

    before = signal.getsignal(signal.SIGINT)
    if wanted and before is signal.default_int_handler:  # not where Ctrl-C is ignored, as in the background
        signal.signal(signal.SIGINT, hold)
    try:
        yield lambda: held
    finally:
        signal.signal(signal.SIGINT, before)


def line_of(progress: Progress) -> str:
    """What is printed of one step."""
    line = f"step {progress.step}: loss {progress.loss:.4f}"
    for name in ("adversarial", "discriminator", "identity"):
        value = getattr(progress, f"{name}_loss")
        if value is not None:
            line += f", {name} {value:.4f}"
    line += f", {progress.seconds:.0f} s"
    if progress.psnr is not None:
        degraded, generic, specific = progress.psnr
        line += f"; PSNR input {degraded:.2f}, generic {generic:.2f}, specific {specific:.2f} dB"
    return line
