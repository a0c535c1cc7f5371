"""The reward `dmoerm:EXPERT`: a double-layer mixture of reward models (arXiv 2403.01197), with an expert as all of the models.

    switchyard label --queries Q.jsonl --reward dmoerm:gpt-large --pairs preferred.jsonl --out O.jsonl

First the query's category is found, then the answer is scored by each capability that the category calls for, and the scores are
combined into one reward. The paper trains a small model per capability; here EXPERT is asked for them all in one reply. The weights
are equal unless `--weights` gives them, or `--pairs` has answers of which one was preferred (`{"query", "chosen", "rejected"}`
lines), from which they are learned per category (`capabilities.py`).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.errors import LabelError
from orchestrator.labelling.base import Asks, Tools
from orchestrator.labelling.capabilities import (
    CAPABILITIES,
    FloatArray,
    Weights,
    check_categories,
    learn_weights,
    weight_vector,
)
from orchestrator.labelling.judge import HIGHEST, LOWEST, query_quoted
from orchestrator.labelling.queries import Item
from orchestrator.labelling.quoting import AS_DATA, quoted, without_thinking

MAX_TOKENS = 256
_CLASSIFY = f"""You sort queries into categories: {", ".join(CAPABILITIES)}. {AS_DATA}
Reply with the category's name alone."""
_SCORE = f"""You score an answer to a query by each of these capabilities, from 1 (poor) to 10 (excellent): %s. Where a reference \
answer is given, an answer that contradicts it is wrong. {AS_DATA}
Reply with one line for each capability, its name and its score: "name: N"."""


async def make(argument: str, tools: Tools) -> DmoermGrader:
    """Learns the weights where there are pairs. Raises `LabelError`, and `SwitchyardError` when the expert can't be asked."""
    tools.asks.require(argument, "chat")
    check_categories(tools.weights)
    grader = DmoermGrader(argument, tools.asks, tools.weights)
    return grader if tools.pairs is None else DmoermGrader(argument, tools.asks, await _learned(grader, tools))


class DmoermGrader:
    judged = True

    def __init__(self, judge: str, asks: Asks, weights: Weights) -> None:
        self._judge = judge
        self._asks = asks
        self.weights = weights

    def check(self, item: Item) -> None:
        """Everything can be judged."""

    async def grade(self, item: Item, answers: Mapping[str, str | None]) -> dict[str, float]:
        rewards = {expert: 0.0 for expert, text in answers.items() if not text or not text.strip()}
        if len(rewards) == len(answers) or (category := await self.category(item)) is None:
            return rewards
        weights = weight_vector(self.weights, category)
        for expert in answers.keys() - rewards.keys():
            scores = await self.scores(item, category, answers[expert] or "")
            if scores is not None:
                rewards[expert] = float(weights @ scores)
        return rewards

    async def category(self, item: Item) -> str | None:
        """The outer layer: which of `CAPABILITIES` the query belongs to; None when the reply names none, or several."""
        reply = await self._ask(_CLASSIFY, quoted("query", item.query))
        named = [category for category in CAPABILITIES if category in reply.casefold()]
        # 'objective question' is a part of 'subjective question'
        named = [category for category in named if not any(category != other and category in other for other in named)]
        return named[0] if len(named) == 1 else None

    async def scores(self, item: Item, category: str, answer: str) -> FloatArray | None:
        """The inner layer: `(n_capabilities,)` scores 0..1; None when the reply leaves one out."""
        names = CAPABILITIES[category]
        question = "\n\n".join((*query_quoted(item), quoted("answer", answer)))
        reply = await self._ask(_SCORE % ", ".join(names), question)
        scores = [_score(reply, name) for name in names]
        if None in scores:
            return None
        return (np.array(scores, dtype=np.float64) - LOWEST) / (HIGHEST - LOWEST)

    async def _ask(self, instructions: str, question: str) -> str:
        messages = [{"role": "system", "content": instructions}, {"role": "user", "content": question}]
        return without_thinking(await self._asks.say(self._judge, messages, max_tokens=MAX_TOKENS) or "")


def _score(reply: str, name: str) -> float | None:
    found = re.findall(rf"\b{name}\b[^\d\n]{{0,20}}(\d+(?:\.\d+)?)", reply, re.IGNORECASE)
    return float(found[-1]) if found and LOWEST <= float(found[-1]) <= HIGHEST else None


async def _learned(grader: DmoermGrader, tools: Tools) -> Weights:
    """The weights of every category that pairs were found for; those given, or equal ones, for the others."""
    assert tools.pairs is not None
    rows = await asyncio.to_thread(lambda path: list(_read_pairs(path)), tools.pairs)
    scored: dict[str, list[tuple[FloatArray, FloatArray]]] = {}
    for item, chosen, rejected in rows:
        category = await grader.category(item)
        if category is None:
            continue
        pair = [await grader.scores(item, category, text) for text in (chosen, rejected)]
        if pair[0] is not None and pair[1] is not None:
            scored.setdefault(category, []).append((pair[0], pair[1]))
    learned: dict[str, Mapping[str, float]] = dict(grader.weights)
    for category, pairs in scored.items():
        first, second = (np.stack(side) for side in zip(*pairs, strict=True))
        learned[category] = dict(zip(CAPABILITIES[category], learn_weights(first, second).tolist(), strict=True))
    return learned


def _read_pairs(path: Path) -> Iterator[tuple[Item, str, str]]:
    number = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.isspace():
                    row: Any = json.loads(line)
                    query, chosen, rejected = (row[name] for name in ("query", "chosen", "rejected"))
                    if not all(isinstance(text, str) for text in (query, chosen, rejected)):
                        raise TypeError("query, chosen and rejected must be texts")
                    yield Item(query, ({"role": "user", "content": query},), line=number), chosen, rejected
    except OSError as exc:
        raise LabelError(f"{path}: can't be read: {exc.strerror}") from exc
    except (ValueError, TypeError, KeyError) as exc:
        raise LabelError(f"""{path}:{number}: expected {{"query", "chosen", "rejected"}} as texts ({exc})""") from exc
