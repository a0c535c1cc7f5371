"""RouterDC's data sets: JSON files with a list of questions and each model's score.

    [{"question": "Which ...?\\nA. ...", "scores": {"mistralai/Mistral-7B-v0.1": 0.0, "meta-llama/Meta-Llama-3-8B": 0.83}}]

Format: `RouterDataset` in train_router_mdeberta.py of github.com/shuhao02/RouterDC (arXiv 2409.19886). The file's name is the
group. **The scores of its choice tasks are the model's confidence where it was right, and 0 where it wasn't**
(convert_dataset_7_model.ipynb), which trains routers for the over-confident, while its evaluation counts right and wrong. So it
must be said what to do with such files: `routerdc-correct` makes them right or wrong, `routerdc-confidence` keeps them, and
`routerdc` refuses them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from routers.data.importers.base import LeftOut, Trial
from routers.data.importers.records import Record, read_json, records_of
from routers.data.outcomes import OutcomeError

_ATTEMPTS = 20
"""Scores that aren't whole shares of at most this many attempts are confidences."""


def trials(path: Path) -> Iterator[Trial | LeftOut]:
    """The trials in one file of pass rates. Raises `OutcomeError` where the scores are confidences."""
    return _trials(path, _refused)


def correctness_trials(path: Path) -> Iterator[Trial | LeftOut]:
    """As `trials`, with every confidence above 0 as a reward of 1."""
    return _trials(path, lambda path, score: float(score > 0))


def confidence_trials(path: Path) -> Iterator[Trial | LeftOut]:
    """As `trials`, with confidences as they are."""
    return _trials(path, lambda path, score: score)


def _refused(path: Path, score: float) -> float:
    raise OutcomeError(
        f"{path}: scores such as {score:.4g} are confidence times correctness, not a share of right answers: "
        "import it as routerdc-correct (right or wrong, as RouterDC evaluates) or as routerdc-confidence (as they are)"
    )


def _trials(path: Path, of_confidence: Callable[[Path, float], float]) -> Iterator[Trial | LeftOut]:
    """All trials; in a file that holds confidences, every score is passed through `of_confidence`."""
    rows = [(record, _scores(record)) for record in records_of(path, read_json(path), "a list of questions")]
    confidence = next((score for _, scores in rows for score in scores.values() if not _is_pass_rate(score)), None)
    if confidence is not None:
        of_confidence(path, confidence)
    group = path.name.partition(".")[0]
    for record, scores in rows:
        for expert, score in scores.items():
            reward = score if confidence is None else of_confidence(path, score)
            yield Trial(record.text("question"), expert, reward, id=f"{group}/{record.number}", group=group)


def _scores(record: Record) -> dict[str, float]:
    scores = record.values.get("scores")
    if not isinstance(scores, dict):
        raise record.wrong("scores", "an object with a number per model")
    cells = Record(record.path, record.number, scores)
    return {expert: cells.reward(expert) for expert in scores}


def _is_pass_rate(score: float) -> bool:
    return any(abs(score * attempts - round(score * attempts)) < 1e-6 for attempts in range(1, _ATTEMPTS + 1))
