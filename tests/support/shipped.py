"""Experts of the shipped fleet, launched for real; tests are skipped where their weights have not been pulled.

async with launched("smollm2", context=512) as expert:
    answer = await expert.ask("chat", messages=[...])
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config import Config
from orchestrator.engines.local import LocalEngine
from orchestrator.engines.process import ServerProcess
from orchestrator.errors import ConfigError, MissingExtra
from orchestrator.experts.base import Expert, Services
from orchestrator.experts.registry import make_expert
from orchestrator.experts.session import open_session
from orchestrator.fleet.configfile import load_config
from orchestrator.fleet.launching import Launch
from orchestrator.fleet.weights import weights_path
from orchestrator.types import Answer, Call, Kind
from tests.support.experts import call_of

SHIPPED = Path(__file__).parents[2] / "experts.yaml"


def needs_smollm2() -> None:
    """Skip where it can't be run."""
    try:
        weights_path(load_config(SHIPPED).by_name["smollm2"].model)
    except ConfigError as exc:
        pytest.skip(exc.message)
    if find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed: pip install 'switchyard-llm[local]'")


@dataclass
class LaunchedExpert:
    expert: Expert
    server: ServerProcess

    def call(self, kind: Kind, **fields: Any) -> Call:
        call = call_of(kind, **fields)
        return Call(call.kind, call.body, call.deadline, self.server.endpoint)

    async def ask(self, kind: Kind, **fields: Any) -> Answer:
        return await self.expert.answer(self.call(kind, **fields))


@asynccontextmanager
async def launched(name: str, base_dir: Path, **changes: Any) -> AsyncIterator[LaunchedExpert]:
    """The expert called `name` in the shipped experts.yaml, with changes to its entry."""
    entry = load_config(SHIPPED).by_name[name].model_dump(exclude_unset=True) | changes
    spec = Config.model_validate({"version": 1, "experts": [entry]}).experts[0]
    engine = LocalEngine()
    try:
        async with open_session() as http:
            try:
                expert = make_expert(spec, Services(http, expert={}.__getitem__, base_dir=base_dir))
                server = await engine.launch(name, Launch(spec, base_dir))
            except (ConfigError, MissingExtra) as exc:
                pytest.skip(exc.message)
            yield LaunchedExpert(expert, server)
    finally:
        await engine.close()
