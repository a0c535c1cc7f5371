"""`switchyard serve` and `switchyard ask`: run the gateway, and ask it one question.

    switchyard serve --port 8700
    switchyard ask "What is 17 * 23?" --explain

Not here: the service itself (`orchestrator/service.py`).
"""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import typer

from orchestrator.commands.engines import EngineOption, chosen_engine
from orchestrator.commands.options import ConfigOption, JsonOption, UrlOption
from orchestrator.commands.tables import print_table

SHOWN_CHARACTERS = 100
"""Of each statement of a panel."""


def serve(
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="Default: gateway.host of the YAML.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Default: gateway.port of the YAML.")] = None,
    engine: EngineOption = None,
) -> None:
    """Run the gateway until it is told to stop."""
    from orchestrator import service
    from orchestrator.fleet.configfile import find_config

    path = find_config(config)
    chosen = chosen_engine(engine, path)
    if chosen == "ray":
        from orchestrator.engines.ray.serving import serve_on_ray

        serve_on_ray(path, host=host, port=port)
    else:
        service.serve(path, host=host, port=port, engine=chosen)


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


def _print_explanation(explanation: dict[str, Any]) -> None:
    """The decision: what a panel's members said, if one answered, else the experts in the order of the plan."""
    typer.echo()
    if explanation.get("transcript"):
        _print_panel(explanation)
    else:
        _print_plan(explanation)
    typer.echo(
        f"{explanation.get('reason', '')}  (policy {explanation.get('policy')}, decision {explanation.get('decision_id')})"
    )


def _print_panel(explanation: dict[str, Any]) -> None:
    """Who said what in which round, and what each call took; then those that were out."""
    said = [(each["round"], each["expert"], _in_short(each["text"])) for each in explanation["transcript"]]
    print_table(("round", "expert", "said"), said)
    typer.echo()
    calls = [_call(attempt) for attempt in explanation.get("attempts") or ()]
    calls += [(name, "", "", "", why) for name, why in (explanation.get("infeasible") or {}).items()]
    print_table(("expert", "asked for", "s", "USD", "outcome"), calls)


def _call(attempt: dict[str, Any]) -> tuple[str, ...]:
    took_s = attempt["wait_s"] + attempt["latency_s"]
    outcome = attempt["message"] or attempt["outcome"]
    return attempt["expert"], attempt["purpose"], f"{took_s:.2f}", f"{attempt['cost_usd']:.6f}", outcome


def _in_short(text: str) -> str:
    """One line of a text."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 3] + "..."


def _print_plan(explanation: dict[str, Any]) -> None:
    """The experts in the order of the plan, then those that were out; what a load would make others wait where one would."""
    columns = {"reward": "scores", "utility": "utilities", "wait s": "waits_s"}
    if any((explanation.get("imposed_s") or {}).values()):
        columns["imposed s"] = "imposed_s"
    numbers = [explanation.get(field) or {} for field in columns.values()]
    rows = [
        (
            ("> " if name == explanation.get("expert") else "  ") + name,
            *(f"{values[name]:.3f}" if name in values else "" for values in numbers),
            "",
        )
        for name in explanation.get("plan") or ()
    ]
    rows += [(f"  {name}", *[""] * len(columns), why) for name, why in (explanation.get("infeasible") or {}).items()]
    print_table(("expert", *columns, "out because"), rows)
