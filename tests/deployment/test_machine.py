"""One machine: the image, the compose file and the systemd units. None is built or started; they are read by their own rules."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import compose_spec
import pytest
from dockerfile_parse import DockerfileParser

from orchestrator.engines.registry import ENGINES
from tests.support.charts import DEPLOY, read

ROOT = DEPLOY.parents[1]
COMPOSE = (DEPLOY / "compose.yaml").read_text()
SERVICES: dict[str, Any] = read(DEPLOY / "compose.yaml")["services"]
IMAGE = DockerfileParser(str(ROOT))


def instructions(name: str) -> list[str]:
    return [each["value"] for each in IMAGE.structure if each["instruction"] == name]


def test_compose_takes_the_file():
    compose = compose_spec.PyCompose.from_yaml(COMPOSE)
    compose.to_spec()
    for check in (
        compose.validate_networks,
        compose.validate_volumes,
        compose.validate_secrets,
        compose.validate_configs,
    ):
        check()


def test_the_files_that_compose_mounts_exist():
    volumes = [volume for service in SERVICES.values() for volume in service.get("volumes", ())]
    mounted = [volume.split(":")[0] for volume in volumes if volume.startswith("./")]
    assert mounted
    assert [path for path in mounted if not (DEPLOY / path).exists()] == []


def test_no_secret_is_in_the_compose_file():
    assert "SWITCHYARD_API_KEYS: ${SWITCHYARD_API_KEY:?" in COMPOSE
    values = [str(value) for service in SERVICES.values() for value in service.get("environment", {}).values()]
    assert [value for value in values if "${" not in value] == ["switchyard", "false", "false"]


def test_only_this_machine_reaches_what_compose_publishes():
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports == ["127.0.0.1:8700:8700", "127.0.0.1:3000:3000"]


def test_the_gateway_of_compose_is_one_machine_s():
    command = SERVICES["gateway"]["command"]
    assert command[command.index("--engine") + 1] in ENGINES
    assert SERVICES["gateway"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_the_image_installs_a_wheel_with_extras_that_exist_and_runs_without_root():
    assert IMAGE.baseimage == "python:3.11-slim"
    [install] = [line for line in instructions("RUN") if "pip install" in line]
    extras = install[install.index("*.whl)[") + 7 : install.index(']"')].split(",")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(extras) == {"local", "ray", "postgres"} <= project["optional-dependencies"].keys()
    assert instructions("USER") == ["switchyard"]
    assert len(instructions("HEALTHCHECK")) == 1


def test_what_the_image_copies_is_in_its_context():
    copied = [word for line in instructions("COPY") for word in line.split()[:-1] if not word.startswith("--")]
    admitted = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(copied) == admitted
    assert all((ROOT / each).exists() for each in copied)


UNITS = sorted(DEPLOY.glob("*.service"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
@pytest.mark.parametrize("unit", UNITS, ids=[unit.stem for unit in UNITS])
def test_systemd_takes_the_units(unit: Path, tmp_path: Path):
    for each in UNITS:
        (tmp_path / each.name).write_text(re.sub(r"/opt/switchyard/bin/\w+", "/bin/true", each.read_text()))
    done = subprocess.run(["systemd-analyze", "verify", str(tmp_path / unit.name)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
