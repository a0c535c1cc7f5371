"""Queries read together with what is said of them."""

import numpy as np
import pytest

from routers.encoders import HashedEncoder
from routers.parts.described import DescribedEncoder

PLAIN = HashedEncoder(64)


def kinds(texts):
    return ["a sum" if any(map(str.isdigit, text)) else "a chat" for text in texts]


def test_the_first_half_is_the_query_and_the_second_what_is_said_of_it():
    encoder = DescribedEncoder(PLAIN, kinds, name="kinds")
    vectors = encoder.encode(["1 + 1", "hello"])
    np.testing.assert_allclose(vectors[:, :64] * 2**0.5, PLAIN.encode(["1 + 1", "hello"]), atol=1e-6)
    np.testing.assert_allclose(vectors[:, 64:] * 2**0.5, PLAIN.encode(["a sum", "a chat"]), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    assert vectors.shape == (2, encoder.dimensions)


def test_another_describer_is_another_encoder():
    one, other = (DescribedEncoder(PLAIN, kinds, name=name) for name in ("kinds", "kinds-v2"))
    assert one.fingerprint != other.fingerprint
    assert PLAIN.fingerprint in one.fingerprint


def test_a_describer_that_leaves_some_out_is_an_error():
    encoder = DescribedEncoder(PLAIN, lambda texts: kinds(texts)[:-1], name="lazy")
    with pytest.raises(ValueError, match="2 descriptions were expected, got 1 from 'lazy'"):
        encoder.encode(["1 + 1", "hello"])
