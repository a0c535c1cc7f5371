"""What a trace and a setting may be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evals.simulation.base import Setting, Trace

AT_S, EXPERT = np.array([0.0, 1.0]), np.array([0, 1])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"at_s": np.array([1.0, 0.0])}, "at_s: expected ascending"),
        ({"at_s": np.array([0.0, np.nan])}, "at_s: expected finite"),
        ({"expert": np.array([0])}, r"expert: expected shape \(2,\)"),
        ({"expert": np.array([0, -1])}, "expert: expected indices from 0"),
        ({"after": np.array([1, -1])}, "after: expected earlier requests"),
        ({"utilities": np.array([[1.0], [np.nan]])}, "utilities: expected a candidate for every request"),
    ],
)
def test_what_a_trace_can_not_be(wrong, message):
    with pytest.raises(ValueError, match=message):
        Trace(**({"at_s": AT_S.copy(), "expert": EXPERT.copy()} | wrong))


def test_a_trace_can_not_be_written_to():
    trace = Trace(AT_S.copy(), EXPERT.copy())
    with pytest.raises(ValueError, match="read-only"):
        trace.at_s[0] = 5.0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"experts": ("same",) * 16}, "experts: expected a name of its own for each"),
        ({"load_s": np.array([1.0])}, r"load_s: has shape \(1,\), expected \(16,\)"),
        ({"service_s": np.zeros(16)}, "service_s: expected more than 0 for every expert"),
        ({"load_s": np.full(16, np.inf)}, "load_s: expected 0 or more"),
        ({"stop_s": -1.0}, "stop_s: expected 0 or more"),
        ({"budget_bytes": 10}, "budget_bytes: expected at least the largest expert's size"),
        ({"load_failures": 1.0}, "load_failures: expected at least 0 and less than 1"),
    ],
)
def test_what_a_setting_can_not_be(wrong, message):
    with pytest.raises(ValueError, match=message):
        replace(Setting.even(), **wrong)


@pytest.mark.parametrize("wrong", ["experts", "slots", "batch"])
def test_an_even_setting_has_at_least_one_of_everything(wrong):
    with pytest.raises(ValueError, match=f"{wrong}: expected 1 or more"):
        Setting.even(**{wrong: 0})


def test_experts_may_be_named():
    assert Setting.even(["small", "large"]).experts == ("small", "large")
