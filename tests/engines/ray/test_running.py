"""A server that an actor owns, where what goes wrong can't be had of a real cluster at will: calls that break on their way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

pytest.importorskip("ray")

from ray.exceptions import ActorPlacementGroupRemoved, ActorUnavailableError

from orchestrator.engines.ray.placing import Placed
from orchestrator.engines.ray.running import KILLED, RayServer, answer
from orchestrator.engines.ray.servers import ServerState
from orchestrator.errors import ExpertError
from orchestrator.types import Endpoint
from tests.support.servers import server


@dataclass
class Method:
    remote: Callable[[], Awaitable[Any]]


class Actor:
    """answers_at: the order to stop that it hears, of those that are sent."""

    def __init__(self, answers_at: int | None) -> None:
        self.orders = 0
        self.ended = asyncio.Event()
        self._answers_at = answers_at
        self.stop, self.exited, self.heard = Method(self._stop), Method(self._exited), Method(self._heard)

    async def _stop(self) -> None:
        self.orders += 1
        if self._answers_at is None:
            await asyncio.Event().wait()
        if self.orders < self._answers_at:
            raise ActorUnavailableError("the connection broke", bytes(16))
        self.ended.set()

    async def _exited(self) -> tuple[int, str]:
        await self.ended.wait()
        return 0, ""

    async def _heard(self) -> None:
        return


class Held(Placed):
    """Its end is the actor's."""

    def end(self) -> None:
        return


def serving(actor: Actor, stop_s: float = 60.0) -> RayServer:
    state = ServerState(server(), Endpoint("http://127.0.0.1:1/v1", "t"), 0.0, 1, asleep=False)
    return RayServer(Held("a", actor, None), state, stop_s=stop_s)


async def test_an_order_to_stop_that_is_lost_is_given_again():
    actor = Actor(answers_at=3)
    running = serving(actor)
    await asyncio.wait_for(running.stop(), 10)
    assert (actor.orders, running.exited.result()) == (3, 0)


async def test_a_server_whose_actor_does_not_answer_is_ended_without():
    stuck = serving(Actor(answers_at=None), stop_s=0.1)
    await asyncio.wait_for(stuck.stop(), 10)
    assert stuck.exited.result() == KILLED


async def test_what_was_asked_of_an_actor_whose_group_is_removed_is_an_experts_error():
    async def removed() -> None:
        raise ActorPlacementGroupRemoved

    with pytest.raises(ExpertError, match="is gone"):
        await answer("a", removed(), asyncio.get_running_loop().create_future())
