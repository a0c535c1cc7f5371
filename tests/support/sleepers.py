"""Servers that look like vLLM and can sleep (`sleepy_vllm.py`), launched as the real backend says.

launch = sleepy_launch(tmp_path, level=2, fault="wakes_wrong")
notes(tmp_path)                               # ["/v1/completions", "/sleep?level=2", ...]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from orchestrator.config import ServedBase
from orchestrator.fleet.launching import Launch
from tests.support import sleepy_vllm
from tests.support.experts import spec_of

WEIGHTS_MB = 64


def sleepy_expert(folder: Path, name: str = "qwen", *, level: int = 1, fault: str = "", **keys: Any) -> dict[str, Any]:
    """One that notes in `folder` what it is asked, and the process id of each launch. fault: see `sleepy_vllm.py`."""
    program = folder / "vllm"
    program.write_text(f'#!/bin/sh\necho $$ >> {folder}/launches\nexec {sys.executable} {sleepy_vllm.__file__} "$@"\n')
    program.chmod(0o755)
    return {
        "name": name,
        "backend": "vllm",
        "model": "m",
        "executable": str(program),
        "env": {"NOTES": str(folder / "notes"), "FAULT": fault, "WEIGHTS_MB": str(WEIGHTS_MB)},
        "residency": {"memory_gb": 1, "sleep": level},
        "resources": {"gpus": 0},
        **keys,
    }


def sleepy_launch(folder: Path, *, level: int = 1, fault: str = "", **keys: Any) -> Launch:
    """How to launch that one."""
    spec = spec_of(**sleepy_expert(folder, level=level, fault=fault, **keys))
    assert isinstance(spec, ServedBase)
    return Launch(spec, folder)


def notes(folder: Path) -> list[str]:
    """What it was asked, in order."""
    file = folder / "notes"
    return file.read_text().splitlines() if file.exists() else []
