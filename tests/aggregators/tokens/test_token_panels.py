"""Next tokens of SmolLM2 under several prompts, fused for real; skipped where its weights have not been pulled."""

from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio

from orchestrator.aggregators.base import Aggregator
from orchestrator.aggregators.tokens.contrast import Contrast
from orchestrator.aggregators.tokens.dynamic_logits import DynamicLogits
from orchestrator.aggregators.tokens.logits import Logits, Posterior
from orchestrator.aggregators.tokens.seating import seats_of, written_together
from orchestrator.config import Config
from orchestrator.experts.render import Ending
from orchestrator.types import Statement, Usage
from tests.support.experts import text_of
from tests.support.panels import ScriptedTable, make_table
from tests.support.shipped import LaunchedExpert, launched

PIRATE, SCIENTIST = "You are a pirate who says arr.", "You are a careful scientist."
QUESTION = "Write one sentence about the sea."
LLAMA = {"backend": "llamacpp", "model": {"path": "m.gguf"}}
FLEET = [
    {"name": "smollm2", **LLAMA},
    {"name": "twin", **LLAMA},
    {"name": "pirate", "backend": "persona", "base": "smollm2", "system": PIRATE},
    {"name": "scientist", "backend": "persona", "base": "smollm2", "system": SCIENTIST},
]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def smollm2(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LaunchedExpert]:
    """With a slot for each of three prompts."""
    async with launched(
        "smollm2", tmp_path_factory.mktemp("smollm2"), limits={"concurrency": 3}, context=512
    ) as expert:
        yield expert


def table(smollm2: LaunchedExpert, *members: str, **body: object) -> ScriptedTable:
    specs = Config.model_validate({"version": 1, "experts": FLEET}).by_name
    scripts = dict.fromkeys(members, "unused")
    return make_table(
        scripts,
        specs=specs,
        endpoint=smollm2.server.endpoint,
        question=QUESTION,
        body={"temperature": 0, "max_tokens": 6, **body},
    )


async def text(aggregator: Aggregator, sitting: ScriptedTable) -> str:
    combined = await aggregator.combine(sitting)
    assert combined.pieces is not None
    return "".join([piece async for piece in combined.pieces(Ending(Usage()))])


@pytest.mark.parametrize("alone", [0, 1])
async def test_with_all_weight_on_one_expert_the_text_is_its_own(smollm2: LaunchedExpert, alone: int) -> None:
    sitting = table(smollm2, "pirate", "scientist")
    log_prior = np.where(np.arange(2) == alone, 0.0, -np.inf)
    seats = seats_of(sitting, sitting.members, 2)
    pieces = written_together(sitting, seats, lambda: Posterior(log_prior, num_evidence_tokens=4), "").pieces
    assert pieces is not None
    system = {"role": "system", "content": (PIRATE, SCIENTIST)[alone]}
    messages = [system, {"role": "user", "content": QUESTION}]
    answer = await smollm2.ask("chat", messages=messages, max_tokens=6, temperature=0)
    assert "".join([piece async for piece in pieces(Ending(Usage()))]) == text_of(answer)


@pytest.mark.parametrize(
    ("aggregator", "members"),
    [
        (Logits(evidence_tokens=4), ("pirate", "scientist")),
        (DynamicLogits(), ("scientist", "smollm2", "pirate")),
        (Contrast(), ("pirate", "smollm2")),
    ],
)
async def test_a_greedy_text_is_the_same_every_time(
    smollm2: LaunchedExpert, aggregator: Aggregator, members: tuple[str, ...]
) -> None:
    first = await text(aggregator, table(smollm2, *members))
    assert first.strip()
    assert await text(aggregator, table(smollm2, *members)) == first


async def test_a_large_model_that_is_its_own_kins_base_writes_as_the_specialist(smollm2: LaunchedExpert) -> None:
    """The weight is 1 then at every token, and SmolLM2 becomes the pirate."""
    sitting = table(smollm2, "smollm2", "twin", "pirate", max_tokens=6)
    fused = await text(DynamicLogits(), sitting)
    assert fused == await text(Contrast(beta=0.0), table(smollm2, "pirate", "smollm2", max_tokens=6))


async def test_everybody_is_charged_what_it_read_and_wrote(smollm2: LaunchedExpert) -> None:
    sitting, ending = table(smollm2, "pirate", "scientist", max_tokens=3), Ending(Usage(1, 1))
    combined = await Logits(evidence_tokens=0).combine(sitting)
    assert combined.pieces is not None
    assert [piece async for piece in combined.pieces(ending)]
    assert sitting.colleagues.charged == [("pirate", Usage(29, 3)), ("scientist", Usage(27, 3))]
    assert ending == Ending(Usage(1 + 29 + 27, 1 + 3 + 3), "length")
    assert sitting.colleagues.seated == []


async def test_what_each_expert_counted_for_is_in_the_transcript(smollm2: LaunchedExpert) -> None:
    sitting = table(smollm2, "pirate", "smollm2", max_tokens=1)
    await text(Contrast(beta=0.25), sitting)
    assert sitting.colleagues.transcript == [
        Statement("weights", "pirate", "1.250"),
        Statement("weights", "smollm2", "-0.250"),
    ]


async def test_a_text_that_nobody_wants_any_more_gives_its_seats_back(smollm2: LaunchedExpert) -> None:
    sitting = table(smollm2, "pirate", "scientist")
    combined = await Logits(evidence_tokens=0).combine(sitting)
    assert combined.pieces is not None
    pieces = combined.pieces(Ending(Usage()))
    await anext(pieces)
    assert (sitting.colleagues.seated, sitting.colleagues.sharing) == (["pirate"], ["scientist"])
    await pieces.aclose()
    assert sitting.colleagues.seated == sitting.colleagues.sharing == []
    assert sitting.colleagues.charged == [("pirate", Usage(29, 1)), ("scientist", Usage(27, 1))]
