"""Real models that don't fit together: a few requests under two policies, and as a batch."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from evals.swaps.fleet import COPIES, is_here
from evals.swaps.running import BULK, QUERIES, bench_swaps
from routers.data.outcomes import write_outcomes
from tests.support.recorded import recorded_outcomes


@pytest.mark.slow
def test_every_request_is_answered_and_a_batch_loads_each_expert_at_most_once(tmp_path):
    if find_spec("xllamacpp") is None or not is_here():
        pytest.skip("needs xllamacpp and the models: python -m evals.bench swaps fetches them")
    write_outcomes(tmp_path / QUERIES, recorded_outcomes({"a": 0.5}, n=12))
    policies = ["switchyard", "fifo"]
    rows = {row.policy: row for row in bench_swaps(tmp_path, requests=12, rate=4.0, policies=policies)}
    assert [row.failed for row in rows.values()] == [0, 0, 0]
    assert rows[BULK].swaps <= 2 * COPIES
    assert rows["switchyard"].swaps <= rows["fifo"].swaps
