"""Which experts may serve a query at all: kind, capabilities, context, parameters, scope and cost, before anything is scored.

    infeasible_because(spec, query)        # None, or "needs 30212 tokens, has 2048"

The same rule guards the first choice and every fallback. Pure; what the scheduler knows (health, memory) is not asked here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from orchestrator.config import ExpertBase, PanelExpert
from orchestrator.errors import ContextTooLong, Forbidden, RequestError
from orchestrator.routing.pricing import most_usd
from orchestrator.types import Query

_CONTEXT = "needs "
_COST = "would cost "


def infeasible_because(spec: ExpertBase, query: Query, spent_usd: float = 0.0) -> str | None:
    """Why `spec` can't serve `query`, or None. spent_usd: what others that are asked as well may cost."""
    if query.kind not in spec.serves:
        return f"serves {spec.kind} requests"
    if isinstance(spec, PanelExpert):
        return _no_panel_because(spec, query)
    if not query.needs <= spec.capabilities:
        return f"lacks {', '.join(sorted(query.needs - spec.capabilities))}"
    if spec.context is not None and query.prompt_tokens + query.max_tokens > spec.context:
        return f"{_CONTEXT}{query.prompt_tokens + query.max_tokens} tokens, has {spec.context}"
    if refused := [name for name in spec.parameters.reject if query.body.get(name) is not None]:
        return f"does not accept {', '.join(refused)}"
    if reason := out_of_scope(spec, query):
        return reason
    limit_usd = query.options.max_cost_usd
    if limit_usd is not None and (most := most_usd(spec, query)) > limit_usd - spent_usd:
        return f"{_COST}up to {most:.6f} USD"
    return None


def _no_panel_because(spec: PanelExpert, query: Query) -> str | None:
    """Why too few of a panel's members can serve `query`; what they cost together must fit the limit, too."""
    if query.options.experts is not None and spec.name not in query.options.experts:
        return "is not among the request's experts"
    if field := not_for_panels(query):
        return f"combines what several say, which {field} can't be"
    feasible, reasons = seated(spec, query)
    if len(feasible) >= spec.panel.quorum:
        return None
    told = "; ".join(f"{name} {reason}" for name, reason in reasons.items())
    return f"has {len(feasible)} of the {spec.panel.quorum} members that it needs ({told})"


def not_for_panels(query: Query) -> str | None:
    """What the request asks for that only a single expert's answer can have; tools that were called before are no such thing."""
    if "logprobs" in query.needs:
        return "logprobs"
    return next((name for name in ("tools", "functions", "logprobs") if query.body.get(name)), None)


def seated(spec: PanelExpert, query: Query) -> tuple[list[ExpertBase], dict[str, str]]:
    """The members of a panel that can serve `query`, all of them together, and why each other one can't."""
    return split_feasible(spec.members, for_members(spec, query), together=True)


def for_members(spec: PanelExpert, query: Query) -> Query:
    """The query as a panel's members are asked it: for one whole answer each. A request that names the panel allows its members."""
    options = query.options
    if options.experts is not None and spec.name in options.experts:
        options = replace(options, experts=None)
    return replace(query, options=options, needs=query.needs - {"streaming"}, num_answers=1)


def out_of_scope(spec: ExpertBase, query: Query) -> str | None:
    """Whether the request or the key leaves `spec` out by name."""
    if query.options.experts is not None and spec.name not in query.options.experts:
        return "is not among the request's experts"
    if query.caller.experts is not None and spec.name not in query.caller.experts:
        return "is not open to this key"
    return None


def what_is_left(query: Query, spent_usd: float) -> Query:
    """The query with what of its cost limit is not spent yet."""
    limit_usd = query.options.max_cost_usd
    if limit_usd is None or not spent_usd:
        return query
    return replace(query, options=replace(query.options, max_cost_usd=max(0.0, limit_usd - spent_usd)))


def split_feasible(
    specs: Iterable[ExpertBase], query: Query, *, together: bool = False
) -> tuple[list[ExpertBase], dict[str, str]]:
    """The experts that can serve `query` in their order, and why each other one can't.

    together: all of them will be asked, so what they cost adds up.
    """
    feasible: list[ExpertBase] = []
    reasons: dict[str, str] = {}
    spent_usd = 0.0
    for spec in specs:
        if reason := infeasible_because(spec, query, spent_usd):
            reasons[spec.name] = reason
        else:
            feasible.append(spec)
            spent_usd += most_usd(spec, query) if together else 0.0
    return feasible, reasons


def nothing_feasible(reasons: Mapping[str, str], query: Query) -> RequestError:
    """The error that tells the client why no expert can serve it, nearest miss first."""
    relevant = {name: why for name, why in reasons.items() if not why.startswith("serves ")} or reasons
    detail = "; ".join(f"{name} {why}" for name, why in relevant.items())
    if any(why.startswith(_COST) for why in relevant.values()):
        return RequestError(
            f"no expert can answer within {query.options.max_cost_usd} USD: {detail}",
            param="switchyard.max_cost_usd",
            code="no_feasible_expert",
        )
    if any(why.startswith(_CONTEXT) for why in relevant.values()):
        return ContextTooLong(f"no expert can hold this request: {detail}", param="messages")
    if relevant and all(why.endswith("to this key") for why in relevant.values()):
        return Forbidden(f"no expert that could serve this is open to this key: {detail}")
    return RequestError(
        f"no expert can serve this {query.kind} request: {detail}", param="model", code="no_feasible_expert"
    )
