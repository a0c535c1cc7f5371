"""A request of OpenAI's Responses API as the chat completion it asks for.

    body = {"model": "auto", "instructions": "Be brief.", "input": "Hi"}
    chat_body(parse(body), body)
    # {"model": "auto", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]}

Nothing is stored here: `store` is accepted and answered with false, and whatever needs stored responses is refused, as are tools
that OpenAI's servers run, by name. Earlier reasoning items are left out, caching hints go no further. Unknown fields pass
through. Not here: answers (`responses_answer.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from orchestrator.errors import RequestError
from orchestrator.gateway import conversation
from orchestrator.gateway.conversation import Conversation, file_part, image_part, text_part, tool_call
from orchestrator.gateway.validation import Count, Text

STATEFUL = ("previous_response_id", "conversation", "background", "prompt", "context_management")
UNSUPPORTED = ("moderation", "top_logprobs")
IGNORED = frozenset(
    {"prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "safety_identifier", "stream_options"}
)
PASSED = ("temperature", "top_p", "user", "service_tier")


class _Tagged(msgspec.Struct, tag_field="type"):
    """An input item or a content part, told apart by `type`."""


class InputText(_Tagged, tag="input_text"):
    text: str


class OutputText(_Tagged, tag="output_text"):
    text: str


class Refusal(_Tagged, tag="refusal"):
    refusal: str

    @property
    def text(self) -> str:
        return self.refusal


class InputImage(_Tagged, tag="input_image"):
    image_url: str
    detail: str | None = None


class InputFile(_Tagged, tag="input_file"):
    file_data: str
    filename: str | None = None


InputPart = InputText | InputImage | InputFile


class MessageItem(_Tagged, tag="message"):
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[InputText | OutputText | Refusal | InputImage | InputFile]


class FunctionCall(_Tagged, tag="function_call"):
    call_id: str
    name: str
    arguments: str


class FunctionCallOutput(_Tagged, tag="function_call_output"):
    call_id: str
    output: str | list[InputPart]


class ReasoningItem(_Tagged, tag="reasoning"):
    pass


class ItemReference(_Tagged, tag="item_reference"):
    id: str


Item = MessageItem | FunctionCall | FunctionCallOutput | ReasoningItem | ItemReference


class Tool(msgspec.Struct):
    type: str
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class PlainFormat(_Tagged, tag="text"):
    pass


class ObjectFormat(_Tagged, tag="json_object"):
    pass


class SchemaFormat(_Tagged, tag="json_schema"):
    name: str
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class TextConfig(msgspec.Struct):
    format: PlainFormat | ObjectFormat | SchemaFormat | None = None
    verbosity: str | None = None


class Reasoning(msgspec.Struct):
    effort: str | None = None
    summary: str | None = None


class ResponsesRequest(conversation.Body, kw_only=True):
    """The fields that are translated, or echoed in the answer."""

    model: Text
    input: str | list[Item]
    instructions: str | None = None
    tools: list[Tool] = msgspec.field(default_factory=list)
    tool_choice: str | dict[str, Any] | None = None
    text: TextConfig = msgspec.field(default_factory=TextConfig)
    reasoning: Reasoning = msgspec.field(default_factory=Reasoning)
    max_output_tokens: Count | None = None
    temperature: float | None = None
    top_p: float | None = None
    parallel_tool_calls: bool | None = None
    truncation: Literal["disabled"] | None = None
    max_tool_calls: int | None = None
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    include: list[str] = msgspec.field(default_factory=list)
    service_tier: str | None = None
    user: str | None = None
    store: bool | None = None
    stream: bool = False


def parse(body: Mapping[str, Any]) -> ResponsesRequest:
    """The body with its types checked. Raises `RequestError`, also for what isn't supported."""
    conversation.refuse(body, STATEFUL, "responses are not stored here; send the whole conversation in `input`")
    conversation.refuse(body, UNSUPPORTED, "use /v1/chat/completions for it")
    items = body.get("input")
    if isinstance(items, list):  # an item without a type is a message
        body = {**body, "input": [{"type": "message", **item} if isinstance(item, dict) else item for item in items]}
    request = conversation.read(body, ResponsesRequest)
    if "message.output_text.logprobs" in request.include:
        message = "include: log probabilities are in /v1/chat/completions only"
        raise RequestError(message, param="include", code="unsupported_parameter")
    return request


def chat_body(request: ResponsesRequest, body: Mapping[str, Any]) -> dict[str, Any]:
    """The chat completion that a request asks for; unknown fields of its `body` included. Raises `RequestError`."""
    chat = conversation.passed_through(body, ResponsesRequest, IGNORED | {*STATEFUL, *UNSUPPORTED})
    chat |= {"model": request.model, "messages": _chat_messages(request)}
    chat |= {field: getattr(request, field) for field in PASSED if getattr(request, field) is not None}
    if request.max_output_tokens is not None:
        chat["max_tokens"] = request.max_output_tokens
    if request.tools:
        chat |= _chat_tools(request)
    if request.reasoning.effort is not None:
        chat["reasoning_effort"] = request.reasoning.effort
    chat |= _chat_format(request.text)
    if request.stream:
        chat |= {"stream": True, "stream_options": {"include_usage": True}}
    return chat


def _chat_messages(request: ResponsesRequest) -> list[dict[str, Any]]:
    chat = Conversation()
    if request.instructions:
        chat.system(request.instructions)
    items = [MessageItem("user", request.input)] if isinstance(request.input, str) else request.input
    for position, item in enumerate(items):
        _add_item(chat, item, position)
    messages = chat.messages()
    if not messages:
        raise RequestError("input holds nothing to answer", param="input", code="invalid_value")
    return messages


def _add_item(chat: Conversation, item: Item, position: int) -> None:
    match item:
        case MessageItem():
            _add_message(chat, item, position)
        case FunctionCall():
            chat.assistant("", [tool_call(item.call_id, item.name, item.arguments)])
        case FunctionCallOutput():
            chat.tool(item.call_id, _chat_parts(item.output))
        case ReasoningItem():
            pass
        case ItemReference():
            raise RequestError(
                f"input[{position}]: responses are not stored here; send the item itself",
                param=f"input[{position}]",
                code="unsupported_parameter",
            )


def _add_message(chat: Conversation, item: MessageItem, position: int) -> None:
    parts = _chat_parts(item.content)
    if item.role == "user":
        chat.user(parts)
        return
    if any(part["type"] != "text" for part in parts):
        message = f"input[{position}]: images and files belong into user messages"
        raise RequestError(message, param=f"input[{position}].content", code="invalid_value")
    text = "\n\n".join(part["text"] for part in parts)
    if item.role == "assistant":
        chat.assistant(text)
    else:
        chat.system(text)


def _chat_parts(content: str | Iterable[InputPart | OutputText | Refusal]) -> list[dict[str, Any]]:
    return [text_part(content)] if isinstance(content, str) else [_chat_part(part) for part in content]


def _chat_part(part: InputPart | OutputText | Refusal) -> dict[str, Any]:
    match part:
        case InputImage():
            return image_part(part.image_url, part.detail)
        case InputFile():
            return file_part(part.filename or "file", part.file_data)
        case _:
            return text_part(part.text)


def _chat_tools(request: ResponsesRequest) -> dict[str, Any]:
    """Tools and what is said about calling them, which chat completions accept with tools only."""
    chat: dict[str, Any] = {"tools": [_chat_tool(tool, i) for i, tool in enumerate(request.tools)]}
    if request.tool_choice is not None:
        chat["tool_choice"] = _chat_tool_choice(request.tool_choice)
    if request.parallel_tool_calls is not None:
        chat["parallel_tool_calls"] = request.parallel_tool_calls
    return chat


def _chat_tool(tool: Tool, position: int) -> dict[str, Any]:
    if tool.type != "function":
        raise RequestError(
            f"tools[{position}]: '{tool.type}' is not supported; only function tools are",
            param=f"tools[{position}].type",
            code="unsupported_tool",
        )
    if tool.name is None:
        raise RequestError(f"tools[{position}] has no name", param=f"tools[{position}].name", code="invalid_value")
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": tool.strict,
    }
    return {"type": "function", "function": {key: value for key, value in function.items() if value is not None}}


def _chat_tool_choice(choice: str | dict[str, Any]) -> str | dict[str, Any]:
    if choice in ("none", "auto", "required"):
        return choice
    if isinstance(choice, dict) and choice.get("type") == "function" and isinstance(choice.get("name"), str):
        return {"type": "function", "function": {"name": choice["name"]}}
    message = "tool_choice must be 'none', 'auto', 'required' or {'type': 'function', 'name': ...}"
    raise RequestError(message, param="tool_choice", code="invalid_value")


def _chat_format(text: TextConfig) -> dict[str, Any]:
    """`response_format` and `verbosity`, where given."""
    chat: dict[str, Any] = {} if text.verbosity is None else {"verbosity": text.verbosity}
    match text.format:
        case ObjectFormat():
            chat["response_format"] = {"type": "json_object"}
        case SchemaFormat() as format:
            schema = {key: value for key, value in msgspec.structs.asdict(format).items() if value is not None}
            chat["response_format"] = {"type": "json_schema", "json_schema": schema}
    return chat
