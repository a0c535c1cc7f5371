"""A request of Anthropic's Messages API as the chat completion it asks for.

    body = {"model": "auto", "max_tokens": 100, "system": "Be brief.", "messages": [{"role": "user", "content": "Hi"}]}
    chat_body(parse(body), body)
    # {"model": "auto", "max_tokens": 100, "messages": [{"role": "system", ...}, {"role": "user", "content": "Hi"}]}

What has no counterpart: `cache_control`, `service_tier` and the like are hints and go no further; `thinking` is the expert's own
affair, so earlier thinking blocks are left out and a budget isn't passed on (`output_config.effort` is, as `reasoning_effort`);
tools that Anthropic's servers run are refused by name. Unknown fields pass through. Not here: answers (`messages_answer.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec

from orchestrator.errors import RequestError
from orchestrator.gateway import conversation
from orchestrator.gateway.conversation import Conversation, file_part, image_part, text_part, tool_call
from orchestrator.gateway.validation import Count, Text

IGNORED = frozenset(
    {"cache_control", "context_management", "diagnostics", "inference_geo", "service_tier", "speed", "user_profile_id"}
    | {"workspace_id"}
)
REFUSED = ("container", "mcp_servers")
USER_LENGTH = 64
"""What OpenAI allows in `user`; a longer `metadata.user_id` is hashed."""


class _Tagged(msgspec.Struct, tag_field="type"):
    """A content block or a choice, told apart by `type`."""


class Base64Source(_Tagged, tag="base64"):
    media_type: str
    data: str

    @property
    def url(self) -> str:
        return f"data:{self.media_type};base64,{self.data}"


class UrlSource(_Tagged, tag="url"):
    url: str


class TextSource(_Tagged, tag="text"):
    data: str


class TextBlock(_Tagged, tag="text"):
    text: str


class PlainText(msgspec.Struct):
    """A text block where nothing else may stand: told apart from nothing, so msgspec would not ask for a tag."""

    type: Literal["text"]
    text: str


class ImageBlock(_Tagged, tag="image"):
    source: Base64Source | UrlSource


class DocumentBlock(_Tagged, tag="document"):
    source: TextSource | Base64Source
    title: str | None = None


class SearchResultBlock(_Tagged, tag="search_result"):
    source: str
    title: str
    content: list[PlainText]


class ToolUseBlock(_Tagged, tag="tool_use"):
    id: str
    name: str
    input: dict[str, Any]


Content = TextBlock | ImageBlock | DocumentBlock | SearchResultBlock


class ToolResultBlock(_Tagged, tag="tool_result"):
    tool_use_id: str
    content: str | list[Content] | None = None
    is_error: bool = False


class ThinkingBlock(_Tagged, tag="thinking"):
    pass


class RedactedThinkingBlock(_Tagged, tag="redacted_thinking"):
    pass


class _Turn(msgspec.Struct, tag_field="role"):
    """A message. Each role has its own kinds of blocks."""


class UserTurn(_Turn, tag="user"):
    content: (
        str
        | Annotated[
            list[TextBlock | ImageBlock | DocumentBlock | SearchResultBlock | ToolResultBlock],
            msgspec.Meta(min_length=1),
        ]
    )


class AssistantTurn(_Turn, tag="assistant"):
    content: str | list[TextBlock | ToolUseBlock | ThinkingBlock | RedactedThinkingBlock]


class SystemTurn(_Turn, tag="system"):
    content: str | list[PlainText]


class Tool(msgspec.Struct):
    name: str
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None


class ToolChoice(msgspec.Struct):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool = False


class Metadata(msgspec.Struct):
    user_id: str | None = None


class JSONFormat(msgspec.Struct):
    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(msgspec.Struct):
    effort: str | None = None
    format: JSONFormat | None = None


class CountTokensRequest(conversation.Body, kw_only=True):
    """The fields that are translated; counting does without `max_tokens`."""

    model: Text
    messages: Annotated[list[UserTurn | AssistantTurn | SystemTurn], msgspec.Meta(min_length=1)]
    system: str | list[PlainText] = ""
    stop_sequences: list[str] = msgspec.field(default_factory=list)
    tools: list[Tool] = msgspec.field(default_factory=list)
    tool_choice: ToolChoice | None = None
    thinking: dict[str, Any] | None = None
    metadata: Metadata = msgspec.field(default_factory=Metadata)
    output_config: OutputConfig = msgspec.field(default_factory=OutputConfig)
    stream: bool = False


class MessagesRequest(CountTokensRequest, kw_only=True):
    """POST /v1/messages."""

    max_tokens: Count


def parse(body: Mapping[str, Any]) -> MessagesRequest:
    """The body with its types checked. Raises `RequestError`, also for what isn't supported."""
    conversation.refuse(body, REFUSED, "it needs Anthropic's own servers")
    return conversation.read(body, MessagesRequest)


def chat_body(request: MessagesRequest, body: Mapping[str, Any]) -> dict[str, Any]:
    """The chat completion that a request asks for; unknown fields of its `body` included. Raises `RequestError`."""
    chat = conversation.passed_through(body, MessagesRequest, IGNORED)
    chat |= {"model": request.model, "messages": _chat_messages(request), "max_tokens": request.max_tokens}
    if request.stop_sequences:
        chat["stop"] = request.stop_sequences
    if request.tools:
        chat["tools"] = [_chat_tool(tool, i) for i, tool in enumerate(request.tools)]
        chat |= _chat_tool_choice(request.tool_choice)
    if user := request.metadata.user_id:
        chat["user"] = user if len(user) <= USER_LENGTH else hashlib.sha256(user.encode()).hexdigest()
    if request.output_config.effort:
        chat["reasoning_effort"] = request.output_config.effort
    if format := request.output_config.format:
        schema = {"name": "output", "schema": format.schema, "strict": True}
        chat["response_format"] = {"type": "json_schema", "json_schema": schema}
    if request.stream:
        chat |= {"stream": True, "stream_options": {"include_usage": True}}
    return chat


def _chat_messages(request: MessagesRequest) -> list[dict[str, Any]]:
    chat = Conversation()
    if request.system:
        chat.system(_text(request.system))
    for turn in request.messages:
        match turn:
            case UserTurn():
                _add_user_turn(chat, turn)
            case AssistantTurn():
                _add_assistant_turn(chat, turn)
            case SystemTurn():
                chat.system(_text(turn.content))
    return chat.messages()


def _add_user_turn(chat: Conversation, turn: UserTurn) -> None:
    """Results of tools become messages of their own, ahead of whatever else the user says."""
    parts = []
    for block in [TextBlock(turn.content)] if isinstance(turn.content, str) else turn.content:
        if isinstance(block, ToolResultBlock):
            chat.tool(block.tool_use_id, _result_parts(block))
        else:
            parts.append(_chat_part(block))
    chat.user(parts)


def _add_assistant_turn(chat: Conversation, turn: AssistantTurn) -> None:
    if isinstance(turn.content, str):
        chat.assistant(turn.content)
        return
    text = _text(block for block in turn.content if isinstance(block, TextBlock))
    chat.assistant(text, [_chat_call(block) for block in turn.content if isinstance(block, ToolUseBlock)])


def _result_parts(block: ToolResultBlock) -> list[dict[str, Any]]:
    """Chat completions can't flag a tool's failure, so the text says it."""
    content = block.content or ""
    parts = [text_part(content)] if isinstance(content, str) else [_chat_part(item) for item in content]
    return [text_part("Error:"), *parts] if block.is_error else parts


def _chat_part(block: Content) -> dict[str, Any]:
    match block:
        case TextBlock():
            return text_part(block.text)
        case ImageBlock():
            return image_part(block.source.url)
        case DocumentBlock():
            return _document_part(block)
        case SearchResultBlock():
            return text_part(f"{block.title} ({block.source})\n{_text(block.content)}")


def _document_part(block: DocumentBlock) -> dict[str, Any]:
    if isinstance(block.source, Base64Source):
        return file_part(block.title or "document.pdf", block.source.url)
    return text_part(f"{block.title}\n{block.source.data}" if block.title else block.source.data)


def _chat_call(block: ToolUseBlock) -> dict[str, Any]:
    return tool_call(block.id, block.name, msgspec.json.encode(block.input).decode())


def _chat_tool(tool: Tool, position: int) -> dict[str, Any]:
    if tool.type not in (None, "custom"):
        raise RequestError(
            f"tools[{position}]: '{tool.type}' runs on Anthropic's servers; only tools with an input_schema are supported",
            param=f"tools[{position}].type",
            code="unsupported_tool",
        )
    if tool.input_schema is None:
        raise RequestError(f"tools[{position}] has no input_schema", param=f"tools[{position}].input_schema")
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.input_schema,
        "strict": tool.strict,
    }
    return {"type": "function", "function": {key: value for key, value in function.items() if value is not None}}


def _chat_tool_choice(choice: ToolChoice | None) -> dict[str, Any]:
    if choice is None:
        return {}
    if choice.type == "tool":
        if choice.name is None:
            raise RequestError("tool_choice of type 'tool' needs a name", param="tool_choice.name")
        chosen: Any = {"type": "function", "function": {"name": choice.name}}
    else:
        chosen = {"auto": "auto", "any": "required", "none": "none"}[choice.type]
    return {"tool_choice": chosen} | ({"parallel_tool_calls": False} if choice.disable_parallel_tool_use else {})


def _text(content: str | Iterable[TextBlock | PlainText]) -> str:
    return content if isinstance(content, str) else "\n\n".join(block.text for block in content)
