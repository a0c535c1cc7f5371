"""The benchmarks, by name: `python -m evals.bench gateway`, as `make bench` does.

Each prints one table of rows measured in one run, or the rows as JSON with `--json`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)

AsJson = Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")]
Data = Annotated[Path | None, typer.Option(help="Folder of outcome files. Default: $SWITCHYARD_DATA/outcomes.")]


@app.command()
def gateway(
    seconds: Annotated[float, typer.Option(help="Per measurement.")] = 5.0,
    requests: Annotated[int, typer.Option(help="Also watch memory over so many requests.")] = 0,
    litellm: Annotated[Path | None, typer.Option(help="LiteLLM's executable, from an environment of its own.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only these contenders.")] = None,
    as_json: AsJson = False,
) -> None:
    """Throughput, added latency, processor time and memory of the gateway, beside others in the same run."""
    from evals.bench_gateway import bench_gateway

    found = litellm or _installed_litellm()
    _show(bench_gateway(seconds=seconds, requests=requests, litellm=found, only=tuple(only or ())), as_json)


@app.command()
def kernels(as_json: AsJson = False) -> None:
    """Every kernel against its plain reference, on the inputs of its test."""
    from evals.bench_kernels import bench_kernels

    _show(bench_kernels(), as_json)


@app.command()
def panel(
    rounds: Annotated[
        int, typer.Option(min=10, help="Requests to the panel, and as many to its slowest member.")
    ] = 200,
    as_json: AsJson = False,
) -> None:
    """What a panel of five takes beyond its slowest member, by one that only votes."""
    from evals.bench_panel import bench_panel

    _show(bench_panel(rounds=rounds), as_json)


@app.command()
def swaps(
    requests: Annotated[int, typer.Option(min=1, help="Queries.")] = 400,
    rate: Annotated[float, typer.Option(min=0.01, help="Of them a second, on average.")] = 4.0,
    policies: Annotated[list[str], typer.Option("--policy", help="In this order.")] = ["switchyard", "lru", "fifo"],  # noqa: B006
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Real queries to eight real models, two of which fit into memory: under several policies, and as one batch."""
    from evals.swaps.running import bench_swaps

    _show(bench_swaps(_data(data), requests=requests, rate=rate, policies=policies), as_json)


@app.command()
def choice(
    requests: Annotated[int, typer.Option(min=1, help="Queries.")] = 400,
    rate: Annotated[float, typer.Option(min=0.01, help="Of them a second, on average.")] = 4.0,
    mus: Annotated[list[float], typer.Option("--mu", min=0, help="Reward given up per second of wait.")] = [
        0.001,
        0.003,
    ],  # noqa: B006
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Expert and memory decided together, or one after the other: real queries, eight real models, two of which fit."""
    from evals.claims.held_out import claim_encoder
    from evals.swaps.choosing import bench_choice

    _show(bench_choice(_data(data), claim_encoder(), requests=requests, rate=rate, mus=mus), as_json)


@app.command()
def claims(
    data: Data = None,
    only: Annotated[list[str] | None, typer.Option(help="Only these. Default: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """One claim of each paper, tried on real outcomes or the shipped model: it holds where the interval lies above 0."""
    from evals.claims.registry import CLAIMS, claim_function

    functions = [claim_function(name) for name in only or CLAIMS]
    _show((function(_data(data)) for function in functions), as_json)


@app.command()
def examples(
    out: Annotated[Path, typer.Option(help="The file of questions to write.")],
    count: Annotated[int, typer.Option(min=1, help="How many.")] = 500,
) -> None:
    """Questions with answers, to try `switchyard label` and `switchyard train` on the shipped experts."""
    from evals.examples import questions

    lines = [msgspec.json.encode(question).decode() for question in questions(count)]
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")


@app.command()
def offpolicy(
    logs: Annotated[int, typer.Option(min=2, help="How many are simulated of each world.")] = 500,
    decisions: Annotated[int, typer.Option(min=100, help="In each log.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Of worlds and logs.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Whether off-policy intervals hold the truth 95 times of 100, and how often a router that is no better is promoted."""
    from evals.offpolicy.simulation import simulate

    _show(simulate(num_logs=logs, num_decisions=decisions, seed=seed), as_json)


@app.command()
def retrieval(
    out: Annotated[Path | None, typer.Option(help="Where to write the outcomes.")] = None,
    per_collection: Annotated[int, typer.Option(help="Questions and texts of each collection, at most.")] = 120,
    as_json: AsJson = False,
) -> None:
    """Embedding experts on documentation that is installed here, and what `retriever` gains by choosing among them."""
    from evals.retrieval import bench_retrieval
    from orchestrator.fleet.configfile import find_config

    _show(bench_retrieval(find_config(None), out, per_collection), as_json)


@app.command()
def fusion(
    data: Data = None,
    only: Annotated[list[str] | None, typer.Option(help="Only these data sets. Default: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Learned fusion of recorded answers beside its baselines at equal mean calls, cross-validated, as Markdown."""
    from evals.claims.held_out import claim_encoder
    from evals.fusion.benchmark import bench_fusion
    from evals.fusion.learned import learned_fusion
    from evals.fusion.report import comparison_table

    encoder = claim_encoder()
    rows = list(bench_fusion(_data(data), learned_fusion(encoder), encoder, only or ()))
    if as_json:
        _show(rows, as_json)
    else:
        sys.stdout.write(comparison_table(rows))


@app.command()
def depth(
    data: Data = None,
    only: Annotated[list[str] | None, typer.Option(help="Only these data sets. Default: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """What adaptive depth earns at 2, 3, 4 and 5 mean calls, beside one expert, cross-validated, as Markdown."""
    from evals.claims.held_out import claim_encoder
    from evals.fusion.depth import bench_depth, depth_table

    rows = list(bench_depth(_data(data), claim_encoder(), only or ()))
    if as_json:
        _show(rows, as_json)
    else:
        sys.stdout.write(depth_table(rows))


@app.command()
def joint(
    data: Data = None,
    only: Annotated[list[str] | None, typer.Option(help="Only these workloads. Default: all.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of arrivals and queries.")] = 4,
    requests: Annotated[int, typer.Option(min=100, help="Of each draw.")] = 4000,
    plot: Annotated[Path | None, typer.Option(metavar="F.png", help="Where to draw reward against p99.")] = None,
    as_json: AsJson = False,
) -> None:
    """What it is worth that the scheduler chooses the expert, beside the same router and then the same scheduler, as Markdown."""
    from evals.bench_joint import bench_joint, joint_table
    from evals.claims.held_out import claim_encoder
    from evals.simulation.figures import save_frontier

    rows = list(bench_joint(_data(data), claim_encoder(), only=only or (), seeds=seeds, requests=requests))
    if plot is not None:
        save_frontier(rows, plot)
    if as_json:
        _show(rows, as_json)
    else:
        sys.stdout.write(joint_table(rows))


@app.command()
def active(
    data: Data = None,
    only: Annotated[list[str] | None, typer.Option(help="Only these tables. Default: all.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Orders of the queries.")] = 20,
    delta: Annotated[float, typer.Option(min=1e-6, max=0.5, help="How likely a verdict may be wrong.")] = 0.05,
    as_json: AsJson = False,
) -> None:
    """Calls until the best expert, or the ranking, is known: adaptive samplers against asking everybody everything."""
    from evals.active.benchmark import bench_active

    _show(bench_active(_data(data), seeds=seeds, delta=delta, only=only or ()), as_json)


@app.command()
def placement(
    experts: Annotated[int, typer.Option(min=2, help="How many.")] = 16,
    nodes: Annotated[int, typer.Option(min=2, help="How many, on two sites.")] = 4,
    memory: Annotated[float, typer.Option(min=0.01, help="Of all nodes, as a multiple of all experts'.")] = 1.3,
    windows: Annotated[int, typer.Option(min=2, help="Hours of traffic that drifts.")] = 12,
    seeds: Annotated[int, typer.Option(min=1, help="Worlds.")] = 3,
    time_limit_s: Annotated[float, typer.Option(min=0.1, help="To look for each placement.")] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Experts placed again as traffic drifts, beside placements that stay: load of the busiest node, and what was moved."""
    from evals.placement import bench_placement
    from orchestrator.commands.quiet import c_output_to_stderr

    with c_output_to_stderr():
        rows = list(bench_placement(experts, nodes, memory, windows, seeds=seeds, time_limit_s=time_limit_s))
    _show(rows, as_json)


@app.command()
def bound(
    experts: Annotated[list[int] | None, typer.Option(min=1, help="Of an instance. Default: 6 and 16.")] = None,
    requests: Annotated[int, typer.Option(min=1, help="Of an instance.")] = 200,
    seeds: Annotated[int, typer.Option(min=1, help="Instances of each number of experts.")] = 3,
    time_limit_s: Annotated[float, typer.Option("--time-limit-s", min=0, help="Of the solver, for an instance.")] = 600,
    as_json: AsJson = False,
) -> None:
    """What every policy's waiting and swapping cost above a proved lower bound, on small instances."""
    from evals.bench_bound import bench_bound

    _show(bench_bound(experts=experts or (6, 16), requests=requests, seeds=seeds, time_limit_s=time_limit_s), as_json)


@app.command()
def scenarios(
    only: Annotated[list[str] | None, typer.Option(help="Only these scenarios. Default: all ten.")] = None,
    requests: Annotated[int, typer.Option(min=100, help="Of each seed.")] = 3000,
    seeds: Annotated[int, typer.Option(min=2, help="Draws of the requests, the same for every policy.")] = 5,
    workers: Annotated[int, typer.Option(min=1, help="Processes to simulate in.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Our scheduler beside the best of the others on ten simulated machines, requests served and their p99, as Markdown."""
    from evals.simulation.comparison import compare_scenarios, scenario_table
    from evals.simulation.scenarios import SCENARIOS

    rows = list(compare_scenarios(only or SCENARIOS, requests=requests, seeds=seeds, workers=workers))
    if as_json:
        _show(rows, as_json)
    else:
        sys.stdout.write(scenario_table(rows))


@app.command()
def llmrouter(
    data: Data = None,
    features: Annotated[
        str | None, typer.Option(help="As of `switchyard train`. Default: the fleet's encoder.")
    ] = None,
    python: Annotated[
        Path, typer.Option(exists=True, help="Python of LLMRouter's environment, which `make bench-llmrouter` makes.")
    ] = Path(".bench/llmrouter/bin/python"),
    as_json: AsJson = False,
) -> None:
    """Our training and evaluation against LLMRouter's own: time, processor time and reward, on its data."""
    from evals.bench_llmrouter import bench_llmrouter
    from orchestrator.fleet.configfile import find_config

    train, test = (_data(data) / f"llmrouter9-{split}.jsonl.gz" for split in ("train", "test"))
    _show(bench_llmrouter(train, test, python=python, config=find_config(None), features=features), as_json)


def _data(given: Path | None) -> Path:
    """The folder of outcome files."""
    if given is None and "SWITCHYARD_DATA" not in os.environ:
        raise typer.BadParameter("name a folder of outcome files with --data, or set SWITCHYARD_DATA")
    return given or Path(os.environ["SWITCHYARD_DATA"]) / "outcomes"


def _installed_litellm() -> Path | None:
    """Where `make bench-litellm` puts it."""
    path = Path(".bench/litellm/bin/litellm")
    return path if path.exists() else None


def _show(rows: Iterable[Any], as_json: bool) -> None:
    found = list(rows)
    if as_json:
        sys.stdout.write(msgspec.json.encode([asdict(row) for row in found]).decode() + "\n")
        return
    table = Table()
    for field in fields(found[0]):
        table.add_column(field.name, justify="left" if field.type == "str" else "right")
    for row in found:
        table.add_row(*(_cell(getattr(row, field.name)) for field in fields(row)))
    Console(width=140).print(table)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if value < 100 else f"{value:,.0f}"
    return str(value)


if __name__ == "__main__":
    app()
