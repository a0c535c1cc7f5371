"""Experts that rate their own fitness, on the shipped fleet for real: SmolLM2, and the copy editor that is a persona over it.

claim(Path("data/outcomes")).difference       # share of queries that go to the role they are meant for, above one half

A proxy: likelihoods and a yes or no stand in for the paper's activation norms, and a language model of 135 million parameters is
asked. The router is calibrated on four fifths of the queries and judged by the rest. The outcomes are not used.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import numpy as np

from evals.claims.base import Claim
from evals.claims.held_out import SHIPPED
from orchestrator.gateway.requests import make_query
from orchestrator.service import running
from routers.base import FloatArray, Outcome
from routers.data.splits import fold_numbers
from routers.data.table import RewardTable
from routers.families.self_select import SIGNALS, SelfSelectRouter
from routers.training.evaluation import bootstrap

EXPERTS = ("smollm2", "editor")
FOLDS = 5
TIMEOUT_S = 120.0
CHATS = (
    "Who painted the Mona Lisa?",
    "What do whales eat?",
    "How long does it take to fly to Australia?",
    "Suggest three names for a puppy.",
    "What is the largest planet?",
    "How do vaccines work?",
    "Write a short poem about autumn.",
    "Why do cats purr?",
    "What should I pack for a beach holiday?",
    "Tell me something interesting about volcanoes.",
    "How can I sleep better?",
    "What is inflation?",
    "Who was Marie Curie?",
    "What games can children play on a rainy day?",
    "How are rainbows made?",
    "Explain what a computer network is.",
    "What is a good breakfast before a run?",
    "Where do penguins live?",
    "How old is the universe?",
    "Make up a bedtime story about a lost star.",
)
EDITS = (
    "Correct this sentence: we was late for the meeting",
    "Proofread: The reciept is in the draw",
    "Please fix the grammar in: Me and my brother goes fishing",
    "Can you rewrite this so it sounds better? I want that you call me back soon",
    "Check the spelling of: neccessary acommodation",
    "Rephrase in simple words: remuneration shall be disbursed quarterly",
    "There are errors in this, please correct them: He dont knows where is she",
    "Edit this for clarity: The thing with the report is that it is late because of the reason of illness",
    "Put the commas in the right places: However we as I said before agree",
    "Correct my English: I am living here since five years",
    "Proofread my note: Thankyou for you're help yestarday",
    "Turn this into plain English: notwithstanding the foregoing, the lessee is liable",
    "Fix the tenses: Yesterday I go to the shop and buy milk",
    "Shorten this sentence: Due to the fact that it was raining we made the decision to stay at home",
    "Is this right? If not, correct it: Neither of them are coming",
    "Improve the wording: The food was very good and the service was also very good",
    "Fix typos: Teh quick brwon fox jmups",
    "Rewrite politely: you are wrong and late again",
    "Correct the apostrophes: The dog's are in it's kennel",
    "Make this formal: hey, can u send me the stuff asap",
)


def claim(data: Path) -> Claim:
    """Raises ConfigError when the fleet's weights have not been pulled."""
    meant = [(query, 0) for query in CHATS] + [(query, 1) for query in EDITS]
    rewards = ({EXPERTS[0]: 1.0, EXPERTS[1]: 0.0}, {EXPERTS[0]: 0.0, EXPERTS[1]: 1.0})
    table = RewardTable.of([Outcome(query, rewards[expert]) for query, expert in meant], EXPERTS)
    right = held_out_hits(table, asyncio.run(assessments(table.queries)))
    found = bootstrap(right - np.float32(0.5))
    return Claim(
        name="self_select",
        paper="arXiv 2501.13074 (proxy)",
        statement="experts' assessments of their own fitness send a query to the one it is meant for more often than chance",
        difference=found.mean,
        low=found.low,
        high=found.high,
        n=len(right),
        unit="share of queries",
    )


def held_out_hits(table: RewardTable, assessed: FloatArray) -> FloatArray:
    """`(n_queries,)`: the reward of the choice of a router that was calibrated on the other folds."""
    folds, hits = fold_numbers(table, FOLDS), np.zeros(len(table), dtype=np.float32)
    for fold in range(FOLDS):
        seen, unseen = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        router = SelfSelectRouter().fit_assessed(table.rows(seen), assessed[seen])
        hits[unseen] = table.rewards[unseen, router.predict_assessed(assessed[unseen]).argmax(axis=1)]
    return hits


async def assessments(queries: tuple[str, ...]) -> FloatArray:
    """`(n_queries, n_experts, 2)`, by the shipped fleet with a policy that has experts rate themselves."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "experts.yaml"
        shipped = SHIPPED.read_text(encoding="utf-8")
        routers, policies = "routers:\n", "policies:\n"
        path.write_text(
            shipped.replace(routers, f"{routers}  self: {{type: self_select}}\n").replace(
                policies, f"{policies}  self: {{router: self, experts: [{', '.join(EXPERTS)}]}}\n"
            ),
            encoding="utf-8",
        )
        found = np.full((len(queries), len(EXPERTS), len(SIGNALS)), np.nan, dtype=np.float32)
        async with running(path) as service:
            for row, text in enumerate(queries):
                body = {"model": "self", "messages": [{"role": "user", "content": text}]}
                query = make_query("chat", body, received_at=time.monotonic(), timeout_s=TIMEOUT_S)
                said = (await service.pipeline.route(query)).assessments
                found[row] = [[said.get(name, {}).get(signal, np.nan) for signal in SIGNALS] for name in EXPERTS]
    return found
