"""The scheduler: drives `core.py` with the real clock, launches and stops servers, wakes whoever waits.

    scheduler = LocalScheduler(places, {"": engine}, budget_bytes=4_000_000_000, asleep_budget_bytes=8_000_000_000)
    lease = await scheduler.acquire(request)
    scheduler.release(lease, outcome)
    await scheduler.close()

It decides nothing. Effects are done as the core asks for them, and their results are reported back as events; all of it on one
event loop, which is the core's single writer. When an expert has room, `acquire` returns without giving up the loop.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from itertools import count
from typing import Any

from orchestrator.engines.base import Engine, Launchable, RunningServer
from orchestrator.errors import ExpertError, SwitchyardError
from orchestrator.scheduler.actions import Action, Grant, Load, Refuse, Sleep, Stop, Wake
from orchestrator.scheduler.base import (
    UNUSED,
    ExpertStatus,
    Lease,
    LeaseOutcome,
    LeaseRequest,
    MemoryStatus,
    NodeMemory,
    Place,
    Position,
    Weighed,
)
from orchestrator.scheduler.core import Core
from orchestrator.scheduler.rules import Rules
from orchestrator.scheduler.state import Host, Waiter, host_key
from routers.policy import Choice

MEMORY_WAIT_S = 5.0
MEMORY_POLL_S = 0.1

logger = logging.getLogger(__name__)


class LocalScheduler:
    """A `Scheduler` in this process, over an engine for each node; "" is this machine.

    budget_bytes, asleep_budget_bytes: of this machine; nodes: of others. clock: seconds, as in `deadline`. Raises `ConfigError` for
    places that can't be.
    """

    def __init__(
        self,
        places: Sequence[Place],
        engines: Mapping[str, Engine],
        *,
        budget_bytes: int,
        asleep_budget_bytes: int = 0,
        nodes: Mapping[str, NodeMemory] | None = None,
        rules: Rules | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._engines = engines
        self._core = Core(
            places, budget_bytes, clock(), rules=rules, asleep_budget_bytes=asleep_budget_bytes, nodes=nodes
        )
        self._futures: dict[Waiter, asyncio.Future[Lease]] = {}
        self._servers: dict[Host, RunningServer] = {}
        self._launches: dict[Host, Launchable] = {}
        self._changes: dict[Host, asyncio.Task[None]] = {}
        self._ended_because: dict[Host, str] = {}
        self._gone: dict[Host, asyncio.Event] = {}
        self._adoptions = count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    async def acquire(self, request: LeaseRequest) -> Lease:
        try:
            admitted = self._core.acquire(request, self._clock())
            if isinstance(admitted, Waiter):
                future: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
                self._futures[admitted] = future
        finally:
            self._carry_out()  # a request may have others loaded or evicted, whatever becomes of it
        if isinstance(admitted, Lease):
            return admitted
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self.release(future.result(), UNUSED)  # granted in the moment of the cancellation
            else:
                self._futures.pop(admitted, None)
                self._core.cancel(admitted, self._clock())
                self._carry_out()
            raise

    def release(self, lease: Lease, outcome: LeaseOutcome) -> None:
        self._core.release(lease, outcome, self._clock())
        self._carry_out()

    def weigh(self, experts: Iterable[str]) -> Weighed:
        return self._core.weigh(experts, self._clock())

    def position(self, request_id: str) -> Position | None:
        return self._core.position(request_id, self._clock())

    def status(self) -> tuple[ExpertStatus, ...]:
        return self._core.status(self._clock())

    def memory(self) -> MemoryStatus:
        return self._core.memory

    async def warm(self, expert: str) -> None:
        """On every node that it is pinned on, or else as if a request came. Raises `UnknownModel`, and what `acquire` raises."""
        self._core.warm(expert, self._clock())
        self._carry_out()
        if not any(replica.host.serving for replica in self._core.replicas(expert)):
            request = LeaseRequest(f"warm-{expert}", (Choice(expert, 0.0),), mu=0.0, deadline=math.inf)
            self.release(await self.acquire(request), UNUSED)

    async def unload(self, expert: str) -> None:
        """Whoever waits for it keeps waiting, and has it loaded again. Raises `UnknownModel`."""
        hosts = self._core.unload(expert, self._clock())
        ends = [self._gone.setdefault(host, asyncio.Event()) for host in hosts]
        if ends:
            self._carry_out()
        for gone in ends:
            await gone.wait()

    async def reconfigure(
        self,
        places: Sequence[Place],
        budget_bytes: int,
        asleep_budget_bytes: int | None = None,
        nodes: Mapping[str, NodeMemory] | None = None,
        engines: Mapping[str, Engine] | None = None,
    ) -> None:
        """asleep_budget_bytes, nodes, engines: None leaves them as they are."""
        changed = frozenset(place.expert for place in places if self._is_relaunched(place))
        self._core.reconfigure(
            places, budget_bytes, changed, self._clock(), asleep_budget_bytes=asleep_budget_bytes, nodes=nodes
        )
        if engines is not None:
            self._engines = engines
        self._carry_out()

    def lost(self, node: str, reason: str) -> None:
        """The node can't be reached. reason: what operators are told. Raises KeyError for one that is none."""
        self._core.lost(node, reason, self._clock())
        for host in [host for host in self._changes if host.node == node]:
            self._changes.pop(host).cancel()
        for host in [host for host in self._servers if host.node == node]:
            self._start(_end(host, self._servers.pop(host)))  # should it run on, it must not
        for host in [host for host in self._launches if host.node == node]:
            del self._launches[host]
        for host in [host for host in self._gone if host.node == node]:
            self._report_gone(host)
        self._carry_out()

    def found(self, node: str) -> None:
        """It is there again, with no servers. Raises KeyError for one that is none."""
        self._core.found(node, self._clock())
        self._carry_out()

    def adopt(
        self, expert: str, node: str, server: RunningServer, launch: Launchable, *, hold_s: float, asleep: bool = False
    ) -> bool:
        """Take over a server that was launched by another scheduler, and is ready or sleeps; False when there is no use for it.

        hold_s: for so long nothing else is loaded in its place, in which those who have leases of it may have them restored.
        """
        host = self._core.hosts.get(host_key(expert, node))
        if host is None or host.place.command != launch or server.exited.done():
            return False
        memory_bytes, now = _memory_bytes(host, server), self._clock()
        hold = Lease(f"{host.key}/adopted/{next(self._adoptions)}", expert, server.endpoint, 0.0, node=node)
        if asleep:
            adopted = self._core.adopt_asleep(expert, node, memory_bytes, now)
        else:
            adopted = self._core.adopt(expert, node, server.endpoint, memory_bytes, now, hold)
        if adopted is None:
            return False
        self._launches[host] = launch
        self._has_server(host, server)
        if host.held:
            asyncio.get_running_loop().call_later(hold_s, self._let_go, hold)
        self._carry_out()
        return True

    def _let_go(self, hold: Lease) -> None:
        self._core.let_go(hold, self._clock())
        self._carry_out()

    def restore(self, leases: Iterable[Lease]) -> None:
        """Count leases that others hold from a scheduler before this one; those whose servers are gone don't count."""
        for lease in leases:
            self._core.restore(lease, self._clock())

    async def close(self) -> None:
        self._core.close(self._clock())
        self._carry_out()
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._timer is not None:
            self._timer.cancel()

    def _is_relaunched(self, place: Place) -> bool:
        """Whether its server was launched otherwise than this place says."""
        host = self._core.hosts.get(host_key(place.expert, place.node))
        running = None if host is None else self._launches.get(host)
        return running is not None and place.command is not None and place.command != running

    # Effects

    def _carry_out(self) -> None:
        """Do what the core asks for, and be there again when it wants to be woken."""
        while actions := self._core.take_actions():  # a lease that nobody takes any more may be the next one's
            for action in actions:
                self._do(action)
        for host in self._core.take_wanted():
            if host.place.command is not None:  # it must wait for memory: its files can be read meanwhile
                self._engines[host.node].read_ahead(host.place.command)
        if self._core.next_wake < self._timer_at:
            self._set_timer(self._core.next_wake)

    def _do(self, action: Action) -> None:
        match action:
            case Grant(waiter, lease):
                future = self._futures.pop(waiter)
                if future.cancelled():
                    self._core.release(lease, UNUSED, self._clock())
                else:
                    future.set_result(lease)
            case Refuse(waiter, error):
                future = self._futures.pop(waiter)
                if not future.cancelled():
                    future.set_exception(error)
            case Load(host, generation):
                self._changes[host] = self._start(self._load(host, generation))
            case Sleep(host, generation):
                self._changes[host] = self._start(self._sleep(host, generation, self._servers[host]))
            case Wake(host, generation):
                self._changes[host] = self._start(self._wake(host, generation, self._servers[host]))
            case Stop(host):
                self._start(self._stop(host))

    def _start(self, effect: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(effect)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = asyncio.get_running_loop().call_later(max(0.0, at - self._clock()), self._tick)

    def _tick(self) -> None:
        self._timer, self._timer_at = None, math.inf
        self._core.tick(self._clock())
        self._carry_out()

    async def _load(self, host: Host, generation: int) -> None:
        """Launch the host's server and report how that went. Whatever happens is reported, or its waiters would be stuck."""
        try:
            server = await self._launch(host)
        except ExpertError as error:
            self._failed(host, generation, error.message, error.message)
        except SwitchyardError as error:
            self._failed(host, generation, f"'{host.name}' can't be launched as it is configured", error.message)
        except Exception as error:  # noqa: BLE001 (see above: an engine's or a backend's bug must not hold requests)
            self._failed(host, generation, f"'{host.name}' can't be launched", repr(error))
        else:
            self._has_server(host, server)
            declared_on_device = host.place.on_device and host.place.memory_bytes is not None
            memory_bytes = 0 if declared_on_device else _memory_bytes(host, server)  # what is seen is the host's
            self._core.loaded(host, generation, server.endpoint, memory_bytes, self._clock())
        finally:
            self._changed(host)
        self._carry_out()

    def _has_server(self, host: Host, server: RunningServer) -> None:
        self._servers[host] = server
        server.exited.add_done_callback(lambda _: self._died(host, server))

    def _changed(self, host: Host) -> None:
        """This task is through with the host, unless another has taken over."""
        if self._changes.get(host) is asyncio.current_task():
            del self._changes[host]

    async def _sleep(self, host: Host, generation: int, server: RunningServer) -> None:
        """Put the host's server to sleep; one that can't is ended, which is reported like a death."""
        if await self._managed(host, server, server.sleep()):
            self._core.slept(host, generation, _memory_bytes(host, server), self._clock())
            self._carry_out()

    async def _wake(self, host: Host, generation: int, server: RunningServer) -> None:
        """Wake the host's server; one that can't, or is not what it was, is ended, which is reported like a death."""
        if await self._managed(host, server, server.wake()):
            self._core.loaded(host, generation, server.endpoint, 0, self._clock())
            self._carry_out()

    async def _managed(self, host: Host, server: RunningServer, change: Coroutine[Any, Any, None]) -> bool:
        """Whether the server did as it was told."""
        try:
            await change
        except Exception as error:  # noqa: BLE001 (whatever an engine's bug may be, the server's state is not known then)
            if not server.exited.done():
                self._ended_because[host] = error.message if isinstance(error, ExpertError) else repr(error)
                await _end(host, server)
                self._died(host, server)
            return False
        finally:
            self._changed(host)
        return not server.exited.done() and self._servers.get(host) is server  # it may have died as it answered

    async def _launch(self, host: Host) -> RunningServer:
        if host.place.command is None:
            raise ExpertError(host.name, "not_loaded", f"'{host.name}' has no launch command")
        await self._until_memory_is_free(host)
        launch = self._launches[host] = host.place.command
        return await self._engines[host.node].launch(host.name, launch)

    async def _until_memory_is_free(self, host: Host) -> None:
        """What others have just given back may take a moment to be seen; what others took is a reason not to load.

        Only the host's memory can be seen: a device is full when its server says so.
        """
        if host.place.on_device or not host.memory_known:
            return
        give_up_at = self._clock() + MEMORY_WAIT_S
        while (available := self._engines[host.node].memory_available_bytes()) < host.memory_bytes:
            if self._clock() >= give_up_at:
                where = "on its node" if host.node else "on this machine"
                need, have = host.memory_bytes / 1e9, available / 1e9
                reason = f"'{host.name}' needs {need:.1f} GB of memory; {have:.1f} GB are free {where}"
                raise ExpertError(host.name, "not_loaded", reason)
            await asyncio.sleep(MEMORY_POLL_S)

    def _failed(self, host: Host, generation: int, reason: str, detail: str) -> None:
        logger.warning("loading %s failed: %s", host.name, detail)
        self._launches.pop(host, None)
        self._core.load_failed(host, generation, reason, self._clock(), detail=detail)

    async def _stop(self, host: Host) -> None:
        """End the host's server, or its launch, and report when its memory is back."""
        change = self._changes.pop(host, None)
        if change is not None:
            change.cancel()
            await asyncio.wait({change})
        server = self._servers.pop(host, None)
        if server is not None:
            await _end(host, server)
        self._launches.pop(host, None)
        self._ended_because.pop(host, None)
        self._core.stopped(host, self._clock())
        self._report_gone(host)

    def _died(self, host: Host, server: RunningServer) -> None:
        """A server is gone: expected when it is being stopped, and then not in `_servers` any more."""
        if self._servers.get(host) is not server or host.stopping:
            return
        del self._servers[host]
        self._launches.pop(host, None)
        reason = self._ended_because.pop(host, "") or f"its server exited with code {server.exited.result()}"
        logger.warning("%s: %s", host.name, reason)
        self._core.died(host, reason, self._clock())
        self._report_gone(host)

    def _report_gone(self, host: Host) -> None:
        gone = self._gone.pop(host, None)
        if gone is not None:
            gone.set()
        self._carry_out()


async def _end(host: Host, server: RunningServer) -> None:
    try:
        await server.stop()
    except Exception:  # its end must be reported, or whoever needs its memory would be stuck
        logger.exception("the server of %s may not have ended", host.name)


def _memory_bytes(host: Host, server: RunningServer) -> int:
    """As measured; 0 when it can't be."""
    try:
        return server.memory_bytes()
    except Exception:  # what it was measured for must be reported, or whoever waits would be stuck
        logger.exception("the memory of %s can't be measured", host.name)
        return 0
