"""What was said in a discussion, who is still there, and what the two faults of discussions come to: drift, and monopolies.

    minutes = Minutes("6 x 7?", drafts, scores, max_tokens=240, min_overlap=0.1, max_share=0.5, dice=table.dice)
    minutes.add(1, speech)                      # False: it had drifted from the question, and nobody hears it
    minutes.heard(frozenset({"b"}), 200)        # 'Speaker 2:\\n<passage 0c1f...>\\n42\\n</passage ...>'

Both were found in "Multi-Agent LLMs for Conversational Task-Solving" (arXiv 2410.22932). A speech drifts when few of its words are
of the question and the first drafts; it is left out, and its speaker is taken to think as before. Who has said more than its share
is heard in as many words as the others use. Not here: who speaks when (`paradigms.py`).
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from orchestrator.aggregators.base import MemberAnswer
from orchestrator.aggregators.reading.quoting import cut, quote_text
from orchestrator.aggregators.selecting.vote import Camp, camps
from orchestrator.tokens import estimate
from routers.data.answers import final_answer

LEAST_WORDS = 8
"""A speech of fewer words that mean something can't drift far."""
MONOPOLY = 1.5
"""Times its equal share: what a member may say at least, however small `max_share` is."""

_UNSPACED = r"\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff"
_CONTENT = re.compile(rf"[{_UNSPACED}]|\d+|[^\W\d{_UNSPACED}]{{4,}}")
"""Numbers, words of four letters and more, and characters of scripts without spaces."""
_NAMED = re.compile(r"^\W*answer\b", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Speech:
    """turn: 0 for a first draft."""

    turn: int
    speaker: str
    text: str


class Minutes:
    """drafts: what each member answered at first; latest: what it thinks by now. scores: expected reward of each, if known.

    present: who is still asked, the strongest first. max_tokens: of a speech; what is beyond is cut. min_overlap: the share of a
    speech's words that must be of the question or a first draft. max_share: of all that is said.
    """

    def __init__(
        self,
        question: str,
        drafts: Sequence[MemberAnswer],
        scores: Mapping[str, float],
        *,
        max_tokens: int,
        min_overlap: float,
        max_share: float,
        dice: random.Random,
    ) -> None:
        names = [draft.expert for draft in drafts]
        self.drafts = tuple(drafts)
        self.present = sorted(names, key=lambda name: -scores.get(name, 0.0))
        self.latest = {draft.expert: draft for draft in drafts}
        self.speeches = [Speech(0, draft.expert, cut(draft.text, max_tokens)) for draft in drafts]
        self.numbers = {name: place for place, name in enumerate(dice.sample(names, len(names)), 1)}
        self.overlaps: dict[int, list[float]] = {}
        self.num_drifted = 0
        self._scores = scores
        self._topic = content_words("\n".join([question, *(draft.text for draft in drafts)]))
        self._min_overlap = min_overlap
        self._max_tokens = max_tokens
        self._max_share = max(max_share, MONOPOLY / len(names))
        self._lengths: dict[str, list[int]] = {name: [] for name in names}

    def add(self, turn: int, speech: MemberAnswer) -> bool:
        """Put down a usable speech, unless it has drifted. Whether it was put down.

        It is its speaker's draft from now on if it names an answer, or ends in one that somebody holds.
        """
        limit = self._limit(speech.expert)
        self._lengths[speech.expert].append(estimate(speech.text))
        words = content_words(speech.text)
        overlap = len(words & self._topic) / max(1, len(words))
        self.overlaps.setdefault(turn, []).append(overlap)
        if len(words) >= LEAST_WORDS and overlap < self._min_overlap:
            self.num_drifted += 1
            return False
        held = {final_answer(draft.text) for draft in self.latest.values()}
        if _NAMED.search(speech.text) or final_answer(speech.text) in held:
            self.latest[speech.expert] = speech
        self.speeches.append(Speech(turn, speech.expert, cut(speech.text, limit)))
        return True

    def heard(self, speakers: Collection[str], max_tokens: int) -> str:
        """What these have said, and who is gone, the newest last, as data for a prompt. max_tokens: of each speech."""
        return "\n\n".join(
            f"Speaker {self.numbers[speech.speaker]}:\n{quote_text(speech.text, max_tokens=max_tokens)}"
            for speech in self.speeches
            if speech.speaker in speakers or speech.speaker not in self.present
        )

    def opinions(self) -> list[Camp]:
        """Who concludes alike by now, the heaviest camp first."""
        return camps(list(self.latest.values()), self._scores)

    def drafted(self) -> Camp:
        """Who concluded alike at first and weighs most."""
        return camps(self.drafts, self._scores)[0]

    def shares(self) -> dict[str, float]:
        """What part each member has in all that was said after the first drafts; in estimated tokens."""
        said = {name: sum(lengths) for name, lengths in self._lengths.items()}
        total = sum(said.values())
        return {name: tokens / total if total else 0.0 for name, tokens in said.items()}

    def _limit(self, speaker: str) -> int:
        """Tokens in which the next speech of a member is heard."""
        others = [length for name, lengths in self._lengths.items() if name != speaker for length in lengths]
        monopoly = bool(others) and self.shares()[speaker] > self._max_share
        return min(self._max_tokens, int(fmean(others))) if monopoly else self._max_tokens


def content_words(text: str) -> set[str]:
    return set(_CONTENT.findall(text.casefold()))
