import asyncio
import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest

from orchestrator.engines.local import LocalEngine
from orchestrator.engines.registry import make_engine
from orchestrator.errors import ConfigError, ExpertError
from tests.support.launching import Fixed
from tests.support.servers import command, dies_when, server

GONE_WITHIN_S = 10
FD_SETSIZE = 1024
WAIT_FOREVER = "signal.pause()"
GRANDCHILD = """
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)
open(sys.argv[-1], "w").write(str(child.pid))
"""


@pytest.fixture
async def engine() -> AsyncIterator[LocalEngine]:
    engine = LocalEngine(stop_grace_s=5)
    yield engine
    await engine.close()


async def ask(url: str, token: str) -> tuple[int, dict[str, object]]:
    async with aiohttp.ClientSession() as http, http.get(url, headers={"Authorization": f"Bearer {token}"}) as response:
        return response.status, await response.json(content_type=None)


def pid_in(file: Path) -> psutil.Process:
    return psutil.Process(int(file.read_text()))


def gone(process: psutil.Process) -> bool:
    """Whether it is gone, soon."""
    try:
        process.wait(timeout=GONE_WITHIN_S)
    except psutil.TimeoutExpired:
        return False
    return True


async def failure(engine: LocalEngine, launched: Fixed) -> ExpertError:
    with pytest.raises(ExpertError) as caught:
        await engine.launch("expert", launched)
    assert caught.value.kind == "not_loaded"
    assert caught.value.expert == "expert"
    return caught.value


async def test_the_environment_is_passed_on_without_the_gateways_keys(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    for name in ("SWITCHYARD_API_KEYS", "SWITCHYARD_API_KEY", "PROVIDER_KEY", "HUB_TOKEN", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, "sk-secret")
    monkeypatch.setenv("ITS_KEY", "sk-needed")
    withheld = frozenset({"PROVIDER_KEY", "HUB_TOKEN", "ITS_KEY"})
    env = {"TOKEN": "{token}", "HUB_TOKEN": "its own", "ITS_KEY": "{inherit}", "NOWHERE": "{inherit}"}
    running = await engine.launch("expert", server(not_inherited=withheld, env=env))
    _, told = await ask(running.endpoint.base_url, running.endpoint.token)
    env = told["env"]
    assert isinstance(env, dict)
    assert env["CUDA_VISIBLE_DEVICES"] == "3"
    assert env["PYTHONSAFEPATH"] == "1"
    assert "sk-secret" not in env.values()
    assert (env["HUB_TOKEN"], env["ITS_KEY"], "NOWHERE" in env) == ("its own", "sk-needed", False)


async def test_a_server_runs_in_an_empty_folder_or_where_its_command_says(engine: LocalEngine, tmp_path: Path) -> None:
    anywhere, there = await engine.launch("a", server()), await engine.launch("b", server(cwd=tmp_path))
    _, told = await ask(anywhere.endpoint.base_url, anywhere.endpoint.token)
    assert os.listdir(str(told["cwd"])) == []  # noqa: PTH208 - pathlib would block here, says ASYNC240
    _, told = await ask(there.endpoint.base_url, there.endpoint.token)
    assert told["cwd"] == str(tmp_path)


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 2 * FD_SETSIZE, reason="so few files may be open here"
)
async def test_servers_are_launched_beside_a_thousand_connections(engine: LocalEngine) -> None:
    with contextlib.ExitStack() as opened:
        for _ in range(FD_SETSIZE):
            opened.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        launched = await engine.launch("expert", server())

    assert (await ask(launched.endpoint.base_url + "/models", launched.endpoint.token))[0] == 200


async def test_a_server_that_crashes_resolves_exited(
    engine: LocalEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = await engine.launch("expert", server(dies_when(tmp_path / "die")))
    (tmp_path / "die").touch()
    assert await asyncio.wait_for(running.exited, 5) == 128 + signal.SIGSEGV
    assert running.memory_bytes() == 0
    assert "exited with code 139" in caplog.text


async def test_llama_cpps_timestamps_are_not_taken_for_addresses(engine: LocalEngine) -> None:
    script = "print('0.00.322.734 E no such model\\n12.07.022.104 E at 10.1.2.3'); exit(3)"
    error = await failure(engine, command(script, "{port}"))
    assert error.message.endswith("its last output: E no such model\nE at [address]")


async def test_a_health_check_that_nobody_answers_is_asked_again() -> None:
    engine = LocalEngine(health_s=0.3)
    running = await engine.launch(
        "expert", server("ignored = HTTPServer((sys.argv[1], int(sys.argv[2])), Handler).socket.accept()")
    )
    assert not running.exited.done()
    await engine.close()


async def test_an_unhealthy_answer_is_told(engine: LocalEngine) -> None:
    error = await failure(engine, server(env={}, timeout_s=3.0))
    assert "its health check answered 401" in error.message


async def test_a_canary_that_fails_is_not_ready(engine: LocalEngine) -> None:
    error = await failure(engine, server(canary=("/v1/chat/completions", {"messages": []})))
    assert "answered 500 to a first request" in error.message


async def test_a_talkative_server_is_not_held_up(engine: LocalEngine) -> None:
    running = await engine.launch("expert", server("print('line\\n' * 200_000)\nprint('the end')"))
    assert running.last_output().endswith("the end")
    assert len(running.last_output()) < 8192


async def test_a_server_that_ignores_sigterm_is_killed() -> None:
    engine = LocalEngine(stop_grace_s=0.3)
    running = await engine.launch("expert", server("signal.signal(signal.SIGTERM, signal.SIG_IGN)"))
    await running.stop()
    assert running.exited.result() == 128 + signal.SIGKILL
    await engine.close()


async def test_what_a_dead_server_left_behind_is_killed(engine: LocalEngine, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    await failure(engine, command("import subprocess, sys\n" + GRANDCHILD, "{port}", str(file)))
    assert not psutil.pid_exists(int(file.read_text()))


async def test_another_port_is_tried_when_the_first_was_taken_meanwhile(engine: LocalEngine) -> None:
    """The server tells its first port to the test, which takes it before the server can."""
    taken: list[socket.socket] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told = int(await reader.readline())
        if not taken:
            taken.append(socket.create_server(("127.0.0.1", told)))
        writer.close()

    control = await asyncio.start_server(take, "127.0.0.1", 0)
    port = control.sockets[0].getsockname()[1]
    tell = f"""
import socket
with socket.create_connection(("127.0.0.1", {port})) as told:
    told.sendall(sys.argv[2].encode() + b"\\n")
    told.recv(1)
HTTPServer.allow_reuse_address = False
"""
    running = await engine.launch("expert", server(tell))
    assert running.port != taken[0].getsockname()[1]
    taken[0].close()
    control.close()


def test_sigkill_of_the_gateway_leaves_no_child(tmp_path: Path) -> None:
    gateway = f"""
import asyncio
from orchestrator.engines.local import LocalEngine
from tests.support.servers import server
async def main():
    await LocalEngine().launch("expert", server({GRANDCHILD!r}, {str(tmp_path / "pid")!r}))
    print("ready", flush=True)
    await asyncio.sleep(1000)
asyncio.run(main())
"""
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", gateway],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root, "TMPDIR": str(tmp_path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    below = psutil.Process(process.pid).children(recursive=True)
    grandchild = pid_in(tmp_path / "pid")
    assert grandchild in below
    process.kill()
    process.communicate()
    assert all(gone(child) for child in below)


def test_an_unknown_engine_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'cluster' is no engine; expected one of local"):
        make_engine("cluster")
