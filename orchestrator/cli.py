"""The command line: `switchyard --help`. The composition root; what the commands do lives in the modules they import.

    switchyard serve --port 8700
    switchyard ask "What is 17 * 23?" --explain

Modules are imported inside the commands, so that `--help` answers at once. Errors raised on purpose are one line on stderr and
exit code 1; wrong usage is exit code 2.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.errors import ConfigError, SwitchyardError

if TYPE_CHECKING:
    from orchestrator.fleet.probe import Probe

app = typer.Typer(
    name="switchyard",
    help="Which expert answers, and what is in memory, decided together.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
experts = typer.Typer(help="The experts of the YAML, and of a running gateway.", no_args_is_help=True)
importers = typer.Typer(help="An experts.yaml from another gateway's configuration.", no_args_is_help=True)
app.add_typer(experts, name="experts")
app.add_typer(importers, name="import")

ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="F", help="Default: $SWITCHYARD_CONFIG, else ./experts.yaml.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
UrlOption = Annotated[str | None, typer.Option("--url", help="A running gateway. Default: where the YAML says.")]


def main() -> None:
    """The entry point."""
    try:
        app()
    except SwitchyardError as error:
        typer.echo(error.message, err=True)
        sys.exit(1)


@app.command()
def serve(
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="Default: gateway.host of the YAML.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Default: gateway.port of the YAML.")] = None,
    engine: Annotated[str | None, typer.Option(help="Where experts run: local.")] = None,
) -> None:
    """Run the gateway until it is told to stop."""
    from orchestrator import service
    from orchestrator.fleet.configfile import find_config

    service.serve(find_config(config), host=host, port=port, engine=engine)


@app.command()
def ask(
    text: str,
    model: Annotated[str, typer.Option(help="A policy, panel/NAME or an expert.")] = "auto",
    explain: Annotated[bool, typer.Option("--explain", help="Say why this expert answered.")] = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask one question: of the running gateway, or without one."""
    from orchestrator.client import ask as answer
    from orchestrator.fleet.configfile import find_config

    async def run() -> dict[str, Any]:
        pieces: list[str] = []
        explanation: dict[str, Any] = {}
        async for piece in answer(text, model=model, config_path=find_config(config), url=url):
            if isinstance(piece, dict):
                explanation = piece
                continue
            pieces.append(piece)
            if not as_json:
                typer.echo(piece, nl=False)
        return {"answer": "".join(pieces), "switchyard": explanation}

    result = asyncio.run(run())
    typer.echo(json.dumps(result, ensure_ascii=False) if as_json else "")
    if explain and not as_json:
        _print_explanation(result["switchyard"])


@app.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="Default: $SWITCHYARD_CONFIG, else ./experts.yaml.")] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema for editors, and do nothing else.")
    ] = False,
    probe: Annotated[bool, typer.Option(help="Ask every expert a short question.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Validate the YAML, then see whether every expert answers."""
    from orchestrator.fleet.configerrors import json_schema
    from orchestrator.fleet.configfile import find_config, load_config

    if schema:
        typer.echo(json.dumps(json_schema(), indent=2))
        return
    path = find_config(file)
    config = load_config(path)
    results = asyncio.run(_probe(path, quiet=as_json)) if probe else []
    if as_json:
        found = [
            {"expert": p.expert, "ok": p.ok, "latency_s": round(p.latency_s, 3), "message": p.message} for p in results
        ]
        typer.echo(
            json.dumps({"config": str(path), "experts": [spec.name for spec in config.experts], "probes": found})
        )
    elif not probe:
        typer.echo(f"{path}: valid, {len(config.experts)} experts")
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


@app.command()
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


@importers.command()
def litellm(file: Annotated[Path, typer.Argument(help="The config.yaml of LiteLLM's proxy.")]) -> None:
    """Print an experts.yaml; what could not be carried over is told on stderr."""
    from orchestrator.fleet.importers import from_litellm

    text, left_out = from_litellm(file)
    for line in left_out:
        typer.echo(f"left out: {line}", err=True)
    typer.echo(text, nl=False)


@app.command()
def export(
    out: Annotated[
        Path, typer.Option("--out", metavar="O.jsonl", help="The outcome file to write (.jsonl or .jsonl.gz).")
    ],
    config: ConfigOption = None,
) -> None:
    """Write the ledger's scored decisions as an outcome file."""
    from orchestrator.fleet.configfile import find_config, read_config
    from orchestrator.service import make_ledger
    from routers.outcomes import write_outcomes

    async def run() -> int:
        if out.is_dir():
            raise ConfigError(f"{out}: is a folder, expected a file to write")
        path = find_config(config)
        ledger = make_ledger(read_config(path), path.parent)
        await ledger.open()
        try:
            return write_outcomes(out, [outcome async for outcome in ledger.outcomes()])
        except OSError as exc:
            raise ConfigError(f"{out}: can't be written: {exc.strerror}") from exc
        finally:
            await ledger.close()

    typer.echo(f"wrote {asyncio.run(run())} outcomes to {out}")


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
    _print_table(("expert", "kind", "backend", "context", "in $/M", "out $/M", "skills"), rows)


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


def _print_explanation(explanation: dict[str, Any]) -> None:
    """The decision as a table: the experts in the order of the plan, then those that were out."""
    scores, utilities, waits = (explanation.get(key) or {} for key in ("scores", "utilities", "waits_s"))
    rows = [
        (
            ("> " if name == explanation.get("expert") else "  ") + name,
            *(f"{values[name]:.3f}" if name in values else "" for values in (scores, utilities, waits)),
            "",
        )
        for name in explanation.get("plan") or ()
    ]
    rows += [(f"  {name}", "", "", "", why) for name, why in (explanation.get("infeasible") or {}).items()]
    typer.echo()
    _print_table(("expert", "reward", "utility", "wait s", "out because"), rows)
    typer.echo(
        f"{explanation.get('reason', '')}  (policy {explanation.get('policy')}, decision {explanation.get('decision_id')})"
    )


def _print_table(columns: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(f"{cell:g}" if isinstance(cell, float) else str(cell) for cell in row))
    Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 200).print(table)
