"""How a router did, as tables on the terminal: `print_report(evaluation, "on 1,122 held-out queries", notes)`.

Not here: the numbers (`routers/training/report.py`), and JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from orchestrator.commands.tables import print_table

if TYPE_CHECKING:
    from orchestrator.commands.offpolicy import Against
    from routers.training.evaluation import Interval
    from routers.training.report import Evaluation


def print_report(evaluation: Evaluation, title: str, notes: Sequence[str] = ()) -> None:
    """Baselines and router, gain, experts, groups, cost and time, in this order."""
    typer.echo(f"{title}\n")
    _print_rewards(evaluation)
    for label, gain in _gains(evaluation):
        typer.echo(f"{label}: {gain.mean:+.4f} (95%: {gain.low:+.4f} to {gain.high:+.4f})")
    typer.echo()
    _print_experts(evaluation)
    if evaluation.by_group:
        typer.echo()
        rows = [
            (name, group.n, _number(group.reward), _number(group.best_single))
            for name, group in evaluation.by_group.items()
        ]
        print_table(("group", "queries", "reward", "best single"), rows)
    typer.echo()
    for line in [*_costs(evaluation), *(f"note: {note}" for note in notes)]:
        typer.echo(line)


def print_against(against: Against, name: str) -> None:
    """Live and candidate, what the log knows of the candidate's choices, and the verdict."""
    compared, known = against.comparison, against.comparison.overlap
    typer.echo(
        f"{name} beside what was live for {against.policy}, on {compared.n:,} decisions since {against.since:%Y-%m-%d %H:%M}, "
        f"{compared.num_scored:,} with feedback\n"
    )
    measure = f"utility, lambda {compared.lambda_:g}" if compared.lambda_ else "reward"
    rows = [
        (label, f"{part.mean:{sign}.4f}", f"{part.low:{sign}.4f} to {part.high:{sign}.4f}")
        for label, part, sign in (
            ("live", compared.live, ""),
            (name, compared.candidate, ""),
            ("difference", compared.difference, "+"),
        )
    ]
    print_table(("", measure, "95%"), rows)
    typer.echo()
    chosen = [(expert, f"{count:,}", f"{known.unsupported.get(expert, 0):,}") for expert, count in known.chosen.items()]
    print_table(("it would have chosen", "decisions", "nothing known of"), chosen)
    typer.echo(
        f"\neffective sample size: {known.effective_sample_size:,.0f} of {compared.n:,}, largest weight {known.max_weight:.3g}"
    )
    if compared.verdict != "not enough data":
        typer.echo(
            f"decisions needed to show a difference of {compared.smallest:g}, four times in five: {compared.num_needed:,} "
            f"(these would: {compared.power:.0%})"
        )
    for note in against.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"{compared.verdict}: {compared.reason}")


def _print_rewards(evaluation: Evaluation) -> None:
    names = {
        "random": "random",
        "best_single": f"best single: {evaluation.best_single}" if evaluation.best_single else "best single",
        "group_best": "best of each group",
        "shuffled": "same shares, query ignored",
        "oracle": "oracle (a bound, mostly luck)",
    }
    rows = [(names[name], _number(value), "") for name, value in evaluation.baselines.items()]
    mean = evaluation.reward
    rows.insert(-1, ("this router", _number(mean.mean), f"{mean.low:.4f} to {mean.high:.4f}"))
    print_table(("", "reward", "95%"), rows)


def _gains(evaluation: Evaluation) -> list[tuple[str, Interval]]:
    gains = []
    if evaluation.gain is not None:
        gains.append(("gain over the best single expert", evaluation.gain))
    if evaluation.utility is not None:
        gains.append((f"gain in utility, lambda {evaluation.utility.lambda_:g} per cent", evaluation.utility.gain))
    return gains


def _print_experts(evaluation: Evaluation) -> None:
    rows = []
    for name, share in sorted(evaluation.share.items(), key=lambda item: -item[1]):
        found = evaluation.calibration.get(name)
        measured = ("", "") if found is None else (f"{found.ece:.3f}", f"{found.brier:.3f}")
        rows.append((name, f"{share:.1%}", *measured))
    print_table(("expert", "share", "calibration error", "Brier"), rows)


def _costs(evaluation: Evaluation) -> list[str]:
    lines = [f"spread over experts: {evaluation.entropy_bits:.2f} bits"]
    if evaluation.cost is not None:
        cost = evaluation.cost
        single = "" if cost.best_single is None else f", best single {cost.best_single:.6g}"
        lines.append(f"mean cost of a query: {cost.mean:.6g} {cost.unit}{single}")
    if evaluation.decision_ms is not None:
        lines.append(f"one decision: {evaluation.decision_ms.p50:.2f} ms (p99 {evaluation.decision_ms.p99:.2f})")
    return lines


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
