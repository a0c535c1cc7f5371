"""The reward `model:ID`: a reward model of Hugging Face's, run in this process, scores each answer to its query.

    switchyard label --queries Q.jsonl --reward model:Skywork/Skywork-Reward-V2-Qwen3-0.6B --out O.jsonl

ID is a repository or a local folder of a sequence classifier with one output. Models with a chat template read the conversation;
older ones read query and answer as a pair. Such models are trained so that the sigmoid of a difference of scores is the share of
people who prefer one answer; the sigmoid of a score itself, which is the reward here, ranks answers but is no probability of being
right. Needs the extra `torch`. No code of the repository is run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from orchestrator.errors import LabelError, MissingExtra
from orchestrator.labelling.base import Tools
from orchestrator.labelling.queries import Item

MAX_TOKENS = 4096


async def make(argument: str, tools: Tools) -> RewardModelGrader:
    """Loads the model. Raises `MissingExtra`, and `LabelError` when there is no such model, or it has other outputs than one."""
    return RewardModelGrader(*await asyncio.to_thread(_load, argument))


class RewardModelGrader:
    """model, tokenizer: of transformers. Answers of a query are scored one by one: padding would change some models' scores."""

    judged = True

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._turn = asyncio.Lock()

    def check(self, item: Item) -> None:
        """Everything can be scored."""

    async def grade(self, item: Item, answers: Mapping[str, str | None]) -> dict[str, float]:
        async with self._turn:
            return {
                expert: await asyncio.to_thread(self._reward, item, text) if text and text.strip() else 0.0
                for expert, text in answers.items()
            }

    def _reward(self, item: Item, text: str) -> float:
        import torch

        with torch.inference_mode():
            logits = self._model(**self._inputs(item, text).to(self._model.device)).logits
        return float(torch.sigmoid(logits[0, 0].float()))

    def _inputs(self, item: Item, text: str) -> Any:
        """The beginning is cut off where the whole is too long: the answer is at the end."""
        settings = {
            "truncation": True,
            "max_length": min(MAX_TOKENS, self._tokenizer.model_max_length),
            "return_tensors": "pt",
        }
        if self._tokenizer.chat_template is None:
            return self._tokenizer(item.query, text, **settings)
        conversation = [*map(dict, item.messages), {"role": "assistant", "content": text}]
        return self._tokenizer.apply_chat_template(conversation, tokenize=True, return_dict=True, **settings)


def _load(name: str) -> tuple[Any, Any]:
    try:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
    except ImportError as exc:
        raise MissingExtra("the reward 'model'", "torch") from exc
    try:
        model = AutoModelForSequenceClassification.from_pretrained(name, dtype="auto").eval()
        tokenizer = AutoTokenizer.from_pretrained(name, truncation_side="left")
    except (OSError, ValueError) as exc:
        raise LabelError(f"the reward model '{name}' can't be loaded: {exc}") from exc
    if model.config.num_labels != 1:
        raise LabelError(f"'{name}' has {model.config.num_labels} outputs; expected a reward model, which has one")
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer
