"""`switchyard serve --engine ray`: the whole service on a cluster, started, waited for, and stopped in order.

    serve_on_ray(Path("experts.yaml"))            # until SIGINT or SIGTERM

The first one on a cluster deploys the service, and takes it down when it ends; those that come later find it running, and leave it
so. At the end gateways refuse new requests and finish what they have, then Serve ends, then the experts' servers, and then the
cluster, if it was started here. Not here: the parts (`cluster.py`, `control.py`, `ingress.py`).
"""

from __future__ import annotations

import asyncio
import http.client
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.exceptions import RayError

from orchestrator.config import Config
from orchestrator.engines.ray.cluster import join, living_nodes
from orchestrator.engines.ray.control import running_control_actor
from orchestrator.engines.ray.ingress import APPLICATION, DRAIN_S, ENVIRONMENT, gateways, require_fit
from orchestrator.errors import GatewayError
from orchestrator.fleet.configfile import load_config
from orchestrator.gateway.auth import is_loopback, require_loopback
from orchestrator.gateway.server import KEEP_ALIVE_S, authority, bind
from orchestrator.service import read_keys, rehearse

ANSWERS_S = 30.0
LOOK_S = 0.05
STOP_S = 15.0
"""For what has no reason to take long: the end of servers, each of which has 10 s."""
LISTEN_S = 1.0
LOST_S = 30.0
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}

logger = logging.getLogger(__name__)


def serve_on_ray(config_path: Path, *, host: str | None = None, port: int | None = None) -> None:
    """Run the service until SIGINT or SIGTERM. Raises `ConfigError`, and `GatewayError` when it can't be started."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("ray").setLevel(logging.ERROR)
    path = config_path.absolute()
    config = load_config(path)
    host = host or config.gateway.host
    port = config.gateway.port if port is None else port
    require_loopback(host, read_keys(config, path.parent))
    asyncio.run(rehearse(path))  # what fails in an actor is told at length, and late
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with ExitStack() as stack:
        cluster = join(config.ray.address, environment={name: os.environ[name] for name in ENVIRONMENT})
        stack.callback(cluster.leave)
        stop = stack.enter_context(_stop_on_signals())
        require_fit(config, host, living_nodes())
        stack.enter_context(_deployed(path, config, host, port))
        logger.info("listening on http://%s/v1", authority(*_listens_at()))
        stack.callback(_insist)
        _wait(stop)


@contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """Set by the first SIGINT or SIGTERM; a second one does what it does by default."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def first(*_: Any) -> None:
        stop.set()
        restore()

    for number in before:
        signal.signal(number, first)
    try:
        yield stop
    finally:
        restore()


@contextmanager
def _deployed(path: Path, config: Config, host: str, port: int) -> Iterator[None]:
    """The service: as it is found, or else for the duration of this context."""
    from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.ERROR)  # importing it has set another
    found = serve.status().applications
    if APPLICATION in found:
        logger.info("the service runs on this cluster already")
        yield
        return
    with ExitStack() as stack:
        stack.callback(_stop_scheduler)
        stack.callback(partial(serve.delete, APPLICATION) if found else serve.shutdown)
        serve.start(
            http_options={"host": host, "port": _free(host, port), "keep_alive_timeout_s": KEEP_ALIVE_S},
            proxy_location="HeadOnly" if is_loopback(host) else "EveryNode",
            logging_config={"enable_access_log": False, "log_level": "WARNING"},
        )
        try:
            serve.run(gateways(path, config, host), name=APPLICATION)
        except RuntimeError as exc:
            raise GatewayError(f"the gateways can't be started: {exc}") from exc
        _until_it_answers(*_listens_at())
        stack.callback(_drain)
        yield


def _wait(stop: threading.Event) -> None:
    """Until it is set. Raises `GatewayError` when the cluster is gone, for whoever starts this again to join what comes next."""
    heard_at = time.monotonic()

    def listen() -> None:
        nonlocal heard_at
        while True:  # a call to a head that is gone doesn't return
            living_nodes()
            heard_at = time.monotonic()
            time.sleep(LISTEN_S)

    threading.Thread(target=listen, name="cluster", daemon=True).start()
    while not stop.wait(LISTEN_S):
        if time.monotonic() - heard_at > LOST_S:
            _insist(after_s=STOP_S)
            logger.error("the cluster has not answered for %g s", LOST_S)
            raise GatewayError("the cluster is lost")


def _insist(after_s: float = DRAIN_S + 4 * STOP_S) -> None:
    """End this process after so long, and what it has started, whatever holds up its end."""

    def end() -> None:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        os._exit(1)

    timer = threading.Timer(after_s, end)
    timer.daemon = True
    timer.start()


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
    _ask_scheduler("end", DRAIN_S + STOP_S)


def _stop_scheduler() -> None:
    """The experts' servers end, and then their scheduler."""
    _ask_scheduler("close", STOP_S)
    if (actor := running_control_actor()) is not None:
        ray.kill(actor)


def _ask_scheduler(what: str, timeout_s: float) -> None:
    """It may be gone, or not answer: the end goes on."""
    if (actor := running_control_actor()) is None:
        return
    try:
        ray.get(getattr(actor, what).remote(), timeout=timeout_s)
    except RayError as error:
        logger.warning("the scheduler could not be told to %s: %s", what, error)
