"""Who speaks when in a turn of a discussion, and whom each of them has heard: the four paradigms, as pure functions.

    waves("relay", ("a", "b", "c"), dice)                  # [{'a': {'c'}}, {'b': {'a'}}, {'c': {'b'}}], by sets of names

Those of a wave speak at the same time, so that none of them has the last word; the next wave has heard this one. The paradigms are
those of "Multi-Agent LLMs for Conversational Task-Solving" (arXiv 2410.22932), where members speak one after another in all of
them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

Paradigm = Literal["memory", "report", "relay", "debate"]
Wave = dict[str, frozenset[str]]


def waves(paradigm: Paradigm, speakers: Sequence[str], dice: random.Random) -> list[Wave]:
    """Whom each speaker has heard, wave by wave.

    memory: everybody hears all. report: the first speaker hears all, and the others hear only that one. relay: each hears the one
    before. debate: pairs by lot hear each other; of an odd number, three do.
    """
    everybody = frozenset(speakers)
    if paradigm == "report":
        moderator, *others = speakers
        reports = {speaker: frozenset({moderator}) for speaker in others}
        return [*([reports] if reports else []), {moderator: everybody - {moderator}}]
    if paradigm == "relay":
        before = (*speakers[-1:], *speakers[:-1])
        return [{speaker: frozenset({heard}) - {speaker}} for speaker, heard in zip(speakers, before, strict=True)]
    groups = [everybody] if paradigm == "memory" else _pairs(dice.sample(list(speakers), len(speakers)))
    return [{speaker: group - {speaker} for group in groups for speaker in speakers if speaker in group}]


def _pairs(shuffled: Sequence[str]) -> list[frozenset[str]]:
    starts = range(0, max(1, len(shuffled) - 1), 2)
    return [frozenset(shuffled[start : None if start == starts[-1] else start + 2]) for start in starts]
