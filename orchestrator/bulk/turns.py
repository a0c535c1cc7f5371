"""The experts of a fleet as a line of a batch asks them: each call once, in whatever run of the line.

    line = LineRun(answerer.ask, fleet, asked, job, journal)
    answer = await ExpertsInTurn(line)["llama"].answer(call)        # from the journal, if it was answered before

A call that failed in an earlier run of the line fails again without being made. Not here: how one is asked (`asking.py`), and whose
turn it is (`floor.py`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from orchestrator.bulk.floor import Job
from orchestrator.config import ExpertBase
from orchestrator.errors import SwitchyardError
from orchestrator.experts.base import Expert
from orchestrator.fleet.snapshot import Fleet
from orchestrator.labelling.journal import Entry, Journal
from orchestrator.routing.pricing import cost_usd
from orchestrator.types import Answer, Call, Caller, Usage


@dataclass(frozen=True, slots=True)
class Asked:
    """A line, and on whose behalf it is asked. deadline: monotonic seconds. expert: whom it was given to, where places are few.

    patience_s: how long it is put off altogether before a failure that may pass is its end.
    """

    key: str
    url: str
    body: bytes
    caller: Caller
    deadline: float
    patience_s: float = 0.0
    expert: str | None = None


@dataclass(slots=True)
class LineRun:
    """One run of a line.

    ask: asks one expert when it is its turn. journal: None where the line asks a single expert, whose answer is the line's.
    """

    ask: Ask
    fleet: Fleet
    asked: Asked
    job: Job
    journal: Journal | None
    times: Counter[str] = field(default_factory=Counter)

    def key(self, expert: str, call: Call) -> str:
        """What tells this call from all others; one that is made again in the same run is another sample, and another call."""
        said = msgspec.json.encode([self.asked.key, expert, call.kind, call.body], order="sorted")
        digest = hashlib.sha256(said).hexdigest()
        self.times[digest] += 1
        return f"{digest}/{self.times[digest]}"


Ask = Callable[[Expert, ExpertBase, Call, LineRun], Awaitable[Answer]]


class ExpertsInTurn(Mapping[str, Expert]):
    """The experts of a fleet, as a line asks them."""

    def __init__(self, line: LineRun) -> None:
        self._line = line

    def __getitem__(self, name: str) -> Expert:
        fleet = self._line.fleet
        spec, expert = fleet.specs[name], fleet.experts[name]
        return expert if spec.composite else _InTurn(expert, spec, self._line)

    def __iter__(self) -> Iterator[str]:
        return iter(self._line.fleet.experts)

    def __len__(self) -> int:
        return len(self._line.fleet.experts)


@dataclass(frozen=True, slots=True)
class _InTurn:
    """An expert that is asked when it is its turn, and once."""

    expert: Expert
    spec: ExpertBase
    line: LineRun

    async def answer(self, call: Call) -> Answer:
        line = self.line
        key, failed = line.key(self.spec.name, call), line.job.failed
        if key in failed:
            raise _copy(failed[key])
        if line.journal is not None and (entry := line.journal.get(key)) is not None:
            usage = Usage(int(entry.measured["prompt_tokens"]), int(entry.measured["completion_tokens"]))
            return Answer(body=str(entry.value).encode(), usage=usage)
        try:
            answer = await line.ask(self.expert, self.spec, call, line)
        except SwitchyardError as error:
            failed[key] = _copy(error)
            raise
        if line.journal is not None:
            self._keep(line.journal, key, answer)
        return answer

    def _keep(self, journal: Journal, key: str, answer: Answer) -> None:
        assert answer.body is not None, "no line asks for a stream"
        tokens = answer.usage.prompt_tokens, answer.usage.completion_tokens
        measured = {"prompt_tokens": float(tokens[0]), "completion_tokens": float(tokens[1])}
        journal.add(key, Entry(self.spec.name, answer.body.decode(), cost_usd(self.spec.price, *tokens), measured))


def _copy(error: SwitchyardError) -> SwitchyardError:
    """A twin to raise: panels change those that they catch, and each holds the frames that it passed."""
    twin = type(error).__new__(type(error), *error.args)
    twin.__dict__.update(error.__dict__)
    return twin
