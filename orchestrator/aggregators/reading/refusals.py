"""Whether a text declines to answer, by how it begins.

    refuses("I'm sorry, but I can't help with that.")                     # True
    refuses("I can't help but admire this proof. The answer is 7.")       # False

Precise rather than complete: the usual wordings in English, German, French, Spanish and Chinese. Not here: what else makes an
answer unusable (`usable.py`).
"""

from __future__ import annotations

import re

MAX_REFUSAL_CHARS = 1200
"""Who says more than this has said something besides."""

_SORRY = (
    r"(?:(?:I|we)(?:['’]m| am|['’]re| are) (?:\w+ )?(?:sorry|afraid)|(?:my )?(?:sorry|apologies)|I (?:\w+ )?apologi[sz]e|I regret"
    r"|unfortunately)\b"
)
_AS_AN_AI = r"as an? (?:AI|artificial intelligence|(?:large )?language model)\b"
_UNABLE = (
    r"(?:I|we) ?(?:can(?:['’]?t| ?not)|(?:am|['’]m) (?:not able|unable) to|must decline to"
    r"|(?:am|['’]m) not (?:comfortable|allowed|permitted)(?: to| with)?|do(?:n['’]t| not) feel comfortable"
    r"|(?:won['’]?t|will not|would(?:n['’]t| not))(?: be able to)?)"
)
_AFTER_SORRY = (
    r"(?:help|assist|comply|fulfil?l?|provide|do|answer|create|generate|write|engage|discuss|support|continue|participate|offer"
    r"|share|give|produce|respond|complete|process|access|view|see|open|browse|translate|solve|determine|\w+ing)\b"
)
_BY_ITSELF = (
    r"(?:assist|comply|fulfil?l? (?:that|this|your)|help (?:you )?with (?:that|this|your|creating|making|requests)"
    r"|(?:provide|create|generate|write|engage in|discuss|do|support|share|give you|answer|respond to)"
    r" (?:that|this|these|those|any|such|you with|instructions|your|content|information (?:on|about) how))\b"
)
_REFUSAL = re.compile(
    rf"\W{{0,8}}(?:"
    rf"(?:{_SORRY}|{_AS_AN_AI})[^.!?\n]{{0,60}}?\b{_UNABLE}(?: (?!but\b){_AFTER_SORRY}|\W*\Z)"
    rf"|{_UNABLE} {_BY_ITSELF}"
    rf"|(?:{_SORRY}\W+)?(?:I|we)(?: must| have to|['’]ll have to) (?:respectfully |politely )?(?:decline|refuse)\b"
    r"|(?:(?:es )?tut mir leid|leider)\b[^.!?\n]{0,40}\b(?:kann|darf) ich\b[^.!?\n]{0,60}\bnicht\b"
    r"|ich kann\b[^.!?\n]{0,60}\bnicht (?:weiter)?helfen\b"
    r"|(?:je suis (?:vraiment )?)?désolée?\b[^.!?\n]{0,40}\bje ne (?:peux|suis)\b"
    r"|lo siento\b[^.!?\n]{0,40}\bno puedo\b"
    r"|(?:很?抱歉|对不起|對不起)[，,。\s]*(?:但)?(?:我|作为)[^。！？\n]{0,30}(?:不能|无法|無法)"
    r")",
    re.IGNORECASE,
)
_GOES_ON = re.compile(
    r"\b(?:advice|guarantee|definitive|certainty|exact)\b[^.!?\n]*,? but\b|\banswer is\b", re.IGNORECASE
)
"""What makes it a caution, or an answer after all."""


def refuses(text: str) -> bool:
    """Whether `text` begins as a refusal does, and goes on to say nothing else."""
    if len(text) > MAX_REFUSAL_CHARS:
        return False
    return _REFUSAL.match(text) is not None and not _GOES_ON.search(text)
