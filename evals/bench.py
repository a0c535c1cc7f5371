"""The benchmarks, by name: `python -m evals.bench gateway`, as `make bench` does.

Each prints one table of rows measured in one run, or the rows as JSON with `--json`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from evals import bench_scaling, bench_scheduling
from evals.bench_output import AsJson, Data, data_folder, show

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


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
    show(bench_gateway(seconds=seconds, requests=requests, litellm=found, only=tuple(only or ())), as_json)


@app.command()
def ray(
    seconds: Annotated[float, typer.Option(help="Per measurement.")] = 2.0,
    connections: Annotated[str, typer.Option(help="That are kept busy, one measurement for each number.")] = "1,16,64",
    requests: Annotated[int | None, typer.Option(min=1, help="End a measurement after so many.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="In which contenders take turns.")] = 3,
    only: Annotated[list[str] | None, typer.Option(help="Only these contenders.")] = None,
    as_json: AsJson = False,
) -> None:
    """The gateway on Ray beside the local engine, Serve's default proxy and `@serve.multiplexed`, and how soon it serves."""
    from evals.bench_ray import bench_ray

    numbers = [int(number) for number in connections.split(",")]
    rows = bench_ray(seconds=seconds, connections=numbers, requests=requests, rounds=rounds, only=only or ())
    show(rows, as_json)


@app.command()
def kernels(as_json: AsJson = False) -> None:
    """Every kernel against its plain reference, on the inputs of its test."""
    from evals.bench_kernels import bench_kernels

    show(bench_kernels(), as_json)


@app.command()
def panel(
    rounds: Annotated[
        int, typer.Option(min=10, help="Requests to the panel, and as many to its slowest member.")
    ] = 200,
    as_json: AsJson = False,
) -> None:
    """What a panel of five takes beyond its slowest member, by one that only votes."""
    from evals.bench_panel import bench_panel

    show(bench_panel(rounds=rounds), as_json)


@app.command()
def claims(
    data: Data = None,
    only: Annotated[list[str] | None, typer.Option(help="Only these. Default: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """One claim of each paper, tried on real outcomes or the shipped model: it holds where the interval lies above 0."""
    from evals.claims.registry import CLAIMS, claim_function

    functions = [claim_function(name) for name in only or CLAIMS]
    show((function(data_folder(data)) for function in functions), as_json)


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

    show(simulate(num_logs=logs, num_decisions=decisions, seed=seed), as_json)


@app.command()
def retrieval(
    out: Annotated[Path | None, typer.Option(help="Where to write the outcomes.")] = None,
    per_collection: Annotated[int, typer.Option(help="Questions and texts of each collection, at most.")] = 120,
    as_json: AsJson = False,
) -> None:
    """Embedding experts on documentation that is installed here, and what `retriever` gains by choosing among them."""
    from evals.retrieval import bench_retrieval
    from orchestrator.fleet.configfile import find_config

    show(bench_retrieval(find_config(None), out, per_collection), as_json)


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
    rows = list(bench_fusion(data_folder(data), learned_fusion(encoder), encoder, only or ()))
    if as_json:
        show(rows, as_json)
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

    rows = list(bench_depth(data_folder(data), claim_encoder(), only or ()))
    if as_json:
        show(rows, as_json)
    else:
        sys.stdout.write(depth_table(rows))


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

    show(bench_active(data_folder(data), seeds=seeds, delta=delta, only=only or ()), as_json)


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

    train, test = (data_folder(data) / f"llmrouter9-{split}.jsonl.gz" for split in ("train", "test"))
    show(bench_llmrouter(train, test, python=python, config=find_config(None), features=features), as_json)


def _installed_litellm() -> Path | None:
    """Where `make bench-litellm` puts it."""
    path = Path(".bench/litellm/bin/litellm")
    return path if path.exists() else None


for command in (*bench_scheduling.COMMANDS, *bench_scaling.COMMANDS):
    app.command()(command)


if __name__ == "__main__":
    app()
