"""The process between the gateway and one server: it sees to it that nothing of the server outlives the gateway.

    python -I -S child.py LIFELINE_FD vllm serve ...

The gateway holds the other end of the lifeline, a pipe. When that end closes, because the gateway is dead or because it insists,
everything below this process is killed: grandchildren too, and what made itself a session of its own (PR_SET_CHILD_SUBREAPER
hands them all to this process). A server that ends by itself takes what it left behind with it in the same way. SIGTERM is
for the server, which shares the process group; this process waits for what it does about it.

Exits with the server's code, 128 + n when signal n ended it, 127 when it can't be started. Only a few modules of the
standard library, for a start in milliseconds. Not here: who launches what (`orchestrator/engines/local.py`).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def run(lifeline: int, command: list[str]) -> int:
    """Start the command, wait for its end or the lifeline's, leave no process behind."""
    os.set_inheritable(lifeline, False)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    wakeups = _signal_pipe()
    server = _start(command)
    code = _wait(server, lifeline, wakeups)
    _kill_descendants()
    return code


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _signal_pipe() -> int:
    """A descriptor that becomes readable on SIGCHLD, SIGTERM and SIGINT, which then have no other effect here."""
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return readable


def _start(command: list[str]) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        # Should this process be killed itself, the server goes too: at once, or now if it is already late.
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        if os.getppid() == parent:
            os.execvp(command[0], command)
    except OSError as exc:
        os.write(2, f"can't start {command[0]}: {exc.strerror}\n".encode())
    os._exit(127)


def _wait(server: int, lifeline: int, wakeups: int) -> int:
    """The server's exit code, reaping what it orphans meanwhile."""
    events = select.poll()  # not select.select, which takes no descriptor from 1024 on
    for descriptor in (lifeline, wakeups):
        events.register(descriptor, select.POLLIN)
    while True:
        if any(descriptor == lifeline for descriptor, _ in events.poll()):
            return 128 + signal.SIGKILL
        os.read(wakeups, 512)
        pid = -1
        while pid:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == server:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code


def _kill_descendants() -> None:
    """Kill and reap children until none is left; their children become ours as they die."""
    while True:
        for pid in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> list[int]:
    own, children = os.getpid(), []
    for pid in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - pathlib is a slow import
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123
            # After the command name, which is in parentheses and may hold anything: state, parent, ...
            if int(stat.read().rpartition(b")")[2].split()[1]) == own:
                children.append(int(pid))
    return children


if __name__ == "__main__":
    # Not sys.exit, which first gives signals their usual effect back: another SIGTERM would then change the code.
    os._exit(run(int(sys.argv[1]), sys.argv[2:]))
