"""An artifact's `card.md`: what the router is, what it learned from, and how it did on what it had not seen.

    model_card(router, evaluation, summary, {"type": "linear", "seed": 0}, "5 folds", notes=())

For people; what machines read is in `config.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from routers.base import Router
from routers.training.evaluation import Interval
from routers.training.report import Evaluation
from routers.training.yardsticks import TrainingSummary


def model_card(
    router: Router,
    evaluation: Evaluation,
    summary: TrainingSummary,
    settings: Mapping[str, Any],
    how: str,
    notes: Sequence[str],
) -> str:
    """Markdown. Rewards are 0..1, intervals hold 95%."""
    encoder = getattr(router, "encoder", None)
    lines = [
        f"# A router of type `{router.type}`",
        "",
        f"- experts: {', '.join(router.experts_)}",
        f"- learned from {summary.num_queries:,} queries (fingerprint `{summary.fingerprint}`)",
        f"- reads texts with `{encoder.fingerprint if encoder is not None else 'nothing'}`",
        f"- settings: `{json.dumps(settings, default=str)}`",
        "",
        f"## On {evaluation.n:,} held-out queries ({how})",
        "",
        *table_lines(("", "reward"), [("**this router**", interval_text(evaluation.reward)), *_baselines(evaluation)]),
        *_gain(evaluation),
        "",
        *table_lines(
            ("expert", "share", "calibration error", "Brier score"),
            [(name, f"{share:.1%}", *_calibration(evaluation, name)) for name, share in evaluation.share.items()],
        ),
        "",
        *_groups(evaluation),
        *(f"- note: {note}" for note in notes),
    ]
    return "\n".join(lines).rstrip() + "\n"


def interval_text(interval: Interval) -> str:
    """A mean with its interval."""
    return f"{interval.mean:.4f} ({interval.low:.4f} to {interval.high:.4f})"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _baselines(evaluation: Evaluation) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), _number(value)) for name, value in evaluation.baselines.items()]


def _gain(evaluation: Evaluation) -> list[str]:
    lines = []
    if evaluation.gain is not None:
        lines.append(f"Gain over the best single expert, `{evaluation.best_single}`: {interval_text(evaluation.gain)}.")
    if evaluation.utility is not None:
        utility = evaluation.utility
        lines.append(f"In utility, with lambda {utility.lambda_:g} per US cent: {interval_text(utility.gain)}.")
    if evaluation.cost is not None:
        cost = evaluation.cost
        lines.append(f"Mean cost: {cost.mean:.6g} {cost.unit}, best single {_number(cost.best_single) or 'unknown'}.")
    return ["", *lines] if lines else []


def _calibration(evaluation: Evaluation, name: str) -> tuple[str, str]:
    found = evaluation.calibration.get(name)
    return ("", "") if found is None else (f"{found.ece:.4f}", f"{found.brier:.4f}")


def _groups(evaluation: Evaluation) -> list[str]:
    if not evaluation.by_group:
        return []
    rows = [(name, str(g.n), _number(g.reward), _number(g.best_single)) for name, g in evaluation.by_group.items()]
    return [*table_lines(("group", "queries", "reward", "best single"), rows), ""]


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    escaped = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return [" | ".join(cells).join(("| ", " |")) for cells in (columns, ["---"] * len(columns), *escaped)]
