"""A learned fusion on disk: a folder as a router's (`routers/artifact.py`), with the same checks.

    write_fusion(Path("artifacts/fusion"), fusion, reference, cross_validated)
    fusion = read_fusion(Path("artifacts/fusion"), encoders=[encoder])

Besides the fusion it holds what it is measured against, and what cross-validation has shown. Not here: learning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from routers.artifact import ArtifactError, load_artifact, save_artifact
from routers.base import Encoder, ExpertCard
from routers.fusing.evaluation import Evaluation, Reference, as_json
from routers.fusing.fusion import Fusion
from routers.registry import make_router
from routers.training.card import interval_text, table_lines


def write_fusion(folder: Path, fusion: Fusion, reference: Reference, judged: Mapping[str, Evaluation]) -> str:
    """The artifact's fingerprint. judged: by name of the budget. Raises `ArtifactError` for a folder of something else."""
    metrics = {
        "reference": asdict(reference),
        "cross_validated": {name: as_json(each) for name, each in judged.items()},
    }
    return save_artifact(folder, fusion, metrics=metrics, card=_card(fusion, reference, judged))


def read_fusion(folder: Path, *, encoders: Sequence[Encoder] = ()) -> Fusion:
    """encoders: those there are here; the fusion gets the one it learned with.

    Raises `ArtifactError` for a folder that is missing, damaged, of a router, or learned with another encoder.
    """
    return read_judged_fusion(folder, encoders=encoders)[0]


def read_judged_fusion(folder: Path, *, encoders: Sequence[Encoder] = ()) -> tuple[Fusion, Reference]:
    """With what it is measured against. Raises `ArtifactError`."""
    artifact = load_artifact(folder, encoders=encoders, make=_make)
    fusion: Any = artifact.router
    if not isinstance(fusion, Fusion):
        raise ArtifactError(
            f"{folder}: holds a router of type '{fusion.type}', expected what `switchyard fuse train` wrote"
        )
    try:
        return fusion, TypeAdapter(Reference).validate_python(artifact.metrics.get("reference"))
    except ValidationError as exc:
        raise ArtifactError(f"{folder}: can't be used: it doesn't say what it is measured against") from exc


def _make(type: str, *, experts: Sequence[ExpertCard], encoder: Encoder | None, parameters: Mapping[str, Any]) -> Any:
    """A fusion, or one of the routers that it holds."""
    if type != Fusion.type:
        return make_router(type, experts=experts, encoder=encoder, parameters=parameters)
    if encoder is None:
        raise ValueError("a fusion needs an encoder")
    return Fusion(encoder=encoder)


def _card(fusion: Fusion, reference: Reference, judged: Mapping[str, Evaluation]) -> str:
    """Markdown. Accuracies are 0..1, intervals hold 95%."""
    rows = [
        (
            name,
            interval_text(each.accuracy),
            "" if each.gain is None else interval_text(each.gain),
            f"{each.calls_mean:.2f}",
            "" if each.cost_mean is None else f"{each.cost_mean:.6g}",
        )
        for name, each in judged.items()
    ]
    baselines = next(iter(judged.values())).baselines
    plain = [(name.replace("_", " "), "" if value is None else f"{value:.4f}") for name, value in baselines.items()]
    header = ("", "accuracy", "gain over the best single expert", "mean calls", f"mean cost ({fusion.prices_.unit})")
    lines = [
        "# A learned fusion of answers",
        "",
        f"- experts: {', '.join(fusion.experts_)}",
        f"- learned from {reference.summary.num_queries:,} queries (fingerprint `{reference.summary.fingerprint}`)",
        f"- reads texts with `{fusion.encoder.fingerprint}`",
        "",
        "## Cross-validated",
        "",
        *table_lines(header, rows),
        "",
        *table_lines(("for comparison", "accuracy"), plain),
    ]
    return "\n".join(lines) + "\n"
