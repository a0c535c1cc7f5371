"""A mixture of prompts over another expert."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.config import INSTRUCTION_TOKENS, PromptsSpec
from orchestrator.errors import ConfigError, ExpertError
from orchestrator.experts.base import Expert
from orchestrator.experts.render import text_answer
from orchestrator.mixtures.artifact import Region, save_mixture
from orchestrator.routing.pricing import most_usd
from orchestrator.types import Answer, Call, Usage
from routers.base import Encoder
from routers.encoders import HashedEncoder
from tests.support.experts import chat, expert_of, services, spec_of, text_of
from tests.support.mixtures import mixture, saved_mixture
from tests.support.queries import chat_query


class Recorder:
    """A base that keeps what it is told and says "Quito"."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    async def answer(self, call: Call) -> Answer:
        self.messages = call.body["messages"]
        return text_answer(call, "below", "Quito", Usage(7, 4))


def mixed(folder: Path, base: Expert, encoders: tuple[Encoder, ...] = (), **keys: Any) -> Expert:
    """A mixture whose base is an `echo` to the configuration, with the context that is given for it."""
    over = services(folder, experts={"below": base}, encoders=encoders)
    return expert_of(over, name="mixed", backend="prompts", base="below", artifact="mix", **keys)


async def test_a_query_is_asked_with_its_regions_instruction_and_demonstrations(tmp_path: Path):
    saved_mixture(tmp_path / "mix")
    base = Recorder()
    answer = await mixed(tmp_path, base, demonstrations=1).answer(chat("Name the capital city of Japan!"))
    assert base.messages == [
        {"role": "system", "content": "Reply with the city alone."},
        {"role": "user", "content": "Name the capital city of Japan"},
        {"role": "assistant", "content": "Tokyo"},
        {"role": "user", "content": "Name the capital city of Japan!"},
    ]
    assert (text_of(answer), answer.usage) == ("Quito", Usage(7, 4))


async def test_the_last_user_turn_decides_and_the_conversation_follows(tmp_path: Path):
    saved_mixture(tmp_path / "mix")
    base = Recorder()
    turns = [("user", "What is 2 + 2?"), ("assistant", "4"), ("user", "Name the capital city of Chile")]
    messages = [{"role": role, "content": content} for role, content in turns]
    await mixed(tmp_path, base, demonstrations=0).answer(chat(messages=messages))
    assert base.messages == [{"role": "system", "content": "Reply with the city alone."}, *messages]


@pytest.mark.parametrize(("context", "shown"), [(2000, 4), (560, 2), (500, 0), (None, 4)])
async def test_the_bases_context_holds_the_answer_too(tmp_path: Path, context: int | None, shown: int):
    """Of 500 tokens, 460 are the answer's and 16 the query's."""
    saved_mixture(tmp_path / "mix")
    base = Recorder()
    expert = mixed(tmp_path, base, context=context)
    await expert.answer(chat("Name the capital city of Japan", max_tokens=460))
    assert len(base.messages) == 2 + 2 * shown


async def test_demonstrations_stay_within_their_own_limit(tmp_path: Path):
    saved_mixture(tmp_path / "mix")
    base = Recorder()
    await mixed(tmp_path, base, prompt_tokens=INSTRUCTION_TOKENS, demonstrations=100).answer(chat("What is 2 + 7?"))
    assert len(base.messages) == 2 + 2 * 6


@pytest.mark.parametrize(
    ("path", "reason"),
    [("nowhere", "config.json: can't be read"), ("mix", r"'centres' has the shape \(2, 256\), expected \(2, 64\)")],
)
def test_an_artifact_that_can_not_be_used_is_an_error_that_names_the_expert(tmp_path: Path, path: str, reason: str):
    regions = [Region(text, 1) for text in mixture().instructions]
    save_mixture(tmp_path / "mix", mixture(), encoder=HashedEncoder(64).fingerprint, regions=regions)
    over = services(tmp_path, experts={})
    with pytest.raises(ConfigError, match=rf"experts\.mixed: .*{reason}"):
        expert_of(over, name="mixed", backend="prompts", base="below", artifact=path)


class Failing:
    """An encoder that reads one text, and then no more."""

    fingerprint = "onnx-0123456789abcdef-128"
    dimensions = 256

    def __init__(self) -> None:
        self.left = 1

    def encode(self, texts: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise ConnectionError("gone")
        return np.zeros((len(texts), 256), np.float32)


async def test_a_query_that_can_not_be_read_is_another_experts(tmp_path: Path):
    encoder = Failing()
    regions = [Region(text, 1) for text in mixture().instructions]
    save_mixture(tmp_path / "mix", mixture(), encoder=encoder.fingerprint, regions=regions)
    expert = mixed(tmp_path, Recorder(), encoders=(encoder,))
    with pytest.raises(ExpertError, match=r"mixed can't read the query \(ConnectionError\)") as caught:
        await expert.answer(chat("Hi"))
    assert caught.value.kind == "server_error"


def test_it_lives_where_its_base_lives_and_is_priced_with_its_demonstrations():
    spec = spec_of(name="m", backend="prompts", base="below", artifact="mix", price={"input": 1e6}, prompt_tokens=500)
    assert (spec.host, spec.holds_weights) == ("below", False)
    assert most_usd(spec, chat_query(prompt_tokens=10)) == 510
    assert isinstance(spec, PromptsSpec)
