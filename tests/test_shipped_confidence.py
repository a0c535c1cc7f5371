"""SmolLM2 for real: how sure it is of its answers, and how it and its persona rate themselves."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from orchestrator.service import Service, running
from orchestrator.types import Decision
from tests.support.queries import make_query
from tests.support.service import text_of
from tests.support.shipped import SHIPPED, needs_smollm2

pytestmark = pytest.mark.asyncio(loop_scope="module")

MORE = {
    "routers:\n": "  self: {type: self_select}\n",
    "policies:\n": """\
  self: {router: self}
  content: {mode: cascade, threshold: 0, experts: [smollm2, editor]}
  strict: {mode: cascade, threshold: 1, experts: [smollm2, editor]}
  agreeing: {mode: cascade, confidence: agreement, samples: 2, threshold: 0, experts: [smollm2, editor]}
  doubting: {mode: cascade, confidence: self, threshold: 0, experts: [smollm2, editor]}
""",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    needs_smollm2()
    path = tmp_path_factory.mktemp("fleet") / "experts.yaml"
    path.write_text(with_more(SHIPPED))
    async with running(path) as service:
        yield service


def with_more(path: Path) -> str:
    text = path.read_text()
    for section, entries in MORE.items():
        text = text.replace(section, section + entries)
    return text


async def ask(service: Service, model: str, text: str, **fields: object) -> tuple[str, Decision]:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": 8,
        "temperature": 0,
        **fields,
    }
    reply = await service.pipeline.answer(make_query("chat", body, text, max_tokens=8, deadline=time.monotonic() + 240))
    return await text_of(reply), reply.decision


async def test_smollm2_and_its_persona_rate_themselves(service: Service) -> None:
    text, decision = await ask(service, "self", "Correct the grammar: he go to school every day")
    assert text
    assert decision.assessments.keys() == {"smollm2", "editor"}
    for signals in decision.assessments.values():
        assert 0.0 < signals["yes"] < 1.0
        assert -5.0 < signals["likelihood"] < 0.0
    assert decision.assessments["editor"]["likelihood"] > decision.assessments["smollm2"]["likelihood"]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_with_the_confidence_of_its_tokens_stands(service: Service, stream: bool) -> None:
    fields = {"stream": True} if stream else {}
    text, decision = await ask(service, "content", "Name a colour.", **fields)
    assert text.strip()
    assert (decision.mode, decision.expert) == ("cascade", "smollm2")
    assert 0.1 < decision.confidence["smollm2"] < 1.0


async def test_an_answer_that_is_not_sure_enough_is_the_others(service: Service) -> None:
    _, decision = await ask(service, "strict", "Name a colour.")
    assert decision.expert == "editor"
    assert [a.expert for a in decision.attempts] == ["smollm2", "editor"]


@pytest.mark.parametrize(("policy", "purpose"), [("agreeing", "sample"), ("doubting", "check")])
async def test_the_other_confidences_work_too(service: Service, policy: str, purpose: str) -> None:
    _, decision = await ask(service, policy, "Is the sky blue?")
    assert 0.0 <= decision.confidence["smollm2"] <= 1.0
    assert decision.attempts[-1].purpose == purpose
