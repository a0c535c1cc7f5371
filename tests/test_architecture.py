"""Imports point one way: kernels < routers < orchestrator < evals. The command line, the composition root, is exempt."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("kernels", "routers", "orchestrator", "evals")
EXEMPT = {
    "orchestrator/cli.py",
    *(f"orchestrator/commands/{path.name}" for path in (ROOT / "orchestrator/commands").glob("*.py")),
}
MODULES = sorted(path.relative_to(ROOT) for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


def imported_packages(source: str) -> Iterator[str]:
    """The top-level package of every import, wherever it stands in the file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize("module", [path for path in MODULES if str(path) not in EXEMPT], ids=str)
def test_a_module_imports_only_from_its_own_layer_and_below(module):
    above = set(LAYERS[LAYERS.index(module.parts[0]) + 1 :]) | {"tests"}
    assert not above & set(imported_packages((ROOT / module).read_text()))


@pytest.mark.parametrize("module", [path for path in MODULES if path.name != "__init__.py"], ids=str)
def test_a_module_opens_with_what_it_is(module):
    assert ast.get_docstring(ast.parse((ROOT / module).read_text()))
