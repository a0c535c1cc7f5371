"""Whom a query may come to ask, by its model alone."""

import pytest

from orchestrator.bulk.reach import Reach
from tests.support.service import service_of

ECHOES = [{"name": name, "backend": "echo", "capabilities": ["logprobs"]} for name in "abc"]
PANELS = {
    "pair": {"experts": ["a", "b"], "aggregator": "first"},
    "nested": {"experts": ["panel/pair", "poet"], "aggregator": "synthesis", "judge": "c"},
}
POLICIES = {
    "auto": {},
    "among": {"experts": ["a", "panel/pair"]},
    "climb": {"experts": ["a", "c"], "mode": "cascade", "confidence": "usable"},
    "again": {"retry_unusable": True},
    "deep": {"experts": ["a", "b"], "mode": "adaptive", "panel": "nested"},
}
POET = {"name": "poet", "backend": "persona", "base": "c", "system": "Rhyme."}


@pytest.mark.parametrize(
    ("model", "hosts"),
    [
        ("a", ""),
        ("nobody", ""),
        ("auto", ""),
        ("panel/pair", "ab"),
        ("panel/nested", "abc"),
        ("among", "ab"),
        ("climb", "ac"),
        ("again", "abc"),
        ("deep", "abc"),
    ],
)
async def test_the_hosts_that_may_be_asked_one_after_the_other(tmp_path, model, hosts):
    async with service_of(tmp_path, *ECHOES, POET, panels=PANELS, policies=POLICIES) as service:
        reach = Reach(service.fleet)
        assert reach.asks(model) == frozenset(hosts)
        assert not reach.writes_together(model)


async def test_who_writes_together_with_others_is_known(tmp_path):
    (tmp_path / "x.gguf").touch()
    llamas = [{"name": name, "backend": "llamacpp", "model": {"path": "x.gguf"}} for name in "lm"]
    panels = {
        "tokens": {"experts": ["l", "m"], "aggregator": "logits"},
        "outer": {"experts": ["panel/tokens", "a"], "aggregator": "first"},
    }
    policies = {"among": {"experts": ["a", "panel/outer"]}}
    async with service_of(tmp_path, *llamas, ECHOES[0], panels=panels, policies=policies) as service:
        reach = Reach(service.fleet)
        models = ("l", "a", "nobody", "panel/tokens", "panel/outer", "among")
        assert [model for model in models if reach.writes_together(model)] == ["panel/tokens", "panel/outer", "among"]
