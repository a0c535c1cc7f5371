"""Scripted answers with log-probabilities, for the scripted upstream.

upstream.usual = confident("Paris.", logprob=-0.1)        # every token of it, streamed or not, where it is asked for
"""

from __future__ import annotations

import math
from typing import Any

from aiohttp import web

from tests.support.upstream import DONE, Exchange, Handler, answer, chunk, event, sends


def confident(text: str, logprob: float = -0.01, *, yes: float = 0.5) -> Handler:
    """Says `text`, word by word; asked for one token, it says yes with this probability and no otherwise."""

    async def handler(exchange: Exchange) -> web.StreamResponse:
        if exchange.body.get("max_tokens") == 1:
            return web.json_response(_whole(exchange, "Yes", _yes_or_no(yes)))
        words = text.split(" ")
        tokens = [entry(word, logprob) for word in words]
        if not exchange.streamed:
            return web.json_response(_whole(exchange, text, tokens))
        pieces = [chunk(exchange, {"role": "assistant", "content": ""})]
        for i, token in enumerate(tokens):
            piece = chunk(exchange, {"content": words[i] if i == 0 else f" {words[i]}"})
            pieces.append(_with(piece, [token], exchange))
        return await sends([*map(event, pieces), event(chunk(exchange, {}, "stop")), DONE])(exchange)

    return handler


def entry(token: str, logprob: float) -> dict[str, Any]:
    """What is said of a token in a chat. What its probability leaves is one alternative's."""
    other = {"token": "other", "bytes": None, "logprob": math.log(max(1e-9, 1.0 - math.exp(logprob)))}
    return {
        "token": token,
        "bytes": None,
        "logprob": logprob,
        "top_logprobs": [{"token": token, "logprob": logprob}, other],
    }


def _yes_or_no(yes: float) -> list[dict[str, Any]]:
    tops = [{"token": "Yes", "logprob": math.log(yes)}, {"token": "no", "logprob": math.log(1.0 - yes)}]
    return [{"token": "Yes", "bytes": None, "logprob": math.log(yes), "top_logprobs": tops}]


def _whole(exchange: Exchange, text: str, tokens: list[dict[str, Any]]) -> dict[str, Any]:
    body = answer(exchange)
    choice = body["choices"][0]
    if "message" in choice:
        choice["message"] = {"role": "assistant", "content": text}
    else:
        choice["text"] = text
    return _with(body, tokens, exchange)


def _with(payload: dict[str, Any], tokens: list[dict[str, Any]], exchange: Exchange) -> dict[str, Any]:
    if exchange.body.get("logprobs"):
        payload["choices"][0]["logprobs"] = {"content": tokens}
    return payload
