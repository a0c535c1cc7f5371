"""Recorded answers, given again."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from orchestrator.errors import ConfigError, ExpertError, ExpertRejected
from orchestrator.experts.base import Expert
from routers.base import Outcome
from routers.data.outcomes import write_outcomes
from tests.support.experts import chat, expert_of, services, text_of

OUTCOMES = [
    Outcome("What is 2 + 2?", {"small": 1.0, "large": 1.0}, answers={"small": "4", "large": "It is 4."}),
    Outcome("Who wrote Emma?", {"small": 0.0, "large": 1.0}, answers={"small": None, "large": "Jane Austen"}),
]


def replay(folder: Path, *, file: str = "recorded.jsonl", **keys: object) -> Expert:
    write_outcomes(folder / file, OUTCOMES)
    return expert_of(services(folder), **{"name": "small", "backend": "replay", "answers": file, **keys})


@pytest.mark.parametrize("file", ["recorded.jsonl", "recorded.jsonl.gz"])
async def test_it_says_what_was_recorded_under_its_name(tmp_path: Path, file: str):
    assert text_of(await replay(tmp_path, file=file).answer(chat("What is 2 + 2?"))) == "4"


async def test_it_says_what_was_recorded_in_its_column(tmp_path: Path):
    expert = replay(tmp_path, name="other", column="large")
    assert text_of(await expert.answer(chat("Who wrote Emma?"))) == "Jane Austen"


async def test_the_last_user_turn_is_what_counts(tmp_path: Path):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "user", "content": [{"type": "text", "text": "What is 2 + 2?"}]},
    ]
    assert text_of(await replay(tmp_path).answer(chat(messages=messages))) == "4"


async def test_a_query_that_was_recorded_as_messages_is_recognised(tmp_path: Path):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    row = {"query": messages, "rewards": {"small": 1.0}, "answers": {"small": "Hello"}}
    (tmp_path / "messages.jsonl").write_text(json.dumps(row))
    expert = expert_of(services(tmp_path), name="small", backend="replay", answers="messages.jsonl")
    assert text_of(await expert.answer(chat(messages=messages))) == "Hello"


async def test_an_unknown_question_is_another_experts(tmp_path: Path):
    with pytest.raises(ExpertRejected, match="no recorded answer") as caught:
        await replay(tmp_path).answer(chat("Unheard of"))
    assert caught.value.code == "not_applicable"


async def test_a_null_answer_fails_as_it_did(tmp_path: Path):
    with pytest.raises(ExpertError, match="no usable answer") as caught:
        await replay(tmp_path).answer(chat("Who wrote Emma?"))
    assert caught.value.kind == "malformed"


async def test_it_takes_as_long_as_it_is_told(tmp_path: Path):
    began = time.monotonic()
    await replay(tmp_path, latency_s=0.05).answer(chat("What is 2 + 2?"))
    assert time.monotonic() - began >= 0.05


def test_a_column_that_is_not_there_is_a_config_error(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"none of 'medium'; expected one of \['large', 'small'\]"):
        replay(tmp_path, column="medium")


@pytest.mark.parametrize("content", [None, "not json\n"])
def test_a_file_that_can_not_be_read_is_a_config_error(tmp_path: Path, content: str | None):
    if content is not None:
        (tmp_path / "bad.jsonl").write_text(content)
    with pytest.raises(ConfigError, match="can't be read"):
        expert_of(services(tmp_path), name="small", backend="replay", answers="bad.jsonl")
