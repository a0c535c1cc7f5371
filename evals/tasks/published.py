"""Benchmarks with right answers, from local files as they are published: GSM8K, MMLU-Pro, ARC, HumanEval; and labelled queries.

    task = gsm8k("gsm8k", Path("test.jsonl"))
    task = queries("mine", Path("mine.jsonl"), reward="exact")    # lines as `switchyard label` reads them

Formats: GSM8K arXiv 2110.14168, MMLU-Pro arXiv 2406.01574 (JSON or Parquet), ARC arXiv 1803.05457 (the release's JSON lines, or
Parquet as on the hub), HumanEval arXiv 2107.03374 (JSON lines, gzipped or not). Prompts are zero-shot. Not here: what a judge must
decide (`judged.py`), retrieval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from string import ascii_uppercase
from typing import TypeVar

import msgspec

from evals.tasks.base import TaskItem, distinct, text_turn
from evals.tasks.chat import ChatTask
from evals.tasks.reading import read_rows
from orchestrator.errors import DataError
from orchestrator.labelling.queries import Item, read_items

_GSM8K = '\n\nThink step by step, then end with a line "#### N", where N is the number alone.'
_MMLU_PRO = '\n\nThink step by step, then end with "The answer is (X)", where X is the letter of the right choice.'
_ARC = "\n\nAnswer with the letter of the right choice alone."
_HUMAN_EVAL = "Complete this Python function. Answer with the whole function and its imports in one code block.\n\n"

Row = TypeVar("Row", bound=msgspec.Struct)


class GSM8KRow(msgspec.Struct):
    question: str
    answer: str


class MMLUProRow(msgspec.Struct):
    question: str
    options: list[str]
    answer_index: int
    category: str
    question_id: int | str | None = None


class ARCChoice(msgspec.Struct):
    text: str
    label: str


class ARCChoices(msgspec.Struct):
    """As on the hub: two columns."""

    text: list[str]
    label: list[str]


class ARCQuestion(msgspec.Struct):
    """As in the release."""

    stem: str
    choices: list[ARCChoice]


class ARCRow(msgspec.Struct):
    id: str
    question: ARCQuestion | str
    answerKey: str  # noqa: N815 (the format's name)
    choices: ARCChoices | None = None


class HumanEvalRow(msgspec.Struct):
    task_id: str
    prompt: str
    test: str
    entry_point: str


def gsm8k(name: str, path: Path) -> ChatTask:
    """The target is what follows the last `####` of an answer."""

    def item(row: GSM8KRow, line: int) -> TaskItem:
        _, mark, target = row.answer.rpartition("####")
        if not mark:
            raise ValueError("field 'answer': expected '#### N' at its end")
        return TaskItem(f"{name}-{line}", (text_turn(row.question + _GSM8K, line, name, target.strip()),))

    return _task(name, "numeric", path, GSM8KRow, item, max_tokens=512)


def mmlu_pro(name: str, path: Path) -> ChatTask:
    """Groups are the categories."""

    def item(row: MMLUProRow, line: int) -> TaskItem:
        if not 0 <= row.answer_index < len(row.options):
            raise ValueError(f"field 'answer_index': expected 0 to {len(row.options) - 1}, got {row.answer_index}")
        turn = _choice(row.question, row.options, row.answer_index, _MMLU_PRO, line, row.category)
        return TaskItem(str(line if row.question_id is None else row.question_id), (turn,))

    return _task(name, "choice", path, MMLUProRow, item, max_tokens=1024)


def arc(name: str, path: Path) -> ChatTask:
    """Choices are lettered anew, as some of the published ones are numbered."""

    def item(row: ARCRow, line: int) -> TaskItem:
        stem, texts, labels = _arc_choices(row)
        if row.answerKey not in labels:
            raise ValueError(f"field 'answerKey': expected one of {', '.join(labels)}, got '{row.answerKey}'")
        return TaskItem(row.id, (_choice(stem, texts, labels.index(row.answerKey), _ARC, line, name),))

    return _task(name, "choice", path, ARCRow, item, max_tokens=256)


def human_eval(name: str, path: Path) -> ChatTask:
    """An answer passes when the item's `check` does, in the sandbox."""

    def item(row: HumanEvalRow, line: int) -> TaskItem:
        test = f"{row.test}\ncheck({row.entry_point})\n"
        turn = text_turn(f"{_HUMAN_EVAL}```python\n{row.prompt.rstrip()}\n```", line, name)
        return TaskItem(row.task_id, (replace(turn, tests=(test,)),))

    return _task(name, "code", path, HumanEvalRow, item, max_tokens=1024)


def queries(name: str, path: Path, *, reward: str, max_tokens: int = 512) -> ChatTask:
    """Lines as `switchyard label --queries` reads them. Raises `LabelError` that names file, line and field."""
    items = tuple(TaskItem(item.id or f"{name}-{item.line}", (item,)) for item in read_items(path))
    return ChatTask(name, reward, distinct(items, path), max_tokens, path)


def _task(
    name: str, reward: str, path: Path, kind: type[Row], item: Callable[[Row, int], TaskItem], *, max_tokens: int
) -> ChatTask:
    return ChatTask(name, reward, items_of(path, kind, item), max_tokens, path)


def items_of(path: Path, kind: type[Row], item: Callable[[Row, int], TaskItem]) -> tuple[TaskItem, ...]:
    """Every row as an item; what `item` finds wrong with one is said with file and line."""
    items = []
    for line, row in read_rows(path, kind):
        try:
            items.append(item(row, line))
        except ValueError as exc:
            raise DataError(f"{path}:{line}: {exc}") from exc
    return distinct(items, path)


def _arc_choices(row: ARCRow) -> tuple[str, list[str], list[str]]:
    if isinstance(row.question, ARCQuestion):
        choices = row.question.choices
        return row.question.stem, [choice.text for choice in choices], [choice.label for choice in choices]
    if row.choices is None:
        raise ValueError("the field 'choices' is missing")
    return row.question, row.choices.text, row.choices.label


def _choice(question: str, options: Sequence[str], right: int, ending: str, line: int, group: str) -> Item:
    lettered = [f"{letter}. {option}" for letter, option in zip(ascii_uppercase, options, strict=False)]
    text = "\n".join((question, *lettered)) + ending
    return replace(text_turn(text, line, group, ascii_uppercase[right]), choices=tuple(options))
