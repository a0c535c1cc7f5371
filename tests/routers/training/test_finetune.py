"""Fine-tuning of a tiny encoder that is made here. Skipped without the `torch` extra."""

import json

import numpy as np
import pytest

from routers.data.table import RewardTable
from routers.families.zooter import ZooterRouter
from routers.training.finetune import finetune
from tests.support.outcomes import CHATS, SUMS, specialists

pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
sentence_transformers = pytest.importorskip("sentence_transformers")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """One layer over words, in the layout that transformers reads."""
    folder = tmp_path_factory.mktemp("tiny")
    words = sorted({word for text in (*SUMS, *CHATS) for word in text.lower().replace("?", " ? ").split()})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.BertConfig(vocab_size=len(vocabulary), max_position_embeddings=64, **sizes)
    transformers.BertModel(config).save_pretrained(folder)
    return str(folder)


def test_the_encoder_learns_which_queries_share_their_experts(model, tmp_path):
    table = RewardTable.of(specialists())
    tuned = finetune(table, model, tmp_path / "tuned", epochs=3, learning_rate=1e-3, max_tokens=32)
    assert len(tuned.losses) == 3
    assert tuned.losses[-1] < tuned.losses[0]
    vectors = tuned.encoder.encode([*SUMS[:20], *CHATS[:20]])
    likeness = vectors @ vectors.T
    within = (likeness[:20, :20].mean() + likeness[20:, 20:].mean()) / 2
    assert within > likeness[:20, 20:].mean() + 0.2


def test_a_router_is_fitted_on_its_vectors(model, tmp_path):
    tuned = finetune(RewardTable.of(specialists()), model, tmp_path / "tuned", epochs=1, max_tokens=32)
    router = ZooterRouter(encoder=tuned.encoder).fit(specialists())
    chosen = [router.experts_[i] for i in router.predict([SUMS[0], CHATS[0]]).argmax(axis=1)]
    assert chosen == ["calculator", "poet"]


def test_the_same_seed_gives_the_same_encoder(model, tmp_path):
    table = RewardTable.of(specialists()[::6])
    tuned = [finetune(table, model, tmp_path / name, epochs=1, max_tokens=32) for name in ("one", "two")]
    one, two = (each.encoder.encode(SUMS[:3]) for each in tuned)
    np.testing.assert_array_equal(one, two)


def test_a_folder_with_something_in_it_is_left_alone(model, tmp_path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(ValueError, match="new or empty folder"):
        finetune(RewardTable.of(specialists()[:4]), model, tmp_path)


def test_every_step_is_told(model, tmp_path):
    told = []
    table = RewardTable.of(specialists()[:40])
    finetune(table, model, tmp_path / "t", epochs=2, batch=16, on_step=lambda step, of: told.append((step, of)))
    assert told == [(step, 6) for step in range(1, 7)]
