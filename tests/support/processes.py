"""Processes that may end while they are looked at.

    [process for process in gateway.servers() if title_of(process).startswith("ray::ServeReplica")]

Not here: waiting for their end (`psutil.wait_procs`).
"""

import psutil


def title_of(process: psutil.Process) -> str:
    """Its command line; empty once it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def name_of(process: psutil.Process) -> str:
    """As the kernel has it; empty once it has ended."""
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""
