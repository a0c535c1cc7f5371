"""Which quantisation of each expert is kept: as good as trying every combination, and never more than fits."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ConfigError
from orchestrator.scheduler.precision import Variant, Variants, choose_variants

GB = 1_000_000_000
QUALITY = st.integers(0, 100).map(lambda percent: percent / 100)
VARIANT = st.builds(
    Variant, st.sampled_from(["q2", "q4", "q8"]), st.integers(1, 80).map(lambda n: n * GB // 10), QUALITY
)


@st.composite
def fleets(draw):
    count = draw(st.integers(1, 4))
    return [
        Variants(
            expert=f"e{i}",
            traffic=draw(st.integers(1 if i == 0 else 0, 5)),
            variants=tuple(draw(st.lists(VARIANT, min_size=1, max_size=3))),
            without=draw(st.sampled_from([0.0, 0.3])),
        )
        for i in range(count)
    ]


def quality_of(experts, chosen):
    """Mean over the traffic."""
    got = [variant.quality if variant else expert.without for expert, variant in zip(experts, chosen, strict=True)]
    total = sum(expert.traffic for expert in experts)
    return sum(expert.traffic * quality for expert, quality in zip(experts, got, strict=True)) / total


def best_of_all(experts, budget_bytes):
    return max(
        quality_of(experts, chosen)
        for chosen in product(*[(None, *expert.variants) for expert in experts])
        if sum(variant.memory_bytes for variant in chosen if variant) <= budget_bytes
    )


def greedy(experts, budget_bytes):
    """The most valuable by the byte first."""
    cells = [(expert, variant) for expert in experts for variant in expert.variants]
    cells.sort(key=lambda cell: -cell[0].traffic * (cell[1].quality - cell[0].without) / cell[1].memory_bytes)
    kept = {}
    for expert, variant in cells:
        used = sum(other.memory_bytes for other in kept.values())
        if (
            expert.expert not in kept
            and variant.quality > expert.without
            and used + variant.memory_bytes <= budget_bytes
        ):
            kept[expert.expert] = variant
    return quality_of(experts, [kept.get(expert.expert) for expert in experts])


@settings(max_examples=60, deadline=None)
@given(fleets(), st.integers(0, 240).map(lambda n: n * GB // 10))
def test_no_combination_that_fits_is_better(experts, budget_bytes):
    chosen = choose_variants(experts, budget_bytes)
    assert chosen.memory_bytes <= budget_bytes
    assert chosen.quality == pytest.approx(quality_of(experts, [chosen.variants[e.expert] for e in experts]))
    assert chosen.quality == pytest.approx(best_of_all(experts, budget_bytes))
    assert chosen.quality >= greedy(experts, budget_bytes) - 1e-9
    assert chosen.bound >= chosen.quality - 1e-9
    assert chosen.another_gb == pytest.approx(best_of_all(experts, budget_bytes + GB) - chosen.quality)


@settings(max_examples=30, deadline=None)
@given(fleets(), st.integers(0, 240).map(lambda n: n * GB // 10), st.randoms(use_true_random=False))
def test_the_order_of_experts_does_not_matter(experts, budget_bytes, random):
    shuffled = random.sample(experts, len(experts))
    assert choose_variants(shuffled, budget_bytes).quality == pytest.approx(
        choose_variants(experts, budget_bytes).quality
    )


def two_sizes(name, traffic, low=0.5, high=0.7, **fields):
    return Variants(name, traffic, (Variant("q4", 4 * GB, low), Variant("q8", 8 * GB, high)), **fields)


def test_the_expert_with_more_traffic_is_kept_more_exactly():
    chosen = choose_variants([two_sizes("rare", 1), two_sizes("usual", 9)], 12 * GB)
    assert {name: variant.name for name, variant in chosen.variants.items()} == {"rare": "q4", "usual": "q8"}
    assert chosen.quality == pytest.approx(0.68)
    assert chosen.price_per_gb == pytest.approx(0.1 * 0.2 / 4)
    assert chosen.another_gb == 0.0


def test_memory_enough_for_all_is_worth_nothing_more():
    chosen = choose_variants([two_sizes("a", 1), two_sizes("b", 1)], 100 * GB)
    assert chosen.memory_bytes == 16 * GB
    assert (chosen.price_per_gb, chosen.another_gb) == (0.0, 0.0)


def test_an_expert_whose_queries_others_answer_as_well_is_left_out():
    chosen = choose_variants([two_sizes("needed", 1), two_sizes("spare", 5, without=0.7)], 100 * GB)
    assert chosen.variants["spare"] is None
    assert chosen.variants["needed"] is not None


def test_no_budget_keeps_nobody():
    chosen = choose_variants([two_sizes("a", 1, without=0.4)], 0)
    assert chosen.variants == {"a": None}
    assert (chosen.quality, chosen.memory_bytes) == (pytest.approx(0.4), 0)


@pytest.mark.parametrize(
    ("experts", "budget_bytes", "message"),
    [
        ([], 1, "each of them once"),
        ([two_sizes("a", 1), two_sizes("a", 1)], 1, "each of them once"),
        ([Variants("a", 1.0, ())], 1, "'a' has no variants"),
        ([two_sizes("a", 1, low=float("nan"))], 1, "'a': expected memory"),
        ([two_sizes("a", -1)], 1, "traffic of 0 or more"),
        ([two_sizes("a", 0)], 1, "traffic above 0"),
        ([two_sizes("a", 1)], -1, "a budget"),
    ],
)
def test_what_makes_no_sense_is_refused(experts, budget_bytes, message):
    with pytest.raises(ConfigError, match=message):
        choose_variants(experts, budget_bytes)
