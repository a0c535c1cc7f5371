"""What a conductor says, read: whom it calls with which instructions, or how it ends.

    read_turn('Let me ask.\nExpert Poet: \"\"\"Rhyme on blue.\"\"\"').calls        # (ExpertCall("Poet", "Rhyme on blue."),)
    read_turn('FINAL ANSWER: \"\"\"42\"\"\"').answer                             # '42'

Small models keep to no form: quotation marks may be missing or of another kind, and what follows a call that was made up, as if
the expert had answered already, is dropped. Not here: the conversation (`conductor.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from orchestrator.labelling.quoting import without_thinking

MAX_CALLS = 4
"""In one turn."""
_QUOTED = r'(?:"""|“|```\w*\n|")\s*(?P<quoted>.*?)\s*(?:"""|”|```|"(?=\s*(?:\n|\Z))|\Z)'
_CALL = re.compile(
    rf"^[ \t*#>]*Expert[ \t]+(?P<title>[A-Z][^:\n\"“]{{0,60}}?)[\s*]*:[\s*]*(?:{_QUOTED}|(?P<plain>\S.*?)(?=\n\s*\n|\Z))",
    re.MULTILINE | re.DOTALL,
)
_END = re.compile(r"^[ \t*#>]*final answer[\s*]*:[\s*]*(?P<answer>.*)\Z", re.MULTILINE | re.DOTALL | re.IGNORECASE)
_AROUND = re.compile(r'\s*(?:"""|“)\s*(.*?)\s*(?:"""|”)\s*\Z|\s*"([^"]*)"\s*\Z', re.DOTALL)


@dataclass(frozen=True, slots=True)
class ExpertCall:
    """title: of the expert, as the conductor makes it up."""

    title: str
    instructions: str


@dataclass(frozen=True, slots=True)
class Turn:
    """text: what the conductor said, up to where it had to stop. calls, answer: one of them at most."""

    text: str
    calls: tuple[ExpertCall, ...] = ()
    answer: str | None = None


def read_turn(text: str) -> Turn:
    """Whatever comes first counts: a call, or the end."""
    said = without_thinking(text).strip()
    end = _END.search(said)
    calls: list[ExpertCall] = []
    stop = 0
    for call in _CALL.finditer(said):
        if end is not None and call.start() > end.start():
            break
        instructions = (call["quoted"] or call["plain"] or "").strip()
        if instructions and len(calls) < MAX_CALLS:
            calls.append(ExpertCall(call["title"].strip(), instructions))
            stop = call.end()
    if calls:
        return Turn(said[:stop], tuple(calls))
    if end is not None and (answer := _unquoted(end["answer"])):
        return Turn(said, answer=answer)
    return Turn(said)


def _unquoted(answer: str) -> str:
    """An answer without the quotation marks around all of it."""
    around = _AROUND.match(answer)
    return ((around[1] or around[2] or "") if around else answer).strip()
