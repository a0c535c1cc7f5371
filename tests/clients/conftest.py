from collections.abc import Iterator

import pytest

from tests.support.live import Live, live_gateway
from tests.support.upstream import Upstream


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live_gateway(tmp_path_factory.mktemp("gateway")) as live:
        yield live


@pytest.fixture
def gateway(live: Live) -> Live:
    """One gateway a module; its upstream begins every test anew. Tests that break an expert ask `flaky` or `down`."""
    live.upstream.message = Upstream().message
    live.upstream.script.clear()
    live.upstream.requests.clear()
    return live
