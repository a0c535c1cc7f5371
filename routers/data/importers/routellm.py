"""RouteLLM's data: benchmark responses right or wrong, answers scored 1 to 5 by a judge, and battles.

    prompt,mixtral-8x7b-instruct-v0.1,gpt-4-1106-preview          routellm/evals/*/responses/*.csv: truth values
    "A lesion ...",True,True
    {"prompt": "...", "mixtral_response": "...", "gpt4_response": "...", "mixtral_score": 4}          routellm/gpt4_dataset
    {"prompt": "...", "model_a": "gpt-4", "model_b": "mixtral", "winner": "model_a"}          battles; or winner_model_a, ..

Format: routellm/evals/benchmarks.py of github.com/lm-sys/RouteLLM and the data sets it names (arXiv 2406.18665). A score of 1..5
becomes 0..1; the answer it was held against, which has a response and no score, gets 1. A battle gives 1 and 0, a tie .5 to both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from routers.data.importers.base import LeftOut, Trial
from routers.data.importers.records import Record, as_number, records

_SCORE, _RESPONSE = "_score", "_response"
_BATTLE = ("model_a", "model_b")
_OTHER_COLUMNS = frozenset({"prompt", "source", "id", "label", "subject", ""})


def trials(path: Path) -> Iterator[Trial | LeftOut]:
    """The trials in one file; which of the three shapes it has is seen row by row. The file's name is the group."""
    group = path.name.partition(".")[0]
    for record in records(path):
        if all(name in record.values for name in _BATTLE):
            yield from _battle(record, group)
        elif any(name.endswith(_SCORE) for name in record.values):
            yield from _judged(record, group)
        else:
            yield from _graded(record, group)


def _graded(record: Record, group: str) -> Iterator[Trial | LeftOut]:
    experts = [
        name
        for name in record.values
        if name not in _OTHER_COLUMNS and not name.endswith((_RESPONSE, "|model_response"))
    ]
    if not experts:
        raise record.wrong("prompt", "a column per model beside it")
    for expert in experts:
        answer = record.optional_text(expert + _RESPONSE)
        yield Trial(_prompt(record), expert, record.reward(expert), group=group, answer=answer)


def _judged(record: Record, group: str) -> Iterator[Trial | LeftOut]:
    for name in record.values:
        if name.endswith(_SCORE):
            expert, score = name.removesuffix(_SCORE), as_number(record.values[name])
            if score is None or not 1.0 <= score <= 5.0:
                raise record.wrong(name, "a number from 1 to 5")
            reward = (score - 1.0) / 4.0
        elif name.endswith(_RESPONSE) and name.removesuffix(_RESPONSE) + _SCORE not in record.values:
            expert, reward = name.removesuffix(_RESPONSE), 1.0
        else:
            continue
        yield Trial(_prompt(record), expert, reward, group=group, answer=record.optional_text(expert + _RESPONSE))


def _battle(record: Record, group: str) -> Iterator[Trial | LeftOut]:
    winner = record.optional_text("winner") or next(
        (side for side in (*_BATTLE, "tie") if as_number(record.values.get(f"winner_{side}")) == 1.0), None
    )
    if winner is None or not (winner in _BATTLE or winner.startswith("tie")):
        raise record.wrong("winner", "'model_a', 'model_b' or 'tie'")
    for side in _BATTLE:
        reward = 0.5 if winner.startswith("tie") else float(winner == side)
        answer = record.optional_text(side.replace("model", "response"))
        yield Trial(_prompt(record), record.text(side), reward, group=group, answer=answer)


def _prompt(record: Record) -> str:
    """The prompt; of a battle's turns, written as a JSON list, the first, which both models were asked alike."""
    text = record.text("prompt")
    if not text.startswith("["):
        return text
    try:
        turns = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return turns[0] if turns and isinstance(turns[0], str) else text
