"""Keeping the benchmarks' processes apart, on whatever machine."""

import subprocess
import sys
from pathlib import Path

import pytest

ONE_CORE = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from evals.contenders import pin
pin(0, 0)
pin(0, 1)
sys.stdout.write(str(len(os.sched_getaffinity(0))))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux pins processes to cores")
def test_on_one_core_nothing_is_kept_apart():
    done = subprocess.run(
        [sys.executable, "-c", ONE_CORE], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1"
