"""The running service: everything one `experts.yaml` needs, put together, kept in step with the file, and taken down in order.

    async with running(Path("experts.yaml")) as service:
        reply = await service.pipeline.answer(query)

`serve` adds the gateway. This is the one place that knows all the parts; none of them knows it.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import aiohttp
import uvloop

from orchestrator.bulk.batches import Batches
from orchestrator.bulk.desk import make_bulk
from orchestrator.bulk.store import Store
from orchestrator.config import Config
from orchestrator.engines.base import Engine
from orchestrator.engines.registry import make_engine
from orchestrator.errors import SwitchyardError
from orchestrator.experts.session import open_session
from orchestrator.fleet.changes import difference, read_at_start
from orchestrator.fleet.configfile import load_config
from orchestrator.fleet.encoding import Encoders
from orchestrator.fleet.scheduling import Pinned, make_scheduler, reconfigure
from orchestrator.fleet.snapshot import Fleet, build_fleet
from orchestrator.fleet.watching import WatchedFile
from orchestrator.gateway.app import create_app
from orchestrator.gateway.auth import KeyRing, require_loopback
from orchestrator.gateway.context import GatewayContext
from orchestrator.gateway.metrics import Metrics
from orchestrator.gateway.server import authority, bind, stop_on_signals
from orchestrator.gateway.server import serve as serve_app
from orchestrator.ledger.database import file_of
from orchestrator.ledger.sql import SQLLedger
from orchestrator.pipeline import make_pipeline
from orchestrator.prompts import read_prompts
from orchestrator.routing.learning import Learner
from orchestrator.scheduler.base import Scheduler
from orchestrator.scheduler.rules import Rules
from orchestrator.types import Decision

Build = Callable[[Config], Awaitable[Fleet]]
Scheduling = Callable[[Config], AbstractAsyncContextManager[Scheduler]]

logger = logging.getLogger(__name__)


class Service:
    """The parts of a running service. `fleet` is replaced on reload; the other parts stay.

    build: makes a fleet of another configuration. file: that `fleet` was made from.
    """

    def __init__(
        self,
        config_path: Path,
        fleet: Fleet,
        build: Build,
        scheduler: Scheduler,
        ledger: SQLLedger,
        file: WatchedFile,
        batch_store: Store,
    ) -> None:
        self.config_path = config_path
        self.fleet = fleet
        self.scheduler = scheduler
        self.ledger = ledger
        self.reload_error: str | None = None
        self._build = build
        self._file = file
        self.pinned = Pinned(scheduler)
        self.learner = Learner(ledger, fleet=lambda: self.fleet)
        self.pipeline = make_pipeline(
            fleet=lambda: self.fleet,
            scheduler=scheduler,
            ledger=ledger,
            dice=random.Random(),
            prompts=read_prompts("policy"),
            record=self._record,
        )
        self.bulk = make_bulk(
            fleet=lambda: self.fleet,
            scheduler=scheduler,
            ledger=ledger,
            record=self._record,
            budget_bytes=lambda: scheduler.memory().budget_bytes,
        )
        self.batches = Batches(self.bulk, batch_store, lambda: self.fleet.config.batches)
        self.metrics = Metrics(
            scheduler.status,
            scheduler.memory,
            lost=lambda: ledger.lost,
            reload_failed=lambda: self.reload_error is not None,
        )
        self.metrics.expect(fleet.policies)

    def gateway_context(self) -> GatewayContext:
        """What the gateway needs of the service. Raises `ConfigError` when the keys can't be read."""
        keys = read_keys(self.fleet.config, self.config_path.parent)
        self.batches.rights = keys.renewed
        return GatewayContext(
            pipeline=self.pipeline,
            ledger=self.ledger,
            scheduler=self.scheduler,
            keys=keys,
            config=lambda: self.fleet.config,
            metrics=self.metrics,
            scored=self.learner.wake,
            batches=self.batches,
        )

    def _record(self, decision: Decision) -> None:
        self.ledger.record(decision)
        self.metrics.observe(decision)

    async def reload(self) -> None:
        """Read the file again. A bad edit is refused with its reason, and the old fleet stays."""
        try:
            config = await asyncio.to_thread(load_config, self.config_path)
            fleet = await self._build(config)
            await self.learner.catch_up(fleet)
            await reconfigure(self.scheduler, config, self.config_path.parent)
        except SwitchyardError as error:
            self.reload_error = error.message
            logger.error("the new %s is refused, the old fleet stays:\n%s", self.config_path.name, error.message)  # noqa: TRY400
            return
        except Exception as error:  # a bug met by a new file must neither end the watch nor go unseen
            self.reload_error = repr(error)
            logger.exception("the new %s can't be used, the old fleet stays", self.config_path.name)
            return
        before, self.fleet, self.reload_error = self.fleet, fleet, None
        self.metrics.expect(fleet.policies)
        self.learner.wake()  # what was scored meanwhile the old fleet has learned
        logger.info("reloaded %s: %s", self.config_path.name, difference(before, fleet))
        self.pinned.warm_again(config)
        fixed = read_at_start(before.config)
        for name, value in read_at_start(config).items():
            if value != fixed[name]:
                logger.warning("the change of '%s' takes effect when the gateway is started again", name)

    async def watch(self) -> None:
        """Reload whenever the file changes, until cancelled."""
        await self._file.watch(self.reload)


def serve(config_path: Path, *, host: str | None = None, port: int | None = None, engine: str | None = None) -> None:
    """Run the gateway until SIGINT or SIGTERM, then let what is under way end. Raises `ConfigError`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it tells of every change in the folder, a log's own too
    uvloop.run(_serve(config_path, host, port, engine))


async def _serve(config_path: Path, host: str | None, port: int | None, engine: str | None) -> None:
    stop = stop_on_signals()
    async with running(config_path, engine=engine) as service:
        gateway = service.fleet.config.gateway
        context = service.gateway_context()
        require_loopback(host or gateway.host, context.keys)
        listener = bind(host or gateway.host, gateway.port if port is None else port)
        watcher = asyncio.create_task(service.watch(), name="config-watcher")
        service.pinned.warm(service.fleet.config)
        await resume_batches(service)
        collect_garbage_less_often()
        logger.info("listening on http://%s/v1", authority(*listener.getsockname()[:2]))
        try:
            await serve_app(create_app(context), context.lifecycle, listener, stop=stop)
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)


async def resume_batches(service: Service) -> None:
    """Go on with what was under way when the gateway ended. Where that can't be, everything else is served."""
    try:
        await service.batches.open()
    except SwitchyardError as error:
        logger.warning("no batches are run: %s", error.message)


def collect_garbage_less_often() -> None:
    """What start-up made stays, and requests leave few cycles behind: the collector's share was a tenth of a request."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@asynccontextmanager
async def running(
    config_path: Path, *, engine: str | None = None, rules: Rules | None = None
) -> AsyncIterator[Service]:
    """Everything but the gateway, on this machine. rules: of the scheduler, if not the default. Raises `ConfigError`."""
    scheduling = partial(_scheduling_here, base_dir=config_path.parent, engine=engine or "local", rules=rules)
    async with running_over(config_path, scheduling) as service:
        yield service


@asynccontextmanager
async def _scheduling_here(
    config: Config, *, base_dir: Path, engine: str, rules: Rules | None
) -> AsyncIterator[Scheduler]:
    async with AsyncExitStack() as stack:
        servers: Engine = make_engine(engine)
        stack.push_async_callback(servers.close)
        scheduler = make_scheduler(config, base_dir, servers, rules=rules)
        stack.push_async_callback(scheduler.close)
        yield scheduler


@asynccontextmanager
async def running_over(config_path: Path, scheduling: Scheduling) -> AsyncIterator[Service]:
    """Everything but the gateway and the scheduler, started and stopped. Raises `ConfigError`."""
    file = WatchedFile(config_path)
    config = load_config(config_path)
    base_dir = config_path.parent
    async with (
        AsyncExitStack() as stack
    ):  # whatever fails on the way down, the rest is closed too, the ledger at the end
        http = await stack.enter_async_context(open_session())
        ledger = make_ledger(config, base_dir)
        stack.push_async_callback(ledger.close)
        build = _builder(http, base_dir)
        fleet = await build(config)
        scheduler = await stack.enter_async_context(scheduling(config))
        service = Service(config_path, fleet, build, scheduler, ledger, file, make_store(config, base_dir))
        stack.push_async_callback(lambda: service.fleet.close())
        stack.callback(service.pinned.stop)
        stack.push_async_callback(service.batches.close)
        await ledger.open()
        await service.learner.catch_up(fleet)
        learning = asyncio.create_task(service.learner.run(), name="learner")
        stack.callback(learning.cancel)
        yield service


async def rehearse(config_path: Path) -> None:
    """Make, for a moment, what a gateway is made of: its keys, its ledger and its fleet. Raises `ConfigError`."""
    config, base_dir = load_config(config_path), config_path.parent
    read_keys(config, base_dir)
    async with open_session() as http:
        ledger = make_ledger(config, base_dir)
        await ledger.open()
        try:
            fleet = await _builder(http, base_dir)(config)
            await fleet.close()
        finally:
            await ledger.close()


def read_keys(config: Config, base_dir: Path) -> KeyRing:
    """Who may use the gateway. Raises `ConfigError`."""
    keys_file = config.gateway.keys_file
    return KeyRing.load(os.environ, keys_file and base_dir / keys_file)


def _builder(http: aiohttp.ClientSession, base_dir: Path) -> Build:
    """Makes fleets that share their encoders. Routers are made in a thread, so that a reload holds no request up."""
    encoders = Encoders()

    async def build(config: Config) -> Fleet:
        here = encoders.of(config, base_dir)
        return await asyncio.to_thread(build_fleet, config, http=http, base_dir=base_dir, encoders=here)

    return build


def make_ledger(config: Config, base_dir: Path) -> SQLLedger:
    """The ledger of a configuration, not yet open."""
    return SQLLedger(_ledger_url(config, base_dir), keep_text=config.ledger.keep_text)


def make_store(config: Config, base_dir: Path) -> Store:
    """Where files and batches of a configuration are kept, not yet open."""
    return Store(_ledger_url(config, base_dir), _batches_folder(config, base_dir))


def _ledger_url(config: Config, base_dir: Path) -> str:
    return config.ledger.url or f"sqlite:///{_own_folder(base_dir) / 'ledger.db'}"


def _batches_folder(config: Config, base_dir: Path) -> Path:
    """`batches.folder`, or else beside a ledger that is a file."""
    if config.batches.folder is not None:
        return base_dir / config.batches.folder
    ledger = file_of(_ledger_url(config, base_dir))
    return (_own_folder(base_dir) if ledger is None else ledger.parent) / "batches"


def _own_folder(base_dir: Path) -> Path:
    """What is kept beside the YAML."""
    return base_dir / ".switchyard"
