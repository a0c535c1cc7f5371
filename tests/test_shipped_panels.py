"""SmolLM2 for real, under three personas: every aggregator ends in an answer."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from orchestrator.service import Service, running
from tests.support.queries import make_query
from tests.support.service import text_of
from tests.support.shipped import needs_smollm2

pytestmark = pytest.mark.asyncio(loop_scope="module")

PANELS = Path(__file__).parents[1] / "evals" / "panels.yaml"
QUICK = ("first", "vote", "best_of", "synthesis", "council", "cascade", "logits")
"""Those of few and short calls; the others take minutes on a busy machine."""
SLOW = ("chain", "debate", "discussion", "multi_expert", "conductor", "dynamic_logits", "contrast", "medprompt")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    needs_smollm2()
    folder = tmp_path_factory.mktemp("fleet")
    shown = [
        {"query": f"Which is a fruit?\nA. {wrong}\nB. {right}", "rewards": {}, "target": "B"}
        for wrong, right in (("stone", "apple"), ("chair", "pear"), ("iron", "plum"))
    ]
    (folder / "shown.jsonl").write_text("\n".join(map(json.dumps, shown)))
    medprompt = (
        "  medprompt: {experts: [clerk], aggregator: medprompt, demonstrations: shown.jsonl, nearest: 2, samples: 2}\n"
    )
    path = folder / "experts.yaml"
    path.write_text(PANELS.read_text() + medprompt)
    async with running(path) as service:
        yield service


async def answered(service: Service, aggregator: str, *, stream: bool) -> None:
    question = "Which of these is a fruit?\nA. brick\nB. pear"
    messages = [{"role": "user", "content": question}]
    body = {"model": f"panel/{aggregator}", "messages": messages, "max_tokens": 12, "temperature": 0, "stream": stream}
    reply = await service.pipeline.answer(make_query("chat", body))
    assert (await text_of(reply)).strip()
    assert reply.decision.expert == f"panel/{aggregator}"
    assert reply.decision.reason.startswith(f"{aggregator}: ")
    assert all(status.leases == 0 for status in service.scheduler.status())


@pytest.mark.parametrize("aggregator", QUICK)
async def test_a_panel_of_real_experts_answers(service: Service, aggregator: str):
    await answered(service, aggregator, stream=aggregator in ("synthesis", "logits"))


@pytest.mark.slow
@pytest.mark.parametrize("aggregator", SLOW)
async def test_a_panel_of_real_experts_answers_after_some_rounds(service: Service, aggregator: str):
    await answered(service, aggregator, stream=False)


async def test_every_aggregator_is_tried_but_the_one_that_is_trained():
    from orchestrator.aggregators.registry import AGGREGATORS

    assert {*QUICK, *SLOW, "fusion_of_experts"} == set(AGGREGATORS)
