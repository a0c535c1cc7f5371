"""Models of next tokens in a few lines: a token is a byte, and the byte 0 ends the text.

model = ScriptedModel("a", lambda written: {"x": 0.9, "": 0.1})        # written: what was appended to the prompt so far
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from orchestrator.errors import ExpertError, ExpertRejected
from orchestrator.experts.llamacpp_tokens import Step, Vocabulary
from orchestrator.types import Messages

SIZE = 256
Says = Callable[[str], Mapping[str, float]]


class ScriptedModel:
    """says: the probabilities of the next characters; what they leave is spread over all others. context: in tokens.

    asked: the prefixes, as text. error: what `next` raises. probe: what shows its tokenizer.
    """

    def __init__(
        self,
        name: str,
        says: Says,
        *,
        context: int = 1_000,
        error: ExpertError | None = None,
        probe: tuple[int, ...] = (1, 2, 3),
    ) -> None:
        self.name = name
        self.asked: list[str] = []
        self._says = says
        self._context = context
        self._error = error
        self._probe = probe
        self._prompt = ""

    async def vocabulary(self) -> Vocabulary:
        return Vocabulary(SIZE, 0, self._probe)

    async def prompt(self, messages: Messages) -> list[int]:
        self._prompt = "\n".join(f"{message['role']}:{message['content']}" for message in messages) + "\n"
        return list(self._prompt.encode())

    async def next(self, prefix: Sequence[int]) -> Step:
        text = bytes(prefix).decode("utf-8", "replace")
        self.asked.append(text)
        if self._error is not None:
            raise self._error
        if len(prefix) > self._context:
            raise ExpertRejected(self.name, "too long", status=400, code="context_length_exceeded", param=None)
        said = sorted(self._says(text.removeprefix(self._prompt)).items(), key=lambda item: -item[1])
        ids = [ord(character) if character else 0 for character, _ in said]
        texts = tuple(character.encode() for character, _ in said)
        return Step(np.array(ids, dtype=np.intp), np.log([share for _, share in said]), texts)


def writes(text: str, share: float = 0.9) -> Says:
    """A model that holds `text` and then the end likely, whatever was written."""
    return lambda written: {text[len(written)] if len(written) < len(text) else "": share}
