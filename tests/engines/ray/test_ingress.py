"""The gateways' deployment as Serve is given it. That it works, `tests/test_serve.py` asks of real clusters."""

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.config import Config
from orchestrator.errors import ConfigError
from orchestrator.gateway.lifecycle import Lifecycle
from orchestrator.gateway.metrics import Metrics
from orchestrator.scheduler.base import MemoryStatus
from tests.support.service import write_config

ingress = pytest.importorskip("orchestrator.engines.ray.ingress", reason="Ray Serve is not installed")
ECHO = {"name": "a", "backend": "echo"}
NODE = ingress.ClusterNode("one", "10.0.0.1", memory_bytes=0, cpus=0.0, gpus=0.0)
DESCRIBED = """
import json, os, sys
from orchestrator.engines.ray.ingress import ENVIRONMENT, app, gateways
from orchestrator.fleet.configfile import read_config
os.environ.update(ENVIRONMENT)
deployment = app(json.loads(sys.argv[1]))._bound_deployment
settings, = deployment.init_args
config = read_config(settings.config)
spread = [gateways(settings.config, config, settings.host, nodes)._bound_deployment for nodes in (1, 2, 3, 4)]
print(json.dumps({"name": deployment.name, "config": str(settings.config), "host": settings.host,
                  "limit": deployment.max_ongoing_requests,
                  "per_node": [each._replica_config.max_replicas_per_node for each in spread],
                  "scale": deployment._deployment_config.autoscaling_config.dict()}))
"""


def described(**args: str) -> dict:
    """What the builder makes of its arguments, in a process of its own: Serve reads its environment when it is imported."""
    said = subprocess.run(
        [sys.executable, "-c", DESCRIBED, json.dumps(args)], capture_output=True, text=True, check=True
    )
    return json.loads(said.stdout)


def test_serves_config_files_have_a_builder(tmp_path: Path):
    config = write_config(tmp_path, ECHO, ray={"gateways": {"min": 2, "max": 3, "target_ongoing": 10}})
    deployment = described(config=str(config))
    assert (deployment["name"], deployment["config"], deployment["host"]) == ("gateway", str(config), "0.0.0.0")
    assert deployment["limit"] == ingress.NEVER_FULL
    assert deployment["per_node"] == [ingress.MOST_PER_NODE, 2, 1, 1]
    scale = deployment["scale"]
    assert (scale["min_replicas"], scale["max_replicas"], scale["target_ongoing_requests"]) == (2, 3, 10)


def test_the_builder_refuses_what_it_does_not_know(tmp_path: Path):
    with pytest.raises(ConfigError, match="got the argument 'confg', expected config and host"):
        ingress.app({"confg": str(write_config(tmp_path, ECHO))})
    with pytest.raises(ConfigError, match="no such file"):
        ingress.app({"config": str(tmp_path / "nothing.yaml")})


def test_gateways_on_several_machines_need_what_all_of_them_can_reach():
    config, nodes = {"version": 1, "experts": [ECHO]}, (NODE, replace(NODE, id="other"))
    with pytest.raises(ConfigError, match=r"ledger\.url: SQLite is a file"):
        ingress.require_fit(Config.model_validate(config), "0.0.0.0", nodes)
    shared = Config.model_validate(config | {"ledger": {"url": "postgresql://db/switchyard"}})
    with pytest.raises(ConfigError, match=r"gateway\.host: the cluster has 2 nodes"):
        ingress.require_fit(shared, "127.0.0.1", nodes)
    ingress.require_fit(shared, "0.0.0.0", nodes)
    ingress.require_fit(Config.model_validate(config), "127.0.0.1", nodes[:1])


class LosesItsWay(ingress.Link):
    """A gateway's tie to a scheduler that can't be found at first. reports: under which names the gateway has reported."""

    def __init__(self, folder: Path) -> None:
        super().__init__(ingress.Settings(folder, "127.0.0.1"), "token", "gateway", NODE)
        self.failures: list[Exception] = [ValueError("the name was taken meanwhile"), TimeoutError()]
        self.reports: list[str] = []

    async def actor(self) -> Any:
        if self.failures:
            raise self.failures.pop()
        return SimpleNamespace(report=SimpleNamespace(remote=self._report))

    async def _report(self, gateway: str, *, is_drained: bool, measured: bytes) -> bool:
        self.reports.append(gateway)
        return True


async def test_a_gateway_reports_again_whatever_went_wrong_meanwhile(tmp_path: Path):
    link, lifecycle = LosesItsWay(tmp_path), Lifecycle()
    metrics = Metrics(tuple, lambda: MemoryStatus(0, 0, 0, 0), lost=int, reload_failed=bool)
    following = asyncio.create_task(link.follow(lifecycle, metrics))
    try:
        async with asyncio.timeout(10):
            while not lifecycle.draining:  # noqa: ASYNC110 (it is told so by the answer)
                await asyncio.sleep(0.01)
    finally:
        following.cancel()
    assert (link.reports[0], link.failures) == (link.name, [])
