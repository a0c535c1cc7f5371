"""Packaging and set-up: what is installed, how it is laid out, and that `kernels` stays out of transformers' way."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MAKE = subprocess.run(["make", "-C", str(ROOT), "help"], capture_output=True, text=True, check=True).stdout


def python(code: str) -> str:
    """Run `code` in a fresh interpreter, in the project's folder as an engine might be."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def test_importing_kernels_loads_nothing():
    code = "import sys; before = set(sys.modules); import kernels; print(sorted(set(sys.modules) - before))"
    assert python(code) == "['kernels']\n"


def test_transformers_does_not_take_our_kernels_for_its_own():
    pytest.importorskip("transformers", reason="needs the extra torch")
    assert python("from transformers.utils import is_kernels_available as own; print(own())") == "False\n"


def test_the_version_stays_below_the_one_that_transformers_probes_for():
    assert version("switchyard-llm") == PROJECT["project"]["version"]
    assert tuple(map(int, PROJECT["project"]["version"].split("."))) < (0, 9)


def test_every_package_is_listed_and_nothing_else_is_installed():
    roots = ("kernels", "routers", "orchestrator", "evals")
    found = {
        str(path.parent.relative_to(ROOT)).replace("/", ".")
        for root in roots
        for path in ROOT.glob(f"{root}/**/__init__.py")
    }
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == found


def test_the_base_install_is_light():
    names = {re.split(r"[^a-z0-9-]", dependency)[0] for dependency in PROJECT["project"]["dependencies"]}
    assert not names & {"torch", "transformers", "sentence-transformers", "litellm", "ray", "vllm", "onnxruntime"}


def test_help_needs_nothing_heavy():
    code = "import sys, orchestrator.cli; print([m for m in ('numpy', 'pydantic', 'aiohttp', 'starlette') if m in sys.modules])"
    assert python(code) == "[]\n"


@pytest.mark.parametrize(
    "module", ["orchestrator.commands.gateway", "orchestrator.gateway.app", "orchestrator.engines.ray.driving"]
)
def test_serving_needs_neither_what_trains_nor_what_measures(module):
    """Images and services are installed with the extras local, ray and postgres."""
    absent = (
        "scipy",
        "sklearn",
        "faiss",
        "threadpoolctl",
        "pyarrow",
        "joblib",
        "plotly",
        "matplotlib",
        "torch",
        "litellm",
    )
    python(f"import sys; sys.modules.update(dict.fromkeys({absent})); import orchestrator.service, {module}")


@pytest.mark.parametrize("verb", ["setup", "run", "test", "test-all", "lint", "fix", "bench", "bench-litellm", "help"])
def test_make_has_every_verb(verb):
    assert re.search(rf"^  make {verb} ", MAKE, re.MULTILINE)


def test_ci_runs_what_people_run():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert script.read_text().splitlines()[-1] == "make test"
