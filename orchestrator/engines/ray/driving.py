"""The process of `switchyard serve` that is connected to the cluster: joins or starts one, deploys the service, ends it in order.

    python -m orchestrator.engines.ray.driving '{"config": "/etc/experts.yaml", "host": null, "port": 8700}'

Writes the port to its output when the service answers. Stops when its input ends, and gives up when the cluster is lost, or the
service gone from it. Several may serve on one cluster: the first deploys the service, the last that stops takes it down. Then
gateways refuse new requests and finish what they have, Serve ends, the experts' servers, and the cluster, if it was started here.

Not here: the parts (`cluster.py`, `control.py`, `deploying.py`), whose turn it is (`turns.py`), when it is given up (`watch.py`),
and who starts this again (`serving.py`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from orchestrator.config import Config
from orchestrator.engines.ray import deploying
from orchestrator.engines.ray.attached import require_same
from orchestrator.engines.ray.cluster import Cluster, is_to_be_started, join, living_nodes
from orchestrator.engines.ray.control import running_control_actor
from orchestrator.engines.ray.engine import end_servers
from orchestrator.engines.ray.ingress import APPLICATION, ENVIRONMENT, require_fit
from orchestrator.engines.ray.serving import DRAINED_S, STOP_S, Wanted
from orchestrator.engines.ray.turns import any_serves, note_serving, note_stopping, turn
from orchestrator.engines.ray.watch import Phase, Watch
from orchestrator.errors import GatewayError, SwitchyardError
from orchestrator.fleet.configfile import load_config
from orchestrator.gateway.auth import require_loopback
from orchestrator.gateway.server import authority
from orchestrator.service import read_keys, rehearse

PROGRAM = "orchestrator.engines.ray.driving"
"""What command lines of this have in them."""
IMPERATIVE = "imperative"
"""Where Serve has an application from: a program, such as this one."""

logger = logging.getLogger(__name__)


class Orders:
    """Of whoever started this process: to stop, when the input ends. begun: there is something to be ended in order."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.begun = False
        threading.Thread(target=self._listen, name="orders", daemon=True).start()

    def _listen(self) -> None:
        while os.read(0, 512):
            pass
        self.stop.set()
        if not self.begun:
            os._exit(0)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("ray").setLevel(logging.ERROR)
    report = os.dup(1)
    os.dup2(2, 1)  # what Ray says is no report
    try:
        _drive(Wanted.decode(sys.argv[1]), Orders(), report)
    except SwitchyardError as error:
        sys.stderr.write(f"{error.message}\n")
        sys.exit(1)


def _drive(wanted: Wanted, orders: Orders, report: int) -> None:
    """Serve until told to stop. Raises `ConfigError` and `GatewayError`."""
    config = load_config(wanted.config)
    host = wanted.host or config.gateway.host
    port = config.gateway.port if wanted.port is None else wanted.port
    require_loopback(host, read_keys(config, wanted.config.parent))
    asyncio.run(rehearse(wanted.config))  # what fails in an actor is told at length, and late
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if is_to_be_started(config.ray.address):
        deploying.move_haproxy()
    with _joined(config) as cluster, Watch(cluster, _is_there) as watch:
        require_fit(config, host, living_nodes())
        with turn():
            orders.begun = True
            if orders.stop.is_set():
                return
            _begin(cluster, wanted.config, config, host, port, orders.stop)
            note_serving(cluster.own_job)
        if not orders.stop.is_set():
            watch.expect(Phase.SERVING)
            host, port = deploying.listens_at()
            logger.info("listening on http://%s/v1", authority(host, port))
            os.write(report, str(port).encode())
            orders.stop.wait()
        watch.expect(Phase.ENDING)
        with turn():
            _end(cluster)


@contextmanager
def _joined(config: Config) -> Iterator[Cluster]:
    """The cluster; signals are for who started this process."""
    cluster = join(config.ray.address, environment={name: os.environ[name] for name in ENVIRONMENT})
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    try:
        yield cluster
    finally:
        cluster.leave()


def _is_there() -> bool:
    return APPLICATION in deploying.applications()


def _begin(cluster: Cluster, path: Path, config: Config, host: str, port: int, stop: threading.Event) -> None:
    """Join the service, or deploy it. Raises `ConfigError` and `GatewayError`, and then nothing is left of what was begun here.

    What others have begun goes on then: a scheduler, which a batch may need, and Serve, even if it runs nothing.
    """
    if (scheduled := _ask_scheduler("config")) is not None:
        require_same(scheduled, path)
    if _joins(cluster, stop):
        return
    is_scheduled, serve_runs = running_control_actor() is not None, deploying.serve_runs()
    if not serve_runs:  # else its own HAProxy may have the port
        port = deploying.free_port(host, port)
    try:
        deploying.deploy(path, config, host, port, stop)
    except BaseException:
        deploying.take_down(with_serve=not serve_runs)
        if not is_scheduled:
            _stop_scheduler()
        raise


def _joins(cluster: Cluster, stop: threading.Event) -> bool:
    """Whether the service is there. What a process that was killed has left of one that doesn't answer is taken down.

    Raises `GatewayError` when it is somebody else's.
    """
    if (source := deploying.applications().get(APPLICATION)) is None:
        return False
    logger.info("the service runs on this cluster already")
    try:
        deploying.until_it_answers(stop)
    except GatewayError as error:
        if source != IMPERATIVE or any_serves(cluster.others(PROGRAM)):
            raise
        logger.warning(
            "the service is deployed anew, because nobody looks after the one that is there: %s", error.message
        )
        deploying.take_down()
        return False
    return True


def _end(cluster: Cluster) -> None:
    """Take the service down, unless it goes on without this process."""
    if _goes_on(cluster):
        logger.info("the service goes on, because another process serves it")
    elif deploying.applications().get(APPLICATION) == IMPERATIVE:
        _drain()
        _take_down()


def _goes_on(cluster: Cluster) -> bool:
    """Whether another process serves. Of several that stop at once, the last whose turn it is hears that there is none."""
    note_stopping(cluster.own_job)
    return not cluster.started_here and any_serves(cluster.others(PROGRAM))


def _take_down() -> None:
    deploying.take_down()
    _stop_scheduler()


def _drain() -> None:
    """New requests are refused, and those under way end."""
    _ask_scheduler("end", timeout_s=DRAINED_S)


def _stop_scheduler() -> None:
    """The experts' servers end, and then their scheduler."""
    _ask_scheduler("close")
    if (actor := running_control_actor()) is not None:
        ray.kill(actor)
    end_servers()  # of a scheduler that was gone, or didn't answer


def _ask_scheduler(what: str, timeout_s: float = STOP_S) -> Any:
    """Its answer. It may be gone, or not answer, which is no reason to stop: None then."""
    if (actor := running_control_actor()) is None:
        return None
    try:
        return ray.get(getattr(actor, what).remote(), timeout=timeout_s)
    except RayError as error:
        logger.warning("the scheduler could not be asked (%s): %s", what, error)
        return None


if __name__ == "__main__":
    main()
