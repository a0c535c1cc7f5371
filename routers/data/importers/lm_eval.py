"""lm-evaluation-harness' sample logs: a JSON lines file per model and task, written with `--log_samples`.

    org__model/samples_gsm8k_2026-01-31T12-00-00.000000.jsonl:
    {"doc_id": 0, "doc": {"question": "Janet's ducks ..."}, "target": "18", "arguments": {"gen_args_0": {"arg_0": "Question: ..."}},
     "filtered_resps": ["18"], "filter": "strict-match", "metrics": ["exact_match"], "exact_match": 1.0}

Format: lm_eval/evaluator.py and lm_eval/loggers/evaluation_tracker.py of github.com/EleutherAI/lm-evaluation-harness. The folder is
the model, the file's name the task. The query is the document's own question and choices, for the prompt begins with few-shot
examples that all queries share; only a document without a question gives the prompt. The reward is the first metric that is a
number from 0 to 1, under the first filter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from routers.data.importers.base import LeftOut, Trial
from routers.data.importers.records import Record, as_number, records

_NAME = re.compile(r"samples_(?P<task>.+?)(_\d{4}-\d\d-\d\dT[\d.-]+)?\.jsonl(\.gz)?")
_QUESTIONS = ("question", "query", "problem", "prompt", "instruction", "text", "input")
_METRICS = ("exact_match", "acc", "pass@1", "f1", "acc_norm", "em", "mc2")
"""What logs before 0.4.8, which don't list their metrics, may have, in order of preference."""


def trials(path: Path) -> Iterator[Trial | LeftOut]:
    """The trials in one file. Rows without a metric, and those of every filter but the first, are left out."""
    expert = path.resolve().parent.name.replace("__", "/")
    named = _NAME.fullmatch(path.name)
    task = named["task"] if named else path.name.partition(".")[0]
    first_filter: Any = None
    for record in records(path):
        metric = _metric(record)
        first_filter = first_filter or record.values.get("filter")
        if record.values.get("filter") != first_filter:
            yield LeftOut(f"rows under other filters than {first_filter}")
        elif metric is None:
            yield LeftOut("rows without a metric from 0 to 1")
        else:
            yield Trial(
                query=_query(record),
                expert=expert,
                reward=record.reward(metric),
                id=record.optional_text("doc_id"),
                group=task,
                answer=_answer(record),
                target=record.optional_text("target"),
            )


def _metric(record: Record) -> str | None:
    names = record.values.get("metrics")
    values = {name: as_number(record.values.get(name)) for name in (names if isinstance(names, list) else _METRICS)}
    return next((name for name, value in values.items() if value is not None and 0.0 <= value <= 1.0), None)


def _query(record: Record) -> str:
    document = record.values.get("doc")
    if isinstance(document, dict):
        for name in _QUESTIONS:
            if isinstance(document.get(name), str):
                return "\n".join([document[name], *_choices(document)])
    return Record(record.path, record.number, {"arguments": _prompt(record)}).text("arguments")


def _choices(document: Mapping[str, Any]) -> list[str]:
    """The choices with their letters: a list (MMLU), or texts and labels (ARC)."""
    choices = document.get("choices")
    texts = choices.get("text") if isinstance(choices, dict) else choices
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return []
    return [f"{chr(ord('A') + i)}. {text}" for i, text in enumerate(texts)]


def _prompt(record: Record) -> Any:
    """The first argument of the first request, as it is written since 0.4 or before."""
    arguments = record.values.get("arguments")
    first = next(iter(arguments.values()), None) if isinstance(arguments, dict) else arguments
    while isinstance(first, dict | list) and first:
        first = next(iter(first.values())) if isinstance(first, dict) else first[0]
    return first


def _answer(record: Record) -> str | None:
    """What was generated; choices that were only compared have no answer."""
    answers = record.values.get("filtered_resps")
    return answers[0] if isinstance(answers, list) and len(answers) == 1 and isinstance(answers[0], str) else None
