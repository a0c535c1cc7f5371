"""The shipped tasks through the shipped fleet, on its real weights."""

import shutil
from importlib.util import find_spec

import pytest

from orchestrator.errors import ConfigError
from orchestrator.fleet.configfile import load_config
from orchestrator.fleet.weights import weights_path
from tests.support.bench import sweep
from tests.support.serving import switchyard_serve
from tests.support.shipped import SHIPPED


@pytest.mark.slow
async def test_auto_sends_sums_to_the_calculator_and_the_rest_to_a_model(tmp_path):
    try:
        weights_path(load_config(SHIPPED).by_name["smollm2"].model)
    except ConfigError as exc:
        pytest.skip(exc.message)
    if find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed: pip install 'switchyard-llm[local]'")
    models = ["auto", "smollm2", "calculator"]
    with switchyard_serve(shutil.copy(SHIPPED, tmp_path)) as gateway:
        rows = await sweep(gateway.url, tmp_path / "out", "arithmetic", "classification", models=models, limit=6)
    assert {row.errors for row in rows.values()} == {0}
    assert 0 < rows["arithmetic", "auto"].share["calculator"] < 1
    assert rows["classification", "auto"].share.keys() <= {"smollm2", "editor"}
    assert rows["arithmetic", "auto"].reward >= rows["arithmetic", "calculator"].reward > 0
    assert rows["classification", "smollm2"].ttft_p50_s > 0
