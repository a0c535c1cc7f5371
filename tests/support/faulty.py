"""A whole Switchyard whose experts are processes that fail when they are told to (`faulty_server.py`).

async with faulty(tmp_path, expert("a"), expert("b"), memory={"budget_gb": 0.1}) as machine:
    machine.tell("a", "dies_loading")
    assert (await machine.ask("a")).status_code == 502
    assert await machine.at_rest() == {"a": "cold", "b": "cold"}

At its end no process may be left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from orchestrator.gateway.app import create_app
from orchestrator.scheduler.base import ExpertStatus
from orchestrator.service import Service, running
from tests.support.gateway import served
from tests.support.service import write_config

SERVER = Path(__file__).with_name("faulty_server.py")
AT_REST = {"cold", "ready", "asleep"}


def expert(name: str, **fields: Any) -> dict[str, Any]:
    """One that serves a request at a time and declares 60 MB, which is more than it takes."""
    command = ["python", "-I", "-S", str(SERVER), name, "{port}", "{host}"]
    told = {"limits": {"concurrency": 1}, "residency": {"memory_gb": 0.06}, "capabilities": ["streaming"], **fields}
    return {"name": name, "backend": "command", "command": command, **told}


@dataclass
class Servers:
    """What the servers of experts are told, and what they have noted, in a folder for each."""

    folder: Path

    def tell(self, name: str, fault: str = "") -> None:
        """Be like this from now on; without a fault, be well."""
        (self.folder / name / "fault").write_text(fault)

    def go(self, name: str) -> None:
        """Do what is being waited for."""
        (self.folder / name / "go").touch()

    def asked(self, name: str) -> list[str]:
        return self._noted(name, "asked")

    def launches(self, name: str) -> int:
        return len(self._noted(name, "launches"))

    def alive(self, name: str) -> list[psutil.Process]:
        """Its servers that have not ended; a process of somebody else's that has the number of one now is none."""
        found, ours = [], psutil.Process()
        for pid in map(int, self._noted(name, "launches")):
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                if ours in process.parents():
                    found.append(process)
        return found

    def _noted(self, name: str, what: str) -> list[str]:
        file = self.folder / name / what
        return file.read_text().splitlines() if file.exists() else []


@dataclass
class Machine(Servers):
    service: Service
    http: httpx.AsyncClient

    async def ask(self, model: str, text: str = "Hello", **fields: Any) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        async with asyncio.timeout(60):  # httpx's is for each piece of an answer
            return await self.http.post("/v1/chat/completions", json=body, timeout=30)

    async def reload(self, *experts: dict[str, Any], **sections: Any) -> str | None:
        """With other experts; why they were refused, if they were."""
        write_config(self.folder, *experts, **sections)
        await self.service.reload()
        return self.service.reload_error

    def status(self, name: str) -> ExpertStatus:
        return next(status for status in self.service.scheduler.status() if status.expert == name)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - a process in another process gives no event
                await asyncio.sleep(0.01)

    async def at_rest(self) -> dict[str, str]:
        """Every expert's state once nobody has, waits for or loads anything, and memory and processes are as they say."""
        scheduler = self.service.scheduler
        await self.until(lambda: all(map(self._rests, scheduler.status())))
        return {status.expert: status.state for status in scheduler.status()}

    def _rests(self, status: ExpertStatus) -> bool:
        if status.state not in AT_REST or status.leases or status.waiting:
            return False
        assert (status.memory_bytes > 0) == (status.state == "ready"), status
        return len(self.alive(status.expert)) == (status.state != "cold")  # a death is known a moment later


@asynccontextmanager
async def faulty(folder: Path, *experts: dict[str, Any], **sections: Any) -> AsyncIterator[Machine]:
    """Nothing is loaded but what is asked for."""
    for each in experts:
        (folder / each["name"]).mkdir(exist_ok=True)
    sections["memory"] = {"prefetch": False, **sections.get("memory", {})}
    before = set(psutil.Process().children(recursive=True))
    async with (
        running(write_config(folder, *experts, **sections)) as service,
        served(create_app(service.gateway_context())) as url,
        httpx.AsyncClient(base_url=url) as http,
    ):
        yield Machine(folder, service, http)
    left = set(psutil.Process().children(recursive=True)) - before
    assert not left


def error(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, code and message of an answer that is one."""
    told = answer.json()["error"]
    return answer.status_code, told["code"], told["message"]


def text(answer: httpx.Response) -> str:
    """What an answer says that is none."""
    assert answer.status_code == 200, answer.text
    said: str = answer.json()["choices"][0]["message"]["content"]
    return said
