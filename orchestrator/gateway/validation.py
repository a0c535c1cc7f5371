"""The known fields of each request kind, as msgspec Structs: for precise 400s and for the OpenAPI document.

    chat = validate(ChatRequest, {"model": "auto", "messages": [{"role": "user", "content": 3}]})
    # RequestError("Expected `str | array`, got `int`.", param="messages[0].content")

Fields that are not listed pass to the expert untouched, and so does everything about a listed one but its type. What the
fields mean for routing is in `requests.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from orchestrator.errors import RequestError
from orchestrator.types import Priority, Progress, RequestOptions

Text = Annotated[str, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=1)]
Amount = Annotated[float, Meta(ge=0)]
SessionName = Annotated[str, Meta(min_length=1, max_length=256)]


class Switchyard(Struct, forbid_unknown_fields=True, rename={"lambda_": "lambda"}):
    """The optional `switchyard` object: it narrows a request, and is not forwarded."""

    experts: Annotated[list[Text], Meta(min_length=1)] | None = None
    max_cost_usd: Amount | None = None
    lambda_: Amount | None = None
    mu: Amount | None = None
    collection: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    session: SessionName | None = None
    explain: bool = False
    max_calls: Count | None = None
    progress: Progress = "comments"
    priority: Priority = "interactive"

    def options(self) -> RequestOptions:
        return RequestOptions(
            experts=None if self.experts is None else tuple(self.experts),
            max_cost_usd=self.max_cost_usd,
            lambda_=self.lambda_,
            mu=self.mu,
            collection=self.collection,
            session=self.session,
            explain=self.explain,
            max_calls=self.max_calls,
            progress=self.progress,
            priority=self.priority,
        )


class Common(Struct):
    model: Text
    switchyard: Switchyard | None = None


class Part(Struct):
    """One piece of a message's content; types that are not known pass through."""

    type: str
    text: str | None = None
    refusal: str | None = None
    input_audio: dict[str, Any] | None = None
    image_url: dict[str, Any] | str | None = None


Content = str | list[Part]


class System(Struct, tag_field="role", tag="system"):
    content: Content


class Developer(Struct, tag_field="role", tag="developer"):
    content: Content


class User(Struct, tag_field="role", tag="user"):
    content: Content


class Assistant(Struct, tag_field="role", tag="assistant"):
    content: Content | None = None
    tool_calls: list[dict[str, Any]] | None = None
    function_call: dict[str, Any] | None = None


class ToolResult(Struct, tag_field="role", tag="tool"):
    content: Content


class FunctionResult(Struct, tag_field="role", tag="function"):
    content: Content | None


Message = System | Developer | User | Assistant | ToolResult | FunctionResult


class Tool(Struct):
    type: str
    function: dict[str, Any] | None = None


class ResponseFormat(Struct):
    type: str


class StreamOptions(Struct):
    include_usage: bool | None = None


class Sampling(Common):
    """What chat and completions share."""

    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    temperature: float | None = None
    top_p: float | None = None
    n: Count | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    user: str | None = None


class ChatRequest(Sampling, kw_only=True):
    """POST /v1/chat/completions."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    max_completion_tokens: Count | None = None
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    functions: list[dict[str, Any]] | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0)] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None


TokenIds = list[int]
Texts = Text | Annotated[list[str | int | TokenIds], Meta(min_length=1)]


class CompletionRequest(Sampling, kw_only=True):
    """POST /v1/completions. A prompt is text, token ids, or several of either."""

    prompt: Texts
    best_of: Count | None = None
    logprobs: Annotated[int, Meta(ge=0)] | None = None
    echo: bool | None = None
    suffix: str | None = None


class EmbeddingRequest(Common, kw_only=True):
    """POST /v1/embeddings."""

    input: Texts
    dimensions: Count | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None


class Document(Struct):
    text: str


class RerankRequest(Common, kw_only=True):
    """POST /v1/rerank, as Cohere, Jina, vLLM and llama.cpp have it."""

    query: Text
    documents: Annotated[list[str | Document], Meta(min_length=1)]
    top_n: Count | None = None
    return_documents: bool | None = None


InferenceRequest = ChatRequest | CompletionRequest | EmbeddingRequest | RerankRequest
StructT = TypeVar("StructT", bound=Struct)
JSON = TypeVar("JSON")


def validate(struct: type[StructT], body: Any) -> StructT:
    """`body` as `struct`. Raises `RequestError` with OpenAI's `param`."""
    return validated(struct, body)[0]


def validated(struct: type[StructT], body: JSON) -> tuple[StructT, JSON]:
    """`body` as `struct`, and as experts may read it: with 5.0 written as 5 where the field is a whole number."""
    try:
        return msgspec.convert(body, struct), body
    except msgspec.ValidationError:
        body = _with_whole_numbers(body)
    try:
        return msgspec.convert(body, struct), body
    except msgspec.ValidationError as exc:
        message, _, path = str(exc).partition(" - at `$")
        raise RequestError(f"{message}.", param=_param(message, path.rstrip("`"))) from exc


def _with_whole_numbers(value: Any) -> Any:
    """The same with 5.0 as 5, which to JSON are one number, and for some clients the only way to write it."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _with_whole_numbers(item) for key, item in value.items()}
    return [_with_whole_numbers(item) for item in value] if isinstance(value, list) else value


def _param(message: str, path: str) -> str | None:
    """`.messages[0]` and a missing field `role` give `messages[0].role`."""
    _, missing, name = message.partition("missing required field `")
    whole = f"{path}.{name.rstrip('`')}" if missing else path
    return whole.removeprefix(".") or None
