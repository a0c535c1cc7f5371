"""Random bodies of chat requests, each with what it plainly needs: an oracle that shares nothing with how the gateway reads it.

drawn = random_chat(random.Random(0))
drawn.body, drawn.needs, drawn.least_tokens
"""

import random
from dataclasses import dataclass
from typing import Any

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
SOUND = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
FILE = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": "the sky"}'}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


@dataclass(frozen=True)
class Drawn:
    """needs: capabilities that an expert must have. least_tokens: words of the texts, and the answer that was asked for."""

    body: dict[str, Any]
    needs: frozenset[str]
    least_tokens: int


def random_chat(dice: random.Random) -> Drawn:
    needs: set[str] = set()
    body: dict[str, Any] = {"model": "auto", "messages": [*_history(dice, needs), _turn(dice, needs)]}
    if dice.random() < 0.3:
        body["stream"] = True
        needs.add("streaming")
    if dice.random() < 0.2:
        body["tools"] = [TOOL] * dice.randint(1, 5)
        needs.add("tools")
    if dice.random() < 0.1:
        body["response_format"] = {"type": dice.choice(["json_object", "json_schema"])}
        needs.add("json_schema")
    if dice.random() < 0.1:
        body["logprobs"] = True
        needs.add("logprobs")
    if dice.random() < 0.3:
        body["seed"] = dice.randint(0, 9)
    if dice.random() < 0.5:
        body[dice.choice(["max_tokens", "max_completion_tokens"])] = dice.choice([1, 128, 2000])
    num_words = sum(len(text.split()) for message in body["messages"] for text in _texts(message))
    return Drawn(body, frozenset(needs), num_words + body.get("max_tokens", body.get("max_completion_tokens", 0)))


def _history(dice: random.Random, needs: set[str]) -> list[dict[str, Any]]:
    messages = [{"role": dice.choice(["system", "developer"]), "content": _words(dice)}] if dice.random() < 0.5 else []
    match dice.choice(["none", "none", "talk", "tool", "function"]):
        case "talk":
            messages += [_turn(dice, needs), {"role": "assistant", "content": _words(dice)}]
        case "tool":
            needs.add("tools")
            messages += [_turn(dice, needs), {"role": "assistant", "content": None, "tool_calls": [CALL]}]
            messages += [{"role": "tool", "tool_call_id": "call_1", "content": _words(dice)}]
        case "function":
            needs.add("tools")
            messages += [_turn(dice, needs), {"role": "function", "name": "look", "content": _words(dice)}]
    return messages


def _turn(dice: random.Random, needs: set[str]) -> dict[str, Any]:
    text = _words(dice)
    if dice.random() < 0.6:
        return {"role": "user", "content": text}
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}]
    if dice.random() < 0.5:
        parts.append(dice.choice([PICTURE, SOUND, FILE]))
        needs.add("vision")
    return {"role": "user", "content": parts}


def _texts(message: dict[str, Any]) -> list[str]:
    content = message["content"]
    return [content or ""] if not isinstance(content, list) else [part.get("text", "") for part in content]


def _words(dice: random.Random) -> str:
    """Mostly a few words, at times thousands."""
    return " ".join([dice.choice(["what", "is", "17", "Straße", "日本", "O'Neil"])] * int(10 ** dice.uniform(0, 3.6)))
