"""Reads from OpenAI's request bodies what experts in this process answer to: a question, a prompt, texts, documents.

    last_user_text({"messages": [{"role": "user", "content": [{"type": "text", "text": "What is 2 + 2?"}]}]})   # 'What is 2 + 2?'
    texts_to_embed({"input": "one"}, "minilm")                                                                  # ['one']

Bodies have been validated by the gateway; what a valid body may hold and these experts can't read (token ids) is an
`ExpertRejected`. Not here: what is routed of a conversation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.errors import ExpertRejected
from orchestrator.types import Call


def question_of(call: Call, expert: str) -> str:
    """What a chat or completion call asks: its last user turn, or its one prompt."""
    if call.kind == "chat":
        return last_user_text(call.body)
    prompts = _texts(call.body.get("prompt", ""), expert, "prompt")
    if len(prompts) != 1:
        raise rejected(expert, "one prompt at a time is supported", "prompt")
    return prompts[0]


def last_user_text(body: Mapping[str, Any]) -> str:
    """The text of the last message with the role `user`; empty when there is none, or no text in it."""
    for message in reversed(body.get("messages", ())):
        if message.get("role") == "user":
            return content_text(message.get("content"))
    return ""


def content_text(content: Any) -> str:
    """A message's content as text: itself, or its text parts, one a line."""
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if part.get("text"))
    return content if isinstance(content, str) else ""


def conversation_text(body: Mapping[str, Any]) -> str:
    """What all messages but tool results say, as `routers.data.outcomes` reads a query that was recorded as messages."""
    messages = (message for message in body.get("messages", ()) if message.get("role") != "tool")
    return "\n\n".join(filter(None, (content_text(message.get("content")) for message in messages)))


def prompt_text(call: Call) -> str:
    """Everything a chat or completion call says, as one text: what its prompt tokens are counted from."""
    if call.kind == "chat":
        return "\n".join(content_text(message.get("content")) for message in call.body.get("messages", ()))
    prompt = call.body.get("prompt", "")
    return prompt if isinstance(prompt, str) else "\n".join(map(str, prompt))


def texts_to_embed(body: Mapping[str, Any], expert: str) -> list[str]:
    """`input` of an embeddings request, at least one text."""
    return _texts(body.get("input"), expert, "input")


def query_and_documents(body: Mapping[str, Any], expert: str) -> tuple[str, list[str]]:
    """`query` and `documents` (texts, or objects with a `text`) of a rerank request."""
    query, documents = body.get("query"), body.get("documents")
    if not isinstance(query, str):
        raise rejected(expert, "query must be a text", "query")
    if not isinstance(documents, list) or not documents:
        raise rejected(expert, "documents must be a list of at least one text", "documents")
    texts = [document.get("text") if isinstance(document, Mapping) else document for document in documents]
    return query, _texts(texts, expert, "documents")


def _texts(value: Any, expert: str, param: str) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise rejected(expert, f"{param} must be a text or a list of texts; token ids are not supported", param)
    return texts


def rejected(expert: str, message: str, param: str) -> ExpertRejected:
    """What a client is told of a value that an expert in this process can't do anything with."""
    return ExpertRejected(expert, message, status=400, code="invalid_value", param=param)
