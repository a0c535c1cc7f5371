"""Whether what is quoted stands in the source, marked where it is quoted.

    checked = check_quotes('It says "the third well ran dry", and "nobody drank".', source="In May the third well ran dry.")
    checked.text              # 'It says ⟦found⟧"the third well ran dry", and ⟦not found⟧"nobody drank".'
    checked.quotes            # (Quote("the third well ran dry", found=True), Quote("nobody drank", found=False))

A quote is what stands between quotation marks, if it is long enough to be one, or between `<quote>` and `</quote>`. It is found if
the source has it word for word; case, line breaks, kinds of quotation marks and dashes, and marks at its ends don't matter. The
brackets of marks are taken out of what is checked, so that nobody marks their own quotes, and what is left is made harmless, to be
shown as it is. Not here: whether a quote says what is claimed of it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from orchestrator.labelling.quoting import harmless

LEAST_CHARS = 12
"""What is shorter between quotation marks is a word that is spoken of, or not meant."""

_QUOTE = re.compile(
    r"<quote>([^<>]*)</quote>"
    + "".join(rf"|{opened}([^{opened}{closed}\n]*){closed}" for opened, closed in ('""', "“”", "„“", "«»", "「」")),
    re.IGNORECASE,
)
_MARKS = re.compile("[⟦⟧〚〛]")
_SAME = str.maketrans(dict.fromkeys("“”„«»「」", '"') | dict.fromkeys("‘’‚", "'") | dict.fromkeys("‐‑‒–—−", "-"))
_ENDS = " .,;:!?…\"'"
_IN_A_WORD = r"[0-9A-Za-z\u00c0-\u052f]"
"""What a quote may not cut through: letters of scripts that put spaces between words, and digits."""


@dataclass(frozen=True, slots=True)
class Quote:
    text: str
    found: bool


@dataclass(frozen=True, slots=True)
class Checked:
    """A text whose quotes are marked, and the quotes."""

    text: str
    quotes: tuple[Quote, ...]


def check_quotes(text: str, source: str) -> Checked:
    plain_source = _plain(harmless(source))
    quotes: list[Quote] = []

    def mark(match: re.Match[str]) -> str:
        quote = next(group for group in match.groups() if group is not None)
        wanted = _plain(quote).strip(_ENDS)
        if not wanted or (match[1] is None and len(quote) < LEAST_CHARS):
            return match[0]
        quotes.append(Quote(quote.strip(), _has(plain_source, wanted)))
        return f'⟦{"found" if quotes[-1].found else "not found"}⟧"{quotes[-1].text}"'

    marked = _QUOTE.sub(mark, harmless(_MARKS.sub("", text)))
    return Checked(marked, tuple(quotes))


def _has(source: str, wanted: str) -> bool:
    """Whether a plain text has the wanted words, whole ones and signed numbers as they are."""
    return re.search(rf"(?<!{_IN_A_WORD})(?<!-(?=\d)){re.escape(wanted)}(?!{_IN_A_WORD})", source) is not None


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).translate(_SAME).casefold().split())
