"""Benchmarks without right answers, from local files as they are published, judged by an expert of the fleet: MT-Bench, AlpacaEval.

    task = mt_bench("mtbench", Path("question.jsonl"), judge="gpt-large")
    task = alpaca_eval("alpacaeval", Path("alpaca_eval.json"), judge="gpt-large")

MT-Bench (arXiv 2306.05685): each of two turns is rated by itself, with the reference where the file has one. AlpacaEval (arXiv
2404.04475): the share of two comparisons, one in each order, that an answer wins against the file's `output`; lengths are not
controlled for. The prompts of judges are those of `switchyard label`, so scores are comparable within one judge here, and not
with published ones.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from evals.tasks.base import TaskItem, text_turn
from evals.tasks.chat import ChatTask
from evals.tasks.published import items_of

_MAX_TOKENS = 1024


class MTBenchRow(msgspec.Struct):
    question_id: int | str
    category: str
    turns: list[str]
    reference: list[str] | None = None


class AlpacaEvalRow(msgspec.Struct):
    instruction: str
    output: str
    dataset: str = "alpacaeval"


def mt_bench(name: str, path: Path, *, judge: str) -> ChatTask:
    """Groups are the categories."""

    def item(row: MTBenchRow, line: int) -> TaskItem:
        if not row.turns:
            raise ValueError("field 'turns': expected at least one text")
        targets = [*(row.reference or ()), *[None] * len(row.turns)]
        turns = [text_turn(text, line, row.category, target) for text, target in zip(row.turns, targets, strict=False)]
        return TaskItem(str(row.question_id), tuple(turns))

    return ChatTask(name, f"judge:{judge}", items_of(path, MTBenchRow, item), _MAX_TOKENS, path)


def alpaca_eval(name: str, path: Path, *, judge: str) -> ChatTask:
    """Groups are the data sets that the instructions are from."""

    def item(row: AlpacaEvalRow, line: int) -> TaskItem:
        return TaskItem(f"{name}-{line}", (text_turn(row.instruction, line, row.dataset),), reference=row.output)

    return ChatTask(name, f"pairwise:{judge}", items_of(path, AlpacaEvalRow, item), _MAX_TOKENS, path)
