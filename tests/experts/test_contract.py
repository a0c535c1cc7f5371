"""What every expert promises, whatever its backend."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from orchestrator.config import EXPERT_SPECS
from orchestrator.errors import ConfigError, ExpertError, ExpertRejected
from orchestrator.experts.base import Expert, Services
from orchestrator.experts.registry import BACKENDS, backend
from orchestrator.experts.session import open_session
from routers.base import Outcome
from routers.data.outcomes import write_outcomes
from tests.support.experts import body_of, chat, events_of, expert_of, services, stream_of, text_of
from tests.support.mixtures import saved_mixture
from tests.support.upstream import Upstream, running_upstream

QUESTION = "Hello there, you"


@dataclass(frozen=True)
class Around:
    """What an expert under test stands in: services, a folder for its files, and an upstream."""

    services: Services
    upstream: Upstream

    def expert(self, **keys: Any) -> Expert:
        return expert_of(self.services, name="tested", **keys)


@pytest.fixture
async def around(tmp_path: Path) -> AsyncIterator[Around]:
    message = {"role": "assistant", "content": QUESTION}
    async with open_session() as http, running_upstream(message=message) as upstream:
        yield Around(services(tmp_path, http=http), upstream)


# Each makes an expert that says QUESTION when it is asked it, or one that hangs; both with these further keys of YAML.


def _echo(around: Around, hangs: bool, **keys: Any) -> Expert:
    return around.expert(backend="echo", latency_s=3600 if hangs else 0, **keys)


def _function(around: Around, hangs: bool, **keys: Any) -> Expert:
    name = "never" if hangs else "repeat"
    return around.expert(backend="function", callable=f"tests.support.callables:{name}", **keys)


def _persona(around: Around, hangs: bool, **keys: Any) -> Expert:
    base = expert_of(name="below", backend="echo", latency_s=3600 if hangs else 0)
    over = services(experts={"below": base})
    return expert_of(over, name="tested", backend="persona", base="below", system="Be brief.", **keys)


def _synthesised(around: Around, hangs: bool, **keys: Any) -> Expert:
    base = expert_of(name="below", backend="echo", latency_s=3600 if hangs else 0)
    over = services(experts={"below": base})
    return expert_of(over, name="tested", backend="persona", base="below", identity="synthesised", **keys)


def _prompts(around: Around, hangs: bool, **keys: Any) -> Expert:
    base = expert_of(name="below", backend="echo", latency_s=3600 if hangs else 0)
    saved_mixture(around.services.base_dir / "mix")
    over = services(around.services.base_dir, experts={"below": base})
    return expert_of(over, name="tested", backend="prompts", base="below", artifact="mix", **keys)


def _replay(around: Around, hangs: bool, **keys: Any) -> Expert:
    outcome = Outcome(QUESTION, {"tested": 1.0}, answers={"tested": QUESTION})
    write_outcomes(around.services.base_dir / "recorded.jsonl", [outcome])
    return around.expert(backend="replay", answers="recorded.jsonl", latency_s=3600 if hangs else 0, **keys)


def _openai(around: Around, hangs: bool, **keys: Any) -> Expert:
    around.upstream.script.extend(["hang"] if hangs else [])
    return around.expert(backend="openai", base_url=around.upstream.base_url, **keys)


Maker = Callable[..., Expert]
MAKERS: dict[str, Maker] = {
    "echo": _echo,
    "function": _function,
    "persona": _persona,
    "synthesised": _synthesised,
    "prompts": _prompts,
    "replay": _replay,
    "openai": _openai,
}
every_backend = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@every_backend
async def test_a_whole_answer_has_openais_shape(make: Maker, around: Around):
    answer = await make(around, False).answer(chat(QUESTION))
    assert answer.events is None
    completion = ChatCompletion.model_validate_json(answer.body or b"", strict=True)
    assert completion.model == "tested"
    assert completion.choices[0].message.content == QUESTION
    assert completion.choices[0].finish_reason == "stop"


@every_backend
async def test_a_whole_answer_counts_its_tokens(make: Maker, around: Around):
    answer = await make(around, False).answer(chat(QUESTION))
    usage = body_of(answer)["usage"]
    assert answer.usage.prompt_tokens == usage["prompt_tokens"] > 0
    assert answer.usage.completion_tokens == usage["completion_tokens"] > 0
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@every_backend
async def test_a_stream_has_openais_shape_and_ends_in_done(make: Maker, around: Around):
    *chunks, done = await events_of(await make(around, False).answer(chat(QUESTION, stream=True)))
    assert done == b"[DONE]"
    parsed = [ChatCompletionChunk.model_validate_json(chunk, strict=True) for chunk in chunks]
    assert {(chunk.model, chunk.id, chunk.created) for chunk in parsed} == {("tested", parsed[0].id, parsed[0].created)}
    assert "".join(chunk.choices[0].delta.content or "" for chunk in parsed) == QUESTION
    assert [c.choices[0].finish_reason for c in parsed if c.choices[0].finish_reason] == ["stop"]
    assert all(chunk.usage is None for chunk in parsed)


@every_backend
async def test_a_stream_brings_usage_when_asked(make: Maker, around: Around):
    answer = await make(around, False).answer(chat(QUESTION, stream=True, stream_options={"include_usage": True}))
    *_, last, _done = await events_of(answer)
    chunk = ChatCompletionChunk.model_validate_json(last, strict=True)
    assert chunk.choices == []
    assert chunk.usage is not None
    assert answer.usage.prompt_tokens == chunk.usage.prompt_tokens > 0
    assert answer.usage.completion_tokens == chunk.usage.completion_tokens > 0


@every_backend
async def test_the_deadline_is_kept(make: Maker, around: Around):
    expert = make(around, True)
    began = time.monotonic()
    with pytest.raises(ExpertError) as caught:
        await expert.answer(chat(QUESTION, seconds=0.05))
    assert (caught.value.kind, caught.value.expert) == ("timeout", "tested")
    assert time.monotonic() - began < 2


@every_backend
async def test_it_can_be_cancelled(make: Maker, around: Around):
    task = asyncio.create_task(make(around, True).answer(chat(QUESTION)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@every_backend
async def test_a_stream_can_be_closed_early(make: Maker, around: Around):
    answer = await make(around, False).answer(chat(QUESTION, stream=True))
    await anext(stream_of(answer))
    await answer.aclose()
    assert [block async for block in stream_of(answer)] == []


@every_backend
async def test_a_stream_can_be_closed_unread(make: Maker, around: Around):
    answer = await make(around, False).answer(chat(QUESTION, stream=True))
    await answer.aclose()
    assert [block async for block in stream_of(answer)] == []


@every_backend
async def test_it_answers_many_at_once(make: Maker, around: Around):
    expert = make(around, False)
    answers = await asyncio.gather(*(expert.answer(chat(QUESTION)) for _ in range(20)))
    assert [text_of(answer) for answer in answers] == [QUESTION] * 20


@every_backend
async def test_its_parameter_map_may_refuse_a_parameter(make: Maker, around: Around):
    expert = make(around, False, parameters={"reject": ["logit_bias"]})
    with pytest.raises(ExpertRejected, match="logit_bias is not supported by tested"):
        await expert.answer(chat(QUESTION, logit_bias={"1": 1}))


def test_every_backend_of_the_config_is_listed():
    names = {spec.model_fields["backend"].annotation.__args__[0] for spec in EXPERT_SPECS}  # type: ignore[union-attr]
    assert names == set(BACKENDS)


def test_an_unknown_backend_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"'ecko' is no backend; expected one of openai, .*echo"):
        backend("ecko")
