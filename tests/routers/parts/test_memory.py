import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evals.bench_kernels import search_input
from routers.parts.memory import BLOCK, EXACT, LEFT_OUT, Memory, left_out, remember, top_k


def unit(rows):
    rows = np.asarray(rows, dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def random_units(n, dimensions=8, seed=0):
    return unit(np.random.default_rng(seed).normal(size=(n, dimensions)))


@given(st.integers(0, 5), st.integers(0, 40), st.integers(1, 50))
def test_top_k_is_a_full_sort_cut_short(num_queries, num_rows, k):
    queries, vectors = random_units(num_queries), random_units(num_rows, seed=1)
    indices, similarities = top_k(queries, vectors, k)
    products = queries @ vectors.T
    np.testing.assert_allclose(similarities, -np.sort(-products, axis=1)[:, :k], atol=1e-6)
    np.testing.assert_array_equal(np.take_along_axis(products, indices, axis=1), similarities)


def test_a_small_memory_holds_the_vectors_themselves():
    vectors = random_units(10)
    memory, order = remember(vectors)
    assert memory.vectors is vectors
    assert order.tolist() == list(range(10))


def test_cells_find_what_a_full_search_finds():
    memory, query = search_input()
    exact, _ = top_k(query, memory.vectors, 100)
    found, similarities = memory.nearest(query, 100)
    assert len(np.intersect1d(exact, found)) >= 90
    assert (np.diff(similarities) <= 0).all()
    np.testing.assert_allclose(memory.vectors[found[0]] @ query[0], similarities[0], atol=1e-5)


def test_a_large_memory_says_where_its_rows_came_from():
    vectors = random_units(EXACT + 1)
    memory, order = remember(vectors)
    assert len(memory.centres) == int(EXACT**0.5)
    np.testing.assert_array_equal(memory.vectors, vectors[order])
    assert sorted(order) == list(range(len(vectors)))


def test_a_query_finds_the_same_alone_and_in_a_batch_too_large_to_hold_at_once():
    vectors = random_units(EXACT)
    queries = vectors[: 2 * BLOCK // EXACT]
    together = top_k(queries, vectors, 3)[0]
    assert [top_k(query[None], vectors, 3)[0].tolist()[0] for query in queries[::80]] == together[::80].tolist()


def test_more_cells_are_searched_when_the_nearest_hold_too_little():
    centres = random_units(20)
    memory = Memory(centres, centres, np.arange(21))
    indices, _ = memory.nearest(centres[:2], 19)
    assert all(len(set(row)) == 19 for row in indices)


def test_a_query_is_not_its_own_neighbour_nor_is_the_same_text():
    vectors = unit([[1, 0], [1, 0], [1, 1], [0, 1]])
    memory, _ = remember(vectors)
    indices, similarities = memory.nearest_others(np.array([0]), 4)
    assert indices[0, :2].tolist() == [2, 3]
    assert np.isneginf(similarities[0, 2:]).all()


def test_rows_left_out_are_a_sample_in_order():
    assert left_out(5).tolist() == [0, 1, 2, 3, 4]
    rows = left_out(3 * LEFT_OUT)
    assert len(set(rows)) == len(rows) == LEFT_OUT
    assert (np.diff(rows) > 0).all()
