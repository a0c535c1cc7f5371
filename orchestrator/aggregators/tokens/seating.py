"""A panel whose members write one text together: they are given their seats, and their prompts, and its tokens are decoded.

    seats = seats_of(table, ("small", "pirate"), at_least=2)
    return written_together(table, seats, make_rule, "next tokens of 2 experts mixed")

Members are llama.cpp experts, and personas over them. One lease of each model is held as long as the text is written, in the order
of their names, so that no two panels wait for each other; personas over one model share its lease. Each keeps its prompt in a
slot of the server's as long as there is one for each (`limits.concurrency`); with fewer, every token takes reading whole prompts
again. Nobody waits for a seat, or for a token, longer than `timeout_s`. Not here: decoding itself.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass

import aiohttp

from orchestrator.aggregators.base import Combined
from orchestrator.aggregators.budget import BudgetSpent
from orchestrator.aggregators.table import Table
from orchestrator.aggregators.tokens.decoding import Progress, Rule, decode
from orchestrator.aggregators.tokens.sampling import Sampling, sampling_of
from orchestrator.config import ExpertBase, LlamaCppSpec, PersonaSpec
from orchestrator.errors import ExpertError, NoQuorum
from orchestrator.experts.llamacpp_tokens import TokenModel
from orchestrator.experts.prompted import with_system
from orchestrator.experts.render import Ending
from orchestrator.experts.session import open_session
from orchestrator.types import Endpoint, Messages, Usage


@dataclass(frozen=True, slots=True)
class Seat:
    """host: the llama.cpp expert whose weights the member answers with. messages: what the member is asked, as its own prompt."""

    member: str
    host: str
    messages: Messages


def seats_of(table: Table, members: Sequence[str], at_least: int) -> list[Seat]:
    """A seat for each of `members` that has tokens; the others are in `table.missing`.

    Raises `NoQuorum` when there are fewer than `at_least`.
    """
    seats = []
    for member in members:
        seat = _seat(table, member)
        if seat is None:
            table.missing[member] = "neither runs by llama.cpp nor is a persona with a given prompt over what does"
        else:
            seats.append(seat)
    if len(seats) < at_least:
        told = "; ".join(f"{member} {reason}" for member, reason in table.missing.items())
        raise NoQuorum(f"tokens of {at_least} experts are needed, and {len(seats)} have any ({told})")
    return seats


def in_roles(table: Table, *roles: str | None) -> list[str]:
    """The table's members, those first that fill the roles, in their order; None is filled by the next member without one.

    Raises `NoQuorum` when somebody who is named isn't there.
    """
    for role in roles:
        if role is not None and role not in table.members:
            raise NoQuorum(f"{role}, without whom no token can be chosen, is not among those who can serve it")
    others = [member for member in table.members if member not in roles]
    filled = [role or (others.pop(0) if others else None) for role in roles]
    return [*filter(None, filled), *others]


def check_roles(members: Sequence[ExpertBase], roles: Mapping[str, str | None], at_least: int) -> None:
    """Whether `in_roles` can be: who is named is a member, and with whoever fills the other roles there are `at_least` seats.

    Raises ValueError that names the role.
    """
    names = [member.name for member in members]
    for role, expert in roles.items():
        if expert is not None and expert not in names:
            raise ValueError(f"{role}: got '{expert}', expected one of {', '.join(names)}")
    named = [expert for expert in roles.values() if expert is not None]
    num_seats = len(named) + sum(name not in named for name in names)
    if num_seats < at_least:
        raise ValueError(f"experts: got {', '.join(names)}, expected {at_least - num_seats} more, in another role")


def written_together(table: Table, seats: Sequence[Seat], rule: Callable[[], Rule], why: str) -> Combined:
    """The answer is what they write, piece by piece. rule: makes a new one for each text.

    Raises `ExpertRejected` for parameters of the body that fused tokens can't have.
    """
    who = tuple(seat.member for seat in seats)
    sampling = sampling_of(table.call, who[0], seed=table.dice.getrandbits(32))
    return Combined("", who, why, pieces=lambda ending: _pieces(table, seats, rule(), sampling, ending))


async def _pieces(
    table: Table, seats: Sequence[Seat], rule: Rule, sampling: Sampling, ending: Ending
) -> AsyncGenerator[str, None]:
    progress = Progress()
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(open_session())
        models = await _models(table, seats, stack, http)
        prompts = [seat.messages for seat in seats]
        decoding = decode(models, prompts, rule, sampling, progress, until=table.until, timeout_s=table.timeout_s)
        text = await stack.enter_async_context(aclosing(decoding))
        try:
            async for piece in text:
                yield piece
        finally:
            ending.finish_reason = progress.finish_reason or "stop"
            _charge(table, seats, progress, ending)
            for seat, weight in zip(seats, rule.weights, strict=True):
                table.note("weights", seat.member, f"{weight:.3f}")


async def _models(
    table: Table, seats: Sequence[Seat], stack: AsyncExitStack, http: aiohttp.ClientSession
) -> list[TokenModel]:
    """One per seat. The leases belong to `stack`."""
    endpoints: dict[str, Endpoint] = {}
    try:
        for seat in sorted(seats, key=lambda seat: seat.host):
            if seat.host in endpoints:
                stack.enter_context(table.share(seat.member))
            else:
                endpoints[seat.host] = await _seated(table, seat, stack)
    except BudgetSpent as full:
        raise NoQuorum(str(full)) from full
    return [TokenModel(seat.member, endpoints[seat.host], http, table.call.deadline) for seat in seats]


async def _seated(table: Table, seat: Seat, stack: AsyncExitStack) -> Endpoint:
    """The server of a lease that belongs to `stack`, or no quorum: it may wait for memory that the others hold."""
    left_s = min(table.timeout_s, table.until - time.monotonic())
    try:
        async with asyncio.timeout(left_s):
            endpoint = await stack.enter_async_context(table.seat(seat.member))
    except TimeoutError as exc:
        late = f"{seat.member} had no seat within {max(left_s, 0.0):.1f} s: all who write together must be in memory at once"
        raise NoQuorum(late) from exc
    if endpoint is None:
        raise ExpertError(seat.member, "not_loaded", f"{seat.member} is not in memory")
    return endpoint


def _charge(table: Table, seats: Sequence[Seat], progress: Progress, ending: Ending) -> None:
    """To each member, what it read and wrote in all the seats it has."""
    for member, num_seats in Counter(seat.member for seat in seats).items():
        num_read = progress.prompt_tokens.get(member, 0) * num_seats
        num_written = progress.num_tokens * num_seats
        table.charge(member, Usage(num_read, num_written))
        ending.usage.prompt_tokens += num_read
        ending.usage.completion_tokens += num_written


def _seat(table: Table, member: str) -> Seat | None:
    messages = [dict(message) for message in table.messages]
    spec = table.spec(member)
    while isinstance(spec, PersonaSpec) and spec.identity is None:
        messages = with_system(messages, spec.system)
        spec = table.spec(spec.base)
    return Seat(member, spec.name, messages) if isinstance(spec, LlamaCppSpec) and spec.kind == "chat" else None
