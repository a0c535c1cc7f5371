"""POST /v1/route (a decision without the call), GET /v1/decisions/{id}, POST /v1/feedback.

    {"decision_id": "sw-0198...", "thumbs": "up", "comment": "exactly"}     -> {"object": "feedback", "recorded": true, ...}

A key sees, and speaks about, its own decisions; an admin's key all of them. What the ledger makes of feedback is the ledger's.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from orchestrator.errors import NotFound, RequestError
from orchestrator.gateway.http import Request
from orchestrator.gateway.requests import kind_of, query_of
from orchestrator.gateway.validation import Text, validate
from orchestrator.types import Decision, Feedback

Reward = Annotated[float, Meta(ge=0, le=1)]
Comment = Annotated[str, Meta(min_length=1, max_length=100_000)]


class FeedbackRequest(Struct, forbid_unknown_fields=True):
    """POST /v1/feedback: `score` (0..1) or `thumbs`, a comment, the answer that would have been right; at least one of them.

    expert: whom it is about, where a panel or several attempts leave that open.
    """

    decision_id: Text
    score: Reward | UnsetType = UNSET
    thumbs: Literal["up", "down"] | UnsetType = UNSET
    comment: Comment | UnsetType = UNSET
    correction: Comment | UnsetType = UNSET
    expert: Text | UnsetType = UNSET

    def as_feedback(self, key_id: str) -> Feedback:
        """Raises `RequestError` when it says nothing, or the same thing twice."""
        if self.score is not UNSET and self.thumbs is not UNSET:
            raise RequestError("Give either score or thumbs, not both.", param="thumbs")
        score = self.score if self.thumbs is UNSET else float(self.thumbs == "up")
        if all(given is UNSET for given in (score, self.comment, self.correction)):
            raise RequestError("Give at least one of score, thumbs, comment and correction.", param="score")
        return Feedback(
            decision_id=self.decision_id,
            score=None if score is UNSET else score,
            comment=None if self.comment is UNSET else self.comment,
            correction=None if self.correction is UNSET else self.correction,
            expert=None if self.expert is UNSET else self.expert,
            key_id=key_id,
        )


FeedbackBody = Annotated[
    FeedbackRequest,
    Meta(
        extra_json_schema={
            "anyOf": [{"required": [field]} for field in ("score", "thumbs", "comment", "correction")],
            "not": {"required": ["score", "thumbs"]},
        }
    ),
]
"""What `as_feedback` checks, said to readers of the OpenAPI document."""


class FeedbackReceipt(Struct):
    decision_id: str
    recorded: Literal[True] = True
    object: Literal["feedback"] = "feedback"


async def route(request: Request) -> None:
    """The body is that of any inference request; its fields say which."""
    body = await request.json()
    query = query_of(request, kind_of(body), body)
    request.decision_id = query.id
    await request.respond_json(await request.context.pipeline.route(query))


async def get_decision(request: Request) -> None:
    await request.respond_json(await _own(request, request.path_params["decision"]))


async def feedback(request: Request) -> None:
    parsed = validate(FeedbackRequest, await request.json())
    given = parsed.as_feedback(request.caller.key_id)
    decision = await _own(request, given.decision_id)
    _check_expert(given.expert, decision)
    await request.context.ledger.feedback(given)
    if given.score is not None:
        request.context.scored()
    await request.respond_json(FeedbackReceipt(given.decision_id))


async def _own(request: Request, decision_id: str) -> Decision:
    """Somebody else's decision is as unknown as one that never was."""
    decision = await request.context.ledger.decision(decision_id)
    if decision is None or not (request.caller.admin or decision.key_id == request.caller.key_id):
        raise NotFound(f"There is no decision {decision_id!r}.", param="decision_id")
    return decision


def _check_expert(expert: str | None, decision: Decision) -> None:
    known = {decision.expert, *decision.plan, *(attempt.expert for attempt in decision.attempts)}
    if expert is not None and expert not in known:
        raise RequestError(f"The decision did not involve an expert {expert!r}.", param="expert")
