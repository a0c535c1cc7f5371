"""The messages of a chat request, read once: what is routed of them, how long they are, what they need.

    dialogue = read_dialogue([User(content="Hello"), Assistant(content="Hi!"), User(content="What is 2 + 2?")])
    dialogue.text                                 # "Hello\\nHi!\\nWhat is 2 + 2?"

What is routed is the last user turn, preceded by what of the system prompt and the history fits; tools' results and
attachments are left out. Not here: the rest of the body (`requests.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from orchestrator.gateway.tokens import estimate_attachments, estimate_json
from orchestrator.gateway.validation import (
    Assistant,
    Content,
    Developer,
    FunctionResult,
    Message,
    Part,
    System,
    ToolResult,
    User,
)
from orchestrator.tokens import MESSAGE_TOKENS, estimate

TURN_CHARACTERS = 2000
"""How much of the last user turn is routed: its beginning and its end."""
CONTEXT_CHARACTERS = 800
"""What precedes the turn brings the text to this at most: encoders read about a thousand characters, from the start."""
SYSTEM_CHARACTERS = 300
TEXT_PARTS = frozenset({"text", "refusal", "input_text", "output_text"})
"""Every part of another type is an attachment, and an expert that can't see is taken to be unable to hear or read files too."""

RESULTS = (ToolResult, FunctionResult)


class Dialogue(Struct, frozen=True):
    """conversation: the same for every turn of it. has_answers: this is not its first turn. tools: one was called before.

    vision: there are attachments, be they pictures, sound or files.
    """

    text: str
    prompt_tokens: int
    vision: bool
    tools: bool
    tool_loop: bool
    has_answers: bool
    conversation: str


def read_dialogue(messages: Sequence[Message], asker: Sequence[str | None] = ()) -> Dialogue:
    """asker: what else tells this conversation from those that begin with the same words."""
    texts: list[str] = []
    attachments: list[Part] = []
    calls: list[list[dict[str, Any]] | dict[str, Any]] = []
    has_answers = has_results = False
    for message in messages:
        content = message.content
        texts.append(plain_text(content))
        if isinstance(content, list):
            attachments += [part for part in content if part.type not in TEXT_PARTS]
        if isinstance(message, Assistant):
            has_answers = True
            if call := message.tool_calls or message.function_call:
                calls.append(call)
        elif isinstance(message, RESULTS):
            has_results = True
    return Dialogue(
        text=_routed_text(messages, texts),
        prompt_tokens=(
            estimate("\n".join(texts))
            + MESSAGE_TOKENS * len(messages)
            + estimate_attachments(attachments)
            + estimate_json(calls)
        ),
        vision=bool(attachments),
        tools=bool(calls) or has_results,
        tool_loop=has_results and _is_tool_loop(messages),
        has_answers=has_answers,
        conversation=_conversation(messages, texts, asker),
    )


def plain_text(content: Content | None) -> str:
    """The text of a message, whichever way it is written."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(text for part in content if (text := part.text or part.refusal))


def _routed_text(messages: Sequence[Message], texts: Sequence[str]) -> str:
    turn_at = max((i for i, message in enumerate(messages) if isinstance(message, User)), default=len(messages) - 1)
    turn = clip(texts[turn_at])
    room = CONTEXT_CHARACTERS - len(turn)
    if turn_at == 0 or room <= 0:
        return turn
    system = next((texts[i] for i in range(turn_at) if isinstance(messages[i], System | Developer)), "")
    system = system[: min(SYSTEM_CHARACTERS, room)]
    return "\n".join(filter(None, [system, *_history(messages[:turn_at], texts, room - len(system)), turn]))


def _history(messages: Sequence[Message], texts: Sequence[str], room: int) -> list[str]:
    """The latest turns before, as many as fit whole, in order."""
    kept: list[str] = []
    for i in range(len(messages) - 1, -1, -1):
        if isinstance(messages[i], User | Assistant) and texts[i]:
            room -= len(texts[i])
            if room < 0:
                break
            kept.append(texts[i])
    return kept[::-1]


def clip(text: str, characters: int = TURN_CHARACTERS) -> str:
    """Both ends of a long text: the question is in one of them, and what was pasted lies between."""
    if len(text) <= characters:
        return text
    half = characters // 2 - 1
    return f"{text[:half]}\n\n{text[-half:]}"


def _is_tool_loop(messages: Sequence[Message]) -> bool:
    """Whether a tool's result came after the last answer; agents may add reminders of their own behind it."""
    for message in reversed(messages):
        if isinstance(message, RESULTS):
            return True
        if isinstance(message, Assistant):
            return False
    return False


def _conversation(messages: Sequence[Message], texts: Sequence[str], asker: Sequence[str | None]) -> str:
    """A hash of who asks, the system prompt and the first user turn: what every turn of it has in common."""
    opening_at = next((i for i, message in enumerate(messages) if isinstance(message, User)), len(messages))
    beginning = "\0".join(f"{len(text)} {clip(text)}" for text in texts[: opening_at + 1])
    whole = "\0".join((*(name or "" for name in asker), beginning))
    return hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
