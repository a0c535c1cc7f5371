"""What an expert's replicas come to together."""

from dataclasses import replace

from orchestrator.scheduler.base import ExpertStatus
from orchestrator.scheduler.summary import by_expert

HERE = ExpertStatus("a", "cold", 0, 2, 5.0, "open", 0, 1, node="n1")


def test_counts_are_summed_and_the_rest_is_the_best_replicas():
    there = replace(HERE, state="ready", leases=3, expected_wait_s=0.5, breaker="closed", memory_bytes=60, node="n2")
    assert by_expert([HERE, there]) == {"a": ExpertStatus("a", "ready", 3, 4, 0.5, "closed", 60, 2)}


def test_an_expert_in_one_place_is_as_it_is():
    assert by_expert([HERE]) == {"a": HERE}
