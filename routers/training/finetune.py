"""A small text encoder that learns from rewards, by torch: its vectors then tell queries apart by which expert does well on them.

    table = RewardTable.of(read_outcomes(Path("train.jsonl.gz")))
    tuned = finetune(table, "sentence-transformers/all-MiniLM-L6-v2", Path("encoders/support"), epochs=2)
    ZooterRouter(encoder=tuned.encoder).fit(outcomes)

Zooter as in its paper (arXiv 2311.08692), where the encoder is trained along with the head: the loss is that of
`routers/families/zooter.py`, and what comes out is an encoder like any other, as a folder in the layout of sentence-transformers.
The head is thrown away: any router can be fitted on the vectors. They are best fitted on outcomes that the encoder has not seen,
because on those that it has, its vectors know the answers. Needs the `torch` extra.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from routers.data.table import RewardTable
from routers.encoders import SentenceTransformersEncoder
from routers.families.zooter import HELD_OUT, reward_shares
from routers.parts.network import Rows, split_rows
from routers.parts.tags import given_tags, mined_tags

HEAD_SCALE = 100.0
"""The head learns so many times faster than the encoder: it starts from nothing, and vectors of length 1 are small."""
WARM_UP = 0.1
"""Share of the steps in which the learning rate grows; after that it falls to 0."""
CLUSTERS = 30


@dataclass(frozen=True)
class Finetuned:
    """losses: mean divergence on the held-out queries after each epoch; the encoder is as it was after the best one.

    Without held-out queries (fewer than 200 in all) the losses are those of the queries it learned from.
    """

    encoder: SentenceTransformersEncoder
    losses: tuple[float, ...]


def finetune(
    table: RewardTable,
    model: str,
    folder: Path,
    *,
    epochs: int = 2,
    batch: int = 32,
    learning_rate: float = 2e-5,
    temperature: float = 0.2,
    tag_share: float = 0.85,
    max_tokens: int = 128,
    threads: int = 1,
    seed: int = 0,
    on_step: Callable[[int, int], None] = lambda step, of: None,
) -> Finetuned:
    """model: a folder or a name, for sentence-transformers. folder: where the encoder goes. on_step: told step and their number.

    temperature and tag_share as in `ZooterRouter`. Raises ImportError, naming the extra, without torch; ValueError, before
    anything is trained, for a folder that has something in it.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder}: expected a new or empty folder for the encoder")
    start = SentenceTransformersEncoder(model, max_tokens=max_tokens, threads=threads)
    vectors = start.encode(table.queries)
    tags = given_tags(table)
    tags = mined_tags(vectors, CLUSTERS, seed) if tags is None else tags
    tuner = _Tuner(start.open(), table, reward_shares(table, tags, tag_share, temperature), seed)
    fitted, unseen = split_rows(len(table), HELD_OUT, seed)
    losses = tuner.run(fitted, unseen if len(unseen) else fitted, epochs, batch, learning_rate, on_step)
    tuner.encoder.save(str(folder))
    return Finetuned(SentenceTransformersEncoder(str(folder), max_tokens=max_tokens, threads=threads), losses)


class _Tuner:
    """An encoder with a linear head, and what they learn from. encoder: a `SentenceTransformer`."""

    def __init__(self, encoder: Any, table: RewardTable, shares: np.ndarray[Any, Any], seed: int) -> None:
        import torch

        torch.manual_seed(seed)
        self.encoder = encoder
        self.head = torch.nn.Linear(encoder.encode(["?"]).shape[1], len(table.experts)).to(encoder.device)
        torch.nn.init.zeros_(self.head.weight)
        # A lone surrogate is legal in JSON and in a str, but is no text that a tokenizer takes.
        self.queries = [query.encode("utf-8", "replace").decode() for query in table.queries]
        self.shares = torch.from_numpy(shares).to(encoder.device)
        self.dice = np.random.default_rng(seed)

    def run(
        self,
        fitted: Rows,
        judged: Rows,
        epochs: int,
        batch: int,
        learning_rate: float,
        on_step: Callable[[int, int], None],
    ) -> tuple[float, ...]:
        """The loss on the judged rows after each epoch; the encoder is left as it was at the lowest."""
        import torch

        groups = [
            {"params": self.encoder.parameters(), "lr": learning_rate},
            {"params": self.head.parameters(), "lr": HEAD_SCALE * learning_rate},
        ]
        steps = epochs * -(-len(fitted) // batch)
        optimizer = torch.optim.AdamW(groups)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
        losses: list[float] = []
        best: dict[str, Any] = {}
        for epoch in range(epochs):
            for number, rows in enumerate(self._batches(self.dice.permutation(fitted), batch)):
                optimizer.zero_grad()
                self._loss(rows).mean().backward()
                optimizer.step()
                schedule.step()
                on_step(epoch * steps // epochs + number + 1, steps)
            losses.append(self._judge(judged, batch))
            if losses[-1] == min(losses):
                best = copy.deepcopy(self.encoder.state_dict())
        self.encoder.load_state_dict(best)
        return tuple(losses)

    def _judge(self, rows: Rows, batch: int) -> float:
        import torch

        self.encoder.eval()
        with torch.no_grad():
            losses = torch.cat([self._loss(part) for part in self._batches(rows, batch)])
        self.encoder.train()
        return float(losses.mean())

    def _loss(self, rows: Rows) -> Any:
        """`(n_rows,)`: Kullback-Leibler divergence from the shares to the head's softmax."""
        import torch

        inputs = self.encoder.preprocess([self.queries[row] for row in rows])
        inputs = {name: value.to(self.encoder.device) for name, value in inputs.items() if hasattr(value, "to")}
        vectors = torch.nn.functional.normalize(self.encoder(inputs)["sentence_embedding"], dim=1)
        predicted = torch.log_softmax(self.head(vectors), dim=1)
        return torch.nn.functional.kl_div(predicted, self.shares[rows], reduction="none").sum(dim=1)

    def _batches(self, rows: Rows, batch: int) -> Iterator[Rows]:
        for start in range(0, len(rows), batch):
            yield rows[start : start + batch]


def _rate(step: int, steps: int) -> float:
    """Linear growth, then linear fall, as a share of the learning rate."""
    warm = max(1, round(WARM_UP * steps))
    return min((step + 1) / warm, (steps - step) / max(1, steps - warm))
