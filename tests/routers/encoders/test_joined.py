"""Several encoders' vectors as one, and how one is found again."""

import numpy as np
import pytest

from routers.encoders import HashedEncoder, JoinedEncoder, TextFeatures, find_encoder
from tests.support.minilm import minilm

TEXTS = ["What is 17 * 23?", "Tell me a joke"]


def test_a_cosine_is_the_mean_of_the_parts_weighted_by_the_squares():
    parts = [HashedEncoder(64), TextFeatures()]
    whole, first, second = (e.encode(TEXTS) for e in (JoinedEncoder(parts, [1.0, 2.0]), *parts))
    expected = (1.0 * first[0] @ first[1] + 4.0 * second[0] @ second[1]) / 5.0
    assert whole[0] @ whole[1] == pytest.approx(expected, abs=1e-6)
    assert whole.shape[1] == JoinedEncoder(parts).dimensions == 64 + TextFeatures.dimensions


def test_a_text_that_a_part_sees_nothing_in_keeps_length_one():
    joined = JoinedEncoder([HashedEncoder(64), TextFeatures()]).encode([""])
    assert np.linalg.norm(joined) == pytest.approx(1.0, abs=1e-6)
    assert not JoinedEncoder([HashedEncoder(64), HashedEncoder(32)]).encode([""]).any()


def test_fingerprints_tell_parts_weights_and_order_apart():
    hashed, text = HashedEncoder(64), TextFeatures()
    joins = [JoinedEncoder([hashed, text]), JoinedEncoder([text, hashed]), JoinedEncoder([hashed, text], [1.0, 0.5])]
    assert len({joined.fingerprint for joined in joins}) == 3


def test_a_join_of_what_needs_no_files_is_made_anew():
    joined = JoinedEncoder([HashedEncoder(64), TextFeatures()], [1, 1 / 3])
    np.testing.assert_array_equal(find_encoder(joined.fingerprint).encode(TEXTS), joined.encode(TEXTS))


def test_a_join_takes_the_encoders_that_are_here_and_their_other_limits():
    here = minilm()
    joined = JoinedEncoder([here.reading(64), HashedEncoder(64)])
    found = find_encoder(joined.fingerprint, [here])
    assert found.parts[0] is here.reading(64)


def test_a_part_that_is_not_here_is_an_error_that_names_those_that_are():
    with pytest.raises(
        ValueError, match=r"trained with the text encoder onnx-0123456789abcdef-128; .* here: hashed-64-4096"
    ):
        find_encoder("joined(1*onnx-0123456789abcdef-128+1*text-1)", [HashedEncoder(64)])
