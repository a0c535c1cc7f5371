"""The name `kernels` is also a package of Hugging Face's, which transformers probes for: ours must stay inert."""

import ast
import subprocess
import sys
from pathlib import Path

import kernels


def test_the_package_is_a_docstring_and_nothing_else():
    tree = ast.parse(Path(kernels.__file__).read_text(encoding="utf-8"))
    assert len(tree.body) == 1
    assert ast.get_docstring(tree)


def test_importing_it_loads_nothing_heavy():
    code = "import sys; before = set(sys.modules); import kernels; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if not name.startswith("__editable__")}
    assert loaded == {"kernels"}
