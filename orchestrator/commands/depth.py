"""`switchyard fuse depth`: the two numbers of a policy with `mode: adaptive`, for a reward to reach or calls to spend.

    switchyard fuse depth artifacts/support --data O.jsonl --mean-calls 2
    # mode: adaptive
    # sure: 0.614
    # top_p: 0.1

Not here: the work (`routers/training/deepening.py`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.failing import told
from orchestrator.commands.options import ConfigOption, JsonOption
from orchestrator.commands.progress import progress_bar
from orchestrator.commands.training import ExpertsOption, listed_names, load_router
from orchestrator.errors import DataError

if TYPE_CHECKING:
    from routers.training.deepening import Advised
    from routers.training.evaluation import Interval


def depth(
    artifact: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a trained router.")],
    data: Annotated[
        list[Path], typer.Option(metavar="F", help="Outcomes with answers: .jsonl, .jsonl.gz or .parquet.")
    ],
    target_reward: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="As few calls as this mean reward takes.")
    ] = None,
    mean_calls: Annotated[
        float | None, typer.Option(min=1.0, help="As much reward as this many calls a query bring.")
    ] = None,
    panel: Annotated[
        str | None,
        typer.Option(metavar="a,b", help="Members of the policy's panel, if it has one; they are taken to vote."),
    ] = None,
    experts: ExpertsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Choose how sure the router must be for one expert to answer alone, and how many are asked where it is not."""
    from routers.fusing.reading import read_answers
    from routers.training.deepening import advise

    if (target_reward is None) == (mean_calls is None):
        raise DataError("expected either --target-reward or --mean-calls")
    loaded, reader = load_router(artifact, config)
    with told(), progress_bar(quiet=as_json) as progress:
        table, notes = read_answers(data, experts=listed_names(experts))
        advised = advise(
            loaded,
            table,
            quality=target_reward,
            budget=mean_calls,
            panel=listed_names(panel) or (),
            reader=reader,
            progress=progress,
        )
    _print(advised, notes, as_json=as_json)


def _print(advised: Advised, notes: Sequence[str], *, as_json: bool) -> None:
    """YAML for the policy, and the rest as comments in it; in JSON `sure`, `top_p`, `n` and intervals of mean, low and high."""
    chosen = {"sure": float(f"{advised.depth.sure:.4g}"), "top_p": advised.depth.top_p}
    if as_json:
        rest = {name: value for name, value in asdict(advised).items() if name != "depth"}
        typer.echo(json.dumps({**chosen, **rest, "notes": [*notes, *advised.notes]}))
        return
    typer.echo("mode: adaptive")
    for name, value in chosen.items():
        typer.echo(f"{name}: {value:g}")
    typer.echo(f"# on {advised.n:,} queries, each judged by what the others chose:")
    for label, measured in (("reward", advised.reward), ("calls", advised.calls), ("one expert alone", advised.alone)):
        typer.echo(f"# {label} {_shown(measured)}")
    typer.echo(f"# gain over one expert {_shown(advised.gain, sign='+')}")
    for note in (*notes, *advised.notes):
        typer.echo(f"note: {note}", err=True)


def _shown(found: Interval, *, sign: str = "") -> str:
    return f"{found.mean:{sign}.4f} (95%: {found.low:{sign}.4f} to {found.high:{sign}.4f})"
