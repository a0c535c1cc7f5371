"""`switchyard experts`: list, add and remove those of the YAML; list, warm and unload those of a running gateway.

    switchyard experts add gpt backend=openai base_url=https://api.example.com/v1 price.input=2.5

Not here: how the YAML is edited (`orchestrator/fleet/configedit.py`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.options import ConfigOption, JsonOption, UrlOption
from orchestrator.commands.placement import place
from orchestrator.commands.precision import precision
from orchestrator.commands.profile import profile
from orchestrator.commands.running import admin_url, running_experts
from orchestrator.commands.tables import print_table
from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from orchestrator.gateway.admin import ExpertList
    from orchestrator.scheduler.base import ExpertStatus

experts = typer.Typer(help="The experts of the YAML, and of a running gateway.", no_args_is_help=True)
for command in (profile, place, precision):
    experts.command()(command)


@experts.command("list")
def list_experts(
    config: ConfigOption = None,
    url: Annotated[
        str | None, typer.Option("--url", help="A running gateway: who is in memory there, and asked for.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What the YAML declares, or with --url, what a gateway has of it."""
    from orchestrator.fleet.configfile import find_config, read_config

    if url is not None:
        _list_running(url, as_json)
        return
    path = find_config(config)
    specs = read_config(path).experts
    if as_json:
        fields = {"name", "kind", "backend", "context", "price", "skills", "capabilities", "description"}
        typer.echo(json.dumps([spec.model_dump(mode="json", include=fields) for spec in specs]))
        return
    rows = [
        (s.name, s.kind, s.backend, s.context or "", s.price.input, s.price.output, ", ".join(s.skills)) for s in specs
    ]
    print_table(("expert", "kind", "backend", "context", "in $/M", "out $/M", "skills"), rows)


def _list_running(url: str, as_json: bool) -> None:
    import msgspec

    told = asyncio.run(running_experts(url))
    if as_json:
        typer.echo(msgspec.json.encode(told).decode())
    else:
        _print_running(told)


def _print_running(told: ExpertList) -> None:
    """Experts, on a cluster each replica of theirs that is in memory or asked for; then what memory is used."""
    nodes = told.memory.nodes
    where: tuple[str, ...] = ("node",) if nodes else ()
    rows = [
        (
            s.expert,
            *(s.node for _ in where),
            s.state,
            s.leases,
            s.waiting,
            f"{s.memory_bytes / 1e9:.1f}",
            s.loads,
            s.last_error or "",
        )
        for s in _in_use(told)
    ]
    print_table(("expert", *where, "state", "leases", "waiting", "GB", "loads", "last error"), rows)
    for node, memory in (nodes or {"this machine": told.memory}).items():
        typer.echo(f"{node}: {memory.used_bytes / 1e9:.1f} GB of {memory.budget_bytes / 1e9:.1f} in use")


def _in_use(told: ExpertList) -> Iterator[ExpertStatus]:
    """Of each expert its replicas that are, or a line that says that there are none."""
    from orchestrator.scheduler.summary import by_expert

    for _, group in groupby(told.data, key=lambda each: each.expert):
        replicas = tuple(group)
        yield from [each for each in replicas if each.state != "cold" or each.waiting] or by_expert(replicas).values()


@experts.command()
def add(
    name: str,
    settings: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...", help="As in the YAML; dots reach inside.")],
    config: ConfigOption = None,
) -> None:
    """Write an expert into the YAML: add gpt backend=openai base_url=https://api.example.com/v1 price.input=2.5"""
    from orchestrator.fleet.configedit import add_expert, parse_settings
    from orchestrator.fleet.configfile import find_config, load_config

    path = find_config(config)
    add_expert(path, {"name": name, **parse_settings(settings)})
    typer.echo(f"added {name} to {path}")
    try:
        load_config(path)
    except ConfigError as error:
        typer.echo(f"note: the gateway refuses this file until this is mended:\n{error.message}", err=True)


@experts.command()
def remove(name: str, config: ConfigOption = None) -> None:
    """Take an expert out of the YAML."""
    from orchestrator.fleet.configedit import remove_expert
    from orchestrator.fleet.configfile import find_config

    path = find_config(config)
    remove_expert(path, name)
    typer.echo(f"removed {name} from {path}")


@experts.command()
def warm(name: str, config: ConfigOption = None, url: UrlOption = None) -> None:
    """Load an expert of the running gateway into memory."""
    _command_expert(name, "warm", config, url)
    typer.echo(f"loaded {name}")


@experts.command()
def unload(name: str, config: ConfigOption = None, url: UrlOption = None) -> None:
    """Take an expert of the running gateway out of memory."""
    _command_expert(name, "unload", config, url)
    typer.echo(f"unloaded {name}")


def _command_expert(name: str, verb: str, config: Path | None, url: str | None) -> None:
    from orchestrator.client import command

    asyncio.run(command(admin_url(config, url), f"/admin/experts/{name}/{verb}"))
