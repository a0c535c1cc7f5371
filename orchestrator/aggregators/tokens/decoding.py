"""Several models write one text: at each token, a rule makes one distribution of theirs, and one token of it is taken.

    progress = Progress()
    async for piece in decode(models, messages, rule, sampling, progress):
        ...                                        # pieces of text; progress.finish_reason, .prompt_tokens, .num_tokens

`messages` are each model's own (its system prompt, its chat template); what is written is appended to each prompt as the same token
ids. Models know the tokens that at least one of them has among its likeliest; what a model has outside its own list shares the
probability that its list leaves, evenly. Not here: the rules (`logits.py`, `dynamic_logits.py`, `contrast.py`), and how models
are reached (`seating.py`).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from orchestrator.aggregators.tokens.sampling import Sampler, Sampling, Writing
from orchestrator.errors import ExpertError, ExpertRejected
from orchestrator.experts.llamacpp_tokens import LEAST_LOGPROB, Step, Vocabulary
from orchestrator.types import Messages

Floats = NDArray[np.float64]
_T = TypeVar("_T")


class Model(Protocol):
    """What is asked for its next token; `TokenModel` is one. Every method raises `ExpertError`."""

    name: str

    async def vocabulary(self) -> Vocabulary: ...

    async def prompt(self, messages: Messages) -> list[int]: ...

    async def next(self, prefix: Sequence[int]) -> Step: ...


class Rule(Protocol):
    """How distributions become one. Made for one text, and may remember what it saw of it.

    num_evidence_tokens: how many of the prompt's last tokens, as far as all models' prompts agree, it wants to see first.
    """

    num_evidence_tokens: int

    @property
    def weights(self) -> Floats:
        """What each model counts for, `(m,)`, as far as the text is written."""
        ...

    def fuse(self, logprobs: Floats) -> Floats:
        """`(v,)` from `(m, v)`, log-probabilities up to a constant."""
        ...

    def saw(self, logprobs: Floats) -> None:
        """What each model held of the token that came, `(m,)`."""
        ...


@dataclass(slots=True)
class Progress:
    """Filled in while a text is written. prompt_tokens: of each model. num_tokens: written, which every model has read."""

    prompt_tokens: dict[str, int] = field(default_factory=dict)
    num_tokens: int = 0
    finish_reason: Literal["stop", "length"] | None = None


@dataclass(frozen=True, slots=True)
class _Pace:
    """How long a step of these models may take. until: monotonic seconds when the last one is over."""

    models: Sequence[str]
    until: float
    timeout_s: float

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self.until

    async def keep(self, step: Awaitable[_T]) -> _T:
        """Raises `ExpertError` for a step that takes longer."""
        try:
            async with asyncio.timeout(min(self.timeout_s, self.until - time.monotonic())):
                return await step
        except TimeoutError as exc:
            raise ExpertError(self.models[0], "timeout", f"{', '.join(self.models)} took too long for a token") from exc


async def decode(
    models: Sequence[Model],
    messages: Sequence[Messages],
    rule: Rule,
    sampling: Sampling,
    progress: Progress,
    *,
    until: float = math.inf,
    timeout_s: float = math.inf,
) -> AsyncGenerator[str, None]:
    """The text in pieces, as long as `sampling`, the models' contexts and the time allow.

    until: monotonic seconds; a text that was begun ends there. timeout_s: for all models to make one step.
    Raises `ExpertError` for a model that fails or takes too long, and for models whose token ids mean different things.
    """
    pace = _Pace([model.name for model in models], until, timeout_s)
    size = await pace.keep(_common_vocabulary(models))
    prompts = await pace.keep(_prompts(models, messages))
    progress.prompt_tokens = {model.name: len(prompt) for model, prompt in zip(models, prompts, strict=True)}
    await _see_evidence(models, prompts, rule, size, pace)
    sampler, writing = Sampler(sampling), Writing(sampling.stops)
    while progress.finish_reason is None:
        steps = await _next_while_there_is_room(models, prompts, progress, pace)
        if steps is None:
            break
        ids, logprobs = aligned(steps, size)
        place = sampler.pick(rule.fuse(logprobs))
        rule.saw(logprobs[:, place])
        progress.num_tokens += 1
        text = _text(steps, int(ids[place]))
        if shown := writing.write(text):
            yield shown
        if not text or writing.ended:
            progress.finish_reason = "stop"
        elif progress.num_tokens == sampling.max_tokens or pace.is_over:
            progress.finish_reason = "length"
        for prompt in prompts:
            prompt.append(int(ids[place]))
    if rest := writing.write(b"", last=True):
        yield rest


def aligned(steps: Sequence[Step], size: int) -> tuple[NDArray[np.intp], Floats]:
    """The tokens that any step has, `(v,)`, and what each holds of them, `(m, v)`. size: of the vocabulary."""
    ids = np.unique(np.concatenate([step.ids for step in steps]))
    logprobs = np.empty((len(steps), len(ids)))
    for row, step in zip(logprobs, steps, strict=True):
        row[:] = unlisted(step, size)
        row[np.searchsorted(ids, step.ids)] = step.logprobs
    return ids, logprobs


def unlisted(step: Step, size: int) -> float:
    """The log-probability of each token that is not among the step's: at most that of the least likely one that is."""
    rest = max(0.0, 1.0 - float(np.exp(step.logprobs).sum())) / max(1, size - len(step.ids))
    return max(LEAST_LOGPROB, min(float(np.log(rest)) if rest > 0.0 else LEAST_LOGPROB, float(step.logprobs[-1])))


async def _common_vocabulary(models: Sequence[Model]) -> int:
    """The size of the largest of what must be one vocabulary, but for unused ids at its end."""
    found = await asyncio.gather(*(model.vocabulary() for model in models))
    for model, vocabulary in zip(models, found, strict=True):
        if vocabulary != found[0]:
            message = f"{models[0].name} and {model.name} have different tokenizers: their tokens can't be fused"
            raise ExpertError(model.name, "malformed", message, lasting=True)
    return max(vocabulary.size for vocabulary in found)


async def _prompts(models: Sequence[Model], messages: Sequence[Messages]) -> list[list[int]]:
    return await asyncio.gather(*(model.prompt(own) for model, own in zip(models, messages, strict=True)))


async def _see_evidence(
    models: Sequence[Model], prompts: Sequence[list[int]], rule: Rule, size: int, pace: _Pace
) -> None:
    """Let the rule see how likely each model holds the end that all prompts have in common."""
    num_seen = _common_end(prompts, rule.num_evidence_tokens)
    for left in range(num_seen, 0, -1):
        steps = await pace.keep(_next(models, [prompt[:-left] for prompt in prompts]))
        rule.saw(np.array([_logprob(step, prompts[0][-left], size) for step in steps]))


async def _next(models: Sequence[Model], prefixes: Sequence[Sequence[int]]) -> list[Step]:
    return await asyncio.gather(*(model.next(prefix) for model, prefix in zip(models, prefixes, strict=True)))


async def _next_while_there_is_room(
    models: Sequence[Model], prefixes: Sequence[Sequence[int]], progress: Progress, pace: _Pace
) -> list[Step] | None:
    """None when something was written, and a model's context is full or the time is over."""
    try:
        return await pace.keep(_next(models, prefixes))
    except ExpertRejected as exc:
        if exc.code != "context_length_exceeded" or progress.num_tokens == 0:
            raise
    except ExpertError:
        if not pace.is_over or progress.num_tokens == 0:
            raise
    progress.finish_reason = "length"
    return None


def _common_end(prompts: Sequence[Sequence[int]], most: int) -> int:
    """How many last tokens are the same everywhere, up to `most`, with a token before them."""
    most = min(most, *(len(prompt) - 1 for prompt in prompts))
    return next((n for n in range(most) if len({prompt[-1 - n] for prompt in prompts}) > 1), most)


def _logprob(step: Step, token: int, size: int) -> float:
    places = np.flatnonzero(step.ids == token)
    return float(step.logprobs[places[0]]) if len(places) else unlisted(step, size)


def _text(steps: Sequence[Step], token: int) -> bytes:
    for step in steps:
        for place in np.flatnonzero(step.ids == token):
            return step.texts[place]
    raise ValueError(f"no step has the token {token}")
