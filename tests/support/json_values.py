"""Any JSON value, with a taste for what looks like the field `model`: a hypothesis strategy.

@given(json_values)
def test_it_survives(value): ...
"""

from hypothesis import strategies as st

_leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.text()
    | st.sampled_from(['"model":"up"', "model", "up"])
)
_keys = st.text(max_size=5) | st.just("model")
json_values = st.recursive(
    _leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3), max_leaves=12
)
