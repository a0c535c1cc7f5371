"""What a live sweep comes to: a row for each model and task, and for all tasks of a kind together.

    rows = live_rows(cells)
    print_table(*live_table(rows))

All models answer the same items, so gains are paired by item. The best single expert is the one that was best on these very items,
which favours it over policies and panels: a gain above 0 is one in spite of that. Intervals are bootstraps of items (95%).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from evals.live.cells import Cell
from routers.base import FloatArray
from routers.training.evaluation import Interval, bootstrap, paired

Cells = Mapping[str, Sequence[Cell]]
"""Of one task, or of several together: by model, with the same items in the same order for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRow:
    """A model on the `n` items of a task. reward: mean, 0..1, with its 95% interval; None where nothing could be graded.

    gain: over the best single expert of the sweep, paired; None for that expert, and where there is none. cost_usd: of all items,
    judges left out. Latencies are of answers, waits for weights included; ttft: until the first token, of streams. calls: to
    experts, for one item, those of cascades, panels and their judges included. overhead: the gateway's own time; wait: in its
    queues. errors: items without an answer, which earn 0; unusable: answers that are none, which earn 0; ungraded: answers that
    the judge had no verdict on, which are left out. share: of the experts that answered.
    """

    task: str
    model: str
    n: int
    reward: float | None
    ci95: tuple[float, float] | None
    gain: float | None
    gain_ci95: tuple[float, float] | None
    cost_usd: float
    latency_p50_s: float | None
    latency_p95_s: float | None
    ttft_p50_s: float | None
    calls_mean: float | None
    overhead_p50_ms: float | None
    wait_p50_ms: float | None
    errors: int
    unusable: int
    ungraded: int
    first_error: str | None
    share: Mapping[str, float] = field(default_factory=dict)


def live_rows(cells: Iterable[Cell]) -> tuple[LiveRow, ...]:
    """By task, in the order in which cells name them; where a kind has several tasks, also of them together."""
    return tuple(row for name, group in _groups(cells) for row in _rows(name, group))


def live_table(rows: Sequence[LiveRow]) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Column names and cells, for `print_table` or Markdown; what a row has beyond them is for JSON."""
    columns = (
        *("task", "model", "n", "reward", "95%", "gain", "gain 95%", "USD", "p50 s", "p95 s", "ttft s"),
        *("calls", "wait ms", "errors", "unusable", "ungraded", "answered by"),
    )
    return columns, [_line(row) for row in rows]


def _groups(cells: Iterable[Cell]) -> Iterator[tuple[str, Cells]]:
    by_task: dict[str, dict[str, list[Cell]]] = {}
    of_kind: dict[str, list[str]] = {}
    for cell in cells:
        if cell.task.name not in by_task:
            of_kind.setdefault(cell.task.kind, []).append(cell.task.name)
        by_task.setdefault(cell.task.name, {}).setdefault(cell.model.id, []).append(cell)
    yield from by_task.items()
    for kind, names in of_kind.items():
        if len(names) > 1:
            models = by_task[names[0]]
            yield f"all {kind}", {model: [cell for name in names for cell in by_task[name][model]] for model in models}


def _rows(task: str, cells: Cells) -> Iterator[LiveRow]:
    rewards = {model: _rewards(each) for model, each in cells.items()}
    best = _best_single(cells, rewards)
    for model, each in cells.items():
        gain = None if best in (None, model) else _interval(rewards[model], rewards[str(best)])
        yield _row(task, model, each, _interval(rewards[model]), gain)


def _rewards(cells: Sequence[Cell]) -> FloatArray:
    """NaN where nothing was graded."""
    return np.array([np.nan if cell.reward is None else cell.reward for cell in cells], dtype=np.float32)


def _best_single(cells: Cells, rewards: Mapping[str, FloatArray]) -> str | None:
    """The expert with the highest mean reward, the first of equals."""
    experts = [model for model, each in cells.items() if each[0].model.is_expert and not np.isnan(rewards[model]).all()]
    return max(experts, key=lambda model: float(np.nanmean(rewards[model])), default=None)


def _interval(rewards: FloatArray, over: FloatArray | None = None) -> Interval | None:
    known = rewards if over is None else rewards - over
    if np.isnan(known).all():
        return None
    return bootstrap(rewards) if over is None else paired(rewards, over)


def _row(task: str, model: str, cells: Sequence[Cell], reward: Interval | None, gain: Interval | None) -> LiveRow:
    answered = [cell for cell in cells if cell.answer is not None]
    said = [each for cell in answered for each in cell.said]
    latencies = [cell.latency_s for cell in answered]
    experts = Counter(str(cell.expert) for cell in answered)
    return LiveRow(
        task=task,
        model=model,
        n=len(cells),
        reward=None if reward is None else reward.mean,
        ci95=None if reward is None else (reward.low, reward.high),
        gain=None if gain is None else gain.mean,
        gain_ci95=None if gain is None else (gain.low, gain.high),
        cost_usd=sum(cell.cost_usd for cell in cells),
        latency_p50_s=_percentile(latencies, 50),
        latency_p95_s=_percentile(latencies, 95),
        ttft_p50_s=_percentile([ttft for each in said if (ttft := each.measured.ttft_s) is not None], 50),
        calls_mean=_mean([sum(each.measured.calls for each in cell.said) for cell in answered]),
        overhead_p50_ms=_percentile([each.measured.overhead_ms for each in said], 50),
        wait_p50_ms=_percentile([each.measured.wait_ms for each in said], 50),
        errors=sum(cell.error is not None for cell in cells),
        unusable=sum(cell.is_unusable for cell in cells),
        ungraded=sum(cell.reward is None for cell in cells),
        first_error=next((cell.error for cell in cells if cell.error is not None), None),
        share={expert: count / experts.total() for expert, count in experts.most_common()},
    )


def _percentile(values: Sequence[float], q: float) -> float | None:
    return float(np.percentile(values, q)) if values else None


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _line(row: LiveRow) -> tuple[object, ...]:
    share = ", ".join(f"{expert} {part:.0%}" for expert, part in row.share.items())
    gain = "" if row.gain is None else f"{row.gain:+.3f}"
    return (
        *(row.task, row.model, row.n, _shown(row.reward, 3), _range(row.ci95), gain, _range(row.gain_ci95)),
        *(f"{row.cost_usd:.4f}", _shown(row.latency_p50_s, 2), _shown(row.latency_p95_s, 2), _shown(row.ttft_p50_s, 2)),
        *(_shown(row.calls_mean, 1), _shown(row.wait_p50_ms, 0), row.errors, row.unusable, row.ungraded, share),
    )


def _shown(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _range(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
