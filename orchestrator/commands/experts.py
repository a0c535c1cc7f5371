"""`switchyard experts`: list, add and remove those of the YAML; warm and unload those of a running gateway.

    switchyard experts add gpt backend=openai base_url=https://api.example.com/v1 price.input=2.5

Not here: how the YAML is edited (`orchestrator/fleet/configedit.py`).
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands.options import ConfigOption, JsonOption, UrlOption
from orchestrator.commands.placement import place, precision
from orchestrator.commands.profile import profile
from orchestrator.commands.tables import print_table
from orchestrator.errors import ConfigError

experts = typer.Typer(help="The experts of the YAML, and of a running gateway.", no_args_is_help=True)
for command in (profile, place, precision):
    experts.command()(command)


@experts.command("list")
def list_experts(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """What the YAML declares."""
    from orchestrator.fleet.configfile import find_config, read_config

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
    from orchestrator.client import command, gateway_url
    from orchestrator.fleet.configfile import find_config, read_config

    if url is None:
        path = find_config(config)
        url = gateway_url(read_config(path).gateway)
    asyncio.run(command(url, f"/admin/experts/{name}/{verb}"))
