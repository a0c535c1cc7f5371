"""A system prompt over another expert."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from orchestrator.errors import ExpertError, ExpertRejected
from orchestrator.experts.base import Expert
from orchestrator.types import Answer, Call, Endpoint, Usage
from tests.support.experts import body_of, chat, events_of, expert_of, services, spec_of, stream_of

USER = {"role": "user", "content": "Hi"}


class Recorder:
    """A base that keeps the calls it gets, and says or raises what it was given."""

    def __init__(self, says: Answer | ExpertError | None = None) -> None:
        self.calls: list[Call] = []
        self._says = says or Answer(body=b'{"model":"below","choices":[ {"x":1.50} ]}')

    async def answer(self, call: Call) -> Answer:
        self.calls.append(call)
        if isinstance(self._says, ExpertError):
            raise self._says
        return self._says


def persona(base: Expert) -> Expert:
    over = services(experts={"below": base})
    return expert_of(over, name="pirate", backend="persona", base="below", system="You are a pirate.")


@pytest.mark.parametrize(
    ("messages", "seen"),
    [
        ([USER], [{"role": "system", "content": "You are a pirate."}, USER]),
        (
            [{"role": "system", "content": "Be brief."}, USER],
            [{"role": "system", "content": "You are a pirate.\n\nBe brief."}, USER],
        ),
        (
            [{"role": "developer", "content": "Be brief."}, USER],
            [{"role": "developer", "content": "You are a pirate.\n\nBe brief."}, USER],
        ),
        (
            [{"role": "system", "content": [{"type": "text", "text": "Be brief."}]}, USER],
            [
                {
                    "role": "system",
                    "content": [{"type": "text", "text": "You are a pirate."}, {"type": "text", "text": "Be brief."}],
                },
                USER,
            ],
        ),
        ([{"role": "system", "content": ""}, USER], [{"role": "system", "content": "You are a pirate."}, USER]),
    ],
)
async def test_its_prompt_comes_first(messages: list[Any], seen: list[Any]):
    base = Recorder()
    call = chat(messages=messages, temperature=0.5)
    before = [*messages]
    await persona(base).answer(call)
    assert base.calls[0].body["messages"] == seen
    assert base.calls[0].body["temperature"] == 0.5
    assert call.body["messages"] == before


async def test_the_endpoint_of_the_lease_goes_to_the_base():
    base = Recorder()
    endpoint = Endpoint("http://127.0.0.1:1/v1", "token")
    await persona(base).answer(Call("chat", {"messages": [USER]}, chat().deadline, endpoint))
    assert base.calls[0].endpoint is endpoint


async def test_the_answer_carries_its_name_and_is_otherwise_untouched():
    answer = await persona(Recorder()).answer(chat())
    assert answer.body == b'{"model":"pirate","choices":[ {"x":1.50} ]}'


async def test_events_carry_its_name_and_the_usage_is_the_bases():
    async def events() -> AsyncGenerator[bytes, None]:
        yield b'data: {"model":"below","n":1}\n\ndata: {"model":"below","n":2}\n\n'
        usage.completion_tokens = 7
        yield b": keep-alive\n\n"
        yield b"data: [DONE]\n\n"

    usage = Usage()
    answer = await persona(Recorder(Answer(events=events(), usage=usage))).answer(chat(stream=True))
    blocks = [block async for block in stream_of(answer)]
    assert b"".join(blocks) == (
        b'data: {"model":"pirate","n":1}\n\ndata: {"model":"pirate","n":2}\n\n: keep-alive\n\ndata: [DONE]\n\n'
    )
    assert answer.usage.completion_tokens == 7


@pytest.mark.parametrize("num_read", [0, 1])
async def test_closing_it_closes_the_base(num_read: int):
    closed = []

    async def events() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b'data: {"model":"below"}\n\n'
        finally:
            closed.append(True)

    base_events = events()
    await anext(base_events)
    answer = await persona(Recorder(Answer(events=base_events))).answer(chat(stream=True))
    for _ in range(num_read):
        await anext(stream_of(answer))
    await answer.aclose()
    assert closed == [True]


async def test_a_stream_that_breaks_breaks_its_own():
    async def events() -> AsyncGenerator[bytes, None]:
        yield b'data: {"model":"below"}\n\n'
        raise ExpertError("below", "reset", "gone")

    answer = await persona(Recorder(Answer(events=events()))).answer(chat(stream=True))
    with pytest.raises(ExpertError, match="gone"):
        await events_of(answer)


async def test_the_time_is_kept_by_the_base():
    """`first_byte_s` of the persona once cut off its whole answer, while its base was told of the deadline only."""
    over = services(experts={"below": expert_of(name="below", backend="echo", latency_s=0.1)})
    hurried = {"timeouts": {"first_byte_s": 0.01}, "parameters": {"set": {"temperature": 0}}}
    pirate = expert_of(over, name="pirate", backend="persona", base="below", system="Arr.", **hurried)
    assert body_of(await pirate.answer(chat("Hi")))["model"] == "pirate"


async def test_the_bases_errors_count_as_its_own():
    rejection = ExpertRejected("below", "too long", status=400, code="context_length_exceeded", param=None)
    with pytest.raises(ExpertRejected, match="too long") as caught:
        await persona(Recorder(rejection)).answer(chat())
    assert caught.value.expert == "pirate"


async def test_it_follows_a_new_base():
    experts: dict[str, Expert] = {"below": Recorder()}
    pirate = expert_of(services(experts=experts), name="pirate", backend="persona", base="below", system="Arr.")
    experts["below"] = expert_of(name="below", backend="echo")
    assert body_of(await pirate.answer(chat("Hi")))["choices"][0]["message"]["content"] == "Hi"


def test_it_lives_where_its_base_lives():
    spec = spec_of(name="pirate", backend="persona", base="below", system="Arr.")
    assert (spec.host, spec.holds_weights) == ("below", False)
