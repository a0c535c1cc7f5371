"""The command line: `switchyard --help`. The composition root; the commands are in `orchestrator/commands/`.

    switchyard serve --port 8700
    switchyard ask "What is 17 * 23?" --explain

Commands import what they need when they run, so that `--help` answers at once. Errors raised on purpose are one line on stderr
and exit code 1; wrong usage is exit code 2.
"""

from __future__ import annotations

import sys

import typer

from orchestrator.commands import fleet, gateway, outcomes, training
from orchestrator.commands.batch import batch
from orchestrator.commands.bench import bench
from orchestrator.commands.experts import experts
from orchestrator.commands.fuse import fuse
from orchestrator.commands.imports import importers
from orchestrator.commands.label import label
from orchestrator.commands.promotion import promote
from orchestrator.commands.prompts import prompts
from orchestrator.commands.simulate import simulate
from orchestrator.errors import SwitchyardError

app = typer.Typer(
    name="switchyard",
    help="Which expert answers, and what is in memory, decided together.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    gateway.serve,
    gateway.ask,
    fleet.check,
    fleet.pull,
    outcomes.export,
    training.train,
    training.evaluate,
    label,
    batch,
    bench,
    simulate,
    promote,
):
    app.command()(command)
app.add_typer(experts, name="experts")
app.add_typer(fuse, name="fuse")
app.add_typer(importers, name="import")
app.add_typer(prompts, name="prompts")


def main() -> None:
    """The entry point."""
    try:
        app()
    except SwitchyardError as error:
        typer.echo(error.message, err=True)
        sys.exit(1)
