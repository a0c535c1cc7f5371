"""Our training and evaluation against LLMRouter's own: the same outcomes, vectors and core, in one run.

    make bench-llmrouter && python -m evals.bench llmrouter

Every router is read from files, trained with its default settings, asked about every test query, and earns the recorded reward
of the model that it chose: LLMRouter by its own loader, trainers and `route_batch`, with the settings of its example configs; we
by `read_outcomes`, `fit` and `predict`. Each side has a process of its own, alone on one core with one thread. What would cost
LLMRouter most is left out: where `route_batch` would run Longformer it gets the query's vector from a table, no model is called,
and its configs name no file that these routers don't use. Its `text_dim` is that of the vectors. It trains on which model won
each query, the first of equals; ours train on the rewards. It seeds nothing, so its `mlp` and `mf` earn a little more or less each
time. Last comes a whole `switchyard bench` of the same routers, with its metrics and report, when every text has been encoded.
Not here: encoding, which both would have to do.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from evals.contenders import pin
from evals.llmrouter_runner import ROUTERS, START
from orchestrator.fleet.configfile import read_config
from orchestrator.fleet.encoding import training_encoder
from routers.base import Encoder, Outcome
from routers.data.outcomes import read_outcomes, write_outcomes

RUNNER = Path(__file__).with_name("llmrouter_runner.py")
CORE = 0
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
HPARAMS: dict[str, dict[str, Any]] = {
    "knn": {
        "n_neighbors": 5,
        "weights": "uniform",
        "algorithm": "auto",
        "leaf_size": 30,
        "p": 2,
        "metric": "minkowski",
        "n_jobs": -1,
    },
    "svm": {"kernel": "rbf", "C": 1.0, "gamma": "scale", "probability": True},
    "mlp": {
        "hidden_layer_sizes": [128, 64],
        "activation": "relu",
        "lr": 0.001,
        "epochs": 100,
        "batch_size": 32,
        "alpha": 0.0001,
    },
    "mf": {"latent_dim": 128, "lr": 0.001, "epochs": 5, "noise_alpha": 0.0},
}
"""Of configs/model_config_train in github.com/ulab-uiuc/LLMRouter."""

Seconds = Sequence[float]
"""By the clock, and of the processor."""
Pair = tuple[Seconds, Seconds]
"""LLMRouter's and ours."""
Side = Mapping[str, Mapping[str, Any]]
"""What the runner wrote: by router, `parts` and `reward`."""


@dataclass(frozen=True, slots=True)
class Row:
    """One of LLMRouter's routers (theirs) and our nearest to it, in one part of the work.

    part: `read` the files, `train`, `route` the test queries and look their rewards up, `all` three; `start` is imports; `sweep` is
    start and all, and our whole command. s: by the clock. cpu_s: of the processor. speedup: theirs over ours. reward: mean x 100.
    """

    routers: str
    part: str
    theirs_s: float
    ours_s: float
    speedup: float
    theirs_cpu_s: float
    ours_cpu_s: float
    cpu_speedup: float
    their_reward: float = float("nan")
    our_reward: float = float("nan")


def bench_llmrouter(
    train: Path, test: Path, *, python: Path, config: Path, features: str | None = None
) -> Iterator[Row]:
    """train, test: outcome files. python: of LLMRouter's environment. config, features: of the encoder, as of `switchyard train`.

    Raises RuntimeError with its output where a side fails.
    """
    encoder = training_encoder(features, read_config(config), config.parent)
    command = ["--config", str(config.absolute()), *([] if features is None else ["--features", features])]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder, list(read_outcomes(train)), list(read_outcomes(test)), encoder)
        theirs = _side([str(python.absolute()), "-P", str(RUNNER)], "llmrouter", folder)
        ours = _side([sys.executable, "-m", "evals.llmrouter_runner"], "switchyard", folder)
        _sweep(command, folder / "encoding")
        sweep = _sweep(command, folder / "sweep")
    yield from rows(theirs, ours, sweep)


def write_files(folder: Path, train: Sequence[Outcome], test: Sequence[Outcome], encoder: Encoder) -> None:
    """What both sides read: outcomes for us; routing data, test queries and a config for each router for LLMRouter; vectors."""
    vectors = encoder.encode([outcome.query for outcome in (*train, *test)])
    np.save(folder / "vectors.npy", vectors)
    write_outcomes(folder / "train.jsonl", train)
    write_outcomes(folder / "test.jsonl", test)
    split = [replace(outcome, split=part) for part, found in (("train", train), ("test", test)) for outcome in found]
    write_outcomes(folder / "outcomes.jsonl", split)
    _write_lines(folder / "routing_train.jsonl", routing_rows(train))
    _write_lines(folder / "routing_test.jsonl", routing_rows(test, first_embedding=len(train)))
    _write_lines(folder / "query_test.jsonl", ({"query": outcome.query} for outcome in test))
    _write_lines(folder / "embedded.jsonl", ({"query": outcome.query} for outcome in (*train, *test)))
    for router in ROUTERS:
        text = json.dumps(router_config(router, folder, vectors.shape[1]))  # JSON is YAML
        (folder / f"{router}.yaml").write_text(text, encoding="utf-8")


def routing_rows(outcomes: Iterable[Outcome], first_embedding: int = 0) -> Iterator[dict[str, Any]]:
    """LLMRouter's routing data: one row for each model tried on each query, in the outcomes' order, which decides its ties."""
    for place, outcome in enumerate(outcomes):
        for expert, reward in outcome.rewards.items():
            yield {
                "task_name": outcome.group,
                "query": outcome.query,
                "model_name": expert,
                "performance": reward,
                "embedding_id": first_embedding + place,
            }


def router_config(router: str, folder: Path, dimensions: int) -> dict[str, Any]:
    """LLMRouter's config of one router. dimensions: of the vectors, which its `mf` must be told."""
    model = str(folder / f"{router}.pkl")
    return {
        "data_path": {
            "query_data_test": str(folder / "query_test.jsonl"),
            "query_embedding_data": str(folder / "vectors.pt"),
            "routing_data_train": str(folder / "routing_train.jsonl"),
            "routing_data_test": str(folder / "routing_test.jsonl"),
        },
        "model_path": {"ini_model_path": "", "save_model_path": model, "load_model_path": model},
        "hparam": HPARAMS[router] | ({"text_dim": dimensions} if router == "mf" else {}),
        "api_endpoint": "none, no model is called",
    }


def rows(theirs: Side, ours: Side, sweep: Seconds) -> Iterator[Row]:
    """Imports; each router's parts and their sum; the same of all routers together; and the sweep."""
    start = (theirs[START]["parts"][START], ours[START]["parts"][START])
    yield _row("together", START, [start])
    parts: dict[str, list[Pair]] = {"read": [], "train": [], "route": []}
    for name, own in ROUTERS.items():
        title = name if name == own else f"{name} / {own}"
        pairs = {part: (theirs[name]["parts"][part], ours[name]["parts"][part]) for part in parts}
        for part, pair in pairs.items():
            parts[part].append(pair)
            yield _row(title, part, [pair])
        yield _row(title, "all", pairs.values(), theirs[name]["reward"], ours[name]["reward"])
    for part, found in parts.items():
        yield _row("together", part, found)
    everything = [pair for found in parts.values() for pair in found]
    yield _row("together", "all", everything)
    none = (0.0, 0.0)
    yield _row("together", "sweep", [(none, sweep), *((their, none) for their, _ in (start, *everything))])


def _row(
    routers: str,
    part: str,
    pairs: Iterable[Pair],
    their_reward: float = float("nan"),
    our_reward: float = float("nan"),
) -> Row:
    """pairs: what is added up."""
    (theirs_s, theirs_cpu_s), (ours_s, ours_cpu_s) = np.array(list(pairs)).sum(axis=0).tolist()
    return Row(
        routers=routers,
        part=part,
        theirs_s=theirs_s,
        ours_s=ours_s,
        speedup=theirs_s / ours_s,
        theirs_cpu_s=theirs_cpu_s,
        ours_cpu_s=ours_cpu_s,
        cpu_speedup=theirs_cpu_s / ours_cpu_s,
        their_reward=100 * their_reward,
        our_reward=100 * our_reward,
    )


def _side(command: Sequence[str], side: str, folder: Path) -> Side:
    _run([*command, side, str(folder)], folder / f"{side}.log")
    found: Side = json.loads((folder / f"{side}.json").read_text(encoding="utf-8"))
    return found


def _sweep(options: Sequence[str], out: Path) -> Seconds:
    """A whole `switchyard bench`."""
    data, routers = out.parent / "outcomes.jsonl", ",".join(ROUTERS.values())
    switchyard = str(Path(sys.executable).with_name("switchyard"))
    command = [switchyard, "bench", "--data", str(data), "--routers", routers]
    return _run([*command, "--workers", "1", "--out", str(out), *options], out.with_suffix(".log"))


def _run(command: Sequence[str], log: Path) -> Seconds:
    """On one core and one thread; what it took from start to end. Raises RuntimeError with its output."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=log.parent, stdout=output, stderr=output, env={**os.environ, **ONE_THREAD}
        )
        pin(process.pid, CORE)
        if process.wait():
            raise RuntimeError(f"{command} ended with {process.returncode}:\n{log.read_text()[-2000:]}")
    took_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return took_s, after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime


def _write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
