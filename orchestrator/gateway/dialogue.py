"""The messages of a chat request, read once: what is routed of them, how long they are, what they need.

    dialogue = read_dialogue([User(content="Hello"), Assistant(content="Hi!"), User(content="What is 2 + 2?")])
    dialogue.text                                 # "Hello\\nHi!\\nWhat is 2 + 2?"

What is routed is the last user turn, preceded by what of the system prompt and the history fits; tools' results and
attachments are left out. Not here: the rest of the body (`requests.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.gateway.tokens import estimate, estimate_attachments, estimate_json
from orchestrator.gateway.validation import (
    Assistant,
    Content,
    Developer,
    FunctionResult,
    Message,
    System,
    ToolResult,
    User,
)

TURN_CHARACTERS = 2000
"""How much of the last user turn is routed: its beginning and its end."""
CONTEXT_CHARACTERS = 800
"""What precedes the turn brings the text to this at most: encoders read about a thousand characters, from the start."""
SYSTEM_CHARACTERS = 300
MESSAGE_TOKENS = 5
"""What chat templates put around a message."""
VISION_PARTS = frozenset({"image_url", "image", "input_image"})


@dataclass(frozen=True, slots=True)
class Dialogue:
    """conversation: stays the same from the second turn on. tools: somebody has called one, so its tokens are in there."""

    text: str
    prompt_tokens: int
    vision: bool
    tools: bool
    tool_loop: bool
    conversation: str | None


def read_dialogue(messages: Sequence[Message]) -> Dialogue:
    texts = [plain_text(message.content) for message in messages]
    attachments = [part for message in messages for part in _parts(message.content)]
    calls = [message for message in messages if isinstance(message, Assistant) and message.tool_calls]
    last = messages[-1]
    return Dialogue(
        text=_routed_text(messages, texts),
        prompt_tokens=(
            estimate("\n".join(texts))
            + MESSAGE_TOKENS * len(messages)
            + estimate_attachments(attachments)
            + sum(estimate_json(message.tool_calls) for message in calls)
        ),
        vision=any(part.type in VISION_PARTS for part in attachments),
        tools=bool(calls),
        tool_loop=isinstance(last, ToolResult | FunctionResult),
        conversation=_conversation(messages, texts),
    )
