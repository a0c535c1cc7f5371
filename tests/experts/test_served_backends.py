import asyncio
from collections.abc import AsyncIterator

import aiohttp
import numpy as np
import pytest
import pytest_asyncio

from orchestrator.errors import ExpertError, ExpertRejected
from tests.support.experts import body_of, chat, events_of, expert_of, stream_of, text_of
from tests.support.shipped import LaunchedExpert, launched

pytestmark = pytest.mark.asyncio(loop_scope="module")

HELLO = [{"role": "user", "content": "Say hello."}]
LONG = {"messages": [{"role": "user", "content": "Tell a story."}], "max_tokens": 1500, "ignore_eos": True}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def smollm2(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LaunchedExpert]:
    async with launched("smollm2", tmp_path_factory.mktemp("smollm2")) as expert:
        yield expert


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def minilm(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LaunchedExpert]:
    async with launched("minilm", tmp_path_factory.mktemp("minilm")) as expert:
        yield expert


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def e5(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LaunchedExpert]:
    async with launched("e5", tmp_path_factory.mktemp("e5")) as expert:
        yield expert


async def get(expert: LaunchedExpert, path: str, *, token: bool = True) -> tuple[int, object]:
    url = expert.server.endpoint.base_url.removesuffix("/v1") + path
    headers = {"Authorization": f"Bearer {expert.server.endpoint.token}"} if token else {}
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as response:
        return response.status, await response.json()


async def busy(expert: LaunchedExpert) -> int:
    _, slots = await get(expert, "/slots")
    assert isinstance(slots, list)
    return sum(slot["is_processing"] for slot in slots)


async def becomes(expert: LaunchedExpert, num_busy: int) -> None:
    while await busy(expert) != num_busy:  # noqa: ASYNC110 - llama.cpp tells its state only when asked
        await asyncio.sleep(0.01)


async def test_llamacpp_answers_a_chat_under_the_experts_name(smollm2: LaunchedExpert) -> None:
    answer = await smollm2.ask("chat", messages=HELLO, max_tokens=8)
    body = body_of(answer)
    assert body["model"] == "smollm2"
    assert body["object"] == "chat.completion"
    assert text_of(answer)
    assert body["usage"]["completion_tokens"] == answer.usage.completion_tokens <= 8


async def test_llamacpp_gives_every_choice(smollm2: LaunchedExpert) -> None:
    answer = await smollm2.ask("chat", messages=HELLO, max_tokens=4, n=2)
    assert [choice["index"] for choice in body_of(answer)["choices"]] == [0, 1]
    assert answer.usage.completion_tokens == 8


async def test_llamacpp_gives_logprobs_of_every_token(smollm2: LaunchedExpert) -> None:
    answer = await smollm2.ask("chat", messages=HELLO, max_tokens=4, temperature=0, logprobs=True, top_logprobs=2)
    logprobs = body_of(answer)["choices"][0]["logprobs"]["content"]
    assert len(logprobs) == answer.usage.completion_tokens
    assert all(len(token["top_logprobs"]) == 2 and token["logprob"] <= 0 for token in logprobs)


async def test_llamacpp_keeps_to_a_json_schema(smollm2: LaunchedExpert) -> None:
    schema = {"type": "object", "properties": {"answer": {"enum": ["yes", "no"]}}, "required": ["answer"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}}
    answer = await smollm2.ask("chat", messages=HELLO, max_tokens=60, response_format=wanted)
    assert text_of(answer).translate({ord(" "): None, ord("\n"): None}) in ('{"answer":"yes"}', '{"answer":"no"}')


async def test_llamacpp_streams_with_usage_when_asked(smollm2: LaunchedExpert) -> None:
    options = {"include_usage": True}
    answer = await smollm2.ask("chat", messages=HELLO, max_tokens=4, stream=True, stream_options=options)
    events = await events_of(answer)
    assert events[-1] == b"[DONE]"
    assert b'"usage"' in events[-2]
    assert answer.usage.prompt_tokens > 0


async def test_llamacpp_completes_several_prompts(smollm2: LaunchedExpert) -> None:
    """llama.cpp begins such a stream with an event whose data is null."""
    answer = await smollm2.ask("completion", prompt=["Once upon", "Two"], max_tokens=2)
    assert [choice["index"] for choice in body_of(answer)["choices"]] == [0, 1]
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 4)


async def test_llamacpp_gives_each_concurrent_request_the_whole_context(smollm2: LaunchedExpert) -> None:
    _, slots = await get(smollm2, "/slots")
    assert isinstance(slots, list)
    assert [slot["n_ctx"] for slot in slots] == [2048, 2048]


async def test_llamacpp_refuses_what_its_context_does_not_hold(smollm2: LaunchedExpert) -> None:
    with pytest.raises(ExpertRejected) as caught:
        await smollm2.ask("chat", messages=[{"role": "user", "content": "hello " * 2500}])
    assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_frees_llamacpp_at_once(smollm2: LaunchedExpert, stream: bool) -> None:
    """Without a stream, llama.cpp itself would go on as long as another request streams."""
    other = await smollm2.ask("chat", **LONG, stream=True)

    async def ask() -> None:
        async for _ in stream_of(await smollm2.ask("chat", **LONG, stream=stream)):
            pass

    task = asyncio.create_task(ask())
    await becomes(smollm2, 2)
    task.cancel()
    async with asyncio.timeout(8):  # 0.03 s on an idle machine; the request itself would take 20 s
        await becomes(smollm2, 1)
    await other.aclose()
    await becomes(smollm2, 0)


async def test_llamacpp_tells_strangers_nothing_and_nobody_where_its_model_lies(smollm2: LaunchedExpert) -> None:
    assert (await get(smollm2, "/props", token=False))[0] == 401
    assert (await get(smollm2, "/v1/models", token=False))[0] == 401
    _, models = await get(smollm2, "/v1/models")
    assert ".gguf" not in str(models)


async def test_llamacpp_ends_at_once_while_it_generates(smollm2: LaunchedExpert, tmp_path_factory) -> None:
    async with launched("smollm2", tmp_path_factory.mktemp("ending"), context=512) as expert:
        answer = await expert.ask("chat", messages=HELLO, max_tokens=400, ignore_eos=True, stream=True)
        async with asyncio.timeout(5):
            await expert.server.stop()
        with pytest.raises(ExpertError):
            await events_of(answer)


async def test_llamacpp_embeds_with_one_vector_a_text(tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("embedding")
    async with launched("smollm2", folder, kind="embedding", capabilities=[], context=256) as expert:
        answer = await expert.ask("embedding", input=["one text", "another"])
        vectors = np.array([item["embedding"] for item in body_of(answer)["data"]])
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
        with pytest.raises(ExpertRejected) as caught:
            await expert.ask("embedding", input="hello " * 300)
        assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_batches": 1}, "options.n_batches is no field of xllamacpp's CommonParams; did you mean ['n_batch'"),
        ({"n_ctx": 1}, "options.n_ctx follows from the expert's `context`"),
        ({"port": 1}, "options.port is not to be set"),
        ({"n_batch": "many"}, "options.n_batch can't be 'many'; expected int"),
        ({"cpuparams": {"cores": 1}}, "options.cpuparams.cores is no field of xllamacpp's CpuParams"),
        ({"flash_attn_type": "on"}, "expected ['LLAMA_FLASH_ATTN_TYPE_AUTO'"),
    ],
)
async def test_a_wrong_option_of_llamacpp_is_named(options: dict[str, object], message: str, tmp_path_factory) -> None:
    with pytest.raises(ExpertError) as caught:
        async with launched("smollm2", tmp_path_factory.mktemp("options"), options=options):
            pass
    assert message in caught.value.message
    assert "Traceback" not in caught.value.message


async def test_llamacpp_says_that_a_file_is_no_model(tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("broken")
    (folder / "broken.gguf").write_text("not a model")
    with pytest.raises(ExpertError) as caught:
        async with launched("smollm2", folder, model={"path": folder / "broken.gguf"}):
            pass
    assert "llama.cpp can't serve broken.gguf" in caught.value.message
    assert str(folder) not in caught.value.message


async def test_onnx_embeds_and_reranks_by_meaning(minilm: LaunchedExpert) -> None:
    documents = ["Bread is baked.", "Paris is the capital of France.", {"text": "Berlin lies in Germany."}]
    body = body_of(await minilm.ask("rerank", query="capital of France", documents=documents, top_n=2))
    assert body["model"] == "minilm"
    assert [result["index"] for result in body["results"]] == [1, 2]
    answer = await minilm.ask("embedding", input="capital of France")
    assert len(body_of(answer)["data"][0]["embedding"]) == 384
    assert answer.usage.prompt_tokens == 5


async def test_onnx_checks_the_token(minilm: LaunchedExpert) -> None:
    url = minilm.server.endpoint.base_url + "/embeddings"
    async with aiohttp.ClientSession() as http, http.post(url, json={"input": "hi"}) as response:
        assert response.status == 401


async def test_a_command_serves_multilingual_embeddings(e5: LaunchedExpert) -> None:
    texts = ["Where is the railway station?", "Wo ist der Bahnhof?", "The soup is too salty."]
    body = body_of(await e5.ask("embedding", input=texts, input_type="passage"))
    assert body["model"] == "e5"
    english, german, other = np.array([item["embedding"] for item in body["data"]])
    assert english @ german > english @ other


async def test_a_command_is_told_whether_a_text_is_query_or_passage(e5: LaunchedExpert) -> None:
    query = await e5.ask("embedding", input="railway station", input_type="query")
    passage = await e5.ask("embedding", input="railway station", input_type="passage")
    assert body_of(query)["data"] != body_of(passage)["data"]


async def test_a_served_expert_is_not_asked_before_it_is_loaded() -> None:
    expert = expert_of(name="e5", kind="embedding", backend="command", command="serve {port}")
    with pytest.raises(ExpertError) as caught:
        await expert.answer(chat())
    assert caught.value.kind == "not_loaded"


async def test_llamacpp_reads_a_text_that_it_is_made_to_say(smollm2: LaunchedExpert) -> None:
    async def likelihood(text: str, **fields: object) -> tuple[str, list[float]]:
        answer = await smollm2.ask("chat", messages=HELLO, logprobs=True, forced_answer=text, **fields)
        entries = body_of(answer)["choices"][0]["logprobs"]["content"]
        return text_of(answer), [entry["logprob"] for entry in entries]

    text, english = await likelihood("The capital of France is Paris.")
    assert text == "The capital of France is Paris."
    _, shuffled = await likelihood("Paris capital. France is of The")
    assert sum(english) > sum(shuffled) + 10
    beginning, few = await likelihood("The capital of France is Paris.", max_tokens=3)
    assert beginning == "The capital of"
    assert few == pytest.approx(english[:3], abs=0.2)


@pytest.mark.parametrize("forced", ["", 3])
async def test_llamacpp_can_only_be_made_to_say_a_text(smollm2: LaunchedExpert, forced: object) -> None:
    with pytest.raises(ExpertRejected, match="forced_answer"):
        await smollm2.ask("chat", messages=HELLO, forced_answer=forced)
