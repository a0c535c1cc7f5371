"""`switchyard fuse train` and `switchyard fuse evaluate`: how to make one answer of several, learned from recorded answers.

    switchyard fuse train artifacts/fusion --data train.jsonl.gz --experts small,medium,large
    switchyard fuse evaluate artifacts/fusion --data test.jsonl.gz --mean-calls 3 --json
    switchyard fuse evaluate artifacts/fusion --data test.jsonl.gz --budget 0.002

An experts.yaml is welcome and not needed: it says which models texts can be read with. Not here: learning (`routers/fusing/`), and
the panel that uses what was learned (`orchestrator/aggregators/selecting/fusion_of_experts.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.depth import depth
from orchestrator.commands.failing import told
from orchestrator.commands.options import ConfigOption, JsonOption
from orchestrator.commands.progress import progress_bar
from orchestrator.commands.tables import print_table
from orchestrator.commands.training import DataOption, ExpertsOption, MoreFiles, listed_names
from orchestrator.errors import DataError

if TYPE_CHECKING:
    from routers.base import Encoder
    from routers.fusing.budget import Budget
    from routers.fusing.evaluation import Evaluation, Reference
    from routers.fusing.fusion import Fusion
    from routers.fusing.table import AnswerTable
    from routers.training.evaluation import Interval

fuse = typer.Typer(help="Learn how to make one answer of several experts'.", no_args_is_help=True)

FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the learned fusion.")]


@fuse.command()
def train(
    out: FolderArgument,
    more: MoreFiles = None,
    data: DataOption = None,
    experts: ExpertsOption = None,
    features: Annotated[
        str | None, typer.Option(help="What texts are read with: hashed, text, an embedding expert, or a+b.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the folds.")] = 0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learn from outcomes with answers whom to ask and whom to believe, judge it by cross-validation, and write it."""
    from orchestrator.fleet.configfile import config_if_any
    from orchestrator.fleet.encoding import training_encoder
    from routers.artifact import require_replaceable
    from routers.encoders.cache import uncached
    from routers.fusing.artifact import write_fusion
    from routers.fusing.evaluation import Reference, cross_validate
    from routers.fusing.evaluation import as_json as evaluation_json
    from routers.fusing.fusion import Fusion
    from routers.fusing.reading import read_answers

    fleet, base_dir = config_if_any(config)
    with told(), progress_bar(quiet=as_json) as progress:
        require_replaceable(out)
        reader = training_encoder(features, fleet, base_dir)
        encoder = uncached(reader)
        progress("reading outcomes", 0, 0)
        table, notes = read_answers(_files(data, more), experts=listed_names(experts), without_test=True)
        progress("reading texts", 0, 0)
        vectors = Fusion(encoder=encoder).encode(table.queries, reader)
        judged = cross_validate(table, vectors, encoder, seed=seed, progress=progress)
        progress("fitting on all", 0, 1)
        fusion = Fusion(encoder=encoder).fit_encoded(table, vectors)
        fingerprint = write_fusion(out, fusion, Reference.of(table), judged)
    if as_json:
        body = {name: evaluation_json(each) for name, each in judged.items()}
        written = {"path": str(out), "fingerprint": fingerprint}
        typer.echo(json.dumps({"artifact": written, "n": len(table), "cross_validated": body, "notes": notes}))
        return
    typer.echo(f"fusion of {len(fusion.experts_)} experts, cross-validated on {len(table):,} queries\n")
    _print_evaluations(judged, notes)
    typer.echo(f"wrote {out} ({fingerprint})")


@fuse.command()
def evaluate(
    artifact: FolderArgument,
    more: MoreFiles = None,
    data: DataOption = None,
    experts: ExpertsOption = None,
    max_calls: Annotated[int | None, typer.Option(min=1, help="Never more calls on a query.")] = None,
    mean_calls: Annotated[float | None, typer.Option(min=1.0, help="No more calls on average.")] = None,
    mean_cost: Annotated[
        float | None,
        typer.Option("--budget", min=0.0, help="No more cost on average, in the unit of the data's costs."),
    ] = None,
    retry_unusable: Annotated[
        bool, typer.Option("--retry-unusable", help="One call, and another only while no answer is usable.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge a learned fusion by other outcomes. Best single, group-best and votes' weights are those of its training data."""
    from routers.fusing.budget import Budget
    from routers.fusing.evaluation import as_json as evaluation_json
    from routers.fusing.evaluation import evaluate as judge
    from routers.fusing.reading import read_answers
    from routers.training.judging import common_experts

    with told(), progress_bar(quiet=as_json) as progress:
        budget = Budget(max_calls, mean_calls, retry_unusable, mean_cost)
        fusion, reference, reader = _load(artifact, config)
        progress("reading outcomes", 0, 0)
        table, notes = read_answers(_files(data, more), experts=listed_names(experts))
        common, about_experts = common_experts(fusion.experts_, table.experts)
        table = table.only(common)
        progress("reading texts", 0, 0)
        vectors = fusion.encode(table.queries, reader)
        judged = judge(fusion.fuse(table, budget, vectors=vectors), table, reference)
        notes = (*notes, *about_experts, *_caveats(fusion, table, budget))
    if as_json:
        typer.echo(json.dumps({**evaluation_json(judged), "notes": notes}))
        return
    typer.echo(f"{artifact} on {judged.n:,} queries\n")
    _print_evaluations({"this fusion": judged}, notes)


def _files(data: Sequence[Path] | None, more: Sequence[Path] | None) -> list[Path]:
    """Raises `DataError` without any."""
    if not data:
        raise DataError("no outcomes: give --data FILE")
    return [*data, *(more or ())]


def _load(folder: Path, config: Path | None) -> tuple[Fusion, Reference, Encoder]:
    """The fusion, what it is measured against, and what to read many texts with."""
    from orchestrator.fleet.configfile import config_if_any
    from orchestrator.fleet.encoding import Encoders, cached
    from routers.fusing.artifact import read_judged_fusion

    fleet, base_dir = config_if_any(config)
    encoders = tuple(Encoders().of(fleet, base_dir).by_expert.values())
    fusion, reference = read_judged_fusion(folder, encoders=encoders)
    return fusion, reference, cached(fusion.encoder)


def _caveats(fusion: Fusion, table: AnswerTable, budget: Budget) -> list[str]:
    """Raises ValueError for a mean cost in another unit than the table's."""
    notes = []
    if seen := int(fusion.has_seen(table.queries).sum()):
        notes.append(
            f"{seen:,} of {len(table):,} queries are among those that it learned from: on others it does worse"
        )
    if budget.mean_cost is not None and table.cost_unit != fusion.prices_.unit:
        raise ValueError(
            f"costs in '{fusion.prices_.unit}' were learned of, and these outcomes' are in '{table.cost_unit}'"
        )
    if budget.has_mean and len(table.experts) < len(fusion.experts_):
        notes.append("means are held where all of its experts may be asked; here some may not")
    return notes


def _print_evaluations(judged: Mapping[str, Evaluation], notes: Sequence[str]) -> None:
    """Each evaluation is a row, then the baselines, which are the same for all."""
    baselines = next(iter(judged.values())).baselines
    rows: list[tuple[object, ...]] = [
        (name.replace("_", " "), "" if mean is None else f"{mean:.4f}", "", "", "", "")
        for name, mean in baselines.items()
    ]
    rows[-1:-1] = [
        (
            name,
            f"{each.accuracy.mean:.4f}",
            _range(each.accuracy),
            _gain(each.gain),
            f"{each.calls_mean:.2f}",
            _cost(each),
        )
        for name, each in judged.items()
    ]
    unit = next(iter(judged.values())).cost_unit
    print_table(("", "accuracy", "95%", "gain over the best single expert", "mean calls", f"mean cost ({unit})"), rows)
    typer.echo()
    for note in notes:
        typer.echo(f"note: {note}")


def _range(interval: Interval) -> str:
    return f"{interval.low:.4f} to {interval.high:.4f}"


def _cost(evaluation: Evaluation) -> str:
    return "" if evaluation.cost_mean is None else f"{evaluation.cost_mean:.6g}"


def _gain(gain: Interval | None) -> str:
    return "" if gain is None else f"{gain.mean:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})"


fuse.command()(depth)
