"""trustedrouter-provider-check, a conformance checker nobody here wrote, against a gateway whose expert plays a capable model.

What is not passed here is not claimed: docs/CONFORMANCE.md says why.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from tr_provider_check.checks import run_checks
from tr_provider_check.checks.assertions import CHECK_ASSERTIONS

from tests.support.live import KEY, serving
from tests.support.upstream import says

HIGHEST_TIER = 6
ENOUGH_TOKENS = 128
"""For a performance sample to count."""
NOT_CLAIMED = {"catalog.declared-v2": "skip", "callability.advertised-models": "warn"}
CHECKS = CHECK_ASSERTIONS.keys() - {"chat.unavailable", "stream.unavailable"}


@pytest.mark.parametrize(
    ("model", "besides"),
    [("large", {}), ("auto", {"chat.model": "warn"})],  # a policy's answer carries the name of the expert it chose
)
async def test_a_capable_expert_passes_all_that_is_claimed(tmp_path: Path, model: str, besides: dict[str, str]):
    async with serving(tmp_path) as gateway:
        gateway.upstream.usual = says(capable)
        gateway.upstream.num_chunks = ENOUGH_TOKENS
        gateway.upstream.pause_s = 0.01
        run = await run_checks(
            base_url=f"{gateway.url}/v1", api_key=KEY, model=model, tier=HIGHEST_TIER, perf_samples=1
        )
    assert {check.id for check in run.checks} == CHECKS
    assert {check.id: check.status for check in run.checks if check.status != "pass"} == NOT_CLAIMED | besides


def capable(body: dict[str, Any]) -> dict[str, Any]:
    """Calls every tool it is given, answers in JSON when told to, and says PONG otherwise."""
    if body.get("tools") and body["messages"][-1]["role"] == "user":
        calls = [call(i, tool["function"]) for i, tool in enumerate(body["tools"])]
        return {"role": "assistant", "content": None, "tool_calls": calls}
    wants_json = body.get("response_format", {}).get("type", "text") != "text"
    return {"role": "assistant", "content": json.dumps({"answer": "PONG", "count": 2}) if wants_json else "PONG"}


def call(i: int, function: dict[str, Any]) -> dict[str, Any]:
    arguments = json.dumps(dict.fromkeys(function["parameters"]["required"], "Athens"))
    return {"id": f"call_{i}", "type": "function", "function": {"name": function["name"], "arguments": arguments}}
