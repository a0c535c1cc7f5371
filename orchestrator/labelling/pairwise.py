"""The reward `pairwise:EXPERT`: an expert compares the answers two by two; each earns the share of its comparisons that it wins.

    switchyard label --queries Q.jsonl --reward pairwise:gpt-large --out O.jsonl

Every pair is shown in both orders, because judges favour a place (arXiv 2306.05685): who wins in one order only has tied, and a
tie is half a win. In such a full round the share of wins ranks as a Bradley-Terry fit does, and it stays finite when somebody wins
always. The rewards of a query rank its experts; they don't say how good the best one is. k answers cost k(k - 1) calls.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import combinations

from orchestrator.labelling.base import Asks, Tools
from orchestrator.labelling.judge import MAX_TOKENS, query_quoted
from orchestrator.labelling.queries import Item
from orchestrator.labelling.quoting import AS_DATA, quoted, without_thinking

_INSTRUCTIONS = f"""You compare two answers to a query, A and B. Judge which is the more correct, helpful, complete and clear; \
where a reference answer is given, an answer that contradicts it is wrong. Neither length nor order is a merit. {AS_DATA}
Explain in one or two sentences, then end with a line "Verdict: [[A]]", "Verdict: [[B]]" or "Verdict: [[tie]]"."""

_VERDICTS = (
    re.compile(r"\[\[\s*(A|B|tie|C)\s*\]\]", re.IGNORECASE),
    re.compile(r"\b(?:verdict|winner)\b\W*(?:is\W+)?(?:answer\W+)?(A|B|tie)\b", re.IGNORECASE),
    re.compile(r"\A\W*(?:answer\W+)?(A|B|tie)\W*\Z", re.IGNORECASE),
)
_SHARES = {"a": 1.0, "b": 0.0, "tie": 0.5, "c": 0.5}


async def make(argument: str, tools: Tools) -> PairwiseGrader:
    tools.asks.require(argument, "chat")
    return PairwiseGrader(argument, tools.asks)


class PairwiseGrader:
    judged = True

    def __init__(self, judge: str, asks: Asks) -> None:
        self._judge = judge
        self._asks = asks

    def check(self, item: Item) -> None:
        """Everything can be judged."""

    async def grade(self, item: Item, answers: Mapping[str, str | None]) -> dict[str, float]:
        """Nobody's reward is known without somebody to be compared with; then the mapping is empty."""
        shares: dict[str, list[float]] = {expert: [] for expert in answers}
        for first, second in combinations(answers, 2):
            share = await self._share(item, answers[first], answers[second])
            if share is not None:
                shares[first].append(share)
                shares[second].append(1.0 - share)
        rewards = {expert: sum(won) / len(won) for expert, won in shares.items() if won}
        return {expert: reward if answers[expert] else 0.0 for expert, reward in rewards.items()}

    async def _share(self, item: Item, first: str | None, second: str | None) -> float | None:
        """What the first of two answers wins of the point between them; None when the judge doesn't say, in either order."""
        if first == second or not first or not second:
            return 0.5 if bool(first) == bool(second) else float(bool(first))
        one = await self._verdict(item, first, second)
        other = await self._verdict(item, second, first)
        return None if one is None or other is None else (one + 1.0 - other) / 2

    async def _verdict(self, item: Item, first: str, second: str) -> float | None:
        question = "\n\n".join((*query_quoted(item), quoted("answer A", first), quoted("answer B", second)))
        messages = [{"role": "system", "content": _INSTRUCTIONS}, {"role": "user", "content": question}]
        return read_verdict(await self._asks.say(self._judge, messages, max_tokens=MAX_TOKENS) or "")


def read_verdict(reply: str) -> float | None:
    """1 when A wins, 0 when B does, 0.5 for a tie; None when the reply says none of it."""
    reply = without_thinking(reply)
    for pattern in _VERDICTS:
        if found := pattern.findall(reply):
            return _SHARES[found[-1].lower()]
    return None
