"""The router that shrinks to predicted tags."""

from dataclasses import replace

import numpy as np
import pytest

from routers.base import Outcome
from routers.encoders import HashedEncoder
from routers.families.tagged import TaggedRouter

VERBS = ("add", "multiply", "subtract", "halve")
TOPICS = ("rain", "love", "the sea", "my cat", "a train")


def outcomes(groups=True, copies=12):
    """Sums are a's, poems b's."""
    for i in range(copies):
        for verb in VERBS:
            yield Outcome(f"{verb} {i} and {i + 7}", {"a": 0.9, "b": 0.1}, group="sums" if groups else None)
        for topic in TOPICS:
            yield Outcome(f"write poem {i} about {topic}", {"a": 0.3, "b": 0.7}, group="poems" if groups else None)


def fitted(rows, **parameters):
    return TaggedRouter(encoder=HashedEncoder(256), **parameters).fit(list(rows))


def test_a_new_query_gets_its_tags_mean():
    sums, poems = fitted(outcomes(), penalty=1.0).predict(["add 55 and 99", "write poem 99 about my cat"])
    np.testing.assert_allclose(sums, [0.9, 0.1], atol=0.05)
    np.testing.assert_allclose(poems, [0.3, 0.7], atol=0.05)


def test_without_groups_it_finds_its_own():
    sums, poems = fitted(outcomes(groups=False)).predict(["add 55 and 99", "write poem 99 about my cat"])
    assert sums[0] > sums[1]
    assert poems[1] > poems[0]


def test_a_tag_with_few_rows_is_drawn_towards_the_experts_means():
    """12 poems say b wins there; with a penalty of 500 rows, it stays close to how good b is in all."""
    rows = [Outcome(f"add {i} and {i + 7}", {"a": 0.9, "b": 0.1}, group="sums") for i in range(200)]
    rows += [Outcome(f"write poem {i} about rain", {"a": 0.0, "b": 1.0}, group="poems") for i in range(12)]
    free, drawn = (
        fitted(rows, penalty=penalty).predict(["write poem 99 about rain"])[0, 1] for penalty in (1.0, 500.0)
    )
    assert free > 0.6
    assert drawn < 0.3


def test_a_tag_of_one_row_is_no_tag():
    rows = [*outcomes(), Outcome("something else", {"a": 1.0, "b": 0.0}, group="odd")]
    assert fitted(rows).classifier_.shape[1] == 3
    rare = [*outcomes(), *(Outcome(f"odd {i}", {"a": 1.0, "b": 0.0}, group=f"odd {i}") for i in range(4))]
    assert fitted(rare).classifier_.shape[1] == 3


def test_weights_undo_a_logging_policy():
    """Of 60 sums the log shows a's 30 failures with propensity 0.2, and 30 successes with 0.8: true means differ."""
    rows = [
        Outcome(f"add {i} and {i + 7}", {"a": float(i % 2)}, propensity={"a": 0.8 if i % 2 else 0.2}) for i in range(60)
    ]
    corrected = fitted(rows).predict(["add 99 and 3"])[0, 0]
    naive = fitted(Outcome(row.query, row.rewards) for row in rows).predict(["add 99 and 3"])[0, 0]
    assert corrected < 0.35 < naive


def test_an_expert_tried_on_fewer_queries_is_less_certain():
    """With a penalty of 20 rows, one tag, and a tenth of 400 rows: variances are as (400 + 20) to (40 + 20)."""
    dice = np.random.default_rng(0)
    rows = [
        Outcome(f"add {i} and {i + 7}", {name: float(dice.random() < 0.5) for name in ("ab" if i % 10 == 0 else "a")})
        for i in range(400)
    ]
    _, (std,) = fitted(replace(row, group="sums") for row in rows).predict(["add 5 and 12"], return_std=True)
    assert std[1] / std[0] == pytest.approx(np.sqrt(420 / 60), rel=0.15)
