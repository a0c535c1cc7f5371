"""Python callables as experts."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from orchestrator.errors import ConfigError, ExpertError, ExpertRejected
from orchestrator.experts.base import Expert
from tests.support import callables
from tests.support.experts import call_of, chat, expert_of, services, text_of


def function(name: str, **keys: object) -> Expert:
    return expert_of(name="f", backend="function", callable=f"tests.support.callables:{name}", **keys)


@pytest.mark.parametrize("name", ["repeat", "repeat_async"])
async def test_it_answers_with_what_the_callable_returns(name: str):
    assert text_of(await function(name).answer(chat("What?"))) == "What?"


async def test_the_shipped_calculator_is_one():
    expert = expert_of(name="calculator", backend="function", callable="orchestrator.experts.calculator:answer")
    assert text_of(await expert.answer(chat("What is 17 times 23?"))) == "391"


async def test_none_means_that_another_expert_may():
    with pytest.raises(ExpertRejected) as caught:
        await function("decline").answer(chat())
    assert (caught.value.code, caught.value.status) == ("not_applicable", 400)


@pytest.mark.parametrize("name", ["fail", "leave"])
async def test_whatever_it_raises_is_an_expert_error_that_tells_nothing(name: str):
    with pytest.raises(ExpertError) as caught:
        await function(name).answer(chat("my question"))
    assert (caught.value.kind, caught.value.expert) == ("server_error", "f")
    assert "my question" not in caught.value.message


async def test_something_else_than_text_is_malformed():
    with pytest.raises(ExpertError, match="returned a int") as caught:
        await function("count").answer(chat())
    assert caught.value.kind == "malformed"


async def test_a_plain_function_that_hangs_holds_up_nobody_else():
    callables.RELEASE.clear()
    try:
        with pytest.raises(ExpertError) as caught:
            await function("wait_for_release").answer(chat(seconds=0.05))
        assert caught.value.kind == "timeout"
        assert text_of(await function("repeat").answer(chat("still here"))) == "still here"
    finally:
        callables.RELEASE.set()


async def test_no_more_calls_run_at_once_than_its_limit():
    expert = function("thread_name", limits={"concurrency": 2})
    answers = await asyncio.gather(*(expert.answer(chat()) for _ in range(20)))
    assert len({text_of(answer) for answer in answers}) <= 2


async def test_it_takes_a_completions_prompt():
    with pytest.raises(ExpertRejected, match="token ids"):
        await function("repeat").answer(call_of("completion", prompt=[1, 2]))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_module_anywhere:answer", "No module named"),
        ("tests.support.callables:missing", "has no attribute 'missing'"),
        ("tests.support.callables:NOT_CALLABLE", "is a str; expected a function"),
    ],
)
def test_what_can_not_be_imported_is_a_config_error(path: str, message: str):
    with pytest.raises(ConfigError, match=message):
        expert_of(name="f", backend="function", callable=path)


async def test_modules_beside_the_yaml_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "beside_the_yaml.py").write_text("def shout(question):\n    return question.upper()\n")
    expert = expert_of(services(tmp_path), name="f", backend="function", callable="beside_the_yaml:shout")
    assert text_of(await expert.answer(chat("hey"))) == "HEY"
