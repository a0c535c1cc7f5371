"""What a query costs on an expert: what to expect, for the ranking, and at most, for `switchyard.max_cost_usd`.

    expected_cents(spec, query, expected_tokens(query), scorer.costs)
    most_usd(spec, query)

At most is meant literally for one answer: all the tokens that the expert may write. Attempts that fail come on top. Pure; what
an answer did cost is charged in `recording.py`.
"""

from __future__ import annotations

from orchestrator.config import ExpertBase, Price
from orchestrator.types import Query
from routers.data.costs import CostModel

EXPECTED_COMPLETION_TOKENS = 512
"""No answer is expected to be longer when experts are compared: most end long before their max_tokens."""
UNBOUNDED_ANSWER_TOKENS = 65_536
"""How long an answer may become where neither the request nor the expert's context sets an end."""

_LIMITS = ("max_completion_tokens", "max_tokens")


def cost_usd(price: Price, prompt_tokens: int, completion_tokens: int) -> float:
    return (prompt_tokens * price.input + completion_tokens * price.output) / 1e6


def expected_tokens(query: Query) -> int:
    """How long the answers to `query` are likely to be, together."""
    if query.kind not in ("chat", "completion"):
        return 0
    return min(_asked(query) or EXPECTED_COMPLETION_TOKENS, EXPECTED_COMPLETION_TOKENS) * query.num_answers


def expected_cents(spec: ExpertBase, query: Query, completion_tokens: int, costs: CostModel | None = None) -> float:
    """What `query` is likely to cost on `spec`, in US cents, which the ranking weighs.

    By what its answers did cost, where the router has learned that (`costs`); else by its prices. completion_tokens: of
    `expected_tokens`.
    """
    prompt_tokens = _prompt_tokens(spec, query)
    if costs is not None and (line := costs.cents.get(spec.name)):
        answer, rate = line
        return answer * query.num_answers + rate * prompt_tokens
    return 100 * cost_usd(spec.price, prompt_tokens, completion_tokens + spec.added_answer_tokens)


def most_usd(spec: ExpertBase, query: Query) -> float:
    """What one answer of `spec` to `query` costs if it writes as much as it may."""
    completion_tokens = _longest(spec, query) * query.num_answers + spec.added_answer_tokens
    return cost_usd(spec.price, _prompt_tokens(spec, query), completion_tokens)


def _prompt_tokens(spec: ExpertBase, query: Query) -> int:
    return (query.prompt_tokens + query.other_prompt_tokens) * spec.readings + spec.added_tokens


def _longest(spec: ExpertBase, query: Query) -> int:
    """Tokens that one answer may have: as many as `spec` is told of, else what its context leaves, if that is known."""
    if query.kind not in ("chat", "completion"):
        return 0
    parameters = spec.parameters
    if fixed := next((value for name in _LIMITS if isinstance(value := parameters.set.get(name), int)), None):
        return fixed
    asked = _asked(query)
    if asked is not None and not set(_LIMITS).intersection(parameters.drop):
        return asked
    return UNBOUNDED_ANSWER_TOKENS if spec.context is None else max(0, spec.context - query.prompt_tokens)


def _asked(query: Query) -> int | None:
    """How long the request says an answer may be, if it does."""
    asked: int | None = query.body.get("max_tokens")
    return query.body.get("max_completion_tokens") or asked if query.kind == "chat" else asked
