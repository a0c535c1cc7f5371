"""Experts that fail, in processes of their own behind a real gateway: every request ends once, and nothing stays behind.

After each fault the scheduler comes to rest (`Machine.at_rest`: no leases, nobody waits, memory and processes as they say), and
the next request is answered.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.faulty import error, expert, faulty, text
from tests.support.sleepers import sleepy_expert

NOT_LOADED = (502, "all_experts_failed", "every expert that could serve this failed (a: not_loaded)")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("never_ready", "its server was not ready after 1 s (its health check answered "),
        ("dies_loading", "its server exited with code 1 while starting; its last output: the weights are damaged"),
    ],
    ids=["never_ready", "dies_loading"],
)
async def test_a_load_that_fails_is_the_answer_of_all_who_wait_until_an_edit_mends_it(
    tmp_path: Path, fault: str, reason: str
) -> None:
    async with faulty(tmp_path, expert("a", timeouts={"load_s": 1})) as machine:
        machine.tell("a", fault)
        answers = await asyncio.gather(machine.ask("a"), machine.ask("a"))
        assert [error(answer) for answer in answers] == [NOT_LOADED] * 2
        assert await machine.at_rest() == {"a": "cold"}
        assert machine.status("a").last_error.startswith(reason)
        machine.tell("a")
        assert await machine.reload(expert("a")) is None
        assert text(await machine.ask("a")) == "Hello"
        assert await machine.at_rest() == {"a": "ready"}


async def test_whoever_may_go_elsewhere_is_answered_there_and_the_next_load_may_succeed(tmp_path: Path) -> None:
    async with faulty(tmp_path, expert("a"), expert("b")) as machine:
        machine.tell("a", "dies_loading")
        answer = await machine.ask("auto")
        assert (text(answer), answer.headers["x-switchyard-expert"]) == ("Hello", "b")
        assert await machine.at_rest() == {"a": "cold", "b": "ready"}
        machine.tell("a")
        assert text(await machine.ask("a")) == "Hello"
        assert await machine.at_rest() == {"a": "ready", "b": "ready"}


async def test_a_death_before_the_answer_is_mended_by_another_launch_for_who_asked_and_who_waits(
    tmp_path: Path,
) -> None:
    async with faulty(tmp_path, expert("a")) as machine:
        machine.tell("a", "hangs")
        asking = [asyncio.create_task(machine.ask("a", said)) for said in ("first", "second")]
        await machine.until(lambda: len(machine.asked("a")) == machine.status("a").waiting == 1)
        machine.tell("a")
        machine.alive("a")[0].kill()
        assert [text(answer) for answer in await asyncio.gather(*asking)] == ["first", "second"]
        assert await machine.at_rest() == {"a": "ready"}
        assert machine.launches("a") == 2


async def test_one_that_dies_at_every_request_is_given_up_and_comes_back_when_it_is_mended(tmp_path: Path) -> None:
    async with faulty(tmp_path, expert("a"), gateway={"request_timeout_s": 2}) as machine:
        machine.tell("a", "dies_answering")
        assert error(await machine.ask("a"))[0] in {502, 504}
        await machine.at_rest()
        machine.tell("a")
        assert await machine.reload(expert("a")) is None
        assert text(await machine.ask("a")) == "Hello"
        assert await machine.at_rest() == {"a": "ready"}


async def test_a_death_amid_a_stream_ends_it_with_one_error(tmp_path: Path) -> None:
    async with faulty(tmp_path, expert("a")) as machine:
        machine.tell("a", "dies_streaming")
        answer = await machine.ask("a", stream=True)
        assert answer.text.count("event: error") == 1
        assert "[DONE]" not in answer.text
        machine.tell("a")
        assert text(await machine.ask("a")) == "Hello"
        assert await machine.at_rest() == {"a": "ready"}
        assert machine.asked("a") == ["Hello", "Hello"]


MEMORY_OF_SLEEPERS = {"budget_gb": 0.2, "asleep_gb": 0.1}


def sleeper(folder: Path, name: str, fault: str = "") -> dict[str, Any]:
    """One of two, of which one is awake at a time."""
    (folder / name).mkdir()
    residency = {"memory_gb": 0.15, "sleep": 2, "asleep_gb": 0.05}
    return sleepy_expert(folder / name, name, fault=fault, kind="completion", residency=residency)


async def completed(http: httpx.AsyncClient, model: str) -> str:
    answer = await http.post("/v1/completions", json={"model": model, "prompt": "12"}, timeout=30)
    said: str = answer.json()["choices"][0]["text"]
    return said


async def test_a_death_asleep_is_noticed_and_mended_by_another_launch(tmp_path: Path) -> None:
    experts = [sleeper(tmp_path, name) for name in "ab"]
    async with faulty(tmp_path, *experts, memory=MEMORY_OF_SLEEPERS) as machine:
        for name in "ab":
            assert await completed(machine.http, name) == " 13 14 15"
        assert await machine.at_rest() == {"a": "asleep", "b": "ready"}
        machine.alive("a")[0].kill()
        await machine.until(lambda: machine.status("a").state == "cold")
        assert await machine.at_rest() == {"a": "cold", "b": "ready"}
        assert await completed(machine.http, "a") == " 13 14 15"
        assert await machine.at_rest() == {"a": "ready", "b": "asleep"}


@pytest.mark.parametrize("fault", ["wakes_wrong", "dies_waking"])
async def test_who_wakes_one_up_that_is_not_well_is_answered_by_a_new_launch_and_sees_no_noise(
    tmp_path: Path, fault: str
) -> None:
    experts = [sleeper(tmp_path, "a", fault), sleeper(tmp_path, "b")]
    async with faulty(tmp_path, *experts, memory=MEMORY_OF_SLEEPERS) as machine:
        for name in "aba":
            assert await completed(machine.http, name) == " 13 14 15"
        assert await machine.at_rest() == {"a": "ready", "b": "asleep"}
        assert (machine.launches("a"), machine.launches("b")) == (2, 1)


async def test_a_server_larger_than_declared_is_counted_as_it_is(tmp_path: Path) -> None:
    async with faulty(tmp_path, expert("a"), expert("b"), memory={"budget_gb": 0.15}) as machine:
        machine.tell("a", "takes 90")
        for name in "ba":
            assert text(await machine.ask(name)) == "Hello"
        assert await machine.at_rest() == {"a": "ready", "b": "cold"}
        assert 0.09e9 < machine.status("a").memory_bytes < 0.15e9
        assert text(await machine.ask("b")) == "Hello"
        assert await machine.at_rest() == {"a": "cold", "b": "ready"}


async def test_a_server_larger_than_the_budget_is_ended_and_not_launched_again(tmp_path: Path) -> None:
    async with faulty(tmp_path, expert("a"), expert("b"), memory={"budget_gb": 0.1}) as machine:
        machine.tell("a", "takes 120")
        for _ in range(3):
            assert error(await machine.ask("a")) == NOT_LOADED
        assert await machine.at_rest() == {"a": "cold", "b": "cold"}
        assert machine.status("a").last_error.endswith("and the memory budget leaves at most 0.1 GB for it")
        assert machine.launches("a") == 1
        assert text(await machine.ask("b")) == "Hello"
        assert await machine.at_rest() == {"a": "cold", "b": "ready"}


async def test_a_budget_too_small_for_what_is_declared_is_refused_and_the_old_one_stays(tmp_path: Path) -> None:
    async with faulty(tmp_path, expert("a")) as machine:
        refused = await machine.reload(expert("a", residency={"memory_gb": 3}), memory={"budget_gb": 2})
        assert refused is not None
        assert refused.endswith("experts.yaml:1: experts[0].residency.memory_gb: got 3, and memory.budget_gb has 2")
        assert text(await machine.ask("a")) == "Hello"
        assert await machine.at_rest() == {"a": "ready"}


async def test_a_budget_too_small_for_anything_is_the_answer_where_nothing_was_declared(tmp_path: Path) -> None:
    unsized = [expert(name, residency={}) for name in "ab"]
    async with faulty(tmp_path, *unsized, memory={"budget_gb": 0.001}) as machine:
        status, code, message = error(await machine.ask("auto"))
        assert (status, code) == (502, "all_experts_failed")
        assert "a: not_loaded" in message
        assert "b: not_loaded" in message
        assert await machine.at_rest() == {"a": "cold", "b": "cold"}
        assert await machine.reload(*unsized, memory={"budget_gb": 1, "prefetch": False}) is None
        assert text(await machine.ask("a")) == "Hello"


async def test_a_busy_expert_that_is_removed_finishes_and_who_waits_for_it_goes_elsewhere_or_hears(
    tmp_path: Path,
) -> None:
    async with faulty(tmp_path, expert("a"), expert("b")) as machine:
        machine.tell("a", "hangs")
        asking = asyncio.create_task(machine.ask("a", "first", stream=True))
        await machine.until(lambda: machine.asked("a") == ["first"])
        waiting = [asyncio.create_task(machine.ask(model, "second")) for model in ("a", "auto")]
        await machine.until(lambda: machine.status("a").waiting == 2)
        assert await machine.reload(expert("b")) is None
        refused, moved = await asyncio.gather(*waiting)
        assert error(refused) == (503, "no_capacity", "the experts that could have answered were removed")
        assert (text(moved), moved.headers["x-switchyard-expert"]) == ("second", "b")
        assert machine.alive("a")
        machine.go("a")
        assert (await asking).text.endswith("data: [DONE]\n\n")
        await machine.until(lambda: not machine.alive("a"))
        assert await machine.at_rest() == {"b": "ready"}
        assert error(await machine.ask("a"))[:2] == (404, "model_not_found")


async def test_the_load_of_an_expert_that_is_removed_is_broken_off(tmp_path: Path) -> None:
    async with faulty(tmp_path, expert("a"), expert("b")) as machine:
        machine.tell("a", "loads_slowly")
        asking = asyncio.create_task(machine.ask("a"))
        await machine.until(lambda: machine.launches("a") == 1)
        assert await machine.reload(expert("b")) is None
        assert error(await asking)[0] == 503
        await machine.until(lambda: not machine.alive("a"))
        assert text(await machine.ask("auto")) == "Hello"
        assert await machine.at_rest() == {"b": "ready"}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_goes_away_amid_a_load_is_forgotten_and_the_load_serves_the_others(
    tmp_path: Path, stream: bool
) -> None:
    async with faulty(tmp_path, expert("a")) as machine:
        machine.tell("a", "loads_slowly")
        asking = [asyncio.create_task(machine.ask("a", said, stream=stream)) for said in ("gone", "there")]
        await machine.until(lambda: machine.status("a").waiting == 2)
        asking[0].cancel()
        await machine.until(lambda: machine.status("a").waiting == 1)
        machine.go("a")
        assert (await asking[1]).status_code == 200
        assert await machine.at_rest() == {"a": "ready"}
        assert (machine.asked("a"), machine.launches("a")) == (["there"], 1)


async def test_when_the_only_client_goes_away_the_load_ends_ready_for_the_next(tmp_path: Path) -> None:
    async with faulty(tmp_path, expert("a")) as machine:
        machine.tell("a", "loads_slowly")
        asking = asyncio.create_task(machine.ask("a", "gone"))
        await machine.until(lambda: machine.launches("a") == 1)
        asking.cancel()
        await machine.until(lambda: machine.status("a").waiting == 0)
        machine.go("a")
        assert await machine.at_rest() == {"a": "ready"}
        assert text(await machine.ask("a", "there")) == "there"
        assert (machine.asked("a"), machine.launches("a")) == (["there"], 1)


async def test_the_end_of_the_service_amid_a_load_is_an_answer_and_leaves_no_process(tmp_path: Path) -> None:
    async with faulty(tmp_path, expert("a"), expert("b")) as machine:
        assert text(await machine.ask("b")) == "Hello"
        machine.tell("a", "loads_slowly")
        asking = asyncio.create_task(machine.ask("a"))
        await machine.until(lambda: machine.launches("a") == 1)
        await machine.service.scheduler.close()
        assert error(await asking) == (503, "no_capacity", "the service is shutting down")
        assert await machine.at_rest() == {"a": "cold", "b": "cold"}
