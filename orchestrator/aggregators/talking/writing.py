"""The last step of a panel whose answer is written by one expert, from what the members said.

    final = final_by_judge(table, answers, lambda quoted: prompts.messages("write", answers=quoted.text, ...))

It is written within the client's conversation: the earlier turns and what its system message demands of an answer hold for the
writer as they did for the members.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orchestrator.aggregators.base import Final, MemberAnswer
from orchestrator.aggregators.reading.quoting import Quoted, quote_to_fit
from orchestrator.aggregators.selecting.vote import Camp
from orchestrator.aggregators.table import Table
from orchestrator.experts.inputs import content_text
from orchestrator.types import Messages

MOST_STEP_TOKENS = 2048


def final_by_judge(table: Table, answers: Sequence[MemberAnswer], write: Callable[[Quoted], Messages]) -> Final | None:
    """The judge as the writer of the answer; None when it can't be asked this, however much the answers are cut, or can't give
    the answer the form that the client asked for."""
    _, messages = quote_to_fit(table, table.judge, answers, lambda quoted: within(table.messages, write(quoted)))
    return Final(table.judge, messages) if can_write(table, table.judge, messages) else None


def can_write(table: Table, expert: str, messages: Messages) -> bool:
    """Whether `expert` could be asked for the panel's answer like this, in the client's `response_format`."""
    return table.fits(expert, messages, response_format=table.call.body.get("response_format"))


def step_tokens(table: Table, expert: str) -> int:
    """How long a step on the way may be, whatever the length of the answer: at most a third of what `expert` can hold."""
    context = table.spec(expert).context
    return MOST_STEP_TOKENS if context is None else min(MOST_STEP_TOKENS, context // 3)


def within(conversation: Messages, prompt: Messages) -> Messages:
    """`prompt` in place of the client's last turn, whose pictures stay. System messages become one at the beginning, where chat
    templates want it."""
    earlier = conversation
    if conversation and conversation[-1].get("role") == "user":
        earlier, prompt = conversation[:-1], _showing(prompt, conversation[-1].get("content"))
    system = [content_text(message.get("content")) for message in (*earlier, *prompt) if _is_system(message)]
    first = [{"role": "system", "content": "\n\n".join(system)}] if system else []
    return [*first, *(message for message in (*earlier, *prompt) if not _is_system(message))]


def shares_of_vote(quoted: Quoted, camps: Sequence[Camp]) -> str:
    """Who concludes alike, by label, and what that weighs: 'A, C: 67%; B: 33%'."""
    labels = {answer.expert: label for label, answer in quoted.by_label.items()}
    total = sum(camp.weight for camp in camps)
    shares = (
        f"{', '.join(sorted(labels[who] for who in camp.who if who in labels))}: {camp.weight / total:.0%}"
        for camp in camps
    )
    return "; ".join(shares)


def _showing(prompt: Messages, content: object) -> Messages:
    """`prompt` with the parts of `content` that are no text in its last message."""
    shown = [part for part in content if part.get("type") != "text"] if isinstance(content, list) else []
    if not shown:
        return prompt
    *before, last = prompt
    return [*before, {**last, "content": [{"type": "text", "text": content_text(last["content"])}, *shown]}]


def _is_system(message: Mapping[str, Any]) -> bool:
    return message.get("role") in ("system", "developer")
