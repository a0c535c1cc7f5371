"""The gateways on a cluster by Ray Serve: deployed, looked after, taken down.

    deploy(path, config, "0.0.0.0", 8700, stop)   # returns when they answer, or `stop` is set
    applications()                                # {"switchyard": "imperative"}
    listens_at()                                  # ("0.0.0.0", 8700)
    take_down()

This process is connected to the cluster, and `ENVIRONMENT` is set. Not here: what a gateway is (`ingress.py`), when all of this
happens (`driving.py`).
"""

from __future__ import annotations

import http.client
import logging
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import ray
from ray.exceptions import RayError, RayTaskError

from orchestrator.config import Config
from orchestrator.engines.ray.cluster import living_nodes
from orchestrator.engines.ray.ingress import APPLICATION, gateways
from orchestrator.engines.ray.serving import TAKEN_DOWN_S
from orchestrator.errors import ConfigError, GatewayError
from orchestrator.gateway.auth import is_loopback
from orchestrator.gateway.server import KEEP_ALIVE_S, authority, bind

if TYPE_CHECKING:
    from ray.serve.schema import ApplicationStatusOverview

ANSWERS_S = 30.0
LOOK_S = 0.05
EVERYWHERE = ("0.0.0.0", "::")
HAPROXY_PORTS = {"RAY_SERVE_HAPROXY_STATS_PORT": 8404, "RAY_SERVE_HAPROXY_METRICS_PORT": 9101}

logger = logging.getLogger(__name__)


def applications() -> dict[str, str]:
    """What Serve runs on the cluster, and how it was put there: `imperative` is from a program, such as this one."""
    from ray.serve.context import _get_global_client

    logging.getLogger("ray.serve").setLevel(logging.ERROR)  # importing it has set another
    client = _get_global_client(raise_if_no_controller_running=False)
    details = {"applications": {}} if client is None else client.get_serve_details()
    return {name: application["source"] for name, application in details["applications"].items()}


def deploy(path: Path, config: Config, host: str, port: int, stop: threading.Event) -> None:
    """Returns when they answer, or `stop` is set. Raises `GatewayError`, and leaves what is there by then.

    port: free, unless Serve runs already, which goes on listening where it does.
    """
    logger.info("starting the gateways")
    try:
        _start(path, config, host, port)
        _until_running(config.ray.gateways.start_s, stop)
    except (RayError, TimeoutError) as exc:
        reason = exc.cause if isinstance(exc, RayTaskError) else exc  # without where in Ray it was raised
        raise GatewayError(f"the gateways can't be started: {reason}") from exc
    until_it_answers(stop)


def until_it_answers(stop: threading.Event) -> None:
    """HAProxy learns of the gateways a moment after they are there. Returns when one answers, or `stop` is set.

    Raises `GatewayError`.
    """
    host, port = listens_at()
    give_up_at = time.monotonic() + ANSWERS_S
    while not any(_answers(each, port) for each in _reached_at(host)):
        if time.monotonic() > give_up_at:
            raise GatewayError(f"no gateway answers at {authority(host, port)}")
        _require_no_failure(_status())
        if stop.wait(LOOK_S):
            return


def listens_at() -> tuple[str, int]:
    """The host and port of the cluster's ingress, whoever began it."""
    from ray.serve.context import _get_global_client

    options = _get_global_client().http_config
    return options.host, options.port


def take_down(*, with_serve: bool = True) -> None:
    """with_serve: Serve's own processes end with the gateways, unless it runs something else."""
    from ray import serve

    if with_serve and not applications().keys() - {APPLICATION}:
        _end_serve()
    else:
        serve.delete(APPLICATION)


def move_haproxy() -> None:
    """Where another cluster on this machine has the ports of HAProxy's statistics, those of this one's go elsewhere."""
    for name, usual in HAPROXY_PORTS.items():
        try:
            port = free_port(EVERYWHERE[0], int(os.environ.get(name, usual)))
        except ConfigError:
            port = free_port(EVERYWHERE[0], 0)
        os.environ[name] = str(port)


def serve_runs() -> bool:
    """Whether Serve's controller is there, whatever it runs."""
    from ray.serve.context import _get_global_client

    return _get_global_client(raise_if_no_controller_running=False) is not None


def free_port(host: str, port: int) -> int:
    """The port, or any that is free for port 0. Raises `ConfigError` when somebody else listens there."""
    with bind(host, port) as probe:
        found: int = probe.getsockname()[1]
        return found


def _start(path: Path, config: Config, host: str, port: int) -> None:
    """Have Serve begin; it goes on by itself."""
    from ray import serve

    serve.start(
        http_options={"host": host, "port": port, "keep_alive_timeout_s": KEEP_ALIVE_S},
        proxy_location="HeadOnly" if is_loopback(host) else "EveryNode",
        logging_config={"enable_access_log": False, "log_level": "WARNING"},
    )
    target = serve.RunTarget(gateways(path, config, host, len(living_nodes())), name=APPLICATION)
    serve.run_many([target], wait_for_applications_running=False)


def _until_running(limit_s: float, stop: threading.Event) -> None:
    """limit_s: how long no gateway may get any further. Raises `GatewayError`."""
    seen: object = None
    since = time.monotonic()
    while not stop.wait(LOOK_S):
        application = _status()
        if application is not None and application.status == "RUNNING":
            return
        _require_no_failure(application)
        states = application and {name: each.replica_states for name, each in application.deployments.items()}
        if states not in (None, seen):
            seen, since = states, time.monotonic()
        elif time.monotonic() - since > limit_s:
            reason = (application and _reason(application, line=0)) or "Serve tells nothing of them"
            raise GatewayError(f"the gateways can't be started: none got any further for {limit_s:g} s: {reason}")


def _status() -> ApplicationStatusOverview | None:
    """None while Serve can't tell: its controller may be starting again."""
    from ray import serve

    try:
        return serve.status().applications.get(APPLICATION)
    except RayError:
        return None


def _require_no_failure(application: ApplicationStatusOverview | None) -> None:
    """Raises `GatewayError` where Serve has given the gateways up."""
    if application is not None and application.status == "DEPLOY_FAILED":
        raise GatewayError(f"the gateways can't be started: {_reason(application, line=-1)}")


def _reason(application: ApplicationStatusOverview, *, line: int) -> str:
    """Why gateways don't start: the error of ours that one has raised, or else this line of what Serve tells, if it tells any."""
    told = "\n".join(each.message for each in application.deployments.values())
    _, is_ours, raised = told.rpartition("\norchestrator.errors.")
    return raised.partition(": ")[2] if is_ours else told.split("\n")[line]


def _end_serve() -> None:
    """As `serve.shutdown` does, but that waits for half a minute if the head was away meanwhile: it isn't told then."""
    from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE
    from ray.serve.context import _get_global_client, _set_global_client

    client = _get_global_client(raise_if_no_controller_running=False)
    if client is None:
        return
    _set_global_client(None)  # else what is gone would count as running
    give_up_at = time.monotonic() + TAKEN_DOWN_S
    with suppress(ValueError, RayError):  # there is none by that name any more
        ray.get(client._controller.graceful_shutdown.remote(wait=False), timeout=TAKEN_DOWN_S)
        while time.monotonic() < give_up_at:
            ray.get_actor(SERVE_CONTROLLER_NAME, SERVE_NAMESPACE)
            time.sleep(LOOK_S)


def _reached_at(host: str) -> tuple[str, ...]:
    """Where to ask what listens there: there are machines without a gateway, and this may be one."""
    return (host,) if host not in EVERYWHERE else tuple(node.address for node in living_nodes())


def _answers(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=1.0)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
