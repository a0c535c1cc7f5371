"""A mixture of prompts: regions of the query space, each with its instruction and the demonstrations that lie in it.

    mixture = load_mixture(folder, encoders).mixture                    # orchestrator/mixtures/artifact.py
    prompt = mixture.prompt_for(vector, count=4, room_tokens=1024)      # of the region nearest to the query's vector
    prompt.before(messages)                                             # what an expert is asked

After "One Prompt is not Enough" (arXiv 2407.00256), where a region shows all of its demonstrations; here those nearest to the
query, as many as there is room for, the nearest last. Pure; not here: how regions and instructions are found (`building.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.experts.prompted import with_system
from orchestrator.tokens import MESSAGE_TOKENS, estimate
from routers.base import FloatArray


@dataclass(frozen=True)
class Demonstration:
    """A query with its right answer."""

    query: str
    answer: str

    @cached_property
    def tokens(self) -> int:
        """An upper estimate of what showing it takes."""
        return estimate(self.query) + estimate(self.answer) + 2 * MESSAGE_TOKENS


@dataclass(frozen=True, slots=True)
class Prompt:
    """What one query is preceded by."""

    instruction: str
    demonstrations: tuple[Demonstration, ...]

    def before(self, messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The messages with the instruction in their system message, and demonstrations as turns behind that."""
        system, *turns = with_system(messages, self.instruction)
        shown = [turn for each in self.demonstrations for turn in _turns(each)]
        return [system, *shown, *turns]


@dataclass(frozen=True, slots=True)
class Mixture:
    """instructions: one a region. centres: `(n_regions, dimensions)`. vectors: `(n_demonstrations, dimensions)`, of length 1.

    regions: `(n_demonstrations,)`, where each one lies.
    """

    instructions: tuple[str, ...]
    centres: FloatArray
    demonstrations: tuple[Demonstration, ...]
    vectors: FloatArray
    regions: NDArray[np.intp]

    def region_of(self, vector: FloatArray) -> int:
        """The region whose centre is nearest. vector: `(dimensions,)`."""
        return int(((self.centres - vector) ** 2).sum(axis=1).argmin())

    def prompt_for(self, vector: FloatArray, *, count: int, room_tokens: int) -> Prompt:
        """The nearest region's instruction and at most `count` demonstrations, fewer where `room_tokens` don't hold them all."""
        region = self.region_of(vector)
        instruction = self.instructions[region]
        room_tokens -= instruction_tokens(instruction)
        return Prompt(instruction, fitting(self.nearest(vector, region, count), room_tokens))

    def nearest(self, vector: FloatArray, region: int, count: int) -> list[Demonstration]:
        """The demonstrations of a region that are nearest to a query, nearest first."""
        inside = np.flatnonzero(self.regions == region)
        order = inside[np.argsort(-(self.vectors[inside] @ vector), kind="stable")]
        return [self.demonstrations[i] for i in order[:count]]


def instruction_tokens(instruction: str) -> int:
    """An upper estimate of what an instruction takes as a system message."""
    return estimate(instruction) + MESSAGE_TOKENS


def fitting(nearest_first: Sequence[Demonstration], room_tokens: int) -> tuple[Demonstration, ...]:
    """Those that there is room for, each one whole, the nearest last."""
    kept: list[Demonstration] = []
    for demonstration in nearest_first:
        if demonstration.tokens <= room_tokens:
            kept.append(demonstration)
            room_tokens -= demonstration.tokens
    return tuple(reversed(kept))


def _turns(demonstration: Demonstration) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": demonstration.query},
        {"role": "assistant", "content": demonstration.answer},
    ]
