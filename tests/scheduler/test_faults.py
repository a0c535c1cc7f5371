"""Experts that fail, in processes of their own behind a real gateway: every request ends once, and nothing stays behind.

After each fault the scheduler is at rest (`Machine.at_rest`: no leases, nobody waits, memory and processes as they say), and
the next request is answered.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.faulty import error, expert, faulty, text

NOT_LOADED = (502, "all_experts_failed", "every expert that could serve this failed (a: not_loaded)")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("never_ready", "its server was not ready after 2 s (its health check answered 503)"), ("dies_loading", "exited with code 1 while starting; its last output: the weights are damaged")],
)
async def test_a_load_that_fails_is_the_answer_of_all_who_wait_and_the_next_one_may_succeed(
    tmp_path: Path, fault: str, reason: str
) -> None:
    async with faulty(tmp_path, expert("a", timeouts={"load_s": 2})) as machine:
        machine.tell("a", fault)
        assert [error(answer) for answer in await asyncio.gather(machine.ask("a"), machine.ask("a"))] == [NOT_LOADED] * 2
        assert await machine.at_rest() == {"a": "cold"}
        assert reason in (machine.status("a").last_error or "")
        machine.tell("a")
        assert text(await machine.ask("a")) == "Hello"
        assert await machine.at_rest() == {"a": "ready"}
    assert machine.launches("a") == 2


async def test_whoever_may_go_elsewhere_is_answered_there_when_a_load_fails(tmp_path: Path) -> None:
    async with faulty(tmp_path, expert("a"), expert("b")) as machine:
        machine.tell("a", "dies_loading")
        answer = await machine.ask("auto")
        assert (text(answer), answer.headers["x-switchyard-expert"]) == ("Hello", "b")
        assert await machine.at_rest() == {"a": "cold", "b": "ready"}


async def test_a_death_before_the_answer_is_mended_by_another_launch(tmp_path: Path) -> None:
    async with faulty(tmp_path, expert("a")) as machine:
        machine.tell("a", "hangs")
        asking = [asyncio.create_task(machine.ask("a", text)) for text in ("first", "second")]
        await machine.until(lambda: machine.asked("a") == ["first"])
        machine.tell("a")
        machine.servers("a")[0].kill()
        assert [text(answer) for answer in await asyncio.gather(*asking)] == ["first", "second"]
        assert await machine.at_rest() == {"a": "ready"}
    assert sorted(machine.asked("a")) == ["first", "first", "second"]
    assert machine.launches("a") == 2


async def test_one_that_dies_at_every_request_is_given_up_and_may_recover(tmp_path: Path) -> None:
    async with faulty(tmp_path, expert("a"), gateway={"request_timeout_s": 5}) as machine:
        machine.tell("a", "dies_answering")
        status, code, _ = error(await machine.ask("a"))
        assert (status, code) in [(502, "all_experts_failed"), (504, "deadline_exceeded")]
        assert await machine.at_rest() == {"a": "cold"}
        machine.tell("a")
        assert text(await machine.ask("a")) == "Hello"
        assert await machine.at_rest() == {"a": "ready"}


async def test_a_death_amid_a_stream_ends_it_with_one_error_and_serves_who_waits(tmp_path: Path) -> None:
    async with faulty(tmp_path, expert("a")) as machine:
        machine.tell("a", "dies_streaming")
        answer = await machine.ask("a", stream=True)
        assert answer.text.count("event: error") == 1
        assert "[DONE]" not in answer.text
        machine.tell("a")
        assert text(await machine.ask("a")) == "Hello"
        assert await machine.at_rest() == {"a": "ready"}
    assert machine.asked("a") == ["Hello", "Hello"]


async def test_a_server_larger_than_declared_is_counted_as_it_is(tmp_path: Path) -> None:
    async with faulty(tmp_path, expert("a"), expert("b"), memory={"budget_gb": 0.15}) as machine:
        machine.tell("a", "takes 70")
        assert text(await machine.ask("b")) == "Hello"
        assert text(await machine.ask("a")) == "Hello"
        assert await machine.at_rest() == {"a": "ready", "b": "cold"}
        assert 0.07e9 < machine.status("a").memory_bytes < 0.15e9
        assert text(await machine.ask("b")) == "Hello"
        assert await machine.at_rest() == {"a": "cold", "b": "ready"}


async def test_a_server_that_turns_out_larger_than_the_budget_is_ended_and_others_are_served(tmp_path: Path) -> None:
    async with faulty(tmp_path, expert("a"), expert("b"), memory={"budget_gb": 0.1}) as machine:
        machine.tell("a", "takes 120")
        assert error(await machine.ask("a")) == NOT_LOADED
        assert await machine.at_rest() == {"a": "cold", "b": "cold"}
        assert "the memory budget leaves at most 0.1 GB for it" in (machine.status("a").last_error or "")
        assert text(await machine.ask("b")) == "Hello"
        async with asyncio.timeout(2):
            assert error(await machine.ask("a")) == NOT_LOADED
    assert machine.launches("a") == 1


async def test_a_budget_too_small_for_any_expert_is_refused_and_the_old_fleet_stays(tmp_path: Path) -> None:
    async with faulty(tmp_path, expert("a"), expert("b")) as machine:
        assert text(await machine.ask("a")) == "Hello"
        refused = await machine.reload(expert("a"), expert("b"), memory={"budget_gb": 0.05})
        assert refused == "'a' needs 0.1 GB; the memory budget is 0.1 GB"
        assert text(await machine.ask("b")) == "Hello"
        assert await machine.at_rest() == {"a": "ready", "b": "ready"}


async def test_a_budget_too_small_for_any_expert_is_an_answer_when_sizes_were_not_declared(tmp_path: Path) -> None:
    unsized = [expert(name, residency={}) for name in "ab"]
    async with faulty(tmp_path, *unsized, memory={"budget_gb": 0.001}) as machine:
        status, code, _ = error(await machine.ask("auto"))
        assert (status, code) == (502, "all_experts_failed")
        assert await machine.at_rest() == {"a": "cold", "b": "cold"}
        assert await machine.reload(*unsized, memory={"budget_gb": 1}) is None
        assert text(await machine.ask("auto")) == "Hello"


async def test_a_reload_that_removes_a_busy_expert_lets_it_finish_and_refuses_who_waits_for_it(tmp_path: Path) -> None:
    async with faulty(tmp_path, expert("a"), expert("b")) as machine:
        machine.tell("a", "hangs")
        asking = asyncio.create_task(machine.ask("a", "first"))
        await machine.until(lambda: machine.asked("a") == ["first"])
        waiting = [asyncio.create_task(machine.ask(model, "second")) for model in ("a", "auto")]
        await machine.until(lambda: machine.status("a").waiting == 2)
        assert await machine.reload(expert("b")) is None
        refused, moved = await asyncio.gather(*waiting)
        assert error(refused) == (503, "no_capacity", "the experts that could have answered were removed")
        assert (text(moved), moved.headers["x-switchyard-expert"]) == ("second", "b")
        assert machine.servers("a")
        machine.go("a")
        assert text(await asking) == "first"
        await machine.until(lambda: not machine.servers("a"))
        assert await machine.at_rest() == {"b": "ready"}
        assert error(await machine.ask("a"))[:2] == (404, "model_not_found")


async def test_a_reload_that_removes_an_expert_amid_its_load_breaks_that_off(tmp_path: Path) -> None:
    async with faulty(tmp_path, expert("a"), expert("b")) as machine:
        machine.tell("a", "loads_slowly")
        asking = asyncio.create_task(machine.ask("a"))
        await machine.until(lambda: machine.launches("a") == 1)
        assert await machine.reload(expert("b")) is None
        assert error(await asking)[0] == 503
        await machine.until(lambda: not machine.servers("a"))
        assert text(await machine.ask("auto")) == "Hello"
        assert await machine.at_rest() == {"b": "ready"}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_goes_away_amid_a_load_is_forgotten_and_others_are_served(
    tmp_path: Path, stream: bool
) -> None:
    async with faulty(tmp_path, expert("a")) as machine:
        machine.tell("a", "loads_slowly")
        leaving = asyncio.create_task(machine.ask("a", "gone", stream=stream))
        await machine.until(lambda: machine.launches("a") == 1)
        staying = asyncio.create_task(machine.ask("a", "there"))
        await machine.until(lambda: machine.status("a").waiting == 2)
        leaving.cancel()
        await machine.until(lambda: machine.status("a").waiting == 1)
        machine.go("a")
        assert text(await staying) == "there"
        assert await machine.at_rest() == {"a": "ready"}
    assert machine.asked("a") == ["there"]
    assert machine.launches("a") == 1


async def test_what_the_last_client_left_behind_is_loaded_and_ready_for_the_next(tmp_path: Path) -> None:
    async with faulty(tmp_path, expert("a")) as machine:
        machine.tell("a", "loads_slowly")
        leaving = asyncio.create_task(machine.ask("a", "gone"))
        await machine.until(lambda: machine.launches("a") == 1)
        leaving.cancel()
        await machine.until(lambda: machine.status("a").waiting == 0)
        machine.go("a")
        assert await machine.at_rest() == {"a": "ready"}
        assert text(await machine.ask("a", "there")) == "there"
    assert machine.asked("a") == ["there"]
    assert machine.launches("a") == 1


async def test_the_end_of_the_service_amid_a_load_leaves_no_process(tmp_path: Path) -> None:
    async with faulty(tmp_path, expert("a")) as machine:
        machine.tell("a", "loads_slowly")
        asking = asyncio.create_task(machine.ask("a"))
        await machine.until(lambda: machine.launches("a") == 1)
        await machine.service.scheduler.close()
        assert error(await asking) == (503, "no_capacity", "the service is shutting down")
        assert await machine.at_rest() == {"a": "cold"}
