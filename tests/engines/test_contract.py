"""What every engine does, whether its servers run below this process or on a node of a Ray cluster.

What of it is Ray's alone, and the rest in short, is in `test_ray.py`.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil
import pytest
import pytest_asyncio

from orchestrator.engines.base import Engine, Launchable
from orchestrator.engines.local import LocalEngine
from orchestrator.engines.ray.cluster import ClusterNode
from orchestrator.engines.ray.engine import RayEngine
from orchestrator.errors import ConfigError, ExpertError
from orchestrator.experts.base import Resources, ServerCommand
from tests.support.launching import Fixed
from tests.support.pagecache import drop, until_cached
from tests.support.rays import all_gone, one_node
from tests.support.servers import command, dies_when, server
from tests.support.sleepers import WEIGHTS_MB, sleepy_launch

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENGINES = ["local", pytest.param("ray", marks=pytest.mark.slow)]
GRANDCHILD = """
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)
open(sys.argv[-1], "w").write(str(child.pid))
"""


@pytest.fixture(scope="module")
def node() -> Iterator[ClusterNode]:
    with one_node() as node:
        yield node


async def open_engine(kind: str, request: pytest.FixtureRequest) -> Engine:
    if kind == "local":
        return LocalEngine()
    engine = RayEngine(request.getfixturevalue("node"), host="127.0.0.1")
    await engine.start()
    return engine


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ENGINES)
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    engine = await open_engine(request.param, request)
    yield engine
    await engine.close()


async def ask(url: str, token: str) -> tuple[int, dict[str, object]]:
    async with aiohttp.ClientSession() as http, http.get(url, headers={"Authorization": f"Bearer {token}"}) as response:
        return response.status, await response.json(content_type=None)


def pid_in(file: Path) -> psutil.Process:
    return psutil.Process(int(file.read_text()))


async def failure(engine: Engine, launch: Launchable) -> ExpertError:
    with pytest.raises(ExpertError) as caught:
        await engine.launch("expert", launch)
    assert caught.value.kind == "not_loaded"
    assert caught.value.expert == "expert"
    return caught.value


async def test_launch_returns_a_server_that_answers_at_its_endpoint_by_its_token(engine: Engine) -> None:
    first, second = await asyncio.gather(engine.launch("a", server()), engine.launch("b", server()))
    assert (await ask(first.endpoint.base_url, first.endpoint.token))[0] == 200
    assert not first.exited.done()
    assert first.endpoint.base_url != second.endpoint.base_url
    assert (await ask(second.endpoint.base_url, first.endpoint.token))[0] == 401
    await asyncio.gather(first.stop(), second.stop())


async def test_its_command_is_filled_in_and_it_runs_where_that_says(engine: Engine, tmp_path: Path) -> None:
    running = await engine.launch("expert", server("", "--url=http://{host}:{port}/v1", cwd=tmp_path))
    _, told = await ask(running.endpoint.base_url, running.endpoint.token)
    assert f"--url={running.endpoint.base_url}" in told["argv"]  # type: ignore[operator]
    assert running.endpoint.token not in str(told["argv"])
    assert told["cwd"] == str(tmp_path)
    await running.stop()


async def test_stdin_is_written_and_closed(engine: Engine) -> None:
    text = "x" * 200_000
    running = await engine.launch("e", server(f"assert sys.stdin.read() == {'x'!r} * {len(text)}", stdin=text))
    await running.stop()


async def test_a_server_that_crashes_resolves_exited_and_is_launched_again(engine: Engine, tmp_path: Path) -> None:
    running = await engine.launch("expert", server(dies_when(tmp_path / "die")))
    (tmp_path / "die").touch()
    assert await asyncio.wait_for(running.exited, 5) == 128 + signal.SIGSEGV
    assert running.memory_bytes() == 0
    await (await engine.launch("expert", server())).stop()


async def test_exit_during_start_says_why_and_hides_token_keys_and_paths(engine: Engine) -> None:
    script = "import os, sys; print('bad', os.environ['T'], os.environ['K'], '/home/ann/x/model.gguf'); sys.exit(3)"
    error = await failure(engine, command(script, "{port}", env={"T": "{token}", "K": "sk-very-secret"}))
    assert "exited with code 3" in error.message
    assert "bad" in error.message
    for secret in ("sk-very-secret", "/home/ann"):
        assert secret not in error.message
    assert len(error.message.split()) < 25  # a token would stand where it now says that it is hidden


async def test_a_command_that_does_not_exist_is_named(engine: Engine) -> None:
    error = await failure(engine, Fixed(ServerCommand(argv=("no-such-program", "{port}"))))
    assert "can't start no-such-program: No such file or directory" in error.message


@dataclass(frozen=True)
class Unmakeable:
    resources: Resources

    def __call__(self) -> ServerCommand:
        raise ConfigError("model.gguf is not there yet")


async def test_a_command_that_can_not_be_made_is_told(engine: Engine) -> None:
    with pytest.raises(ConfigError, match=r"model\.gguf is not there yet"):
        await engine.launch("expert", Unmakeable(Resources()))


async def test_never_ready_is_stopped_after_its_time(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    script = f"import os, signal; open({str(file)!r}, 'w').write(str(os.getpid())); signal.pause()"
    error = await failure(engine, command(script, "{port}", timeout_s=1.0))
    assert "not ready after 1 s" in error.message
    assert not psutil.pid_exists(int(file.read_text()))


async def test_stop_returns_when_every_process_is_gone_and_may_be_called_twice(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    running = await engine.launch("expert", server(GRANDCHILD, str(file)))
    grandchild = pid_in(file)
    assert running.memory_bytes() > 10_000_000
    await asyncio.gather(running.stop(), running.stop())
    assert not grandchild.is_running()
    assert running.memory_bytes() == 0
    assert running.exited.result() == 128 + signal.SIGTERM
    await running.stop()


async def test_a_cancelled_launch_leaves_no_process(engine: Engine, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pid")
    script = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(1000)"
    launching = asyncio.create_task(engine.launch("expert", command(script, "{port}")))
    launched = await asyncio.to_thread(pid_in, tmp_path / "pid")
    launching.cancel()
    await asyncio.wait({launching})
    assert await all_gone([launched])


async def test_what_sleeps_gives_its_memory_back_and_comes_back(engine: Engine, tmp_path: Path) -> None:
    running = await engine.launch("qwen", sleepy_launch(tmp_path))
    awake_bytes = running.memory_bytes()
    await running.sleep()
    assert running.memory_bytes() < awake_bytes - 0.9 * (WEIGHTS_MB << 20)
    assert not running.exited.done()
    await running.wake()
    assert running.memory_bytes() > awake_bytes - 0.1 * (WEIGHTS_MB << 20)
    await running.stop()


async def test_noise_after_waking_is_told(engine: Engine, tmp_path: Path) -> None:
    running = await engine.launch("qwen", sleepy_launch(tmp_path, fault="wakes_wrong"))
    await running.sleep()
    with pytest.raises(ExpertError, match="woke up wrong: it says '!!!!!!'") as caught:
        await running.wake()
    assert (caught.value.expert, caught.value.kind) == ("qwen", "not_loaded")
    await running.stop()


async def test_weights_are_read_ahead(engine: Engine, tmp_path: Path) -> None:
    weights = tmp_path / "model.gguf"
    weights.write_bytes(os.urandom(1 << 22))
    if not drop(weights):
        pytest.skip("this file system keeps what it is told to forget")
    engine.read_ahead(Fixed(ServerCommand(argv=("serve",), files=(weights,))))
    assert await asyncio.to_thread(until_cached, [weights])


async def test_memory_available_is_the_machines(engine: Engine) -> None:
    assert 0 < engine.memory_available_bytes() <= psutil.virtual_memory().total


@pytest.mark.parametrize("kind", ENGINES)
async def test_close_stops_everything_at_once(kind: str, request: pytest.FixtureRequest) -> None:
    engine = await open_engine(kind, request)
    running = await asyncio.gather(*(engine.launch(f"expert-{i}", server()) for i in range(2)))
    await engine.close()
    assert all(each.exited.done() for each in running)
