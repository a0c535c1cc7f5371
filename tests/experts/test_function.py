"""Python callables as experts."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
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


@pytest.mark.parametrize("name", ["fail", "leave", "run_out", "lose_a_task"])
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


async def test_a_function_has_until_the_deadline():
    expert = function("wait_for_release", timeouts={"first_byte_s": 0.01})
    callables.RELEASE.clear()
    asyncio.get_running_loop().call_later(0.1, callables.RELEASE.set)
    assert text_of(await expert.answer(chat("What?"))) == "What?"


async def test_a_call_that_was_given_up_in_the_queue_is_not_made():
    expert = function("note", limits={"concurrency": 1})
    callables.RELEASE.clear()
    running = asyncio.create_task(expert.answer(chat("first")))
    await asyncio.sleep(0)  # until it has its thread
    try:
        with pytest.raises(ExpertError):
            await expert.answer(chat("given up", seconds=0.05))
    finally:
        callables.RELEASE.set()
    await running
    await expert.answer(chat("last"))
    assert callables.NOTED == ["first", "last"]


async def test_its_threads_end_with_it():
    expert = expert_of(name="short-lived", backend="function", callable="tests.support.callables:thread_name")
    name = text_of(await expert.answer(chat()))
    [thread] = [thread for thread in threading.enumerate() if thread.name == name]
    del expert
    gc.collect()
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()


def test_a_function_that_hangs_does_not_keep_the_interpreter_from_ending():
    script = """
import asyncio
from tests.support.experts import chat, expert_of
async def main():
    expert = expert_of(name="f", backend="function", callable="tests.support.callables:wait_for_release")
    await expert.answer(chat(seconds=0.1))
asyncio.run(main())
"""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=15, check=False
    )
    assert "f did not answer in time" in done.stderr


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


# Many questions in one call

BATCH = {"batch": {"max_items": 4}}


async def asked_while_busy(expert: Expert, *questions: str) -> list[object]:
    """What they are answered that come while the expert is busy with "first", errors included."""
    callables.BATCHES.clear()
    callables.RELEASE.clear()
    first = asyncio.create_task(expert.answer(chat("first")))
    while not callables.BATCHES:  # noqa: ASYNC110 (a thread appends to it)
        await asyncio.sleep(0.001)
    rest = asyncio.gather(*(expert.answer(chat(question)) for question in questions), return_exceptions=True)
    await asyncio.sleep(0)  # until they wait
    callables.RELEASE.set()
    assert text_of(await first) == "FIRST"
    return [answer if isinstance(answer, BaseException) else text_of(answer) for answer in await rest]


@pytest.mark.parametrize("name", ["answer_all", "answer_all_async"])
async def test_what_comes_while_a_call_is_under_way_is_answered_by_the_next(name: str):
    expert = function(name, **BATCH)
    assert await asked_while_busy(expert, *"abcdef") == [*"ABCDEF"]
    assert [["first"], [*"abcd"], [*"ef"]] == callables.BATCHES


async def test_none_in_a_batch_is_for_another_expert():
    a, other, b = await asked_while_busy(function("answer_all", **BATCH), "a", "other", "b")
    assert (a, b) == ("A", "B")
    assert isinstance(other, ExpertRejected)
    assert other.code == "not_applicable"


async def test_a_question_that_fails_a_batch_fails_alone():
    a, poison, b = await asked_while_busy(function("answer_all", **BATCH), "a", "poison", "b")
    assert (a, b) == ("A", "B")
    assert isinstance(poison, ExpertError)
    assert (poison.kind, poison.message) == ("server_error", "f raised ValueError")


async def test_the_wrong_number_of_answers_is_malformed_for_whom_it_is_wrong():
    expert = function("answer_known", **BATCH)
    known, unknown = await asyncio.gather(
        *(expert.answer(chat(question)) for question in ("known", "unknown")), return_exceptions=True
    )
    assert text_of(known) == "known"
    assert isinstance(unknown, ExpertError)
    assert unknown.kind == "malformed"
    assert unknown.message == "f returned 0 answers; expected a list of 1, one answer for each question"


async def test_an_answer_that_is_no_list_is_malformed():
    with pytest.raises(ExpertError, match="returned a int; expected a list of 1") as caught:
        await function("count", **BATCH).answer(chat())
    assert caught.value.kind == "malformed"


async def test_who_leaves_a_batch_costs_the_others_nothing():
    expert = function("answer_all", **BATCH)
    callables.BATCHES.clear()
    callables.RELEASE.clear()
    leaving = asyncio.create_task(expert.answer(chat("leaves", seconds=0.5)))
    staying = [asyncio.create_task(expert.answer(chat(question))) for question in "ab"]
    with pytest.raises(ExpertError, match="in time"):
        await leaving
    callables.RELEASE.set()
    assert [text_of(answer) for answer in await asyncio.gather(*staying)] == [*"AB"]
    assert callables.BATCHES == [["leaves", "a", "b"]]


async def test_a_batch_that_hangs_holds_up_those_that_come_later_no_longer_than_somebody_waits_for_it():
    expert = function("never_all", **BATCH)
    callables.BATCHES.clear()
    hanging = [asyncio.create_task(expert.answer(chat("hang", seconds=seconds))) for seconds in (0.5, 0.6)]
    while not callables.BATCHES:  # noqa: ASYNC110 (nothing else would tell)
        await asyncio.sleep(0)
    assert text_of(await expert.answer(chat("go"))) == "go"
    errors = await asyncio.gather(*hanging, return_exceptions=True)
    assert [str(error) for error in errors] == ["f did not answer in time"] * 2
