"""`switchyard check` and `switchyard pull`: is the YAML right, do its experts answer, and are their weights there.

    switchyard check experts.yaml --no-probe

Not here: what is checked (`orchestrator/fleet/`).
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.options import ConfigOption, JsonOption
from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from orchestrator.fleet.probe import Probe


def check(
    file: Annotated[Path | None, typer.Argument(help="Default: $SWITCHYARD_CONFIG, else ./experts.yaml.")] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema for editors, and do nothing else.")
    ] = False,
    probe: Annotated[bool, typer.Option(help="Ask every expert a short question.")] = True,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Validate the YAML, then see whether every expert answers."""
    from orchestrator.fleet.configerrors import json_schema
    from orchestrator.fleet.configfile import find_config, load_config

    if schema:
        typer.echo(json.dumps(json_schema(), indent=2))
        return
    if file is not None and config is not None:
        raise ConfigError(f"got both {file} and --config {config}, expected one of them")
    path = find_config(file or config)
    fleet = load_config(path)
    results = asyncio.run(_probe(path, quiet=as_json)) if probe else []
    if as_json:
        found = [
            {"expert": p.expert, "ok": p.ok, "latency_s": round(p.latency_s, 3), "message": p.message} for p in results
        ]
        typer.echo(json.dumps({"config": str(path), "experts": [spec.name for spec in fleet.experts], "probes": found}))
    elif not probe:
        typer.echo(f"{path}: valid, {len(fleet.experts)} experts")
    if not all(result.ok for result in results):
        raise typer.Exit(1)


async def _probe(path: Path, *, quiet: bool) -> list[Probe]:
    from orchestrator.fleet.probe import probe
    from orchestrator.service import running

    results = []
    async with running(path) as service:
        async for result in probe(service):
            results.append(result)
            if not quiet:
                verdict = "ok    " if result.ok else "failed"
                typer.echo(f"{verdict} {result.latency_s:7.2f} s  {result.expert}  {result.message}".rstrip())
    return results


def pull(
    names: Annotated[list[str] | None, typer.Argument(metavar="EXPERT...", help="Default: all.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch weights into the model cache, verified."""
    from orchestrator.fleet.configfile import find_config, read_config
    from orchestrator.fleet.weights import pull as fetch
    from orchestrator.fleet.weights import weights_of

    path = find_config(config)
    specs = read_config(path).by_name
    for name in names or ():
        if name not in specs:
            raise ConfigError(f"'{name}' is no expert; expected one of {', '.join(specs)}")
    chosen = [specs[specs[name].host] for name in names or specs]
    wanted = dict.fromkeys(weights for spec in chosen for weights in weights_of(spec))
    found = fetch(wanted, path.parent, lambda what: typer.echo(f"downloading {what}", err=True))
    if as_json:
        typer.echo(json.dumps([str(place) for place in found.values()]))
    else:
        typer.echo("1 file is in place" if len(found) == 1 else f"{len(found)} files are in place")
