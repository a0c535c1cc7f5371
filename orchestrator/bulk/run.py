"""One batch: every line answered once, whatever interrupts it, and what came of each as OpenAI writes it.

    run = Run(scanned.lines, source, journal, answerer, caller=caller, deadline=deadline, ...)
    await run.look_back()                     # what the journal has from before
    await run.work(floor)                     # cancelled or killed, it goes on from there the next time
    for line in run.results(): ...            # Result(is_ok=True, text=b'{"id": "batch_req_...", "custom_id": ..., ...}')

What is answered goes into the journal before anything else is made of it. Not here: where files come from and go to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar

import msgspec

from orchestrator.bulk.asking import Answerer
from orchestrator.bulk.floor import Floor, Job, PutOff
from orchestrator.bulk.lines import Line, Request, Source
from orchestrator.bulk.sharing import share_out
from orchestrator.bulk.turns import Asked
from orchestrator.errors import DataError, LabelError
from orchestrator.gateway.errors import translate
from orchestrator.labelling.journal import Entry, Journal
from orchestrator.types import Caller

OK = 200

P = ParamSpec("P")
T = TypeVar("T")

Watch = Callable[[int, int], None]
"""Told how many lines are done, of how many."""


@dataclass(slots=True)
class Counts:
    """Lines of a batch: all, those that were answered, those that failed."""

    total: int
    completed: int = 0
    failed: int = 0

    @property
    def done(self) -> int:
        return self.completed + self.failed


@dataclass(slots=True)
class Spent:
    """What all lines took that are done. cost_usd: by the experts' prices."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a line. text: as it stands in an output file, or an error file where it is not ok."""

    is_ok: bool
    text: bytes


class Run:
    """deadline: monotonic seconds. keeps_failures: a line that failed counts as done in later runs; else it is tried again.

    patience_s: how long a line waits for experts whose failures may pass.
    """

    def __init__(
        self,
        lines: Sequence[Line],
        source: Source,
        journal: Journal,
        answerer: Answerer,
        *,
        caller: Caller,
        deadline: float,
        patience_s: float,
        keeps_failures: bool,
        watch: Watch = lambda done, total: None,
    ) -> None:
        self._lines = lines
        self._source = source
        self._journal = journal
        self._answerer = answerer
        self._caller = caller
        self._deadline = deadline
        self._patience_s = patience_s
        self._keeps_failures = keeps_failures
        self._watch = watch
        self._left: list[Line] = list(lines)
        self._experts: dict[str, str] = {}
        self.counts = Counts(total=len(lines))
        self.spent = Spent()
        self.num_asked = 0
        """Lines that were done in this run, rather than in an earlier one."""

    async def look_back(self) -> None:
        """Find what was done in earlier runs. Raises `DataError` for a file that was changed."""
        self._left = await in_whole_thread(self._not_done)

    async def share_out(self, places: Mapping[str, int]) -> None:
        """Give the experts no more lines than they have places. Raises `DataError` when that can't be."""
        requests = map(self._source.request, self._lines)
        self._experts = await share_out(
            requests, lambda request: self._answerer.utilities(self._asked(request)), places
        )

    async def work(self, floor: Floor) -> None:
        """Do what is left. Raises `LabelError` when answers can't be kept, `DataError` for a file that was changed."""
        await floor.work(self._jobs())

    def results(self, unfinished: dict[str, str] | None = None) -> Iterator[Result]:
        """In the order of the lines. unfinished: the error of those that are not done; None leaves them out."""
        for line in self._lines:
            request = self._source.request(line)
            entry = self._journal.get(request.key)
            if entry is not None:
                text = _text(request.key, request.custom_id, msgspec.Raw(str(entry.value).encode()), None)
                yield Result(entry.measured["status"] == OK, text)
            elif unfinished is not None:
                yield Result(False, _text(request.key, request.custom_id, None, unfinished))

    def _not_done(self) -> list[Line]:
        left = []
        for line in self._lines:
            entry = self._journal.get(self._source.request(line).key)
            if entry is None or not (self._keeps_failures or entry.measured["status"] == OK):
                left.append(line)
            else:
                self._count(entry)
        return left

    def _jobs(self) -> Iterator[Job]:
        for line in self._left:
            yield Job(asks=self._answerer.asks(self._source.request(line).body), run=partial(self._answer, line))

    async def _answer(self, line: Line, job: Job) -> None:
        """Once it is done it is in the journal."""
        request = self._source.request(line)
        try:
            answered = await self._answerer.answer(self._asked(request), job, self._journal)
        except (LabelError, DataError, PutOff):
            raise
        except Exception as exc:  # noqa: BLE001 (whatever is wrong with a line, it must not cost the others)
            failure = translate(exc)
            entry = _entry("", failure.status, request.key, msgspec.json.encode(failure.body()))
        else:
            decision = answered.decision
            entry = _entry(
                decision.expert or "",
                OK,
                decision.id,
                answered.body,
                cost_usd=0.0 if job.asks else decision.cost_usd,  # else it was written down call by call
                input_tokens=decision.prompt_tokens,
                output_tokens=decision.completion_tokens,
            )
        self._journal.add(request.key, entry)
        self.num_asked += 1
        self._count(entry)

    def _asked(self, request: Request) -> Asked:
        return Asked(
            request.key,
            request.url,
            request.body,
            self._caller,
            self._deadline,
            self._patience_s,
            self._experts.get(request.key),
        )

    def _count(self, entry: Entry) -> None:
        if entry.measured["status"] == OK:
            self.counts.completed += 1
        else:
            self.counts.failed += 1
        self.spent.input_tokens += int(entry.measured["input_tokens"])
        self.spent.output_tokens += int(entry.measured["output_tokens"])
        self.spent.cost_usd = self._journal.cost_usd
        self._watch(self.counts.done, self.counts.total)


async def in_whole_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """In a thread, that has ended when this does, also when it is cancelled: what it reads may be closed then."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    finally:
        await asyncio.gather(task, return_exceptions=True)


def _entry(
    expert: str,
    status: int,
    request_id: str,
    body: bytes,
    *,
    cost_usd: float = 0.0,
    input_tokens: int = 0,
    output_tokens: int = 0,
) -> Entry:
    """What came of a line, with OpenAI's `response` object as its value."""
    response = {"status_code": status, "request_id": request_id, "body": msgspec.Raw(body)}
    measured = {"status": float(status), "input_tokens": float(input_tokens), "output_tokens": float(output_tokens)}
    return Entry(expert, msgspec.json.encode(response).decode(), cost_usd, measured)


def _text(key: str, custom_id: str, response: msgspec.Raw | None, error: dict[str, str] | None) -> bytes:
    line: dict[str, Any] = {"id": f"batch_req_{key[:24]}", "custom_id": custom_id, "response": response, "error": error}
    return msgspec.json.encode(line) + b"\n"
