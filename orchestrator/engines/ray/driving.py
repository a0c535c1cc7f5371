"""The process of `switchyard serve` that is connected to the cluster: joins or starts one, deploys the service, ends it in order.

    python -m orchestrator.engines.ray.driving '{"config": "/etc/experts.yaml", "host": null, "port": 8700}'

Writes the port to its output when the service answers. Stops when its input ends, and gives up when the cluster is lost, or the
service gone from it. Several may serve on one cluster: the first deploys the service, the last that stops takes it down. Then
gateways refuse new requests and finish what they have, Serve ends, the experts' servers, and the cluster, if it was started here.

Not here: the parts (`cluster.py`, `control.py`, `ingress.py`), and who starts this again (`serving.py`).
"""

from __future__ import annotations

import asyncio
import http.client
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from orchestrator.config import Config
from orchestrator.engines.ray.attached import require_same
from orchestrator.engines.ray.cluster import Cluster, is_to_be_started, join, living_nodes
from orchestrator.engines.ray.control import running_control_actor
from orchestrator.engines.ray.engine import end_servers
from orchestrator.engines.ray.ingress import APPLICATION, DRAIN_S, ENVIRONMENT, gateways, require_fit
from orchestrator.engines.ray.serving import Wanted
from orchestrator.errors import ConfigError, GatewayError, SwitchyardError
from orchestrator.fleet.configfile import load_config
from orchestrator.gateway.auth import is_loopback, require_loopback
from orchestrator.gateway.server import KEEP_ALIVE_S, authority, bind
from orchestrator.service import read_keys, rehearse

PROGRAM = "orchestrator.engines.ray.driving"
"""What command lines of this have in them."""
ANSWERS_S = 30.0
LOOK_S = 0.05
STOP_S = 15.0
"""For what has no reason to take long: the end of servers, each of which has 10 s."""
LISTEN_S = 1.0
LOST_S = 30.0
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
HAPROXY_PORTS = {"RAY_SERVE_HAPROXY_STATS_PORT": 8404, "RAY_SERVE_HAPROXY_METRICS_PORT": 9101}

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
        _move_haproxy()
    with _joined(config) as cluster:
        require_fit(config, host, living_nodes())
        if (scheduled := _ask_scheduler("config")) is not None:
            require_same(scheduled, wanted.config)
        orders.begun = True
        if orders.stop.is_set():
            return
        if APPLICATION in _applications():
            logger.info("the service runs on this cluster already")
        else:
            _deploy(wanted.config, config, host, port)
        host, port = _listens_at()
        logger.info("listening on http://%s/v1", authority(host, port))
        os.write(report, str(port).encode())
        _wait(orders.stop, cluster)
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


def _applications() -> dict[str, str]:
    """What Serve runs on the cluster, and how it was put there: `imperative` is from a program, such as this one."""
    from ray.serve.context import _get_global_client

    logging.getLogger("ray.serve").setLevel(logging.ERROR)  # importing it has set another
    client = _get_global_client(raise_if_no_controller_running=False)
    details = {"applications": {}} if client is None else client.get_serve_details()
    return {name: application["source"] for name, application in details["applications"].items()}


def _serve_runs() -> bool:
    from ray.serve.context import _get_global_client

    return _get_global_client(raise_if_no_controller_running=False) is not None


def _deploy(path: Path, config: Config, host: str, port: int) -> None:
    """Returns when it answers. Raises `ConfigError` and `GatewayError`, and then nothing is left of it."""
    from ray import serve

    if not _serve_runs():  # or its HAProxy has the port, left by a process that was killed amid this
        port = _free(host, port)
    options = {"host": host, "port": port, "keep_alive_timeout_s": KEEP_ALIVE_S}
    logger.info("starting the gateways")
    try:
        try:
            serve.start(
                http_options=options,
                proxy_location="HeadOnly" if is_loopback(host) else "EveryNode",
                logging_config={"enable_access_log": False, "log_level": "WARNING"},
            )
            serve.run(gateways(path, config, host), name=APPLICATION)
        except (RayError, TimeoutError) as exc:
            raise GatewayError(f"the gateways can't be started: {exc}") from exc
        except RuntimeError as exc:
            raise GatewayError(f"the gateways can't be started: {_reason() or exc}") from exc
        _until_it_answers(*_listens_at())
    except BaseException:
        _take_down()
        raise


def _reason() -> str:
    """Why gateways could not start that Serve has given up: the end of what their process has told it. Empty if it told nothing."""
    from ray import serve

    application = serve.status().applications.get(APPLICATION)
    told = "" if application is None else "\n".join(each.message for each in application.deployments.values())
    _, is_ours, raised = told.rpartition("\norchestrator.errors.")
    return raised.partition(": ")[2] if is_ours else told.rpartition("\n")[2]


def _wait(stop: threading.Event, cluster: Cluster) -> None:
    """Until it is set. When the cluster is lost, or the service has been gone from it for long, this process ends instead."""
    served_at = time.monotonic()

    def look() -> None:
        nonlocal served_at
        while not stop.wait(LISTEN_S):  # asked while this process leaves, Ray would end it with an error
            try:
                if APPLICATION in _applications():  # while the head is away this doesn't return
                    served_at = time.monotonic()
            except RayError:  # Serve's controller is starting again
                pass

    threading.Thread(target=look, name="cluster", daemon=True).start()
    while not stop.wait(LISTEN_S):
        silent_s = time.monotonic() - served_at
        if cluster.is_lost or silent_s > LOST_S:
            logger.error("the cluster is lost" if cluster.is_lost else "the service is gone, or its cluster")
            os._exit(1)  # what would end in order has nobody to ask


def _end(cluster: Cluster) -> None:
    """Take the service down, unless it goes on without this process."""
    if _goes_on(cluster):
        logger.info("the service goes on, because another process serves it")
    elif _applications().get(APPLICATION) == "imperative":
        _drain()
        _take_down()


def _goes_on(cluster: Cluster) -> bool:
    """Whether another process serves. Of several that stop at once, the last to ask hears that there is none."""
    others = cluster.others(PROGRAM)
    if cluster.started_here or not others:
        return False
    answer = _ask_scheduler("stops_serving", cluster.own_job, others)
    return answer is None or answer


def _take_down() -> None:
    from ray import serve

    if _applications().keys() - {APPLICATION}:
        serve.delete(APPLICATION)
    else:
        _end_serve()
    _stop_scheduler()


def _end_serve() -> None:
    """As `serve.shutdown` does, but that waits for half a minute if the head was away meanwhile: it isn't told then."""
    from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE
    from ray.serve.context import _get_global_client

    client = _get_global_client(raise_if_no_controller_running=False)
    if client is None:
        return
    client._controller.graceful_shutdown.remote()
    give_up_at = time.monotonic() + 2 * STOP_S
    with suppress(ValueError):  # there is none by that name any more
        while time.monotonic() < give_up_at:
            ray.get_actor(SERVE_CONTROLLER_NAME, SERVE_NAMESPACE)
            time.sleep(LOOK_S)


def _move_haproxy() -> None:
    """Where another cluster on this machine has the ports of HAProxy's statistics, those of this one's go elsewhere."""
    for name, usual in HAPROXY_PORTS.items():
        try:
            port = _free(next(iter(EVERYWHERE)), int(os.environ.get(name, usual)))
        except ConfigError:
            port = _free(next(iter(EVERYWHERE)), 0)
        os.environ[name] = str(port)


def _free(host: str, port: int) -> int:
    """The port, or any that is free for port 0. Raises `ConfigError` when somebody else listens there."""
    with bind(host, port) as probe:
        found: int = probe.getsockname()[1]
        return found


def _listens_at() -> tuple[str, int]:
    """The host and port of the cluster's ingress, whoever began it."""
    from ray.serve.context import _get_global_client

    options = _get_global_client().http_config
    return options.host, options.port


def _until_it_answers(host: str, port: int) -> None:
    """HAProxy learns of the gateways a moment after they are there. Raises `GatewayError`."""
    give_up_at = time.monotonic() + ANSWERS_S
    while time.monotonic() < give_up_at:
        connection = http.client.HTTPConnection(EVERYWHERE.get(host, host), port, timeout=1.0)
        try:
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(LOOK_S)
    raise GatewayError(f"no gateway answers at {authority(host, port)}")


def _drain() -> None:
    """New requests are refused, and those under way end."""
    _ask_scheduler("end", timeout_s=DRAIN_S + STOP_S)


def _stop_scheduler() -> None:
    """The experts' servers end, and then their scheduler."""
    _ask_scheduler("close")
    if (actor := running_control_actor()) is not None:
        ray.kill(actor)
    end_servers()  # of a scheduler that was gone, or didn't answer


def _ask_scheduler(what: str, *about: object, timeout_s: float = STOP_S) -> Any:
    """Its answer. It may be gone, or not answer, which is no reason to stop: None then."""
    if (actor := running_control_actor()) is None:
        return None
    try:
        return ray.get(getattr(actor, what).remote(*about), timeout=timeout_s)
    except RayError as error:
        logger.warning("the scheduler could not be asked (%s): %s", what, error)
        return None


if __name__ == "__main__":
    main()
