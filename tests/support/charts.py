"""The Helm chart, rendered by Helm's own library, in a process of its own: it is Go, and brings its own threads and signals.

documents = objects(render({"secret": "mine"}))     # [{"kind": "ConfigMap", ...}, ...]
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy"
CHART = DEPLOY / "chart"
_RENDER = """
import json, sys
import helm_python
with helm_python.Chart.load(sys.argv[1]) as chart:
    values = json.loads(sys.argv[2])
    chart.validate_schema(values)
    rendered = chart.render(values, name="switchyard", namespace="default")
print(json.dumps({name: text for name, text in sorted(rendered.items()) if text.strip()}))
"""
_LINT = "import helm_python, json, sys; print(json.dumps(helm_python.lint(sys.argv[1], strict=True)))"


def render(values: Mapping[str, Any] | None = None) -> str:
    """What `helm template switchyard docs/deploy/chart` prints. Raises `CalledProcessError` for values that the chart refuses."""
    texts = json.loads(_run(_RENDER, str(CHART), json.dumps(values or {})))
    return "".join(f"---\n# Source: {name}\n{text.strip()}\n" for name, text in texts.items())


def lint() -> dict[str, Any]:
    report: dict[str, Any] = json.loads(_run(_LINT, str(CHART)))
    return report


def objects(text: str) -> list[dict[str, Any]]:
    """What the documents of a YAML text say."""
    return list(YAML(typ="safe").load_all(text))


def read(path: Path) -> dict[str, Any]:
    """A file of one document."""
    [found] = objects(path.read_text())
    return found


def _run(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return done.stdout
