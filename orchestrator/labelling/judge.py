"""The reward `judge:EXPERT`: an expert rates each answer by itself, 1 to 10, with the target beside it if there is one.

    switchyard label --queries Q.jsonl --reward judge:gpt-large --out O.jsonl

A rating r is the reward (r - 1) / 9. The prompt follows single-answer grading of "Judging LLM-as-a-Judge" (arXiv 2306.05685), which
also found that judges prefer long answers and their own. Ratings of different judges can't be compared. A reply without a
rating grades nothing. Not here: answers compared with each other (`pairwise`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from orchestrator.labelling.base import Asks, Tools
from orchestrator.labelling.queries import Item
from orchestrator.labelling.quoting import AS_DATA, quoted, without_thinking

MAX_TOKENS = 512
LOWEST, HIGHEST = 1.0, 10.0

_INSTRUCTIONS = f"""You grade answers. Judge how correct, helpful, complete and clear the answer to the query is; where a \
reference answer is given, an answer that contradicts it is wrong. Length is no merit. {AS_DATA}
Explain in one or two sentences, then end with a line "Rating: [[N]]", where N is a number from 1 (useless) to 10 (perfect)."""

_SCALE = re.compile(r"\b1\s*(?:to|-|–|—|and|\.\.+)\s*10\b")
_NUMBER = r"(?<![\d.])(\d+(?:\.\d+)?)(?![\d]|\.\d)"
_RATINGS = (
    re.compile(rf"\[\[\s*{_NUMBER}\s*(?:/\s*10\s*)?\]\]"),
    re.compile(rf"(?i:\b(?:rating|score|grade|rate)\b)[^\d\n]{{0,20}}{_NUMBER}"),
    re.compile(rf"{_NUMBER}\s*(?:/|out of)\s*10\b"),
    re.compile(rf"\A\W*{_NUMBER}\W*\Z"),
)


async def make(argument: str, tools: Tools) -> JudgeGrader:
    tools.asks.require(argument, "chat")
    return JudgeGrader(argument, tools.asks)


class JudgeGrader:
    judged = True

    def __init__(self, judge: str, asks: Asks) -> None:
        self._judge = judge
        self._asks = asks

    def check(self, item: Item) -> None:
        """Everything can be judged."""

    async def grade(self, item: Item, answers: Mapping[str, str | None]) -> dict[str, float]:
        rewards = {expert: await self._reward(item, text) for expert, text in answers.items()}
        return {expert: reward for expert, reward in rewards.items() if reward is not None}

    async def _reward(self, item: Item, text: str | None) -> float | None:
        if not text or not text.strip():
            return 0.0
        question = "\n\n".join((*query_quoted(item), quoted("answer", text)))
        messages = [{"role": "system", "content": _INSTRUCTIONS}, {"role": "user", "content": question}]
        rating = read_rating(await self._asks.say(self._judge, messages, max_tokens=MAX_TOKENS) or "")
        return None if rating is None else (rating - LOWEST) / (HIGHEST - LOWEST)


def query_quoted(item: Item) -> list[str]:
    """What every judge is shown of a query."""
    reference = [quoted("reference answer", item.target)] if item.target else []
    return [quoted("query", item.query), *reference]


def read_rating(reply: str) -> float | None:
    """The rating 1..10 that a judge's reply ends in, however it is written; None without one."""
    reply = _SCALE.sub("", without_thinking(reply))
    for pattern in _RATINGS:
        if found := pattern.findall(reply):
            rating = float(found[-1])
            return rating if LOWEST <= rating <= HIGHEST else None
    return None
