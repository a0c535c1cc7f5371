"""Every reward by name: what follows `--reward`, and the module that grades so, imported when it is asked for.

    grader = await make_grader("numeric", tools)
    grader = await make_grader("judge:gpt-large", tools)          # what follows the colon is the reward's own

A new reward is a module with `async def make(argument, tools) -> Grader`, and a line here.
"""

from __future__ import annotations

from importlib import import_module

from orchestrator.errors import LabelError
from orchestrator.labelling.base import Grader, Tools

GRADERS: dict[str, str] = {
    "exact": "orchestrator.labelling.exact",
    "numeric": "orchestrator.labelling.numeric",
    "choice": "orchestrator.labelling.choice",
    "contains": "orchestrator.labelling.contains",
    "regex": "orchestrator.labelling.pattern",
    "json_schema": "orchestrator.labelling.schema",
    "code": "orchestrator.labelling.code",
    "similarity": "orchestrator.labelling.similarity",
    "judge": "orchestrator.labelling.judge",
    "pairwise": "orchestrator.labelling.pairwise",
    "model": "orchestrator.labelling.rewardmodel",
    "dmoerm": "orchestrator.labelling.dmoerm",
}
ARGUMENTS = {"similarity": "EXPERT", "judge": "EXPERT", "pairwise": "EXPERT", "model": "ID", "dmoerm": "EXPERT"}
"""What the rewards that take an argument call it."""


def reward_names() -> str:
    """All of them, as they are written."""
    return ", ".join(f"{name}:{ARGUMENTS[name]}" if name in ARGUMENTS else name for name in GRADERS)


async def make_grader(reward: str, tools: Tools) -> Grader:
    """The grader behind a reward's name. Raises what `check_reward` raises, and what making it raises."""
    check_reward(reward)
    name, _, argument = reward.partition(":")
    if name != "dmoerm" and (tools.weights or tools.pairs):
        raise LabelError("weights and pairs are for the reward dmoerm:EXPERT only")
    grader: Grader = await import_module(GRADERS[name]).make(argument, tools)
    return grader


def check_reward(reward: str) -> None:
    """Raises `LabelError` that lists the known ones unless there is such a reward."""
    name, colon, argument = reward.partition(":")
    if name not in GRADERS:
        raise LabelError(f"'{name}' is no reward; expected one of {reward_names()}")
    if (name in ARGUMENTS) != bool(argument) or (colon and not argument):
        wanted = f"{name}:{ARGUMENTS[name]}" if name in ARGUMENTS else name
        raise LabelError(f"'{reward}' is no reward; expected {wanted}")
