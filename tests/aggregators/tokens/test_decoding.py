import asyncio
import math
import time

import numpy as np
import pytest

from orchestrator.aggregators.tokens.decoding import Progress, aligned, decode, unlisted
from orchestrator.aggregators.tokens.logits import Posterior
from orchestrator.aggregators.tokens.sampling import Sampling
from orchestrator.errors import ExpertError, ExpertRejected
from orchestrator.experts.llamacpp_tokens import Step
from tests.support.tokens import SIZE, ScriptedModel, writes

QUESTION = [{"role": "user", "content": "Hi"}]
GREEDY = Sampling(temperature=0.0)


def mixing(*weights, **options):
    return Posterior(np.log(weights), **options)


async def written(models, rule, sampling=GREEDY, *, messages=None, until=math.inf, timeout_s=math.inf):
    progress, pieces = Progress(), []
    conversations = messages or [QUESTION] * len(models)
    async for piece in decode(models, conversations, rule, sampling, progress, until=until, timeout_s=timeout_s):
        pieces.append(piece)
    return pieces, progress


async def test_a_text_comes_token_by_token_and_ends_where_the_models_end_it():
    pieces, progress = await written(
        [ScriptedModel("a", writes("one")), ScriptedModel("b", writes("one"))], mixing(1, 1)
    )
    assert pieces == ["o", "n", "e"]
    assert (progress.finish_reason, progress.num_tokens) == ("stop", 4)
    assert progress.prompt_tokens == {"a": 8, "b": 8}


async def test_every_model_reads_the_same_text_after_its_own_prompt():
    messages = [[{"role": "system", "content": "Be brief."}, *QUESTION], QUESTION]
    models = [ScriptedModel("a", writes("yes")), ScriptedModel("b", writes("no", 0.5))]
    await written(models, mixing(1, 1), messages=messages)
    assert models[0].asked[-1] == "system:Be brief.\nuser:Hi\nyes"
    assert models[1].asked[-1] == "user:Hi\nyes"


async def test_max_tokens_ends_it():
    pieces, progress = await written([ScriptedModel("a", writes("12345"))], mixing(1), Sampling(0.0, max_tokens=3))
    assert ("".join(pieces), progress.finish_reason, progress.num_tokens) == ("123", "length", 3)


async def test_a_stop_sequence_ends_it_and_is_not_shown():
    pieces, progress = await written([ScriptedModel("a", writes("one, two"))], mixing(1), Sampling(0.0, stops=(", t",)))
    assert ("".join(pieces), progress.finish_reason) == ("one", "stop")


class StuckModel(ScriptedModel):
    """Never gets beyond `num_steps`."""

    def __init__(self, name: str, num_steps: int) -> None:
        super().__init__(name, writes("12345"))
        self._num_steps = num_steps

    async def next(self, prefix):
        if len(self.asked) == self._num_steps:
            await asyncio.Event().wait()
        return await super().next(prefix)


async def test_time_that_is_over_ends_it_with_what_there_is():
    models = [ScriptedModel("a", writes("12345")), StuckModel("b", 2)]
    pieces, progress = await written(models, mixing(1, 1), until=time.monotonic() + 0.5)
    assert ("".join(pieces), progress.finish_reason) == ("12", "length")


async def test_time_that_is_over_before_the_first_token_fails_the_text():
    with pytest.raises(ExpertError, match="a, b took too long") as caught:
        await written([ScriptedModel("a", writes("1")), StuckModel("b", 0)], mixing(1, 1), until=time.monotonic())
    assert caught.value.kind == "timeout"


@pytest.mark.parametrize(("num_steps", "num_evidence_tokens"), [(0, 0), (2, 0), (1, 5)])
async def test_a_step_that_takes_longer_than_a_round_may_fails_the_text(num_steps, num_evidence_tokens):
    models = [ScriptedModel("a", writes("12345")), StuckModel("b", num_steps)]
    with pytest.raises(ExpertError, match="a, b took too long"):
        await written(models, mixing(1, 1, num_evidence_tokens=num_evidence_tokens), timeout_s=0.05)


async def test_a_context_that_is_full_ends_it():
    models = [ScriptedModel("a", writes("12345")), ScriptedModel("b", writes("12345"), context=10)]
    pieces, progress = await written(models, mixing(1, 1))
    assert ("".join(pieces), progress.finish_reason) == ("123", "length")


async def test_a_prompt_that_fills_a_context_is_the_clients_to_mend():
    with pytest.raises(ExpertRejected):
        await written([ScriptedModel("a", writes("x"), context=5)], mixing(1))


async def test_a_model_that_fails_fails_the_text():
    failing = ScriptedModel("b", writes("x"), error=ExpertError("b", "reset", "gone"))
    with pytest.raises(ExpertError, match="gone"):
        await written([ScriptedModel("a", writes("x")), failing], mixing(1, 1))


async def test_models_with_different_tokenizers_are_both_named():
    with pytest.raises(ExpertError, match="a and b have different tokenizers"):
        await written([ScriptedModel("a", writes("x")), ScriptedModel("b", writes("x"), probe=(4,))], mixing(1, 1))


async def test_the_prompts_common_end_is_seen_as_evidence_up_to_its_length():
    """Eight tokens of a prompt, of which the first has none before it."""
    foresees, surprised = ScriptedModel("a", lambda _: {"H": 0.9}), ScriptedModel("b", lambda _: {"?": 0.9})
    rule = mixing(1, 1, num_evidence_tokens=100)
    await written([foresees, surprised], rule, Sampling(0.0, max_tokens=1))
    assert [len(text) for text in foresees.asked] == [*range(1, 8), 8]


async def test_evidence_is_what_all_prompts_agree_on():
    models = [ScriptedModel("a", writes("x")), ScriptedModel("b", writes("x"))]
    messages = [[{"role": "user", "content": "AHi"}], [{"role": "user", "content": "BHi"}]]
    await written(models, mixing(1, 1, num_evidence_tokens=100), Sampling(0.0, max_tokens=1), messages=messages)
    assert models[0].asked == ["user:A", "user:AH", "user:AHi", "user:AHi\n"]


async def test_closing_it_stops_the_models():
    model = ScriptedModel("a", lambda _: {"x": 0.9})
    text = decode([model], [QUESTION], mixing(1), GREEDY, Progress())
    assert await anext(text) == "x"
    await text.aclose()
    await asyncio.sleep(0)
    assert len(model.asked) == 1


def test_what_a_model_does_not_list_shares_the_rest_of_its_probability():
    listed = Step(np.array([5, 3]), np.log([0.6, 0.3]), (b"a", b"b"))
    other = Step(np.array([7]), np.log([0.999]), (b"c",))
    ids, logprobs = aligned([listed, other], SIZE)
    assert ids.tolist() == [3, 5, 7]
    np.testing.assert_allclose(np.exp(logprobs[0]), [0.3, 0.6, 0.1 / 254])
    np.testing.assert_allclose(np.exp(logprobs[1]), [0.001 / 255, 0.001 / 255, 0.999])


def test_what_is_not_listed_is_no_likelier_than_what_is():
    assert unlisted(Step(np.array([1]), np.log([0.01]), (b"a",)), 3) == pytest.approx(math.log(0.01))
