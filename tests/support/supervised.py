"""Nodes of a Ray cluster as an operator runs them: `ray start --block`, started again whenever it has ended.

with kept_up("--head", "--port=6400") as heads:             # every process that was it, the last one runs
    with kept_up("--address=10.0.0.1:6400", inside=machine.inside) as nodes:       # in a namespace (`namespaces.py`)
        ...
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

COMMAND = (sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats")
SMALL = ("--num-cpus=1", "--object-store-memory=80000000")
START_S = 60.0
QUICK = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
PORTS = ("RAY_SERVE_HAPROXY_STATS_PORT", "RAY_SERVE_HAPROXY_METRICS_PORT", "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT")
"""That the service has on every machine beside its own: another cluster's may be here."""


def free_port(host: str = "127.0.0.1") -> int:
    """One at which nobody listens, of those that the kernel gives nobody: so it is still free when somebody binds it."""
    while True:
        port = 20_000 + secrets.randbelow(10_000)
        with suppress(OSError), socket.create_server((host, port)):
            return port


@contextmanager
def kept_up(*options: str, inside: Sequence[str] = ()) -> Iterator[list[subprocess.Popen[bytes]]]:
    """inside: what its command begins with, to run elsewhere."""
    command = (*inside, *COMMAND, *SMALL, *options)
    ports = {} if inside else {name: str(free_port()) for name in PORTS}
    started: list[subprocess.Popen[bytes]] = []
    over = threading.Event()
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        log = Path(folder, "log")

        def keep_up() -> None:
            while not over.is_set():
                with log.open("ab") as output:
                    environment = os.environ | QUICK | ports | {"RAY_TMPDIR": folder}
                    process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
                started.append(process)
                process.wait()

        keeper = threading.Thread(target=keep_up)
        keeper.start()
        try:
            give_up_at = time.monotonic() + START_S
            while not (log.exists() and "Ray runtime started" in log.read_text()):
                assert time.monotonic() < give_up_at, log.read_text()
                time.sleep(0.05)
            yield started
        finally:
            over.set()
            started[-1].send_signal(signal.SIGTERM)
            keeper.join()
