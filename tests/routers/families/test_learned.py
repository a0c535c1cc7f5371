import numpy as np
from threadpoolctl import threadpool_info

from routers.encoders import HashedEncoder
from routers.families.learned import LearnedRouter
from tests.support.outcomes import specialists


class Counting(LearnedRouter):
    """Learns on how many threads it is fitted."""

    type = "counting"

    def __init__(self):
        self.experts = ()
        self.encoder = HashedEncoder(8)

    def fit_table(self, table, vectors):
        np.dot(vectors, vectors.T)
        self.threads_ = {pool["num_threads"] for pool in threadpool_info()}

    def predict_vectors(self, vectors):
        return np.zeros((len(vectors), len(self.fitted_experts_)), dtype=np.float32)


def test_routers_are_fitted_on_one_thread():
    """On a busy machine a fit of `auto` on 278 queries took a minute instead of half a second."""
    assert Counting().fit(specialists()).threads_ == {1}
