"""A Python callable as an expert: it takes the last user turn and returns text, or None for "not my kind of question".

    experts:
      - {name: calculator, backend: function, callable: "orchestrator.experts.calculator:answer"}

The module is imported once, from where Python finds modules or from the folder of `experts.yaml`. An async function runs in the
event loop; any other runs in a thread, which goes on after a deadline because threads can't be cancelled: what may hang should
be async. After None, another expert takes over, and this one's health does not suffer.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from orchestrator.config import FunctionSpec
from orchestrator.errors import ConfigError, ExpertError, ExpertRejected
from orchestrator.experts.base import Expert, Services
from orchestrator.experts.inprocess import InProcessExpert
from orchestrator.experts.inputs import question_of
from orchestrator.experts.render import text_answer
from orchestrator.experts.threads import DaemonThreads
from orchestrator.types import Answer, Call

DEFAULT_THREADS = 8


def make(spec: FunctionSpec, services: Services) -> Expert:
    """Raises `ConfigError` when the callable can't be imported."""
    function = load_callable(spec.callable, services.base_dir)
    return InProcessExpert(spec, Function(spec.name, function, spec.limits.concurrency or DEFAULT_THREADS).respond)


def load_callable(path: str, base_dir: Path) -> Callable[[str], Any]:
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
    """Asks the callable. num_threads: how many calls of a plain function run at once; the others wait."""

    def __init__(self, name: str, function: Callable[[str], Any], num_threads: int) -> None:
        self._name = name
        self._function = function
        self._threads = DaemonThreads(num_threads, name)

    async def respond(self, call: Call) -> Answer:
        text = await self._ask(question_of(call, self._name))
        if text is None:
            message = f"{self._name} does not answer this kind of question"
            raise ExpertRejected(self._name, message, status=400, code="not_applicable", param=None)
        if not isinstance(text, str):
            raise ExpertError(
                self._name, "malformed", f"{self._name} returned a {type(text).__name__}; expected a text"
            )
        return text_answer(call, self._name, text)

    async def _ask(self, question: str) -> Any:
        try:
            if inspect.iscoroutinefunction(self._function):
                return await self._function(question)
            return await self._threads.run(self._function, question)
        except (
            Exception,
            SystemExit,
        ) as exc:  # the function is the user's; whatever it raises, another expert takes over
            raise ExpertError(self._name, "server_error", f"{self._name} raised {type(exc).__name__}") from exc
