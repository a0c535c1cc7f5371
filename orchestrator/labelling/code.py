"""The reward `code`: the share of the query's `tests` that the answer's Python passes, each run in a sandbox of its own.

    {"query": "Write f(x), twice x.", "tests": ["assert f(2) == 4", "assert f(-1) == -2"]}
    {"query": "Print twice the number you read.", "tests": [{"input": "21\\n", "output": "42\\n"}]}

The code is the answer's longest fenced block, or all of it. Python tests run after it in the same process, so code that sets out to
cheat can claim to have passed; printed output is compared here and can't lie. What the sandbox stops, and what it doesn't, is in
`sandbox.py`. Not here: other languages.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
from collections.abc import Mapping

from orchestrator.labelling.base import Tools
from orchestrator.labelling.queries import InOut, Item
from orchestrator.labelling.sandbox import DEFAULT_LIMITS, FENCES, Limits, confinement, run_python

_FENCED = re.compile(r"```[^\n`]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)
_THEN_TEST = """
names = {{"__name__": "answer"}}
exec(compile({code!r}, "<answer>", "exec"), names)
exec(compile({test!r}, "<test>", "exec"), names)
print("\\n" + {mark!r}, flush=True)
"""

logger = logging.getLogger(__name__)


async def make(argument: str, tools: Tools) -> CodeGrader:
    """Says in the log what the sandbox can't stop on this machine. Raises `LabelError` when there can be no sandbox."""
    if missing := FENCES - await confinement():
        logger.warning(
            "answers' code runs with limits, but on this machine nothing fences off %s", ", ".join(sorted(missing))
        )
    return CodeGrader()


class CodeGrader:
    judged = False

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._room = asyncio.Semaphore(os.cpu_count() or 1)

    def check(self, item: Item) -> None:
        if not item.tests:
            raise ValueError("the reward 'code' needs the field 'tests'")

    async def grade(self, item: Item, answers: Mapping[str, str | None]) -> dict[str, float]:
        return {expert: await self._share_passed(code_of(text or ""), item) for expert, text in answers.items()}

    async def _share_passed(self, code: str, item: Item) -> float:
        if not code.strip():
            return 0.0
        passed = await asyncio.gather(*(self._passes(code, test) for test in item.tests))
        return sum(passed) / len(item.tests)

    async def _passes(self, code: str, test: str | InOut) -> bool:
        async with self._room:
            if isinstance(test, InOut):
                ran = await run_python(code, stdin=test.input, limits=self._limits)
                return ran.code == 0 and _lines(ran.out) == _lines(test.output)
            mark = secrets.token_hex(16)
            ran = await run_python(_THEN_TEST.format(code=code, test=test, mark=mark), limits=self._limits)
            return ran.code == 0 and ran.out.endswith(f"\n{mark}\n")


def code_of(text: str) -> str:
    """The code of an answer: its longest fenced block, or all of it."""
    return max(_FENCED.findall(text), key=len, default=text)


def _lines(text: str) -> list[str]:
    """Printed lines, without the blanks that nobody sees."""
    return [line.rstrip() for line in text.rstrip().splitlines()]
