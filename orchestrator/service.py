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
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import uvloop
from watchfiles import awatch

from orchestrator.bulk.batches import Batches
from orchestrator.bulk.desk import make_bulk
from orchestrator.bulk.store import Store
from orchestrator.config import Config
from orchestrator.engines.base import Engine
from orchestrator.engines.registry import make_engine
from orchestrator.errors import SwitchyardError
from orchestrator.experts.session import open_session
from orchestrator.fleet.configfile import load_config
from orchestrator.fleet.encoding import Encoders
from orchestrator.fleet.memory import asleep_budget_bytes, budget_bytes
from orchestrator.fleet.snapshot import Fleet, build_fleet, make_places
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
from orchestrator.scheduler.driver import LocalScheduler
from orchestrator.scheduler.rules import Rules, SwitchyardRules
from orchestrator.types import Decision

CHECK_S = 2.0

FileState = tuple[int, int, int] | None
Build = Callable[[Config], Awaitable[Fleet]]

logger = logging.getLogger(__name__)


class Service:
    """The parts of a running service. `fleet` is replaced on reload; the other parts stay.

    build: makes a fleet of another configuration. file_state: of the file that `fleet` was made from, so that no edit since
    then is missed.
    """

    def __init__(
        self,
        config_path: Path,
        fleet: Fleet,
        build: Build,
        scheduler: LocalScheduler,
        ledger: SQLLedger,
        file_state: FileState,
        batch_store: Store,
    ) -> None:
        self.config_path = config_path
        self.fleet = fleet
        self.scheduler = scheduler
        self.ledger = ledger
        self.reload_error: str | None = None
        self._build = build
        self._file_state = file_state
        self._warming: asyncio.Task[None] | None = None
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
            budget_bytes=lambda: budget_bytes(self.fleet.config),
        )
        self.batches = Batches(self.bulk, batch_store, lambda: self.fleet.config.batches)
        self.metrics = Metrics(
            scheduler.status,
            scheduler.memory,
            lost=lambda: ledger.lost,
            reload_failed=lambda: self.reload_error is not None,
        )

    def gateway_context(self) -> GatewayContext:
        """What the gateway needs of the service. Raises `ConfigError` when the keys can't be read."""
        keys_file = self.fleet.config.gateway.keys_file
        keys = KeyRing.load(os.environ, keys_file and self.config_path.parent / keys_file)
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
            await self.scheduler.reconfigure(make_places(fleet), budget_bytes(config), asleep_budget_bytes(config))
        except SwitchyardError as error:
            self.reload_error = error.message
            logger.error("the new %s is refused, the old fleet stays:\n%s", self.config_path.name, error.message)  # noqa: TRY400
            return
        except Exception as error:  # a bug met by a new file must neither end the watch nor go unseen
            self.reload_error = repr(error)
            logger.exception("the new %s can't be used, the old fleet stays", self.config_path.name)
            return
        before, self.fleet, self.reload_error = self.fleet, fleet, None
        self.learner.wake()  # what was scored meanwhile the old fleet has learned
        logger.info("reloaded %s: %s", self.config_path.name, _difference(before, fleet))
        self.warm_pinned()
        fixed = _read_at_start(before.config)
        for name, value in _read_at_start(config).items():
            if value != fixed[name]:
                logger.warning("the change of '%s' takes effect when the gateway is started again", name)

    def warm_pinned(self) -> None:
        """Have the pinned experts loaded, in the background. What fails is logged, and tried again when a request comes."""
        self.stop_warming()
        places = make_places(self.fleet)
        pinned = [place.expert for place in places if place.pin and place.expert == place.host]
        self._warming = asyncio.create_task(self._warm(pinned), name="warm-pinned")

    async def _warm(self, experts: list[str]) -> None:
        ends = await asyncio.gather(*map(self.scheduler.warm, experts), return_exceptions=True)
        for expert, end in zip(experts, ends, strict=True):
            if isinstance(end, Exception):
                logger.error("the pinned %s could not be loaded: %s", expert, end)

    def stop_warming(self) -> None:
        """Wait for pinned experts no longer; those that are being loaded go on."""
        if self._warming is not None:
            self._warming.cancel()

    async def watch(self) -> None:
        """Reload whenever the file changes, until cancelled.

        The folder is watched, because editors replace files; and every `CHECK_S` the file itself is looked at, because what it
        links to may lie elsewhere, and network drives tell nobody.
        """
        folder = self.config_path.parent
        while True:
            try:
                async for _ in awatch(folder, recursive=False, yield_on_timeout=True, rust_timeout=int(CHECK_S * 1000)):
                    await self._reload_if_changed()
            except (OSError, RuntimeError) as error:  # no inotify watch is left, or the folder is gone for a moment
                logger.warning("the folder of %s can't be watched: %s", self.config_path.name, error)
            await asyncio.sleep(CHECK_S)
            await self._reload_if_changed()

    async def _reload_if_changed(self) -> None:
        if (found := _file_state(self.config_path)) != self._file_state:
            self._file_state = found
            await self.reload()


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
        service.warm_pinned()
        await _resume_batches(service)
        _collect_garbage_less_often()
        logger.info("listening on http://%s/v1", authority(*listener.getsockname()[:2]))
        try:
            await serve_app(create_app(context), context.lifecycle, listener, stop=stop)
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)


async def _resume_batches(service: Service) -> None:
    """Go on with what was under way when the gateway ended. Where that can't be, everything else is served."""
    try:
        await service.batches.open()
    except SwitchyardError as error:
        logger.warning("no batches are run: %s", error.message)


def _collect_garbage_less_often() -> None:
    """What start-up made stays, and requests leave few cycles behind: the collector's share was a tenth of a request."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@asynccontextmanager
async def running(
    config_path: Path, *, engine: str | None = None, rules: Rules | None = None
) -> AsyncIterator[Service]:
    """Everything but the gateway, started and stopped. rules: of the scheduler, if not the default. Raises `ConfigError`."""
    file_state = _file_state(config_path)
    config = load_config(config_path)
    base_dir = config_path.parent
    async with (
        AsyncExitStack() as stack
    ):  # whatever fails on the way down, the rest is closed too, the ledger at the end
        http = await stack.enter_async_context(open_session())
        ledger = make_ledger(config, base_dir)
        stack.push_async_callback(ledger.close)
        servers: Engine = make_engine(engine or config.engine)
        stack.push_async_callback(servers.close)
        build = _builder(http, base_dir)
        fleet = await build(config)
        scheduler = LocalScheduler(
            make_places(fleet),
            servers,
            budget_bytes=budget_bytes(config),
            rules=rules or SwitchyardRules(prefetches=config.memory.prefetch),
            asleep_budget_bytes=asleep_budget_bytes(config),
        )
        stack.push_async_callback(scheduler.close)
        service = Service(config_path, fleet, build, scheduler, ledger, file_state, make_store(config, base_dir))
        stack.push_async_callback(lambda: service.fleet.close())
        stack.callback(service.stop_warming)
        stack.push_async_callback(service.batches.close)
        await ledger.open()
        await service.learner.catch_up(fleet)
        learning = asyncio.create_task(service.learner.run(), name="learner")
        stack.callback(learning.cancel)
        yield service


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


def _read_at_start(config: Config) -> dict[str, object]:
    """The settings that a reload does not change, by name."""
    gateway = config.gateway
    return {
        "gateway.host": gateway.host,
        "gateway.port": gateway.port,
        "gateway.keys_file": gateway.keys_file,
        "engine": config.engine,
        "memory.prefetch": config.memory.prefetch,
        "ledger": config.ledger,
        "batches.folder": config.batches.folder,
    }


def _file_state(path: Path) -> FileState:
    """What tells one version of a file from the next, whatever links lead there; None when there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _difference(before: Fleet, after: Fleet) -> str:
    """What a reload did, for the log."""
    added = sorted(after.specs.keys() - before.specs.keys())
    removed = sorted(before.specs.keys() - after.specs.keys())
    changed = sorted(
        name for name in after.specs.keys() & before.specs.keys() if after.specs[name] != before.specs[name]
    )
    swapped = sorted(
        name for name, policy in after.policies.items() if name in before.policies and policy != before.policies[name]
    )
    parts = [
        f"{verb} {', '.join(names)}"
        for verb, names in (("added", added), ("changed", changed), ("removed", removed), ("changed policy", swapped))
        if names
    ]
    return "; ".join(parts) or "no expert and no policy changed"
