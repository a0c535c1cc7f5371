"""What the manual says a cluster's `experts.yaml` begins with is accepted for one."""

from pathlib import Path

import pytest

from orchestrator.engines.ray.cluster import ClusterNode
from orchestrator.engines.ray.ingress import require_fit
from orchestrator.errors import ConfigError
from orchestrator.fleet.configfile import read_config
from tests.support.charts import DEPLOY

NODES = tuple(ClusterNode(f"node-{i}", f"10.0.0.{i}", 2**34, 8, 0) for i in range(3))


def manuals_file(folder: Path, changed: tuple[str, str] = ("", "")) -> Path:
    blocks = (DEPLOY.parent / "OPERATIONS.md").read_text().split("```yaml\n")[1:]
    [beginning] = [block.split("```")[0] for block in blocks if block.startswith("version: 1")]
    path = folder / "experts.yaml"
    path.write_text(beginning.replace(*changed) + "experts:\n  - {name: a, backend: echo}\n")
    return path


def test_the_manuals_beginning_of_a_file_fits_several_machines(tmp_path: Path) -> None:
    config = read_config(manuals_file(tmp_path))
    assert config.engine == "ray"
    require_fit(config, config.gateway.host, NODES)


def test_without_its_database_it_would_not(tmp_path: Path) -> None:
    changed = "ledger: {url: postgresql://switchyard@db.internal/switchyard}", ""
    config = read_config(manuals_file(tmp_path, changed))
    with pytest.raises(ConfigError, match="SQLite"):
        require_fit(config, config.gateway.host, NODES)
