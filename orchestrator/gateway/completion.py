"""A chat completion, whole or one chunk of it, as far as the dialects read it.

    completion = read_completion(b'{"model": "smollm2", "choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}')
    completion.choice.said.content                # "Hello"

Experts' answers pass through `/v1/chat/completions` unread, so this is where one that is not what it should be is found.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from orchestrator.errors import AllExpertsFailed


class Function(Struct):
    name: str | None = None
    arguments: str | None = None


class ToolCall(Struct):
    """Chunks number their calls by `index`."""

    index: int | None = None
    id: str | None = None
    function: Function = msgspec.field(default_factory=Function)


class Said(Struct):
    """A `message`, or the `delta` of a chunk. Servers differ in what they call reasoning."""

    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCall] | None = None


class Choice(Struct):
    """stop_reason: the stop sequence that was met, or a token's number, where a server says so (vLLM)."""

    message: Said | None = None
    delta: Said | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None

    @property
    def said(self) -> Said:
        return self.message or self.delta or Said()


class PromptDetails(Struct):
    cached_tokens: int | None = None


class CompletionDetails(Struct):
    reasoning_tokens: int | None = None


class Usage(Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None

    @property
    def cached_tokens(self) -> int:
        return (self.prompt_tokens_details and self.prompt_tokens_details.cached_tokens) or 0

    @property
    def reasoning_tokens(self) -> int:
        return (self.completion_tokens_details and self.completion_tokens_details.reasoning_tokens) or 0


class Completion(Struct):
    model: str = ""
    choices: list[Choice] = []
    usage: Usage | None = None

    @property
    def choice(self) -> Choice:
        """The first, which is the only one that these dialects know; an empty one where a chunk has none."""
        return self.choices[0] if self.choices else Choice()


_DECODER = msgspec.json.Decoder(Completion)


def read_completion(data: bytes) -> Completion:
    """Raises `AllExpertsFailed` for anything else: the answer has been accepted by now, so nobody else is asked."""
    try:
        return _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise AllExpertsFailed("the expert's answer is not a chat completion") from exc
