"""Which outcomes are compared on, and what there is without any."""

import pytest

from evals.fusion.benchmark import POOLS, bench_fusion
from evals.fusion.comparison import ALL
from evals.fusion.subsets import TopVote
from routers.data.outcomes import write_outcomes
from routers.encoders import HashedEncoder
from tests.support.recorded import recorded_outcomes

ENCODER = HashedEncoder(dimensions=32)


def everybody(train, test):
    return {ALL: TopVote().fit(train).curve(test)[-1]}


@pytest.fixture
def data(tmp_path):
    """MMLU-Pro's file with invented answers, of its mid pool and of one more."""
    skills = dict.fromkeys([*POOLS["mmlupro10"], "another"], 0.5)
    write_outcomes(tmp_path / "mmlupro28-dev.jsonl.gz", recorded_outcomes(skills, n=60))
    return tmp_path


def test_the_data_that_is_there_is_compared_on_for_its_pool(data):
    rows = list(bench_fusion(data, everybody, ENCODER))
    assert {row.data for row in rows} == {"mmlupro10"}
    assert rows[0].calls == len(POOLS["mmlupro10"])


def test_data_that_is_missing_is_told(data, tmp_path_factory):
    with pytest.raises(ValueError, match="expected the outcomes of zeroeval12, found mmlupro10"):
        list(bench_fusion(data, everybody, ENCODER, only=("zeroeval12",)))
    with pytest.raises(ValueError, match="expected the outcomes of mmlupro10, zeroeval12, found none"):
        list(bench_fusion(tmp_path_factory.mktemp("empty"), everybody, ENCODER))
