import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routers.base import Outcome
from routers.data.outcomes import read_outcomes
from routers.data.splits import find_duplicates, fold_numbers, is_held_out, normalised
from routers.data.table import RewardTable

LONG = " ".join(f"example {i} has answer {i + 1}" for i in range(25))
TEXTS = st.text(max_size=30)


def table_of(queries):
    return RewardTable.of([Outcome(query, {"a": 1.0}) for query in queries])


def random_text(generator, words):
    return " ".join(f"w{i}" for i in generator.integers(0, 5000, words))


@given(TEXTS)
def test_normalising_again_changes_nothing(text):
    assert normalised(normalised(text)) == normalised(text)


@given(st.text(st.characters(codec="ascii"), max_size=30))
def test_plain_texts_take_no_other_way_than_the_rest(text):
    assert normalised(text + "é") == f"{normalised(text + 'e').removesuffix('e')}é"


def test_case_width_and_white_space_make_no_difference():
    assert normalised("  What's\n\tＮＥＷ? ") == normalised("what's new?")


@given(queries=st.lists(TEXTS, min_size=2, max_size=40), k=st.integers(2, 6), seed=st.integers(0, 3))
def test_folds_keep_equal_texts_together_and_are_balanced(queries, k, seed):
    texts = [normalised(query) for query in queries]
    if len(set(texts)) < k:
        with pytest.raises(ValueError, match="number of distinct queries"):
            fold_numbers(table_of(queries), k, seed)
        return
    folds = fold_numbers(table_of(queries), k, seed)
    of_text = dict(zip(texts, folds, strict=True))
    assert all(of_text[text] == fold for text, fold in zip(texts, folds, strict=True))
    sizes = np.bincount(list(of_text.values()), minlength=k)
    assert sizes.max() - sizes.min() <= 1


def test_another_seed_gives_other_folds():
    table = table_of([f"query {i}" for i in range(100)])
    assert np.array_equal(fold_numbers(table, 5), fold_numbers(table, 5))
    assert not np.array_equal(fold_numbers(table, 5), fold_numbers(table, 5, seed=1))


@given(text=TEXTS, seed=st.integers(0, 3))
def test_a_text_stays_held_out_when_more_is(text, seed):
    held_out = [is_held_out(text, share, seed) for share in (0.0, 0.2, 0.5, 0.8, 1.0)]
    assert held_out == sorted(held_out)
    assert not held_out[0]
    assert held_out[-1]
    assert is_held_out(f"  {text}\n", 0.5, seed) == is_held_out(text, 0.5, seed)


def test_the_share_held_out_is_about_what_was_asked_for():
    assert abs(np.mean([is_held_out(f"query {i}", 0.2) for i in range(5000)]) - 0.2) < 0.02


def test_the_split_is_the_same_everywhere():
    assert [i for i in range(20) if is_held_out(f"query {i}", 0.2)] == [6, 8]


@given(train=st.lists(TEXTS, max_size=10), test=st.lists(TEXTS, max_size=10))
@settings(max_examples=50)
def test_exact_duplicates_are_the_equal_texts(train, test):
    found = find_duplicates(train, test)
    known = {normalised(text) for text in train}
    assert found.exact.tolist() == [normalised(text) in known for text in test]
    assert not (found.exact & found.near).any()
    assert np.array_equal(found.any, found.exact | found.near)


@given(seed=st.integers(0, 2**32 - 1), changed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_one_word_changed_in_a_hundred_is_near_and_other_texts_are_not(seed, changed):
    generator = np.random.default_rng(seed)
    train = [random_text(generator, 100) for _ in range(5)]
    words = train[3].split()
    words[changed] = "another"
    found = find_duplicates(train, [" ".join(words), random_text(generator, 100), train[0].upper()])
    assert (found.near.tolist(), found.exact.tolist()) == ([True, False, False], [False, False, True])


def test_half_a_text_changed_is_not_near():
    generator = np.random.default_rng(0)
    text = random_text(generator, 100)
    assert not find_duplicates([text], [text[: len(text) // 2] + random_text(generator, 50)]).any.any()


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("What is 17 + 23?", "What is 17 * 23?"),
        ("What is 17 + 23?", "What is 17 + 24?"),
        ("Which?", "Who?"),
        ("", "?"),
        ("...", "!!!"),
    ],
)
def test_short_texts_that_differ_in_what_counts_are_not_near(train, test):
    assert not find_duplicates([train], [test]).any.any()


def test_punctuation_makes_no_other_text():
    assert find_duplicates(["Which of the two: is it red or blue"], ["Which of the two, is it red or blue?"]).near.all()


def test_scripts_without_spaces_are_compared_by_character():
    train = "下列关于细胞膜结构和功能的叙述中哪一项是正确的请选择最合适的答案并说明理由谢谢你的帮助我们需要知道细胞的所有秘密"
    assert find_duplicates([train], [train.replace("谢谢", "多谢")]).near.tolist() == [False]
    assert find_duplicates([train], [train + "吧"]).near.tolist() == [True]
    assert find_duplicates([train], ["水在标准大气压下的沸点是多少摄氏度"]).near.tolist() == [False]


def test_few_shot_examples_that_all_prompts_share_make_none_alike():
    generator = np.random.default_rng(0)
    prompts = [f"{LONG} {random_text(generator, 15)}" for _ in range(60)]
    copy = prompts[0] + " please"
    found = find_duplicates(prompts[:30], [*prompts[30:], copy])
    assert not found.near[:-1].any()
    assert not find_duplicates([], prompts).any.any()
    assert find_duplicates([], []).any.shape == (0,)


def test_thousands_of_texts_take_seconds():
    generator = np.random.default_rng(0)
    train = [random_text(generator, 60) for _ in range(3000)]
    test = [random_text(generator, 60) for _ in range(3000)] + [text + " too" for text in train[:100]]
    found = find_duplicates(train, test)
    assert found.near.nonzero()[0].tolist() == list(range(3000, 3100))


def test_real_training_files_hardly_leak_into_their_test_files():
    folder = os.environ.get("SWITCHYARD_DATA")
    if not folder:
        pytest.skip("$SWITCHYARD_DATA is not set")
    train, test = (
        [outcome.query for outcome in read_outcomes(Path(folder, "outcomes", f"llmrouter9-{part}.jsonl.gz"))]
        for part in ("train", "test")
    )
    found = find_duplicates(train, test)
    assert found.exact.sum() == 0  # they were dropped when the files were made
    assert found.near.sum() < 0.05 * len(test)
