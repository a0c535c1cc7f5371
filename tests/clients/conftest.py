from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.live import Live, live_gateway


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Live]:
    with live_gateway(tmp_path) as gateway:
        yield gateway
