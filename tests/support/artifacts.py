"""Tiny trained routers on disk, for tests of what is done with them.

folder = trained(tmp_path / "a", good_at_sums="b", good_at_chat="a")
"""

from pathlib import Path

from routers.artifact import save_artifact
from routers.base import Encoder, Outcome
from routers.data.costs import CostModel
from routers.data.table import RewardTable
from routers.encoders import HashedEncoder
from routers.families.linear import LinearRouter

SUMS = [f"What is {a} + {b}?" for a in range(3, 9) for b in range(3, 8)]
CHATS = [
    f"Tell me a {what} about {whom}"
    for what in ("joke", "story", "poem")
    for whom in ("cats", "rain", "my aunt", "bread")
]


def outcomes(good_at_sums: str, good_at_chat: str, usd: dict[str, float] | None = None) -> list[Outcome]:
    """Each expert is perfect at one kind of query and useless at the other."""
    sums = [Outcome(query, {good_at_sums: 1.0, good_at_chat: 0.0}, costs=usd or {}) for query in SUMS]
    return sums + [Outcome(query, {good_at_sums: 0.0, good_at_chat: 1.0}, costs=usd or {}) for query in CHATS]


def trained(
    folder: Path,
    *,
    good_at_sums: str,
    good_at_chat: str,
    usd: dict[str, float] | None = None,
    encoder: Encoder | None = None,
) -> Path:
    """usd: what every query costs, by expert."""
    learned = outcomes(good_at_sums, good_at_chat, usd)
    router = LinearRouter(encoder=encoder or HashedEncoder(256), penalty=1.0).fit(learned)
    save_artifact(folder, router, costs=CostModel.fit(RewardTable.of(learned)), card="# for a test")
    return folder
