"""What doesn't fit is out before anything is scored, for the first choice and every fallback alike."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.config import EchoSpec, OpenAISpec
from orchestrator.errors import ContextTooLong, Forbidden, RequestError
from orchestrator.routing.feasibility import infeasible_because, nothing_feasible, split_feasible
from orchestrator.types import RequestOptions
from tests.support.queries import caller, chat_query, make_query

CAPABILITIES = ("streaming", "tools", "vision", "json_schema", "logprobs")


def echo(name="small", **fields):
    return EchoSpec(name=name, backend="echo", **fields)


def test_what_fits_has_no_reason_against_it():
    assert infeasible_because(echo(context=30), chat_query()) is None


def test_a_long_tool_call_never_reaches_a_small_context():
    query = chat_query(prompt_tokens=30_000, needs=frozenset({"tools"}))
    small = echo(context=2048, capabilities={"tools", "streaming"})
    assert infeasible_because(small, query) == "needs 30020 tokens, has 2048"


def test_a_missing_capability_is_named():
    assert infeasible_because(echo(), chat_query(needs=frozenset({"vision", "tools"}))) == "lacks tools, vision"


def test_chat_servers_complete_plain_text_and_embedding_experts_do_not():
    query = make_query("completion", {"model": "auto", "prompt": "Once"})
    assert infeasible_because(echo(), query) is None
    assert infeasible_because(echo(kind="embedding"), query) == "serves embedding requests"


def test_a_parameter_the_expert_refuses_keeps_it_out():
    spec = OpenAISpec(name="x", backend="openai", base_url="http://x/v1", parameters={"reject": ["seed"]})
    query = chat_query()
    assert infeasible_because(spec, query) is None
    asked = make_query("chat", {**query.body, "seed": 1})
    assert infeasible_because(spec, asked) == "does not accept seed"


def test_the_request_and_the_key_narrow_the_fleet():
    specs = [echo("a"), echo("b"), echo("c")]
    query = chat_query(options=RequestOptions(experts=("a", "b")), caller=caller("b", "c"))
    feasible, reasons = split_feasible(specs, query)
    assert [spec.name for spec in feasible] == ["b"]
    assert set(reasons) == {"a", "c"}


def test_errors_say_what_the_client_can_do():
    too_long = chat_query(prompt_tokens=5000)
    _, reasons = split_feasible([echo(context=2048), echo("e", kind="embedding")], too_long)
    error = nothing_feasible(reasons, too_long)
    assert isinstance(error, ContextTooLong)
    assert "small needs 5020 tokens, has 2048" in error.message
    assert "embedding" not in error.message

    query = chat_query(caller=caller("other"))
    assert isinstance(nothing_feasible(split_feasible([echo()], query)[1], query), Forbidden)
    assert nothing_feasible({}, query).code == "no_feasible_expert"
    assert isinstance(nothing_feasible({}, query), RequestError)


@given(
    st.sets(st.sampled_from(CAPABILITIES)),
    st.sets(st.sampled_from(CAPABILITIES)),
    st.integers(0, 40_000),
    st.integers(0, 4_000),
    st.one_of(st.none(), st.integers(1, 40_000)),
)
def test_nothing_infeasible_is_ever_called_feasible(has, needs, prompt_tokens, max_tokens, context):
    spec = echo(capabilities=has, context=context)
    query = chat_query(needs=frozenset(needs), prompt_tokens=prompt_tokens, max_tokens=max_tokens)
    fits = needs <= has and (context is None or prompt_tokens + max_tokens <= context)
    assert (infeasible_because(spec, query) is None) == fits
