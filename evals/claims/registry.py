"""Every claim by name: `python -m evals.bench claims --only zooter`."""

from __future__ import annotations

import importlib

from evals.claims.base import ClaimFunction

CLAIMS: tuple[str, ...] = (
    "agreement",
    "bandit",
    "cascade",
    "cluster",
    "composition",
    "contrast",
    "contrastive",
    "dynamic_logits",
    "factorization",
    "frugal",
    "fusion_of_experts",
    "gates",
    "hierarchical",
    "kshot",
    "logits",
    "medprompt",
    "nearest",
    "neighbours",
    "persona",
    "prompts",
    "retriever",
    "self_select",
    "skills",
    "tree",
    "vote",
    "zooter",
)
"""Names of modules in this package."""


def claim_function(name: str) -> ClaimFunction:
    """Raises ValueError, with those that there are, for an unknown one."""
    if name not in CLAIMS:
        raise ValueError(f"unknown claim '{name}', expected one of {', '.join(CLAIMS)}")
    function: ClaimFunction = importlib.import_module(f"evals.claims.{name}").claim
    return function
