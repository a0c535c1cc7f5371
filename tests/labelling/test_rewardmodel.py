"""Reward models of transformers, on tiny ones made here: they rank nothing sensibly, but they are the real thing."""

import pytest

from orchestrator.errors import LabelError
from orchestrator.labelling.base import Tools
from orchestrator.labelling.registry import make_grader
from tests.support.asks import FakeAsks, item

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TEMPLATE = "{% for message in messages %}{{ message['role'] }} {{ message['content'] }} {% endfor %}"
WORDS = ("[UNK]", "[PAD]", "user", "assistant", "what", "is", "it", "right", "wrong")


def save_model(folder, *, template=None, num_labels=1):
    """A classifier of two layers with random weights, and a tokenizer of nine words."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    torch.manual_seed(0)
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]")
    tokenizer.chat_template = template
    tokenizer.model_max_length = 16
    config = transformers.LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        pad_token_id=1,
        num_labels=num_labels,
    )
    transformers.LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return f"model:{folder}"


@pytest.mark.parametrize("template", [None, TEMPLATE])
async def test_rewards_are_sigmoids_of_scores(tmp_path, template):
    grader = await make_grader(save_model(tmp_path, template=template), Tools(FakeAsks()))
    query = item("what is it")
    rewards = await grader.grade(query, {"a": "right", "b": "wrong", "c": None})
    assert 0 < rewards["a"] != rewards["b"] < 1
    assert rewards["c"] == 0.0
    assert await grader.grade(query, {"a": "right"}) == {"a": rewards["a"]}, "no answer changes another's reward"


async def test_an_answer_that_is_too_long_is_read_at_its_end(tmp_path):
    grader = await make_grader(save_model(tmp_path, template=TEMPLATE), Tools(FakeAsks()))
    rewards = await grader.grade(item("what is it"), {"a": "is " * 99 + "right", "b": "is " * 99 + "wrong"})
    assert rewards["a"] != rewards["b"]


async def test_a_classifier_with_several_outputs_is_refused(tmp_path):
    with pytest.raises(LabelError, match="has 3 outputs; expected a reward model"):
        await make_grader(save_model(tmp_path, num_labels=3), Tools(FakeAsks()))


async def test_a_model_that_is_not_there_is_told(tmp_path):
    with pytest.raises(LabelError, match="can't be loaded"):
        await make_grader(f"model:{tmp_path / 'none'}", Tools(FakeAsks()))
