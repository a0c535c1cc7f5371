"""The process that one piece of untrusted Python runs in: it ties its own hands, then runs the script.

    python -I confined.py '{"cpu_s": 5, "memory_mb": 512, ...}' script.py          # `sandbox.py` starts it so

In this order: limits on CPU seconds, memory, open files and file sizes (RLIMIT_*), and an end with whoever started it; its own
user, mount and network namespaces, in which everything but the working folder is read-only and /proc is empty; a seccomp filter
under which it can start no process, open no socket and signal nobody. The last two need a kernel that lets it. What holds is in
the script's global `CONFINED`: some of `files`, `network`, `processes`.

What it does not do: hide files that its user may read, or stop the script from lying about its own results. Only the standard
library, and no import of this project.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import signal
import struct
import sys
from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True)
_NEW_NAMESPACES = 0x10000000 | 0x00020000 | 0x40000000 | 0x08000000  # CLONE_NEWUSER, NEWNS, NEWNET, NEWIPC
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_MS_NOSUID, _MS_NODEV, _MS_REC, _MS_PRIVATE, _MS_RDONLY = 2, 4, 0x4000, 0x40000, 1
_SYS_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 1
_CAPABILITY_VERSION_3 = 0x20080522

_ARCHITECTURES: dict[str, tuple[int, int, tuple[int, ...]]] = {
    # AUDIT_ARCH, clone, and what is refused: fork, vfork, clone3, socket, socketpair, ptrace, kill, tkill, io_uring_setup,
    # pidfd_send_signal, process_vm_writev
    "x86_64": (0xC000003E, 56, (57, 58, 435, 41, 53, 101, 62, 200, 425, 424, 311)),
    "aarch64": (0xC00000B7, 220, (435, 198, 199, 117, 129, 130, 425, 424, 271)),
}
_CLONE_THREAD = 0x00010000
_CLONE3 = 435
_ALLOW, _EPERM, _ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06


def main(limits: dict[str, Any], script: str) -> None:
    """Confine this process, then run `script`. Its end is the process's end."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    confined = []
    user, group = os.geteuid(), os.getegid()
    if _enter_namespaces():
        confined.append("network")
        if _become_nobody(user, group) and _lock_files(limits["file_mb"]):
            confined.append("files")
        _drop_capabilities()
    _limit(limits)
    if _filter_syscalls():
        confined += ["processes", *({"network"} - set(confined))]
    names = {"__name__": "__main__", "__builtins__": __builtins__, "CONFINED": tuple(sorted(confined))}
    exec(compile(script, "<answer>", "exec"), names)


def _limit(limits: dict[str, Any]) -> None:
    for kind, value in (
        (resource.RLIMIT_CPU, limits["cpu_s"]),
        (resource.RLIMIT_AS, limits["memory_mb"] << 20),
        (resource.RLIMIT_FSIZE, limits["file_mb"] << 20),
        (resource.RLIMIT_NOFILE, limits["open_files"]),
        (resource.RLIMIT_CORE, 0),
    ):
        _, most = resource.getrlimit(kind)
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(kind, (value, value))


def _enter_namespaces() -> bool:
    """Whether this process now is alone in its namespaces."""
    _LIBC.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    return not _LIBC.unshare(_NEW_NAMESPACES)


def _become_nobody(user: int, group: int) -> bool:
    """Whether the namespace now has one user, nobody, who is `user` outside. Without one, no file can be made in it."""
    try:
        for name, text in (("setgroups", "deny"), ("uid_map", f"65534 {user} 1"), ("gid_map", f"65534 {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 - pathlib is a slow import
                file.write(text)
    except OSError:  # some distributions allow the namespace and not this
        return False
    return True


def _lock_files(size_mb: int) -> bool:
    """Whether all that can be written now is a small file system in memory, which is the working folder."""
    folder = os.getcwd().encode()  # noqa: PTH109
    size = b"size=%dm" % size_mb
    attributes = struct.pack("QQQQ", _MOUNT_ATTR_RDONLY, 0, 0, 0)
    refused = (
        _LIBC.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None)
        or _LIBC.syscall(_SYS_MOUNT_SETATTR, _AT_FDCWD, b"/", _AT_RECURSIVE, attributes, len(attributes))
        or _LIBC.mount(b"tmpfs", folder, b"tmpfs", _MS_NOSUID | _MS_NODEV, size)
        or _LIBC.mount(b"tmpfs", b"/proc", b"tmpfs", _MS_RDONLY, None)
    )
    os.chdir(folder)
    return not refused


def _drop_capabilities() -> None:
    """What a new user namespace gives, among it the right to mount, is not the script's."""
    header, none = struct.pack("Ii", _CAPABILITY_VERSION_3, 0), bytes(24)
    _LIBC.capset(header, none)


def _filter_syscalls() -> bool:
    """Whether processes, sockets and signals to others are refused from now on. Threads are not."""
    machine = _ARCHITECTURES.get(platform.machine())
    if machine is None:
        return False
    architecture, clone, refused = machine
    errors = [(number, _ENOSYS if number == _CLONE3 else _EPERM) for number in refused]  # then libc uses clone
    program = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _EPERM),
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, 0, 1, 0x40000000),  # x32, whose numbers are others
        (_RETURN, 0, 0, _EPERM),
    ]
    for number, error in errors:
        program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, error)]
    program += [
        (_EQUAL, 0, 3, clone),
        (_LOAD, 0, 0, 16),
        (_ANY_BIT, 1, 0, _CLONE_THREAD),
        (_RETURN, 0, 0, _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    instructions = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(instructions)
    filter_ = struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer))
    return not _LIBC.prctl(_PR_SET_SECCOMP, 2, filter_, 0, 0)


if __name__ == "__main__":
    with open(sys.argv[2]) as source:  # noqa: PTH123
        text = source.read()
    main(json.loads(sys.argv[1]), text)
