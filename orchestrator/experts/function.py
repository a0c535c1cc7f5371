"""A Python callable as an expert: it takes the last user turn and returns text, or None for "not my kind of question".

    experts:
      - {name: calculator, backend: function, callable: "orchestrator.experts.calculator:answer"}
      - {name: lookup, backend: function, callable: "mine:answer_all", batch: {max_items: 64}}

The module is imported once, from where Python finds modules or from the folder of `experts.yaml`. An async function runs in the
event loop; any other runs in a thread, which goes on after a deadline because threads can't be cancelled: what may hang should
be async. After None, another expert takes over, and this one's health does not suffer.

With `batch`, it takes a list of user turns and returns a list of as many texts (or None): those of requests that came while the
call before was under way. There is one call at a time in each gateway. One that fails, or returns something else than that many
answers, is made again for each question alone, and those that fail then have failed.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from orchestrator.config import FunctionSpec
from orchestrator.errors import ConfigError, ExpertError, ExpertRejected
from orchestrator.experts.base import Expert, Services
from orchestrator.experts.batching import Batcher
from orchestrator.experts.inprocess import InProcessExpert
from orchestrator.experts.inputs import question_of
from orchestrator.experts.render import text_answer
from orchestrator.experts.threads import DaemonThreads
from orchestrator.types import Answer, Call

DEFAULT_THREADS = 8

Ask = Callable[[Call], Awaitable[Any]]


def make(spec: FunctionSpec, services: Services) -> Expert:
    """Raises `ConfigError` when the callable can't be imported."""
    function = load_callable(spec.callable, services.base_dir)
    num_threads = 1 if spec.batch else spec.limits.concurrency or DEFAULT_THREADS
    called = Called(spec.name, function, num_threads)
    asked: Ask = Batched(spec.name, called, spec.batch.max_items).ask if spec.batch else called.ask
    return InProcessExpert(spec, Function(spec.name, asked).respond)


def load_callable(path: str, base_dir: Path) -> Callable[[Any], Any]:
    """The object that `module:callable` names; modules of `base_dir` are found after all others."""
    module_name, _, name = path.partition(":")
    if str(base_dir) not in sys.path:
        sys.path.append(str(base_dir))
    try:
        function = getattr(import_module(module_name), name)
    except (Exception, SystemExit) as exc:  # the module is the user's, and importing it may raise anything
        raise ConfigError(f"callable '{path}' can't be imported: {type(exc).__name__}: {exc}") from exc
    if not callable(function):
        raise ConfigError(f"callable '{path}' is a {type(function).__name__}; expected a function")
    return function  # type: ignore[no-any-return]


class Function:
    """Answers calls. ask: what the callable says to a call, None where it has no answer."""

    def __init__(self, name: str, ask: Ask) -> None:
        self._name = name
        self._ask = ask

    async def respond(self, call: Call) -> Answer:
        text = await self._ask(call)
        if text is None:
            message = f"{self._name} does not answer this kind of question"
            raise ExpertRejected(self._name, message, status=400, code="not_applicable", param=None)
        if not isinstance(text, str):
            raise ExpertError(
                self._name, "malformed", f"{self._name} returned a {type(text).__name__}; expected a text"
            )
        return text_answer(call, self._name, text)


class Called:
    """The callable, which raises nothing but `ExpertError`. num_threads: how many calls of a plain function run at once."""

    def __init__(self, name: str, function: Callable[[Any], Any], num_threads: int) -> None:
        self._name = name
        self._function = function
        self._threads = DaemonThreads(num_threads, name)

    async def ask(self, call: Call) -> Any:
        return await self.run(question_of(call, self._name))

    async def run(self, argument: Any) -> Any:
        try:
            if inspect.iscoroutinefunction(self._function):
                return await self._function(argument)
            return await self._threads.run(self._function, argument)
        except (
            Exception,
            SystemExit,
            asyncio.CancelledError,
        ) as exc:  # the function is the user's; whatever it raises, another expert takes over
            if isinstance(exc, asyncio.CancelledError) and _is_cancelled():
                raise
            raise ExpertError(self._name, "server_error", f"{self._name} raised {type(exc).__name__}") from exc


def _is_cancelled() -> bool:
    """Whether this task is, rather than something that the function has waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Batched:
    """A callable that takes many questions at once, at most `max_items`. It has until the last deadline of those who ask."""

    def __init__(self, name: str, called: Called, max_items: int) -> None:
        self._name = name
        self._called = called
        self._batcher: Batcher[tuple[str, float], Any] = Batcher(self._answers, max_items=max_items)

    async def ask(self, call: Call) -> Any:
        (answer,) = await self._batcher.run([(question_of(call, self._name), call.deadline)])
        return answer

    async def _answers(self, asked: Sequence[tuple[str, float]]) -> Sequence[Any]:
        """Raises `ExpertError` when there are not as many answers as questions."""
        questions = [question for question, _ in asked]
        async with asyncio.timeout(max(deadline for _, deadline in asked) - time.monotonic()):
            answers = await self._called.run(questions)
        if not isinstance(answers, list | tuple):
            returned = f"a {type(answers).__name__}"
        elif len(answers) != len(asked):
            returned = f"{len(answers)} answers"
        else:
            return answers
        expected = f"expected a list of {len(asked)}, one answer for each question"
        raise ExpertError(self._name, "malformed", f"{self._name} returned {returned}; {expected}")
