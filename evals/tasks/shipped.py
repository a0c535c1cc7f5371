"""The tasks that Switchyard ships with: small, written for it, and in everybody's reach. Files are beside this module.

    task = shipped("arithmetic")

They show whether a fleet routes as it should, in a minute; they are no measure of a model among models. Their lines are
queries as `switchyard label` takes them, with an answer that earns 1 as `answers.reference`, which nobody who answers sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from evals.tasks.chat import ChatTask
from evals.tasks.published import queries


@dataclass(frozen=True, slots=True)
class Shipped:
    """reward: what answers are graded by. max_tokens: of an answer."""

    reward: str
    max_tokens: int


SHIPPED = {
    "arithmetic": Shipped("numeric", 128),
    "extraction": Shipped("exact", 64),
    "formatting": Shipped("regex", 96),
    "json": Shipped("json_schema", 160),
    "classification": Shipped("choice", 32),
    "code": Shipped("code", 384),
}


def path_of(name: str) -> Path:
    return Path(__file__).with_name(f"{name}.jsonl")


def shipped(name: str) -> ChatTask:
    task = SHIPPED[name]
    return queries(name, path_of(name), reward=task.reward, max_tokens=task.max_tokens)
