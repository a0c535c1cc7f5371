"""Servers put to sleep and woken over real HTTP, in processes that were launched by the real backend and engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.engines.base import Launchable
from orchestrator.engines.local import LocalEngine
from orchestrator.engines.process import ServerProcess
from orchestrator.errors import ExpertError
from tests.support.sleepers import WEIGHTS_MB, notes, sleepy_launch

CANARY = "/v1/completions"


@pytest.fixture
async def engine() -> AsyncIterator[LocalEngine]:
    engine = LocalEngine(stop_grace_s=2)
    yield engine
    await engine.close()


async def asleep(engine: LocalEngine, launch: Launchable) -> ServerProcess:
    server = await engine.launch("qwen", launch)
    await server.sleep()
    return server


async def test_level_1_is_woken_at_once(engine: LocalEngine, tmp_path: Path) -> None:
    server = await asleep(engine, sleepy_launch(tmp_path))
    await server.wake()
    assert notes(tmp_path) == [CANARY, "/sleep?level=1", "/wake_up", "/reset_prefix_cache", CANARY]


async def test_level_2_reads_the_weights_again_before_the_kv_cache_is_woken(
    engine: LocalEngine, tmp_path: Path
) -> None:
    server = await asleep(engine, sleepy_launch(tmp_path, level=2))
    await server.wake()
    assert notes(tmp_path) == [
        *(CANARY, "/sleep?level=2", "/wake_up?tags=weights", "/collective_rpc reload_weights"),
        *("/wake_up?tags=kv_cache", "/reset_prefix_cache", CANARY),
    ]


async def test_what_sleeps_has_given_its_memory_back_and_lives(engine: LocalEngine, tmp_path: Path) -> None:
    server = await engine.launch("qwen", sleepy_launch(tmp_path))
    awake_bytes = server.memory_bytes()
    await server.sleep()
    assert server.memory_bytes() < awake_bytes - 0.9 * (WEIGHTS_MB << 20)
    assert not server.exited.done()


async def test_it_sleeps_and_wakes_many_times(engine: LocalEngine, tmp_path: Path) -> None:
    server = await engine.launch("qwen", sleepy_launch(tmp_path, level=2))
    for _ in range(3):
        await server.sleep()
        await server.wake()
    assert notes(tmp_path).count(CANARY) == 4


async def test_what_an_answer_holds_beside_what_is_asked_for_is_no_difference(
    engine: LocalEngine, tmp_path: Path
) -> None:
    server = await asleep(engine, sleepy_launch(tmp_path, fault="says_more", timeouts={"load_s": 5}))
    await server.wake()


@pytest.mark.parametrize("level", [1, 2])
async def test_noise_after_waking_is_noticed(engine: LocalEngine, tmp_path: Path, level: int) -> None:
    server = await asleep(engine, sleepy_launch(tmp_path, level=level, fault="wakes_wrong"))
    with pytest.raises(ExpertError, match=r"woke up wrong: it says '!!!!!!' where it said ' 13 14 15'") as caught:
        await server.wake()
    assert (caught.value.expert, caught.value.kind) == ("qwen", "not_loaded")


async def test_death_while_waking_is_noticed_at_once(engine: LocalEngine, tmp_path: Path) -> None:
    server = await asleep(engine, sleepy_launch(tmp_path, fault="dies_waking"))
    with pytest.raises(ExpertError, match="answered nothing to /wake_up"):
        await server.wake()
    assert await server.exited == 9


async def test_death_asleep_is_known_without_asking(engine: LocalEngine, tmp_path: Path) -> None:
    server = await asleep(engine, sleepy_launch(tmp_path))
    await server.kill()
    with pytest.raises(ExpertError, match="answered nothing to /wake_up"):
        await server.wake()


async def test_a_server_that_refuses_to_sleep_says_so(engine: LocalEngine, tmp_path: Path) -> None:
    with pytest.raises(ExpertError, match="answered 500 to /sleep"):
        await asleep(engine, sleepy_launch(tmp_path, fault="refuses_sleep"))


async def test_a_server_that_stays_awake_is_given_up_after_its_time(engine: LocalEngine, tmp_path: Path) -> None:
    launch = sleepy_launch(tmp_path, fault="stays_awake", timeouts={"load_s": 1})
    with pytest.raises(ExpertError, match="did not fall asleep within 1 s"):
        await asleep(engine, launch)


async def test_a_server_that_says_nothing_at_first_is_not_ready(engine: LocalEngine, tmp_path: Path) -> None:
    with pytest.raises(ExpertError, match="has nothing to say"):
        await engine.launch("qwen", sleepy_launch(tmp_path, fault="starts_mute"))
