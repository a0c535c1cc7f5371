"""One learned fusion for all tests of what it does, and recorded answers that it has not seen."""

import pytest

from routers.encoders import HashedEncoder
from routers.fusing.fusion import Fusion
from tests.support.recorded import recorded_answers

COSTS = {"good": 5.0, "algebraist": 1.0, "poet": 1.0, "poor": 0.5, "poorer": 0.0}
SKILLS = {"good": 0.8, "algebraist": [0.9, 0.3], "poet": [0.3, 0.9], "poor": 0.4, "poorer": 0.35}


@pytest.fixture(scope="session")
def learned_from():
    return recorded_answers(SKILLS, n=500, seed=0, silent=0.1, costs=COSTS)


@pytest.fixture(scope="session")
def unseen():
    return recorded_answers(SKILLS, n=400, seed=1, silent=0.1, costs=COSTS)


@pytest.fixture(scope="session")
def fusion(learned_from):
    return Fusion(encoder=HashedEncoder(64)).fit(learned_from)
