"""What stands beside a report: advice for each case, and what attacks did."""

from evals.reports.appendix import appendix
from tests.support.sweeps import sweep


def test_advice_is_for_cases_that_are_not_attacked():
    text = appendix(sweep(seeds=(0, 1), attacks=("broken_expert",)))
    heads = [line for line in text.splitlines() if line.startswith("## ")]
    assert heads == [
        "## Fleet advice: free, by what `sharp` chooses",
        "## Fleet advice: paid, by what `sharp` chooses",
        "## Under attack",
    ]


def test_attacks_are_a_table_of_what_each_router_lost():
    text = appendix(sweep(seeds=(0,), attacks=("broken_expert",)))
    rows = [line for line in text.splitlines() if line.startswith("| paid | broken_expert | ")]
    assert len(rows) == 9
    assert "| paid | broken_expert | group_best | +0.0 | +0.0 to +0.0 |" in rows
    (single,) = (row for row in rows if "best_single" in row)
    assert float(single.split(" | ")[3]) < -50


def test_without_attacks_there_is_no_table():
    assert "Under attack" not in appendix(sweep(seeds=(0,)))
