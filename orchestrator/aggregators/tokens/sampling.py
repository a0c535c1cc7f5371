"""From a distribution over tokens to one of them, and from the bytes of tokens to text that ends where the client said.

    settings = sampling_of(call, "council", seed=7)        # temperature, top_p, max_tokens, stop of OpenAI's body
    place = Sampler(settings).pick(logprobs)               # index into logprobs
    for piece in writing.write(b" caf"), writing.write(b"\\xc3"), writing.write(b"\\xa9"): ...      # " caf", "", "é"

Not here: where distributions come from.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.experts.inputs import rejected
from orchestrator.types import Call

TEMPERATURE, TOP_P = 0.8, 0.95
"""llama.cpp's own, for a client that says nothing."""
HONOURED = frozenset({"temperature", "top_p", "seed", "max_tokens", "max_completion_tokens", "stop"})
WITHOUT_EFFECT = frozenset(
    {"model", "messages", "prompt", "stream", "stream_options", "user", "metadata", "store", "service_tier"}
    | {"safety_identifier", "prompt_cache_key"}
)
"""What the panel sees to, and what changes no text."""
COUNTS = frozenset({"n", "best_of"})
"""Of which there can be one."""
NEUTRAL: tuple[Any, ...] = (None, False, 0, "", [], {}, {"type": "text"})


@dataclass(frozen=True, slots=True)
class Sampling:
    """temperature: 0 takes the likeliest. max_tokens: None means until the model ends or its context is full."""

    temperature: float = TEMPERATURE
    top_p: float = TOP_P
    seed: int = 0
    max_tokens: int | None = None
    stops: tuple[str, ...] = ()


def sampling_of(call: Call, panel: str, seed: int) -> Sampling:
    """What a body asks for. seed: for a client that names none.

    Raises `ExpertRejected` for parameters that no sampler of ours honours, unless they say what happens anyway.
    """
    body = call.body
    for name, value in body.items():
        if name not in HONOURED | WITHOUT_EFFECT and value not in NEUTRAL and (name not in COUNTS or value != 1):
            raise rejected(panel, f"{name} is not supported where tokens of several experts are fused", name)
    stop, limit = body.get("stop") or (), body.get("max_completion_tokens") or body.get("max_tokens")
    return Sampling(
        temperature=TEMPERATURE if body.get("temperature") is None else body["temperature"],
        top_p=TOP_P if body.get("top_p") is None else body["top_p"],
        seed=seed if body.get("seed") is None else body["seed"],
        max_tokens=limit,
        stops=tuple(filter(None, [stop] if isinstance(stop, str) else stop)),
    )


class Sampler:
    """Draws tokens; the same ones for the same seed and distributions."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._random = np.random.default_rng(abs(sampling.seed))

    def pick(self, logprobs: NDArray[np.float64]) -> int:
        """The place of a token in `logprobs (v,)`: of those that hold `top_p` of the probability, at this temperature."""
        if self._sampling.temperature <= 0.0:
            return int(logprobs.argmax())
        scores = logprobs / self._sampling.temperature
        masses = np.exp(scores - scores.max())
        order = np.argsort(-masses, kind="stable")
        reached = np.cumsum(masses[order])
        kept = 1 + int(np.searchsorted(reached, self._sampling.top_p * reached[-1]))
        drawn = np.searchsorted(reached[:kept], self._random.random() * reached[:kept][-1], side="right")
        return int(order[min(drawn, kept - 1)])


class Writing:
    """A text that grows by bytes: whole characters only, and nothing of a stop sequence or after it.

    ended: a stop sequence came.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        self.ended = False
        self._stops = stops
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def write(self, data: bytes, *, last: bool = False) -> str:
        """What can be shown now. Held back is what may be the beginning of a character or of a stop sequence, unless `last`."""
        if self.ended:
            return ""
        text = self._held + self._decoder.decode(data, last)
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.ended, self._held = True, ""
            return text[: min(found)]
        keep = 0 if last else max((_overlap(text, stop) for stop in self._stops), default=0)
        shown = text[: len(text) - keep]
        self._held = text[len(shown) :]
        return shown


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` that `stop` begins with."""
    longest = min(len(stop) - 1, len(text))
    return next((n for n in range(longest, 0, -1) if stop.startswith(text[len(text) - n :])), 0)
