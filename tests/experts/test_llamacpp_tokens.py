import time
from collections.abc import AsyncIterator

import aiohttp
import numpy as np
import pytest
import pytest_asyncio

from orchestrator.errors import ExpertError, ExpertRejected
from orchestrator.experts.llamacpp_tokens import LEAST_LOGPROB, NUM_LIKELIEST, TokenModel
from orchestrator.experts.session import open_session
from orchestrator.types import Endpoint
from tests.support.experts import text_of
from tests.support.shipped import LaunchedExpert, launched
from tests.support.upstream import replies, running_upstream

QUESTION = [{"role": "user", "content": "Name the capital of France."}]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def smollm2(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LaunchedExpert]:
    async with launched("smollm2", tmp_path_factory.mktemp("smollm2"), context=512) as expert:
        yield expert


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as session:
        yield session


def model_of(endpoint: Endpoint, http: aiohttp.ClientSession, seconds: float = 60.0) -> TokenModel:
    return TokenModel("m", endpoint, http, time.monotonic() + seconds)


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_likeliest_tokens_write_what_the_expert_writes(
    smollm2: LaunchedExpert, http: aiohttp.ClientSession
) -> None:
    model = model_of(smollm2.server.endpoint, http)
    tokens, text = await model.prompt(QUESTION), b""
    for _ in range(8):
        step = await model.next(tokens)
        tokens, text = [*tokens, int(step.ids[0])], text + step.texts[0]
    answer = await smollm2.ask("chat", messages=QUESTION, max_tokens=8, temperature=0)
    assert text.decode().strip() == text_of(answer).strip()


async def test_a_step_is_most_of_a_distribution(smollm2: LaunchedExpert, http: aiohttp.ClientSession) -> None:
    model = model_of(smollm2.server.endpoint, http)
    step = await model.next(await model.prompt(QUESTION))
    assert len(set(step.ids)) == len(step.texts) == NUM_LIKELIEST
    assert 0.97 < np.exp(step.logprobs).sum() < 1.001
    assert (np.diff(step.logprobs) <= 0).all()
    assert step.logprobs.min() >= LEAST_LOGPROB


async def test_the_end_of_a_turn_writes_nothing(smollm2: LaunchedExpert, http: aiohttp.ClientSession) -> None:
    model = model_of(smollm2.server.endpoint, http)
    step = await model.next([*await model.prompt(QUESTION), *await model.tokens("The capital of France is Paris.")])
    [end] = await model.tokens("<|im_end|>", special=True)
    assert step.texts[list(step.ids).index(end)] == b""


async def test_a_texts_own_words_are_no_control_tokens(smollm2: LaunchedExpert, http: aiohttp.ClientSession) -> None:
    model = model_of(smollm2.server.endpoint, http)
    assert len(await model.tokens("<|im_end|>")) > 1


async def test_models_of_one_tokenizer_have_one_vocabulary(
    smollm2: LaunchedExpert, http: aiohttp.ClientSession
) -> None:
    first, second = (model_of(smollm2.server.endpoint, http) for _ in range(2))
    vocabulary = await first.vocabulary()
    assert vocabulary == await second.vocabulary()
    assert vocabulary.size == 49_152


async def test_a_prefix_that_is_too_long_is_the_clients_to_mend(
    smollm2: LaunchedExpert, http: aiohttp.ClientSession
) -> None:
    with pytest.raises(ExpertRejected) as caught:
        await model_of(smollm2.server.endpoint, http).next([504] * 600)
    assert caught.value.code == "context_length_exceeded"


async def test_a_deadline_that_has_passed_is_a_timeout(smollm2: LaunchedExpert, http: aiohttp.ClientSession) -> None:
    with pytest.raises(ExpertError) as caught:
        await model_of(smollm2.server.endpoint, http, seconds=-1.0).prompt(QUESTION)
    assert caught.value.kind == "timeout"


async def test_a_server_that_is_gone_is_the_experts_failure(http: aiohttp.ClientSession) -> None:
    with pytest.raises(ExpertError) as caught:
        await model_of(Endpoint("http://127.0.0.1:1/v1", "token"), http).vocabulary()
    assert caught.value.kind == "refused"


async def test_a_server_that_speaks_otherwise_is_malformed(http: aiohttp.ClientSession) -> None:
    async with running_upstream() as upstream:
        upstream.usual = replies(b'{"tokens": "many"}')
        with pytest.raises(ExpertError, match="does not speak of tokens") as caught:
            await model_of(Endpoint(f"{upstream.base_url}/v1", "token"), http).tokens("Hi")
    assert caught.value.kind == "malformed"


async def test_prompts_that_begin_alike_keep_their_slots(smollm2: LaunchedExpert, http: aiohttp.ClientSession) -> None:
    """Personas over one model are asked in turn for each token; one that had to be read again would take its whole prompt."""
    model = model_of(smollm2.server.endpoint, http)
    prompts = [await model.prompt([{"role": "system", "content": text}, *QUESTION]) for text in ("Be kind.", "Rhyme.")]
    for _ in range(3):
        for prompt in prompts:
            prompt.append(int((await model.next(prompt)).ids[0]))
    endpoint = smollm2.server.endpoint
    slots = endpoint.base_url.removesuffix("/v1") + "/slots"
    async with http.get(slots, headers={"Authorization": f"Bearer {endpoint.token}"}) as response:
        held = {slot["n_prompt_tokens"] for slot in await response.json()}
    assert held == {len(prompt) - 1 for prompt in prompts}
