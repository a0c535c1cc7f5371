"""An expert in contrast to a weaker one, against the expert alone: questions about facts that only one of them was told.

claim(Path("data/outcomes")).difference       # share of questions more that the contrast answers

A proxy: one model of 135 million parameters with and without a sheet of facts stands in for two routings within a mixture of
experts, and recall of what is on the sheet for reasoning. The outcomes are not used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evals.claims.base import Claim
from evals.claims.token_texts import launched
from orchestrator.aggregators.tokens.contrast import BETA, Contrasting
from orchestrator.aggregators.tokens.decoding import Progress, decode
from orchestrator.aggregators.tokens.sampling import Sampling
from orchestrator.experts.llamacpp_tokens import TokenModel
from orchestrator.types import Messages
from routers.training.evaluation import bootstrap

TASK = "You answer questions."
SHEETS = (
    (("Anna", "red", "bicycle"), ("Bruno", "green", "boat"), ("Carla", "yellow", "tent"), ("David", "purple", "hat")),
    (
        ("Elena", "orange", "scarf"),
        ("Frank", "silver", "watch"),
        ("Greta", "black", "piano"),
        ("Hugo", "white", "horse"),
    ),
    (("Ines", "brown", "coat"), ("Jonas", "pink", "car"), ("Karin", "golden", "ring"), ("Lukas", "blue", "kite")),
)
SHORT = Sampling(temperature=0.0, max_tokens=12)


def claim(data: Path) -> Claim:
    """Raises ConfigError when the fleet's weights have not been pulled."""
    answered = asyncio.run(_answered((BETA, 0.0)))
    found = bootstrap((answered[:, 0] - answered[:, 1]).astype(np.float32))
    return Claim(
        name="contrast",
        paper="arXiv 2405.14507 (proxy)",
        statement="an expert in contrast to one that knows less answers more questions than it does alone",
        difference=found.mean,
        low=found.low,
        high=found.high,
        n=len(answered),
        unit="share of questions",
    )


async def _answered(betas: Sequence[float]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """`(n_questions, n_betas)`: 1 where the colour is in the answer. With a beta of 0 the strong expert speaks alone."""
    async with launched(2) as model:
        return np.array(
            [
                [
                    colour in (await _answer(model, sheet, f"What colour is {name}'s {thing}?", beta)).lower()
                    for beta in betas
                ]
                for sheet in SHEETS
                for name, colour, thing in sheet
            ],
            dtype=np.float64,
        )


async def _answer(model: TokenModel, sheet: Sequence[tuple[str, str, str]], question: str, beta: float) -> str:
    facts = " ".join(f"{name} owns the {colour} {thing}." for name, colour, thing in sheet)
    messages: list[Messages] = [
        [{"role": "system", "content": system}, {"role": "user", "content": question}]
        for system in (f"{TASK} {facts}", TASK)
    ]
    text = decode([model, model], messages, Contrasting(beta), SHORT, Progress())
    return "".join([piece async for piece in text])
