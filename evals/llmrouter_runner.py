"""One side of `bench_llmrouter`, in a process and a Python environment of its own: four routers read, trained and asked.

    .bench/llmrouter/bin/python -P evals/llmrouter_runner.py llmrouter FOLDER
    python -m evals.llmrouter_runner switchyard FOLDER

Reads the files that `evals/bench_llmrouter.py` wrote to FOLDER and writes `FOLDER/llmrouter.json` or `switchyard.json`. It imports
no more than numpy at its top, because LLMRouter's environment has nothing of ours and ours nothing of LLMRouter's.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from routers.base import FloatArray

ROUTERS = {"knn": "knn", "svm": "linear", "mlp": "mlp", "mf": "factorization"}
"""LLMRouter's, and our nearest to each."""
START = "start"

Parts = dict[str, tuple[float, float]]
"""Seconds by the clock and of the processor, of `read`, `train` and `route`."""


@contextmanager
def timed(parts: Parts, name: str) -> Iterator[None]:
    """Writes down what the block took, on all threads of this process."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    yield
    parts[name] = (time.perf_counter() - wall_s, time.process_time() - cpu_s)


def main(side: str, folder: Path) -> None:
    """side: `llmrouter` or `switchyard`."""
    parts: Parts = {}
    with timed(parts, START):
        measure = {"llmrouter": _llmrouter, "switchyard": _switchyard}[side](folder)
    found: dict[str, object] = {START: {"parts": parts}}
    for name in ROUTERS:
        parts = {}
        reward = measure(name, parts)
        found[name] = {"parts": parts, "reward": reward}
    (folder / f"{side}.json").write_text(json.dumps(found), encoding="utf-8")


Measure = Callable[[str, Parts], float]
"""A router's name in `ROUTERS` and where to write what its parts took -> the mean reward of what it chose."""


def _llmrouter(folder: Path) -> Measure:
    """Its command line's own loader, `trainer.train()` and `router.route_batch()`, from the files and configs in the folder."""
    import torch

    loading = import_module("llmrouter.cli.router_train")
    queries = [json.loads(line)["query"] for line in (folder / "embedded.jsonl").read_text("utf-8").splitlines()]
    vectors = torch.from_numpy(np.load(folder / "vectors.npy"))
    torch.save(vectors, folder / "vectors.pt")
    _without_models(dict(zip(queries, vectors, strict=True)))

    def measure(name: str, parts: Parts) -> float:
        with timed(parts, "read"):
            router, trainer = loading.load_router_and_trainer(f"{name}router", str(folder / f"{name}.yaml"), "cpu")
        with timed(parts, "train"):
            trainer.train()
        with timed(parts, "route"):
            frame = router.routing_data_test
            cells = zip(frame["query"], frame["model_name"], strict=True)
            rewards = dict(zip(cells, frame["performance"], strict=True))
            return float(np.mean([rewards[row["query"], row["model_name"]] for row in router.route_batch()]))

    return measure


def _without_models(vectors: dict[str, Any]) -> None:
    """`route_batch` embeds each query and calls the chosen model; here vectors are looked up, and models answer nothing."""
    for name in ROUTERS:
        module = import_module(f"llmrouter.models.{name}router.router")
        module.get_longformer_embedding = vectors.__getitem__  # type: ignore[attr-defined]
        module.call_api = lambda request, **_: {"response": ""}  # type: ignore[attr-defined]


def _switchyard(folder: Path) -> Measure:
    """Outcome files, `fit` and `predict`, with an encoder that looks vectors up."""
    from routers.data.outcomes import read_outcomes
    from routers.registry import make_router
    from routers.training.evaluation import choose

    def measure(name: str, parts: Parts) -> float:
        with timed(parts, "read"):
            train, test = (list(read_outcomes(folder / f"{split}.jsonl")) for split in ("train", "test"))
            encoder = _Given([outcome.query for outcome in (*train, *test)], np.load(folder / "vectors.npy"))
        with timed(parts, "train"):
            router = make_router(ROUTERS[name], experts=(), encoder=encoder, parameters={}).fit(train)
        with timed(parts, "route"):
            choice = choose(router.predict([outcome.query for outcome in test]))
            chosen = [router.experts_[column] for column in choice]
            return float(np.mean([outcome.rewards[expert] for outcome, expert in zip(test, chosen, strict=True)]))

    return measure


class _Given:
    """An encoder of texts whose vectors are known."""

    fingerprint = "given"

    def __init__(self, texts: Sequence[str], vectors: FloatArray) -> None:
        self.places = {text: place for place, text in enumerate(texts)}
        self.vectors = vectors

    @property
    def dimensions(self) -> int:
        return int(self.vectors.shape[1])

    def encode(self, texts: Sequence[str]) -> FloatArray:
        return self.vectors[[self.places[text] for text in texts]]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
