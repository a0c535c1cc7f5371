"""Members' answers as data in a prompt: anonymous, in an order drawn by lot, fenced, and cut to fit.

    quoted = quote(answers, table.dice, max_tokens=800)
    quoted.text                         # '<answer A 9f31c2a04d5e>\\n42\\n</answer A 9f31c2a04d5e>\\n\\n<answer B 9f31...'
    quoted.by_label["A"].expert         # 'large', which the prompt doesn't say

A text can't end its fence or open another: fences bear a number that is drawn for each prompt, what looks like one in a text is
bent (`‹/answer>`), and so are the control tokens of chat templates, which llama.cpp and others would read as the end of a turn.
This follows the delimiting of "Defending Against Indirect Prompt Injection Attacks With Spotlighting" (arXiv 2403.14720), whose
authors warn that no delimiter talks a model out of believing what it reads. Not here: who judges, and on what question.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.aggregators.base import MemberAnswer
from orchestrator.aggregators.table import Table
from orchestrator.labelling.quoting import harmless, quoted
from orchestrator.tokens import estimate
from orchestrator.types import Messages

CUT = "\n[...]\n"
"""What stands where the middle of a long text was."""
LEAST_TOKENS = 16
"""No text is cut to less than this, whether or not it fits then."""
_SHRINK = 0.8


@dataclass(frozen=True, slots=True)
class Quoted:
    """text: for a prompt. by_label: whose each answer is."""

    text: str
    by_label: Mapping[str, MemberAnswer]


def quote(
    answers: Sequence[MemberAnswer], dice: random.Random, *, max_tokens: int | None = None, in_order: bool = False
) -> Quoted:
    """The answers as "A", "B", ... in an order by lot, or `in_order`, for who shows both orders.

    max_tokens: of all together, by estimate; the longest are cut first.
    """
    shuffled = list(answers) if in_order else dice.sample(list(answers), len(answers))
    name = f"{dice.getrandbits(48):012x}"
    texts = [harmless(answer.text) for answer in shuffled]
    if max_tokens is not None:
        texts = [cut(text, share) for text, share in zip(texts, _shares(texts, max_tokens), strict=True)]
    labels = [label(place) for place in range(len(shuffled))]
    fenced = (quoted(f"answer {label}", text, name) for label, text in zip(labels, texts, strict=True))
    return Quoted("\n\n".join(fenced), dict(zip(labels, shuffled, strict=True)))


def quote_to_fit(
    table: Table,
    expert: str,
    answers: Sequence[MemberAnswer],
    write: Callable[[Quoted], Messages],
    *,
    max_tokens: int | None = None,
    in_order: bool = False,
) -> tuple[Quoted, Messages]:
    """The answers, cut so that `expert` can be asked `write(quoted)`, and those messages; if cutting can make them fit.

    max_tokens: of the reply. By default what the client asked for, or else a quarter of the expert's context.
    """
    limit, asked = table.spec(expert).context, table.call.body
    room = max_tokens or asked.get("max_completion_tokens") or asked.get("max_tokens") or (limit and limit // 4)
    while True:
        quotation = quote(answers, table.dice, max_tokens=limit, in_order=in_order)
        messages = write(quotation)
        if limit is None or limit <= LEAST_TOKENS * len(answers) or table.fits(expert, messages, max_tokens=room):
            return quotation, messages
        limit = int(limit * _SHRINK)


def quote_text(text: str, *, max_tokens: int | None = None) -> str:
    """One text, of whomever."""
    text = harmless(text)
    return quoted("passage", text if max_tokens is None else cut(text, max_tokens))


def cut(text: str, max_tokens: int) -> str:
    """`text` in about `max_tokens`, by estimate: its beginning and its end, which is where answers conclude."""
    max_tokens = max(max_tokens, LEAST_TOKENS)
    if (needed := estimate(text)) <= max_tokens:
        return text
    kept = len(text) * max_tokens // needed
    while kept > 1:
        shortened = text[: kept // 2].rstrip() + CUT + text[len(text) - kept // 2 :].lstrip()
        if estimate(shortened) <= max_tokens:
            return shortened
        kept = int(kept * _SHRINK)
    return CUT.strip()


def label(place: int) -> str:
    """'A' to 'Z', then 'AA', 'BB', ..."""
    return string.ascii_uppercase[place % 26] * (place // 26 + 1)


def _shares(texts: Sequence[str], max_tokens: int) -> list[int]:
    """What each text may have: what the short ones don't need goes to the long ones."""
    needed = [estimate(text) for text in texts]
    shares = [0] * len(texts)
    left = max_tokens
    for num_done, place in enumerate(sorted(range(len(texts)), key=needed.__getitem__)):
        shares[place] = min(needed[place], left // (len(texts) - num_done))
        left -= shares[place]
    return shares
