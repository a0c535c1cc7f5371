"""Experts that stand on another one, as `experts.yaml` declares them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from orchestrator.config import IDENTITY_TOKENS, INSTRUCTION_TOKENS, Config, ExpertBase
from orchestrator.errors import ConfigError
from orchestrator.experts.prompted import under_name
from orchestrator.fleet.configfile import load_config
from orchestrator.tokens import MESSAGE_TOKENS, estimate
from orchestrator.types import Answer, Usage
from tests.support.service import write_config

BELOW = {"name": "below", "backend": "echo", "context": 1000}
PERSONA = {"name": "over", "backend": "persona", "base": "below"}
PROMPTS = {"name": "over", "backend": "prompts", "base": "below", "artifact": "mix"}


def over(**keys: Any) -> ExpertBase:
    return Config.model_validate({"version": 1, "experts": [BELOW, keys]}).by_name["over"]


@pytest.mark.parametrize(
    ("keys", "taken"),
    [
        ({**PERSONA, "system": "Arr."}, estimate("Arr.") + MESSAGE_TOKENS),
        ({**PERSONA, "identity": "synthesised"}, estimate("") + MESSAGE_TOKENS + IDENTITY_TOKENS),
        (PROMPTS, INSTRUCTION_TOKENS),
    ],
)
def test_a_prompt_that_is_always_there_is_taken_off_the_context(keys: dict[str, Any], taken: int):
    assert over(**keys).context == 1000 - taken


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (PERSONA, "expected a `system` prompt, or `identity: synthesised`"),
        ({**PERSONA, "system": "Arr.", "prompts": "mine"}, "`prompts` belongs to a persona with `identity"),
        ({**PERSONA, "identity": "mine"}, "synthesised"),
        ({**PROMPTS, "prompt_tokens": 10}, "greater than or equal to 256"),
        ({"name": "over", "backend": "prompts", "base": "below"}, "artifact"),
    ],
)
def test_what_makes_no_sense_is_refused(keys: dict[str, Any], reason: str):
    with pytest.raises(ValidationError, match=reason):
        over(**keys)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (PROMPTS, r"experts\[1\]\.artifact: got 'mix', expected a file that exists"),
        (
            {**PERSONA, "identity": "synthesised", "prompts": "mine"},
            r"experts\[1\]\.prompts: got 'mine', expected a file",
        ),
        ({**PROMPTS, "base": "other"}, r"experts\[1\]\.base: 'other' has a base itself"),
        ({**PROMPTS, "context": 200}, r"experts\[1\]\.base: it takes about 256 tokens, which is the whole context"),
    ],
)
def test_what_is_not_there_is_named_with_its_key(tmp_path: Path, keys: dict[str, Any], reason: str):
    other = {"name": "other", "backend": "persona", "base": "below", "system": "Arr."}
    with pytest.raises(ConfigError, match=reason):
        load_config(write_config(tmp_path, BELOW, keys, other))


@pytest.mark.parametrize(
    ("usage", "total"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11}, (8, 10, 18)),
        ({"prompt_tokens": None}, (3, 4, 7)),
        ("none", (3, 4, 7)),
    ],
)
async def test_what_was_used_besides_is_added_whatever_the_server_counts(usage: Any, total: tuple[int, int, int]):
    body = msgspec.json.encode({"model": "up", "usage": usage})
    answer = await under_name(Answer(body=body), "over", Usage(3, 4))
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    assert msgspec.json.decode(answer.body or b"") == {"model": "over", "usage": dict(zip(names, total, strict=True))}
