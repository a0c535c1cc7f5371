"""A persona is what its base lets it be (finding 2 of the first review), and the default policy's name is taken."""

import pytest

from orchestrator.config import Config, Price
from orchestrator.errors import ContextTooLong
from orchestrator.routing.feasibility import infeasible_because, nothing_feasible, split_feasible
from tests.support.queries import chat_query, make_query

BASE = {
    "name": "base",
    "backend": "echo",
    "context": 2048,
    "price": {"input": 2, "output": 10},
    "capabilities": ["streaming", "tools"],
    "parameters": {"reject": ["seed", "top_k"]},
}


def persona_over(base=BASE, **fields):
    persona = {"name": "poet", "backend": "persona", "base": base["name"], "system": "You are a poet. " * 10, **fields}
    return Config.model_validate({"version": 1, "experts": [persona, base]}).by_name["poet"]


def test_a_persona_is_what_its_base_is_where_it_says_nothing():
    poet = persona_over()
    assert poet.price == Price(input=2, output=10)
    assert poet.capabilities == {"streaming", "tools"}
    assert poet.context == 2048 - poet.added_tokens
    assert poet.added_tokens > 40


def test_a_persona_may_be_less_than_its_base_but_not_more():
    poet = persona_over(price={"input": 3}, capabilities=["streaming", "vision"], context=4096)
    assert poet.price == Price(input=3)
    assert poet.capabilities == {"streaming"}
    assert poet.context == 2048 - poet.added_tokens
    assert persona_over(context=1000).context == 1000 - poet.added_tokens


def test_a_persona_over_an_expert_of_unknown_context_has_none_either():
    assert persona_over({"name": "base", "backend": "echo"}).context is None


def test_the_personas_own_prompt_counts():
    poet = persona_over()
    query = chat_query(prompt_tokens=2020, max_tokens=20)
    assert infeasible_because(persona_over(system="x", context=None), query) is None
    assert isinstance(nothing_feasible(split_feasible([poet], query)[1], query), ContextTooLong)


def test_a_parameter_that_the_base_refuses_keeps_the_persona_out_unless_it_never_gets_there():
    query = make_query("chat", {"model": "auto", "messages": [], "seed": 1})
    assert infeasible_because(persona_over(), query) == "does not accept seed"
    assert infeasible_because(persona_over(parameters={"drop": ["seed"]}), query) is None
    assert infeasible_because(persona_over(parameters={"rename": {"seed": "random_seed"}}), query) is None
    assert infeasible_because(persona_over(parameters={"rename": {"seed": "top_k"}}), query) == "does not accept seed"


@pytest.mark.parametrize(
    ("base", "fields", "expected"),
    [
        (BASE, {"context": 50}, (("experts", 0, "system"), "it takes about ")),
        (
            {"name": "base", "backend": "echo", "kind": "embedding"},
            {},
            (("experts", 0, "base"), "'base' serves embedding"),
        ),
    ],
)
def test_a_persona_that_cannot_answer_is_a_problem_of_the_file(base, fields, expected):
    persona = {"name": "poet", "backend": "persona", "base": "base", "system": "You are a poet. " * 10, **fields}
    config = Config.model_validate({"version": 1, "experts": [persona, base]})
    [(loc, text)] = config.dangling()
    assert loc == expected[0]
    assert text.startswith(expected[1])


def test_no_expert_is_hidden_by_the_default_policy():
    """Finding 24: `auto` was the policy, and nobody could call the expert."""
    experts = {"version": 1, "experts": [{"name": "auto", "backend": "echo"}]}
    assert [loc for loc, _ in Config.model_validate(experts).dangling()] == [("experts", 0, "name")]
    declared = Config.model_validate({**experts, "policies": {"auto": {}}})
    assert [loc for loc, _ in declared.dangling()] == [("policies", "auto")]
    assert list(declared.offered_policies) == ["auto"]


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"threshold": 0.5}, "`threshold` belongs to a policy with `mode: cascade`"),
        ({"mode": "one", "confidence": "self"}, "`confidence` belongs to a policy with `mode: cascade`"),
        (
            {"mode": "cascade", "samples": 5},
            "`samples` belongs to `confidence: agreement`, and this policy's is logprobs",
        ),
        ({"mode": "cascade", "explore": 0.1}, "does not explore"),
        ({"mode": "adaptive", "explore": 0.1}, "does not explore"),
        ({"retry_unusable": True, "explore": 0.1}, "does not explore"),
        ({"mode": "cascade", "sure": 0.5}, "`sure` belongs to a policy with `mode: adaptive`"),
        ({"mode": "adaptive", "retry_unusable": True}, "`retry_unusable` belongs to a policy with `mode: one`"),
        ({"mode": "cascade", "confidence": "usable", "threshold": 0.5}, "has no `threshold`"),
        ({"mode": "cascade", "confidence": "guess"}, "'logprobs', 'dispersion', 'agreement', 'self' or 'usable'"),
        ({"mode": "cascade", "threshold": 1.5}, "less than or equal to 1"),
        ({"mode": "cascade", "steps": 1}, "greater than or equal to 2"),
    ],
)
def test_a_policy_says_what_is_wrong_with_its_mode(policy, message):
    with pytest.raises(ValueError, match=message):
        Config.model_validate({"version": 1, "experts": [BASE], "policies": {"thrifty": policy}})


def test_an_adaptive_policy_names_a_panel_that_there_is():
    data = {"version": 1, "experts": [BASE], "policies": {"deep": {"mode": "adaptive", "panel": "council"}}}
    assert list(Config.model_validate(data).dangling()) == [
        (("policies", "deep", "panel"), "'council' is no panel; expected one of []")
    ]
    council = {"panels": {"council": {"experts": [BASE["name"]]}}}
    assert not list(Config.model_validate(data | council).dangling())


# Experts on several nodes

WEIGHTS = {"name": "small", "backend": "command", "command": "serve {port}"}


def fleet_of(*residencies, **sections):
    experts = [WEIGHTS | {"name": f"e{i}", "residency": each} for i, each in enumerate(residencies)]
    return Config.model_validate({"version": 1, "experts": experts, **sections})


def test_pinned_means_on_one_node_unless_more_are_asked_for():
    pinned = [spec.residency.pinned for spec in fleet_of({}, {"pin": True}, {"replicas": {"min": 2}}).experts]
    assert pinned == [0, 1, 2]


def test_no_more_replicas_are_kept_than_there_may_be():
    with pytest.raises(ValueError, match="got min 2, which is more than max 1"):
        fleet_of({"replicas": {"min": 2, "max": 1}})


def test_only_what_holds_weights_can_be_placed():
    config = fleet_of({}, placement={"e0": ["10.0.0.1"], "nobody": ["10.0.0.1"]})
    assert list(config.dangling()) == [
        (("placement", "nobody"), "'nobody' is no expert with weights of its own; expected one of ['e0']")
    ]


def test_pinned_experts_must_fit_side_by_side_on_one_machine_but_not_on_a_cluster():
    pinned = [{"memory_gb": 3, "pin": True}] * 2
    (problem,) = {text for _, text in fleet_of(*pinned, memory={"budget_gb": 4}).unfit()}
    assert problem == "the pinned experts (e0, e1) take 6 GB together, and memory.budget_gb has 4"
    assert not list(fleet_of(*pinned, memory={"budget_gb": 4}, engine="ray").unfit())
