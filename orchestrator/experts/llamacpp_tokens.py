"""A llama.cpp expert token by token: the distribution of its next token, over the likeliest, after a prefix of exact token ids.

    model = TokenModel("smollm2", endpoint, http, deadline)
    vocabulary = await model.vocabulary()
    prefix = await model.prompt([{"role": "user", "content": "Hello"}])      # its chat template, as token ids
    step = await model.next(prefix)                # Step(ids=[...], logprobs=[...], texts=[b"Hello", ...]), likeliest first

By the server's own endpoints `/apply-template`, `/tokenize` and `/completion` (`n_probs`): the probabilities are the model's own,
before any sampling. The prefix of the last step stays in the server's cache, so a step costs one token. The 1,000 likeliest tokens
of SmolLM2 hold 99.3 to 100% of the probability and cost 2 ms more than one, all 49,152 cost 170 ms more. Not here: what is made of
several models' steps (`orchestrator/aggregators/tokens/decoding.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import aiohttp
import msgspec
import numpy as np
from numpy.typing import NDArray
from yarl import URL

from orchestrator.errors import ExpertError
from orchestrator.experts.failures import from_exception, from_response
from orchestrator.experts.session import Target, post
from orchestrator.types import Endpoint, Messages

NUM_LIKELIEST = 1_000
LEAST_LOGPROB = -80.0
"""llama.cpp writes the probability 0 as the logarithm of a subnormal number, or as the least float."""
PROBE = "The 7 quick foxes\n\tjumped: naïve, Straße, привет, 你好, שלום, 🦜; if (x <= 3.14) { return f'{x!r}'; }"
"""What shows a tokenizer: words, digits, white space, code, and characters of several scripts and lengths."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What token ids mean, as far as it can be told: equal for models whose ids mean the same.

    size: number of tokens, which differs within a family where some models are padded. kind: of the tokenizer, llama.cpp's number.
    probe: the ids of a text that has a bit of everything.
    """

    size: int = field(compare=False)
    kind: int
    probe: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """The likeliest next tokens, likeliest first: ids and log-probabilities `(n,)`, and the bytes that each one writes.

    A token that writes nothing is a control token: the end of a turn, or what begins another.
    """

    ids: NDArray[np.intp]
    logprobs: NDArray[np.float64]
    texts: tuple[bytes, ...]


class TokenModel:
    """One expert at the endpoint of its lease. deadline: monotonic seconds. Its methods raise `ExpertError`."""

    def __init__(self, name: str, endpoint: Endpoint, http: aiohttp.ClientSession, deadline: float) -> None:
        self.name = name
        self._http = http
        self._deadline = deadline
        self._base = endpoint.base_url.removesuffix("/v1")
        self._headers = {"Authorization": f"Bearer {endpoint.token}", "Content-Type": "application/json"}
        self._completion = self._target("/completion")

    async def vocabulary(self) -> Vocabulary:
        models = await self._get("/v1/models", _Models)
        return Vocabulary(models.data[0].meta.n_vocab, models.data[0].meta.vocab_type, tuple(await self.tokens(PROBE)))

    async def prompt(self, messages: Messages) -> list[int]:
        """The conversation and the beginning of the model's turn."""
        written = await self._post(self._target("/apply-template"), {"messages": messages}, _Written)
        return await self.tokens(written.prompt, special=True)

    async def tokens(self, text: str, *, special: bool = False) -> list[int]:
        """The text's tokens. special: `<|im_end|>` and the like are control tokens, and what begins every text is there."""
        body = {"content": text, "add_special": special, "parse_special": special}
        return (await self._post(self._target("/tokenize"), body, _Tokens)).tokens

    async def next(self, prefix: Sequence[int]) -> Step:
        """The `NUM_LIKELIEST` tokens after a prefix of at least one. Raises `ExpertRejected` when the context is full."""
        body = {
            "prompt": list(prefix),
            "n_predict": 1,
            "n_probs": NUM_LIKELIEST,
            "temperature": 0,
            "cache_prompt": True,
        }
        likeliest = (await self._post(self._completion, body, _Completion)).completion_probabilities[0].top_logprobs
        return Step(
            np.array([token.id for token in likeliest], dtype=np.intp),
            np.array([token.logprob for token in likeliest]).clip(min=LEAST_LOGPROB),
            tuple(bytes(token.bytes) for token in likeliest),
        )

    def _target(self, path: str) -> Target:
        return Target(URL(self._base + path), self._headers)

    async def _get(self, path: str, kind: type[_Shape]) -> _Shape:
        try:
            async with self._in_time(), self._http.get(self._base + path, headers=self._headers) as response:
                return self._read(response.status, response.headers, await response.read(), kind)
        except (TimeoutError, aiohttp.ClientError) as exc:
            raise from_exception(self.name, exc) from exc

    async def _post(self, target: Target, body: dict[str, Any], kind: type[_Shape]) -> _Shape:
        try:
            async with self._in_time():
                response = await post(self._http, target, msgspec.json.encode(body), aiohttp.ClientTimeout())
                try:
                    return self._read(response.status, response.headers, await response.content.read(), kind)
                finally:
                    response.close()
        except (TimeoutError, aiohttp.ClientError) as exc:
            raise from_exception(self.name, exc) from exc

    def _in_time(self) -> asyncio.Timeout:
        return asyncio.timeout(self._deadline - time.monotonic())

    def _read(self, status: int, headers: Mapping[str, str], body: bytes, kind: type[_Shape]) -> _Shape:
        if status != 200:
            raise from_response(self.name, status, headers, body, secrets=())
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.DecodeError as exc:
            raise ExpertError(
                self.name, "malformed", f"{self.name} does not speak of tokens as llama.cpp does"
            ) from exc


_Shape = TypeVar("_Shape")


class _Meta(msgspec.Struct):
    n_vocab: int
    vocab_type: int


class _Model(msgspec.Struct):
    meta: _Meta


class _Models(msgspec.Struct):
    data: Annotated[list[_Model], msgspec.Meta(min_length=1)]


class _Written(msgspec.Struct):
    prompt: str


class _Tokens(msgspec.Struct):
    tokens: list[int]


class _Token(msgspec.Struct):
    id: int
    logprob: float
    bytes: list[int]


class _Position(msgspec.Struct):
    top_logprobs: list[_Token]


class _Completion(msgspec.Struct):
    completion_probabilities: Annotated[list[_Position], msgspec.Meta(min_length=1)]
