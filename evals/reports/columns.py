"""The metrics of a row that a report shows, in the order in which it shows them: title, one-line definition, and form.

    [column.title for column in COLUMNS if column.core]

Not here: how they are computed (`evals/metrics/`, which cites the sources), numbers as text (`texts.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Column:
    """name: field of `Row`. scale: what the value is multiplied by to be shown. digits: after the point, None for four
    significant ones. core: stands in the short table."""

    name: str
    title: str
    meaning: str
    better: Literal["higher", "lower", "neither"]
    scale: float = 1.0
    digits: int | None = 3
    core: bool = False


COLUMNS = (
    Column("reward", "Reward", "Mean reward of the expert chosen for each query, times 100.", "higher", 100, 1, True),
    Column(
        "gain",
        "Gain",
        "Reward − λ × cost, less that of the best single expert at the same lambda, paired by query, times 100.",
        "higher",
        100,
        2,
        True,
    ),
    Column("p_adjusted", "p (Holm)", "Chance of such a gain from none, two-sided, adjusted for all routers.", "lower"),
    Column("cost", "Cost", "Mean: US$ of 1,000 queries, or the data's own unit of one.", "lower", 1, None, True),
    Column(
        "aiq",
        "AIQ",
        "Mean reward from the cheapest expert's cost to the dearest's (RouterBench).",
        "higher",
        100,
        1,
        True,
    ),
    Column(
        "hypervolume",
        "Hypervolume",
        "Share of the box of costs and rewards worse than some point of the curve.",
        "higher",
    ),
    Column(
        "cost_to_match", "Cost to match, %", "Of the best single expert's cost, for the same reward.", "lower", 100, 0
    ),
    Column(
        "cost_save",
        "CostSave",
        "Share of that cost saved, without mixing points of the curve (LLMRouterBench).",
        "higher",
    ),
    Column("apgr", "APGR", "Mean gap recovered between the weak and the strong expert (RouteLLM).", "higher"),
    Column("cpt50", "CPT50", "Share of calls to the strong expert that recovers half of the gap (RouteLLM).", "lower"),
    Column("cpt80", "CPT80", "Share of calls to the strong expert that recovers 80% of the gap (RouteLLM).", "lower"),
    Column("arena", "Arena score", "Accuracy and log cost combined (RouterArena).", "higher"),
    Column(
        "optimal_selection", "Optimal selection", "Share sent to the cheapest right expert (RouterArena).", "higher"
    ),
    Column("optimal_cost", "Optimal cost", "Cheapest right cost over that paid, where right (RouterArena).", "higher"),
    Column("optimal_accuracy", "Optimal accuracy", "Reward where some expert is right (RouterArena).", "higher"),
    Column("gain_at_random", "Gain@R", "Relative gain over a blind choice of expert (LLMRouterBench).", "higher"),
    Column("gain_at_best", "Gain@B", "Relative gain over the best single expert (LLMRouterBench).", "higher"),
    Column("gap_at_oracle", "Gap@O", "Relative gap to the best expert of every query (LLMRouterBench).", "lower"),
    Column("shuffled", "Shuffled", "What the same shares of experts earn blindly, times 100.", "neither", 100, 1),
    Column("ece", "ECE", "Mean gap of expected to earned reward over ten bins.", "lower"),
    Column("brier", "Brier", "Mean squared error of expected rewards.", "lower"),
    Column("entropy", "Entropy", "Of the shares of experts, in bits: 0 when one gets every query.", "neither", 1, 2),
    Column("largest_share", "Largest share, %", "Queries that go to the most used expert.", "neither", 100, 0, True),
    Column("flip_rate", "Flips, %", "Choices that change when the query's text is disturbed.", "lower", 100, 1),
    Column(
        "paraphrase_flip_rate",
        "Paraphrase flips, %",
        "Choices that change when the query is put in other words.",
        "lower",
        100,
        1,
    ),
    Column("decision_ms", "Decision, ms", "Median time to decide one encoded query.", "lower", 1, 3, True),
    Column("fit_s", "Fit, s", "Median time of one fit on encoded queries.", "lower", 1, 2),
)
