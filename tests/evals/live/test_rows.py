"""What cells come to: rows by task and model, gains paired by item, and what is left out of what."""

from dataclasses import dataclass, field

import pytest

from evals.live.cells import Cell
from evals.live.gateway import Model, cut
from evals.live.rows import live_rows, live_table
from evals.tasks.base import Measured, Said, TaskItem
from orchestrator.labelling.queries import Item
from orchestrator.tokens import estimate

EXPERT, OTHER, POLICY = Model("a", "chat"), Model("b", "chat"), Model("auto", "policy")


@dataclass(frozen=True)
class FakeTask:
    name: str
    kind: str = "chat"
    items: tuple[TaskItem, ...] = field(default=())


def cells(model, rewards, task="t", expert=None, latency_s=1.0):
    """One a reward; "error" is one that could not be asked."""
    for number, reward in enumerate(rewards):
        item = TaskItem(str(number), (Item("?", ()),))
        if reward == "error":
            yield Cell(FakeTask(task), item, model, error="it broke", reward=0.0)
        else:
            said = Said("x", expert or model.id, 0.5, Measured(latency_s * (number + 1), 0.1))
            yield Cell(FakeTask(task), item, model, (said,), reward=reward)


def rows_of(*groups):
    rows = live_rows(cell for group in groups for cell in group)
    return {(row.task, row.model): row for row in rows}


def test_gains_are_over_the_best_expert_by_item():
    rows = rows_of(
        cells(EXPERT, [1.0, 0.0, 0.0, 0.0]),
        cells(OTHER, [0.0, 1.0, 1.0, 0.0]),
        cells(POLICY, [1.0, 1.0, 1.0, 0.0], expert="b"),
    )
    assert rows["t", "b"].gain is None
    assert (rows["t", "a"].gain, rows["t", "auto"].gain) == (-0.25, 0.25)
    assert rows["t", "auto"].gain_ci95[0] >= 0.0


def test_policies_are_no_best_single():
    rows = rows_of(cells(POLICY, [1.0, 1.0], expert="b"), cells(OTHER, [1.0, 0.0]))
    assert (rows["t", "auto"].gain, rows["t", "b"].gain) == (0.5, None)
    assert rows_of(cells(POLICY, [1.0]))["t", "auto"].gain is None


def test_errors_earn_nothing_and_have_no_latency():
    row = rows_of(cells(EXPERT, [1.0, "error", 1.0, "error"]))["t", "a"]
    assert (row.reward, row.errors, row.first_error) == (0.5, 2, "it broke")
    assert (row.latency_p50_s, row.cost_usd, row.share) == (2.0, 1.0, {"a": 1.0})


def test_what_is_not_graded_is_left_out():
    row = rows_of(cells(EXPERT, [1.0, None, 0.0]))["t", "a"]
    assert (row.n, row.reward, row.ungraded) == (3, 0.5, 1)
    nothing = rows_of(cells(EXPERT, [None]), cells(OTHER, [None]))["t", "a"]
    assert (nothing.reward, nothing.ci95, nothing.gain) == (None, None, None)


def test_tasks_of_a_kind_are_also_taken_together():
    rows = rows_of(
        cells(EXPERT, [1.0], task="one"),
        cells(OTHER, [0.0], task="one"),
        cells(EXPERT, [0.0, 0.0, 0.0], task="other"),
        cells(OTHER, [1.0, 1.0, 0.0], task="other"),
    )
    assert list(rows) == [(task, model) for task in ("one", "other", "all chat") for model in ("a", "b")]
    assert (rows["all chat", "a"].reward, rows["all chat", "b"].reward) == (0.25, 0.5)
    assert (rows["all chat", "a"].n, rows["all chat", "a"].gain) == (4, -0.25)


def test_the_table_has_a_line_for_each_row():
    columns, lines = live_table(live_rows([*cells(EXPERT, [1.0, 1.0]), *cells(POLICY, ["error", "error"])]))
    shown = [dict(zip(columns, line, strict=True)) for line in lines]
    assert [line["model"] for line in shown] == ["a", "auto"]
    assert (shown[0]["reward"], shown[0]["gain"], shown[0]["USD"]) == ("1.000", "", "1.0000")
    assert (shown[1]["gain"], shown[1]["p50 s"], shown[1]["errors"]) == ("-1.000", "", 2)


@pytest.mark.parametrize("text", ["words " * 500, "数" * 300, "1+" * 300, "short", ""])
def test_a_text_is_cut_to_what_a_model_reads(text):
    assert text.startswith(cut(text, 50))
    assert estimate(cut(text, 50)) <= 50
    assert cut(text, None) == text
